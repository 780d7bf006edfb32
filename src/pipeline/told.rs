//! What was found on a submission's way, in texts of their own, for those who explain it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Explained, LAST, Way};
use crate::decode::Submission;
use crate::lead::{Extra, LeadField};
use crate::map::{Fate, FormField, Mapped, Mapping};

/// What was found of a submission that could be decoded.
///
/// `Debug` shows keys only: values are personal data.
#[derive(Clone, Default)]
pub struct Told {
    /// The mapping that knows the request; none where only the last resort fits.
    pub plugin: Option<String>,
    /// What was decoded, as one JSON tree.
    pub document: Value,
    /// Query parameters beside a body.
    pub query: Vec<(String, String)>,
    pub fields: Vec<ToldField>,
    /// How each lead field was found.
    pub found_by: BTreeMap<LeadField, String>,
    /// The values that were found for lead fields, unchecked.
    pub found: BTreeMap<LeadField, String>,
    /// Keys of the fields left out on purpose.
    pub dropped: Vec<String>,
}

/// A field as its mapping sees it, and what became of it.
#[derive(Clone)]
pub struct ToldField {
    pub key: String,
    pub label: Option<String>,
    pub kind: Option<String>,
    pub values: Vec<String>,
    pub fate: Fate,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&str> = self.fields.iter().map(|field| field.key.as_str()).collect();
        f.debug_struct("Told").field("plugin", &self.plugin).field("keys", &keys).finish_non_exhaustive()
    }
}

impl Way<'_> {
    /// Tells all that was found.
    pub(super) fn explained(self) -> Explained {
        let told = self.mapped.map(|(submission, recognised, mapped)| Told::of(submission, recognised, &mapped));
        let extras = self.extras.into_iter().map(Extra::into_owned).collect();
        Explained { processed: self.processed, told, extras }
    }
}

impl Told {
    fn of(submission: &Submission<'_>, recognised: &Mapping, mapped: &Mapped<'_>) -> Self {
        let plugin = Some(recognised.name.clone()).filter(|name| !name.is_empty() && name != LAST);
        let found_by = mapped.found_by.iter().map(|(field, by)| (*field, by.in_words(&mapped.fields)));
        let draft = &mapped.draft;
        let found = LeadField::ALL.into_iter().zip([draft.name, draft.email, draft.phone, draft.message]);
        Self {
            plugin,
            document: submission.json().clone(),
            query: submission.query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            fields: mapped.fields.iter().zip(&mapped.fates).map(ToldField::of).collect(),
            found_by: found_by.collect(),
            found: found.filter_map(|(field, value)| Some((field, value?.to_owned()))).collect(),
            dropped: mapped.dropped.iter().map(|key| (*key).to_owned()).collect(),
        }
    }
}

impl ToldField {
    fn of((form_field, fate): (&FormField<'_>, &Fate)) -> Self {
        let field = &form_field.field;
        Self {
            key: field.key.to_owned(),
            label: field.label.map(str::to_owned),
            kind: field.kind.map(str::to_owned),
            values: field.values.iter().map(|value| (*value).to_owned()).collect(),
            fate: *fate,
        }
    }
}
