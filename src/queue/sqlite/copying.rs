//! Copying the log into the database, so that it begins anew before it is too long.
//!
//! SQLite would do so at the commit that makes it too long, while everybody waits. The thread that writes does it after it
//! has answered, and earlier where nobody waits.

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, MAIN_DB};

/// Pages after which a log is copied again that could not begin anew because somebody reads it.
const STEP: u64 = 256;

/// When the log is copied.
#[derive(Debug)]
pub(super) struct Copying {
    /// Pages the log may have before it must be copied.
    pages_max: u64,
    /// Pages in this log after the last commit: it only grows, so fewer are those of another.
    seen: u64,
    /// The same when it was last copied, or that was tried; zero before.
    tried_at: u64,
}

impl Copying {
    pub(super) fn new(pages_max: u64) -> Self {
        Self { pages_max, seen: 0, tried_at: 0 }
    }

    /// Copies the log where it is long; to be called after each commit.
    pub(super) fn tend(&mut self, connection: &Connection, pages: u64, nobody_waits: bool) {
        if pages < self.seen {
            self.tried_at = 0;
        }
        self.seen = pages;
        let is_time = match self.tried_at {
            0 => pages >= self.pages_max || pages >= self.pages_max / 2 && nobody_waits,
            tried_at => pages - tried_at >= STEP.min(self.pages_max),
        };
        if is_time {
            self.tried_at = pages;
            copy(connection);
        }
    }
}

/// Copies what nobody reads any more an older version of. Where that fails the log is longer, and all is in it.
fn copy(connection: &Connection) {
    match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
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
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::path::Path;

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
    }

    impl Written {
        fn new(path: &Path) -> Self {
            File::create(path).expect("a file");
            let mut connection = open_writer(path).expect("it opens");
            connection.execute_batch("CREATE TABLE t (a)").expect("made");
            let log = File::open(beside(path, "-wal")).expect("a log");
            let log = Log::of(log, &mut connection, PAGES_MAX).expect("it is watched");
            Self { connection, log, copying: Copying::new(PAGES_MAX) }
        }

        /// Writes for a while; returns the most pages that were in the log.
        fn write(&mut self, commits: i64, nobody_waits: bool) -> u64 {
            let mut most = 0;
            for number in 0..commits {
                self.connection.execute("INSERT INTO t VALUES (zeroblob(?1))", [4_000 + number]).expect("added");
                most = most.max(self.log.pages());
                self.copying.tend(&self.connection, self.log.pages(), nobody_waits);
            }
            most
        }
    }

    #[test]
    fn the_log_begins_anew_before_it_is_too_long_and_earlier_while_nobody_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut written = Written::new(&folder.path().join("store.db"));
        let most = written.write(300, false);
        assert!((PAGES_MAX..PAGES_MAX + A_COMMIT).contains(&most), "{most}");
        written.write(100, true);
        let most = written.write(300, true);
        assert!((PAGES_MAX / 2..PAGES_MAX / 2 + A_COMMIT).contains(&most), "{most}");
    }

    #[test]
    fn a_log_that_somebody_reads_is_copied_now_and_then_and_begins_anew_when_the_reader_is_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let mut written = Written::new(&path);
        let reader = open_reader(&path).expect("it opens");
        let reading = reader.unchecked_transaction().expect("begun");
        reading.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).expect("counted");
        let mut tries = BTreeSet::new();
        for _ in 0..200 {
            written.write(1, false);
            tries.insert(written.copying.tried_at);
        }
        assert!(written.log.pages() > 3 * PAGES_MAX);
        assert!((2..20).contains(&tries.len()), "not at each of 200 commits: {tries:?}");
        reading.finish().expect("ended");
        written.write(2 * PAGES_MAX.cast_signed(), false);
        assert!(written.log.pages() < PAGES_MAX + A_COMMIT, "{}", written.log.pages());
    }
}
