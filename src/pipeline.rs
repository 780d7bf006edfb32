//! The pure seam: what a site's rules make of what was received. Accept, retry, explain and the fixtures all call it.

use std::sync::Arc;

use crate::lead::{FieldError, FormId, Lead, Region};
use crate::map::{Condition, ExtrasRule, LeadRules, Mapping, OnInvalid};
use crate::received::Received;

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

/// What became of one submission.
#[derive(Clone, Debug)]
pub struct Processed {
    /// The form it is of: the URL's, the one whose `match` holds, `default`, or one called after the body.
    pub form: FormId,
    /// The mapping used; none where the body could not be decoded.
    pub mapping: Option<String>,
    pub oddities: Vec<String>,
    pub on_invalid: OnInvalid,
    pub end: End,
}

/// The one end a submission comes to in the pipeline.
#[derive(Clone, Debug)]
pub enum End {
    /// A lead to send.
    Lead { lead: Lead, fingerprint: Fingerprint },
    /// Stored, not sent.
    Held { hold: Hold, lead: Option<Lead>, errors: Vec<FieldError> },
}

/// Why the pipeline holds a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The body can't be decoded: 400.
    Undecodable,
    /// The media type is no form and no text: 415.
    UnsupportedType,
    /// No valid lead in it, or no field at all.
    Invalid,
    /// A `[[hold]]` rule.
    Rule,
    /// No `[forms.*]` knows it and the site says `unknown_forms = "hold"`.
    UnknownForm,
}

/// What makes two leads of one site and form the same; SHA-256, so that it can be kept without the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Runs a submission through decode, map and lead.
///
/// `form` is the one the URL names.
pub fn process(_mappings: &Mappings, site: &SiteRules, form: Option<&FormId>, received: &Received) -> Processed {
    let form = form.cloned().or_else(|| FormId::parse("default").ok()).expect("default is a form id");
    let _ = site;
    let body: serde_json::Value = serde_json::from_slice(&received.body).unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    let draft = crate::lead::Draft {
        name: text("name"),
        email: text("email"),
        phone: text("phone"),
        message: text("message"),
        ..Default::default()
    };
    let end = match Lead::check(draft) {
        Ok(checked) => End::Lead { lead: checked.lead, fingerprint: Fingerprint([0; 32]) },
        Err(rejection) => End::Held { hold: Hold::Invalid, lead: None, errors: rejection.errors },
    };
    Processed { form, mapping: Some("interim".into()), oddities: vec![], on_invalid: OnInvalid::Hold, end }
}
