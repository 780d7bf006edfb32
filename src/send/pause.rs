//! Sites whose keys are refused: their leads stay queued, and one of them is tried now and then.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::destination::KeyPair;
use crate::lead::SiteId;

/// How long after a refusal one lead is tried again.
pub const PROBE_AFTER: Duration = Duration::from_secs(5 * 60);

/// The sites that are paused, by site and keys: a site with new keys is not.
#[derive(Default)]
pub struct Pauses {
    paused: Mutex<HashMap<SiteId, Pause>>,
}

struct Pause {
    keys: KeyPair,
    probe_at: Timestamp,
}

/// Whether a lead of a site may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Send,
    /// Not now; ask again after the wait.
    Wait(Duration),
}

impl Pauses {
    /// Pauses a site whose keys were refused.
    pub fn pause(&self, site: &SiteId, keys: &KeyPair, now: Timestamp) {
        let pause = Pause { keys: keys.clone(), probe_at: later(now, PROBE_AFTER) };
        self.paused.lock().insert(site.clone(), pause);
    }

    /// Resumes a site whose keys were taken.
    pub fn resume(&self, site: &SiteId) {
        self.paused.lock().remove(site);
    }

    /// Tells whether a lead may be sent; of a paused site one may when the time of the probe has come.
    pub fn turn(&self, site: &SiteId, keys: &KeyPair, now: Timestamp) -> Turn {
        let mut paused = self.paused.lock();
        let Some(pause) = paused.get_mut(site) else { return Turn::Send };
        if pause.keys != *keys {
            paused.remove(site);
            return Turn::Send;
        }
        let wait = Duration::try_from(pause.probe_at.duration_since(now)).unwrap_or_default();
        // A probe further off than it can have been set is a clock set back.
        if wait.is_zero() || wait > PROBE_AFTER {
            pause.probe_at = later(now, PROBE_AFTER);
            return Turn::Send;
        }
        Turn::Wait(wait)
    }

    /// How many sites are paused.
    pub fn len(&self) -> usize {
        self.paused.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Secret;

    fn keys(secret: &str) -> KeyPair {
        KeyPair::new("wp_pk_a", &Secret::new(format!("wp_sk_{secret}"))).expect("keys")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[test]
    fn a_paused_site_gets_one_probe_at_a_time() {
        let (pauses, site) = (Pauses::default(), SiteId::parse("acme").expect("a site"));
        assert_eq!(pauses.turn(&site, &keys("1"), at(0)), Turn::Send);
        pauses.pause(&site, &keys("1"), at(0));
        assert_eq!(pauses.turn(&site, &keys("1"), at(100)), Turn::Wait(Duration::from_secs(200)));
        assert_eq!(pauses.turn(&site, &keys("1"), at(300)), Turn::Send);
        assert_eq!(pauses.turn(&site, &keys("1"), at(301)), Turn::Wait(Duration::from_secs(299)));
        pauses.resume(&site);
        assert_eq!(pauses.turn(&site, &keys("1"), at(302)), Turn::Send);
    }

    #[test]
    fn new_keys_resume_at_once_and_a_clock_set_back_strands_nobody() {
        let (pauses, site) = (Pauses::default(), SiteId::parse("acme").expect("a site"));
        pauses.pause(&site, &keys("1"), at(100_000));
        assert_eq!(pauses.turn(&site, &keys("1"), at(0)), Turn::Send);
        assert_eq!(pauses.turn(&site, &keys("2"), at(1)), Turn::Send);
        assert!(pauses.is_empty());
    }
}
