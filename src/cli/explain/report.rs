//! The explanation for programs. Names and order of its keys are a promise.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Subject;
use crate::lead::{Extra, FieldError, Lead, LeadField};
use crate::map::Fate;
use crate::pipeline::{End, ToldField};

#[derive(Serialize)]
pub(super) struct Report<'a> {
    plugin: Option<&'a str>,
    mapping: Option<&'a str>,
    form: &'a str,
    oddities: &'a [String],
    fields: Vec<Field<'a>>,
    /// None: the body can't be decoded.
    document: Option<&'a Value>,
    lead: Option<&'a Lead>,
    errors: &'a [FieldError],
    rules: Rules<'a>,
    extras: &'a [Extra<'static>],
    dropped: &'a [String],
}

#[derive(Serialize)]
struct Field<'a> {
    key: &'a str,
    label: Option<&'a str>,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    values: &'a [String],
    /// What became of it: the lead fields made of it, or one of `extra`, `repeated`, `dropped`, `meta`, `empty`.
    becomes: Vec<&'static str>,
    /// Which of `extras` it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<usize>,
}

/// How each field of the lead was found; none where it was not.
#[derive(Serialize)]
struct Rules<'a> {
    name: Option<&'a str>,
    email: Option<&'a str>,
    phone: Option<&'a str>,
    message: Option<&'a str>,
}

impl<'a> Report<'a> {
    pub(super) fn of(subject: &Subject<'a>) -> Self {
        let explained = subject.explained;
        let told = explained.told.as_ref();
        Self {
            plugin: subject.plugin,
            mapping: explained.processed.mapping.as_deref(),
            form: explained.processed.form.as_str(),
            oddities: &explained.processed.oddities,
            fields: told.map(|told| told.fields.iter().map(Field::of).collect()).unwrap_or_default(),
            document: told.map(|told| &told.document),
            lead: lead(&explained.processed.end),
            errors: errors(&explained.processed.end),
            rules: Rules::of(told.map(|told| &told.found_by)),
            extras: &explained.extras,
            dropped: told.map_or(&[], |told| told.dropped.as_slice()),
        }
    }
}

/// Returns the lead: the one that is sent, or that a held submission would be.
pub(super) fn lead(end: &End) -> Option<&Lead> {
    match end {
        End::Lead { lead, .. } => Some(lead),
        End::Held { lead, .. } => lead.as_ref(),
    }
}

/// Returns why there is no lead.
pub(super) fn errors(end: &End) -> &[FieldError] {
    match end {
        End::Lead { .. } => &[],
        End::Held { errors, .. } => errors,
    }
}

impl<'a> Field<'a> {
    fn of(field: &'a ToldField) -> Self {
        let becomes = match field.fate {
            Fate::Lead(fields) => fields.iter().map(|field| field.as_str()).collect(),
            Fate::Extra(_) => vec!["extra"],
            Fate::Repeated => vec!["repeated"],
            Fate::Dropped => vec!["dropped"],
            Fate::Meta => vec!["meta"],
            Fate::Empty => vec!["empty"],
        };
        let extra = if let Fate::Extra(index) = field.fate { Some(index) } else { None };
        let label = field.label.as_deref();
        let kind = field.kind.as_deref();
        Self { key: &field.key, label, kind, values: &field.values, becomes, extra }
    }
}

impl<'a> Rules<'a> {
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
