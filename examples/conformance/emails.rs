//! Addresses, with the verdict of the rule of HTML for `input type=email`.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use formgate::lead::Email;
use serde::Deserialize;

use crate::suite::{Tally, rows};

#[derive(Deserialize)]
struct Row {
    email: Option<String>,
    /// Where the address is no UTF-8.
    email_b64: Option<String>,
    whatwg: bool,
    #[serde(default)]
    source: Vec<String>,
    whatwg_matches_wpt: Option<bool>,
}

/// Tests of a proposal that is not the rule: rows of theirs that contradict it say nothing.
const PROPOSAL: &str = "wpt:email-validity.window.js";

pub(crate) fn run(folder: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::new("emails");
    for row in rows::<Row>(folder, "emails.jsonl")? {
        let raw = row.email_b64.as_deref().map(|text| STANDARD.decode(text)).transpose()?;
        let decoded = raw.as_deref().map(String::from_utf8_lossy);
        let text = row.email.as_deref().or(decoded.as_deref()).unwrap_or_default();
        let ours = Email::parse(text);
        let agrees = ours.is_ok() == row.whatwg;
        tally.count(agrees, reason(text, &row), || format!("{text:?}: whatwg {}, here {}", row.whatwg, ours.is_ok()));
    }
    Ok(tally)
}

fn reason(text: &str, row: &Row) -> Option<&'static str> {
    let (_, domain) = text.trim().rsplit_once('@')?;
    if row.whatwg_matches_wpt == Some(false) && row.source.iter().any(|source| source == PROPOSAL) {
        return Some("not gated: the tests of a newer proposal contradict the rule");
    }
    if !row.whatwg {
        return match (domain.is_ascii(), text.trim() == text) {
            (false, _) => Some("international domains are converted to ASCII"),
            (true, false) => Some("white space around an address is ignored"),
            (true, true) => None,
        };
    }
    match (domain.contains('.'), text.len() > 254) {
        (false, _) => Some("a domain needs a dot"),
        (true, true) => Some("an address can't be longer than 254 bytes"),
        (true, false) => None,
    }
}
