//! Removing entries, and what is left of them in the log.
//!
//! An erasure empties the log at once. What expired, and what was made of an entry before it was made again, waits a little for
//! that, so that appends don't wait for it again and again.

use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::failure::Failure;
use super::{SqliteStore, aside, change};
use crate::lead::EntryId;
use crate::queue::StoreError;

/// Entries erased in one transaction.
const ERASED_TOGETHER: usize = 256;

/// How long after the log was emptied it is left alone.
const SPARED: Duration = Duration::from_secs(60);

impl SqliteStore {
    pub(super) async fn erase_all(&self, ids: &[EntryId]) -> Result<usize, StoreError> {
        let mut erased = 0;
        let mut unfound = 0;
        for ids in ids.chunks(ERASED_TOGETHER).map(<[EntryId]>::to_vec) {
            let removed = self.writer.write_and_truncate(move |workspace| change::erase(workspace, &ids)).await?;
            erased += removed.entries;
            unfound += removed.unfound;
        }
        let aside = aside::all(&self.path).map_err(Failure::from)?.into_iter().next();
        match aside.or_else(|| (unfound > 0).then(|| self.path.clone())) {
            Some(file) => Err(StoreError::Remains { erased, places: vec![file.display().to_string()] }),
            None => Ok(erased),
        }
    }

    pub(super) async fn expire_some(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let expired = self.writer.write_always(move |workspace| change::expire(workspace, now, limit)).await?;
        if expired > 0 {
            self.lingering.note();
        }
        if self.lingering.take(now) && self.writer.write_and_truncate(|_| Ok(())).await.is_err() {
            // Somebody reads the log.
            self.lingering.note();
        }
        Ok(expired)
    }
}

/// Whether there is any of that, and when the log was last emptied of it.
#[derive(Debug, Default)]
pub(super) struct Lingering(Mutex<(bool, Option<Timestamp>)>);

impl Lingering {
    /// Says that there are.
    pub(super) fn note(&self) {
        self.0.lock().0 = true;
    }

    /// Tells whether the log should be emptied now; then nothing is left once that is done.
    pub(super) fn take(&self, now: Timestamp) -> bool {
        let (are_there, emptied_at) = &mut *self.0.lock();
        let is_due = *are_there && emptied_at.is_none_or(|last| now.duration_since(last).unsigned_abs() >= SPARED);
        if is_due {
            *are_there = false;
            *emptied_at = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_emptied_at_once_and_then_once_a_minute() {
        let at = |seconds| Timestamp::from_second(seconds).expect("in range");
        let lingering = Lingering::default();
        assert!(!lingering.take(at(0)));
        lingering.note();
        assert!(lingering.take(at(1)) && !lingering.take(at(2)));
        lingering.note();
        assert!(!lingering.take(at(60)) && lingering.take(at(61)) && !lingering.take(at(200)));
    }
}
