//! Every mapping there is, and which of them knows a submission.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::decode::{Hashing, MemberKey};
use crate::map::{Condition, Dictionary, Facts, Mapping, Shapes};

/// The mapping that is asked last and fits everything.
pub const LAST: &str = "generic";

/// Every mapping there is, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    list: Vec<Arc<Mapping>>,
    index: ConditionIndex,
    pub(super) dictionary: Arc<Dictionary>,
    pub(super) shapes: Arc<Shapes>,
}

impl Mappings {
    /// Orders mappings: the operator's before the shipped, then by name. An operator's replaces the shipped of its name.
    pub fn new(mappings: impl IntoIterator<Item = Mapping>, dictionary: Arc<Dictionary>) -> Self {
        let mut list: Vec<Arc<Mapping>> = mappings.into_iter().map(Arc::new).collect();
        list.sort_by(|a, b| b.own.cmp(&a.own).then_with(|| a.name.cmp(&b.name)));
        let mut names = HashSet::new();
        list.retain(|mapping| names.insert(mapping.name.clone()));
        let index = ConditionIndex::of(&list);
        Self { list, index, dictionary, shapes: Arc::default() }
    }

    /// Adds one for a try: it replaces none but of its name.
    #[must_use]
    pub fn with(&self, mapping: Mapping) -> Self {
        let others = self.list.iter().map(|mapping| Mapping::clone(mapping));
        Self::new(std::iter::once(mapping).chain(others), Arc::clone(&self.dictionary))
    }

    /// Returns the mapping of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Mapping>> {
        self.list.iter().find(|mapping| mapping.name == name)
    }

    /// Returns the mapping that fits best: the operator's before the shipped, the one that asks most, then by name.
    ///
    /// Where none fits it is `generic`.
    pub fn recognise(&self, facts: &Facts<'_>) -> Option<&Arc<Mapping>> {
        let mut best = None;
        self.index.each_candidate(facts, |candidate| {
            let Some((mapping, condition)) = candidate.in_list(&self.list) else { return };
            let sureness = (mapping.own, condition.weight(), Reverse(candidate.mapping));
            if best.is_none_or(|(surest, _)| sureness > surest) && condition.holds(facts) {
                best = Some((sureness, mapping));
            }
        });
        best.map(|(_, mapping)| mapping).or_else(|| self.get(LAST))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Mapping>> {
        self.list.iter()
    }
}

/// A `[[detect]]` of a mapping, by its position in the list.
#[derive(Clone, Copy, Debug)]
struct DetectCondition {
    mapping: usize,
    condition: usize,
}

impl DetectCondition {
    fn in_list(self, list: &[Arc<Mapping>]) -> Option<(&Arc<Mapping>, &Condition)> {
        let mapping = list.get(self.mapping)?;
        Some((mapping, mapping.detect.get(self.condition)?))
    }
}

/// Which conditions a submission may meet, by something that each of them asks for.
///
/// Only these are tried: with hundreds of mappings nearly all ask for names that a submission doesn't have.
#[derive(Clone, Debug, Default)]
struct ConditionIndex {
    /// By the name of a member of the document.
    by_member: HashMap<String, Vec<DetectCondition>, Hashing>,
    /// By the first byte of a field's key.
    by_key: HashMap<u8, Vec<DetectCondition>, Hashing>,
    /// Those that ask for nothing of the kind.
    others: Vec<DetectCondition>,
}

impl ConditionIndex {
    fn of(list: &[Arc<Mapping>]) -> Self {
        let named = list.iter().enumerate().filter(|(_, mapping)| mapping.name != LAST);
        let conditions = || {
            named.clone().flat_map(|(mapping, it)| {
                let conditions = it.detect.iter().enumerate();
                conditions.map(move |(condition, it)| (DetectCondition { mapping, condition }, it))
            })
        };
        let mut asked: HashMap<&str, usize> = HashMap::new();
        for name in conditions().flat_map(|(_, condition)| condition.members()) {
            *asked.entry(name).or_default() += 1;
        }
        let mut index = Self::default();
        for (candidate, condition) in conditions() {
            // What few others ask for.
            let member = condition.members().min_by_key(|name| asked.get(name));
            match (member, condition.key_start()) {
                (Some(name), _) => index.by_member.entry(name.to_owned()).or_default().push(candidate),
                (None, Some(byte)) => index.by_key.entry(byte).or_default().push(candidate),
                (None, None) => index.others.push(candidate),
            }
        }
        index
    }

    fn each_candidate(&self, facts: &Facts<'_>, mut take: impl FnMut(DetectCondition)) {
        let document = &facts.submission.document;
        for member in document.children(document.root()) {
            if let MemberKey::Name(name) = document.key(member) {
                self.by_member.get(name).into_iter().flatten().for_each(|candidate| take(*candidate));
            }
        }
        if !self.by_key.is_empty() {
            let mut starts = [false; u8::MAX as usize + 1];
            for byte in facts.submission.fields.iter().filter_map(|field| field.key.bytes().next()) {
                starts.get_mut(usize::from(byte.to_ascii_lowercase())).into_iter().for_each(|start| *start = true);
            }
            let is_there = |byte: &u8| starts.get(usize::from(*byte)).copied().unwrap_or_default();
            let there = self.by_key.iter().filter(|(byte, _)| is_there(byte));
            there.flat_map(|(_, candidates)| candidates).for_each(|candidate| take(*candidate));
        }
        self.others.iter().for_each(|candidate| take(*candidate));
    }
}
