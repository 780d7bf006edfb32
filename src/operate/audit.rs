//! The audit: a line for each act, in a file that is only ever appended to. No personal data gets into it.
//!
//! An act has two lines: one that it begins, on disk before anything is done (without it nothing is), and one that says how
//! it ended. A beginning without an end is an act that was cut off.
//!
//! Room for some lines is reserved behind the end of the file. Where the disk is full all the same, what frees room or
//! saves data (drop, erase, backup) is done, and its lines follow as soon as there is room; the log has them at once.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};
use serde::Serialize;

use super::choice::Choice;
use crate::config::Config;
use crate::lead::{LeadField, SiteId};
use crate::queue::private_file;
use crate::telemetry;

const FILE: &str = "audit.ndjson";
/// Bytes reserved behind the end of the file, and of these at least.
const RESERVED: u64 = 64 * 1_024;
const RESERVED_MIN: u64 = 16 * 1_024;
/// Most lines that wait for room.
const WAITING_MAX: usize = 1_000;

/// Who runs a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The command line, on the store itself.
    Cli,
    /// Whoever holds the admin token.
    AdminApi,
    /// Whoever logged in to the console with the admin token.
    Console,
    /// A user of this machine, by the admin API's socket; the kernel says which.
    LocalUser(u32),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cli => f.write_str("cli"),
            Self::AdminApi => f.write_str("admin-api"),
            Self::Console => f.write_str("console"),
            Self::LocalUser(uid) => write!(f, "uid:{uid}"),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where acts are written down: beside the store, or in the log alone where the store is in memory.
#[derive(Clone, Debug)]
pub struct Audit {
    file: Option<PathBuf>,
    /// Lines of acts that were done on a full disk. Clones share them.
    waiting: Arc<Mutex<VecDeque<String>>>,
}

/// The act can't be written down.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("nothing was done, because the audit log {} can't be written", file.display())]
    Begin {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("it was done, but its result can't be written to the audit log {}", file.display())]
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
    by: Actor,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<usize>,
    /// The fields that are corrected: never what to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    by_email: bool,
    /// Whose data was shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shown: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<SiteId>,
    dry_run: bool,
}

/// A line of the audit log.
#[derive(Serialize)]
struct AuditLine<'a> {
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
    even_if_full: bool,
}

impl Act {
    pub(super) fn of(verb: &'static str, by: Actor, choice: &Choice) -> Self {
        let (filter, ids) = choice.words();
        Self { filter, ids, ..Self::plain(verb, by) }
    }

    /// An act that shows leads: of few it says which.
    pub(super) fn showing(verb: &'static str, by: Actor, choice: &Choice) -> Self {
        Self { shown: choice.ids(), ..Self::of(verb, by, choice) }
    }

    pub(super) fn by_email(verb: &'static str, by: Actor) -> Self {
        Self { by_email: true, ..Self::plain(verb, by) }
    }

    /// An act on fields of one entry.
    pub(super) fn fields(verb: &'static str, by: Actor, fields: &[LeadField]) -> Self {
        Self { ids: Some(1), fields: fields.iter().map(|field| field.as_str()).collect(), ..Self::plain(verb, by) }
    }

    /// An act on a site.
    pub(super) fn site(verb: &'static str, by: Actor, site: &SiteId) -> Self {
        Self { site: Some(site.clone()), ..Self::plain(verb, by) }
    }

    pub(super) fn plain(verb: &'static str, by: Actor) -> Self {
        Self {
            verb,
            by,
            filter: None,
            ids: None,
            fields: Vec::new(),
            by_email: false,
            shown: Vec::new(),
            site: None,
            dry_run: false,
        }
    }
}

impl Audit {
    /// Returns the audit of a configuration's store.
    pub fn of(config: &Config) -> Self {
        Self::at(config.data_folder().map(|folder| folder.join(FILE)))
    }

    fn at(file: Option<PathBuf>) -> Self {
        Self { file, waiting: Arc::default() }
    }

    /// Reserves room for lines to come, while there is room. That it can't be is no harm yet.
    pub fn reserve(&self) {
        if let Some(file) = &self.file
            && let Ok(file) = open(file)
        {
            reserve(&file);
        }
    }

    /// Writes down in one line what is done in one step; where it can't be written, it must not be done.
    pub(super) async fn note(&self, act: Act, now: Timestamp) -> Result<(), AuditError> {
        let line = AuditLine { at: now, act: &act, began_at: None, entries: None, outcome: "done" };
        let failed = |source| AuditError::Begin { file: self.file.clone().unwrap_or_default(), source };
        self.write(&line, false).await.map_err(failed)
    }

    /// Writes down that an act begins; without that it must not.
    pub(super) async fn begin(&self, act: Act, now: Timestamp) -> Result<Begun, AuditError> {
        self.begin_act(act, false, now).await
    }

    /// The same for an act that frees room or saves data: a full disk keeps nobody from it.
    pub(super) async fn begin_even_if_full(&self, act: Act, now: Timestamp) -> Result<Begun, AuditError> {
        self.begin_act(act, true, now).await
    }

    /// Returns the lines that wait for room, having tried once more to write them.
    pub async fn waiting(&self) -> Vec<String> {
        if !self.waiting.lock().is_empty() {
            // What can't be written still waits.
            self.append(None).await.ok();
        }
        self.waiting.lock().iter().cloned().collect()
    }

    async fn begin_act(&self, act: Act, even_if_full: bool, now: Timestamp) -> Result<Begun, AuditError> {
        let line = AuditLine { at: now, act: &act, began_at: None, entries: None, outcome: "begun" };
        let failed = |source| AuditError::Begin { file: self.file.clone().unwrap_or_default(), source };
        self.write(&line, even_if_full).await.map_err(failed)?;
        Ok(Begun { audit: self.clone(), act, at: now, even_if_full })
    }

    async fn write(&self, line: &AuditLine<'_>, even_if_full: bool) -> io::Result<()> {
        let text = serde_json::to_string(line)?;
        tracing::info!(audit = text, "operate.audit");
        match self.append(Some(text.clone())).await {
            Err(error) if even_if_full && is_full(&error) => {
                tracing::error!(%error, audit = text, "audit.deferred: the line will be written when the disk has \
                                                       room");
                let mut waiting = self.waiting.lock();
                if waiting.len() >= WAITING_MAX {
                    return Err(error);
                }
                waiting.push_back(text);
                Ok(())
            }
            written => written,
        }
    }

    /// Appends the lines that wait, and then one more.
    async fn append(&self, line: Option<String>) -> io::Result<()> {
        let (Some(file), waiting) = (self.file.clone(), Arc::clone(&self.waiting)) else { return Ok(()) };
        let write = move || {
            // Held until they are on the disk, so that no line is written twice.
            let mut waiting = waiting.lock();
            let lines: String = waiting.iter().chain(&line).map(|line| format!("{line}\n")).collect();
            append(&file, lines.as_bytes())?;
            waiting.clear();
            Ok(())
        };
        telemetry::blocking(write).await.map_err(io::Error::other)?
    }
}

impl Begun {
    /// Writes down how the act ended, and how many entries it changed.
    pub(super) async fn end(self, entries: usize, well: bool, now: Timestamp) -> Result<(), AuditError> {
        let outcome = if well { "done" } else { "failed" };
        let line = AuditLine { at: now, act: &self.act, began_at: Some(self.at), entries: Some(entries), outcome };
        let failed = |source| AuditError::End { file: self.audit.file.clone().unwrap_or_default(), source };
        self.audit.write(&line, self.even_if_full).await.map_err(failed)
    }
}

/// Appends in one write, so that lines of two processes never mix, and waits for the disk.
fn append(file: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = open(file)?;
    // A disk that became full, or a kill, may have left half a line.
    let is_whole = file.metadata()?.len() == 0 || ends_a_line(&file);
    let lines = if is_whole { Cow::Borrowed(line) } else { Cow::Owned([b"\n", line].concat()) };
    file.write_all(&lines)?;
    file.sync_data()?;
    reserve(&file);
    Ok(())
}

fn open(file: &Path) -> io::Result<File> {
    private_file::open(file, OpenOptions::new().append(true).read(true))
}

fn ends_a_line(file: &File) -> bool {
    let mut last = [0];
    let at = file.metadata().map_or(0, |found| found.len().saturating_sub(1));
    file.read_exact_at(&mut last, at).is_ok() && last == *b"\n"
}

fn reserve(file: &File) {
    let Ok(found) = file.metadata() else { return };
    if found.blocks() * 512 < found.len() + RESERVED_MIN {
        // Not every file system can; then the acts that may go on without it do.
        fallocate(file, FallocateFlags::KEEP_SIZE, found.len(), RESERVED).ok();
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
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
        let audit = Audit::at(Some(file.clone()));
        let at = |second| Timestamp::from_second(second).expect("a time");
        let begun = audit.begin(Act::by_email("erase", Actor::Cli), at(1)).await.expect("written");
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
    async fn on_a_full_disk_what_frees_room_goes_on_and_is_written_down_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        let audit = Audit::at(Some(file.clone()));
        // Every write into this one finds no room.
        std::os::unix::fs::symlink("/dev/full", &file).expect("linked");
        let now = Timestamp::UNIX_EPOCH;
        assert!(audit.begin(Act::plain("export", Actor::Cli), now).await.is_err());
        let begun = audit.begin_even_if_full(Act::plain("erase", Actor::Cli), now).await.expect("begun all the same");
        begun.end(1, true, now).await.expect("ended");
        assert_eq!(audit.clone().waiting().await.len(), 2);
        fs::remove_file(&file).expect("removed");
        assert!(audit.waiting().await.is_empty());
        let lines = fs::read_to_string(&file).expect("lines");
        assert!(lines.lines().count() == 2 && lines.ends_with("\"outcome\":\"done\"}\n"), "{lines}");
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_is_not_begun() {
        let folder = tempfile::tempdir().expect("a folder");
        let audit = Audit::at(Some(folder.path().join("gone").join(FILE)));
        let error =
            audit.begin(Act::plain("export", Actor::AdminApi), Timestamp::UNIX_EPOCH).await.err().expect("refused");
        assert!(error.to_string().starts_with("nothing was done"), "{error}");
        let audit = Audit::at(None);
        assert!(audit.begin(Act::plain("export", Actor::AdminApi), Timestamp::UNIX_EPOCH).await.is_ok());
    }
}
