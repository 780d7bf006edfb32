//! Which field is what the visitor wrote.

use super::value::{prose, words};
use super::{Auto, Candidate, KnownField, One, Score, ScoreReason, Whose};
use crate::decode::Arena;
use crate::map::kind::FieldKind;
use crate::map::shape;
use crate::map::texts::join;
use crate::map::words::{Owner, Role};

/// Weighs every field that may be the message.
pub(super) fn candidates<'a>(auto: &Auto<'_, 'a>, whose: Whose) -> Vec<Candidate<'a>> {
    // Where a field is called a message and has one, only others that may be one by their label or type are weighed.
    let is_message =
        |one: &One<'_, '_>| one.role() == Role::Message && !one.is_empty() && !is_of_a_system(auto, one, whose);
    let has_message = auto.free().any(|one| is_message(&one));
    let is_near = |one: &One<'_, '_>| {
        !has_message || matches!(one.role(), Role::Message | Role::Inquiry) || one.known.kind == FieldKind::LongText
    };
    let fields = auto.free().filter(|one| is_near(one) && may_be(&one.known));
    fields.filter_map(|one| weigh(auto, one, whose)).collect()
}

/// Tells, without its value, whether a field may be the message.
fn may_be(known: &KnownField) -> bool {
    let is_for_others = matches!(known.kind, FieldKind::Machine | FieldKind::Consent | FieldKind::File);
    let may_hold = match known.sense.role {
        Role::Message | Role::Inquiry | Role::Unknown | Role::Other | Role::Subject => true,
        Role::Name | Role::FullName | Role::Company => known.kind == FieldKind::LongText,
        Role::Email | Role::Phone | Role::Consent => known.is_question,
        _ => false,
    };
    may_hold && !is_for_others
}

fn weigh<'a>(auto: &Auto<'_, 'a>, one: One<'_, 'a>, whose: Whose) -> Option<Candidate<'a>> {
    let sense = one.known.sense;
    if one.is_empty() {
        return None;
    }
    let text = unwrapped(join(auto.submission, one.values(), ", "), auto.submission.arena);
    let is_called = matches!(sense.role, Role::Message | Role::Inquiry);
    if !is_called && auto.is_copy(text) {
        return None;
    }
    if !is_called && shape::is_machine(text.trim())
        || (sense.role != Role::Message && shape::is_url(text) && words(text, 2) <= 1)
    {
        return None;
    }
    let is_long_text = one.known.kind == FieldKind::LongText;
    let prose = if one.single().is_some() { prose(text) } else { 0 };
    let by_role = by_role(auto, &one, text, prose)?;
    let is_choice = matches!(
        one.known.kind,
        FieldKind::Choice | FieldKind::Fact | FieldKind::Phone | FieldKind::Email | FieldKind::Name
    );
    let score = Score::default()
        .and(if is_called { ScoreReason::Label } else { ScoreReason::Place }, by_role)
        .and(ScoreReason::Value, prose)
        .when(is_long_text, ScoreReason::Type, 30)
        .when(one.known.is_question && prose > 0, ScoreReason::Label, 6)
        .when(is_choice, ScoreReason::Choice, -45)
        .when(sense.owner == Owner::Person, ScoreReason::Owner, if is_called { -25 } else { -5 })
        .when(sense.is_second, ScoreReason::Repeated, -12)
        .when(is_of_a_system(auto, &one, whose), ScoreReason::Record, -60);
    Some(Candidate { text, from: auto.alone(one.index), score })
}

/// Chats write what a visitor typed as paragraphs of HTML: those become lines, where there is no other tag.
fn unwrapped<'a>(text: &'a str, arena: &'a Arena) -> &'a str {
    if !(text.starts_with("<p>") && text.trim_end().ends_with("</p>")) {
        return text;
    }
    let lines = ["<br>", "<br/>", "<br />", "</p>"]
        .into_iter()
        .fold(text.replace("<p>", ""), |text, tag| text.replace(tag, "\n"));
    if lines.contains('<') { text } else { arena.alloc_str(lines.trim()) }
}

/// Tells whether a field stands in a record of the form, the page or the campaign, and not beside the e-mail.
fn is_of_a_system(auto: &Auto<'_, '_>, one: &One<'_, '_>, whose: Whose) -> bool {
    one.known.is_of_a_system && !whose.is_in_record(auto, one)
}

/// What its label says of a text; none where it is no message.
fn by_role(auto: &Auto<'_, '_>, one: &One<'_, '_>, text: &str, prose: i32) -> Option<i32> {
    let KnownField { sense, kind, is_labelled, is_worded, is_question, .. } = one.known;
    let is_long_text = kind == FieldKind::LongText;
    let is_called = matches!(sense.role, Role::Message | Role::Inquiry);
    let has_figures = || text.bytes().filter(u8::is_ascii_digit).count() > FIGURES_MAX;
    let is_agreement = || prose > 0 && !is_called && auto.dictionary.is_agreement(text);
    let weight = match sense.role {
        Role::Message => 60 + 5 * i32::from(sense.strength),
        Role::Inquiry if words(text, 2) > 1 || is_long_text => 40,
        Role::Inquiry => 22,
        Role::Unknown if is_long_text => 30,
        // A short answer keeps its label.
        Role::Unknown if (is_labelled || is_worded) && !is_question && prose < PROSE => return None,
        Role::Unknown if prose > 0 && !auto.dictionary.is_answer(text) => 10,
        Role::Other | Role::Subject | Role::Name | Role::FullName | Role::Company if is_long_text => 8,
        Role::Other if is_question && prose >= PROSE => 8,
        Role::Other if prose >= LONG_PROSE => 4,
        Role::Other if prose >= PROSE && !has_figures() => 2,
        Role::Subject if prose >= PROSE => 2,
        // "Does your pet have any conditions?"
        Role::Email | Role::Phone | Role::Consent if prose >= PROSE && is_question => 4,
        _ => return None,
    };
    (!is_agreement()).then_some(weight)
}

/// What a sentence weighs, and several.
const PROSE: i32 = 13;
const LONG_PROSE: i32 = 22;
/// Most digits of a sentence that is no postal address.
const FIGURES_MAX: usize = 2;
