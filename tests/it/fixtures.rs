//! Every fixture through the pipeline: the request's bytes in, exactly the lead that is sent to KaiCalls out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use formgate::config::shipped_mappings;
use formgate::pipeline::{self, End, SiteRules};
use formgate::received::{KEPT_HEADERS, Received};
use serde_json::{Value, json};

/// Finds every `.http` under a folder.
pub(crate) fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(cases(&path));
        } else if path.extension().is_some_and(|extension| extension == "http") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Finds the captures that say what exactly is sent.
pub(crate) fn exact_cases() -> Vec<PathBuf> {
    let others = ["config", "auto"].map(|folder| fixtures().join(folder));
    cases(&fixtures()).into_iter().filter(|path| !others.iter().any(|folder| path.starts_with(folder))).collect()
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Reads a captured request as the gateway stores it.
pub(crate) fn received(path: &Path) -> Received {
    let bytes = std::fs::read(path).expect("the capture");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut request = lines.next().expect("a request line").split(' ');
    let (method, target) = (request.next().expect("a method"), request.next().expect("a target"));
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| KEPT_HEADERS.contains(&name.as_str()))
        .collect();
    let query = target.split_once('?').map(|(_, query)| query.to_owned());
    Received {
        method: method.to_owned(),
        query,
        headers,
        body: Bytes::copy_from_slice(&bytes[end + 4..]),
        ..Received::default()
    }
}

/// What lies beside a capture.
pub(crate) fn expectation(path: &Path) -> Value {
    let text = std::fs::read(path.with_extension("json")).expect("an expectation beside the capture");
    serde_json::from_slice(&text).expect("JSON")
}

fn outcome(end: &End) -> Value {
    match end {
        End::Lead { lead, .. } => json!({ "expect": lead }),
        End::Held { errors, .. } => {
            let reasons = errors.iter().map(|error| json!({ "field": error.field, "code": error.code }));
            json!({ "reject": reasons.collect::<Vec<_>>() })
        }
    }
}

#[test]
fn every_fixture_becomes_its_lead() {
    let (mappings, problems) = shipped_mappings();
    assert!(problems.is_empty(), "{}", problems.render(false));
    let mut wrong = Vec::new();
    let cases: Vec<PathBuf> = exact_cases();
    for path in &cases {
        let processed = pipeline::process(&mappings, &SiteRules::default(), None, &received(path));
        let (found, expected) = (outcome(&processed.end), expectation(path));
        let kind = if expected.get("expect").is_some() { "expect" } else { "reject" };
        if found.get(kind) != expected.get(kind) {
            wrong.push(format!("{}\n  expected {}\n  found    {found}", path.display(), expected[kind]));
        }
    }
    assert!(cases.len() >= 130, "only {} fixtures were found", cases.len());
    assert!(wrong.is_empty(), "{} of {} fixtures:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
