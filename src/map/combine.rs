//! Combining fields whose keys share a stem into one.

use std::collections::BTreeSet;

use super::glob::Glob;
use super::mapping::{CombineRule, InvalidKeyPattern, KeyPattern};
use super::view::FormField;
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
        let rest = key.strip_prefix(self.before.as_str())?;
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(rest.len());
        let (stem, after) = rest.split_at_checked(end)?;
        (!stem.is_empty() && self.after.matches(after)).then_some(stem)
    }

    fn fits(&self, key: &str, stem: &str) -> bool {
        self.stem(key) == Some(stem)
    }
}

/// Puts one field in the place of each group of parts; the parts stay known by their own keys.
pub(super) fn combine(rule: &CombineRule, fields: &mut Vec<FormField>) {
    for stem in stems(rule, fields) {
        if !holds(rule, &stem, fields) {
            continue;
        }
        let is_part = |form_field: &FormField| rule.keys.iter().any(|key| key.fits(&form_field.field.key, &stem));
        let Some(place) = fields.iter().position(|form_field| form_field.parts.is_empty() && is_part(form_field))
        else {
            continue;
        };
        let (parts, rest): (Vec<_>, Vec<_>) = std::mem::take(fields).into_iter().partition(|form_field| {
            let needed = rule.drop || !rule.when.is_empty();
            let consumed = needed && rule.needs.iter().any(|key| key.fits(&form_field.field.key, &stem));
            form_field.parts.is_empty() && (is_part(form_field) || consumed)
        });
        *fields = rest;
        if !rule.drop {
            let place = place.min(fields.len());
            fields.insert(place, joined(rule, &stem, parts));
        }
    }
}

fn stems(rule: &CombineRule, fields: &[FormField]) -> BTreeSet<String> {
    let keys = fields.iter().filter(|form_field| form_field.parts.is_empty()).map(|form_field| &form_field.field.key);
    keys.flat_map(|key| rule.keys.iter().filter_map(|pattern| pattern.stem(key))).map(str::to_owned).collect()
}

fn holds(rule: &CombineRule, stem: &str, fields: &[FormField]) -> bool {
    let there = |pattern: &KeyPattern| fields.iter().any(|form_field| pattern.fits(&form_field.field.key, stem));
    let has_value = |(pattern, glob): &(KeyPattern, Glob)| {
        let mut found = fields.iter().filter(|form_field| pattern.fits(&form_field.field.key, stem));
        found.any(|form_field| form_field.field.values.iter().any(|value| glob.matches(value)))
    };
    rule.needs.iter().all(there) && !rule.unless.iter().any(there) && rule.when.iter().all(has_value)
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
        let mut consent = fields(&[("8.1", "1"), ("8.2", "I agree"), ("8.3", "7")]);
        combine(&rule, &mut consent);
        assert_eq!(shown(&consent), [("8", "I agree".to_owned())]);
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
