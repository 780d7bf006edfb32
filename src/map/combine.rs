//! Combining fields whose keys share a stem into one.

use std::collections::BTreeMap;

use bumpalo::collections::Vec as ArenaVec;

use super::form_field::FormField;
use super::glob::{Glob, Globs};
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

    fn fits(&self, member: &Member<'_>) -> bool {
        self.before == member.before && self.after.matches(member.after)
    }
}

/// Every `[[combine]]` of a mapping, in its order.
#[derive(Clone, Debug, Default)]
pub struct CombineRules(Vec<Compiled>);

/// A rule, and what its patterns have in common.
#[derive(Clone, Debug)]
struct Compiled {
    rule: CombineRule,
    /// What may follow a stem, by what stands before it: nearly all patterns of a rule begin alike, and nearly no key fits any.
    afters: Vec<(String, Globs)>,
}

impl FromIterator<CombineRule> for CombineRules {
    fn from_iter<T: IntoIterator<Item = CombineRule>>(rules: T) -> Self {
        Self(rules.into_iter().map(Compiled::new).collect())
    }
}

impl Compiled {
    fn new(rule: CombineRule) -> Self {
        let mut by_before: BTreeMap<String, Vec<Glob>> = BTreeMap::new();
        let whens = rule.when.iter().map(|(pattern, _)| pattern);
        for pattern in rule.keys.iter().chain(&rule.needs).chain(&rule.unless).chain(whens) {
            by_before.entry(pattern.before.clone()).or_default().push(pattern.after.clone());
        }
        let afters = by_before.into_iter().map(|(before, globs)| (before, globs.into_iter().collect())).collect();
        Self { rule, afters }
    }

    /// Returns the ways in which a key may be meant.
    fn members<'r, 'a>(&'r self, index: usize, key: &'a str) -> impl Iterator<Item = Member<'a>> + use<'r, 'a>
    where
        'r: 'a,
    {
        self.afters.iter().filter_map(move |(before, globs)| {
            let (stem, after) = split(key, before)?;
            globs.matches(after).then_some(Member { stem, index, before, after })
        })
    }
}

/// A field that a rule speaks of, by its stem.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member<'a> {
    stem: &'a str,
    index: usize,
    before: &'a str,
    after: &'a str,
}

/// Splits a key into the stem that follows what stands before it, and the rest.
fn split<'k>(key: &'k str, before: &str) -> Option<(&'k str, &'k str)> {
    let rest = key.strip_prefix(before)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(rest.len());
    rest.split_at_checked(end).filter(|(stem, _)| !stem.is_empty())
}

/// Puts one field in the place of each group of parts; the parts stay known by their own keys.
pub(super) fn combine<'a>(rules: &'a CombineRules, submission: &Submission<'a>, fields: &mut Vec<FormField<'a>>) {
    // Only these keys are looked at by each rule: what a rule makes of some has the beginning of their keys.
    let may_fit = |key: &'a str| rules.0.iter().any(|rule| rule.members(0, key).next().is_some());
    let candidates = fields.iter().enumerate().filter(|(_, form_field)| may_fit(form_field.field.key));
    let candidates: Vec<usize> = candidates.map(|(index, _)| index).collect();
    if candidates.is_empty() {
        return;
    }
    let mut gone = vec![false; fields.len()];
    let mut members: Vec<Member<'a>> = Vec::with_capacity(candidates.len());
    for compiled in &rules.0 {
        members.clear();
        for &index in candidates.iter().filter(|index| !gone.get(**index).copied().unwrap_or_default()) {
            members.extend(fields.get(index).into_iter().flat_map(|it| compiled.members(index, it.field.key)));
        }
        // The fields of a stem side by side, in the order in which they came.
        members.sort_unstable();
        for group in members.chunk_by(|a, b| a.stem == b.stem) {
            combine_group(&compiled.rule, submission, group, fields, &mut gone);
        }
    }
    let mut is_gone = gone.into_iter();
    fields.retain(|_| !is_gone.next().unwrap_or_default());
}

fn combine_group<'a>(
    rule: &'a CombineRule,
    submission: &Submission<'a>,
    group: &[Member<'a>],
    fields: &mut [FormField<'a>],
    gone: &mut [bool],
) {
    let is_there = |member: &&Member<'a>| !gone.get(member.index).copied().unwrap_or(true);
    let group = || group.iter().filter(is_there);
    if !holds(rule, group, fields) {
        return;
    }
    let is_part = |member: &Member<'a>| fields.get(member.index).is_some_and(|it| it.parts.is_empty());
    let fits = |patterns: &[KeyPattern], member: &Member<'a>| {
        patterns.iter().any(|pattern| pattern.fits(member)) && is_part(member)
    };
    let consumes = rule.drop || !rule.when.is_empty();
    let is_taken = |member: &&Member<'a>| fits(&rule.keys, member) || (consumes && fits(&rule.needs, member));
    let Some(place) = group().find(|member| fits(&rule.keys, member)).copied() else { return };
    let mut taken: Vec<Member<'a>> = group().filter(is_taken).copied().collect();
    let field = joined(rule, submission, &taken, fields);
    taken.dedup_by_key(|member| member.index);
    for member in &taken {
        gone.get_mut(member.index).into_iter().for_each(|gone| *gone = true);
    }
    if let (Some(slot), Some(gone), false) = (fields.get_mut(place.index), gone.get_mut(place.index), rule.drop) {
        (*slot, *gone) = (field, false);
    }
}

fn holds<'m, 'a: 'm, I>(rule: &CombineRule, group: impl Fn() -> I, fields: &[FormField<'a>]) -> bool
where
    I: Iterator<Item = &'m Member<'a>>,
{
    let is_there = |pattern: &KeyPattern| group().any(|member| pattern.fits(member));
    let has_value = |(pattern, glob): &(KeyPattern, Glob)| {
        let mut fitting = group().filter(|member| pattern.fits(member)).filter_map(|member| fields.get(member.index));
        fitting.any(|form_field| form_field.field.values.iter().any(|value| glob.matches(value)))
    };
    rule.needs.iter().all(is_there) && !rule.unless.iter().any(is_there) && rule.when.iter().all(has_value)
}

fn joined<'a>(
    rule: &'a CombineRule,
    submission: &Submission<'a>,
    taken: &[Member<'a>],
    fields: &[FormField<'a>],
) -> FormField<'a> {
    let arena = submission.arena;
    let field = |member: &Member<'a>| fields.get(member.index).map(|form_field| form_field.field);
    let mut values = ArenaVec::new_in(arena);
    for pattern in &rule.keys {
        let fitting = taken.iter().filter(|member| pattern.fits(member)).filter_map(field);
        fitting.for_each(|part| values.extend_from_slice_copy(part.values));
    }
    let values = match &rule.with {
        Some(with) if values.len() > 1 => arena.alloc_slice_copy(&[join(submission, &values, with)]),
        _ => values.into_bump_slice(),
    };
    let stem = taken.first().map_or("", |member| member.stem);
    let key = match rule.keys.first().map(|pattern| pattern.before.as_str()) {
        Some(before) if !before.is_empty() => bumpalo::format!(in arena, "{}{}", before, stem).into_bump_str(),
        _ => stem,
    };
    let mut parts = ArenaVec::with_capacity_in(taken.len(), arena);
    parts.extend(taken.chunk_by(|a, b| a.index == b.index).filter_map(|same| field(same.first()?)));
    let (label, kind) = (rule.label.as_deref(), rule.kind.as_deref());
    FormField { field: Field { key, label, kind, values, node: None }, meta: false, parts: parts.into_bump_slice() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Arena, form};

    fn patterns(keys: &[&str]) -> Vec<KeyPattern> {
        keys.iter().map(|key| KeyPattern::parse(key).expect("a pattern")).collect()
    }

    /// Reads fields of a form, combines them by a rule, and tells their keys, values and number of parts.
    fn combined(rule: CombineRule, pairs: &[(&str, &str)]) -> Vec<(String, String, usize)> {
        let arena = Arena::new();
        let body: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={}", value.replace(' ', "+"))).collect();
        let body = body.join("&");
        let submission = form(&body, &arena);
        let mut fields = submission.fields.iter().copied().map(FormField::plain).collect();
        let rules = CombineRules::from_iter([rule]);
        combine(&rules, &submission, &mut fields);
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
        assert_eq!(combined(rule(), &fields), shown(&expected));
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
        assert_eq!(combined(rule.clone(), &consent), shown(&[("8", "I agree", 3), ("9", "x", 0)]));
        let unticked = [("8.1", ""), ("8.2", "I agree"), ("8.3", "7")];
        assert_eq!(combined(rule.clone(), &unticked).len(), 3);
        assert_eq!(combined(CombineRule { when: Vec::new(), drop: true, ..rule }, &unticked), []);
    }

    #[test]
    fn a_pattern_has_one_stem() {
        assert!(KeyPattern::parse("input_{n}.*").is_ok());
        for bad in ["", "1.3", "{n}.{n}"] {
            assert_eq!(KeyPattern::parse(bad).err(), Some(InvalidKeyPattern), "{bad}");
        }
    }
}
