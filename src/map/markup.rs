//! HTML in what should be text: labels of builders, sentences of consent.

use bumpalo::collections::String as ArenaString;

use crate::decode::Arena;

/// Takes out what is written between angle brackets.
pub(super) fn without_tags<'a>(text: &'a str, arena: &'a Arena) -> &'a str {
    if !(text.contains('<') && text.contains('>')) {
        return text;
    }
    let mut plain = ArenaString::with_capacity_in(text.len(), arena);
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        plain.push_str(before);
        let is_tag = tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
        match tag.split_once('>').filter(|_| is_tag) {
            Some((_, after)) => rest = after,
            None => {
                plain.push('<');
                rest = tag;
            }
        }
    }
    plain.push_str(rest);
    plain.into_bump_str().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_and_brackets_of_sums_stay() {
        let arena = Arena::new();
        for (text, plain) in [
            ("I agree to <a href=\"/p\">the policy</a>", "I agree to the policy"),
            ("5 < 6 > 4", "5 < 6 > 4"),
            ("a<b", "a<b"),
        ] {
            assert_eq!(without_tags(text, &arena), plain);
        }
    }
}
