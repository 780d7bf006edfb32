//! Strings that break programs, in each field of each encoding: they come out as they went in, and a lead always
//! serialises to what KaiCalls takes.

use std::path::Path;

use bytes::Bytes;
use formgate::config::shipped_mappings;
use formgate::decode;
use formgate::pipeline::{self, End, Mappings, SiteRules};
use formgate::received::Received;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::suite::{Tally, request, rows};

const FIELDS: [&str; 4] = ["name", "email", "phone", "message"];
const BOUNDARY: &str = "----formgate-conformance";

#[derive(Deserialize)]
struct Row {
    /// As written: some are half of a surrogate pair, which only JSON can say.
    value: Box<RawValue>,
    source: String,
    index: Value,
}

pub(crate) fn run(folder: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::new("naughty");
    let (mappings, problems) = shipped_mappings();
    anyhow::ensure!(problems.is_empty(), "the shipped mappings have problems");
    for row in rows::<Row>(folder, "naughty.jsonl")? {
        let Ok(value) = serde_json::from_str::<String>(row.value.get()) else {
            half_a_pair(&mut tally, &row);
            continue;
        };
        for field in FIELDS {
            let fields = FIELDS.map(|name| (name, if name == field { value.as_str() } else { plain(name) }));
            for (encoding, received) in encoded(&fields)? {
                let problem = problem(&mappings, &received, field, &value);
                let case = || {
                    format!("{} {} as {field} in {encoding}: {}", row.source, row.index, problem.unwrap_or_default())
                };
                tally.count(problem.is_none(), None, case);
            }
        }
    }
    Ok(tally)
}

/// No encoding of text can say half of a surrogate pair; JSON's escapes can.
fn half_a_pair(tally: &mut Tally, row: &Row) {
    let body = format!("{{\"name\":\"Ann Lee\",\"message\":{}}}", row.value);
    let found = decode::read(&request("application/json", body), |submission| submission.json().clone());
    let kept = found.as_ref().is_ok_and(|document| document.get("name") == Some(&Value::from("Ann Lee")));
    let reason = kept.then_some("half of a surrogate pair isn't text: it is replaced, the rest is kept");
    tally.count(false, reason, || format!("{} {}: {found:?}", row.source, row.index));
}

fn plain(field: &str) -> &'static str {
    match field {
        "email" => "ann@example.com",
        "phone" => "+15035551234",
        "name" => "Ann Lee",
        _ => "Hello",
    }
}

fn encoded(fields: &[(&str, &str)]) -> anyhow::Result<[(&'static str, Received); 3]> {
    let form = serde_urlencoded::to_string(fields)?;
    let json: serde_json::Map<String, Value> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    let part = |(name, value): &(&str, &str)| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts: String = fields.iter().map(part).chain([format!("--{BOUNDARY}--\r\n")]).collect();
    Ok([
        ("urlencoded", request("application/x-www-form-urlencoded", form)),
        ("multipart", request(&format!("multipart/form-data; boundary={BOUNDARY}"), parts)),
        ("json", request("application/json", Bytes::from(serde_json::to_vec(&json)?))),
    ])
}

fn problem(mappings: &Mappings, received: &Received, field: &str, value: &str) -> Option<&'static str> {
    let is_same = |document: &Value| document.get(field).and_then(Value::as_str) == Some(value);
    let Ok(is_same) = decode::read(received, |submission| is_same(submission.json())) else { return Some("refused") };
    if !is_same {
        return Some("another text came out");
    }
    let processed = pipeline::process(mappings, &SiteRules::default(), None, received);
    let End::Lead { lead, .. } = processed.end else { return None };
    let json = serde_json::to_value(&lead).unwrap_or_default();
    let filled = |name: &str| json.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let optional = json.get("phone").is_none() || filled("phone");
    (!(filled("name") && filled("email") && filled("message") && optional)).then_some("the lead is not complete")
}
