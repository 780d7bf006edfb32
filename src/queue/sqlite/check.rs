//! Whether the file is sound: looked at when the store is opened, as far as that is cheap, and remembered when damage
//! is met later.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::failure::{Damage, DamageMet, Failure};
use super::files::beside;
use super::schema::{PAGE_SIZE, names};
use crate::queue::private_file;

/// Up to this size every page is looked at whenever the store is opened.
const WHOLE_MAX: u64 = 32 * 1_024 * 1_024;
/// Tells the next start that damage was met, so that it looks at every page, however many.
const MARK: &str = ".damaged";

/// Most rows on damaged pages that are remembered.
const ROWS_MAX: usize = 10_000;

/// One end of each table: the pages that every operation goes through.
const EDGES: [&str; 17] = [
    "SELECT * FROM entry ORDER BY number LIMIT 1",
    "SELECT * FROM entry ORDER BY number DESC LIMIT 1",
    "SELECT number FROM content ORDER BY number LIMIT 1",
    "SELECT number FROM content ORDER BY number DESC LIMIT 1",
    "SELECT number FROM reading ORDER BY number LIMIT 1",
    "SELECT number FROM reading ORDER BY number DESC LIMIT 1",
    "SELECT id FROM entry INDEXED BY entry_id ORDER BY id DESC LIMIT 1",
    "SELECT * FROM listed LIMIT 1",
    "SELECT * FROM name",
    "SELECT * FROM tally",
    "SELECT * FROM meta",
    "SELECT * FROM outbox ORDER BY number LIMIT 1",
    "SELECT * FROM outbox ORDER BY number DESC LIMIT 1",
    "SELECT * FROM reader",
    "SELECT * FROM once INDEXED BY once_age ORDER BY number DESC LIMIT 1",
    "SELECT * FROM note LIMIT 1",
    "SELECT * FROM hold LIMIT 1",
];

/// A log without its database: SQLite would remove it as worthless, with all that it holds.
pub(super) fn check_log(path: &Path) -> Result<(), Failure> {
    const LOG_HEADER: u64 = 32;
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    if length(path) == 0 && length(&beside(path, "-wal")) > LOG_HEADER {
        return Err(Failure::damaged(Damage));
    }
    Ok(())
}

/// Checks a store that no other process has open: that it has all its tables and all its pages, and of a small one, or
/// where damage was met before, that every page can be read.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), Failure> {
    let mut named = connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = ?1")?;
    for name in names() {
        if !named.exists([name])? {
            return Err(Failure::damaged(Damage));
        }
    }
    let pages: u64 = connection.pragma_query_value(None, "page_count", |row| row.get::<_, u32>(0))?.into();
    let size = pages * PAGE_SIZE as u64;
    check_length(connection, path, size)?;
    let marked = beside(path, MARK);
    if size <= WHOLE_MAX || marked.exists() {
        check_pages(connection)?;
        forget(path)?;
        return Ok(());
    }
    for edge in EDGES {
        connection.prepare(edge)?.query_and_then([], |_| Ok::<_, rusqlite::Error>(()))?.try_for_each(|row| row)?;
    }
    Ok(())
}

/// Forgets that damage was met: the file was checked, or set aside.
pub(super) fn forget(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(beside(path, MARK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the file lacks may still be in the log: so the log is emptied before that counts as damage.
fn check_length(connection: &Connection, path: &Path, size: u64) -> Result<(), Failure> {
    if path.metadata()?.len() >= size {
        return Ok(());
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    if path.metadata()?.len() >= size { Ok(()) } else { Err(Failure::damaged(Damage)) }
}

/// SQLite's words for what is wrong are left out: they help nobody without the file.
fn check_pages(connection: &Connection) -> Result<(), Failure> {
    let first: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if first == "ok" { Ok(()) } else { Err(Failure::damaged(Damage)) }
}

/// Remembers damage that is met while the store is in use.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    met: AtomicBool,
    /// Rows of `entry` that lie on damaged pages: claims pass over them, so that they keep no other waiting.
    rows: Mutex<HashSet<i64>>,
}

impl Watch {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, met: AtomicBool::new(false), rows: Mutex::default() }
    }

    /// Looks at why something failed. The first damage is logged, and leaves a mark for the next start.
    pub(super) fn note(&self, failure: &Failure) {
        if !failure.is_damage() || self.met.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!(file = %self.path.display(), "queue.damaged: start again, so that the store is checked");
        let marked = private_file::open(&beside(&self.path, MARK), OpenOptions::new().write(true));
        if let Err(error) = marked {
            tracing::warn!(%error, "queue.damage_unmarked: the next start may not look at every page");
        }
    }

    /// Remembers a row that cannot be leased.
    pub(super) fn note_row(&self, number: i64) {
        let mut rows = self.rows.lock();
        if rows.len() < ROWS_MAX && rows.insert(number) {
            tracing::error!(entry.number = number, "an entry of the store cannot be read; it is not sent");
        }
    }

    /// Tells whether a row cannot be leased.
    pub(super) fn has_row(&self, number: i64) -> bool {
        self.rows.lock().contains(&number)
    }

    /// Counts the rows that cannot be leased.
    pub(super) fn rows(&self) -> usize {
        self.rows.lock().len()
    }

    /// Fails once damage was met.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.met.load(Ordering::Relaxed) { Err(Failure::damaged(DamageMet)) } else { Ok(()) }
    }
}
