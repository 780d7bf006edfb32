//! Which field is the visitor's phone.

use super::{Auto, Candidate, KnownField, One, Score, ScoreReason, Whose, number};
use crate::lead::{Phone, Region};
use crate::map::kind::FieldKind;
use crate::map::shape;
use crate::map::words::{Owner, Role};

/// Fewest digits of what is sent as a number.
const DIGITS_MIN: usize = 5;

fn digits(text: &str) -> usize {
    match text.is_ascii() {
        true => text.bytes().filter(u8::is_ascii_digit).count(),
        false => text.chars().filter(|c| c.is_numeric()).count(),
    }
}

/// Weighs every field that may be the phone.
pub(super) fn candidates<'a>(auto: &Auto<'_, 'a>, whose: Whose) -> Vec<Candidate<'a>> {
    let is_called = |one: &One<'_, '_>| {
        !matches!(one.known.sense.owner, Owner::Person | Owner::Guardian | Owner::Attendee)
            && !one.known.sense.is_mixed
            && (one.role() == Role::Phone || one.known.kind == FieldKind::Phone)
    };
    let has_own = auto.free().any(|one| is_called(&one));
    let mut found: Vec<Candidate<'a>> = auto.free().filter_map(|one| weigh(auto, one, whose, has_own)).collect();
    // To tell whether a number is valid takes longer than all else: it decides between two.
    if found.len() > 1 {
        for candidate in &mut found {
            candidate.score =
                candidate.score.when(Phone::is_valid(candidate.text, auto.region), ScoreReason::Valid, 15);
        }
    }
    found
}

/// Tells whether the visitor's own name is there: then whom the form is about is somebody else.
fn has_own_name(auto: &Auto<'_, '_>) -> bool {
    let is_own = |one: &One<'_, '_>| one.role().is_of_a_name() && one.known.sense.owner.is_the_visitor();
    auto.free().any(|one| is_own(&one) && !one.is_empty())
}

/// Tells whether a number belongs to somebody or something else.
fn is_of_another(auto: &Auto<'_, '_>, one: &One<'_, '_>, whose: Whose, has_own: bool) -> bool {
    let KnownField { sense, is_of_a_system, is_of_a_thing, .. } = one.known;
    let is_of_a_person = whose.is_of_another(auto, one) || (sense.owner == Owner::Person && has_own);
    let is_of_a_record = (is_of_a_system || is_of_a_thing) && !whose.is_in_record(auto, one);
    // The visitor's own may have been left empty: a parent's, or a thing's, doesn't replace it.
    let is_lesser = matches!(sense.owner, Owner::Guardian | Owner::Attendee) && !whose.is_same(auto, one);
    let is_of_a_thing = sense.role == Role::Phone && sense.is_mixed;
    let is_attendee = sense.owner == Owner::Attendee && is_lesser && has_own_name(auto);
    is_of_a_person || is_of_a_record || is_attendee || (has_own && (is_lesser || is_of_a_thing))
}

/// Tells by what it is called, else by its value, whether a field may be the phone.
fn may_be(one: &One<'_, '_>, region: Option<Region>, has_own: bool) -> bool {
    let is_typed = one.known.kind == FieldKind::Phone;
    match one.role() {
        Role::Phone => true,
        Role::Email => one.known.sense.is_either,
        Role::Unknown => is_typed || (!has_own && one.single().is_some_and(|text| shape::is_phone(text, region))),
        Role::Company | Role::Inquiry | Role::Message | Role::Subject | Role::Other => is_typed,
        _ => false,
    }
}

fn weigh<'a>(auto: &Auto<'_, 'a>, one: One<'_, 'a>, whose: Whose, has_own: bool) -> Option<Candidate<'a>> {
    let sense = one.known.sense;
    if !may_be(&one, auto.region, has_own) {
        return None;
    }
    let is_typed = one.known.kind == FieldKind::Phone;
    let has_digits = |text: &str| text.chars().filter(|c| c.is_numeric()).nth(DIGITS_MIN - 1).is_some();
    let alone = || {
        let text = one.values().iter().copied().find(|value| has_digits(value) && !shape::is_email(value))?;
        Some((text, auto.alone(one.index)))
    };
    let (text, from) = number::whole(auto, &one).filter(|_| sense.role == Role::Phone).or_else(alone)?;
    if is_of_another(auto, &one, whose, has_own) {
        return None;
    }
    let by_role = by_role(auto, &one, text)?;
    let is_called = matches!(sense.role, Role::Phone | Role::Email);
    let score = Score::default()
        .and(if is_called { ScoreReason::Label } else { ScoreReason::Value }, by_role)
        .when(is_typed, ScoreReason::Type, 25)
        .when(text.trim_start().starts_with(['+', '＋']), ScoreReason::Value, 6)
        .and(ScoreReason::Value, i32::try_from(digits(text).min(12)).unwrap_or_default() / 4)
        .when(sense.owner == Owner::Company, ScoreReason::Owner, -4)
        .when(sense.owner == Owner::Attendee, ScoreReason::Owner, -6)
        .when(sense.owner == Owner::Visitor, ScoreReason::Owner, 4)
        .when(whose.is_same(auto, &one), ScoreReason::Record, 12)
        .when(sense.is_confirmation, ScoreReason::Repeated, -10)
        .when(sense.is_second, ScoreReason::Repeated, -8)
        .and(ScoreReason::Place, -2 * i32::from(one.known.depth));
    Some(Candidate { text, from, score })
}

/// What its label says of a number; none where it is no phone of the visitor's.
fn by_role(auto: &Auto<'_, '_>, one: &One<'_, '_>, text: &str) -> Option<i32> {
    let sense = one.known.sense;
    let is_typed = one.known.kind == FieldKind::Phone;
    match sense.role {
        // A phone of something: a hotel's, a model's.
        Role::Phone if sense.is_mixed && !is_typed && !shape::is_phone(text, auto.region) => None,
        Role::Phone if sense.is_mixed => Some(32),
        Role::Phone => Some(45 + 5 * i32::from(sense.strength)),
        Role::Email if sense.is_either => Some(40),
        Role::Unknown | Role::Company | Role::Inquiry | Role::Message | Role::Subject if is_typed => Some(30),
        Role::Other if is_typed && sense.owner == Owner::Visitor => Some(28),
        Role::Unknown => Some(30),
        _ => None,
    }
}
