//! The log, as the thread that writes keeps it.
//!
//! SQLite's own commit would wait for the disk (`synchronous = FULL`), whatever was done. So it commits to the log alone, and
//! the log is synced here, where something was done that must last; only then is anybody told so. What a later transaction
//! writes lies behind in the log, and each frame's checksum goes on from the one before, so nothing can count that came
//! after what is lost.
//!
//! Where a file grows with each write, each sync writes its length as well, in another place of the disk; that takes as long
//! again. So zeros are kept behind the last commit, a MiB at a time. SQLite reads the log up to the first frame whose
//! checksum is wrong, and that of zeros is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::failure::Failure;
use super::schema::PAGE_SIZE;

/// Bytes before the first page of a log, and before each page.
const HEADER: u64 = 32;
const PAGE_HEADER: u64 = 24;
/// By so much the log is lengthened.
const STEP: u64 = 1_024 * 1_024;
/// Where less of it is left: 256 KiB, more than most transactions take.
const LEFT_MIN: u64 = STEP / 4;

static ZEROS: [u8; 64 * 1_024] = [0; 64 * 1_024];

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    /// To sync it, and to lengthen it.
    file: File,
    failed: bool,
    /// Whether there was no room the last time it was to be lengthened.
    has_no_room: bool,
    /// Pages in it after the last commit, as SQLite tells.
    pages: Arc<AtomicU64>,
    /// It is copied into the database before it has more.
    pages_max: u64,
}

impl Log {
    /// The log of a connection, of which SQLite then copies nothing by itself.
    pub(super) fn of(file: File, connection: &mut Connection, pages_max: u64) -> Result<Self, Failure> {
        let pages = Arc::<AtomicU64>::default();
        let told = Arc::clone(&pages);
        connection.wal_hook(Some(move |_: &mut _, pages| {
            told.store(u64::try_from(pages).unwrap_or_default(), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { file, failed: false, has_no_room: false, pages, pages_max })
    }

    /// Returns how many pages were in it after the last commit.
    pub(super) fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }

    /// Puts all on the disk that was committed.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        self.sync_file().map_err(|error| {
            tracing::error!(%error, "queue.not_synced: the store's log could not be written to the disk");
            // Though there is no room: the entry is committed, and may turn up.
            Failure::unavailable(error)
        })
    }

    /// Tells whether it could not be synced. The system tells of a failure once, and forgets what it could not write: from
    /// then on nothing behind it counts until all is brought into the database.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Says that nothing of the log is needed any more.
    pub(super) fn forget_failure(&mut self) {
        self.failed = false;
    }

    /// Says that it was emptied: there may be room again.
    pub(super) fn emptied(&mut self) {
        self.pages.store(0, Ordering::Relaxed);
        self.has_no_room = false;
    }

    /// Tells whether little room is left behind the last commit, and there may be more.
    pub(super) fn is_short(&self) -> bool {
        !self.has_no_room && self.missing().is_ok_and(|missing| missing.is_some())
    }

    /// Puts zeros behind the last commit. To be called while nobody else can write to the log.
    pub(super) fn lengthen(&mut self) -> io::Result<()> {
        let Some((len, wanted)) = self.missing()? else { return Ok(()) };
        let lengthened = self.write_zeros(len, wanted);
        if lengthened.is_err() {
            self.has_no_room = true;
            // Others need what is left.
            self.file.set_len(len)?;
        }
        lengthened
    }

    /// Returns how long the log is and how long it should be, where it should be longer.
    fn missing(&self) -> io::Result<Option<(u64, u64)>> {
        let of_pages = |pages: u64| HEADER + pages * (PAGE_HEADER + PAGE_SIZE as u64);
        let len = self.file.metadata()?.len();
        let used = of_pages(self.pages());
        let wanted = (len + STEP).min(of_pages(self.pages_max));
        let is_short = len.saturating_sub(used) < LEFT_MIN && wanted > len;
        // Until something is in it, it has no header that tells whose it is.
        Ok((is_short && self.pages() > 0 && len >= used).then_some((len, wanted)))
    }

    fn write_zeros(&mut self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let most = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
            at += self.file.write_at(ZEROS.get(..most).unwrap_or(&ZEROS), at)? as u64;
        }
        self.sync_file()
    }

    fn sync_file(&mut self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|_| self.failed = true)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::path::Path;

    use super::super::connection::open_writer;
    use super::super::files::beside;
    use super::*;

    fn open(path: &Path, pages_max: u64) -> (Connection, Log) {
        File::create(path).expect("a file");
        let mut connection = open_writer(path).expect("it opens");
        connection.execute_batch("CREATE TABLE t (a)").expect("made");
        let file = OpenOptions::new().read(true).write(true).open(beside(path, "-wal")).expect("a log");
        let log = Log::of(file, &mut connection, pages_max).expect("it is watched");
        (connection, log)
    }

    #[test]
    fn a_log_that_cannot_be_synced_counts_no_more_until_it_is_emptied() {
        // A pipe has no disk.
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let file = File::from(std::os::fd::OwnedFd::from(reader));
        let mut connection = Connection::open_in_memory().expect("it opens");
        let mut log = Log::of(file, &mut connection, 1).expect("it is watched");
        assert!(!log.has_failed());
        assert!(log.sync().is_err() && log.has_failed());
        log.forget_failure();
        assert!(!log.has_failed());
    }

    #[test]
    fn room_is_kept_behind_the_last_commit_and_says_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let (connection, mut log) = open(&path, 1_000);
        let len = |log: &Log| log.file.metadata().expect("it is there").len();
        assert!(!log.is_short(), "for all it knows it is empty, and has no header");
        connection.execute_batch("CREATE TABLE u (a)").expect("made");
        assert!(log.is_short());
        log.lengthen().expect("lengthened");
        let lengthened = len(&log);
        assert!(lengthened > STEP && !log.is_short());
        for number in 0..50 {
            connection.execute("INSERT INTO t VALUES (?1)", [number]).expect("added");
        }
        assert_eq!(len(&log), lengthened, "what is added goes where room was kept");
        // What a kill leaves.
        let left = tempfile::tempdir().expect("a folder");
        for file in ["store.db", "store.db-wal"] {
            std::fs::copy(folder.path().join(file), left.path().join(file)).expect("copied");
        }
        let left = open_writer(&left.path().join("store.db")).expect("it opens");
        let count: i64 = left.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("counted");
        assert_eq!(count, 50);
    }

    #[test]
    fn room_is_kept_for_as_many_pages_as_the_log_may_have() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let (connection, mut log) = open(&path, 40);
        connection.execute_batch("CREATE TABLE u (a)").expect("made");
        log.lengthen().expect("lengthened");
        let most = HEADER + 40 * (PAGE_HEADER + PAGE_SIZE as u64);
        assert_eq!(log.file.metadata().expect("it is there").len(), most);
        assert!(!log.is_short());
    }
}
