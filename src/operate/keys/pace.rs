//! How fast KaiCalls is asked about keys: so many at once, and nobody before the time that it asked for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::judge::Later;

/// Most requests of one question that came to nothing, before it is given up.
const FAILED_MAX: u32 = 8;
/// Most that were answered 429.
const LIMITED_MAX: u32 = 60;
/// The first wait after a failure; it doubles.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait that nobody asked for.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest wait that is waited for.
const ASKED_MAX: Duration = Duration::from_secs(15 * 60);

/// The pace of all who ask. Clones share it.
#[derive(Clone)]
pub struct Pace {
    at_once: Arc<Semaphore>,
    not_before: Arc<Mutex<Instant>>,
    /// What time it is: for dates that KaiCalls names, and for when it was asked.
    clock: fn() -> Timestamp,
}

impl Pace {
    /// Lets so many ask at once.
    pub fn new(at_once: usize, clock: fn() -> Timestamp) -> Self {
        let at_once = Arc::new(Semaphore::new(at_once.max(1)));
        Self { at_once, not_before: Arc::new(Mutex::new(Instant::now())), clock }
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Waits for a turn; it ends when it is dropped. Where KaiCalls asked to be left alone for longer than a command should
    /// take, there is none.
    pub(super) async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>, LeftAlone> {
        // The semaphore is never closed.
        let turn = Arc::clone(&self.at_once).acquire_owned().await.ok();
        loop {
            let not_before = *self.not_before.lock();
            let wait = not_before.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Ok(turn);
            }
            if wait > ASKED_MAX {
                return Err(LeftAlone { seconds: wait.as_secs() });
            }
            tokio::time::sleep_until(not_before).await;
        }
    }

    /// Tells whether everybody waits, and until when.
    pub fn waits_until(&self) -> Option<Instant> {
        let not_before = *self.not_before.lock();
        (not_before > Instant::now()).then_some(not_before)
    }

    fn hold_off(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut not_before = self.not_before.lock();
        *not_before = until.max(*not_before);
    }
}

/// KaiCalls must not be asked for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it asks to be left alone for another {seconds} s")]
pub(super) struct LeftAlone {
    pub(super) seconds: u64,
}

/// How often one question came to nothing.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: u32,
    limited: u32,
}

impl Tries {
    /// Returns how long to wait before the next try; none where there have been enough. What KaiCalls asked for holds for
    /// everybody.
    pub(super) fn next(&mut self, later: &Later, pace: &Pace) -> Option<Duration> {
        let (count, max) = match later.is_rate_limited {
            true => (&mut self.limited, LIMITED_MAX),
            false => (&mut self.failed, FAILED_MAX),
        };
        *count += 1;
        if let Some(wait) = later.wait {
            pace.hold_off(wait);
        }
        if *count >= max || later.wait.is_some_and(|wait| wait > ASKED_MAX) {
            return None;
        }
        let longest = FIRST.saturating_mul(1 << (*count - 1).min(16)).min(LONGEST);
        // From half of it on: who failed together don't come back together, and nobody comes back at once.
        Some(longest.mul_f64(rand::random_range(0.5..=1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(wait: Option<u64>, is_rate_limited: bool) -> Later {
        let wait = wait.map(Duration::from_secs);
        Later { wait, is_rate_limited, why: String::new(), may_have_happened: false }
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_waits_for_what_one_was_told() {
        let pace = Pace::new(4, || Timestamp::UNIX_EPOCH);
        let begun = Instant::now();
        assert!(pace.turn().await.is_ok());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let wait = Tries::default().next(&later(Some(20), true), &pace).expect("another try");
        assert!(wait < Duration::from_secs(1));
        assert!(pace.clone().turn().await.is_ok());
        assert_eq!(begun.elapsed().as_secs(), 20);
        // Nobody asks before an hour is over, and nobody waits for so long.
        assert_eq!(Tries::default().next(&later(Some(3_600), true), &pace), None);
        assert_eq!(pace.turn().await.err(), Some(LeftAlone { seconds: 3_600 }));
        assert_eq!(begun.elapsed().as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_grows_and_ends() {
        let pace = Pace::new(1, || Timestamp::UNIX_EPOCH);
        let mut tries = Tries::default();
        let waits: Vec<_> = std::iter::from_fn(|| tries.next(&later(None, false), &pace)).collect();
        assert_eq!(waits.len(), 7);
        assert!(waits.iter().all(|wait| *wait >= FIRST / 2 && *wait <= LONGEST), "{waits:?}");
        assert!(waits.last() > waits.first());
        assert!(pace.waits_until().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_ask_at_once() {
        let pace = Pace::new(2, || Timestamp::UNIX_EPOCH);
        let first = pace.turn().await;
        let second = pace.turn().await;
        let third = tokio::time::timeout(Duration::from_secs(1), pace.turn()).await;
        assert!(third.is_err());
        drop(first);
        assert!(tokio::time::timeout(Duration::from_secs(1), pace.turn()).await.is_ok());
        drop(second);
    }
}
