//! Who plays which part: of all that may be, what goes best together.

use super::{Auto, AutoResult, Candidate, Whose, email, message, name, phone};
use crate::lead::LeadField;

/// How many candidates of a part are tried with those of the others.
const TRIED: usize = 5;
const EMAILS: usize = 3;

/// E-mail, phone, name and message.
type Assignment<'a> = [Option<Candidate<'a>>; 4];

/// What a candidate must weigh to be sent at all.
fn least(field: LeadField) -> i32 {
    match field {
        LeadField::Email => 1,
        LeadField::Phone => 25,
        LeadField::Name => 20,
        LeadField::Message => 12,
    }
}

/// Finds the fields that are open.
pub(super) fn assign<'a>(auto: &Auto<'_, 'a>, open: impl Fn(LeadField) -> bool) -> AutoResult<'a> {
    let of = |field: LeadField, find: &dyn Fn() -> Vec<Candidate<'a>>| match open(field) {
        true => best(find(), least(field), TRIED),
        false => Vec::new(),
    };
    // Where a rule names the e-mail, its owner is settled.
    let emails = match auto.email {
        Some(_) => Vec::new(),
        None => best(email::candidates(auto), least(LeadField::Email), EMAILS),
    };
    let mut candidates = Vec::new();
    let mut tell = |field: LeadField, found: &[Candidate<'a>]| candidates.extend(found.iter().map(|it| (field, *it)));
    tell(LeadField::Email, if open(LeadField::Email) { &emails } else { &[] });
    let is_only = emails.len() < 2;
    let emails = if emails.is_empty() { vec![None] } else { emails.into_iter().map(Some).collect() };
    let mut most: Option<(i32, Assignment<'a>, [Vec<Candidate<'a>>; 3])> = None;
    for email in emails {
        let at = auto.email.or(email.and_then(|email| email.from.first().copied()));
        let whose = Whose::of(auto, at, is_only);
        let phones = of(LeadField::Phone, &|| phone::candidates(auto, whose));
        let messages = of(LeadField::Message, &|| message::candidates(auto, whose));
        let names = of(LeadField::Name, &|| name::candidates(auto, whose));
        let email = email.filter(|_| open(LeadField::Email));
        let (rest, chosen) = together(email, &phones, &names, &messages);
        // Whose the address is matters more than the rest of the fields.
        let score = rest + 2 * email.map_or(0, |email| email.score.total());
        if most.as_ref().is_none_or(|(most, ..)| score > *most) {
            most = Some((score, chosen, [phones, messages, names]));
        }
    }
    let (_, chosen, [phones, messages, names]) = most.unwrap_or_default();
    candidates.extend(phones.into_iter().map(|it| (LeadField::Phone, it)));
    candidates.extend(messages.into_iter().map(|it| (LeadField::Message, it)));
    candidates.extend(names.into_iter().map(|it| (LeadField::Name, it)));
    let [email, phone, name, message] = chosen;
    let fields = [LeadField::Email, LeadField::Phone, LeadField::Name, LeadField::Message];
    let chosen = fields.into_iter().zip([email, phone, name, message]);
    let sure = |field: LeadField, chosen: &Candidate<'_>| confidence(field, chosen, &candidates);
    let guess =
        |(field, chosen): (LeadField, Option<Candidate<'a>>)| chosen.map(|it| (field, it.guess(sure(field, &it))));
    let guesses = chosen.filter_map(guess).collect();
    AutoResult { guesses, candidates }
}

/// What an undoubted field weighs.
fn full(field: LeadField) -> i32 {
    match field {
        LeadField::Email => 90,
        LeadField::Phone => 45,
        LeadField::Name => 75,
        LeadField::Message => 60,
    }
}

/// How far the next one must be behind for the first to be sure.
const MARGIN: f32 = 20.0;
/// How much of the confidence is the weight itself; the rest is how far the next one is behind.
const BY_WEIGHT: f32 = 0.7;

/// Tells how sure a choice is: by what it weighs, and by what else could be it.
fn confidence(field: LeadField, chosen: &Candidate<'_>, candidates: &[(LeadField, Candidate<'_>)]) -> f32 {
    let is_other = |other: &Candidate<'_>| !other.shares_a_field(chosen) && other.text.trim() != chosen.text.trim();
    let others = candidates.iter().filter(|(of, other)| *of == field && is_other(other));
    let next = others.map(|(_, other)| other.score.total()).max();
    let score = chosen.score.total();
    let margin = next.map_or(1.0, |next| (score.saturating_sub(next) as f32 / MARGIN).clamp(0.0, 1.0));
    let weight = (score as f32 / full(field) as f32).clamp(0.0, 1.0);
    weight * (BY_WEIGHT + (1.0 - BY_WEIGHT) * margin)
}

/// Keeps what weighs enough, the heaviest first; of equals the earlier.
fn best(mut candidates: Vec<Candidate<'_>>, least: i32, count: usize) -> Vec<Candidate<'_>> {
    candidates.retain(|candidate| candidate.score.total() >= least);
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.score.total()));
    candidates.truncate(count);
    candidates
}

/// Finds the three that weigh most beside an e-mail, no field taken twice.
fn together<'a>(
    email: Option<Candidate<'a>>,
    phones: &[Candidate<'a>],
    names: &[Candidate<'a>],
    messages: &[Candidate<'a>],
) -> (i32, Assignment<'a>) {
    let or_none = |candidates: &[Candidate<'a>]| -> Vec<Option<Candidate<'a>>> {
        candidates.iter().copied().map(Some).chain([None]).collect()
    };
    let weight = |candidate: &Option<Candidate<'a>>| candidate.map_or(0, |candidate| candidate.score.total());
    let is_apart = |one: &Option<Candidate<'a>>, other: &Option<Candidate<'a>>| match (one, other) {
        (Some(one), Some(other)) => !one.shares_a_field(other),
        _ => true,
    };
    // In most forms the first of each are of different fields: nothing weighs more.
    let first = [email, phones.first().copied(), names.first().copied(), messages.first().copied()];
    if first.iter().enumerate().all(|(at, one)| first.iter().skip(at + 1).all(|other| is_apart(one, other))) {
        return (first.iter().map(weight).sum(), first);
    }
    let mut most = (i32::MIN, [None; 4]);
    for name in or_none(names).into_iter().filter(|name| is_apart(name, &email)) {
        for phone in or_none(phones).into_iter().filter(|phone| is_apart(phone, &email) && is_apart(phone, &name)) {
            for message in or_none(messages) {
                let is_apart = is_apart(&message, &email) && is_apart(&message, &name) && is_apart(&message, &phone);
                let score = [&email, &phone, &name, &message].into_iter().map(weight).sum();
                if is_apart && score > most.0 {
                    most = (score, [email, phone, name, message]);
                }
            }
        }
    }
    most
}
