//! The fields that are none of the four: which are kept, under which label, in which words.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;

use bumpalo::collections::String as ArenaString;

use super::dictionary::{Dictionary, Role};
use super::fate::{Fate, LeadFields};
use super::form_field::FormField;
use super::glob::Globs;
use super::mapping::{DropRule, ExtrasRule, ExtrasTo};
use super::readable::readable;
use super::texts::join;
use super::view::View;
use crate::decode::{Arena, Hashing, Submission};
use crate::lead::Extra;

/// Fewest lines of a value that is a copy of the whole form: each of the lead's fields, with a label or a blank line.
const COPY_LINES: usize = 5;

/// The extras of a submission, and the keys of what was left out on purpose.
#[derive(Default)]
pub(super) struct Sorted<'a> {
    pub(super) extras: Vec<Extra<'a>>,
    pub(super) dropped: Vec<&'a str>,
    /// What became of each field, in order.
    pub(super) fates: Vec<Fate>,
}

/// What the lead already says, so that no extra says it again.
#[derive(Default)]
pub(super) struct Said<'a> {
    /// Of each field that was used: which lead fields it was found for.
    pub(super) used: Vec<Option<LeadFields>>,
    /// Values that lead fields were made of.
    pub(super) texts: Vec<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) email: Option<&'a str>,
    pub(super) message: Option<&'a str>,
}

/// The form's rule, which goes before, and the mapping's.
pub(super) type ExtrasRules<'a> = [Option<&'a ExtrasRule>; 2];

/// Sorts the fields that no lead field used. `dropped` tells of each field whether it is no extra.
pub(super) fn sort<'a>(
    view: &View<'a>,
    rules: ExtrasRules<'a>,
    dropped: &[bool],
    said: &Said<'a>,
    dictionary: &Dictionary,
) -> Sorted<'a> {
    let drop_all = rules.into_iter().flatten().find_map(|rule| rule.to) == Some(ExtrasTo::Drop);
    let mut sorted = Sorted { fates: Vec::with_capacity(view.fields.len()), ..Sorted::default() };
    let mut lines = Lines::default();
    let heard = Heard::new(said);
    let arena = view.submission.arena;
    for (index, form_field) in view.fields.iter().enumerate() {
        let field = &form_field.field;
        if let Some(fields) = said.used.get(index).copied().flatten() {
            // Blank text may come to nothing all the same.
            sorted.fates.push(if fields.is_empty() { Fate::Empty } else { Fate::Lead(fields) });
            continue;
        }
        if drop_all || dropped.get(index).copied().unwrap_or_default() {
            sorted.dropped.push(field.key);
            sorted.fates.push(if form_field.meta { Fate::Meta } else { Fate::Dropped });
            continue;
        }
        let value = written(view.submission, field.values).trim();
        sorted.fates.push(match value {
            "" => Fate::Empty,
            _ if heard.says(value, || dictionary.role(field, arena)) => Fate::Repeated,
            _ => Fate::Extra(lines.add(label(view.submission, form_field, rules), value)),
        });
    }
    sorted.extras = lines.extras;
    sorted
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

/// [`Said`], made ready to be compared: once, since a message may be long and the fields many.
struct Heard<'a> {
    texts: Vec<Plain<'a>>,
    name: Plain<'a>,
    email: Plain<'a>,
    message: Plain<'a>,
}

impl<'a> Heard<'a> {
    fn new(said: &Said<'a>) -> Self {
        let part = |text: Option<&'a str>| Plain::new(text.unwrap_or_default());
        Self {
            texts: said.texts.iter().map(|text| Plain::new(text)).collect(),
            name: part(said.name),
            email: part(said.email),
            message: part(said.message),
        }
    }

    /// Tells whether the lead says a value already: as such, as a part of the name, or in a copy of the whole form.
    fn says(&self, value: &'a str, role: impl Fn() -> Option<Role>) -> bool {
        let value = Plain::new(value);
        let holds = |text: &Plain<'_>| !text.get().is_empty() && value.get().contains(text.get());
        self.texts.iter().any(|text| text.is(&value))
            || (self.name.holds(&value) && matches!(role(), Some(Role::FirstName | Role::LastName)))
            || (value.raw.lines().count() >= COPY_LINES
                && holds(&self.email)
                && holds(&self.name)
                && holds(&self.message))
    }
}

/// A text as it is compared: LF newlines, case and what surrounds it aside; made when it is first asked for.
struct Plain<'a> {
    raw: &'a str,
    /// It is ASCII, one line and without entities.
    is_simple: bool,
    plain: OnceCell<String>,
}

impl<'a> Plain<'a> {
    fn new(raw: &'a str) -> Self {
        let raw = raw.trim();
        let is_simple = raw.bytes().all(|byte| byte.is_ascii() && !matches!(byte, b'\n' | b'&'));
        Self { raw, is_simple, plain: OnceCell::new() }
    }

    fn get(&self) -> &str {
        self.plain.get_or_init(|| match self.is_simple {
            true => self.raw.to_ascii_lowercase(),
            false => self.raw.replace("\r\n", "\n").replace("&amp;", "&").trim().to_lowercase(),
        })
    }

    fn is(&self, other: &Plain<'_>) -> bool {
        if !self.may_hold(other) || !other.may_hold(self) {
            return false;
        }
        match (self.is_simple, other.is_simple) {
            (true, true) => self.raw.eq_ignore_ascii_case(other.raw),
            (false, true) => self.get().eq_ignore_ascii_case(other.raw),
            (_, false) => self.get() == other.get(),
        }
    }

    fn holds(&self, part: &Plain<'_>) -> bool {
        self.may_hold(part) && self.get().contains(part.get())
    }

    /// Tells whether a text is short enough to be a part of this one: neither is written plain where it isn't.
    fn may_hold(&self, part: &Plain<'_>) -> bool {
        match part.is_simple {
            true => part.raw.len() <= self.raw.len(),
            false => part.raw.len() <= self.raw.len() * PLAIN_RATIO_MAX,
        }
    }
}

/// How many times as long one of two texts can be that are the same once they are plain: of `&amp;` a fifth stays, and two
/// bytes of a letter can become three.
const PLAIN_RATIO_MAX: usize = 8;

/// Tells of each field whether it is no extra, whatever was filled in, and not looked at by auto.
pub(super) fn dropped(view: &View<'_>, rules: ExtrasRules<'_>) -> Vec<bool> {
    let rules = || rules.into_iter().flatten();
    let conditional = || rules().flat_map(|rule| &rule.drop_where);
    let holds: Vec<bool> =
        conditional().map(|rule| rule.exists.iter().all(|path| path.finds(view.submission))).collect();
    let is_dropped = |form_field: &FormField<'_>| {
        let field = &form_field.field;
        let named = |globs: &Globs| globs.matches(field.key) || field.label.is_some_and(|label| globs.matches(label));
        let by_condition = |(rule, holds): (&DropRule, &bool)| *holds && named(&rule.fields) && !named(&rule.except);
        form_field.meta || rules().any(|rule| named(&rule.drop)) || conditional().zip(&holds).any(by_condition)
    };
    view.fields.iter().map(is_dropped).collect()
}

/// The extras as they come together: keys under one label are one line.
#[derive(Default)]
struct Lines<'a> {
    extras: Vec<Extra<'a>>,
    by_label: HashMap<&'a str, usize, Hashing>,
}

impl<'a> Lines<'a> {
    /// Adds a value and returns the index of its line.
    fn add(&mut self, label: &'a str, value: &'a str) -> usize {
        let index = *self.by_label.entry(label).or_insert(self.extras.len());
        match self.extras.get_mut(index) {
            Some(extra) => {
                let lines = extra.value.to_mut();
                lines.push_str(", ");
                lines.push_str(value);
            }
            None => self.extras.push(Extra { label: Cow::Borrowed(label), value: Cow::Borrowed(value) }),
        }
        index
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
