//! docs/reference/events.md: every event, by the program's list and docs/events.schema.json.

#![allow(clippy::indexing_slicing, reason = "what a JSON value lacks is null: nothing is out of bounds")]

use anyhow::{Context as _, ensure};
use formgate::event::{EventPattern, EventScope, EventType};
use serde_json::{Map, Value, json};

use super::markdown::{Page, anchor, choices, code};

const SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json"));
/// How the schema refers to its own parts.
const REFERENCE: &str = "#/$defs/";
/// What is said by its name alone, without members of its own.
const PLAIN: [&str; 4] = ["time", "slug", "gateway", "count"];

/// A member of an object, and its path from there.
struct Member {
    path: String,
    kind: String,
    is_always: bool,
    about: String,
}

pub(super) fn page() -> anyhow::Result<String> {
    let schema: Value = serde_json::from_str(SCHEMA)?;
    let parts = schema["$defs"].as_object().context("the schema has parts")?;
    let known = schema["oneOf"].as_array().map_or(0, Vec::len);
    ensure!(
        known == EventType::ALL.len(),
        "docs/events.schema.json has {known} events, the program {}",
        EventType::ALL.len()
    );
    let mut page = Page::new("Events reference");
    page.paragraph(
        "Every event, and what a webhook with `format = \"standard\"` posts of it. [Events](../events.md) says how to set sinks up \
         and what receivers can rely on; [docs/events.schema.json](../events.schema.json) is the same as a JSON Schema. A body has \
         `type`, `timestamp` (when it happened) and `data`. Later versions may add events and members: ignore what you don't know.",
    );
    index(&mut page, parts)?;
    page.heading(2, "The events");
    for event in EventType::ALL {
        let part = parts.get(event.as_str()).with_context(|| format!("docs/events.schema.json lacks {event}"))?;
        let data = part.pointer("/properties/data").and_then(referred).context("an event has data")?;
        page.heading(3, event.as_str());
        page.paragraph(&format!("{} `data` is [{data}](#{}).", text(&part["description"]), anchor(data)));
        let body = json!({
            "type": event.as_str(),
            "timestamp": "2026-11-30T12:00:00Z",
            "data": example(parts, data, event),
        });
        page.block("json", &serde_json::to_string_pretty(&body)?);
    }
    data(&mut page, parts);
    Ok(page.finish())
}

fn data(page: &mut Page, parts: &Map<String, Value>) {
    page.heading(2, "What data holds");
    for (name, part) in parts.iter().filter(|(name, _)| !name.contains('.') && !PLAIN.contains(&name.as_str())) {
        page.heading(3, name);
        page.paragraph(&text(&part["description"]));
        let mut members = Vec::new();
        collect(parts, part, "", &mut members);
        let rows = members.into_iter().map(|Member { path, kind, is_always, about }| {
            [code(&path), kind, if is_always { "always" } else { "" }.to_owned(), about]
        });
        page.table(["member", "type", "there", "what it is"], &rows.collect::<Vec<_>>());
    }
}

fn index(page: &mut Page, parts: &Map<String, Value>) -> anyhow::Result<()> {
    let by_default: Vec<EventPattern> =
        EventPattern::DEFAULT.into_iter().map(EventPattern::parse).collect::<Result<_, _>>()?;
    let rows = EventType::ALL.map(|event| {
        let about = match event.scope() {
            EventScope::Lead => "a lead",
            EventScope::Site => "a site",
            EventScope::Gateway => "the gateway",
            EventScope::Digest => "the sink's sites",
            EventScope::Sink => "the sink",
        };
        let is_default = by_default.iter().any(|pattern| pattern.matches(event));
        let description = parts.get(event.as_str()).map(|part| text(&part["description"])).unwrap_or_default();
        let link = format!("[`{event}`](#{})", anchor(event.as_str()));
        [link, description, about.to_owned(), if is_default { "yes" } else { "" }.to_owned()]
    });
    page.table(["event", "when", "about", "told by default"], &rows);
    Ok(())
}

/// Collects the members of an object, those of objects within it too.
fn collect(parts: &Map<String, Value>, object: &Value, before: &str, members: &mut Vec<Member>) {
    let Some(properties) = object["properties"].as_object() else { return };
    let required = object["required"].as_array().cloned().unwrap_or_default();
    for (name, property) in properties {
        let path = format!("{before}{name}");
        let is_always = required.iter().any(|required| required == name);
        let of_part = referred(property).and_then(|part| parts.get(part)).map(|part| text(&part["description"]));
        let about = property["description"].as_str().map(str::to_owned).or(of_part).unwrap_or_default();
        members.push(Member { path: path.clone(), kind: kind(property), is_always, about });
        collect(parts, property, &format!("{path}."), members);
        collect(parts, &property["items"], &format!("{path}[]."), members);
    }
}

/// Says in words what a value may be.
fn kind(schema: &Value) -> String {
    if let Some(name) = referred(schema) {
        return named(name);
    }
    if let Some(alternatives) = schema["anyOf"].as_array().or(schema.get("oneOf").and_then(Value::as_array)) {
        return choices(&alternatives.iter().map(kind).collect::<Vec<_>>());
    }
    if let Some(words) = schema["enum"].as_array() {
        return choices(&words.iter().map(|word| code(&word.to_string())).collect::<Vec<_>>());
    }
    if let Some(value) = schema.get("const") {
        return code(&value.to_string());
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => match kind(&schema["items"]) {
            of if of == "object" => "list of objects".to_owned(),
            of if of.chars().all(char::is_alphabetic) => format!("list of {of}s"),
            of => format!("list of {of}"),
        },
        Value::String(_) if schema["format"] == "date" => "date".to_owned(),
        Value::String(name) => name.clone(),
        Value::Array(names) => choices(&names.iter().map(text).collect::<Vec<_>>()),
        _ => "any".to_owned(),
    }
}

fn named(name: &str) -> String {
    match name {
        "time" => "time (RFC 3339, UTC)".to_owned(),
        "slug" | "gateway" => "string".to_owned(),
        "count" => "integer".to_owned(),
        _ => format!("[{name}](#{})", anchor(name)),
    }
}

fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(REFERENCE)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Makes an example of a part of the schema, as an event would tell it.
fn example(parts: &Map<String, Value>, name: &str, event: EventType) -> Value {
    parts.get(name).map_or(Value::Null, |part| example_of(parts, part, name, event))
}

fn example_of(parts: &Map<String, Value>, schema: &Value, name: &str, event: EventType) -> Value {
    if let Some(told) = sample(name, event) {
        return told;
    }
    if let Some(part) = referred(schema) {
        return example(parts, part, event);
    }
    if let Some(first) = schema["anyOf"].get(0).or(schema["enum"].get(0)) {
        return if schema["enum"].is_null() { example_of(parts, first, name, event) } else { first.clone() };
    }
    if let Some(properties) = schema["properties"].as_object() {
        let members = properties.iter().filter(|(member, _)| is_shown(member, event));
        return members
            .map(|(member, property)| (member.clone(), example_of(parts, property, member, event)))
            .collect();
    }
    match schema["type"].as_str() {
        Some("array") => json!([example_of(parts, &schema["items"], name, event)]),
        Some("integer") => json!(3),
        Some("boolean") => json!(false),
        _ => json!("…"),
    }
}

/// Some members are only there in some events, or exclude others.
fn is_shown(member: &str, event: EventType) -> bool {
    match member {
        "erased" | "content" | "content_omitted" => false,
        "lead_id" => event == EventType::LeadDelivered,
        "errors" => event == EventType::LeadHeld,
        "reason" => event != EventType::LeadDelivered && event != EventType::LeadOverdue,
        "last_attempt" => event != EventType::LeadHeld,
        _ => true,
    }
}

/// Gives a member's value where the schema alone would give a bad example.
#[expect(clippy::too_many_lines, reason = "a list of values, read as one")]
fn sample(member: &str, event: EventType) -> Option<Value> {
    let is_lead = event.scope() == EventScope::Lead;
    Some(match member {
        "site" => json!({ "id": "acme", "name": "Acme Dental", "url": "https://acme.example" }),
        "id" if is_lead => json!("0198c0de-1234-7abc-8def-0123456789ab"),
        "id" => json!("acme"),
        "form" => json!("contact"),
        "gateway" => json!("https://gate.agency.example"),
        "state" if event == EventType::LeadDelivered => json!("delivered"),
        "state" if event == EventType::LeadDead => json!("dead"),
        "state" if event == EventType::LeadOverdue => json!("queued"),
        "state" => json!("held"),
        "reason" if event == EventType::LeadHeld => json!("invalid"),
        "reason" if event == EventType::LeadDead => json!("refused"),
        "reason" => json!(degraded_reason(event)),
        "lead_id" => json!("lead_7f3a"),
        "delivered" if is_lead => json!(event == EventType::LeadDelivered),
        "attempts" => json!(if event == EventType::LeadHeld { 0 } else { 2 }),
        "last_attempt" if event == EventType::LeadDelivered => json!("200"),
        "last_attempt" if event == EventType::LeadDead => json!("400 email is invalid"),
        "last_attempt" => json!("503 Service Unavailable"),
        "errors" => json!([{ "field": "email", "code": "invalid", "detail": "is not an e-mail address" }]),
        "accepted_at" => json!("2026-11-30T10:59:12.412Z"),
        "time" | "since" | "first_at" | "last_at" => json!("2026-11-30T11:58:00Z"),
        "expires" if event == EventType::GatewayCertificateExpiring => json!("2026-12-14T00:00:00Z"),
        "expires" => json!("2026-12-14"),
        "from" if event == EventType::DigestWeekly => json!("2026-11-23"),
        "from" | "to" => json!("2026-11-29"),
        "public_keys" => json!(["wp_pk_0123456789abcdef"]),
        "sha256" => json!("847aedeb196b"),
        "note" => json!("webhook URLs"),
        "mistake" => json!("expired_token"),
        "status" => json!(401),
        "host" => json!("acme.example"),
        "agent" => json!("WordPress/7.1; https://acme.example"),
        "listen" => json!("0.0.0.0:443"),
        "median_seconds" => json!(2.5),
        "p95_seconds" => json!(11.0),
        "within_minute" => json!(0.99),
        "sink" | "name" => json!("ops"),
        "error" => json!("503 Service Unavailable"),
        "cause" => json!("no valid lead: email invalid"),
        "why" if event == EventType::SitePaused => json!("401 Invalid API Key."),
        "why" => json!("503 Service Unavailable"),
        "message" => json!("This is a test of formgate's notifications."),
        "more" | "more_sites" | "refused_unknown" => json!(0),
        "cure" => json!("run `formgate status`"),
        _ => return None,
    })
}

fn degraded_reason(event: EventType) -> &'static str {
    match event {
        EventType::GatewayConfigBroken => "config_broken",
        EventType::GatewayStoreDegraded => "store_damaged",
        EventType::GatewayBackupFailed => "backup_failed",
        _ => "task_failing",
    }
}
