//! The fields that are none of the four: which are kept, under which label, in which words.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;

use bumpalo::collections::String as ArenaString;

use super::campaign::{self, Campaign};
use super::copies::Copies;
use super::fate::{Fate, LeadFields};
use super::form_field::FormField;
use super::glob::Globs;
use super::heard::{Heard, Said};
use super::kind::FieldKind;
use super::mapping::{DropRule, ExtrasRule, ExtrasTo};
use super::markup::without_tags;
use super::noise::{self, Noise};
use super::phone_parts::PhoneParts;
use super::readable::readable;
use super::selector::Path;
use super::senses::{KnownField, Senses};
use super::shape;
use super::texts::join;
use super::view::View;
use super::words::Role;
use crate::decode::{Arena, Hashing, Submission};
use crate::lead::{Extra, LeadField};

/// The extras of a submission, and the keys of what was left out on purpose.
#[derive(Default)]
pub(super) struct Sorted<'a> {
    pub(super) extras: Vec<Extra<'a>>,
    pub(super) dropped: Vec<&'a str>,
    /// What became of each field, in order.
    pub(super) fates: Vec<Fate>,
}

/// The form's rule, which goes before, and the mapping's.
pub(super) type ExtrasRules<'a> = [Option<&'a ExtrasRule>; 2];

/// Sorts the fields that no lead field used. `dropped` tells of each field whether it is no extra, `page` the address that
/// the form stands at.
pub(super) fn sort<'a>(
    view: &View<'a>,
    senses: &Senses,
    rules: ExtrasRules<'a>,
    dropped: &[bool],
    said: &Said<'a>,
    page: Option<&'a str>,
) -> Sorted<'a> {
    let drop_all = rules.into_iter().flatten().find_map(|rule| rule.to) == Some(ExtrasTo::Drop);
    let is_used = |index: usize| said.used.get(index).is_some_and(Option::is_some);
    let noise = noise::sort(view, senses, is_used, |form_field| is_wanted(form_field, rules));
    let mut sorter = Sorter {
        submission: view.submission,
        fields: &view.fields,
        rules,
        drop_all,
        heard: Heard::new(said),
        parts: PhoneParts::of(view, said),
        copies: OnceCell::new(),
        campaign: Campaign::default(),
        lines: ExtraLines::default(),
    };
    let mut sorted = Sorted { fates: Vec::with_capacity(view.fields.len()), ..Sorted::default() };
    let mut of_campaign = Vec::new();
    let fields = view.fields.iter().zip(&senses.fields).zip(noise);
    for (index, ((form_field, known), noise)) in fields.enumerate() {
        if let Some(fields) = said.used.get(index).copied().flatten() {
            // Blank text may come to nothing all the same.
            sorted.fates.push(if fields.is_empty() { Fate::Empty } else { Fate::Lead(fields) });
            sorter.add_others(form_field, fields, said);
            continue;
        }
        let is_dropped = drop_all || dropped.get(index).copied().unwrap_or_default();
        let fate = sorter.fate(form_field, known, noise, is_dropped);
        if matches!(fate, Fate::Secret | Fate::Meta | Fate::Dropped) {
            sorted.dropped.push(form_field.field.key);
        }
        of_campaign.extend((fate == Fate::Extra(OF_CAMPAIGN)).then_some(index));
        sorted.fates.push(fate);
    }
    sorter.add_campaign(page, of_campaign, &mut sorted.fates);
    sorted.extras = sorter.lines.extras;
    sorted
}

/// Stands for the line of the campaign until its place is known.
const OF_CAMPAIGN: usize = usize::MAX;

/// What decides what becomes of a field, and takes what stays.
struct Sorter<'v, 'a> {
    submission: &'a Submission<'a>,
    fields: &'v [FormField<'a>],
    rules: ExtrasRules<'a>,
    drop_all: bool,
    heard: Heard<'a>,
    parts: PhoneParts<'a>,
    copies: OnceCell<Copies<'a>>,
    campaign: Campaign<'a>,
    lines: ExtraLines<'a>,
}

impl<'a> Sorter<'_, 'a> {
    fn fate(&mut self, form_field: &FormField<'a>, known: &KnownField, noise: Option<Noise>, is_dropped: bool) -> Fate {
        let field = &form_field.field;
        let arena = self.submission.arena;
        if let Some(value) = field.values.first().filter(|_| noise == Some(Noise::Machine) && !self.drop_all)
            && shape::is_url(value)
        {
            self.campaign.add_page(value, |text| arena.alloc_str(text));
        }
        // What is left out needn't be made readable.
        let is_left_out = is_dropped || noise == Some(Noise::Secret) || (noise.is_some() && known.tag.is_none());
        let value = match is_left_out {
            true => field.values.first().copied().unwrap_or_default(),
            false => written(self.submission, field.values),
        };
        let value = value.trim();
        match (known.tag, noise) {
            (_, Some(Noise::Secret)) => Fate::Secret,
            _ if is_dropped && form_field.meta => Fate::Meta,
            _ if is_dropped => Fate::Dropped,
            _ if value.is_empty() => Fate::Empty,
            (Some(tag), _) => {
                self.campaign.add(tag, value);
                Fate::Extra(OF_CAMPAIGN)
            }
            (None, Some(Noise::Machine)) => Fate::Meta,
            _ if self.is_said(form_field, known, value) => Fate::Repeated,
            _ => self.lines.add(label(self.submission, form_field, self.rules), accepted(value, known, arena)),
        }
    }

    fn is_said(&self, form_field: &FormField<'a>, known: &KnownField, value: &'a str) -> bool {
        self.heard.says(value, known.sense)
            || self.parts.hold(form_field.field.key, value)
            || (known.kind != FieldKind::LongText && value.contains('@') && self.copies().make(value))
    }

    fn copies(&self) -> &Copies<'a> {
        self.copies.get_or_init(|| Copies::of(self.fields))
    }

    /// Of several addresses or numbers in one field one is sent: the others are told.
    fn add_others(&mut self, form_field: &FormField<'a>, fields: LeadFields, said: &Said<'a>) {
        let is_one = fields.iter().all(|field| matches!(field, LeadField::Email | LeadField::Phone));
        if !is_one || self.drop_all || fields.is_empty() {
            return;
        }
        let others = form_field.field.values.iter().skip(1).map(|value| value.trim());
        // A number in parts is said as a whole.
        let whole = join(self.submission, form_field.field.values, " ");
        if said.texts.contains(&whole.trim()) {
            return;
        }
        for value in others.filter(|value| !value.is_empty() && !said.texts.contains(value)) {
            self.lines.add(label(self.submission, form_field, self.rules), value);
        }
    }

    /// Adds where the visitor came from: what fields tell of it, and the address of the page.
    fn add_campaign(&mut self, page: Option<&'a str>, of_campaign: Vec<usize>, fates: &mut [Fate]) {
        let arena = self.submission.arena;
        let mut campaign = std::mem::take(&mut self.campaign);
        if !self.drop_all {
            page.into_iter().for_each(|page| campaign.add_page(page, |text| arena.alloc_str(text)));
        }
        let Some(line) = campaign.line() else { return };
        let fate = self.lines.add(campaign::LABEL, arena.alloc_str(&line));
        for index in of_campaign {
            fates.get_mut(index).into_iter().for_each(|place| *place = fate);
        }
    }
}

/// Tells whether a rule gives a field a label of its own: then it is wanted, whatever it is called.
fn is_wanted(form_field: &FormField<'_>, rules: ExtrasRules<'_>) -> bool {
    let key = form_field.field.key;
    let mut rules = rules.into_iter().flatten();
    rules.any(|rule| {
        rule.labels.iter().any(|(glob, _)| glob.matches(key))
            || rule.strip.iter().any(|prefix| key.starts_with(prefix.as_str()))
    })
}

/// What a box that was ticked sends, where it says nothing else.
const TICKED: [&str; 7] = ["1", "true", "on", "yes", "checked", "accepted", "y"];

/// Says of a consent that it was given; its own words lose their HTML.
fn accepted<'a>(value: &'a str, known: &KnownField, arena: &'a Arena) -> &'a str {
    let is_consent = known.sense.role == Role::Consent || known.kind == FieldKind::Consent;
    match is_consent {
        true if TICKED.iter().any(|ticked| value.eq_ignore_ascii_case(ticked)) => "accepted",
        true => without_tags(value, arena),
        false => value,
    }
}

/// Returns values as one text a person can read.
fn written<'a>(submission: &Submission<'a>, values: &'a [&'a str]) -> &'a str {
    let readable = |value: &&'a str| match readable(value) {
        Cow::Borrowed(value) => value,
        Cow::Owned(value) => &*submission.arena.alloc_str(&value),
    };
    match values {
        [] => "",
        [only] => readable(only),
        _ => {
            let mut texts = bumpalo::collections::Vec::with_capacity_in(values.len(), submission.arena);
            texts.extend(values.iter().map(readable));
            join(submission, &texts, ", ")
        }
    }
}

/// Tells of each field whether it is no extra, whatever was filled in, and not looked at by auto.
pub(super) fn dropped(view: &View<'_>, rules: ExtrasRules<'_>) -> Vec<bool> {
    let rules = || rules.into_iter().flatten();
    let conditional = || rules().flat_map(|rule| &rule.drop_where);
    let holds: Vec<bool> = conditional().map(|rule| holds(rule, view.submission)).collect();
    let is_dropped = |form_field: &FormField<'_>| {
        let field = &form_field.field;
        let named = |globs: &Globs| globs.matches(field.key) || field.label.is_some_and(|label| globs.matches(label));
        let by_condition = |(rule, holds): (&DropRule, &bool)| *holds && named(&rule.fields) && !named(&rule.except);
        form_field.meta || rules().any(|rule| named(&rule.drop)) || conditional().zip(&holds).any(by_condition)
    };
    view.fields.iter().map(is_dropped).collect()
}

fn holds(rule: &DropRule, submission: &Submission<'_>) -> bool {
    let is_there = |path: &Path| path.finds(submission);
    rule.exists.iter().all(is_there) && !rule.missing.iter().any(is_there)
}

/// The extras while they are collected: keys with the same label share a line.
#[derive(Default)]
struct ExtraLines<'a> {
    extras: Vec<Extra<'a>>,
    by_label: HashMap<&'a str, usize, Hashing>,
}

impl<'a> ExtraLines<'a> {
    /// Adds a value and says in which line; the same under the same label is said once.
    fn add(&mut self, label: &'a str, value: &'a str) -> Fate {
        let index = *self.by_label.entry(label).or_insert(self.extras.len());
        match self.extras.get_mut(index) {
            Some(extra) if extra.value == value => {}
            Some(extra) => {
                let lines = extra.value.to_mut();
                lines.push_str(", ");
                lines.push_str(value);
            }
            None => self.extras.push(Extra { label: Cow::Borrowed(label), value: Cow::Borrowed(value) }),
        }
        Fate::Extra(index)
    }
}

fn label<'a>(submission: &Submission<'a>, form_field: &FormField<'a>, rules: ExtrasRules<'a>) -> &'a str {
    let field = &form_field.field;
    let rules = || rules.into_iter().flatten();
    let given = rules().flat_map(|rule| &rule.labels).find(|(glob, _)| glob.matches(field.key));
    if let Some((_, label)) = given {
        return label;
    }
    let mut name = field.label.filter(|label| !label.trim().is_empty()).unwrap_or(field.key);
    let mut strips = rules().flat_map(|rule| &rule.strip);
    if let Some(rest) = strips.find_map(|prefix| name.strip_prefix(prefix.as_str())).filter(|rest| !rest.is_empty()) {
        name = rest;
    }
    let name = without_tags(name, submission.arena);
    if field.label.is_some() { name.trim() } else { spoken(name, submission.arena) }
}

/// Writes a key as a label: `service_type` becomes `Service type`; a figure alone becomes `Field 13`.
fn spoken<'a>(key: &'a str, arena: &'a Arena) -> &'a str {
    if key.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return bumpalo::format!(in arena, "Field {}", key).into_bump_str();
    }
    if key.contains(char::is_whitespace) {
        return key.trim();
    }
    let is_mark = |c: char| matches!(c, '_' | '-' | '.' | '[' | ']');
    if key.starts_with(|c: char| c.is_ascii_uppercase()) && !key.contains(is_mark) {
        return key;
    }
    let mut text = ArenaString::with_capacity_in(key.len(), arena);
    for word in key.split(is_mark).filter(|word| !word.is_empty()) {
        if text.is_empty() {
            let mut chars = word.chars();
            text.extend(chars.next().into_iter().flat_map(char::to_uppercase));
            text.push_str(chars.as_str());
        } else {
            text.push(' ');
            text.push_str(word);
        }
    }
    text.into_bump_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_spoken() {
        for (key, label) in [
            ("service_type", "Service type"),
            ("lead.company", "Lead company"),
            ("fields[tel]", "Fields tel"),
            ("13", "Field 13"),
            ("5.1", "Field 5.1"),
            ("Which rooms?", "Which rooms?"),
            ("", "Field "),
            ("联系", "联系"),
        ] {
            assert_eq!(spoken(key, &Arena::new()), label, "{key}");
        }
    }
}
