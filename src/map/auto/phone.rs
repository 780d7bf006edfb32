//! Which field is the visitor's phone.

use super::{Auto, Candidate, One, Reason, Score, Whose};
use crate::lead::Phone;
use crate::map::kind::Kind;
use crate::map::shape;
use crate::map::words::{Owner, Role};

/// Fewest digits of what is sent as a number.
const DIGITS_MIN: usize = 5;

/// Weighs every field that may be the phone.
pub(super) fn candidates<'a>(auto: &Auto<'_, 'a>, whose: Whose) -> Vec<Candidate<'a>> {
    let is_called = |one: &One<'_, '_>| {
        !matches!(one.known.sense.owner, Owner::Person | Owner::Guardian)
            && !one.known.sense.is_mixed
            && (one.role() == Role::Phone || one.known.kind == Kind::Phone)
    };
    let has_own = auto.free().any(|one| is_called(&one));
    let mut found: Vec<Candidate<'a>> = auto.free().filter_map(|one| weigh(auto, one, whose, has_own)).collect();
    // To tell whether a number is valid takes longer than all else: it decides between two.
    if found.len() > 1 {
        for candidate in &mut found {
            candidate.score = candidate.score.when(Phone::is_valid(candidate.text, auto.region), Reason::Valid, 15);
        }
    }
    found
}

fn weigh<'a>(auto: &Auto<'_, 'a>, one: One<'_, 'a>, whose: Whose, has_own: bool) -> Option<Candidate<'a>> {
    let sense = one.known.sense;
    let digits = |text: &str| text.chars().filter(|c| c.is_numeric()).count();
    let text = one.values().iter().copied().find(|value| digits(value) >= DIGITS_MIN && !shape::is_email(value))?;
    // Somebody else's number is never the visitor's.
    if whose.is_of_another(auto, &one) || (one.known.is_of_a_system && !whose.is_in_record(auto, &one)) {
        return None;
    }
    // The visitor's own was left empty: a parent's, or a thing's, doesn't replace it.
    let is_of_a_thing = one.known.is_of_a_thing && !whose.is_in_record(auto, &one);
    if is_of_a_thing || has_own && (sense.owner == Owner::Guardian || (sense.role == Role::Phone && sense.is_mixed)) {
        return None;
    }
    let is_typed = one.known.kind == Kind::Phone;
    let by_role = match sense.role {
        // A phone of something: a hotel's, a model's.
        Role::Phone if sense.is_mixed && !is_typed && !shape::is_phone(text, auto.region) => return None,
        Role::Phone if sense.is_mixed => 32,
        Role::Phone => 45 + 5 * i32::from(sense.strength),
        Role::Email if sense.is_either => 40,
        Role::Unknown | Role::Company | Role::Inquiry | Role::Message | Role::Subject if is_typed => 30,
        Role::Other if is_typed && sense.owner == Owner::Visitor => 28,
        Role::Unknown if !has_own && one.single().is_some() && shape::is_phone(text, auto.region) => 30,
        _ => return None,
    };
    let is_called = matches!(sense.role, Role::Phone | Role::Email);
    let score = Score::default()
        .and(if is_called { Reason::Label } else { Reason::Value }, by_role)
        .when(is_typed, Reason::Type, 25)
        .when(text.trim_start().starts_with(['+', '＋']), Reason::Value, 6)
        .and(Reason::Value, i32::try_from(digits(text).min(12)).unwrap_or_default() / 4)
        .when(sense.owner == Owner::Company, Reason::Owner, -4)
        .when(sense.owner == Owner::Visitor, Reason::Owner, 4)
        .when(whose.is_same(auto, &one), Reason::Record, 12)
        .when(sense.is_confirmation, Reason::Repeated, -10)
        .when(sense.is_second, Reason::Repeated, -8)
        .and(Reason::Place, -2 * i32::from(one.known.depth));
    Some(Candidate { text, from: auto.alone(one.index), score })
}
