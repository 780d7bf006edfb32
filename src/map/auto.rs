//! Finding the four fields that no rule names: by declared type, by what a field is called, by what its value looks like.
//!
//! Surer signs go first, no field is used twice, and a field that is there but empty is still that field: nothing else
//! takes its place.

use bumpalo::collections::Vec as ArenaVec;

use super::dictionary::{Dictionary, Role};
use super::form_field::FormField;
use super::shape;
use super::texts::join;
use super::view::View;
use crate::decode::{Key, Submission};
use crate::lead::{LeadField, Region};

/// What auto found for a field, and why.
///
/// `Debug` shows no value.
#[derive(Clone, Copy)]
pub struct Guess<'a> {
    pub(super) text: &'a str,
    /// Indices into the view's fields, sorted.
    pub(super) from: &'a [usize],
    pub(super) why: &'static str,
}

impl std::fmt::Debug for Guess<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guess").field("from", &self.from).field("why", &self.why).finish_non_exhaustive()
    }
}

/// Which fields are still free, and what they are called.
pub(super) struct Auto<'a> {
    dictionary: &'a Dictionary,
    region: Option<Region>,
    submission: &'a Submission<'a>,
    candidates: Vec<Candidate<'a>>,
}

struct Candidate<'a> {
    index: usize,
    form_field: FormField<'a>,
    role: Option<Role>,
    used: bool,
}

impl<'a> Candidate<'a> {
    fn kind(&self) -> &'a str {
        self.form_field.field.kind.unwrap_or_default()
    }

    fn values(&self) -> &'a [&'a str] {
        self.form_field.field.values
    }

    fn single(&self) -> Option<&'a str> {
        match self.values() {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl<'a> Auto<'a> {
    /// `closed` are the fields that rules already used or that are dropped.
    pub(super) fn new(
        view: &View<'a>,
        dictionary: &'a Dictionary,
        region: Option<Region>,
        closed: impl Fn(usize) -> bool,
    ) -> Self {
        let submission = view.submission;
        let mut candidates = Vec::with_capacity(view.fields.len());
        for (index, form_field) in view.fields.iter().enumerate() {
            if !form_field.meta && !closed(index) {
                let role = dictionary.role(&form_field.field, submission.arena);
                candidates.push(Candidate { index, form_field: *form_field, role, used: false });
            }
        }
        Self { dictionary, region, submission, candidates }
    }

    /// Finds a lead field; what it takes is not found again.
    pub(super) fn find(&mut self, field: LeadField) -> Option<Guess<'a>> {
        let guess = match field {
            LeadField::Email => self.email(),
            LeadField::Phone => self.phone(),
            LeadField::Name => self.name(),
            LeadField::Message => self.message(),
        }?;
        for candidate in &mut self.candidates {
            candidate.used |= guess.from.binary_search(&candidate.index).is_ok();
        }
        Some(guess)
    }

    fn email(&self) -> Option<Guess<'a>> {
        let valid = |candidate: &&Candidate<'_>| candidate.values().iter().any(|value| shape::is_email(value));
        let typed = self.those(|candidate| candidate.kind() == "email");
        let called = self.called(Role::Email);
        for (found, why) in [(typed, "type"), (called, "name")] {
            let best = found.iter().find(|candidate| valid(candidate));
            let best = best.or_else(|| found.iter().find(|candidate| !candidate.values().is_empty()));
            if let Some(best) = best {
                let value = best.values().iter().find(|value| shape::is_email(value)).or(best.values().first())?;
                return Some(self.guess(best, value, why));
            }
            if !found.is_empty() {
                return None;
            }
        }
        let plain = || self.free().filter(|candidate| candidate.role.is_none_or(|role| role == Role::Other));
        let looks = |is: fn(&str) -> bool| plain().find(|candidate| candidate.single().is_some_and(is));
        let best = looks(shape::is_email).or_else(|| looks(shape::is_almost_email))?;
        Some(self.guess(best, best.single()?, "value"))
    }

    fn phone(&self) -> Option<Guess<'a>> {
        let has_digit =
            |candidate: &&Candidate<'_>| candidate.values().iter().any(|value| value.contains(char::is_numeric));
        let typed = self.those(|c| matches!(c.kind(), "tel" | "phone"));
        let called = self.called(Role::Phone);
        for (found, why) in [(typed, "type"), (called, "name")] {
            if let Some(best) = found.iter().find(|candidate| has_digit(candidate)) {
                return Some(self.guess(best, best.values().first()?, why));
            }
            if !found.is_empty() {
                return None;
            }
        }
        let looks = |candidate: &&Candidate<'_>| {
            candidate.role.is_none() && candidate.single().is_some_and(|value| shape::is_phone(value, self.region))
        };
        let best = self.free().find(looks)?;
        Some(self.guess(best, best.single()?, "value"))
    }

    fn name(&self) -> Option<Guess<'a>> {
        let filled = |role: Role| self.called(role).into_iter().find(|candidate| !candidate.values().is_empty());
        let (whole, first, last) = (filled(Role::Name), filled(Role::FirstName), filled(Role::LastName));
        if let Some(typed) = self.free().find(|c| c.kind() == "name" && !c.values().is_empty()) {
            return Some(self.guess(typed, join(self.submission, typed.values(), " "), "type"));
        }
        match (whole, first, last) {
            // In forms with a first name beside it, "Name" is the last name.
            (Some(name), Some(first), None) if !contains(name, first) => Some(self.joined(&[first, name])),
            // And beside a last name it is the first.
            (Some(name), None, Some(last)) if !contains(name, last) => Some(self.joined(&[name, last])),
            (Some(name), _, _) => Some(self.joined(&self.of_the_same_label(name))),
            (None, None, None) if self.free().any(is_named) => None,
            (None, None, None) => self.unnamed_name(),
            (None, first, last) => Some(self.joined(&first.into_iter().chain(last).collect::<Vec<_>>())),
        }
    }

    /// Two fields under one label and two keys are the parts of one name; the same twice is one.
    fn of_the_same_label<'c>(&'c self, name: &'c Candidate<'a>) -> Vec<&'c Candidate<'a>> {
        let Some(label) = name.form_field.field.label else { return vec![name] };
        let same = |c: &&Candidate<'_>| c.index != name.index && c.form_field.field.label == Some(label);
        let mut parts = vec![name];
        parts.extend(self.free().filter(same).filter(|c| !c.values().is_empty() && c.values() != name.values()));
        parts
    }

    /// Forms ask for the name first: a line before the e-mail, else what looks like a name anywhere.
    fn unnamed_name(&self) -> Option<Guess<'a>> {
        let email = self.candidates.iter().find(|c| c.used && c.values().iter().any(|v| shape::is_email(v)));
        let before = |c: &&Candidate<'_>| email.is_some_and(|email| c.index < email.index);
        let plain = || self.free().filter(|c| c.role.is_none() && !is_excluded(c));
        let looks = |c: &&Candidate<'_>| c.single().is_some_and(shape::is_name);
        let line = |c: &&Candidate<'_>| c.single().is_some_and(shape::is_line);
        let best = plain().filter(before).find(looks).or_else(|| plain().filter(before).find(line));
        let best = best.or_else(|| plain().find(looks))?;
        Some(self.guess(best, best.single()?, "value"))
    }

    fn message(&self) -> Option<Guess<'a>> {
        let called = self.called(Role::Message);
        let typed = self.those(|c| c.kind() == "textarea" && !is_excluded(c));
        for (found, why) in [(called, "name"), (typed, "type")] {
            if let Some(best) = found.iter().find(|candidate| !candidate.values().is_empty()) {
                return Some(self.guess(best, join(self.submission, best.values(), ", "), why));
            }
            if !found.is_empty() {
                return None;
            }
        }
        let amount = |candidate: &&Candidate<'_>| {
            let text = candidate.single().filter(|_| candidate.role.is_none() && !is_excluded(candidate));
            text.filter(|text| !self.dictionary.is_agreement(text)).map_or(0, shape::prose)
        };
        let amounts = self.free().map(|candidate| (candidate, amount(&candidate)));
        // Of two that are alike the first is kept: `max_by_key` would take the last.
        let (best, _) = amounts.rev().max_by_key(|(_, amount)| *amount).filter(|(_, amount)| *amount > 0)?;
        Some(self.guess(best, best.single()?, "value"))
    }

    /// Returns the fields called so, the least deep first.
    fn called(&self, role: Role) -> ArenaVec<'_, &Candidate<'a>> {
        let mut called = self.those(|candidate| candidate.role == Some(role));
        if called.len() > 1 {
            called.sort_by_key(|candidate| self.depth(candidate));
        }
        called
    }

    /// How deep in the document a field stands: `name` is the visitor's sooner than `product.name`, also where the brackets
    /// of a cut name make no tree.
    fn depth(&self, candidate: &Candidate<'a>) -> usize {
        let document = &self.submission.document;
        let Some(node) = candidate.form_field.field.node else { return 0 };
        let cut = |node| match document.key(node) {
            Key::Name(name) => name.matches("][").count(),
            _ => 0,
        };
        let steps = document.way(node).skip(1).count();
        steps + document.way(node).map(cut).sum::<usize>()
    }

    fn those(&self, wanted: impl Fn(&Candidate<'a>) -> bool) -> ArenaVec<'_, &Candidate<'a>> {
        ArenaVec::from_iter_in(self.free().filter(|candidate| wanted(candidate)), self.submission.arena)
    }

    fn free(&self) -> impl DoubleEndedIterator<Item = &Candidate<'a>> {
        self.candidates.iter().filter(|candidate| !candidate.used)
    }

    fn guess(&self, candidate: &Candidate<'a>, text: &'a str, why: &'static str) -> Guess<'a> {
        Guess { text, from: self.submission.arena.alloc_slice_copy(&[candidate.index]), why }
    }

    fn joined(&self, candidates: &[&Candidate<'a>]) -> Guess<'a> {
        let arena = self.submission.arena;
        let mut parts = ArenaVec::new_in(arena);
        candidates.iter().for_each(|candidate| parts.push(join(self.submission, candidate.values(), " ")));
        let mut from = ArenaVec::new_in(arena);
        from.extend(candidates.iter().map(|candidate| candidate.index));
        from.sort_unstable();
        Guess { text: join(self.submission, &parts, " "), from: from.into_bump_slice(), why: "name" }
    }
}

fn is_named(candidate: &Candidate<'_>) -> bool {
    matches!(candidate.role, Some(Role::Name | Role::FirstName | Role::LastName))
}

/// Types whose text is never a message.
fn is_excluded(candidate: &Candidate<'_>) -> bool {
    let kinds = [
        "acceptance",
        "consent",
        "checkbox",
        "radio",
        "select",
        "hidden",
        "upload",
        "file",
        "url",
        "date",
        "time",
        "address",
    ];
    kinds.contains(&candidate.kind()) || matches!(candidate.role, Some(Role::Consent | Role::Machine))
}

fn contains(whole: &Candidate<'_>, part: &Candidate<'_>) -> bool {
    // Some plugins escape one of the two for HTML.
    let text = |candidate: &Candidate<'_>| candidate.values().join(" ").to_lowercase().replace("&amp;", "&");
    text(whole).contains(&text(part))
}
