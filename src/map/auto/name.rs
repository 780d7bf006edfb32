//! Which fields are the visitor's name: one, or the parts of it.

use std::cell::LazyCell;

use super::mail::Local;
use super::value::{can_be_name, name_likeness, without_titles};
use super::{Auto, Candidate, One, Reason, Score, Whose};
use crate::decode::NodeId;
use crate::map::kind::Kind;
use crate::map::shape;
use crate::map::texts::join;
use crate::map::words::{Owner, Role};

/// How many fields that are called a name are weighed, and how long one is.
const NAMED_MAX: usize = 16;
const NAME_BYTES: usize = 400;
const UNNAMED_MAX: usize = 32;
/// What two parts of a name are worth, and one whole.
const PAIR: i32 = 92;
const PLAIN_PAIR: i32 = 88;
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
    let local = LazyCell::new(|| Local::of(address.unwrap_or_default()));
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
    found.extend(names.initials(&filled));
    found.extend(names.of_the_same_label(&filled));
    // Most forms label the name clearly: then nothing else is weighed.
    let is_sure =
        |candidate: &Candidate<'_>| candidate.score.total() >= SURE && candidate.score.weight_of(Reason::Owner) >= 0;
    if whose.is_only && found.iter().any(is_sure) {
        return found;
    }
    found.extend(names.unnamed());
    found.extend(names.of_the_address(&found));
    names.weigh_address(&mut found);
    // Where every label says that the name is another's, one of them is the visitor's all the same: the one that goes with the
    // e-mail, else the first.
    let is_another = |candidate: &Candidate<'_>| {
        candidate.score.weight_of(Reason::Owner) <= -OF_ANOTHER + 20 && candidate.score.weight_of(Reason::Mail) == 0
    };
    if !found.iter().any(|candidate| !is_another(candidate) && candidate.score.total() >= OWN_MIN) {
        for candidate in found.iter_mut().filter(|candidate| is_another(candidate)) {
            candidate.score = candidate.score.and(Reason::Owner, OF_ANOTHER - 20);
        }
    }
    found
}

/// What an undoubted name weighs.
const SURE: i32 = 78;
/// What the visitor's own name weighs at least.
const OWN_MIN: i32 = 20;

struct Names<'n, 'v, 'a, F> {
    auto: &'n Auto<'v, 'a>,
    whose: Whose,
    local: &'n LazyCell<Local, F>,
}

impl<'a, F: FnOnce() -> Local> Names<'_, '_, 'a, F> {
    fn is_named(&self, one: &One<'_, 'a>) -> bool {
        let is_called = one.role().is_of_a_name() || (one.known.kind == Kind::Name && one.role() == Role::Unknown);
        is_called
            && !matches!(
                one.known.kind,
                Kind::Choice | Kind::Email | Kind::Phone | Kind::LongText | Kind::File | Kind::Fact | Kind::Machine
            )
            && one.values().iter().map(|value| value.len()).sum::<usize>() <= NAME_BYTES
            && can_be_name(self.text(one), self.auto.dictionary)
    }

    fn text(&self, one: &One<'_, 'a>) -> &'a str {
        join(self.auto.submission, one.values(), " ").trim()
    }

    /// What speaks for a field wherever it stands.
    fn by_place(&self, one: &One<'_, 'a>) -> Score {
        let sense = one.known.sense;
        let by_record = match (self.whose.record, self.auto.record(one.index)) {
            (Some(email), Some(record)) if email == record => 10,
            (Some(email), Some(record)) if self.holds(record, email) => -4,
            (Some(_), Some(_)) => -6,
            _ => 0,
        };
        Score::default()
            .and(Reason::Record, by_record)
            .when((one.known.is_of_a_system || one.known.is_of_a_thing) && by_record <= 0, Reason::Record, -OF_A_SYSTEM)
            .when(sense.owner == Owner::Visitor, Reason::Owner, 6)
            .when(self.whose.is_of_another(self.auto, one), Reason::Owner, -OF_ANOTHER)
            .when(sense.owner == Owner::Guardian, Reason::Owner, -15)
            .when(sense.owner == Owner::Attendee, Reason::Owner, -OF_AN_ATTENDEE)
            .when(self.whose.stem > 1 && sense.stem == self.whose.stem, Reason::Owner, 12)
            .when(sense.is_second, Reason::Repeated, -10)
            .and(Reason::Place, -2 * i32::from(one.known.depth))
    }

    /// Adds what the address says: a name that it holds is the visitor's, even where the label says otherwise. Several names in
    /// one field are those of companions.
    fn weigh_address(&self, found: &mut [Candidate<'a>]) {
        for candidate in found {
            let words = self.local.words_of(candidate.text);
            let score = candidate.score;
            let lifted = match score.weight_of(Reason::Owner) {
                owner if owner <= -OF_ANOTHER + 20 => OF_ANOTHER - 20,
                owner => -owner.min(0),
            };
            let others = candidate.text.matches([',', '،', '、', ';']).count().min(2);
            candidate.score = score
                .and(
                    Reason::Mail,
                    match words {
                        0 => 0,
                        1 => 12,
                        _ => 40,
                    },
                )
                .when(words > 0, Reason::Mail, lifted - score.weight_of(Reason::LeftEmpty))
                .and(Reason::Value, -15 * i32::try_from(others).unwrap_or_default());
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
            let is_kind = matches!(one.known.kind, Kind::Unsaid | Kind::Name) && !one.known.is_of_a_system;
            let likeness =
                if is_open && is_kind { name_likeness(without_titles(text), self.auto.dictionary) } else { 0 };
            let words = if likeness > 0 { self.local.words_of(text) } else { 0 };
            let is_name = likeness >= 5 || (likeness > 0 && words > 0);
            if !is_name || (words == 0 && !(is_person && one.role() == Role::Other)) {
                return None;
            }
            let score = self.by_place(&one).and(Reason::Value, 10 + 6 * likeness).and(Reason::MoreWords, -12);
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
        let score =
            self.by_place(&one).and(Reason::Label, by_role).when(one.known.kind == Kind::Name, Reason::Type, 12);
        Some(Candidate { text, from: self.auto.alone(one.index), score })
    }

    /// A given and a family name; where only one of them is called so, the plain word for a name is the other.
    fn pair(&self, first: One<'_, 'a>, last: One<'_, 'a>, filled: &[One<'_, 'a>]) -> Option<Candidate<'a>> {
        let by_role = match (first.role(), last.role()) {
            (Role::FirstName, Role::LastName) => PAIR,
            (Role::Name, Role::LastName) | (Role::FirstName, Role::Name) => PLAIN_PAIR,
            _ => return None,
        };
        let given = self.text(&first);
        let family = self.text(&last);
        if first.known.sense.owner != last.known.sense.owner
            && [first, last].iter().any(|one| one.known.sense.owner == Owner::Person)
        {
            return None;
        }
        if by_role == PLAIN_PAIR && (holds(given, family) || holds(family, given)) {
            return None;
        }
        if self.auto.record(first.index) != self.auto.record(last.index) {
            return None;
        }
        let middle = filled_middle(self.auto, &first, &last);
        // The weaker of two places is the pair's.
        let places = [self.by_place(&first), self.by_place(&last)];
        let place = places.into_iter().min_by_key(Score::total).unwrap_or_default();
        let strength = i32::from(first.known.sense.strength + last.known.sense.strength) - 6;
        let distance = i32::try_from(first.index.abs_diff(last.index)).unwrap_or(i32::MAX).min(10);
        let more = i32::from(filled.len() > 2);
        let score =
            place.and(Reason::Parts, by_role).and(Reason::MoreWords, 3 * strength).and(Reason::Place, -distance * more);
        let parts = match self.is_surname_first(given, family) {
            true => vec![Some(family), middle.map(|(_, text)| text), Some(given)],
            false => vec![Some(given), middle.map(|(_, text)| text), Some(family)],
        };
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        let from = [first.index, last.index].into_iter().chain(middle.map(|(index, _)| index));
        Some(self.joined(&parts, from, score))
    }

    /// Makes one name of its parts, in their order.
    fn joined(&self, parts: &[&'a str], from: impl IntoIterator<Item = usize>, score: Score) -> Candidate<'a> {
        let submission = self.auto.submission;
        let text = join(submission, submission.arena.alloc_slice_copy(parts), " ");
        Candidate { text, from: self.auto.sorted(from), score }
    }

    /// Joins a family name with initials or a middle name where there is no given name, in the order of the form.
    fn initials(&self, filled: &[One<'_, 'a>]) -> Option<Candidate<'a>> {
        let last = filled.iter().find(|one| one.role() == Role::LastName)?;
        if filled.iter().any(|one| matches!(one.role(), Role::FirstName | Role::Name | Role::FullName)) {
            return None;
        }
        let is_beside = |one: &One<'_, 'a>| {
            one.role() == Role::MiddleName
                && !one.is_empty()
                && self.auto.record(one.index) == self.auto.record(last.index)
        };
        let parts: Vec<One<'_, 'a>> =
            self.auto.free().filter(|one| is_beside(one) || one.index == last.index).collect();
        if parts.len() < 2 {
            return None;
        }
        let texts: Vec<&str> = parts.iter().map(|one| self.text(one)).collect();
        let score = self.by_place(last).and(Reason::Parts, PLAIN_PAIR);
        Some(self.joined(&texts, parts.iter().map(|one| one.index), score))
    }

    /// Family name first in the languages that write it so: told by the script, the letters, else the form's language.
    fn is_surname_first(&self, given: &str, family: &str) -> bool {
        let mut letters = given.chars().chain(family.chars()).filter(|c| c.is_alphabetic());
        let is_of_east = |c: char| matches!(c, '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{0b80}'..='\u{0c7f}' | '\u{0d80}'..='\u{0dff}');
        if letters.clone().any(is_of_east) {
            return !is_swapped(given, family);
        }
        let is_latin_or_cyrillic =
            letters.all(|c| matches!(c, '\0'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{400}'..='\u{52f}'));
        let language = self.auto.senses.languages.first;
        is_latin_or_cyrillic && language.is_some_and(|language| self.auto.dictionary.is_surname_first(language))
    }

    /// Two fields that follow each other under one label, a word each, are the parts of one name.
    fn of_the_same_label(&self, filled: &[One<'_, 'a>]) -> Option<Candidate<'a>> {
        let label = |one: &One<'_, 'a>| one.form_field.field.label.filter(|label| !label.trim().is_empty());
        let (first, second) = filled.windows(2).find_map(|pair| match pair {
            [first, second] if label(first).is_some() && label(first) == label(second) => Some((first, second)),
            _ => None,
        })?;
        let one = self.text(first);
        let other = self.text(second);
        let is_word = |text: &str| !text.contains(char::is_whitespace);
        let is_one =
            first.known.sense.owner == second.known.sense.owner && is_word(one) && is_word(other) && one != other;
        if !is_one
            || second.index != first.index + 1
            || filled.iter().filter(|one| label(one) == label(first)).nth(2).is_some()
        {
            return None;
        }
        let score = self.by_place(first).and(Reason::Parts, PLAIN_PAIR);
        Some(self.joined(&[one, other], [first.index, second.index], score))
    }

    /// Forms ask for the name first: what looks like one before the e-mail, else anywhere.
    fn unnamed(&self) -> Vec<Candidate<'a>> {
        let is_named = |one: &One<'_, 'a>| one.known.sense.owner != Owner::Person && one.role().is_of_a_name();
        let has_own = self.auto.free().any(|one| is_named(&one));
        let weigh = |one: One<'_, 'a>| {
            let text = one.single()?.trim();
            let is_open = matches!(one.role(), Role::Unknown)
                && matches!(one.known.kind, Kind::Unsaid)
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
                .and(Reason::Value, 10 + 6 * likeness)
                .when(is_before, Reason::Place, 8)
                .when(one.known.is_labelled, Reason::MoreWords, if is_before || likeness > 4 { -12 } else { -24 })
                .when(has_own, Reason::LeftEmpty, -25);
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
                let score = weaker.and(Reason::Parts, 14);
                is_next.then(|| self.joined(&[first.text, second.text], [one, other], score))
            }
            _ => None,
        });
        pairs.collect()
    }
}

/// Returns the middle name that stands in the record of both.
fn filled_middle<'a>(auto: &Auto<'_, 'a>, first: &One<'_, 'a>, last: &One<'_, 'a>) -> Option<(usize, &'a str)> {
    let is_it = |one: &One<'_, 'a>| {
        one.role() == Role::MiddleName
            && auto.record(one.index) == auto.record(first.index)
            && one.known.sense.owner == last.known.sense.owner
    };
    let one = auto.free().find(is_it)?;
    one.single().map(str::trim).filter(|text| !text.is_empty()).map(|text| (one.index, text))
}

/// A Chinese visitor of a form in another language takes "first" for what comes first: one character, then two.
fn is_swapped(given: &str, family: &str) -> bool {
    let is_han = |text: &str| text.chars().all(|c| matches!(c, '\u{3400}'..='\u{9fff}'));
    is_han(given) && is_han(family) && given.chars().count() == 1 && family.chars().count() == 2
}

fn is_short_of_east(text: &str) -> bool {
    (1..=3).contains(&text.chars().count())
        && text.chars().all(|c| matches!(c, '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'))
}

fn holds(whole: &str, part: &str) -> bool {
    // Some plugins escape one of the two for HTML.
    let text = |text: &str| text.to_lowercase().replace("&amp;", "&");
    text(whole).contains(&text(part))
}
