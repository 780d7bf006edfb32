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

/// The work that waits.
#[derive(Default)]
pub(super) struct Patient {
    jobs: Mutex<Vec<Box<dyn Job>>>,
}

impl Patient {
    /// Lets work wait; tells whether there is enough of it.
    pub(super) fn push(&self, job: Box<dyn Job>) -> bool {
        let mut jobs = self.jobs.lock();
        jobs.push(job);
        jobs.len() >= ENOUGH
    }

    /// Takes out all of it.
    pub(super) fn take(&self) -> Vec<Box<dyn Job>> {
        std::mem::take(&mut self.jobs.lock())
    }
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").field("jobs", &self.jobs.lock().len()).finish()
    }
}
