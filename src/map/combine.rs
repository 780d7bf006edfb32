//! Combining fields whose keys share a stem into one.

use std::ops::Range;

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
}

/// Every `[[combine]]` of a mapping, in its order.
#[derive(Clone, Debug, Default)]
pub struct CombineRules {
    /// What may follow a stem in any rule, by what stands before it: patterns begin in a way or two, and few keys fit any.
    afters: Vec<(String, Globs)>,
    rules: Vec<CompiledRule>,
}

/// A rule, its patterns sorted by how they begin.
#[derive(Clone, Debug)]
struct CompiledRule {
    keys: Vec<Pattern>,
    needs: Vec<Pattern>,
    unless: Vec<Pattern>,
    when: Vec<(Pattern, Glob)>,
    with: Option<String>,
    label: Option<String>,
    kind: Option<String>,
    drop: bool,
}

/// A [`KeyPattern`] whose beginning is the one at an index of [`CombineRules::afters`].
#[derive(Clone, Debug)]
struct Pattern {
    before: usize,
    after: Glob,
}

impl Pattern {
    fn fits(&self, member: &Member<'_>) -> bool {
        self.before == member.before && self.after.matches(member.after)
    }
}

impl FromIterator<CombineRule> for CombineRules {
    fn from_iter<T: IntoIterator<Item = CombineRule>>(rules: T) -> Self {
        let mut befores: Vec<(String, Vec<Glob>)> = Vec::new();
        let mut compile = |KeyPattern { before, after }| {
            let known = befores.iter().position(|(known, _)| *known == before);
            let number = known.unwrap_or(befores.len());
            match befores.get_mut(number) {
                Some((_, afters)) => afters.push(Glob::clone(&after)),
                None => befores.push((before, vec![after.clone()])),
            }
            Pattern { before: number, after }
        };
        let compiled = rules.into_iter().map(|rule| CompiledRule {
            keys: rule.keys.into_iter().map(&mut compile).collect(),
            needs: rule.needs.into_iter().map(&mut compile).collect(),
            unless: rule.unless.into_iter().map(&mut compile).collect(),
            when: rule.when.into_iter().map(|(pattern, glob)| (compile(pattern), glob)).collect(),
            with: rule.with,
            label: rule.label,
            kind: rule.kind,
            drop: rule.drop,
        });
        let rules = compiled.collect();
        Self {
            afters: befores.into_iter().map(|(before, globs)| (before, globs.into_iter().collect())).collect(),
            rules,
        }
    }
}

/// A field that some rule speaks of, by its stem.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member<'a> {
    stem: &'a str,
    index: usize,
    before: usize,
    after: &'a str,
}

impl CombineRules {
    /// Returns the ways in which a field's key may be meant.
    fn members<'a>(&self, index: usize, key: &'a str) -> impl Iterator<Item = Member<'a>> {
        self.afters.iter().enumerate().filter_map(move |(number, (before, globs))| {
            let (stem, after) = split(key, before)?;
            globs.matches(after).then_some(Member { stem, index, before: number, after })
        })
    }
}

/// Splits a key into the stem that follows what stands before it, and the rest.
fn split<'k>(key: &'k str, before: &str) -> Option<(&'k str, &'k str)> {
    // Asked of every key: a comparison byte by byte is done before one by `memcmp` has begun.
    if !before.bytes().zip(key.bytes()).all(|(a, b)| a == b) {
        return None;
    }
    let rest = key.get(before.len()..)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '-').unwrap_or(rest.len());
    rest.split_at_checked(end).filter(|(stem, _)| !stem.is_empty())
}

/// Puts one field in the place of each group of parts; the parts stay known by their own keys.
pub(super) fn combine<'a>(rules: &'a CombineRules, submission: &Submission<'a>, fields: &mut Vec<FormField<'a>>) {
    if rules.rules.is_empty() {
        return;
    }
    let keys = fields.iter().enumerate();
    let mut members: Vec<Member<'a>> = Vec::new();
    keys.for_each(|(index, form_field)| members.extend(rules.members(index, form_field.field.key)));
    if members.is_empty() {
        return;
    }
    let mut groups = grouped(&mut members);
    let mut work = CombineWork { gone: vec![false; fields.len()], fields, submission, afters: &rules.afters };
    for rule in &rules.rules {
        let members_of = |group: &Range<usize>| members.get(group.clone()).unwrap_or_default();
        let mut combined: Vec<usize> =
            groups.iter().filter_map(|group| work.combine_group(rule, members_of(group))).collect();
        combined.sort_unstable();
        if !combined.is_empty() {
            members.retain(|member| work.is_there(member) && combined.binary_search(&member.index).is_err());
            for index in combined.into_iter().filter(|index| !work.gone.get(*index).copied().unwrap_or(true)) {
                let key = work.fields.get(index).map_or("", |form_field| form_field.field.key);
                members.extend(rules.members(index, key));
            }
            groups = grouped(&mut members);
        }
    }
    let mut is_gone = work.gone.into_iter();
    fields.retain(|_| !is_gone.next().unwrap_or_default());
}

/// Puts the fields of a stem side by side, in the order in which they came; returns where each stem's are.
fn grouped(members: &mut [Member<'_>]) -> Vec<Range<usize>> {
    members.sort_unstable();
    let mut end = 0;
    let groups = members.chunk_by(|a, b| a.stem == b.stem).map(|group| {
        end += group.len();
        end - group.len()..end
    });
    groups.collect()
}

/// The combination in progress.
struct CombineWork<'f, 'a> {
    /// Which fields another one stands for.
    gone: Vec<bool>,
    fields: &'f mut Vec<FormField<'a>>,
    submission: &'f Submission<'a>,
    /// As in [`CombineRules`].
    afters: &'a [(String, Globs)],
}

impl<'a> CombineWork<'_, 'a> {
    fn is_there(&self, member: &Member<'a>) -> bool {
        !self.gone.get(member.index).copied().unwrap_or(true)
    }

    /// Tells whether a field fits a pattern and wasn't combined before.
    fn is_part(&self, patterns: &[Pattern], member: &Member<'a>) -> bool {
        let is_single = || self.fields.get(member.index).is_some_and(|it| it.parts.is_empty());
        patterns.iter().any(|pattern| pattern.fits(member)) && self.is_there(member) && is_single()
    }

    /// Puts one field in the place of a group's parts; returns where.
    fn combine_group(&mut self, rule: &'a CompiledRule, group: &[Member<'a>]) -> Option<usize> {
        let place = group.iter().find(|member| self.is_part(&rule.keys, member))?.index;
        if !self.holds(rule, group) {
            return None;
        }
        let consumes = rule.drop || !rule.when.is_empty();
        let is_taken =
            |member: &&Member<'a>| self.is_part(&rule.keys, member) || (consumes && self.is_part(&rule.needs, member));
        let taken: Vec<Member<'a>> = group.iter().filter(is_taken).copied().collect();
        let field = self.joined(rule, &taken);
        for member in &taken {
            self.gone.get_mut(member.index).into_iter().for_each(|gone| *gone = true);
        }
        if let (Some(slot), Some(gone), false) = (self.fields.get_mut(place), self.gone.get_mut(place), rule.drop) {
            *slot = field;
            *gone = false;
        }
        Some(place)
    }

    fn holds(&self, rule: &CompiledRule, group: &[Member<'a>]) -> bool {
        let group = || group.iter().filter(|member| self.is_there(member));
        let is_there = |pattern: &Pattern| group().any(|member| pattern.fits(member));
        let has_value = |(pattern, glob): &(Pattern, Glob)| {
            let fitting = group().filter(|member| pattern.fits(member));
            let mut values = fitting.filter_map(|member| self.fields.get(member.index)).flat_map(|it| it.field.values);
            values.any(|value| glob.matches(value))
        };
        rule.needs.iter().all(is_there) && !rule.unless.iter().any(is_there) && rule.when.iter().all(has_value)
    }

    fn joined(&self, rule: &'a CompiledRule, taken: &[Member<'a>]) -> FormField<'a> {
        let arena = self.submission.arena;
        let field = |member: &Member<'a>| self.fields.get(member.index).map(|form_field| form_field.field);
        let mut values = ArenaVec::new_in(arena);
        for pattern in &rule.keys {
            let fitting = taken.iter().filter(|member| pattern.fits(member)).filter_map(field);
            fitting.for_each(|part| values.extend_from_slice_copy(part.values));
        }
        let values = match &rule.with {
            Some(with) if values.len() > 1 => arena.alloc_slice_copy(&[join(self.submission, &values, with)]),
            _ => values.into_bump_slice(),
        };
        let stem = taken.first().map_or("", |member| member.stem);
        let before = rule.keys.first().and_then(|pattern| self.afters.get(pattern.before));
        let key = match before.map(|(before, _)| before.as_str()) {
            Some(before) if !before.is_empty() => bumpalo::format!(in arena, "{}{}", before, stem).into_bump_str(),
            _ => stem,
        };
        let mut parts = ArenaVec::with_capacity_in(taken.len(), arena);
        parts.extend(taken.chunk_by(|a, b| a.index == b.index).filter_map(|same| field(same.first()?)));
        let label = rule.label.as_deref();
        let kind = rule.kind.as_deref();
        FormField { field: Field { key, label, kind, values, node: None }, meta: false, parts: parts.into_bump_slice() }
    }
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
