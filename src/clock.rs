//! The time, handed in: who waits for it asks one clock, which tests set by hand. A leaf, shared by the sender and the
//! notifier.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that tells what a function tells.
    pub fn by(tell: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Default for Clock {
    /// The system's clock.
    fn default() -> Self {
        Self::by(Timestamp::now)
    }
}

/// Adds a wait to a time; at the end of time it stays there.
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Returns how long it is until a time; none where it has come.
///
/// One further off than `longest` was set by a clock that has been put back since: it has come too, or a lead would
/// wait for what nobody asked for.
pub(crate) fn until(at: Timestamp, now: Timestamp, longest: Duration) -> Option<Duration> {
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    (!wait.is_zero() && wait <= longest).then_some(wait)
}
