//! Combining fields whose keys share a stem into one.

use std::collections::{BTreeMap, BTreeSet};

use super::form_field::FormField;
use super::glob::Glob;
use super::mapping::{CombineRule, InvalidKeyPattern, KeyPattern};
use crate::decode::Field;

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

    /// Returns the stem of a key that fits.
    fn stem<'k>(&self, key: &'k str) -> Option<&'k str> {
        let (stem, after) = split(key, &self.before)?;
        self.after.matches(after).then_some(stem)
    }

    fn fits(&self, key: &str, stem: &str) -> bool {
        self.stem(key) == Some(stem)
    }
}

/// Splits a key into the stem that follows what stands before it, and the rest.
fn split<'k>(key: &'k str, before: &str) -> Option<(&'k str, &'k str)> {
    let rest = key.strip_prefix(before)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(rest.len());
    rest.split_at_checked(end).filter(|(stem, _)| !stem.is_empty())
}

/// Puts one field in the place of each group of parts; the parts stay known by their own keys.
pub(super) fn combine(rule: &CombineRule, fields: &mut Vec<FormField>) {
    let groups = groups(rule, fields);
    let mut slots: Vec<Option<FormField>> = std::mem::take(fields).into_iter().map(Some).collect();
    for (stem, members) in groups {
        combine_group(rule, &stem, &members, &mut slots);
    }
    *fields = slots.into_iter().flatten().collect();
}

/// Finds the fields that a rule speaks of by their stem: looking through all of them for each would take the square.
fn groups(rule: &CombineRule, fields: &[FormField]) -> BTreeMap<String, BTreeSet<usize>> {
    let whens = rule.when.iter().map(|(pattern, _)| pattern);
    // Nearly all patterns of a rule begin alike, and nearly no key fits any.
    let mut by_before: BTreeMap<&str, Vec<&Glob>> = BTreeMap::new();
    for pattern in rule.keys.iter().chain(&rule.needs).chain(&rule.unless).chain(whens) {
        by_before.entry(&pattern.before).or_default().push(&pattern.after);
    }
    let mut groups: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (index, form_field) in fields.iter().enumerate() {
        for (before, afters) in &by_before {
            let Some((stem, after)) = split(&form_field.field.key, before) else { continue };
            if afters.iter().any(|glob| glob.matches(after)) {
                groups.entry(stem.to_owned()).or_default().insert(index);
            }
        }
    }
    groups
}

fn combine_group(rule: &CombineRule, stem: &str, members: &BTreeSet<usize>, slots: &mut [Option<FormField>]) {
    let group: Vec<(usize, &FormField)> =
        members.iter().filter_map(|&index| Some((index, slots.get(index)?.as_ref()?))).collect();
    if !holds(rule, stem, &group) {
        return;
    }
    let fits = |patterns: &[KeyPattern], form_field: &FormField| {
        form_field.parts.is_empty() && patterns.iter().any(|pattern| pattern.fits(&form_field.field.key, stem))
    };
    let Some((place, _)) = group.iter().find(|(_, form_field)| fits(&rule.keys, form_field)).copied() else { return };
    let consumes = rule.drop || !rule.when.is_empty();
    let is_taken = |(_, form_field): &(usize, &FormField)| {
        fits(&rule.keys, form_field) || (consumes && fits(&rule.needs, form_field))
    };
    let taken: Vec<usize> = group.into_iter().filter(is_taken).map(|(index, _)| index).collect();
    let parts = taken.into_iter().filter_map(|index| slots.get_mut(index)?.take()).collect();
    if let Some(slot) = slots.get_mut(place).filter(|_| !rule.drop) {
        *slot = Some(joined(rule, stem, parts));
    }
}

fn holds(rule: &CombineRule, stem: &str, group: &[(usize, &FormField)]) -> bool {
    let fitting = |pattern: &KeyPattern| group.iter().filter(|(_, field)| pattern.fits(&field.field.key, stem)).count();
    let has_value = |(pattern, glob): &(KeyPattern, Glob)| {
        let mut found = group.iter().filter(|(_, form_field)| pattern.fits(&form_field.field.key, stem));
        found.any(|(_, form_field)| form_field.field.values.iter().any(|value| glob.matches(value)))
    };
    rule.needs.iter().all(|pattern| fitting(pattern) > 0)
        && rule.unless.iter().all(|pattern| fitting(pattern) == 0)
        && rule.when.iter().all(has_value)
}

fn joined(rule: &CombineRule, stem: &str, parts: Vec<FormField>) -> FormField {
    let of = |pattern: &KeyPattern| {
        let fitting = parts.iter().filter(|part| pattern.fits(&part.field.key, stem));
        fitting.flat_map(|part| part.field.values.iter().cloned()).collect::<Vec<_>>()
    };
    let values: Vec<String> = rule.keys.iter().flat_map(of).collect();
    let values = match &rule.with {
        Some(with) if !values.is_empty() => vec![values.join(with)],
        _ => values,
    };
    let key = rule.keys.first().map_or_else(|| stem.to_owned(), |pattern| format!("{}{stem}", pattern.before));
    let field = Field { key, label: rule.label.clone(), kind: rule.kind.clone(), values, path: String::new() };
    FormField { field, meta: false, parts: parts.into_iter().map(|part| part.field).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(keys: &[&str]) -> Vec<KeyPattern> {
        keys.iter().map(|key| KeyPattern::parse(key).expect("a pattern")).collect()
    }

    fn fields(pairs: &[(&str, &str)]) -> Vec<FormField> {
        let field = |(key, value): &(&str, &str)| Field {
            key: (*key).to_owned(),
            label: None,
            kind: None,
            values: Some(*value).filter(|value| !value.is_empty()).map(str::to_owned).into_iter().collect(),
            path: format!("$['{key}']"),
        };
        pairs.iter().map(|pair| FormField { field: field(pair), meta: false, parts: Vec::new() }).collect()
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

    fn shown(fields: &[FormField]) -> Vec<(&str, String)> {
        fields.iter().map(|form_field| (form_field.field.key.as_str(), form_field.field.values.join("|"))).collect()
    }

    #[test]
    fn parts_of_one_stem_become_one_field_in_their_place() {
        let mut fields = fields(&[
            ("0", "x"),
            ("1.3", "Jane"),
            ("1.6", "Doe"),
            ("12.6", "Roe"),
            ("4.1", "a"),
            ("4.6", "b"),
            ("1.2", ""),
        ]);
        combine(&rule(), &mut fields);
        let expected = [("0", "x"), ("1", "Jane Doe"), ("12", "Roe"), ("4.1", "a"), ("4.6", "b")];
        assert_eq!(shown(&fields), expected.map(|(key, value)| (key, value.to_owned())));
        assert_eq!(fields[1].parts.len(), 3);
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
        let mut consent = fields(&[("8.1", "1"), ("8.2", "I agree"), ("8.3", "7"), ("9", "x")]);
        combine(&rule, &mut consent);
        assert_eq!(shown(&consent), [("8", "I agree".to_owned()), ("9", "x".to_owned())]);
        let mut unticked = fields(&[("8.1", ""), ("8.2", "I agree"), ("8.3", "7")]);
        combine(&rule, &mut unticked);
        assert_eq!(unticked.len(), 3);
        combine(&CombineRule { when: Vec::new(), drop: true, ..rule }, &mut unticked);
        assert!(unticked.is_empty());
    }

    #[test]
    fn a_pattern_has_one_stem() {
        assert!(KeyPattern::parse("input_{n}.*").is_ok());
        for bad in ["", "1.3", "{n}.{n}"] {
            assert_eq!(KeyPattern::parse(bad).err(), Some(InvalidKeyPattern), "{bad}");
        }
    }
}
