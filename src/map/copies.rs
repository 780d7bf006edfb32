//! Texts that tell the whole form once more: a line of prose, a table in HTML, a letter.

use super::form_field::FormField;
use super::shape;

/// Fewest bytes of a value, and how many of them, that make a text a copy of the form.
const COPIED_MIN: usize = 3;
const COPIES_MIN: usize = 3;
/// How many values are looked for, and the longest text that is looked into, in bytes.
const VALUES_MAX: usize = 100;
const TEXT_MAX: usize = 65_536;

/// What was filled in, to be looked for in a text.
pub(super) struct Copies<'a> {
    values: Vec<&'a str>,
    /// Places of the addresses among them.
    addresses: Vec<usize>,
}

impl<'a> Copies<'a> {
    pub(super) fn of(fields: &[FormField<'a>]) -> Self {
        // Few forms hold a text with an address in it.
        let is_text = |value: &&str| value.contains('@') && value.contains(char::is_whitespace);
        if !fields.iter().any(|form_field| form_field.field.values.iter().any(|value| is_text(&value.trim()))) {
            return Self { values: Vec::new(), addresses: Vec::new() };
        }
        let values = fields.iter().filter_map(|form_field| form_field.field.values.first()).map(|value| value.trim());
        let mut values: Vec<&str> = values.filter(|value| value.len() >= COPIED_MIN).take(VALUES_MAX).collect();
        values.sort_unstable();
        values.dedup();
        let is_address =
            |(index, value): (usize, &&str)| (value.contains('@') && shape::is_email(value)).then_some(index);
        let addresses = values.iter().enumerate().filter_map(is_address).collect();
        Self { values, addresses }
    }

    /// Tells whether a text is made of the address and what else was filled in, and of little besides but what that is called.
    pub(super) fn make(&self, text: &str) -> bool {
        let text = text.trim();
        if self.addresses.is_empty() || !text.contains('@') || text.len() > TEXT_MAX {
            return false;
        }
        let is_in = |value: &&&str| value.len() < text.len() && text.contains(**value);
        let mut addresses = self.addresses.iter().filter_map(|index| self.values.get(*index));
        if !addresses.any(|value| is_in(&value)) {
            return false;
        }
        let copied: Vec<&&str> = self.values.iter().filter(is_in).collect();
        let told: usize = copied.iter().map(|value| value.len()).sum();
        // Of a table in HTML the tags aren't told.
        copied.len() >= COPIES_MIN && told * 2 >= without_tags_len(text)
    }
}

/// Returns how many bytes of a text stand outside of tags.
fn without_tags_len(text: &str) -> usize {
    let mut is_tag = false;
    let is_text = |c: &char| {
        is_tag = if is_tag { *c != '>' } else { *c == '<' };
        !is_tag && *c != '>'
    };
    text.chars().filter(is_text).map(char::len_utf8).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Arena, form};

    #[test]
    fn a_copy_holds_the_address_and_little_besides() {
        let arena = Arena::new();
        let submission = form(
            "name=Ann+Lee&email=ann%40example.com&phone=503+555+0100&service=kitchen&all=Ann+Lee+ann%40example.com",
            &arena,
        );
        let fields: Vec<_> = submission.fields.iter().copied().map(FormField::plain).collect();
        let copies = Copies::of(&fields);
        assert!(copies.make("Name: Ann Lee, Email: ann@example.com, Phone: 503 555 0100"));
        for letter in [
            "Write to ann@example.com",
            "Hi, this is Ann Lee. Please quote a new kitchen with an island. Write to ann@example.com",
        ] {
            assert!(!copies.make(letter), "{letter}");
        }
    }
}
