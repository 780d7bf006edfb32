//! Globs: `*` stands for any run of characters, everything else for itself; case does not count.
//!
//! Brackets and question marks stand for themselves, since form keys are full of them (`services[]`, `Which rooms?`).

/// A compiled glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// Lower-case pieces between the stars.
    pieces: Vec<String>,
}

impl Glob {
    /// Compiles a glob; every text is one.
    pub fn new(pattern: &str) -> Self {
        Self { pieces: pattern.to_lowercase().split('*').map(str::to_owned).collect() }
    }

    /// Tells whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let [first, middle @ .., last] = self.pieces.as_slice() else {
            return self.pieces.first().is_some_and(|only| *only == text);
        };
        let Some(rest) = text.strip_prefix(first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
        middle.iter().all(|piece| match rest.split_once(piece.as_str()) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    }
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
        }
    }
}
