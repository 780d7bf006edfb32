//! Connections: how each is set up, and the few that read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::check::Watch;
use super::failure::{Closed, Failure, NoLog};
use super::reserve::Reserve;
use super::schema::PAGE_SIZE;
use crate::queue::StoreError;
use crate::telemetry;

/// How often a connection looks whether another process' transaction has ended. SQLite's own wait grows to 100 ms, so
/// that who waits would miss nearly every gap between the transactions of who is busy.
const BUSY_STEP: Duration = Duration::from_millis(1);
/// How long it does so.
const BUSY_STEPS_MAX: i32 = 5_000;
/// How long the log's emptying waits for readers: appends wait with it.
const TRUNCATE_STEPS_MAX: i32 = 1_000;
/// Connections that read at once.
const READERS_MAX: usize = 4;
/// Statements kept prepared on a connection; there are fewer.
const STATEMENTS_MAX: usize = 128;
/// Most pages in the log before they are copied into the database: 16 MiB.
const LOG_PAGES_MAX: u64 = 4_096;
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
    // The log is synced by ourselves before anybody is answered (see `log`), and by SQLite before it is copied into the
    // database. On macOS that takes F_FULLFSYNC.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", log_pages(&Reserve::of(path)).cast_signed())?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(connection)
}

/// Returns how many pages the log may have before it is copied into the database.
pub(super) fn log_pages(reserve: &Reserve) -> u64 {
    LOG_PAGES_MAX.min(reserve.log_pages())
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Failure> {
    let connection = open(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // One plan for all values; else a statement is compiled again whenever a bound that it compares with changes.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // No personal data in temporary files.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Copies the log into the database and cuts it to nothing; true where somebody who reads it kept it from that.
pub(super) fn truncate_log(connection: &mut Connection) -> Result<bool, Failure> {
    connection.busy_handler(Some(wait_shortly))?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    connection.busy_handler(Some(wait))?;
    Ok(busy?)
}

fn wait(steps: i32) -> bool {
    wait_a_step(steps, BUSY_STEPS_MAX)
}

fn wait_shortly(steps: i32) -> bool {
    wait_a_step(steps, TRUNCATE_STEPS_MAX)
}

/// Tells whether to look again.
#[expect(clippy::disallowed_methods, reason = "SQLite asks on a thread that may block, and has no event for it")]
fn wait_a_step(steps: i32, steps_max: i32) -> bool {
    std::thread::sleep(BUSY_STEP);
    steps < steps_max
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
        let read = telemetry::blocking(move || {
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
