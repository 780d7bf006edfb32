//! Which fields are the visitor's name: one, or the parts of it.

use std::cell::LazyCell;

use super::mail::LocalPart;
use super::value::{can_be_name, name_likeness, without_titles};
use super::{Auto, Candidate, One, Score, ScoreReason, Whose};
use crate::decode::NodeId;
use crate::map::kind::FieldKind;
use crate::map::shape;
use crate::map::texts::join;
use crate::map::words::{Owner, Role};

/// How many fields that are called a name are weighed, and how long one is.
const NAMED_MAX: usize = 16;
const NAME_BYTES: usize = 400;
const UNNAMED_MAX: usize = 32;
/// What two parts of a name are worth of which one has the plain word for a name, and one part alone.
pub(super) const PLAIN_PAIR: i32 = 88;
const FIRST_ALONE: i32 = 60;
const LAST_ALONE: i32 = 50;
/// Counts against a name that is said to be another's.
const OF_ANOTHER: i32 = 75;
/// Counts against the name of whom the form is about: a parent may have filled it in.
const OF_AN_ATTENDEE: i32 = 40;
/// Counts against a name in a record about the form, the page or the campaign.
const OF_A_SYSTEM: i32 = 80;

/// Weighs every field, and every pair of fields, that may be the name.
pub(super) fn candidates<'a>(auto: &Auto<'_, 'a>, whose: Whose) -> Vec<Candidate<'a>> {
    let address = whose.email.and_then(|index| auto.one(index)).and_then(|one| one.values().first().copied());
    let local = LazyCell::new(|| LocalPart::of(address.unwrap_or_default()));
    let names = Names { auto, whose, local: &local };
    let mut found = Vec::new();
    let filled: Vec<One<'_, 'a>> = auto.free().filter(|one| names.is_named(one)).take(NAMED_MAX).collect();
    for one in &filled {
        found.extend(names.alone(*one));
    }
    for first in filled.iter().filter(|one| matches!(one.role(), Role::FirstName | Role::Name)) {
        let lasts = filled.iter().filter(|one| matches!(one.role(), Role::LastName | Role::Name));
        for last in lasts.filter(|last| last.index != first.index) {
            found.extend(names.pair(*first, *last, &filled));
        }
    }
    found.extend(names.with_middle(&filled));
    found.extend(names.of_the_same_label(&filled));
    // Most forms label the name clearly: then nothing else is weighed.
    let is_sure = |candidate: &Candidate<'_>| {
        candidate.score.total() >= SURE && candidate.score.weight_of(ScoreReason::Owner) >= 0
    };
    if whose.is_only && found.iter().any(is_sure) {
        return found;
    }
    found.extend(names.unnamed());
    found.extend(names.of_the_address(&found));
    names.weigh_address(&mut found);
    // Where every label says that the name is another's, one of them is the visitor's all the same: the one that goes with the
    // e-mail, else the first.
    let is_another = |candidate: &Candidate<'_>| {
        candidate.score.weight_of(ScoreReason::Owner) <= -OF_ANOTHER + 20
            && candidate.score.weight_of(ScoreReason::Mail) == 0
    };
    if !found.iter().any(|candidate| !is_another(candidate) && candidate.score.total() >= OWN_MIN) {
        for candidate in found.iter_mut().filter(|candidate| is_another(candidate)) {
            candidate.score = candidate.score.and(ScoreReason::Owner, OF_ANOTHER - 20);
        }
    }
    found
}

/// What an undoubted name weighs.
const SURE: i32 = 78;
/// What the visitor's own name weighs at least.
const OWN_MIN: i32 = 20;

pub(super) struct Names<'n, 'v, 'a, F> {
    pub(super) auto: &'n Auto<'v, 'a>,
    whose: Whose,
    local: &'n LazyCell<LocalPart, F>,
}

impl<'a, F: FnOnce() -> LocalPart> Names<'_, '_, 'a, F> {
    fn is_named(&self, one: &One<'_, 'a>) -> bool {
        let is_called = one.role().is_of_a_name() || (one.known.kind == FieldKind::Name && one.role() == Role::Unknown);
        is_called
            && !matches!(
                one.known.kind,
                FieldKind::Choice
                    | FieldKind::Email
                    | FieldKind::Phone
                    | FieldKind::LongText
                    | FieldKind::File
                    | FieldKind::Fact
                    | FieldKind::Machine
            )
            && one.values().iter().map(|value| value.len()).sum::<usize>() <= NAME_BYTES
            && can_be_name(self.text(one), self.auto.dictionary)
    }

    pub(super) fn text(&self, one: &One<'_, 'a>) -> &'a str {
        join(self.auto.submission, one.values(), " ").trim()
    }

    /// What speaks for a field wherever it stands.
    pub(super) fn by_place(&self, one: &One<'_, 'a>) -> Score {
        let sense = one.known.sense;
        let by_record = match (self.whose.record, self.auto.record(one.index)) {
            (Some(email), Some(record)) if email == record => 10,
            (Some(email), Some(record)) if self.holds(record, email) => -4,
            (Some(_), Some(_)) => -6,
            _ => 0,
        };
        Score::default()
            .and(ScoreReason::Record, by_record)
            .when(
                (one.known.is_of_a_system || one.known.is_of_a_thing) && by_record <= 0,
                ScoreReason::Record,
                -OF_A_SYSTEM,
            )
            .when(sense.owner == Owner::Visitor, ScoreReason::Owner, 6)
            .when(self.whose.is_of_another(self.auto, one), ScoreReason::Owner, -OF_ANOTHER)
            .when(sense.owner == Owner::Guardian, ScoreReason::Owner, -15)
            .when(sense.owner == Owner::Attendee, ScoreReason::Owner, -OF_AN_ATTENDEE)
            .when(self.whose.stem > 1 && sense.stem == self.whose.stem, ScoreReason::Owner, 12)
            .when(sense.is_second, ScoreReason::Repeated, -10)
            .and(ScoreReason::Place, -2 * i32::from(one.known.depth))
    }

    /// Adds what the address says: a name that it holds is the visitor's, even where the label says otherwise. Several names in
    /// one field are those of companions.
    fn weigh_address(&self, found: &mut [Candidate<'a>]) {
        for candidate in found {
            let words = self.local.words_of(candidate.text);
            let score = candidate.score;
            let lifted = match score.weight_of(ScoreReason::Owner) {
                owner if owner <= -OF_ANOTHER + 20 => OF_ANOTHER - 20,
                owner => -owner.min(0),
            };
            let others = candidate.text.matches([',', '،', '、', ';']).count().min(2);
            candidate.score = score
                .and(
                    ScoreReason::Mail,
                    match words {
                        0 => 0,
                        1 => 12,
                        _ => 40,
                    },
                )
                .when(words > 0, ScoreReason::Mail, lifted - score.weight_of(ScoreReason::LeftEmpty))
                .and(ScoreReason::Value, -15 * i32::try_from(others).unwrap_or_default());
        }
    }

    /// Names under labels that don't speak of a name, recognized because the address holds them.
    fn of_the_address(&self, found: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
        let is_new = |one: &One<'_, 'a>| !found.iter().any(|candidate| candidate.from == [one.index]);
        let weigh = |one: One<'_, 'a>| {
            let text = one.single()?.trim();
            let is_person = one.known.sense.owner.is_a_person();
            let is_open = matches!(one.role(), Role::Unknown | Role::Other | Role::Inquiry | Role::MiddleName)
                || (one.role() == Role::Company && is_person);
            let is_kind = matches!(one.known.kind, FieldKind::Unsaid | FieldKind::Name) && !one.known.is_of_a_system;
            let likeness =
                if is_open && is_kind { name_likeness(without_titles(text), self.auto.dictionary) } else { 0 };
            let words = if likeness > 0 { self.local.words_of(text) } else { 0 };
            let is_name = likeness >= 5 || (likeness > 0 && words > 0);
            if !is_name || (words == 0 && !(is_person && one.role() == Role::Other)) {
                return None;
            }
            let score = self.by_place(&one).and(ScoreReason::Value, 10 + 6 * likeness).and(ScoreReason::MoreWords, -12);
            Some(Candidate { text, from: self.auto.alone(one.index), score })
        };
        self.auto.free().filter(is_new).filter_map(weigh).take(UNNAMED_MAX).collect()
    }

    fn holds(&self, record: NodeId, inner: NodeId) -> bool {
        self.auto.document().way(inner).any(|node| node == record) || record == self.auto.document().root()
    }

    fn alone(&self, one: One<'_, 'a>) -> Option<Candidate<'a>> {
        let strength = i32::from(one.known.sense.strength);
        let text = self.text(&one);
        let by_role = match one.role() {
            Role::FullName => 62 + 10 * strength,
            Role::Name => match strength {
                3 => 82,
                2 => 58,
                _ => 42,
            },
            Role::FirstName => FIRST_ALONE,
            Role::LastName => LAST_ALONE,
            _ => 60,
        };
        let score = self.by_place(&one).and(ScoreReason::Label, by_role).when(
            one.known.kind == FieldKind::Name,
            ScoreReason::Type,
            12,
        );
        Some(Candidate { text, from: self.auto.alone(one.index), score })
    }

    /// Forms ask for the name first: what looks like one before the e-mail, else anywhere.
    fn unnamed(&self) -> Vec<Candidate<'a>> {
        let is_named = |one: &One<'_, 'a>| one.known.sense.owner != Owner::Person && one.role().is_of_a_name();
        let has_own = self.auto.free().any(|one| is_named(&one));
        let weigh = |one: One<'_, 'a>| {
            let text = one.single()?.trim();
            let is_open = matches!(one.role(), Role::Unknown)
                && matches!(one.known.kind, FieldKind::Unsaid)
                && !one.known.is_of_a_system
                && one.known.sense.owner != Owner::Person;
            let likeness = if is_open { name_likeness(text, self.auto.dictionary) } else { 0 };
            let is_before = self.whose.email.is_some_and(|email| one.index < email);
            let is_line = is_open
                && is_before
                && likeness == 0
                && shape::is_line(text)
                && can_be_name(text, self.auto.dictionary)
                && !self.auto.dictionary.is_answer(text);
            if likeness == 0 && !is_line {
                return None;
            }
            let score = self
                .by_place(&one)
                .and(ScoreReason::Value, 10 + 6 * likeness)
                .when(is_before, ScoreReason::Place, 8)
                .when(one.known.is_labelled, ScoreReason::MoreWords, if is_before || likeness > 4 { -12 } else { -24 })
                .when(has_own, ScoreReason::LeftEmpty, -25);
            Some(Candidate { text, from: self.auto.alone(one.index), score })
        };
        let mut found: Vec<Candidate<'a>> = self.auto.free().filter_map(weigh).take(UNNAMED_MAX).collect();
        found.extend(self.unnamed_pairs(&found));
        found
    }

    /// Two single words that look like names and follow each other are one name.
    fn unnamed_pairs(&self, found: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
        let is_word = |candidate: &Candidate<'a>| {
            let words = candidate.text.split_whitespace().count();
            words == 1 && (name_likeness(candidate.text, self.auto.dictionary) >= 3 || is_short_of_east(candidate.text))
        };
        let words: Vec<&Candidate<'a>> = found.iter().filter(|candidate| is_word(candidate)).collect();
        let pairs = words.windows(2).filter_map(|pair| match pair {
            [first, second] => {
                let one = *first.from.first()?;
                let other = *second.from.first()?;
                let is_next = self
                    .auto
                    .free()
                    .skip_while(|it| it.index <= one)
                    .find(|it| !it.is_empty())
                    .is_some_and(|it| it.index == other);
                let weaker = if first.score.total() <= second.score.total() { first.score } else { second.score };
                let score = weaker.and(ScoreReason::Parts, 14);
                is_next.then(|| self.joined(&[first.text, second.text], [one, other], score))
            }
            _ => None,
        });
        pairs.collect()
    }
}

fn is_short_of_east(text: &str) -> bool {
    (1..=3).contains(&text.chars().count())
        && text.chars().all(|c| matches!(c, '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'))
}
