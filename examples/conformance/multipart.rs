//! Multipart requests as raw bytes, and what must come of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use formgate::decode::{self, Arena, DecodeError, Submission};
use serde::Deserialize;
use serde_json::Value;

use crate::suite::{Tally, request, rows};

#[derive(Deserialize)]
struct Named {
    case: String,
}

#[derive(Deserialize)]
struct Case {
    content_type: String,
    expect: Expect,
    fields: Option<Vec<TextPart>>,
    files: Option<Vec<FilePart>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Parse,
    Reject,
    Either,
}

#[derive(Deserialize)]
struct TextPart {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct FilePart {
    name: String,
    filename: String,
    content_type: Option<String>,
    size: Option<u64>,
}

/// Cases whose expectation has no value for the field `title`, though the body does.
const UNTOLD: [&str; 2] =
    ["formidable-special-chars-in-filename-osx-chrome-13", "formidable-special-chars-in-filename-osx-firefox-3.6"];

pub(crate) fn run(folder: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::new("multipart");
    let folder = folder.join("multipart");
    for Named { case: name } in rows(&folder, "index.jsonl")? {
        let text = std::fs::read(folder.join(format!("{name}.json")))?;
        let case: Case = serde_json::from_slice(&text).with_context(|| format!("failed to read {name}"))?;
        let bytes = std::fs::read(folder.join(format!("{name}.http")))?;
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("a request without a head")?;
        let body = bytes.get(head + 4..).unwrap_or_default().to_vec();
        let arena = Arena::new();
        let received = request(&case.content_type, body.clone());
        let found = decode::decode(&received, &arena);
        let reason = if UNTOLD.contains(&name.as_str()) {
            Some("not gated: the suite omits a value that is in the body")
        } else {
            reason(&case, &body, &found)
        };
        let agrees = agrees(&case, &found, str::to_owned);
        tally.count(agrees, reason, || format!("{name}: {:?}, here {}", case.expect, shown(&found)));
    }
    Ok(tally)
}

type Found<'a> = Result<Submission<'a>, DecodeError>;

/// Compares; names of files are spelled alike first.
fn agrees(case: &Case, found: &Found, spell: fn(&str) -> String) -> bool {
    match (case.expect, found) {
        (Expect::Parse, Ok(submission)) => same_values(case, submission, spell) && same_files(case, submission, spell),
        (Expect::Reject, Err(_)) | (Expect::Either, _) => true,
        _ => false,
    }
}

fn reason(case: &Case, body: &[u8], found: &Found) -> Option<&'static str> {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    let encoded = ["base64", "quoted-printable"].map(|kind| format!("content-transfer-encoding: {kind}"));
    match found {
        Err(_) if body.is_empty() => Some("not gated: the suite rejects an empty body twice and accepts it once"),
        Ok(_) if encoded.iter().any(|header| text.contains(header)) => Some(
            "transfer encodings aren't decoded (RFC 7578 section 4.7 forbids them; browsers and PHP don't support them)",
        ),
        Ok(_) if agrees(case, found, unescaped) => Some("file names keep the browser's escapes"),
        Ok(_) if agrees(case, found, |name| last_piece(&unescaped(name))) => {
            Some("a file's name is the last part of its path")
        }
        _ => None,
    }
}

fn last_piece(name: &str) -> String {
    name.rsplit('\\').next().unwrap_or_default().to_owned()
}

/// What browsers wrote for signs they could not send.
fn unescaped(name: &str) -> String {
    let signs = [("%22", "\""), ("&#9731;", "\u{2603}"), ("&#923;", "\u{39B}"), ("&#778;", "\u{30A}")];
    signs.into_iter().fold(name.to_owned(), |name, (escape, sign)| name.replace(escape, sign))
}

fn shown(found: &Found) -> String {
    found.as_ref().map_or_else(ToString::to_string, |submission| submission.json().to_string())
}

/// The same values under the same names; names that end in `[]` are lists, and empty values are none.
fn same_values(case: &Case, submission: &Submission, spell: fn(&str) -> String) -> bool {
    let Some(fields) = &case.fields else { return true };
    let texts = fields.iter().map(|part| (part.name.as_str(), part.value.clone()));
    let files = case.files.iter().flatten().map(|part| (part.name.as_str(), spell(&part.filename)));
    let mut expected: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in texts.chain(files) {
        let values = expected.entry(name.strip_suffix("[]").unwrap_or(name)).or_default();
        values.extend(Some(value).filter(|value| !value.is_empty()));
    }
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for field in &submission.fields {
        found.entry(field.key).or_default().extend(field.values.iter().map(|value| spell(value)));
    }
    expected.values_mut().chain(found.values_mut()).for_each(|values| values.sort_unstable());
    expected == found
}

/// The same files by name, type and size, as far as the suite tells them; it leaves out the type's parameters.
fn same_files(case: &Case, submission: &Submission, spell: fn(&str) -> String) -> bool {
    let Some(files) = &case.files else { return true };
    let mut expected: Vec<&FilePart> = files.iter().filter(|part| !part.filename.is_empty()).collect();
    let mut found = Vec::new();
    collect_files(submission.json(), &mut found);
    expected.sort_by_key(|part| spell(&part.filename));
    found.sort_by_key(|part| spell(&part.filename));
    let kind =
        |part: &FilePart| part.content_type.as_deref().and_then(|kind| kind.split(';').next()).map(str::to_owned);
    let same = |(told, read): (&&FilePart, &FilePart)| {
        spell(&told.filename) == spell(&read.filename)
            && (told.content_type.is_none() || kind(told) == kind(read))
            && told.size.is_none_or(|size| Some(size) == read.size)
    };
    expected.len() == found.len() && expected.iter().zip(&found).all(same)
}

fn collect_files(node: &Value, files: &mut Vec<FilePart>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| collect_files(item, files)),
        Value::Object(members) => match (members.get("name"), members.get("size").and_then(Value::as_u64)) {
            (Some(Value::String(name)), Some(size)) => {
                let content_type = members.get("type").and_then(Value::as_str).map(str::to_owned);
                files.push(FilePart { name: String::new(), filename: name.clone(), content_type, size: Some(size) });
            }
            _ => members.values().for_each(|member| collect_files(member, files)),
        },
        _ => {}
    }
}
