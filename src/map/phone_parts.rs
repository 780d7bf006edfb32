//! The parts of a phone number that stand beside the whole.

use super::fate::LeadFields;
use super::heard::Said;
use super::view::View;
use crate::lead::LeadField;

/// What widgets post beside a whole number: its national part, the country, the dial code, under keys that begin with its own.
pub(super) struct PhoneParts<'a> {
    /// The key of the whole, and the number.
    whole: Option<(&'a str, &'a str)>,
}

impl<'a> PhoneParts<'a> {
    pub(super) fn of(view: &View<'a>, said: &Said<'a>) -> Self {
        let is_phone =
            |used: &Option<LeadFields>| used.is_some_and(|fields| fields.iter().any(|field| field == LeadField::Phone));
        let index = said.used.iter().position(is_phone);
        let field = index.and_then(|index| view.fields.get(index)).map(|form_field| form_field.field);
        let whole = field.filter(|field| !field.key.is_empty());
        Self { whole: whole.and_then(|field| Some((field.key, *field.values.first()?))) }
    }

    /// Tells whether a field is a part of the number that the lead says.
    pub(super) fn hold(&self, key: &str, value: &str) -> bool {
        let Some((own, number)) = self.whole else { return false };
        let Some(rest) = key.strip_prefix(own).filter(|rest| rest.starts_with(['-', '_', '.', '['])) else {
            return false;
        };
        let figures = |text: &str| text.chars().filter_map(|c| c.to_digit(10)).collect::<Vec<u32>>();
        let part = figures(value);
        let is_of_number = !value.contains(char::is_alphabetic) && !part.is_empty() && {
            let bare = part.iter().position(|figure| *figure != 0).and_then(|at| part.get(at..)).unwrap_or_default();
            figures(number).windows(bare.len().max(1)).any(|window| window == bare)
        };
        let is_named = PARTS.iter().any(|part| rest.to_ascii_lowercase().contains(part));
        is_of_number || (is_named && value.len() <= PART_MAX && part.is_empty())
    }
}

/// What widgets call the parts that aren't digits.
const PARTS: [&str; 5] = ["country", "iso", "carrier", "format", "valid"];
/// Longest such part, in bytes: a country in two scripts.
const PART_MAX: usize = 60;
