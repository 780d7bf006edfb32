//! Applies a mapping to a submission: rules first, auto for what no rule names, everything else an extra.

use std::sync::Arc;

use bumpalo::collections::{String as ArenaString, Vec as ArenaVec};

use super::auto;
use super::extras::{self, Sorted};
use super::fate::{Fate, LeadFields};
use super::form_field::FormField;
use super::found_by::FoundBy;
use super::heard::Said;
use super::mapping::{ExtrasRule, LeadRule, LeadRules, Mapping, Source};
use super::selector::Selector;
use super::senses::Senses;
use super::shape;
use super::shapes::{Shape, Shapes};
use super::test_lead as test;
use super::view::{SelectedValue, View};
use super::words::Dictionary;
use crate::decode::Submission;
use crate::lead::{Draft, LeadField, Phone, Region};

/// What is applied to a submission.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub mapping: &'a Mapping,
    /// A form's own rules: each field it names goes before the mapping's.
    pub own_lead: Option<&'a LeadRules>,
    pub own_extras: Option<&'a ExtrasRule>,
    pub region: Option<Region>,
    pub dictionary: &'a Dictionary,
    /// What is known of the forms that were seen lately.
    pub shapes: &'a Shapes,
}

/// A submission after its mapping.
#[derive(Clone)]
pub struct Mapped<'a> {
    pub draft: Draft<'a>,
    pub fields: Vec<FormField<'a>>,
    /// What became of each of `fields`.
    pub fates: Vec<Fate>,
    /// How each lead field was found.
    pub found_by: Vec<(LeadField, FoundBy<'a>)>,
    /// What auto weighed for the fields that no rule names.
    pub candidates: Vec<(LeadField, auto::Candidate<'a>)>,
    /// Keys of the fields left out on purpose.
    pub dropped: Vec<&'a str>,
    pub form: FormFacts<'a>,
    pub shape: Shape,
    /// What each of `fields` is by its label, key, type and place.
    pub senses: Arc<Senses>,
    /// It says of itself that it is a test.
    pub is_test: bool,
}

/// What the body says about its form.
///
/// `Debug` shows no address: it may hold what was typed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct FormFacts<'a> {
    pub id: Option<&'a str>,
    pub name: Option<&'a str>,
    /// What the plugin calls this submission; empty and `0` are none.
    pub entry: Option<&'a str>,
    pub page: Option<&'a str>,
}

impl std::fmt::Debug for FormFacts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FormFacts").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A submission seen through a mapping, which can then be applied to it.
pub struct MappingView<'a> {
    view: View<'a>,
    mapping: &'a Mapping,
    pub form: FormFacts<'a>,
}

impl<'a> MappingView<'a> {
    pub fn new(submission: &'a Submission<'a>, mapping: &'a Mapping) -> Self {
        let view = View::new(submission, mapping);
        let form = form_facts(&view, mapping);
        Self { view, mapping, form }
    }
}

/// Applies a mapping; `look` is taken over where it was through the same one.
pub fn apply<'a>(look: MappingView<'a>, rules: Rules<'a>) -> Mapped<'a> {
    let same = std::ptr::eq(look.mapping, rules.mapping);
    let MappingView { view, form, .. } =
        if same { look } else { MappingView::new(look.view.submission, rules.mapping) };
    let extras_rules = [rules.own_extras, Some(&rules.mapping.extras)];
    let dropped = extras::dropped(&view, extras_rules);
    let (shape, senses) = rules.shapes.senses(view.submission, &view.fields, rules.dictionary);
    let mut work = DraftWork {
        view: &view,
        senses: &senses,
        rules,
        said: Said::default(),
        found_by: Vec::with_capacity(LeadField::ALL.len()),
        candidates: Vec::new(),
    };
    work.said.used.resize(view.fields.len(), None);
    let draft = work.draft(&dropped);
    let DraftWork { mut said, found_by, candidates, .. } = work;
    said.name = draft.name;
    said.email = draft.email;
    said.message = draft.message;
    let sorted = extras::sort(&view, &senses, extras_rules, &dropped, &said, form.page);
    let Sorted { extras, dropped, fates } = sorted;
    let draft = Draft { extras, form_name: form.name.or(form.id), region: rules.region, ..draft };
    let is_test = test::is_test(&view, &senses);
    Mapped { senses, draft, found_by, candidates, dropped, form, shape, is_test, fates, fields: view.fields }
}

impl Mapped<'_> {
    /// Returns how sure auto is of each field that it found.
    pub fn confidences(&self) -> impl Iterator<Item = (LeadField, f32)> + '_ {
        self.found_by.iter().filter_map(|(field, by)| match by {
            FoundBy::Auto(guess) => Some((*field, guess.confidence)),
            _ => None,
        })
    }
}

/// Reads what the body says about its form.
fn form_facts<'a>(view: &View<'a>, mapping: &Mapping) -> FormFacts<'a> {
    let text = |selectors: &[Selector]| {
        let mut found = selectors.iter().flat_map(|selector| view.find(selector, None));
        found.find_map(|found| Some(found.text.trim()).filter(|text| !text.is_empty()))
    };
    FormFacts {
        id: text(&mapping.form.id),
        name: text(&mapping.form.name),
        entry: text(&mapping.form.entry).filter(|entry| *entry != "0"),
        page: text(&mapping.form.page),
    }
}

/// The draft in progress.
struct DraftWork<'v, 'a> {
    view: &'v View<'a>,
    senses: &'v Senses,
    rules: Rules<'a>,
    said: Said<'a>,
    found_by: Vec<(LeadField, FoundBy<'a>)>,
    candidates: Vec<(LeadField, auto::Candidate<'a>)>,
}

/// The value chosen for a lead field.
#[derive(Clone, Copy)]
struct FieldChoice<'a> {
    text: &'a str,
    selector: &'a Selector,
    from: &'a [usize],
}

impl<'a> DraftWork<'_, 'a> {
    fn draft(&mut self, dropped: &[bool]) -> Draft<'a> {
        let mut draft = Draft::default();
        let mut open = [None; LeadField::ALL.len()];
        // E-mail and phone are the surest to tell: auto asks for them first.
        let fields = [LeadField::Email, LeadField::Phone, LeadField::Name, LeadField::Message];
        for (field, open) in fields.into_iter().zip(&mut open) {
            match self.rule(field).filter(|rule| !matches!(rule.source, Source::Auto)) {
                Some(rule) => {
                    *slot(&mut draft, field) = self.by_rule(field, rule);
                    *open = Some(field).filter(|_| slot(&mut draft, field).is_none() && rule.auto);
                }
                None => *open = Some(field),
            }
        }
        self.by_auto(open, dropped, &mut draft);
        for field in LeadField::ALL {
            if slot(&mut draft, field).is_none() {
                *slot(&mut draft, field) = self.default(field);
            }
        }
        draft
    }

    fn rule(&self, field: LeadField) -> Option<&'a LeadRule> {
        let own = self.rules.own_lead.and_then(|lead| lead.get(field));
        own.or_else(|| self.rules.mapping.lead.get(field))
    }

    fn default(&mut self, field: LeadField) -> Option<&'a str> {
        let default = self.rule(field)?.default.as_deref()?;
        self.found_by.push((field, FoundBy::Default));
        Some(default)
    }

    fn by_rule(&mut self, field: LeadField, rule: &'a LeadRule) -> Option<&'a str> {
        let (text, by) = match &rule.source {
            Source::Auto => return None,
            Source::First(selectors) => self.first(field, selectors)?,
            Source::Join { parts, with } => {
                let mut joined = ArenaString::new_in(self.view.submission.arena);
                for text in parts.iter().map(|part| self.joined(field, part)) {
                    if !joined.is_empty() && !text.is_empty() {
                        joined.push_str(with);
                    }
                    joined.push_str(text);
                }
                (joined.into_bump_str(), FoundBy::Join(parts))
            }
            Source::Template(template) => {
                let filled = template.fill(|selector| self.joined(field, selector));
                (&*self.view.submission.arena.alloc_str(&filled), FoundBy::Template)
            }
        };
        if text.trim().is_empty() {
            self.release(field);
            return None;
        }
        self.found_by.push((field, by));
        self.said.texts.push(text.trim());
        Some(text)
    }

    /// Takes the first selector that gives a value; for e-mail and phone the first valid one, else the first.
    fn first(&mut self, field: LeadField, selectors: &'a [Selector]) -> Option<(&'a str, FoundBy<'a>)> {
        let valid = |text: &str| match field {
            LeadField::Email => shape::is_email(text),
            LeadField::Phone => Phone::is_valid(text, self.rules.region),
            LeadField::Name | LeadField::Message => true,
        };
        let is_merged = matches!(field, LeadField::Name | LeadField::Message);
        let found = selectors.iter().flat_map(|selector| {
            let found = self.find(selector);
            let found = match is_merged {
                true => self.view.submission.arena.alloc_slice_copy(&[self.merged(found, separator(field))]),
                false => found,
            };
            found.iter().map(move |found| FieldChoice { text: found.text, selector, from: found.from })
        });
        let mut choices = found.filter(|choice| !choice.text.trim().is_empty());
        let first = choices.next()?;
        // To tell whether a phone is valid takes longer than to look whether there is a choice at all.
        let second = if is_merged { None } else { choices.next() };
        let best = second.and_then(|second| [first, second].into_iter().chain(choices).find(|it| valid(it.text)));
        let FieldChoice { text, selector, from } = best.unwrap_or(first);
        self.take(field, from);
        Some((text, FoundBy::Selector(selector)))
    }

    /// Joins all a selector gives; used in joins and templates.
    fn joined(&mut self, field: LeadField, selector: &Selector) -> &'a str {
        let SelectedValue { text, from } = self.merged(self.find(selector), separator(field));
        self.take(field, from);
        text
    }

    fn merged(&self, found: &'a [SelectedValue<'a>], with: &str) -> SelectedValue<'a> {
        if let [only] = found {
            return *only;
        }
        let submission = self.view.submission;
        let texts = ArenaVec::from_iter_in(found.iter().map(|found| found.text), submission.arena);
        let mut from = ArenaVec::new_in(submission.arena);
        // Values of one place mostly have the same fields, of a hostile form a thousand times a thousand.
        for group in found.chunk_by(|a, b| a.from == b.from) {
            group.first().into_iter().for_each(|found| from.extend_from_slice(found.from));
        }
        SelectedValue { text: super::texts::join(submission, &texts, with), from: from.into_bump_slice() }
    }

    fn take(&mut self, field: LeadField, from: &[usize]) {
        for index in from {
            if let Some(used) = self.said.used.get_mut(*index) {
                *used = Some(used.unwrap_or_default().with(field));
            }
        }
    }

    /// What was taken for a lead field that came to nothing stays used, for none.
    fn release(&mut self, field: LeadField) {
        self.said.used.iter_mut().flatten().for_each(|fields| *fields = fields.without(field));
    }

    fn find(&self, selector: &Selector) -> &'a [SelectedValue<'a>] {
        self.view.find(selector, self.rules.mapping.values.split.as_deref())
    }

    fn by_auto(&mut self, open: [Option<LeadField>; 4], dropped: &[bool], draft: &mut Draft<'a>) {
        if open.iter().all(Option::is_none) {
            return;
        }
        let is_used = |index: usize| self.said.used.get(index).is_some_and(Option::is_some);
        let is_closed = |index: usize| dropped.get(index).copied().unwrap_or_default() || is_used(index);
        let is_email =
            |used: &Option<LeadFields>| used.is_some_and(|fields| fields.iter().any(|field| field == LeadField::Email));
        let email = self.said.used.iter().position(is_email);
        let is_open = |field: LeadField| open.contains(&Some(field));
        let auto::AutoResult { guesses, candidates } =
            auto::find(self.view, self.senses, self.rules.dictionary, self.rules.region, is_open, is_closed, email);
        self.candidates = candidates;
        for (field, guess) in guesses {
            self.found_by.push((field, FoundBy::Auto(guess)));
            self.said.texts.push(guess.text.trim());
            self.take(field, guess.from);
            *slot(draft, field) = Some(guess.text);
        }
    }
}

/// Returns the place of a lead field in a draft.
fn slot<'d, 'a>(draft: &'d mut Draft<'a>, field: LeadField) -> &'d mut Option<&'a str> {
    match field {
        LeadField::Name => &mut draft.name,
        LeadField::Email => &mut draft.email,
        LeadField::Phone => &mut draft.phone,
        LeadField::Message => &mut draft.message,
    }
}

fn separator(field: LeadField) -> &'static str {
    match field {
        LeadField::Message => ", ",
        LeadField::Name | LeadField::Email | LeadField::Phone => " ",
    }
}
