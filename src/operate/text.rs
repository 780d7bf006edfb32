//! Everything in an entry that a person may have written, for those who search it.

use percent_encoding::percent_decode_str;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::again::guarded;
use super::phone::PhoneDigits;
use crate::pipeline::{Mappings, SiteRules, explain};
use crate::queue::{Entry, Reading};

/// A text that is searched for. No `Debug`: it may be somebody's name.
#[derive(Clone, PartialEq, Eq)]
pub struct SearchText {
    /// In lower case, without accents.
    folded: String,
    /// Where it is a telephone number.
    phone: Option<PhoneDigits>,
}

impl SearchText {
    pub(super) fn new(text: &str) -> Self {
        Self { folded: fold(text), phone: PhoneDigits::parse(text) }
    }

    /// Tells whether it stands in an entry: in its lead, or in what was posted, decoded. Case and accents don't count,
    /// nor how a telephone number is written.
    pub(super) fn stands_in(&self, entry: &Entry) -> bool {
        any(entry, &mut |found| self.is_in(found))
    }

    /// Tells whether it stands in the lead or a correction: then nobody has to read what was received.
    pub(super) fn stands_in_reading(&self, reading: &Reading) -> bool {
        any_in_reading(reading, &mut |found| self.is_in(found))
    }

    fn is_in(&self, found: &str) -> bool {
        fold(found).contains(&self.folded) || self.phone.as_ref().is_some_and(|phone| phone.stands_in(found))
    }
}

fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let folded = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
    folded.collect::<String>().replace('ß', "ss")
}

/// Asks of each text in an entry until one is found: its lead's, what an operator corrected, each value and key of what was posted as decoded, its
/// query, its headers; where it can't be decoded, the body's bytes as text, also as a form would have encoded them.
pub(super) fn any(entry: &Entry, found: &mut dyn FnMut(&str) -> bool) -> bool {
    let Entry { head, received } = entry;
    if any_in_reading(&head.reading, found) {
        return true;
    }
    let mut around = received.query.iter().chain(received.headers.values()).map(String::as_str);
    if around.any(&mut *found) {
        return true;
    }
    // Without mappings: only the decoding is wanted.
    let rules = SiteRules::default();
    let explained = guarded(head.id, || explain(&Mappings::default(), &rules, None, received));
    match explained.and_then(|explained| explained.explanation) {
        Some(told) => {
            any_of(&told.document, found) || told.query.iter().any(|(name, value)| found(name) || found(value))
        }
        None => {
            let body = String::from_utf8_lossy(&received.body);
            found(&body) || found(&percent_decode_str(&body.replace('+', " ")).decode_utf8_lossy())
        }
    }
}

/// Asks of what goes with the head: the lead, and what an operator corrected.
pub(super) fn any_in_reading(reading: &Reading, found: &mut dyn FnMut(&str) -> bool) -> bool {
    let lead = reading.lead.iter().flat_map(|lead| {
        [Some(lead.name()), Some(lead.email()), lead.phone(), Some(lead.message())].into_iter().flatten()
    });
    let corrected = reading.overlay.iter().map(|(_, correction)| correction.value.as_str());
    lead.chain(corrected).any(found)
}

/// Trees are at most as deep as decoding lets them be.
fn any_of(tree: &Value, found: &mut dyn FnMut(&str) -> bool) -> bool {
    match tree {
        Value::String(text) => found(text),
        Value::Number(number) => found(&number.to_string()),
        Value::Array(items) => items.iter().any(|item| any_of(item, found)),
        Value::Object(members) => members.iter().any(|(name, member)| found(name) || any_of(member, found)),
        Value::Null | Value::Bool(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_do_not_count() {
        for (text, found) in [
            ("jurgen MULLER", "Jürgen Müller"),
            ("Müller", "MULLER"),
            ("strasse", "Hauptstraße 5"),
            ("straße", "HAUPTSTRASSE"),
            ("jose", "JOSÉ"),
            ("ｊａｎｅ", "Jane"),
            ("ИВАН", "Иван"),
        ] {
            assert!(fold(found).contains(&fold(text)), "{text} in {found}");
        }
        assert!(!fold("Mueller").contains(&fold("Müller")));
    }
}
