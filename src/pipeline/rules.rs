//! What a site says about its forms, which goes before the mappings.

use crate::lead::{FormId, Region};
use crate::map::{Condition, ExtrasRule, LeadRules, OnInvalid};

/// What a site says about its forms.
#[derive(Clone, Debug, Default)]
pub struct SiteRules {
    pub region: Option<Region>,
    /// `[forms.*]` in the file's order.
    pub forms: Vec<FormRules>,
    /// A form that no `[forms.*]` knows is held.
    pub hold_unknown_forms: bool,
}

impl SiteRules {
    /// Reads every form by one mapping, for a try.
    #[must_use]
    pub fn with_mapping(&self, name: &str) -> Self {
        let mut rules = self.clone();
        let default = FormId::parse("default").ok().filter(|id| !rules.forms.iter().any(|form| form.id == *id));
        rules.forms.extend(default.map(FormRules::plain));
        for form in &mut rules.forms {
            form.mapping = Some(name.to_owned());
        }
        rules
    }
}

impl FormRules {
    /// A form of which nothing is said.
    fn plain(id: FormId) -> Self {
        Self {
            id,
            matches: Vec::new(),
            mapping: None,
            on_invalid: None,
            region: None,
            lead: LeadRules::default(),
            extras: ExtrasRule::default(),
            auto_min: None,
            honeypot: None,
        }
    }
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
    /// Added to the mapping's; its `to` goes before.
    pub extras: ExtrasRule,
    /// What auto found is held below this confidence, 0 to 1.
    pub auto_min: Option<f32>,
    /// A field that people don't see: a submission where it is filled is held, and it is no part of the lead.
    pub honeypot: Option<String>,
}
