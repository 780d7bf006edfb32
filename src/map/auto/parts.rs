//! Names that are asked for in parts: given and family name, a middle name, a second family name.

use super::mail::LocalPart;
use super::name::{Names, PLAIN_PAIR};
use super::{Auto, Candidate, One, Score, ScoreReason};
use crate::map::texts::join;
use crate::map::words::{Owner, Role};

/// What a given and a family name are worth that are called so.
const PAIR: i32 = 92;

impl<'a, F: FnOnce() -> LocalPart> Names<'_, '_, 'a, F> {
    /// A given and a family name; where only one of them is called so, the plain word for a name is the other.
    pub(super) fn pair(&self, first: One<'_, 'a>, last: One<'_, 'a>, filled: &[One<'_, 'a>]) -> Option<Candidate<'a>> {
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
        let middle = filled_middle(self.auto, &last);
        // The weaker of two places is the pair's.
        let places = [self.by_place(&first), self.by_place(&last)];
        let place = places.into_iter().min_by_key(Score::total).unwrap_or_default();
        let strength = i32::from(first.known.sense.strength + last.known.sense.strength) - 6;
        let distance = i32::try_from(first.index.abs_diff(last.index)).unwrap_or(i32::MAX).min(10);
        let more = i32::from(filled.len() > 2);
        let score = place
            .and(ScoreReason::Parts, by_role)
            .and(ScoreReason::MoreWords, 3 * strength)
            .and(ScoreReason::Place, -distance * more);
        let (given, family) = ((first.index, given), (last.index, family));
        let second = second_family(self.auto, &last);
        let parts = match self.is_surname_first(given.1, family.1) {
            true => [Some(family), second, middle, Some(given)],
            false => [Some(given), middle, Some(family), second],
        };
        let (from, texts): (Vec<usize>, Vec<&str>) = parts.into_iter().flatten().unzip();
        Some(self.joined(&texts, from, score))
    }

    /// Makes one name of its parts, in their order.
    pub(super) fn joined(
        &self,
        parts: &[&'a str],
        from: impl IntoIterator<Item = usize>,
        score: Score,
    ) -> Candidate<'a> {
        let submission = self.auto.submission;
        let text = join(submission, submission.arena.alloc_slice_copy(parts), " ");
        Candidate { text, from: self.auto.sorted(from), score }
    }

    /// Joins a family name, or a given one that stands alone, with initials or a middle name, in the order of the form.
    pub(super) fn with_middle(&self, filled: &[One<'_, 'a>]) -> Option<Candidate<'a>> {
        let with_role = |roles: &'static [Role]| filled.iter().find(move |one| roles.contains(&one.role()));
        let given = with_role(&[Role::FirstName, Role::Name]);
        let family = with_role(&[Role::LastName]);
        let is_word = |one: &One<'_, 'a>| !self.text(one).contains(char::is_whitespace);
        let is_apart = |one: &One<'_, 'a>| family.is_none_or(|family| !is_beside(self.auto, family, one));
        let known = match (given, family, with_role(&[Role::FullName])) {
            (None, Some(family), None) => family,
            (Some(given), _, None) if is_word(given) && is_apart(given) => given,
            _ => return None,
        };
        let is_middle =
            |one: &One<'_, 'a>| one.role() == Role::MiddleName && !one.is_empty() && is_beside(self.auto, one, known);
        let parts: Vec<One<'_, 'a>> =
            self.auto.free().filter(|one| is_middle(one) || one.index == known.index).collect();
        if parts.len() < 2 {
            return None;
        }
        let texts: Vec<&str> = parts.iter().map(|one| self.text(one)).collect();
        let score = self.by_place(known).and(ScoreReason::Parts, PLAIN_PAIR);
        Some(self.joined(&texts, parts.iter().map(|one| one.index), score))
    }

    /// Family name first in the languages that write it so: told by the script, the letters, else the form's language.
    fn is_surname_first(&self, given: &str, family: &str) -> bool {
        let mut letters = given.chars().chain(family.chars()).filter(|c| c.is_alphabetic());
        let is_of_east = |c: char| matches!(c, '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{0b80}'..='\u{0c7f}' | '\u{0d80}'..='\u{0dff}');
        let language = self.auto.senses.languages.first;
        let is_first = language.is_some_and(|language| self.auto.dictionary.is_surname_first(language));
        if letters.clone().any(is_of_east) {
            return is_first || !is_swapped(given, family);
        }
        let is_latin_or_cyrillic =
            letters.all(|c| matches!(c, '\0'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{400}'..='\u{52f}'));
        is_latin_or_cyrillic && is_first
    }

    /// Two fields that follow each other under one label, a word each, are the parts of one name.
    pub(super) fn of_the_same_label(&self, filled: &[One<'_, 'a>]) -> Option<Candidate<'a>> {
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
        let score = self.by_place(first).and(ScoreReason::Parts, PLAIN_PAIR);
        Some(self.joined(&[one, other], [first.index, second.index], score))
    }
}

/// Returns the middle name that stands in the record of both.
fn filled_middle<'a>(auto: &Auto<'_, 'a>, last: &One<'_, 'a>) -> Option<(usize, &'a str)> {
    let one = auto.free().find(|one| one.role() == Role::MiddleName && is_beside(auto, one, last))?;
    filled(&one)
}

/// Returns the second of two family names, which stands after the first: `segundo apellido`. Elsewhere it is another person's.
fn second_family<'a>(auto: &Auto<'_, 'a>, last: &One<'_, 'a>) -> Option<(usize, &'a str)> {
    let language = auto.senses.languages.first?;
    let is_it = |one: &One<'_, 'a>| {
        one.role() == Role::LastName
            && one.known.sense.is_second
            && !last.known.sense.is_second
            && is_beside(auto, one, last)
    };
    let one = auto.free().find(|one| TWO_FAMILY_NAMES.contains(&auto.dictionary.code(language)) && is_it(one))?;
    filled(&one).filter(|(_, text)| last.single().is_none_or(|first| !first.trim().eq_ignore_ascii_case(text)))
}

/// In whose languages people have a family name of each parent.
const TWO_FAMILY_NAMES: [&str; 5] = ["es", "gl", "ca", "eu", "pt"];

fn is_beside(auto: &Auto<'_, '_>, one: &One<'_, '_>, other: &One<'_, '_>) -> bool {
    auto.record(one.index) == auto.record(other.index) && one.known.sense.owner == other.known.sense.owner
}

fn filled<'a>(one: &One<'_, 'a>) -> Option<(usize, &'a str)> {
    one.single().map(str::trim).filter(|text| !text.is_empty()).map(|text| (one.index, text))
}

/// A Chinese visitor of a form in another language takes "first" for what comes first: one character, then two.
fn is_swapped(given: &str, family: &str) -> bool {
    let is_han = |text: &str| text.chars().all(|c| matches!(c, '\u{3400}'..='\u{9fff}'));
    is_han(given) && is_han(family) && given.chars().count() == 1 && family.chars().count() == 2
}

fn holds(whole: &str, part: &str) -> bool {
    // Some plugins escape one of the two for HTML.
    let text = |text: &str| text.to_lowercase().replace("&amp;", "&");
    text(whole).contains(&text(part))
}
