//! `show`: the whole life of one entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::again::{Remade, explain};
use super::summary::Summary;
use super::waiting::Situation;
use super::{OperateError, find};
use jiff::Timestamp;

use crate::lead::{Extra, FieldError, LeadField};
use crate::pipeline::{ExplainedField, Explanation};
use crate::queue::{Entry, Event, Head, Reading, Store, StoreError};
use crate::telemetry;

/// Everything about an entry. Names and order of its keys are a promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Life {
    pub entry: Summary,
    pub revision: u64,
    pub received: ReceivedView,
    /// The body's fields as they are decoded; none where it can't be.
    pub fields: Vec<ShownField>,
    pub oddities: Vec<String>,
    /// Why there is no lead.
    pub errors: Vec<FieldError>,
    /// The words of the `[[hold]]` rule that holds it.
    pub hold_rule: Option<String>,
    /// How each lead field is found, by the rules of now.
    pub rules: BTreeMap<LeadField, String>,
    /// What the rules of now find for each lead field, unchecked; also where that is no valid lead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub found: BTreeMap<LeadField, String>,
    /// What auto weighed, and how sure it is, of the fields that no rule names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<LeadField, FieldEvidence>,
    /// What an operator corrected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amended: Vec<ShownCorrection>,
    pub extras: Vec<Extra<'static>>,
    pub dropped: Vec<String>,
    pub today: Today,
    pub history: Vec<Event>,
}

/// What was received, as it is shown. `Debug` shows sizes only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedView {
    pub method: String,
    pub query: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub trace_id: Option<String>,
    pub body_bytes: usize,
    /// File contents were taken out.
    pub cut: bool,
    /// The body, where it is text.
    pub body: Option<String>,
}

/// One field of the form. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownField {
    pub key: String,
    pub label: Option<String>,
    pub values: Vec<String>,
}

/// How a lead field was found without a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FieldEvidence {
    /// From 0 to 1; none where nothing was found.
    pub confidence: Option<f32>,
    /// What could be it, the heaviest first.
    pub candidates: Vec<ShownCandidate>,
}

/// Something that may be a lead field, and what speaks for it and against it. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCandidate {
    pub keys: Vec<String>,
    pub value: String,
    pub score: i32,
    pub evidence: BTreeMap<String, i16>,
}

/// A field that an operator corrected. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCorrection {
    pub field: LeadField,
    /// What the mapping of now finds; none where it finds nothing.
    pub received: Option<String>,
    pub value: String,
    pub at: Timestamp,
    pub by: String,
}

/// What would become of it if it came now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Today {
    pub site_known: bool,
    pub mapping: Option<String>,
    /// It would make the very lead that the entry has, or none as well.
    pub same: bool,
}

impl std::fmt::Debug for ReceivedView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceivedView").field("body_bytes", &self.body_bytes).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ShownField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownField").field("key", &self.key).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ShownCandidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownCandidate").field("keys", &self.keys).field("score", &self.score).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ShownCorrection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownCorrection").field("field", &self.field).finish_non_exhaustive()
    }
}

/// Shows the entry of an id, or of an id's beginning.
pub async fn show(store: &dyn Store, situation: &Situation, id: &str) -> Result<Life, OperateError> {
    let entry = find(store, id).await??;
    let situation = situation.clone();
    // Decoding a large body takes a while; requests must not wait for it.
    let told = telemetry::blocking(move || Life::of(&situation, entry)).await;
    Ok(told.map_err(|error| StoreError::Corrupt(error.into()))?)
}

impl Life {
    fn of(situation: &Situation, entry: Entry) -> Self {
        let config = &*situation.config;
        let head = &entry.head;
        let site = config.sites.get(&head.site).map(Arc::as_ref);
        let explained = explain(config, site, &entry);
        let lead_now = match site {
            Some(site) => Remade::of(config, site, &entry).reading.lead,
            None => head.reading.lead.clone(),
        };
        let today = Today {
            site_known: site.is_some(),
            mapping: explained.processed.mapping.clone(),
            same: lead_now == head.reading.lead,
        };
        let explanation = explained.explanation.unwrap_or_default();
        let evidence = evidence(&explanation);
        let Explanation { fields, found_by: rules, found, dropped, .. } = explanation;
        let shown = |field: ExplainedField| ShownField { key: field.key, label: field.label, values: field.values };
        let fields = fields.into_iter().map(shown).collect();
        let amended = corrections(&head.reading, &found);
        let summary = Summary::of(head, situation);
        let Entry { head: Head { revision, reading, history, .. }, received } = entry;
        Self {
            entry: summary,
            revision,
            received: ReceivedView::of(&received),
            fields,
            oddities: reading.oddities,
            errors: reading.errors,
            hold_rule: reading.hold_rule,
            rules,
            found,
            evidence,
            amended,
            extras: explained.extras,
            dropped,
            today,
            history,
        }
    }
}

fn evidence(explanation: &Explanation) -> BTreeMap<LeadField, FieldEvidence> {
    let mut evidence: BTreeMap<LeadField, FieldEvidence> = BTreeMap::new();
    for candidate in &explanation.candidates {
        let weights = candidate.reasons.iter().map(|(reason, weight)| (reason.as_str().to_owned(), *weight));
        let shown = ShownCandidate {
            keys: candidate.keys.clone(),
            value: candidate.text.clone(),
            score: candidate.score,
            evidence: weights.collect(),
        };
        evidence.entry(candidate.field).or_default().candidates.push(shown);
    }
    for (field, confidence) in &explanation.confidence {
        evidence.entry(*field).or_default().confidence = Some(*confidence);
    }
    evidence
}

fn corrections(reading: &Reading, found: &BTreeMap<LeadField, String>) -> Vec<ShownCorrection> {
    let shown = reading.overlay.iter().map(|(field, correction)| ShownCorrection {
        field,
        received: found.get(&field).cloned(),
        value: correction.value.clone(),
        at: correction.at,
        by: correction.by.clone(),
    });
    shown.collect()
}

impl ReceivedView {
    fn of(received: &crate::received::Received) -> Self {
        Self {
            method: received.method.clone(),
            query: received.query.clone(),
            headers: received.headers.clone(),
            trace_id: received.trace_id().map(str::to_owned),
            body_bytes: received.body.len(),
            cut: received.cut,
            body: str::from_utf8(&received.body).ok().map(str::to_owned),
        }
    }
}
