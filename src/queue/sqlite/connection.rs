//! Connections: how each is set up, and the few that read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::check::Watch;
use super::failure::{Closed, Failure, NoLog};
use super::schema::PAGE_SIZE;
use crate::queue::StoreError;

/// How long a connection waits for another process' transaction.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read at once.
const READERS_MAX: usize = 4;
/// Statements kept prepared on a connection; there are fewer.
const STATEMENTS_MAX: usize = 64;
/// Pages in the log before they are copied into the database: 16 MiB.
const CHECKPOINT_PAGES: u32 = 4_096;
/// The log is cut to this after it grew beyond it.
const LOG_BYTES_MAX: u32 = 64 * 1_024 * 1_024;
/// Cache of the writer, in KiB.
const CACHE_KIB: i32 = 16_384;

/// Opens the connection that writes.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Failure> {
    let connection = open(path)?;
    connection.pragma_update(None, "page_size", PAGE_SIZE as u32)?;
    // Deleted bytes are overwritten with zeros.
    connection.pragma_update(None, "secure_delete", true)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Failure::unavailable(NoLog));
    }
    // Each commit is on the disk when it returns; on macOS that takes F_FULLFSYNC.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<Connection, Failure> {
    let connection = open(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // No personal data in temporary files.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Connections that only read, so that reading never waits for the writer nor keeps it waiting.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    damage: Arc<Watch>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, damage: Arc<Watch>) -> Self {
        Self { path, idle: Mutex::default(), permits: Arc::new(Semaphore::new(READERS_MAX)), damage }
    }

    /// Reads on a thread for blocking work, in one snapshot.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_closed| Failure::unavailable(Closed))?;
        let readers = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let value = readers.read_blocking(work).inspect_err(|failure| readers.damage.note(failure));
            // Held until here, even if the caller goes away.
            drop(permit);
            value
        });
        Ok(read.await.map_err(Failure::unavailable)??)
    }

    fn read_blocking<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.idle.lock().pop();
        let connection = idle.map_or_else(|| open_reader(&self.path), Ok)?;
        let snapshot = connection.unchecked_transaction()?;
        let value = work(&connection)?;
        snapshot.finish()?;
        let mut idle = self.idle.lock();
        if idle.len() < READERS_MAX {
            idle.push(connection);
        }
        Ok(value)
    }
}
