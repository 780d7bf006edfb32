//! What a program added to a submission, and nobody who reads a lead wants to see.
//!
//! Judged by the name of a field and by its value, and by both at once where either alone may be a visitor's. In doubt a
//! field is the visitor's, and stays.

use std::cell::LazyCell;
use std::collections::HashMap;

use super::form_field::FormField;
use super::kind::FieldKind;
use super::senses::{KnownField, Senses};
use super::shape;
use super::view::View;
use super::words::{Owner, Role};
use crate::decode::{Hashing, NodeId};

/// Fewest fields of a program in one record that make its doubtful ones a program's too.
const COMPANY_MIN: usize = 2;
/// Fewest of them that make even a number beside the visitor's own fields a program's.
const CROWD_MIN: usize = 4;
/// A sender that posts this many ids made them up: no form asks a visitor for three.
const IDS_MIN: usize = 3;
/// Fewest characters of an access key under a label.
const KEY_MIN: usize = 8;
/// Fewest digits of an id that nobody types.
const LONG_ID: usize = 12;
const UUID: usize = 36;
const MIXED_MIN: usize = 16;
/// Fewest letters and digits of a word that nobody copies from anywhere: a wallet has 62 at most.
const LONG_TOKEN: usize = 64;
/// Most words of what a service writes around the answers.
const ENVELOPE_WORDS: usize = 5;

/// Why a field is no extra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noise {
    /// A program added it.
    Machine,
    /// A key or password: never sent, never shown.
    Secret,
}

/// Tells of each field whether it is a program's. `used` are those that the lead was made of, `kept` those that a rule wants.
pub(super) fn sort(
    view: &View<'_>,
    senses: &Senses,
    used: impl Fn(usize) -> bool,
    kept: impl Fn(&FormField<'_>) -> bool,
) -> Vec<Option<Noise>> {
    let visitors = LazyCell::new(|| records_of_visitors(view, &used));
    let is_id = |known: &&KnownField| known.sense.is_id && !known.is_labelled;
    let is_payload = senses.fields.iter().filter(is_id).take(IDS_MIN).count() == IDS_MIN;
    let mut found: Vec<Option<Noise>> = Vec::with_capacity(view.fields.len());
    for (index, (form_field, known)) in view.fields.iter().zip(&senses.fields).enumerate() {
        let is_free = !used(index) && (known.sense.role == Role::Secret || !kept(form_field));
        let is_of_visitor = || record(view, form_field).is_some_and(|record| visitors.contains(&record));
        let noise = if is_free { noise(form_field, known, is_of_visitor) } else { None };
        let is_paper = || known.sense.role == Role::Other && form_field.field.values.iter().all(|it| is_reference(it));
        let is_of_payload = is_free && is_payload && is_id(&known) && has_no_space(form_field) && !is_paper();
        found.push(noise.or(is_of_payload.then_some(Noise::Machine)));
    }
    add_company(view, senses, &used, &kept, &mut found);
    found
}

fn has_no_space(form_field: &FormField<'_>) -> bool {
    form_field.field.values.iter().all(|value| !value.trim().contains(char::is_whitespace))
}

fn noise(form_field: &FormField<'_>, known: &KnownField, is_of_visitor: impl Fn() -> bool) -> Option<Noise> {
    let field = &form_field.field;
    let value = field.values.first().map(|value| value.trim()).filter(|value| !value.is_empty())?;
    let sense = known.sense;
    let is_labelled = known.is_labelled;
    let is_own = sense.owner != Owner::Unsaid;
    match () {
        () if sense.role == Role::Secret && (!is_labelled || is_key_like(value)) => Some(Noise::Secret),
        () if shape::is_user_agent(value) => Some(Noise::Machine),
        () if known.is_of_a_program || (sense.role == Role::Test && !is_labelled) => Some(Noise::Machine),
        () if known.is_of_a_system && !is_of_visitor() => Some(Noise::Machine),
        () if sense.role == Role::Machine && (known.kind == FieldKind::Machine || is_of_programs(value)) && !is_own => {
            Some(Noise::Machine)
        }
        () if is_labelled || !is_under_key(known, value) => None,
        () => Some(Noise::Machine),
    }
}

/// Tells whether a value under a key that no visitor reads is a program's.
fn is_under_key(known: &KnownField, value: &str) -> bool {
    let sense = known.sense;
    let is_word = !value.contains(char::is_whitespace);
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    let is_unknown = matches!(sense.role, Role::Unknown | Role::Machine);
    let is_of_program = sense.is_trace || sense.role == Role::Machine || known.kind == FieldKind::Machine;
    let is_id = (sense.is_id && is_unknown && sense.owner == Owner::Unsaid && is_word)
        || (sense.is_id && is_number && value.len() >= LONG_ID)
        || (known.is_named_id && (is_number || is_token(value) || is_prefixed_id(value)));
    let is_made = || is_word && (is_uuid(value) || shape::is_hash(value) || (is_unknown && is_token(value)));
    // A visitor could have typed it as well.
    let is_doubtful = || is_word && (is_constant(value) || is_time_zone(value) || shape::is_address_number(value));
    let is_markup = || value.starts_with("urn:") || (value.starts_with("<?xml ") && value.ends_with('>'));
    let is_hidden = || {
        known.is_hidden
            && (is_unknown
                || known.kind == FieldKind::Machine
                || value.starts_with(['{', '['])
                || (sense.role == Role::Other && is_of_programs(value)))
    };
    is_id
        || is_made()
        || (is_of_program && is_doubtful())
        || (is_unknown && is_markup())
        || is_hidden()
        // A token against forged posts, which is itself the name.
        || (known.is_named_by_hash && value == "1")
}

/// Tells whether a value under a label that speaks of a secret may be one: a long word with digits, and no answer.
fn is_key_like(value: &str) -> bool {
    value.len() >= KEY_MIN && !value.contains(char::is_whitespace) && value.bytes().any(|byte| byte.is_ascii_digit())
}

/// Tells whether a value is one of those that stand under a program's label: an address, a number, a time, an id.
fn is_of_programs(value: &str) -> bool {
    shape::is_url(value)
        || value.starts_with(['{', '['])
        || shape::is_machine(value)
        || value.bytes().all(|byte| byte.is_ascii_digit())
        || (!value.contains(char::is_whitespace) && value.contains(|c: char| c.is_ascii_digit()))
}

/// Tells whether a word is one that only a program writes under any key: a UUID (RFC 9562), a hash, a random word. What people
/// copy from papers, a VIN or an IBAN, has capitals alone.
fn is_token(word: &str) -> bool {
    let bytes = word.as_bytes();
    let has = |is: fn(&u8) -> bool| bytes.iter().any(is);
    let is_random = bytes.len() >= MIXED_MIN
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase);
    let is_long = bytes.len() >= LONG_TOKEN && bytes.iter().all(u8::is_ascii_alphanumeric) && has(u8::is_ascii_digit);
    is_uuid(word) || shape::is_hash(word) || is_random || is_long
}

/// Tells whether a word is an id that says what it is of, as services make them: `sub_01J9`.
fn is_prefixed_id(word: &str) -> bool {
    let is_prefix = |prefix: &str| (2..=8).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_lowercase());
    let is_rest = |rest: &str| {
        rest.len() >= 4
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && rest.bytes().any(|byte| byte.is_ascii_digit())
    };
    word.split_once('_').is_some_and(|(prefix, rest)| is_prefix(prefix) && is_rest(rest))
}

/// Tells whether a text is a number of a thing as people write it on papers: capitals and digits, as in `LET-00417`.
fn is_reference(text: &str) -> bool {
    let bytes = text.trim().as_bytes();
    let has = |is: fn(&u8) -> bool| bytes.iter().any(is);
    bytes.len() < MIXED_MIN
        && bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'/' | b'.'))
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
}

/// Tells whether a word is one of those that a program chooses from: `BOOKING_CREATED`.
fn is_constant(word: &str) -> bool {
    let is_part = |part: &str| part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_uppercase());
    word.contains('_') && word.split('_').all(is_part)
}

/// Tells whether a word is the name of a time zone: `Europe/Berlin` (<https://www.iana.org/time-zones>).
fn is_time_zone(word: &str) -> bool {
    let is_area = |area: &str| AREAS.contains(&area);
    word.split_once('/').is_some_and(|(area, city)| is_area(area) && city.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// What the names of time zones begin with.
const AREAS: [&str; 9] =
    ["Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"];

fn is_uuid(word: &str) -> bool {
    let is_sign = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    word.len() == UUID && word.bytes().enumerate().all(is_sign)
}

/// Returns the records in which the lead's fields stand, but for the whole document.
fn records_of_visitors(view: &View<'_>, used: &impl Fn(usize) -> bool) -> Vec<NodeId> {
    let document = &view.submission.document;
    let records = records_of_answers(view, used).into_iter();
    let mut all: Vec<NodeId> = records.flat_map(|record| document.way(record)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns the records in which the lead's fields stand themselves.
fn records_of_answers(view: &View<'_>, used: &impl Fn(usize) -> bool) -> Vec<NodeId> {
    let indexed = view.fields.iter().enumerate();
    indexed.filter(|(index, _)| used(*index)).filter_map(|(_, form_field)| record(view, form_field)).collect()
}

fn record(view: &View<'_>, form_field: &FormField<'_>) -> Option<NodeId> {
    view.submission.document.container(form_field.field.node?)
}

/// Where programs' fields stand together, the doubtful ones beside them are theirs too: `browser` beside `ip` and `source_url`.
fn add_company(
    view: &View<'_>,
    senses: &Senses,
    used: &impl Fn(usize) -> bool,
    kept: &impl Fn(&FormField<'_>) -> bool,
    found: &mut [Option<Noise>],
) {
    let place = |form_field: &FormField<'_>| {
        let prefix = form_field.field.key.rsplit_once('.').map_or("", |(prefix, _)| prefix).len();
        record(view, form_field).map(|record| (record, prefix))
    };
    let mut company: HashMap<(NodeId, usize), usize, Hashing> = HashMap::default();
    for (form_field, noise) in view.fields.iter().zip(found.iter()) {
        if let Some(place) = noise.and_then(|_| place(form_field)) {
            *company.entry(place).or_default() += 1;
        }
    }
    if company.is_empty() {
        return;
    }
    let visitors = records_of_answers(view, used);
    for (index, ((form_field, known), noise)) in view.fields.iter().zip(&senses.fields).zip(found).enumerate() {
        let is_trace = known.sense.is_trace;
        let is_envelope = is_of_envelope(form_field, known);
        if !(is_trace || is_envelope) || known.is_labelled || noise.is_some() || used(index) || kept(form_field) {
            continue;
        }
        let count = place(form_field).and_then(|place| company.get(&place)).copied().unwrap_or_default();
        let is_outside = || record(view, form_field).is_some_and(|record| !visitors.contains(&record));
        let is_inner = || is_trace && form_field.field.key.contains('.');
        // Where a service writes all of it in one record, a number among its own is its own.
        let is_its_own = |value: &&str| is_of_programs(value) || (value.contains('_') && !value.contains(' '));
        let is_amid = || is_trace && count >= CROWD_MIN && form_field.field.values.iter().all(is_its_own);
        if count >= COMPANY_MIN && (is_outside() || is_inner() || is_amid()) {
            *noise = Some(Noise::Machine);
        }
    }
}

/// Tells whether a field may be what a service writes around the answers: a title, a type, its own customer.
fn is_of_envelope(form_field: &FormField<'_>, known: &KnownField) -> bool {
    let is_short =
        || form_field.field.values.iter().all(|value| value.split_whitespace().nth(ENVELOPE_WORDS).is_none());
    let is_name = matches!(known.sense.role, Role::Name | Role::FullName | Role::Subject);
    is_name && known.sense.owner == Owner::Unsaid && is_short()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_time_zones_are_told_from_words() {
        assert!(is_constant("BOOKING_CREATED") && is_time_zone("America/Argentina/Ushuaia"));
        for word in ["BOOKING", "Booking_Created", "A_B", "COVID_19", "_"] {
            assert!(!is_constant(word), "{word}");
        }
        for word in ["Europe", "europe/berlin", "Europe/", "and/or", "1/2"] {
            assert!(!is_time_zone(word), "{word}");
        }
    }

    #[test]
    fn ids_of_services_are_told_from_numbers_on_papers() {
        for id in ["sub_01J9", "evt_1NG8Du2eZvKYlo2C", "lead_000417"] {
            assert!(is_prefixed_id(id) && !is_reference(id), "{id}");
        }
        for word in ["two_words", "a_1234", "snake_case_01", "sub_", "Sub_0123"] {
            assert!(!is_prefixed_id(word), "{word}");
        }
        for reference in ["LET-00417", "A/2026/17", "EH12ABC"] {
            assert!(is_reference(reference), "{reference}");
        }
        for word in ["LET", "00417", "let-00417", "7F3A9C1200DE44B1AA"] {
            assert!(!is_reference(word), "{word}");
        }
    }

    #[test]
    fn words_of_programs_are_told_from_those_of_papers() {
        for token in
            ["c93e51d0-6a27-4d8f-b1e4-0f7a2c9d6b38", "60c2ccdfe4892f0fa0593940b12c11aa", "MjpsZWFkX2lkOjE3NjQyMzc2MDA"]
        {
            assert!(is_token(token), "{token}");
        }
        for word in ["WVWZZZ1JZ3W386752", "DE89370400440532013000", "4500123456", "Wedding2026", "anna-schmidt"] {
            assert!(!is_token(word), "{word}");
        }
    }
}
