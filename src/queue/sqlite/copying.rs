//! Copying the log into the database.
//!
//! Most of it is done by a thread of its own while the one that writes goes on. The log begins anew only where all of it is
//! copied, so the thread that writes copies what came meanwhile: a short rest. Where the other one is late, all.
//!
//! # When the disk fails
//!
//! SQLite syncs the database only when all of the log is copied, but counts what was copied before as done. So where that sync
//! fails, the system may have dropped pages that the other thread wrote, and nobody copies them again: the log alone has
//! them. Then nothing more is written, copied or cut, and the log stays when the process ends. The next start copies all of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, MAIN_DB};

use super::connection::{keep_log_on_close, open_copier, truncate_log};
use super::failure::{Failure, NotCopied};

/// A log that was copied and does not begin anew, since somebody reads it, is copied again after so many pages.
const STEP: u64 = 256;

/// Sees to it that the log is copied before it is too long. Dropping it waits for what is under way.
#[derive(Debug)]
pub(super) struct Copying {
    pages_max: u64,
    /// Pages in this log after the last commit: it only grows, so fewer are those of another.
    seen: u64,
    /// The same when the thread that writes last copied it, or tried; zero before.
    tried_at: u64,
    /// Which log this is: one more each time it began anew.
    log: u64,
    /// Which log the other thread was asked to copy, and which it has.
    asked: u64,
    helped: Arc<AtomicU64>,
    /// Whether the other thread may have written pages that were not synced since.
    is_unsynced: bool,
    /// Whether such pages may be lost.
    is_doubtful: bool,
    /// Held by who copies: SQLite lets only one, and makes nobody wait.
    turn: Arc<Mutex<()>>,
    ask: Option<SyncSender<u64>>,
    thread: Option<JoinHandle<()>>,
}

impl Copying {
    /// Starts the thread that helps.
    pub(super) fn start(path: &Path, pages_max: u64) -> Result<Self, Failure> {
        let connection = open_copier(path)?;
        let helped = Arc::<AtomicU64>::default();
        let turn = Arc::<Mutex<()>>::default();
        let (ask, asked) = sync_channel(1);
        let helping = Helping { connection, asked, helped: Arc::clone(&helped), turn: Arc::clone(&turn) };
        let thread = std::thread::Builder::new().name("store-copier".to_owned()).spawn(|| helping.run())?;
        Ok(Self {
            pages_max,
            seen: 0,
            tried_at: 0,
            log: 1,
            asked: 0,
            helped,
            is_unsynced: false,
            is_doubtful: false,
            turn,
            ask: Some(ask),
            thread: Some(thread),
        })
    }

    /// Fails where nothing may be written any more.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.is_doubtful { Err(Failure::unavailable(NotCopied)) } else { Ok(()) }
    }

    /// Has the log copied where it is long; to be called after each commit.
    pub(super) fn tend(&mut self, connection: &Connection, pages: u64) {
        if self.is_doubtful {
            return;
        }
        if pages < self.seen {
            self.begin_anew();
        }
        self.seen = pages;
        if self.tried_at > 0 {
            if pages - self.tried_at >= STEP.min(self.pages_max) {
                self.copy(connection, pages);
            }
        } else if pages >= self.pages_max || self.has_helped() {
            self.copy(connection, pages);
        } else if pages >= self.pages_max / 2 && self.asked < self.log {
            self.asked = self.log;
            self.is_unsynced = true;
            self.ask.as_ref().map(|ask| ask.try_send(self.log));
        }
    }

    /// Copies the log and cuts it to nothing; true where somebody who reads it kept it from that.
    pub(super) fn empty(&mut self, connection: &mut Connection) -> Result<bool, Failure> {
        self.check()?;
        let turn = self.turn.lock();
        let emptied = truncate_log(connection);
        drop(turn);
        match &emptied {
            Ok(false) => {
                self.is_unsynced = false;
                self.begin_anew();
            }
            Ok(true) => {}
            Err(error) => self.failed(connection, error),
        }
        Ok(emptied?)
    }

    fn has_helped(&self) -> bool {
        self.helped.load(Ordering::Acquire) == self.log
    }

    fn begin_anew(&mut self) {
        self.seen = 0;
        self.tried_at = 0;
        self.log += 1;
    }

    fn copy(&mut self, connection: &Connection, pages: u64) {
        self.tried_at = pages;
        let turn = self.turn.lock();
        let copied = copy(connection);
        drop(turn);
        match copied {
            Ok(is_whole) => self.is_unsynced &= !is_whole,
            Err(error) => self.failed(connection, &error),
        }
    }

    fn failed(&mut self, connection: &Connection, error: &rusqlite::Error) {
        if self.is_unsynced && error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) {
            self.is_doubtful = true;
            keep_log_on_close(connection).ok();
            tracing::error!(%error, "queue.not_copied: {NotCopied}");
        } else {
            warn(error);
        }
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
    asked: Receiver<u64>,
    helped: Arc<AtomicU64>,
    turn: Arc<Mutex<()>>,
}

impl Helping {
    fn run(self) {
        while let Ok(log) = self.asked.recv() {
            let turn = self.turn.lock();
            // What fails here the other thread tries again, and says more.
            if let Err(error) = copy(&self.connection) {
                warn(&error);
            }
            drop(turn);
            self.helped.store(log, Ordering::Release);
        }
    }
}

/// Copies what nobody reads any more an older version of; true where that is all, which is synced then.
fn copy(connection: &Connection) -> rusqlite::Result<bool> {
    match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
        Ok((in_log, copied)) => Ok(in_log == copied),
        // Another process copies.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
        Err(error) => Err(error),
    }
}

fn warn(error: &rusqlite::Error) {
    tracing::warn!(%error, "queue.not_copied: the store's log could not be copied into the database, and grows");
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::connection::{open_reader, open_writer};
    use super::super::files::beside;
    use super::super::log::Log;
    use super::*;

    const PAGES_MAX: u64 = 64;
    /// Pages that one commit of these tests writes at most.
    const A_COMMIT: u64 = 8;

    /// A store that is written to as the thread that writes does it.
    struct Written {
        connection: Connection,
        log: Log,
        copying: Copying,
        rows: i64,
    }

    impl Written {
        fn new(path: &Path) -> Self {
            File::create(path).expect("a file");
            let mut connection = open_writer(path).expect("it opens");
            connection.execute_batch("CREATE TABLE t (a)").expect("made");
            let log = File::open(beside(path, "-wal")).expect("a log");
            let log = Log::of(log, &mut connection, PAGES_MAX).expect("it is watched");
            Self { connection, log, copying: Copying::start(path, PAGES_MAX).expect("it starts"), rows: 0 }
        }

        fn write(&mut self) -> u64 {
            self.rows += 1;
            self.connection.execute("INSERT INTO t VALUES (zeroblob(?1))", [4_000 + self.rows]).expect("added");
            self.log.pages()
        }

        fn tend(&mut self) {
            self.copying.tend(&self.connection, self.log.pages());
        }

        fn wait_for_help(&self) {
            while self.copying.asked == self.copying.log && !self.copying.has_helped() {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn the_log_begins_anew_before_it_is_too_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut written = Written::new(&folder.path().join("store.db"));
        let mut most = 0;
        for _ in 0..500 {
            most = most.max(written.write());
            written.tend();
        }
        assert!((PAGES_MAX / 2..=PAGES_MAX + A_COMMIT).contains(&most), "{most}");
    }

    #[test]
    fn the_other_thread_copies_what_is_there_when_half_of_the_log_is_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let mut written = Written::new(&path);
        let mut times = 0;
        for _ in 0..500 {
            let pages = written.write();
            written.tend();
            written.wait_for_help();
            if written.copying.has_helped() {
                times += 1;
                assert!((PAGES_MAX / 2..PAGES_MAX).contains(&pages), "{pages}");
                let told = |row: &rusqlite::Row<'_>| Ok((row.get(1)?, row.get(2)?));
                let (in_log, copied): (i64, i64) =
                    written.connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], told).expect("told");
                assert!(copied > 0 && copied == in_log, "{copied} of {in_log}");
            }
        }
        assert!(times > 5, "{times}");
        drop(written.copying);
        let count: i64 = written.connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("counted");
        let sound: String =
            written.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
        assert_eq!((count, sound.as_str()), (written.rows, "ok"));
    }

    #[test]
    fn a_log_that_somebody_reads_is_copied_now_and_then_and_begins_anew_when_he_is_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let mut written = Written::new(&path);
        let reader = open_reader(&path).expect("it opens");
        let reading = reader.unchecked_transaction().expect("begun");
        reading.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).expect("counted");
        let mut tries = std::collections::BTreeSet::new();
        for _ in 0..200 {
            written.write();
            written.tend();
            tries.insert(written.copying.tried_at);
        }
        assert!(written.log.pages() > 3 * PAGES_MAX);
        assert!(tries.len() < 20, "not at each of 200 commits: {tries:?}");
        reading.finish().expect("ended");
        for _ in 0..2 * PAGES_MAX {
            written.write();
            written.tend();
        }
        assert!(written.log.pages() < PAGES_MAX, "{}", written.log.pages());
    }

    #[test]
    fn after_a_failed_sync_of_what_the_other_thread_wrote_the_log_is_kept() {
        let io = || {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
            rusqlite::Error::SqliteFailure(code, None)
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let mut written = Written::new(&path);
        written.write();
        written.copying.failed(&written.connection, &io());
        assert!(written.copying.check().is_ok(), "all is copied again next time");
        while written.copying.asked < written.copying.log {
            written.write();
            written.tend();
        }
        written.wait_for_help();
        written.copying.failed(&written.connection, &io());
        assert!(written.copying.check().is_err() && written.copying.empty(&mut written.connection).is_err());
        let Written { connection, copying, .. } = written;
        drop(copying);
        drop(connection);
        let kept = beside(&path, "-wal").metadata().expect("the log is there").len();
        assert!(kept > 0, "it was neither cut nor removed");
    }
}
