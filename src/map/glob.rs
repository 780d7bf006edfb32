//! Globs: `*` stands for any run of characters, everything else for itself; case does not count.
//!
//! Brackets and question marks stand for themselves, since form keys are full of them (`services[]`, `Which rooms?`).

use std::borrow::Cow;

/// A compiled glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// Lower-case pieces between the stars.
    pieces: Vec<String>,
}

impl Glob {
    /// Returns the first byte that every text begins with that matches, in lower case; none where any may.
    pub(super) fn first_byte(&self) -> Option<u8> {
        self.pieces.first().and_then(|piece| piece.bytes().next()).filter(u8::is_ascii)
    }

    /// Compiles a glob; every text is one.
    pub fn new(pattern: &str) -> Self {
        Self { pieces: pattern.to_lowercase().split('*').map(str::to_owned).collect() }
    }

    /// Tells whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_lower(lower(text).as_bytes())
    }

    /// The case of ASCII letters is left to the comparison.
    fn matches_lower(&self, text: &[u8]) -> bool {
        let [first, middle @ .., last] = self.pieces.as_slice() else {
            return self.pieces.first().is_some_and(|only| text.eq_ignore_ascii_case(only.as_bytes()));
        };
        let Some((start, rest)) = text.split_at_checked(first.len()) else { return false };
        let Some((rest, end)) = rest.len().checked_sub(last.len()).and_then(|at| rest.split_at_checked(at)) else {
            return false;
        };
        let mut rest = rest;
        start.eq_ignore_ascii_case(first.as_bytes())
            && end.eq_ignore_ascii_case(last.as_bytes())
            && middle.iter().all(|piece| match after(rest, piece.as_bytes()) {
                Some(after) => {
                    rest = after;
                    true
                }
                None => false,
            })
    }
}

/// Globs of which any may match, ready to be asked of every key of a form.
#[derive(Clone, Debug, Default)]
pub struct Globs {
    /// Those without a star, in lower case, by their length.
    plain: Vec<Vec<String>>,
    starred: Vec<Glob>,
}

impl Globs {
    /// Tells whether one of them matches the whole text.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_lower(lower(text).as_bytes())
    }

    /// The case of ASCII letters is left to the comparison.
    fn matches_lower(&self, text: &[u8]) -> bool {
        let plain = self.plain.get(text.len()).into_iter().flatten();
        plain.map(String::as_bytes).any(|plain| plain.eq_ignore_ascii_case(text))
            || self.starred.iter().any(|glob| glob.matches_lower(text))
    }
}

impl FromIterator<Glob> for Globs {
    fn from_iter<T: IntoIterator<Item = Glob>>(globs: T) -> Self {
        let mut set = Self::default();
        set.extend(globs);
        set
    }
}

impl Extend<Glob> for Globs {
    fn extend<T: IntoIterator<Item = Glob>>(&mut self, globs: T) {
        for glob in globs {
            match glob.pieces.as_slice() {
                [plain] => {
                    if self.plain.len() <= plain.len() {
                        self.plain.resize_with(plain.len() + 1, Vec::new);
                    }
                    self.plain.get_mut(plain.len()).into_iter().for_each(|same_length| same_length.push(plain.clone()));
                }
                _ => self.starred.push(glob),
            }
        }
    }
}

/// Returns a text in lower case, but for ASCII letters alone: every key of a form meets the globs of its mapping, nearly all
/// keys are ASCII, and the comparison leaves their case aside.
fn lower(text: &str) -> Cow<'_, str> {
    if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(text.to_lowercase()) }
}

/// Returns what follows the first place where a piece stands.
fn after<'t>(text: &'t [u8], piece: &[u8]) -> Option<&'t [u8]> {
    let last = text.len().checked_sub(piece.len())?;
    let found =
        (0..=last).find(|&at| text.get(at..at + piece.len()).is_some_and(|part| part.eq_ignore_ascii_case(piece)));
    text.get(found? + piece.len()..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_any_run_and_the_rest_is_literal() {
        for (glob, text, expected) in [
            ("_wpcf7*", "_wpcf7_version", true),
            ("_wpcf7*", "wpcf7", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*a", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("Which rooms?", "which ROOMS?", true),
            ("Which rooms?", "which roomsX", false),
            ("services[]", "services[]", true),
            ("*é*", "CAFÉ NOIR", true),
        ] {
            assert_eq!(Glob::new(glob).matches(text), expected, "{glob} on {text}");
            let among = ["no", glob, "none*"].map(Glob::new).into_iter().collect::<Globs>();
            assert_eq!(among.matches(text), expected, "{glob} among others on {text}");
        }
    }
}
