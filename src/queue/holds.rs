//! Which of the gateways that share a store does what only one may do at a time.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use super::key::Key;
use super::standing::{CLOCK_TOLERANCE, later};

/// Most names that are held at once.
pub const HOLDS_MAX: usize = 20_000;

/// Who holds a name, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) holder: Key,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

impl Hold {
    /// A hold that begins now.
    pub(super) fn begin(holder: Key, ttl: Duration, now: Timestamp) -> Self {
        Self { holder, since: now, until: later(now, ttl) }
    }

    /// Takes or renews it for a holder; tells whether that is the one who holds it now.
    pub(super) fn ask(&mut self, holder: &Key, ttl: Duration, now: Timestamp) -> bool {
        if self.holder == *holder || self.until <= now {
            *self = Self::begin(holder.clone(), ttl, now);
            return true;
        }
        // The clock went back: it must not be held for as long as that.
        if self.since > later(now, CLOCK_TOLERANCE) {
            let ttl = Duration::try_from(self.until.duration_since(self.since)).unwrap_or_default();
            *self = Self::begin(self.holder.clone(), ttl, now);
        }
        false
    }
}

/// The part of a store that says who does what only one may do.
#[async_trait]
pub trait Holds: Send + Sync + 'static {
    /// Takes a name for `ttl`, or renews it; false while another holds it, or where [`HOLDS_MAX`] names are held.
    ///
    /// Whoever renews too late may find that another took it meanwhile, and must stop by its own clock when `ttl` is over.
    /// It may end early: by a power cut, or where the store knows that its holder is dead.
    async fn hold(&self, name: &Key, holder: &Key, ttl: Duration, now: Timestamp) -> Result<bool, StoreError>;

    /// Gives a name back; tells whether this holder had it.
    async fn release(&self, name: &Key, holder: &Key) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_went_back_keeps_nobody_waiting_for_longer_than_the_hold() {
        let [one, two] = ["one", "two"].map(|name| Key::parse(name).expect("a key"));
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let ttl = Duration::from_secs(10);
        let mut hold = Hold::begin(one.clone(), ttl, at(9_000));
        assert!(!hold.ask(&two, ttl, at(1_000)));
        assert_eq!(hold, Hold { holder: one, since: at(1_000), until: at(1_010) });
        assert!(!hold.ask(&two, ttl, at(1_009)));
        assert!(hold.ask(&two, ttl, at(1_010)));
        assert_eq!(hold.holder, two);
    }
}
