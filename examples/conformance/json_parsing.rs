//! JSON texts that a parser must take, must refuse, or may do with as it likes.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use formgate::decode::{self, Arena, DecodeError, Oddity, Submission};
use serde::Deserialize;

use crate::suite::{Tally, request, rows};

#[derive(Deserialize)]
struct Row {
    name: String,
    expect: String,
    bytes_b64: String,
}

pub(crate) fn run(folder: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::new("json_parsing");
    for row in rows::<Row>(folder, "json_parsing.jsonl")? {
        let bytes = STANDARD.decode(&row.bytes_b64)?;
        let arena = Arena::new();
        let received = request("application/json", bytes.clone());
        let found = decode::decode(&received, &arena);
        let agrees = match row.expect.as_str() {
            "accept" => found.as_ref().is_ok_and(|submission| same_document(&bytes, submission)),
            "reject" => found.is_err(),
            _ => true,
        };
        tally.count(agrees, reason(&bytes, &found), || {
            let shown = found.as_ref().map(|submission| (submission.json(), &submission.oddities));
            format!("{}: {}, here {shown:?}, of {:?}", row.name, row.expect, String::from_utf8_lossy(&bytes))
        });
    }
    Ok(tally)
}

fn same_document(bytes: &[u8], submission: &Submission) -> bool {
    let plain = submission.oddities.iter().all(|oddity| *oddity == Oddity::RepeatedKey);
    plain && serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|value| value == *submission.json())
}

fn same_but_exponents(bytes: &[u8], submission: &Submission) -> bool {
    let number = |text: &str| serde_json::from_str(text).ok().filter(serde_json::Value::is_number);
    let Ok(serde_json::Value::Array(plain)) = serde_json::from_slice(bytes) else { return false };
    let items = submission.json().as_array().into_iter().flatten();
    let items: Vec<_> = items.map(|item| item.as_str().and_then(number).unwrap_or_else(|| item.clone())).collect();
    plain == items
}

/// What is no JSON may still be a submission whose intent is plain; it is always marked.
fn reason(bytes: &[u8], found: &Result<Submission, DecodeError>) -> Option<&'static str> {
    let odd = |oddity| found.as_ref().is_ok_and(|submission| submission.oddities.contains(&oddity));
    if bytes.is_empty() {
        Some("an empty body is a submission without fields")
    } else if odd(Oddity::Repaired) {
        Some("broken JSON is repaired and marked `repaired`")
    } else if odd(Oddity::Mislabelled) {
        Some("a form body with a JSON type is read and marked `mislabelled`")
    } else if found.as_ref().is_ok_and(|submission| same_but_exponents(bytes, submission)) {
        Some("a number with an exponent is kept as text, so that it stays as written")
    } else if odd(Oddity::InvalidText) {
        Some("invalid UTF-8 is replaced and marked `invalid_text`")
    } else {
        None
    }
}
