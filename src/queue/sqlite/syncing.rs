//! Waiting until what is committed is on the disk.
//!
//! SQLite's own commit would wait for it (`synchronous = FULL`), and the thread that writes with it. So it commits to the
//! log alone, and the log is synced here: by the thread itself where nothing else waits, else by one of its own, while the
//! next transaction is made. Only then is anybody answered. What a later transaction writes lies behind in the log, and
//! each frame's checksum goes on from the one before, so nothing can count that came after what is lost.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::failure::Failure;
use super::job::Job;

/// Transactions that wait to be synced; with more, the thread that writes waits too.
const WAITING_MAX: usize = 8;

type Jobs = Vec<Box<dyn Job>>;

/// The thread that syncs.
pub(super) struct Syncing {
    log: Arc<Log>,
    batches: Option<SyncSender<Jobs>>,
    thread: Option<JoinHandle<()>>,
}

struct Log {
    file: File,
    /// Held while it is synced: of two at once only one would be told of a failure.
    turn: Mutex<()>,
    /// The system tells of a failure once, and forgets what it could not write: from then on nothing in the log counts
    /// until it is brought into the database.
    failed: AtomicBool,
}

impl Syncing {
    /// Starts the thread.
    pub(super) fn start(log: File) -> io::Result<Self> {
        let log = Arc::new(Log { file: log, turn: Mutex::new(()), failed: AtomicBool::new(false) });
        let (batches, waiting) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("store-syncer".to_owned()).spawn({
            let log = Arc::clone(&log);
            move || log.sync_all(&waiting)
        })?;
        Ok(Self { log, batches: Some(batches), thread: Some(thread) })
    }

    /// Syncs the log and answers what was committed to it.
    pub(super) fn sync(&self, jobs: Jobs) {
        self.log.sync(jobs);
    }

    /// Has that done by the thread.
    pub(super) fn hand_over(&self, jobs: Jobs) {
        if jobs.is_empty() {
            return;
        }
        let left = match &self.batches {
            Some(batches) => batches.send(jobs).err().map(|gone| gone.0),
            None => Some(jobs),
        };
        if let Some(jobs) = left {
            self.log.sync(jobs);
        }
    }

    /// Tells whether the log could not be synced: then its beginning may be missing on the disk.
    pub(super) fn has_failed(&self) -> bool {
        self.log.failed.load(Ordering::Acquire)
    }

    /// Says that nothing of the log is needed any more.
    pub(super) fn forget_failure(&self) {
        self.log.failed.store(false, Ordering::Release);
    }

    /// Returns once everything that was handed over is answered.
    pub(super) fn finish(&mut self) {
        self.batches.take();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that syncs the store's log had stopped before the store was closed");
        }
    }
}

impl Log {
    fn sync_all(&self, waiting: &Receiver<Jobs>) {
        while let Ok(mut jobs) = waiting.recv() {
            // One sync serves all that is committed by then.
            jobs.extend(waiting.try_iter().flatten());
            self.sync(jobs);
        }
    }

    fn sync(&self, jobs: Jobs) {
        if jobs.is_empty() {
            return;
        }
        let failure = self.sync_data().err();
        jobs.into_iter().for_each(|job| job.answer(failure.clone()));
    }

    fn sync_data(&self) -> Result<(), Failure> {
        let _turn = self.turn.lock();
        if let Err(error) = self.file.sync_data() {
            tracing::error!(%error, "queue.not_synced: the store's log could not be written to the disk");
            self.failed.store(true, Ordering::Release);
            return Err(error.into());
        }
        // What came before is not there, so this doesn't count either.
        if self.failed.load(Ordering::Acquire) { Err(Failure::unavailable(NotSynced)) } else { Ok(()) }
    }
}

/// What came before in the log is not on the disk, so nothing behind it is.
#[derive(Debug, thiserror::Error)]
#[error("the store's log could not be written to the disk")]
struct NotSynced;
