//! What was found on a submission's way, in texts of their own, for those who explain it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Explained, LAST, Way};
use crate::decode::Submission;
use crate::lead::{Extra, LeadField};
use crate::map::{Candidate, Fate, FormField, Mapped, Mapping, Owner, Role, ScoreReason, Sense};

/// What was found in a submission that could be decoded.
///
/// `Debug` shows keys only: values are personal data.
#[derive(Clone, Default)]
pub struct Explanation {
    /// The mapping that knows the request; none where only the last resort fits.
    pub plugin: Option<String>,
    /// What was decoded, as one JSON tree.
    pub document: Value,
    /// Query parameters beside a body.
    pub query: Vec<(String, String)>,
    pub fields: Vec<ExplainedField>,
    /// How each lead field was found.
    pub found_by: BTreeMap<LeadField, String>,
    /// How sure auto is of what it found, 0 to 1.
    pub confidence: BTreeMap<LeadField, f32>,
    /// What auto weighed, the heaviest of each field first.
    pub candidates: Vec<ExplainedCandidate>,
    /// The values that were found for lead fields, unchecked.
    pub found: BTreeMap<LeadField, String>,
    /// Keys of the fields left out on purpose.
    pub dropped: Vec<String>,
}

/// Something that may be a lead field, and what speaks for it.
///
/// No `Debug`: it is personal data.
#[derive(Clone)]
pub struct ExplainedCandidate {
    pub field: LeadField,
    pub text: String,
    /// Keys of the fields it stands in.
    pub keys: Vec<String>,
    pub score: i32,
    pub reasons: Vec<(ScoreReason, i16)>,
}

/// A field as its mapping sees it, and what became of it.
#[derive(Clone)]
pub struct ExplainedField {
    pub key: String,
    pub label: Option<String>,
    pub kind: Option<String>,
    pub values: Vec<String>,
    pub fate: Fate,
    /// What it is by its label, key, type and place.
    pub role: Role,
    /// Whose it is, where its label says so.
    pub owner: Owner,
}

impl std::fmt::Debug for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&str> = self.fields.iter().map(|field| field.key.as_str()).collect();
        f.debug_struct("Explanation").field("plugin", &self.plugin).field("keys", &keys).finish_non_exhaustive()
    }
}

impl Way<'_> {
    /// Tells all that was found.
    pub(super) fn explained(self) -> Explained {
        let explanation =
            self.mapped.map(|(submission, recognised, mapped)| Explanation::of(submission, recognised, &mapped));
        let extras = self.extras.into_iter().map(Extra::into_owned).collect();
        Explained { processed: self.processed, explanation, extras }
    }
}

impl Explanation {
    fn of(submission: &Submission<'_>, recognised: &Mapping, mapped: &Mapped<'_>) -> Self {
        let plugin = Some(recognised.name.clone()).filter(|name| !name.is_empty() && name != LAST);
        let found_by = mapped.found_by.iter().map(|(field, by)| (*field, by.in_words(&mapped.fields)));
        let draft = &mapped.draft;
        let found = LeadField::ALL.into_iter().zip([draft.name, draft.email, draft.phone, draft.message]);
        Self {
            plugin,
            document: masked(submission.json(), mapped),
            query: submission.query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            fields: told_fields(mapped),
            found_by: found_by.collect(),
            confidence: mapped.confidences().collect(),
            candidates: mapped
                .candidates
                .iter()
                .map(|(field, candidate)| ExplainedCandidate::of(*field, candidate, mapped))
                .collect(),
            found: found.filter_map(|(field, value)| Some((field, value?.to_owned()))).collect(),
            dropped: mapped.dropped.iter().map(|key| (*key).to_owned()).collect(),
        }
    }
}

impl ExplainedCandidate {
    fn of(field: LeadField, candidate: &Candidate<'_>, mapped: &Mapped<'_>) -> Self {
        let keys = candidate.from.iter().filter_map(|index| mapped.fields.get(*index));
        Self {
            field,
            text: candidate.text.to_owned(),
            keys: keys.map(|form_field| form_field.field.key.to_owned()).collect(),
            score: candidate.score.total(),
            reasons: candidate.score.reasons().collect(),
        }
    }
}

/// Returns the document without the keys and passwords in it.
fn masked(document: &Value, mapped: &Mapped<'_>) -> Value {
    let fields = mapped.fields.iter().zip(&mapped.fates).filter(|(_, fate)| **fate == Fate::Secret);
    let secrets: Vec<&str> = fields.flat_map(|(form_field, _)| form_field.field.values).copied().collect();
    let mut document = document.clone();
    if !secrets.is_empty() {
        mask(&mut document, &secrets);
    }
    document
}

fn mask(value: &mut Value, secrets: &[&str]) {
    match value {
        Value::String(text) if secrets.contains(&text.as_str()) => MASKED.clone_into(text),
        Value::Number(number) if secrets.contains(&number.as_str()) => *value = Value::String(MASKED.to_owned()),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, secrets)),
        Value::Object(members) => members.values_mut().for_each(|member| mask(member, secrets)),
        _ => {}
    }
}

fn told_fields(mapped: &Mapped<'_>) -> Vec<ExplainedField> {
    let fields = mapped.fields.iter().zip(&mapped.fates).zip(&mapped.senses.fields);
    fields.map(|((form_field, fate), known)| ExplainedField::of(form_field, *fate, known.sense)).collect()
}

/// Stands for a key or password.
const MASKED: &str = "•••";

impl ExplainedField {
    fn of(form_field: &FormField<'_>, fate: Fate, sense: Sense) -> Self {
        let field = &form_field.field;
        Self {
            key: field.key.to_owned(),
            label: field.label.map(str::to_owned),
            kind: field.kind.map(str::to_owned),
            values: field
                .values
                .iter()
                .map(|value| if fate == Fate::Secret { MASKED } else { value }.to_owned())
                .collect(),
            fate,
            role: sense.role,
            owner: sense.owner,
        }
    }
}
