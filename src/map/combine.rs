//! Combining fields whose keys share a stem into one.

use super::form_field::FormField;
use super::glob::Glob;
use super::mapping::{CombineRule, InvalidKeyPattern, KeyPattern};
use super::texts::join;
use crate::decode::{Field, Submission};

/// Stands for the stem in a pattern.
const STEM: &str = "{n}";

impl KeyPattern {
    /// Parses a pattern: `{n}.3`, `input_{n}.*`.
    pub fn parse(pattern: &str) -> Result<Self, InvalidKeyPattern> {
        match pattern.split_once(STEM) {
            Some((before, after)) if !after.contains(STEM) => {
                Ok(Self { before: before.to_owned(), after: Glob::new(after) })
            }
            _ => Err(InvalidKeyPattern),
        }
    }

    fn fits(&self, key: &str, stem: &str) -> bool {
        let after = split(key, &self.before).filter(|(other, _)| *other == stem).map(|(_, after)| after);
        after.is_some_and(|after| self.after.matches(after))
    }
}

impl CombineRule {
    /// Compiles a rule's patterns for [`combine`]: what they begin with, and what may follow a stem.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &KeyPattern> {
        let whens = self.when.iter().map(|(pattern, _)| pattern);
        self.keys.iter().chain(&self.needs).chain(&self.unless).chain(whens)
    }
}

/// Splits a key into the stem that follows what stands before it, and the rest.
fn split<'k>(key: &'k str, before: &str) -> Option<(&'k str, &'k str)> {
    let rest = key.strip_prefix(before)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(rest.len());
    rest.split_at_checked(end).filter(|(stem, _)| !stem.is_empty())
}

/// A field that a rule speaks of, by its stem.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member<'a> {
    stem: &'a str,
    index: usize,
}

/// Puts one field in the place of each group of parts; the parts stay known by their own keys.
pub(super) fn combine<'a>(rule: &CombineRule, submission: &Submission<'a>, fields: &mut Vec<FormField<'a>>) {
    let mut members = members(rule, fields);
    if members.is_empty() {
        return;
    }
    // The fields of a stem side by side, each once, in the order in which they came.
    members.sort_unstable();
    members.dedup();
    let mut gone = vec![false; fields.len()];
    for group in members.chunk_by(|a, b| a.stem == b.stem) {
        combine_group(rule, submission, group, fields, &mut gone);
    }
    let mut is_gone = gone.into_iter();
    fields.retain(|_| !is_gone.next().unwrap_or_default());
}

/// Finds the fields that a rule speaks of: looking through all of them for each stem would take the square.
fn members<'a>(rule: &CombineRule, fields: &[FormField<'a>]) -> Vec<Member<'a>> {
    let mut members = Vec::new();
    for (index, form_field) in fields.iter().enumerate() {
        let key = form_field.field.key;
        let mut last = ("", split(key, ""));
        for pattern in rule.patterns() {
            // Nearly all patterns of a rule begin alike, and nearly no key fits any.
            if pattern.before != last.0 {
                last = (&pattern.before, split(key, &pattern.before));
            }
            let Some((stem, after)) = last.1 else { continue };
            if pattern.after.matches(after) {
                members.push(Member { stem, index });
            }
        }
    }
    members
}

fn combine_group<'a>(
    rule: &CombineRule,
    submission: &Submission<'a>,
    group: &[Member<'a>],
    fields: &mut [FormField<'a>],
    gone: &mut [bool],
) {
    let Some(stem) = group.first().map(|member| member.stem) else { return };
    // A field may be known by several stems, where patterns begin in several ways.
    let group: Vec<(usize, FormField<'a>)> = group
        .iter()
        .filter(|member| !gone.get(member.index).copied().unwrap_or_default())
        .filter_map(|member| Some((member.index, *fields.get(member.index)?)))
        .collect();
    if !holds(rule, stem, &group) {
        return;
    }
    let fits = |patterns: &[KeyPattern], form_field: &FormField<'a>| {
        form_field.parts.is_empty() && patterns.iter().any(|pattern| pattern.fits(form_field.field.key, stem))
    };
    let Some((place, _)) = group.iter().find(|(_, form_field)| fits(&rule.keys, form_field)).copied() else { return };
    let consumes = rule.drop || !rule.when.is_empty();
    let is_taken = |(_, form_field): &(usize, FormField<'a>)| {
        fits(&rule.keys, form_field) || (consumes && fits(&rule.needs, form_field))
    };
    let taken: Vec<(usize, FormField<'a>)> = group.into_iter().filter(is_taken).collect();
    for (index, _) in &taken {
        gone.get_mut(*index).into_iter().for_each(|gone| *gone = true);
    }
    if let (Some(slot), Some(gone), false) = (fields.get_mut(place), gone.get_mut(place), rule.drop) {
        let parts: Vec<Field<'a>> = taken.into_iter().map(|(_, form_field)| form_field.field).collect();
        (*slot, *gone) = (joined(rule, submission, stem, &parts), false);
    }
}

fn holds(rule: &CombineRule, stem: &str, group: &[(usize, FormField<'_>)]) -> bool {
    let fitting = |pattern: &KeyPattern| group.iter().filter(|(_, field)| pattern.fits(field.field.key, stem)).count();
    let has_value = |(pattern, glob): &(KeyPattern, Glob)| {
        let mut found = group.iter().filter(|(_, form_field)| pattern.fits(form_field.field.key, stem));
        found.any(|(_, form_field)| form_field.field.values.iter().any(|value| glob.matches(value)))
    };
    rule.needs.iter().all(|pattern| fitting(pattern) > 0)
        && rule.unless.iter().all(|pattern| fitting(pattern) == 0)
        && rule.when.iter().all(has_value)
}

fn joined<'a>(rule: &CombineRule, submission: &Submission<'a>, stem: &'a str, parts: &[Field<'a>]) -> FormField<'a> {
    let arena = submission.arena;
    let mut values = bumpalo::collections::Vec::new_in(arena);
    for pattern in &rule.keys {
        let fitting = parts.iter().filter(|part| pattern.fits(part.key, stem));
        fitting.for_each(|part| values.extend_from_slice_copy(part.values));
    }
    let values = match &rule.with {
        Some(with) if values.len() > 1 => arena.alloc_slice_copy(&[join(submission, &values, with)]),
        _ => values.into_bump_slice(),
    };
    let key = match rule.keys.first() {
        Some(pattern) if !pattern.before.is_empty() => {
            bumpalo::format!(in arena, "{}{}", pattern.before, stem).into_bump_str()
        }
        _ => stem,
    };
    let text = |text: &Option<String>| text.as_deref().map(|text| &*arena.alloc_str(text));
    let field = Field { key, label: text(&rule.label), kind: text(&rule.kind), values, node: None };
    FormField { field, meta: false, parts: arena.alloc_slice_copy(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Arena, form};

    fn patterns(keys: &[&str]) -> Vec<KeyPattern> {
        keys.iter().map(|key| KeyPattern::parse(key).expect("a pattern")).collect()
    }

    /// Reads fields of a form, combines them by a rule, and tells their keys, values and number of parts.
    fn combined(rule: &CombineRule, pairs: &[(&str, &str)]) -> Vec<(String, String, usize)> {
        let arena = Arena::new();
        let body: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={}", value.replace(' ', "+"))).collect();
        let body = body.join("&");
        let submission = form(&body, &arena);
        let mut fields = submission.fields.iter().copied().map(FormField::plain).collect();
        combine(rule, &submission, &mut fields);
        let shown = |it: &FormField<'_>| (it.field.key.to_owned(), it.field.values.join("|"), it.parts.len());
        fields.iter().map(shown).collect()
    }

    fn shown(fields: &[(&str, &str, usize)]) -> Vec<(String, String, usize)> {
        fields.iter().map(|(key, value, parts)| ((*key).to_owned(), (*value).to_owned(), *parts)).collect()
    }

    fn rule() -> CombineRule {
        CombineRule {
            keys: patterns(&["{n}.2", "{n}.3", "{n}.6"]),
            needs: patterns(&["{n}.6"]),
            unless: patterns(&["{n}.1"]),
            when: Vec::new(),
            with: Some(" ".to_owned()),
            label: Some("Name".to_owned()),
            kind: Some("name".to_owned()),
            drop: false,
        }
    }

    #[test]
    fn parts_of_one_stem_become_one_field_in_their_place() {
        let fields =
            [("0", "x"), ("1.3", "Jane"), ("1.6", "Doe"), ("12.6", "Roe"), ("4.1", "a"), ("4.6", "b"), ("1.2", "")];
        let expected = [("0", "x", 0), ("1", "Jane Doe", 3), ("12", "Roe", 1), ("4.1", "a", 0), ("4.6", "b", 0)];
        assert_eq!(combined(&rule(), &fields), shown(&expected));
    }

    #[test]
    fn a_value_can_be_asked_for_and_the_parts_let_go() {
        let rule = CombineRule {
            keys: patterns(&["{n}.2"]),
            needs: patterns(&["{n}.1", "{n}.3"]),
            unless: Vec::new(),
            when: vec![(KeyPattern::parse("{n}.1").expect("a pattern"), Glob::new("1"))],
            with: None,
            ..rule()
        };
        let consent = [("8.1", "1"), ("8.2", "I agree"), ("8.3", "7"), ("9", "x")];
        assert_eq!(combined(&rule, &consent), shown(&[("8", "I agree", 3), ("9", "x", 0)]));
        let unticked = [("8.1", ""), ("8.2", "I agree"), ("8.3", "7")];
        assert_eq!(combined(&rule, &unticked).len(), 3);
        assert_eq!(combined(&CombineRule { when: Vec::new(), drop: true, ..rule }, &unticked), []);
    }

    #[test]
    fn a_pattern_has_one_stem() {
        assert!(KeyPattern::parse("input_{n}.*").is_ok());
        for bad in ["", "1.3", "{n}.{n}"] {
            assert_eq!(KeyPattern::parse(bad).err(), Some(InvalidKeyPattern), "{bad}");
        }
    }
}
