//! The explanation for programs. Names and order of its keys are a promise.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::lead::{Extra, FieldError, Lead, LeadField};
use crate::pipeline::{End, Explained, ExplainedCandidate, ExplainedField, Fate};

/// Everything that `explain` shows.
#[derive(Serialize)]
pub struct ExplainReport<'a> {
    plugin: Option<&'a str>,
    mapping: Option<&'a str>,
    form: &'a str,
    oddities: &'a [String],
    fields: Vec<FieldReport<'a>>,
    /// None: the body can't be decoded.
    document: Option<&'a Value>,
    lead: Option<&'a Lead>,
    errors: &'a [FieldError],
    rules: RulesReport<'a>,
    extras: &'a [Extra<'static>],
    dropped: &'a [String],
    /// How sure auto is of what it found, 0 to 1.
    confidence: BTreeMap<&'static str, f32>,
    /// What auto weighed for each field that no rule names, the heaviest first.
    candidates: BTreeMap<&'static str, Vec<CandidateReport<'a>>>,
}

#[derive(Serialize)]
struct FieldReport<'a> {
    key: &'a str,
    label: Option<&'a str>,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    values: &'a [String],
    /// What became of it: the lead fields made of it, or one of `extra`, `repeated`, `dropped`, `meta`, `secret`, `empty`.
    becomes: Vec<&'static str>,
    /// What it is by its label, key, type and place.
    role: &'static str,
    /// Whose it is, where its label says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'static str>,
    /// Which of `extras` it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<usize>,
}

#[derive(Serialize)]
struct CandidateReport<'a> {
    keys: &'a [String],
    value: &'a str,
    score: i32,
    /// What speaks for it, and against it.
    evidence: BTreeMap<&'static str, i16>,
}

fn candidates(explanation: &[ExplainedCandidate]) -> BTreeMap<&'static str, Vec<CandidateReport<'_>>> {
    let mut candidates: BTreeMap<&'static str, Vec<CandidateReport<'_>>> = BTreeMap::new();
    for candidate in explanation {
        let evidence = candidate.reasons.iter().map(|(reason, weight)| (reason.as_str(), *weight)).collect();
        let one = CandidateReport { keys: &candidate.keys, value: &candidate.text, score: candidate.score, evidence };
        candidates.entry(candidate.field.as_str()).or_default().push(one);
    }
    candidates
}

/// To two places: more would say more than is known.
fn rounded(sure: f32) -> f32 {
    (sure * 100.0).round() / 100.0
}

/// How each field of the lead was found; none if it wasn't.
#[derive(Serialize)]
struct RulesReport<'a> {
    name: Option<&'a str>,
    email: Option<&'a str>,
    phone: Option<&'a str>,
    message: Option<&'a str>,
}

impl<'a> ExplainReport<'a> {
    /// Writes an explanation down.
    pub fn of(explained: &'a Explained) -> Self {
        let explanation = explained.explanation.as_ref();
        Self {
            // None where only the last resort fits.
            plugin: explanation.and_then(|explanation| explanation.plugin.as_deref()),
            mapping: explained.processed.mapping.as_deref(),
            form: explained.processed.form.as_str(),
            oddities: &explained.processed.oddities,
            fields: explanation
                .map(|explanation| explanation.fields.iter().map(FieldReport::of).collect())
                .unwrap_or_default(),
            document: explanation.map(|explanation| &explanation.document),
            lead: lead_of(&explained.processed.end),
            errors: errors_of(&explained.processed.end),
            rules: RulesReport::of(explanation.map(|explanation| &explanation.found_by)),
            confidence: explanation
                .iter()
                .flat_map(|explanation| &explanation.confidence)
                .map(|(field, sure)| (field.as_str(), rounded(*sure)))
                .collect(),
            candidates: explanation.map(|explanation| candidates(&explanation.candidates)).unwrap_or_default(),
            extras: &explained.extras,
            dropped: explanation.map_or(&[], |explanation| explanation.dropped.as_slice()),
        }
    }
}

/// Returns the lead: the one that is sent, or that a held submission would be.
pub fn lead_of(end: &End) -> Option<&Lead> {
    match end {
        End::Lead { lead, .. } => Some(lead),
        End::Held { lead, .. } => lead.as_ref(),
    }
}

/// Returns why there is no lead.
pub fn errors_of(end: &End) -> &[FieldError] {
    match end {
        End::Lead { .. } => &[],
        End::Held { errors, .. } => errors,
    }
}

impl<'a> FieldReport<'a> {
    fn of(field: &'a ExplainedField) -> Self {
        let becomes = match field.fate {
            Fate::Lead(fields) => fields.iter().map(|field| field.as_str()).collect(),
            Fate::Extra(_) => vec!["extra"],
            Fate::Repeated => vec!["repeated"],
            Fate::Dropped => vec!["dropped"],
            Fate::Meta => vec!["meta"],
            Fate::Secret => vec!["secret"],
            Fate::Empty => vec!["empty"],
        };
        let extra = if let Fate::Extra(index) = field.fate { Some(index) } else { None };
        let label = field.label.as_deref();
        let kind = field.kind.as_deref();
        let role = field.role.as_str();
        let owner = field.owner.as_str();
        Self { key: &field.key, label, kind, values: &field.values, becomes, role, owner, extra }
    }
}

impl<'a> RulesReport<'a> {
    fn of(found_by: Option<&'a BTreeMap<LeadField, String>>) -> Self {
        let rule = |field| found_by?.get(&field).map(String::as_str);
        Self {
            name: rule(LeadField::Name),
            email: rule(LeadField::Email),
            phone: rule(LeadField::Phone),
            message: rule(LeadField::Message),
        }
    }
}
