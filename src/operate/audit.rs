//! The audit: a line for each act, in a file that is only ever appended to. No personal data gets into it.
//!
//! An act has two lines: one that it begins, on disk before anything is done (without it nothing is), and one that says how
//! it ended. A beginning without an end is an act that was cut off.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::choice::Choice;
use crate::config::Config;
use crate::lead::LeadField;

const FILE: &str = "audit.ndjson";

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The command line, on the store itself.
    Cli,
    /// Whoever holds the admin token.
    AdminApi,
    /// A user of this machine, by the admin API's socket; the kernel says which.
    LocalUser(u32),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cli => f.write_str("cli"),
            Self::AdminApi => f.write_str("admin-api"),
            Self::LocalUser(uid) => write!(f, "uid:{uid}"),
        }
    }
}

impl Serialize for By {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where acts are written down: beside the store, or in the log alone where the store is in memory.
#[derive(Clone, Debug)]
pub struct Audit {
    file: Option<PathBuf>,
}

/// The act can't be written down.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("nothing is done, because the audit {} can't be written", file.display())]
    Begin {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("it is done, but how it ended can't be written to the audit {}", file.display())]
    End {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What is done, and to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Act {
    verb: &'static str,
    by: By,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<usize>,
    /// The fields that are corrected: never what to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    by_email: bool,
    dry_run: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    #[serde(flatten)]
    act: &'a Act,
    #[serde(skip_serializing_if = "Option::is_none")]
    began_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<usize>,
    outcome: &'static str,
}

/// An act that is written down as begun.
#[must_use]
pub(super) struct Begun {
    audit: Audit,
    act: Act,
    at: Timestamp,
}

impl Act {
    pub(super) fn of(verb: &'static str, by: By, choice: &Choice) -> Self {
        let (filter, ids) = choice.words();
        Self { filter, ids, ..Self::plain(verb, by) }
    }

    pub(super) fn by_email(verb: &'static str, by: By) -> Self {
        Self { by_email: true, ..Self::plain(verb, by) }
    }

    /// An act on fields of one entry.
    pub(super) fn fields(verb: &'static str, by: By, fields: &[LeadField]) -> Self {
        Self { ids: Some(1), fields: fields.iter().map(|field| field.as_str()).collect(), ..Self::plain(verb, by) }
    }

    pub(super) fn plain(verb: &'static str, by: By) -> Self {
        Self { verb, by, filter: None, ids: None, fields: Vec::new(), by_email: false, dry_run: false }
    }
}

impl Audit {
    /// Returns the audit of a configuration's store.
    pub fn of(config: &Config) -> Self {
        Self { file: config.data_folder().map(|folder| folder.join(FILE)) }
    }

    /// Writes down that an act begins; without that it must not.
    pub(super) async fn begin(&self, act: Act, now: Timestamp) -> Result<Begun, AuditError> {
        let line = Line { at: now, act: &act, began_at: None, entries: None, outcome: "begun" };
        let failed = |source| AuditError::Begin { file: self.file.clone().unwrap_or_default(), source };
        self.write(&line).await.map_err(failed)?;
        Ok(Begun { audit: self.clone(), act, at: now })
    }

    async fn write(&self, line: &Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        tracing::info!(audit = text, "operate.audit");
        text.push('\n');
        let Some(file) = self.file.clone() else { return Ok(()) };
        tokio::task::spawn_blocking(move || append(&file, text.as_bytes())).await?
    }
}

impl Begun {
    /// Writes down how the act ended, and how many entries it changed.
    pub(super) async fn end(self, entries: usize, well: bool, now: Timestamp) -> Result<(), AuditError> {
        let outcome = if well { "done" } else { "failed" };
        let line = Line { at: now, act: &self.act, began_at: Some(self.at), entries: Some(entries), outcome };
        let failed = |source| AuditError::End { file: self.audit.file.clone().unwrap_or_default(), source };
        self.audit.write(&line).await.map_err(failed)
    }
}

/// Appends in one write, so that lines of two processes never mix, and waits for the disk.
fn append(file: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    file.write_all(line)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn an_act_is_written_before_and_after_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        let audit = Audit { file: Some(file.clone()) };
        let at = |second| Timestamp::from_second(second).expect("a time");
        let begun = audit.begin(Act::by_email("erase", By::Cli), at(1)).await.expect("written");
        let first = fs::read_to_string(&file).expect("a line");
        assert_eq!(
            first,
            "{\"at\":\"1970-01-01T00:00:01Z\",\"verb\":\"erase\",\"by\":\"cli\",\"by_email\":true,\"dry_run\":false,\"outcome\":\"begun\"}\n"
        );
        begun.end(2, true, at(2)).await.expect("written");
        let both = fs::read_to_string(&file).expect("lines");
        assert!(both.starts_with(&first) && both.lines().count() == 2, "{both}");
        assert!(
            both.ends_with(",\"began_at\":\"1970-01-01T00:00:01Z\",\"entries\":2,\"outcome\":\"done\"}\n"),
            "{both}"
        );
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_is_not_begun() {
        let folder = tempfile::tempdir().expect("a folder");
        let audit = Audit { file: Some(folder.path().join("gone").join(FILE)) };
        let error =
            audit.begin(Act::plain("export", By::AdminApi), Timestamp::UNIX_EPOCH).await.err().expect("refused");
        assert!(error.to_string().starts_with("nothing is done"), "{error}");
        let audit = Audit { file: None };
        assert!(audit.begin(Act::plain("export", By::AdminApi), Timestamp::UNIX_EPOCH).await.is_ok());
    }
}
