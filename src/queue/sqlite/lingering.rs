//! Bytes of what was removed that are left in the log: of what expired, and of what was made of an entry before it was made
//! again. An erasure empties the log at once; these wait a little, so that appends don't wait for it again and again.

use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

/// How long after the log was emptied it is left alone.
const SPARED: Duration = Duration::from_secs(60);

/// Whether there are any, and when the log was last emptied of them.
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
            (*are_there, *emptied_at) = (false, Some(now));
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
