//! The labelled submissions there are: each folder its own kind of file.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use bytes::Bytes;
use formgate::received::{Received, SplitQuery};
use serde_json::Value;

/// A folder of cases that are for tuning alone.
const TUNING: &str = "tuning/";

/// Cases of one origin.
pub(crate) struct Corpus {
    pub(crate) name: String,
    /// One half is for tuning, the other is measured.
    pub(crate) is_split: bool,
    /// A mapping was written for it, which is taken away.
    pub(crate) is_mapped: bool,
    pub(crate) cases: Vec<Case>,
}

/// A request, and the lead that a sensible person reads in it.
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) language: String,
    pub(crate) region: Option<String>,
    pub(crate) received: Received,
    pub(crate) label: Value,
}

impl Case {
    /// Tells the half by the id alone, so that adding a case moves no other.
    pub(crate) fn is_for_tuning(&self) -> bool {
        use sha2::{Digest as _, Sha256};
        self.id.starts_with(TUNING) || Sha256::digest(self.id.as_bytes()).first().is_some_and(|byte| byte % 2 == 0)
    }

    pub(crate) fn language_group(&self) -> &str {
        match self.language.split('-').next().unwrap_or_default() {
            "en" => "English",
            "de" | "nl" | "sv" | "da" | "nb" | "no" | "is" | "af" => "Germanic",
            "fr" | "es" | "it" | "pt" | "ro" | "ca" | "gl" => "Romance",
            "pl" | "cs" | "sk" | "ru" | "uk" | "bg" | "hr" | "sr" | "sl" | "mk" | "be" => "Slavic",
            "ja" | "ko" | "zh" | "yue" => "Chinese, Japanese, Korean",
            "ar" | "fa" | "he" | "ur" => "Arabic, Hebrew, Persian",
            "hi" | "bn" | "ta" | "te" | "mr" | "gu" | "pa" | "kn" | "ml" | "si" | "ne" => "South Asian",
            "" => "not told",
            _ => "others",
        }
    }
}

/// Reads every corpus, and warns of each that isn't there.
pub(crate) fn read() -> anyhow::Result<Vec<Corpus>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("FORMGATE_CORPORA").map_or_else(|| root.join("../shared"), PathBuf::from);
    let mut corpora = Vec::new();
    let forms = shared.join("forms/forms.jsonl");
    match std::fs::read_to_string(&forms) {
        Ok(text) => {
            let cases =
                text.lines().map(form).collect::<anyhow::Result<_>>().with_context(|| forms.display().to_string())?;
            corpora.push(Corpus { name: "forms".to_owned(), is_split: true, is_mapped: false, cases });
        }
        Err(error) => missing(&forms, &error.to_string()),
    }
    for name in ["reports", "lab", "captures"] {
        let folder = shared.join(name);
        match folder.is_dir() {
            true => corpora.push(captured(name, &folder)?),
            false => missing(&folder, "no such folder"),
        }
    }
    for name in ["auto", "contact-form-7", "elementor", "gravity-forms", "wpforms", "kaicalls", "generic", "variants"] {
        let folder = root.join("fixtures").join(name);
        if folder.is_dir() {
            let is_split = name == "auto";
            corpora.push(Corpus { is_split, ..captured(&format!("fixtures/{name}"), &folder)? });
        }
    }
    Ok(corpora)
}

/// Warns of what isn't there.
#[expect(clippy::print_stdout, reason = "it is the program's data")]
fn missing(path: &Path, why: &str) {
    println!("**missing**: {}: {why}\n", path.display());
}

fn form(line: &str) -> anyhow::Result<Case> {
    let label: Value = serde_json::from_str(line)?;
    let text = |key: &str| label.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let body = match label.get("body_b64").and_then(Value::as_str) {
        Some(base64) => base64::engine::general_purpose::STANDARD.decode(base64)?,
        None => text("body").into_bytes(),
    };
    let kind = text("content_type");
    let agent = text("user_agent");
    let headers = [("content-type", kind.as_bytes()), ("user-agent", agent.as_bytes())];
    let received = Received::from_parts("POST", None, headers, Bytes::from(body));
    Ok(Case {
        id: text("id"),
        kind: format!("{} {}", text("plugin"), text("mode")),
        language: text("language"),
        region: label.get("region").and_then(Value::as_str).map(str::to_owned),
        received,
        label,
    })
}

/// Reads the captured requests of a folder, and what lies beside each.
pub(crate) fn captured(name: &str, folder: &Path) -> anyhow::Result<Corpus> {
    let mut paths = Vec::new();
    find(folder, &mut paths)?;
    let cases = paths.iter().map(|path| capture(folder, path)).collect::<anyhow::Result<Vec<_>>>()?;
    let cases = cases.into_iter().flatten().collect();
    Ok(Corpus {
        name: name.to_owned(),
        is_split: false,
        is_mapped: name == "captures" || (name.starts_with("fixtures/") && name != "fixtures/auto"),
        cases,
    })
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    for path in entries.into_iter().map(|entry| entry.path()) {
        match path.is_dir() {
            true => find(&path, paths)?,
            false if path.extension().is_some_and(|extension| extension == "http") => paths.push(path),
            false => {}
        }
    }
    paths.sort();
    Ok(())
}

fn capture(folder: &Path, path: &Path) -> anyhow::Result<Option<Case>> {
    let beside = ["label.json", "json"].into_iter().map(|extension| path.with_extension(extension));
    let Some(text) = beside.into_iter().find_map(|file| std::fs::read_to_string(file).ok()) else { return Ok(None) };
    let label: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let bytes = std::fs::read(path)?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").with_context(|| path.display().to_string())?;
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let query = SplitQuery::of(target.split_once('?').map(|(_, query)| query)).kept;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let body = Bytes::copy_from_slice(bytes.get(end + 4..).unwrap_or_default());
    let text = |keys: &[&str]| keys.iter().find_map(|key| label.get(*key)?.as_str()).unwrap_or_default().to_owned();
    let within = path.strip_prefix(folder).unwrap_or(path);
    let default_kind = within.parent().map(|parent| parent.display().to_string()).filter(|parent| !parent.is_empty());
    let file_kind = within.display().to_string().split('-').nth(1).unwrap_or_default().to_owned();
    Ok(Some(Case {
        id: within.with_extension("").display().to_string(),
        kind: Some(text(&["kind"])).filter(|kind| !kind.is_empty()).or(default_kind).unwrap_or(file_kind),
        language: text(&["language"]),
        region: Some(text(&["region", "site_region"])).filter(|region| !region.is_empty()),
        received: Received::from_parts(method, query, headers, body),
        label,
    }))
}
