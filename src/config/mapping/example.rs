//! `[[example]]`: a submission and the lead it must become, run at each load.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::super::reader::{Key, KeyShape, KnownKeys, Table, Value, all};
use super::condition::kept_header;
use crate::lead::{Code, FieldError, FormId, Lead, LeadField};
use crate::map::{Example, Expect, Mapping};
use crate::pipeline::{self, End, FormRules, Mappings, SiteRules};
use crate::received::Received;
use crate::telemetry;

pub(in super::super) const KEYS: KnownKeys = KnownKeys {
    table: "[[example]]",
    about: "A submission, with either the lead that it must become or the reasons why there is none.",
    keys: &[
        Key::new("body", KeyShape::Text("string"), "The body, as it arrives.").required(),
        Key::new("type", KeyShape::Text("media type"), "Its media type.")
            .words("JSON if it begins with `{` or `[`, else a URL-encoded form"),
        Key::new(
            "headers",
            KeyShape::TextByName("values by header"),
            "Headers that it arrives with. Only those that are stored.",
        ),
        Key::new("lead", KeyShape::Table("an example's lead"), "What KaiCalls receives."),
        Key::new("reject", KeyShape::Tables("an example's reject"), "Why there is no lead."),
    ],
};
pub(in super::super) const LEAD: KnownKeys = KnownKeys {
    table: "an example's lead",
    about: "What KaiCalls receives. A field that isn't named isn't compared.",
    keys: &[
        Key::new("name", KeyShape::Text("string"), "The name."),
        Key::new("email", KeyShape::Text("string"), "The e-mail address."),
        Key::new("phone", KeyShape::Text("string"), "The phone number; an empty string says that there is none."),
        Key::new("message", KeyShape::Text("string"), "The message, with the lines of the extras."),
    ],
};
pub(in super::super) const REJECT: KnownKeys = KnownKeys {
    table: "an example's reject",
    about: "A reason why there is no lead.",
    keys: &[
        Key::new(
            "field",
            KeyShape::Choice(&["name", "email", "phone", "message"]),
            "The field that it is about. Not for `no_fields`.",
        ),
        Key::new(
            "code",
            KeyShape::Choice(&["missing", "invalid", "too_long", "no_fields", "uncertain"]),
            "What is wrong.",
        )
        .required(),
    ],
};

const CODES: [(&str, Code); 5] = [
    ("missing", Code::Missing),
    ("invalid", Code::Invalid),
    ("too_long", Code::TooLong),
    ("no_fields", Code::NoFields),
    ("uncertain", Code::Uncertain),
];

/// An example and its location.
pub(in super::super) struct PlacedExample {
    pub(in super::super) example: Example,
    pub(in super::super) span: Range<usize>,
}

/// Compiles one `[[example]]`.
pub(super) fn compile(table: &Table<'_>) -> Option<PlacedExample> {
    let body = table.need("body", |value| value.text().map(str::to_owned));
    let content_type = table.read("type", |value| value.filled().map(str::to_owned));
    let headers = table.or_empty("headers", headers);
    let lead = table.read("lead", expected_lead);
    let reject = table.read("reject", |value| value.list_of(|item| reason(&item.table(REJECT)?)));
    let expect = match (lead?, reject?) {
        (Some(lead), None) => Expect::Lead(lead),
        (None, Some(reasons)) => Expect::Reject(reasons),
        _ => {
            table.error("an example needs either a `lead` or a `reject`", None);
            return None;
        }
    };
    let (body, content_type) = (body?, content_type?);
    let content_type = content_type.or_else(|| Some(likely_type(&body).to_owned()));
    Some(PlacedExample { example: Example { content_type, headers: headers?, body, expect }, span: table.span() })
}

/// Runs one example; gives what differs, one line a field.
pub(in super::super) fn run_example(
    mapping: &Mapping,
    mappings: &Mappings,
    example: &Example,
) -> Result<(), Vec<String>> {
    let form = FormId::parse("example").map_err(|error| vec![error.to_string()])?;
    let rules = FormRules {
        id: form.clone(),
        matches: Vec::new(),
        mapping: Some(mapping.name.clone()),
        on_invalid: None,
        region: None,
        lead: Default::default(),
        extras: Default::default(),
        auto_min: None,
        honeypot: None,
    };
    let site = SiteRules { region: None, forms: vec![rules], hold_unknown_forms: false };
    let processed = telemetry::catch(|| pipeline::process(mappings, &site, Some(&form), &received(example)));
    let processed = processed.map_err(|panicked| vec![format!("a bug in formgate: {panicked}")])?;
    let differences = match (&example.expect, &processed.end) {
        (Expect::Lead(expected), End::Lead { lead, .. } | End::Held { lead: Some(lead), .. }) => {
            differences(expected, lead)
        }
        (Expect::Lead(_), End::Held { errors, .. }) => {
            vec![format!("expected a lead, found none: {}", sorted(errors).join(", "))]
        }
        (Expect::Reject(_), End::Lead { .. }) => vec!["expected no lead, found one".to_owned()],
        (Expect::Reject(expected), End::Held { errors, .. }) => reject_differences(expected, errors),
    };
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

fn received(example: &Example) -> Received {
    let mut headers = example.headers.clone();
    headers.extend(example.content_type.clone().map(|kind| ("content-type".to_owned(), kind)));
    let body = Bytes::from(example.body.clone().into_bytes());
    Received { method: "POST".to_owned(), headers, body, ..Received::default() }
}

fn differences(expected: &BTreeMap<LeadField, String>, lead: &Lead) -> Vec<String> {
    let found = |field| match field {
        LeadField::Name => lead.name(),
        LeadField::Email => lead.email(),
        LeadField::Phone => lead.phone().unwrap_or_default(),
        LeadField::Message => lead.message(),
    };
    let differing = expected.iter().filter(|(field, text)| found(**field) != text.as_str());
    differing.map(|(field, text)| format!("{}: expected {text:?}, found {:?}", field.as_str(), found(*field))).collect()
}

fn reject_differences(expected: &[(Option<LeadField>, Code)], errors: &[FieldError]) -> Vec<String> {
    let mut wanted: Vec<_> = expected.iter().map(|(field, code)| reason_words(*field, *code)).collect();
    wanted.sort_unstable();
    let found = sorted(errors);
    if wanted == found {
        return Vec::new();
    }
    vec![format!("reject: expected {}, found {}", wanted.join(", "), found.join(", "))]
}

fn sorted(errors: &[FieldError]) -> Vec<String> {
    let mut words: Vec<_> = errors.iter().map(|error| reason_words(error.field, error.code)).collect();
    words.sort_unstable();
    words
}

fn reason_words(field: Option<LeadField>, code: Code) -> String {
    field.map_or_else(|| code.as_str().to_owned(), |field| format!("{} {}", field.as_str(), code.as_str()))
}

fn expected_lead(value: &Value<'_>) -> Option<BTreeMap<LeadField, String>> {
    let table = value.table(LEAD)?;
    let read = LeadField::ALL.map(|field| {
        let text = table.read(field.as_str(), |value| value.text().map(str::to_owned))?;
        Some(text.map(|text| (field, text)))
    });
    Some(all(read.into_iter())?.into_iter().flatten().collect())
}

fn reason(table: &Table<'_>) -> Option<(Option<LeadField>, Code)> {
    let fields = LeadField::ALL.map(|field| (field.as_str(), field));
    let field = table.read("field", |value| value.choice(&fields));
    let code = table.need("code", |value| value.choice(&CODES));
    Some((field?, code?))
}

fn headers(value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    let read = value.named()?;
    let read = all(read.iter().map(|entry| Some((kept_header(entry)?, entry.value.text()?.to_owned()))))?;
    Some(read.into_iter().collect())
}

fn likely_type(body: &str) -> &'static str {
    if body.trim_start().starts_with(['{', '[']) { "application/json" } else { "application/x-www-form-urlencoded" }
}
