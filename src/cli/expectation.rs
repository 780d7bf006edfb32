//! What a captured request must become: the `.json` beside its `.http`, and how that compares with what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::lead::{Code, FieldError, Lead, LeadField};
use crate::pipeline::{End, Processed};

/// What a case expects. Other keys of the file are notes.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Expectation {
    /// Exactly this is sent to KaiCalls; a field that isn't there is not sent.
    Lead(BTreeMap<LeadField, String>),
    /// No lead can be made, for exactly these reasons.
    Reject(Vec<ExpectedReason>),
}

/// A reason without its detail, which may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct ExpectedReason {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<LeadField>,
    code: CodeOrd,
}

/// A code that can be sorted, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct CodeOrd(Code);

impl Ord for CodeOrd {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl PartialOrd for CodeOrd {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Where what was found differs from what was expected.
///
/// No `Debug`: the values are a lead's.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// A lead's field, or `reject`, or `status`.
    pub(super) what: &'static str,
    /// None: nothing.
    pub(super) expected: Option<String>,
    pub(super) found: Option<String>,
}

/// Why a file says nothing about a case.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadExpectation {
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
    #[error("it must have either `expect` or `reject`")]
    Neither,
    #[error("`expect` has `{0}`; a lead has name, email, phone and message, each a string")]
    Expect(String),
    #[error("`reject` must be a list of {{\"field\", \"code\"}}")]
    Reject(#[source] serde_json::Error),
}

impl Expectation {
    /// Reads a `.json` file; none where it says with `"expect": null` that nothing is expected.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, BadExpectation> {
        let file: Map<String, Value> = serde_json::from_str(text)?;
        match (file.get("expect"), file.get("reject")) {
            (Some(Value::Null), None) => Ok(None),
            (Some(Value::Object(lead)), None) => {
                let fields: Result<_, _> = lead.iter().filter_map(read_field).collect();
                fields.map(|fields| Some(Self::Lead(fields)))
            }
            (None, Some(reasons)) => {
                let reasons: Vec<ExpectedReason> =
                    serde_json::from_value(reasons.clone()).map_err(BadExpectation::Reject)?;
                Ok(Some(Self::reject(reasons)))
            }
            _ => Err(BadExpectation::Neither),
        }
    }

    /// Says what the pipeline makes of a submission: what a case expects that is known to be right.
    pub(super) fn of(processed: &Processed) -> Self {
        match &processed.end {
            End::Lead { lead, .. } => Self::of_lead(Some(lead), &[]),
            End::Held { lead, errors, .. } => Self::of_lead(lead.as_ref(), errors),
        }
    }

    /// Says what is expected of a lead, or of what is none.
    fn of_lead(lead: Option<&Lead>, errors: &[FieldError]) -> Self {
        match lead {
            Some(lead) => {
                let phone = lead.phone().map(|phone| (LeadField::Phone, phone));
                let fields = [
                    (LeadField::Name, lead.name()),
                    (LeadField::Email, lead.email()),
                    (LeadField::Message, lead.message()),
                ];
                let all = fields.into_iter().chain(phone);
                Self::Lead(all.map(|(field, text)| (field, text.to_owned())).collect())
            }
            None => Self::reject(errors.iter().map(ExpectedReason::of).collect()),
        }
    }

    fn reject(mut reasons: Vec<ExpectedReason>) -> Self {
        reasons.sort_unstable();
        Self::Reject(reasons)
    }

    /// Returns the file's text.
    pub(super) fn to_json(&self) -> String {
        let value = match self {
            Self::Lead(lead) => json!({ "expect": lead }),
            Self::Reject(reasons) => json!({ "reject": reasons }),
        };
        format!("{value:#}\n")
    }

    /// Tells where what was found is another.
    pub(super) fn differences(&self, found: &Self) -> Vec<Difference> {
        match (self, found) {
            (Self::Lead(expected), Self::Lead(found)) => {
                let texts = |field: LeadField| (expected.get(&field).cloned(), found.get(&field).cloned());
                let all = LeadField::ALL.into_iter().map(|field| (field, texts(field)));
                all.filter(|(_, (expected, found))| expected != found)
                    .map(|(field, (expected, found))| Difference { what: field.as_str(), expected, found })
                    .collect()
            }
            (expected, found) if expected == found => Vec::new(),
            (expected, found) => {
                vec![Difference { what: "reject", expected: expected.reasons(), found: found.reasons() }]
            }
        }
    }

    /// Returns the reasons in words, or that there is a lead.
    fn reasons(&self) -> Option<String> {
        match self {
            Self::Lead(_) => Some("a lead".to_owned()),
            Self::Reject(reasons) => Some(reasons.iter().map(ExpectedReason::words).collect::<Vec<_>>().join(", ")),
        }
    }
}

impl ExpectedReason {
    fn of(error: &FieldError) -> Self {
        Self { field: error.field, code: CodeOrd(error.code) }
    }

    fn words(&self) -> String {
        let code = self.code.0.as_str();
        self.field.map_or_else(|| code.to_owned(), |field| format!("{} {code}", field.as_str()))
    }
}

/// Reads one field of an expected lead; `null` says that it is not sent.
fn read_field((key, value): (&String, &Value)) -> Option<Result<(LeadField, String), BadExpectation>> {
    let field = LeadField::ALL.into_iter().find(|field| field.as_str() == key);
    match (field, value) {
        (Some(_), Value::Null) => None,
        (Some(field), Value::String(text)) => Some(Ok((field, text.clone()))),
        _ => Some(Err(BadExpectation::Expect(key.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expectation(text: &str) -> Expectation {
        Expectation::parse(text).expect("readable").expect("an expectation")
    }

    fn told(expected: &str, found: &str) -> Vec<String> {
        let differences = expectation(expected).differences(&expectation(found));
        let words = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
        let tell = |difference: Difference| {
            format!("{}: {} / {}", difference.what, words(difference.expected), words(difference.found))
        };
        differences.into_iter().map(tell).collect()
    }

    #[test]
    fn a_lead_is_compared_field_by_field_and_an_absent_one_is_not_sent() {
        let lead = r#"{"expect": {"name": "A", "email": "a@b.co", "message": "Hi"}, "notes": ["x"]}"#;
        assert!(told(lead, lead).is_empty());
        assert!(told(&lead.replace("\"Hi\"", "\"Hi\", \"phone\": null"), lead).is_empty());
        let other = r#"{"expect": {"name": "A ", "email": "a@b.co", "message": "Hi", "phone": "1"}}"#;
        assert_eq!(told(lead, other), ["name: A / A ", "phone: nothing / 1"]);
    }

    #[test]
    fn reasons_are_compared_whatever_their_order() {
        let both = r#"{"reject": [{"field": "email", "code": "invalid"}, {"field": "name", "code": "too_long"}]}"#;
        let turned = r#"{"reject": [{"field": "name", "code": "too_long"}, {"field": "email", "code": "invalid"}]}"#;
        assert!(told(both, turned).is_empty());
        assert_eq!(
            told(both, r#"{"reject": [{"field": null, "code": "no_fields"}]}"#),
            ["reject: name too_long, email invalid / no_fields"]
        );
        assert_eq!(told(r#"{"expect": {}}"#, r#"{"reject": [{"code": "no_fields"}]}"#), ["reject: a lead / no_fields"]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            r#"{"expect": {"name": "A", "email": "a@b.co", "message": "Hi\n"}}"#,
            r#"{"reject": [{"code": "invalid"}]}"#,
        ] {
            assert!(expectation(text) == expectation(&expectation(text).to_json()), "{text}");
        }
    }

    #[test]
    fn a_file_may_say_that_nothing_is_expected() {
        assert!(Expectation::parse(r#"{"expect": null, "notes": 1}"#).is_ok_and(|expectation| expectation.is_none()));
    }

    #[test]
    fn a_file_that_expects_nothing_clear_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"expect": []}"#,
            r#"{"expect": {}, "reject": []}"#,
            r#"{"expect": {"mail": "x"}}"#,
            r#"{"expect": {"name": 1}}"#,
            r#"{"reject": [{"field": "name"}]}"#,
            r#"{"reject": [{"code": "odd"}]}"#,
            r#"{"reject": "invalid"}"#,
        ] {
            assert!(Expectation::parse(text).is_err(), "{text}");
        }
    }
}
