//! Waiting until what is committed is on the disk.
//!
//! SQLite's own commit would wait for it (`synchronous = FULL`), whatever was done. So it commits to the log alone, and the
//! log is synced here, where something was done that must last; only then is anybody told so. What a later transaction
//! writes lies behind in the log, and each frame's checksum goes on from the one before, so nothing can count that came
//! after what is lost.

use std::fs::File;

use super::failure::Failure;

/// The log as the thread that writes syncs it.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    failed: bool,
}

impl Log {
    pub(super) fn of(file: File) -> Self {
        Self { file, failed: false }
    }

    /// Puts all on the disk that was committed.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        self.file.sync_data().map_err(|error| {
            tracing::error!(%error, "queue.not_synced: the store's log could not be written to the disk");
            self.failed = true;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_synced_counts_no_more_until_it_is_emptied() {
        // A pipe has no disk.
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let mut log = Log::of(File::from(std::os::fd::OwnedFd::from(reader)));
        assert!(!log.has_failed());
        assert!(log.sync().is_err() && log.has_failed());
        log.forget_failure();
        assert!(!log.has_failed());
    }
}
