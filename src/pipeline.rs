//! The pure seam: what a site's rules make of what was received. Accept, retry, explain and the fixtures all call it.

use std::sync::Arc;

use crate::lead::{FormId, Region};
use crate::map::{Condition, ExtrasRule, LeadRules, Mapping, OnInvalid};

/// Every mapping there is, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    list: Vec<Arc<Mapping>>,
}

impl Mappings {
    /// Orders mappings: the operator's before the shipped, then by name. An operator's replaces the shipped of its name.
    pub fn new(mappings: impl IntoIterator<Item = Mapping>) -> Self {
        let mut list: Vec<Arc<Mapping>> = mappings.into_iter().map(Arc::new).collect();
        list.sort_by(|a, b| b.own.cmp(&a.own).then_with(|| a.name.cmp(&b.name)));
        let mut names = std::collections::HashSet::new();
        list.retain(|mapping| names.insert(mapping.name.clone()));
        Self { list }
    }

    /// Returns the mapping of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Mapping>> {
        self.list.iter().find(|mapping| mapping.name == name)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Mapping>> {
        self.list.iter()
    }
}

/// What a site says about its forms.
#[derive(Clone, Debug, Default)]
pub struct SiteRules {
    pub region: Option<Region>,
    /// `[forms.*]` in the file's order.
    pub forms: Vec<FormRules>,
    /// A form that no `[forms.*]` knows is held.
    pub hold_unknown_forms: bool,
}

/// One `[forms.<id>]`: everything it says goes before the mapping.
#[derive(Clone, Debug)]
pub struct FormRules {
    pub id: FormId,
    /// Which submissions are of this form, where the URL doesn't say.
    pub matches: Vec<Condition>,
    /// The name of a mapping in [`Mappings`]; none: recognised from the request.
    pub mapping: Option<String>,
    pub on_invalid: Option<OnInvalid>,
    pub region: Option<Region>,
    /// Overrides the mapping, field by field.
    pub lead: LeadRules,
    /// Added to the mapping's; `drop_all` replaces it.
    pub extras: ExtrasRule,
}
