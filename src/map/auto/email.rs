//! Which field is the visitor's e-mail.

use super::{Auto, Candidate, One, Score, ScoreReason};
use crate::map::kind::FieldKind;
use crate::map::shape;
use crate::map::words::{Owner, Role};

/// What speaks for an address, and against it.
const BY_LABEL: i32 = 40;
const BY_KIND: i32 = 35;
const VALID: i32 = 50;
/// An address under a label that says nothing known.
const BY_VALUE_ALONE: i32 = 40;
/// Counts against an address that is said to be another's.
const OF_ANOTHER: i32 = 60;
/// A mistyped address is still the visitor's: it weighs more than somebody else's valid one.
const ATTEMPT: i32 = 37;

/// Weighs every field that may be the e-mail.
pub(super) fn candidates<'a>(auto: &Auto<'_, 'a>) -> Vec<Candidate<'a>> {
    let is_own = |one: &One<'_, '_>| one.role() == Role::Email && one.known.sense.owner != Owner::Person;
    let has_own = auto.free().any(|one| is_own(&one));
    let mut plain =
        auto.free().filter(|one| one.role() == Role::Email && one.known.sense.owner.is_the_visitor()).peekable();
    let is_left_empty = plain.peek().is_some() && plain.all(|one| one.is_empty());
    // The visitor's own may have been left empty: another's doesn't replace it.
    let is_replaced = |one: &One<'_, '_>| match one.known.sense.owner {
        Owner::Person => has_own,
        Owner::Attendee => is_left_empty,
        _ => false,
    };
    let mut found: Vec<_> = auto.free().filter(|one| !is_replaced(one)).filter_map(|one| weigh(auto, one)).collect();
    // What merely stands in the place of an address counts only where no field holds one, valid or mistyped.
    if found.iter().any(|(_, is_attempt)| *is_attempt) {
        found.retain(|(_, is_attempt)| *is_attempt);
    }
    let found: Vec<Candidate<'a>> = found.into_iter().map(|(candidate, _)| candidate).collect();
    if is_of_several(auto, &found) { of_main_person(auto, found) } else { found }
}

/// Where all addresses are other people's, finds the one whose owner's name and phone the form asks for too. None is the
/// visitor's where that is true of two, or where the visitor's own name is there.
fn of_main_person<'a>(auto: &Auto<'_, 'a>, found: Vec<Candidate<'a>>) -> Vec<Candidate<'a>> {
    let is_asked = |one: &One<'_, '_>| !one.is_empty() && (one.role().is_of_a_name() || one.role() == Role::Phone);
    let records: Vec<_> = found.iter().filter_map(|it| it.from.first()).map(|index| auto.record(*index)).collect();
    let is_own =
        |one: &One<'_, '_>| one.known.sense.owner.is_the_visitor() && records.contains(&auto.record(one.index));
    if auto.free().any(|one| is_asked(&one) && is_own(&one)) {
        return Vec::new();
    }
    let asked = |candidate: &Candidate<'_>| {
        let stem = candidate.from.first().and_then(|index| auto.one(*index)).map_or(0, |one| one.known.sense.stem);
        // 1: a record says so, and not whose.
        let is_same = |one: &One<'_, '_>| stem > 1 && one.known.sense.stem == stem;
        auto.free().filter(|one| is_asked(one) && is_same(one)).count()
    };
    let most = found.iter().map(asked).max().unwrap_or_default();
    let main: Vec<_> = found.into_iter().filter(|candidate| most > 0 && asked(candidate) == most).collect();
    if is_of_several(auto, &main) { Vec::new() } else { main }
}

/// Tells whether all addresses are said to be those of several others: which is the visitor's, nobody knows.
fn is_of_several(auto: &Auto<'_, '_>, found: &[Candidate<'_>]) -> bool {
    let mut fields = found.iter().filter_map(|it| it.from.first()).filter_map(|index| auto.one(*index));
    if found.len() < 2 || !fields.all(|one| one.known.sense.owner == Owner::Person) {
        return false;
    }
    let mut texts: Vec<String> = found.iter().map(|candidate| candidate.text.trim().to_lowercase()).collect();
    texts.sort_unstable();
    texts.dedup();
    texts.len() > 1
}

/// Returns a candidate, and whether it is at least meant as an address.
fn weigh<'a>(auto: &Auto<'_, 'a>, one: One<'_, 'a>) -> Option<(Candidate<'a>, bool)> {
    let sense = one.known.sense;
    let valid = one.values().iter().copied().find(|value| shape::is_email(value));
    let text = valid.or_else(|| one.values().first().copied()).filter(|text| !text.trim().is_empty())?;
    let is_called = one.role() == Role::Email;
    let is_typed = one.known.kind == FieldKind::Email;
    let may_be = is_called || is_typed || one.role() == Role::Unknown;
    let is_attempt = valid.is_some() || (may_be && shape::is_almost_email(text));
    // A program's own address is where the site's posts are sent to.
    if sense.role == Role::Secret || one.known.is_of_a_program || !(is_called || is_typed || is_attempt) {
        return None;
    }
    let by_role = match sense.role {
        Role::Email if sense.is_either && valid.is_none() => return None,
        Role::Email => BY_LABEL + 5 * i32::from(sense.strength),
        Role::Unknown => BY_VALUE_ALONE,
        Role::Message | Role::Inquiry | Role::Machine => 5,
        _ => 15,
    };
    let score = Score::default()
        .and(if is_called { ScoreReason::Label } else { ScoreReason::Value }, by_role)
        .when(is_typed, ScoreReason::Type, BY_KIND)
        .when(valid.is_some(), ScoreReason::Valid, VALID)
        .when(valid.is_none() && is_attempt, ScoreReason::Value, ATTEMPT)
        .and(ScoreReason::Owner, by_owner(sense.owner))
        .when(sense.is_confirmation, ScoreReason::Repeated, -10)
        .when(sense.is_second, ScoreReason::Repeated, -12)
        .when(one.known.is_of_a_system, ScoreReason::Record, -40)
        .when(one.known.is_of_a_thing, ScoreReason::Record, -20)
        .when(one.known.kind == FieldKind::Machine, ScoreReason::Type, -20)
        .and(ScoreReason::Place, -i32::from(one.known.depth));
    Some((Candidate { text, from: auto.alone(one.index), score }, is_attempt))
}

fn by_owner(owner: Owner) -> i32 {
    match owner {
        Owner::Person => -OF_ANOTHER,
        Owner::Attendee => -20,
        Owner::Guardian => -8,
        Owner::Company => -6,
        Owner::Visitor => 4,
        Owner::Unsaid => 0,
    }
}
