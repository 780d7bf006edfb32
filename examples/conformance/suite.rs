//! Reading a suite, and counting how far it agrees.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use formgate::received::Received;
use serde::de::DeserializeOwned;

/// How one suite went.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) suite: &'static str,
    pub(crate) agree: usize,
    /// Differences by their reason.
    pub(crate) on_purpose: BTreeMap<&'static str, usize>,
    /// Differences nobody decided on.
    pub(crate) wrong: Vec<String>,
}

impl Tally {
    pub(crate) fn new(suite: &'static str) -> Self {
        Self { suite, ..Self::default() }
    }

    /// Counts a case: it agrees, or it differs for a reason, or it differs and `case` says how.
    pub(crate) fn count(&mut self, agrees: bool, reason: Option<&'static str>, case: impl FnOnce() -> String) {
        match (agrees, reason) {
            (true, _) => self.agree += 1,
            (false, Some(reason)) => *self.on_purpose.entry(reason).or_default() += 1,
            (false, None) => self.wrong.push(case()),
        }
    }
}

/// Reads a suite of one JSON value a line.
pub(crate) fn rows<T: DeserializeOwned>(folder: &Path, name: &str) -> anyhow::Result<Vec<T>> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let rows = text.lines().enumerate().map(|(index, line)| {
        serde_json::from_str(line).with_context(|| format!("failed to read {}:{}", path.display(), index + 1))
    });
    rows.collect()
}

/// A request with a body of a type.
pub(crate) fn request(content_type: &str, body: impl Into<Bytes>) -> Received {
    let headers = [("content-type".to_owned(), content_type.to_owned())].into();
    Received { method: "POST".to_owned(), headers, body: body.into(), ..Received::default() }
}
