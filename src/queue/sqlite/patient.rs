//! Work that nobody waits for in a hurry: it goes into the next transaction that somebody does wait for, or makes one of its
//! own once there is enough of it, or it has waited long enough. So settlements cost no sync each.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;

use super::job::Job;

/// How long it may wait.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);
/// So much makes a transaction of its own.
const ENOUGH: usize = 32;
/// So much may wait.
const WAITING_MAX: usize = 1_024;

/// The work that waits.
#[derive(Default)]
pub(super) struct Patient {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Box<dyn Job>>,
    is_closed: bool,
}

impl Patient {
    /// Lets work wait; tells whether there is enough of it. Gives it back where too much waits, or nobody will do it.
    pub(super) fn push(&self, job: Box<dyn Job>) -> Result<bool, Box<dyn Job>> {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed || waiting.jobs.len() >= WAITING_MAX {
            return Err(job);
        }
        waiting.jobs.push(job);
        Ok(waiting.jobs.len() >= ENOUGH)
    }

    /// Takes out all of it.
    pub(super) fn take(&self) -> Vec<Box<dyn Job>> {
        std::mem::take(&mut self.waiting.lock().jobs)
    }

    /// Drops what waits, and takes nothing more: whoever waits for it is told so.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        waiting.jobs.clear();
    }
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").field("jobs", &self.waiting.lock().jobs.len()).finish()
    }
}
