//! Copying the log into the database.
//!
//! Most of it is done by a thread of its own while the one that writes goes on. The log begins anew only where all of it is
//! copied, so the thread that writes copies what came meanwhile: a short rest. Where the other one is late, all.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, ErrorCode, MAIN_DB};

use super::connection::open_copier;
use super::failure::Failure;

/// Sees to it that the log is copied before it is too long. Dropping it waits for what is under way.
#[derive(Debug)]
pub(super) struct Copying {
    pages_max: u64,
    /// Pages in the log when all of it was last copied, or that was tried, and nobody began it anew since.
    copied: u64,
    is_asked: bool,
    has_helped: Arc<AtomicBool>,
    /// Held by who copies: SQLite lets only one, and makes nobody wait.
    turn: Arc<Mutex<()>>,
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Copying {
    /// Starts the thread that helps.
    pub(super) fn start(path: &Path, pages_max: u64) -> Result<Self, Failure> {
        let connection = open_copier(path)?;
        let (has_helped, turn) = (Arc::<AtomicBool>::default(), Arc::<Mutex<()>>::default());
        let (ask, asked) = sync_channel(1);
        let helping = Helping { connection, asked, has_helped: Arc::clone(&has_helped), turn: Arc::clone(&turn) };
        let thread = std::thread::Builder::new().name("store-copier".to_owned()).spawn(|| helping.run())?;
        Ok(Self { pages_max, copied: 0, is_asked: false, has_helped, turn, ask: Some(ask), thread: Some(thread) })
    }

    /// Keeps the other thread from copying.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// Has the log copied where it is long; to be called after each commit.
    pub(super) fn tend(&mut self, connection: &Connection, pages: u64) {
        if pages < self.copied {
            self.copied = 0;
        }
        let not_copied = pages - self.copied;
        if not_copied < self.pages_max / 2 {
            return;
        }
        if not_copied < self.pages_max && !self.has_helped.load(Ordering::Acquire) {
            if !std::mem::replace(&mut self.is_asked, true) {
                self.ask.as_ref().map(|ask| ask.try_send(()));
            }
            return;
        }
        let turn = self.turn.lock();
        copy(connection);
        drop(turn);
        self.has_helped.store(false, Ordering::Release);
        self.is_asked = false;
        self.copied = pages;
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.ask.take();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that copies the store's log had stopped before the store was closed");
        }
    }
}

/// The thread's end.
struct Helping {
    connection: Connection,
    asked: Receiver<()>,
    has_helped: Arc<AtomicBool>,
    turn: Arc<Mutex<()>>,
}

impl Helping {
    fn run(self) {
        while self.asked.recv().is_ok() {
            let turn = self.turn.lock();
            copy(&self.connection);
            self.has_helped.store(true, Ordering::Release);
            drop(turn);
        }
    }
}

/// Copies what nobody reads any more an older version of. Where that fails the log is longer, and all is in it.
fn copy(connection: &Connection) {
    match connection.wal_checkpoint_v2(Some(MAIN_DB), rusqlite::wal::CheckpointMode::PASSIVE) {
        Ok(_) => {}
        // Another process copies.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
        Err(error) => {
            tracing::warn!(%error, "queue.not_copied: the store's log could not be copied into the database, and grows");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::connection::open_writer;
    use super::super::files::beside;
    use super::super::log::Log;
    use super::*;

    const PAGES_MAX: u64 = 64;
    /// Pages that one commit of these tests writes at most.
    const A_COMMIT: u64 = 8;

    /// Writes for a while, as the thread that writes does; returns the most pages that were in the log.
    fn write(path: &Path, commits: i64) -> u64 {
        File::create(path).expect("a file");
        let mut connection = open_writer(path).expect("it opens");
        connection.execute_batch("CREATE TABLE t (a)").expect("made");
        let log = File::open(beside(path, "-wal")).expect("a log");
        let log = Log::of(log, &mut connection, PAGES_MAX).expect("it is watched");
        let mut copying = Copying::start(path, PAGES_MAX).expect("it starts");
        let mut most = 0;
        for number in 0..commits {
            connection.execute("INSERT INTO t VALUES (zeroblob(?1))", [4_000 + number]).expect("added");
            most = most.max(log.pages());
            copying.tend(&connection, log.pages());
        }
        most
    }

    #[test]
    fn the_log_begins_anew_before_it_is_too_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let most = write(&folder.path().join("store.db"), 500);
        assert!((PAGES_MAX / 2..=PAGES_MAX + A_COMMIT).contains(&most), "{most}");
    }

    #[test]
    fn all_that_was_written_is_there_when_it_was_copied_by_two() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        write(&path, 500);
        let connection = open_writer(&path).expect("it opens");
        let count: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("counted");
        let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
        assert_eq!((count, sound.as_str()), (500, "ok"));
    }

    #[test]
    fn a_log_that_is_kept_from_beginning_anew_is_not_copied_again_at_every_commit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        File::create(&path).expect("a file");
        let connection = open_writer(&path).expect("it opens");
        let mut copying = Copying::start(&path, PAGES_MAX).expect("it starts");
        copying.tend(&connection, PAGES_MAX);
        assert_eq!(copying.copied, PAGES_MAX);
        copying.tend(&connection, PAGES_MAX + 1);
        assert_eq!(copying.copied, PAGES_MAX, "a page more is not worth it");
        copying.tend(&connection, 2 * PAGES_MAX);
        assert_eq!(copying.copied, 2 * PAGES_MAX);
        copying.tend(&connection, 3);
        assert_eq!(copying.copied, 0, "it began anew");
    }
}
