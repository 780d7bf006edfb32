//! Applies a mapping to a submission: rules first, auto for what no rule names, everything else an extra.

use std::collections::{BTreeMap, BTreeSet};

use super::auto::Auto;
use super::dictionary::Dictionary;
use super::extras::{self, Said, Sorted};
use super::fate::Fate;
use super::form_field::FormField;
use super::mapping::{ExtrasRule, LeadRule, LeadRules, Mapping, Source};
use super::selector::Selector;
use super::shape;
use super::view::{Found, View};
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
}

/// A submission after its mapping.
#[derive(Clone, Debug)]
pub struct Mapped {
    pub draft: Draft,
    pub fields: Vec<FormField>,
    /// What became of each of `fields`.
    pub fates: Vec<Fate>,
    /// How each lead field was found.
    pub found_by: BTreeMap<LeadField, String>,
    /// Keys of the fields left out on purpose.
    pub dropped: Vec<String>,
    pub form: FormFacts,
}

/// What the body says about its form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormFacts {
    pub id: Option<String>,
    pub name: Option<String>,
    /// What the plugin calls this submission; empty and `0` are none.
    pub entry: Option<String>,
    pub page: Option<String>,
}

/// A submission looked at through a mapping, which may then be applied to it.
pub struct Look<'a> {
    view: View<'a>,
    mapping: &'a Mapping,
    pub form: FormFacts,
}

impl<'a> Look<'a> {
    pub fn new(submission: &'a Submission, mapping: &'a Mapping) -> Self {
        let view = View::new(submission, mapping);
        let form = form_facts(&view, mapping);
        Self { view, mapping, form }
    }
}

/// Applies a mapping; `look` is taken over where it was through the same one.
pub fn apply<'a>(look: Look<'a>, rules: Rules<'a>) -> Mapped {
    let same = std::ptr::eq(look.mapping, rules.mapping);
    let Look { view, form, .. } = if same { look } else { Look::new(look.view.submission, rules.mapping) };
    let mut work = Work {
        view: &view,
        rules,
        used: BTreeSet::new(),
        sources: BTreeMap::new(),
        texts: BTreeSet::new(),
        found_by: BTreeMap::new(),
    };
    let draft = work.draft();
    let extras_rules = work.extras_rules();
    let Work { used, sources, texts, found_by, .. } = work;
    let said = Said {
        fields: used,
        sources,
        texts,
        name: draft.name.clone(),
        email: draft.email.clone(),
        message: draft.message.clone(),
    };
    let Sorted { extras, dropped, fates } = extras::sort(&view, &extras_rules, &said, rules.dictionary);
    let draft =
        Draft { extras, form_name: form.name.clone().or_else(|| form.id.clone()), region: rules.region, ..draft };
    Mapped { draft, found_by, dropped, form, fates, fields: view.fields }
}

/// Reads what the body says about its form.
fn form_facts(view: &View<'_>, mapping: &Mapping) -> FormFacts {
    let text = |selectors: &[Selector]| {
        let found = selectors.iter().flat_map(|selector| view.find(selector, None));
        found.map(|found| found.text.trim().to_owned()).find(|text| !text.is_empty())
    };
    FormFacts {
        id: text(&mapping.form.id),
        name: text(&mapping.form.name),
        entry: text(&mapping.form.entry).filter(|entry| entry != "0"),
        page: text(&mapping.form.page),
    }
}

struct Work<'a> {
    view: &'a View<'a>,
    rules: Rules<'a>,
    used: BTreeSet<usize>,
    /// Of which fields each lead field was made.
    sources: BTreeMap<LeadField, BTreeSet<usize>>,
    /// Values the lead holds: their copies are no extras.
    texts: BTreeSet<String>,
    found_by: BTreeMap<LeadField, String>,
}

impl<'a> Work<'a> {
    fn draft(&mut self) -> Draft {
        let mut values = BTreeMap::new();
        let mut open = Vec::new();
        // E-mail and phone are the surest to tell: auto asks for them first.
        for field in [LeadField::Email, LeadField::Phone, LeadField::Name, LeadField::Message] {
            match self.rule(field).filter(|rule| !matches!(rule.source, Source::Auto)) {
                Some(rule) => {
                    let text = self.by_rule(field, rule);
                    if text.is_none() && rule.auto {
                        open.push(field);
                    }
                    values.insert(field, text);
                }
                None => open.push(field),
            }
        }
        self.by_auto(&open, &mut values);
        let mut take = |field| {
            let found: Option<String> = values.remove(&field).flatten();
            found.or_else(|| self.default(field))
        };
        Draft {
            name: take(LeadField::Name),
            email: take(LeadField::Email),
            phone: take(LeadField::Phone),
            message: take(LeadField::Message),
            ..Draft::default()
        }
    }

    fn rule(&self, field: LeadField) -> Option<&'a LeadRule> {
        let own = self.rules.own_lead.and_then(|lead| lead.get(field));
        own.or_else(|| self.rules.mapping.lead.get(field))
    }

    fn default(&mut self, field: LeadField) -> Option<String> {
        let default = self.rule(field)?.default.clone()?;
        self.found_by.insert(field, "default".to_owned());
        Some(default)
    }

    fn extras_rules(&self) -> Vec<&'a ExtrasRule> {
        self.rules.own_extras.into_iter().chain([&self.rules.mapping.extras]).collect()
    }

    fn by_rule(&mut self, field: LeadField, rule: &LeadRule) -> Option<String> {
        let (text, by) = match &rule.source {
            Source::Auto => return None,
            Source::First(selectors) => self.first(field, selectors)?,
            Source::Join { parts, with } => {
                let texts: Vec<String> =
                    parts.iter().map(|part| self.joined(field, part)).filter(|t| !t.is_empty()).collect();
                (texts.join(with), format!("join of {}", names(parts)))
            }
            Source::Template(template) => {
                (template.fill(|selector| self.joined(field, selector)), "template".to_owned())
            }
        };
        if text.trim().is_empty() {
            self.sources.remove(&field);
            return None;
        }
        self.found_by.insert(field, by);
        self.texts.insert(text.trim().to_owned());
        Some(text)
    }

    /// Takes the first selector that gives a value; for e-mail and phone the first valid one, else the first.
    fn first(&mut self, field: LeadField, selectors: &[Selector]) -> Option<(String, String)> {
        let valid = |text: &str| match field {
            LeadField::Email => shape::is_email(text),
            LeadField::Phone => Phone::is_valid(text, self.rules.region),
            LeadField::Name | LeadField::Message => true,
        };
        let choices: Vec<(String, &Selector, BTreeSet<usize>)> = selectors
            .iter()
            .flat_map(|selector| {
                let found = self.find(selector);
                match field {
                    LeadField::Email | LeadField::Phone => {
                        found.into_iter().map(|found| (found.text, selector, found.from)).collect()
                    }
                    LeadField::Name | LeadField::Message => vec![merged(found, selector, separator(field))],
                }
            })
            .filter(|(text, ..)| !text.trim().is_empty())
            .collect();
        let best = choices.iter().find(|(text, ..)| valid(text)).or(choices.first())?;
        let (text, selector, from) = best.clone();
        self.take(field, &from);
        Some((text, selector.as_str().to_owned()))
    }

    /// Joins all a selector gives; used in joins and templates.
    fn joined(&mut self, field: LeadField, selector: &Selector) -> String {
        let found = self.find(selector);
        for found in &found {
            self.take(field, &found.from);
        }
        merged(found, selector, separator(field)).0
    }

    fn take(&mut self, field: LeadField, from: &BTreeSet<usize>) {
        self.used.extend(from);
        self.sources.entry(field).or_default().extend(from);
    }

    fn find(&self, selector: &Selector) -> Vec<Found> {
        self.view.find(selector, self.rules.mapping.values.split.as_deref())
    }

    fn by_auto(&mut self, open: &[LeadField], values: &mut BTreeMap<LeadField, Option<String>>) {
        let mut closed = extras::dropped(self.view, &self.extras_rules());
        closed.extend(&self.used);
        let mut auto = Auto::new(self.view, self.rules.dictionary, self.rules.region, &closed);
        for &field in open {
            if let Some(guess) = auto.find(field) {
                let keys: Vec<&str> = self
                    .view
                    .fields
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| guess.from.contains(index))
                    .map(|(_, form_field)| form_field.field.key.as_str())
                    .collect();
                self.found_by.insert(field, format!("auto by {}: {}", guess.why, keys.join(" + ")));
                self.texts.insert(guess.text.trim().to_owned());
                self.take(field, &guess.from);
                values.insert(field, Some(guess.text));
            }
        }
    }
}

fn separator(field: LeadField) -> &'static str {
    match field {
        LeadField::Message => ", ",
        LeadField::Name | LeadField::Email | LeadField::Phone => " ",
    }
}

fn merged<'s>(found: Vec<Found>, selector: &'s Selector, with: &str) -> (String, &'s Selector, BTreeSet<usize>) {
    let from = found.iter().flat_map(|found| found.from.iter().copied()).collect();
    let texts: Vec<String> = found.into_iter().map(|found| found.text).collect();
    (texts.join(with), selector, from)
}

fn names(selectors: &[Selector]) -> String {
    selectors.iter().map(Selector::as_str).collect::<Vec<_>>().join(" + ")
}
