//! Merging back what can be read of files that were set aside.
//!
//! Every page is looked at, so it matters little which are damaged: a row comes back when the pages it lies on are whole.
//! Two walks: the first notes where rows are (see [`places`]), the second reads each row of `entry` with what
//! belongs to it, and hands them over in batches to the thread that writes.

mod carve;

mod image;

mod places;

mod rows;

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use tokio::sync::mpsc;

use super::SqliteStore;
use super::adopt::{Adopting, Kept};
use super::append::check_room;
use super::aside;
use super::failure::{Closed, Failure};
use super::writer::{Workspace, Writer};
use super::{keys, listed};
use crate::queue::unreadable::Unreadable;
use crate::queue::{Salvaged, StoreError};
use crate::telemetry;
use image::Image;
use places::{Orphans, Places};

/// Entries merged in one transaction.
const BATCH_MAX: usize = 64;
/// Bytes of them, unless a single one has more.
const BATCH_BYTES: usize = 4 * 1_024 * 1_024;
/// Most lines on what could not be read.
const UNREADABLE_MAX: usize = 1_000;

/// What became of a batch.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) recovered: u64,
    present: u64,
    unreadable: Vec<String>,
}

/// What could not be read of a file.
#[derive(Default)]
pub(super) struct Lines {
    file: String,
    lines: Vec<String>,
}

impl SqliteStore {
    /// Merges back what can be read of the files that were set aside because they were corrupt, and keeps those files.
    ///
    /// Safe to do again: what is there already is left as it is.
    pub async fn salvage(&self) -> Result<Salvaged, StoreError> {
        let _one = self.salvaging.lock().await;
        salvage(&self.path, &self.writer).await
    }
}

/// Reads every file that was set aside, and merges what the store does not have.
async fn salvage(path: &Path, writer: &Writer) -> Result<Salvaged, StoreError> {
    let mut salvaged = Salvaged::default();
    // The newest first: of an entry that is in several, its latest state is the one to keep.
    for file in aside::corrupt(path).map_err(Failure::from)? {
        let (found, mut batches) = mpsc::channel(1);
        let reading = telemetry::blocking({
            let file = file.clone();
            move || read(&file, &found)
        });
        while let Some(batch) = batches.recv().await {
            let merged = writer.write(move |workspace| merge(workspace, &batch)).await?;
            salvaged.recovered += merged.recovered;
            salvaged.present += merged.present;
            salvaged.unreadable.extend(merged.unreadable);
        }
        salvaged.unreadable.extend(reading.await.map_err(Failure::unavailable)??);
        salvaged.unreadable.truncate(UNREADABLE_MAX);
        salvaged.files.push(aside::mark_salvaged(path, &file).map_err(Failure::from)?);
    }
    Ok(salvaged)
}

/// Reads a file's entries and hands them over; returns what could not be read.
fn read(file: &Path, batches: &mpsc::Sender<Vec<Kept>>) -> Result<Vec<String>, Failure> {
    let image = Image::open(file)?;
    let mut lines = Lines::of(file);
    if image.damaged_in_log() > 0 {
        lines.add(&format!("{} pages of the log", image.damaged_in_log()));
    }
    let mut places = Places::locate(&image, &mut lines)?;
    let mut batch = Batch::new(batches);
    for page in places.leaves()? {
        for found in places.entries(page)? {
            match found {
                Ok(kept) => batch.add(kept)?,
                Err(line) => lines.add(&line),
            }
        }
    }
    // What was never entered, and what has lost its row.
    let mut orphans = Orphans::of(&places)?;
    while let Some(orphan) = orphans.next(&mut places)? {
        batch.add(orphan)?;
    }
    batch.hand_over()?;
    if orphans.lost > 0 {
        lines.add(&format!("{} entries of which only the content is left", orphans.lost));
    }
    Ok(lines.lines)
}

/// Entries on their way to the thread that writes.
struct Batch<'a> {
    to: &'a mpsc::Sender<Vec<Kept>>,
    found: Vec<Kept>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    fn new(to: &'a mpsc::Sender<Vec<Kept>>) -> Self {
        Self { to, found: Vec::new(), bytes: 0 }
    }

    fn add(&mut self, found: Kept) -> Result<(), Failure> {
        self.bytes += found.record.len();
        self.found.push(found);
        if self.found.len() >= BATCH_MAX || self.bytes >= BATCH_BYTES { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        let found = std::mem::take(&mut self.found);
        if found.is_empty() {
            return Ok(());
        }
        self.to.blocking_send(found).map_err(|_gone| Failure::unavailable(Closed))
    }
}

/// Merges entries into the store, each in a transaction of its own within the batch's.
pub(super) fn merge(workspace: &mut Workspace, batch: &[Kept]) -> Result<Merged, Failure> {
    let bytes = batch.iter().map(|kept| kept.record.len()).sum();
    check_room(workspace, bytes)?;
    workspace.asked += bytes;
    let Workspace { connection, tally, keys, options, newest, .. } = workspace;
    let mut merged = Merged::default();
    let first = workspace.next_number;
    let mut adopting = Adopting::from(connection, first);
    for kept in batch {
        if connection.prepare_cached("SELECT 1 FROM entry WHERE id = ?1")?.exists([kept.id.as_bytes()])? {
            merged.present += 1;
            continue;
        }
        adopting.make_ready(kept)?;
        connection.execute_batch("SAVEPOINT one")?;
        match adopting.add(kept, tally).map_err(as_unreadable) {
            Ok(()) => {
                merged.recovered += 1;
                *newest = (*newest).max(Some(kept.id));
                // A key that came again since stays with what came since.
                if !options.dedupe_window.is_zero() {
                    keys.add_if_newer(kept.id, kept.accepted_at, kept.key);
                }
            }
            Err(Failure::Corrupt(_)) => {
                connection.execute_batch("ROLLBACK TO one")?;
                merged.unreadable.push(format!("entry {}: not as it was written", kept.id));
            }
            Err(failure) => return Err(failure),
        }
        connection.execute_batch("RELEASE one")?;
    }
    adopting.write()?;
    keys::note_adopted(connection, first, adopting.next - 1)?;
    listed::put_in(connection, adopting.next - 1)?;
    workspace.next_number = adopting.next;
    workspace.woke |= merged.recovered > 0;
    Ok(merged)
}

/// The table's own conditions tell what no store of ours holds.
fn as_unreadable(failure: Failure) -> Failure {
    let is_condition = match &failure {
        Failure::Unavailable(error) => error.downcast_ref::<rusqlite::Error>().is_some_and(|error| {
            matches!(error.sqlite_error_code(), Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch))
        }),
        _ => false,
    };
    if is_condition { Unreadable { column: "entry" }.into() } else { failure }
}

impl Lines {
    fn of(file: &Path) -> Self {
        let file = file.file_name().map_or_else(PathBuf::new, PathBuf::from).display().to_string();
        Self { file, lines: Vec::new() }
    }

    pub(super) fn add(&mut self, what: &str) {
        if self.lines.len() < UNREADABLE_MAX {
            self.lines.push(format!("{}: {what}", self.file));
        }
    }
}
