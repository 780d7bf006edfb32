//! What the sender holds back, and why: published by the sender, read by whoever shows leads.
//!
//! A lead that waits is often never claimed, so its entry can't say why it waits. This can, for all of them at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::Partitions;
use crate::lead::SiteId;

/// How sending stands right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendingStatus {
    /// What this gateway sends for; of other sites it knows nothing.
    pub partitions: Partitions,
    /// Attempts under way.
    pub in_flight: usize,
    /// KaiCalls fails for every site: nothing is sent but one probe a minute.
    pub upstream: Option<Holdup>,
    /// Sites whose leads keep failing: each is probed once a minute.
    pub failing_sites: BTreeMap<SiteId, Holdup>,
    /// Of these, those whose last attempt speaks against KaiCalls itself: no connection, no answer in time, a 5xx.
    pub unreachable_sites: BTreeSet<SiteId>,
    /// Sites with keys that KaiCalls refuses: each pair of keys is probed every five minutes.
    pub paused_sites: BTreeMap<SiteId, Vec<PausedKeys>>,
    /// Sites that send as fast as `[limits].site` allows, and when a lead that came now would go.
    pub rate_limited_sites: BTreeMap<SiteId, Timestamp>,
    /// Set while `[kaicalls].rate` is used up: when the next lead of any site may go.
    pub rate_limited: Option<Timestamp>,
}

impl Default for SendingStatus {
    /// Nothing is held back.
    fn default() -> Self {
        Self {
            partitions: Partitions::ALL,
            in_flight: 0,
            upstream: None,
            failing_sites: BTreeMap::new(),
            unreachable_sites: BTreeSet::new(),
            paused_sites: BTreeMap::new(),
            rate_limited_sites: BTreeMap::new(),
            rate_limited: None,
        }
    }
}

/// Why leads wait, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdup {
    pub since: Timestamp,
    /// How the last attempt failed, such as `503` or `connection refused`; no value of a lead is in it.
    pub why: String,
    /// When one lead is tried next. It may have passed: the probe is then waiting for its turn, or under way.
    pub next_probe: Timestamp,
}

/// One pair of keys that KaiCalls refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedKeys {
    /// A form with keys of its own isn't held back by its site's.
    pub public_key: String,
    pub holdup: Holdup,
}

/// With which pairs of keys leads are under way, from the decision to send one until its end is written down. A pair that
/// has left the configuration may be revoked once it is not among them. Clones share it.
#[derive(Clone, Default)]
pub struct KeysUnderWay(Arc<Mutex<HashMap<SiteAndKey, usize>>>);

/// A site, and the public key of a pair of it.
type SiteAndKey = (SiteId, String);

/// One lead under way, until it is dropped.
pub struct KeyUnderWay {
    of: KeysUnderWay,
    key: SiteAndKey,
}

impl KeysUnderWay {
    /// Counts a lead that is sent with a pair.
    pub fn begin(&self, site: &SiteId, public_key: &str) -> KeyUnderWay {
        let key = (site.clone(), public_key.to_owned());
        *self.0.lock().entry(key.clone()).or_default() += 1;
        KeyUnderWay { of: self.clone(), key }
    }

    /// Returns the public keys of a site's pairs that are under way, each with its number of leads.
    pub fn of_site(&self, site: &SiteId) -> BTreeMap<String, usize> {
        let counted = self.0.lock();
        counted.iter().filter(|((of, _), _)| of == site).map(|((_, key), count)| (key.clone(), *count)).collect()
    }
}

impl Drop for KeyUnderWay {
    fn drop(&mut self) {
        let mut counted = self.of.0.lock();
        if let Some(count) = counted.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counted.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_under_way_until_its_last_lead_has_ended() {
        let under_way = KeysUnderWay::default();
        let site = SiteId::parse("acme").expect("an id");
        let first = under_way.begin(&site, "wp_pk_a");
        let second = under_way.begin(&site, "wp_pk_a");
        let other = under_way.begin(&SiteId::parse("other").expect("an id"), "wp_pk_a");
        assert_eq!(under_way.of_site(&site), BTreeMap::from([("wp_pk_a".to_owned(), 2)]));
        drop((first, other));
        assert_eq!(under_way.of_site(&site).len(), 1);
        drop(second);
        assert!(under_way.of_site(&site).is_empty());
    }
}
