//! Names compared loosely: case, accents, spaces and punctuation aside.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Folds a name for comparison. Punctuation between digits counts, so that `1.3` is never `13`.
pub(super) fn fold(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Cow::Borrowed(name);
    }
    let mut folded = String::with_capacity(name.len());
    if name.is_ascii() {
        fold_into(name.chars(), &mut folded);
    } else {
        fold_into(name.nfkd().filter(|c| !is_combining_mark(*c)), &mut folded);
    }
    Cow::Owned(folded)
}

/// Tells whether a name folds to a text, mostly without folding it.
pub(super) fn folds_to(name: &str, folded: &str) -> bool {
    let first = name.bytes().find(u8::is_ascii_alphanumeric);
    let differs = name.is_ascii() && first.map(|byte| byte.to_ascii_lowercase()) != folded.bytes().next();
    !differs && fold(name) == folded
}

fn fold_into(chars: impl Iterator<Item = char>, folded: &mut String) {
    let mut after_number = false;
    let mut marks = String::new();
    for c in chars {
        if c.is_alphanumeric() {
            if after_number && c.is_numeric() {
                folded.push_str(&marks);
            }
            marks.clear();
            folded.extend(c.to_lowercase());
            after_number = c.is_numeric();
        } else if after_number && !c.is_whitespace() {
            marks.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_but_never_across_numbers() {
        for (name, folded) in [
            ("email", "email"),
            ("Your E-Mail", "youremail"),
            ("Téléphone ", "telephone"),
            ("1.3", "1.3"),
            ("13", "13"),
            ("1. 3", "1.3"),
            ("1..3", "1..3"),
            ("1 3", "13"),
            ("١.٣", "١.٣"),
            ("input_1.3", "input1.3"),
            ("ŁÓDŹ", "łodz"),
            ("?!", ""),
        ] {
            assert_eq!(fold(name), folded, "{name}");
            assert!(folds_to(name, folded), "{name}");
            assert!(!folds_to(name, "other") && !folds_to(name, "1"), "{name}");
        }
    }
}
