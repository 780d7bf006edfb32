//! Keys that are refused: their site's leads stay queued, and one of them is tried now and then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::clock::{later, until};
use crate::config::Config;
use crate::destination::KeyPair;
use crate::lead::SiteId;
use crate::queue::{Holdup, PausedKeys};

/// How long after a refusal one lead is tried again.
pub(in crate::send) const PROBE_AFTER: Duration = Duration::from_secs(5 * 60);

/// The pairs of keys that are refused, by site and public key: a branch's keys pause only its own leads.
#[derive(Default)]
pub(super) struct Pauses {
    paused: Mutex<HashMap<(SiteId, String), Pause>>,
}

struct Pause {
    keys: KeyPair,
    holdup: Holdup,
}

/// What a new configuration means for the sites that were paused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::send) struct Resumed {
    /// They have other keys now: all their leads may be sent.
    pub(in crate::send) changed: BTreeSet<SiteId>,
    /// They have the same keys: one lead may be tried at once.
    pub(in crate::send) probed: BTreeSet<SiteId>,
}

impl Pauses {
    /// Pauses keys that were refused, and in which words; tells whether they were not paused before.
    pub(super) fn pause(&self, site: &SiteId, keys: &KeyPair, why: &str, now: Timestamp) -> bool {
        let mut paused = self.paused.lock();
        let before = paused.get(&name(site, keys)).filter(|before| before.keys == *keys);
        let since = before.map(|before| before.holdup.since);
        let holdup = Holdup { since: since.unwrap_or(now), why: why.to_owned(), next_probe: later(now, PROBE_AFTER) };
        paused.insert(name(site, keys), Pause { keys: keys.clone(), holdup });
        since.is_none()
    }

    /// Resumes keys that were taken; tells whether they were paused.
    pub(super) fn resume(&self, site: &SiteId, keys: &KeyPair) -> bool {
        self.paused.lock().remove(&name(site, keys)).is_some()
    }

    /// Returns how long a lead has to wait; none where it may be sent, or may be the probe.
    pub(super) fn wait(&self, site: &SiteId, keys: &KeyPair, now: Timestamp) -> Option<Duration> {
        let paused = self.paused.lock();
        let pause = paused.get(&name(site, keys)).filter(|pause| pause.keys == *keys)?;
        until(pause.holdup.next_probe, now, PROBE_AFTER)
    }

    /// Returns how many leads of each paused site may be sent: none, or the probe. A site with several pairs of keys is
    /// not named: some of its leads may go.
    pub(super) fn quotas(&self, config: &Config, now: Timestamp) -> Vec<(SiteId, usize)> {
        let paused = self.paused.lock();
        let of_all_leads = |id: &SiteId, pause: &Pause| {
            config
                .sites
                .get(id)
                .is_some_and(|site| site.form_keys.is_empty() && site.keys.as_ref() == Some(&pause.keys))
        };
        let paused = paused.iter().filter(|((id, _), pause)| of_all_leads(id, pause));
        let quota = |pause: &Pause| usize::from(until(pause.holdup.next_probe, now, PROBE_AFTER).is_none());
        let paused = paused.map(|((id, _), pause)| (id.clone(), quota(pause)));
        // Claimed without keys, they would only be put back.
        let lacking = if config.missing.keys { Some(config.sites.values()) } else { None };
        let without_keys =
            lacking.into_iter().flatten().filter(|site| site.form_keys.is_empty() && site.keys.is_none());
        paused.chain(without_keys.map(|site| (site.id.clone(), 0))).collect()
    }

    /// Notes that a lead is sent: where that is the probe, no other is until the next one's time.
    pub(super) fn begin(&self, site: &SiteId, keys: &KeyPair, now: Timestamp) {
        if let Some(pause) = self.paused.lock().get_mut(&name(site, keys)) {
            pause.holdup.next_probe = later(now, PROBE_AFTER);
        }
    }

    /// Resumes what a new configuration gave other keys, and lets the others be probed at once.
    pub(super) fn reloaded(&self, config: &Config, now: Timestamp) -> Resumed {
        let mut resumed = Resumed::default();
        self.paused.lock().retain(|(id, _), pause| {
            let site = config.sites.get(id);
            let same = site.is_some_and(|site| site.has_keys(&pause.keys));
            if same {
                pause.holdup.next_probe = now;
                resumed.probed.insert(id.clone());
            } else {
                resumed.changed.insert(id.clone());
            }
            same
        });
        resumed
    }

    /// Forgets sites that another gateway sends for.
    pub(super) fn retain(&self, keep: impl Fn(&SiteId) -> bool) {
        self.paused.lock().retain(|(site, _), _| keep(site));
    }

    /// How many sites are paused.
    pub(super) fn sites(&self) -> usize {
        let paused = self.paused.lock();
        let sites: BTreeSet<_> = paused.keys().map(|(site, _)| site).collect();
        sites.len()
    }

    /// Returns which keys of each site are refused, and since when.
    pub(super) fn holdups(&self) -> BTreeMap<SiteId, Vec<PausedKeys>> {
        let mut sites: BTreeMap<SiteId, Vec<PausedKeys>> = BTreeMap::new();
        for ((site, public_key), pause) in self.paused.lock().iter() {
            let keys = PausedKeys { public_key: public_key.clone(), holdup: pause.holdup.clone() };
            sites.entry(site.clone()).or_default().push(keys);
        }
        sites
    }
}

fn name(site: &SiteId, keys: &KeyPair) -> (SiteId, String) {
    (site.clone(), keys.public().to_owned())
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
        assert_eq!(pauses.wait(&site, &keys("1"), at(0)), None);
        assert!(pauses.pause(&site, &keys("1"), "401", at(0)));
        assert!(!pauses.pause(&site, &keys("1"), "401 Unauthorized", at(0)));
        let holdup = Holdup { since: at(0), why: "401 Unauthorized".to_owned(), next_probe: at(300) };
        let public_key = "wp_pk_a".to_owned();
        assert_eq!(pauses.holdups(), BTreeMap::from([(site.clone(), vec![PausedKeys { public_key, holdup }])]));
        assert_eq!(pauses.wait(&site, &keys("1"), at(100)), Some(Duration::from_secs(200)));
        assert_eq!(pauses.wait(&site, &keys("1"), at(300)), None);
        pauses.begin(&site, &keys("1"), at(300));
        assert_eq!(pauses.wait(&site, &keys("1"), at(301)), Some(Duration::from_secs(299)));
        assert!(pauses.resume(&site, &keys("1")));
        assert!(!pauses.resume(&site, &keys("1")));
        assert_eq!(pauses.wait(&site, &keys("1"), at(302)), None);
    }

    #[test]
    fn a_branchs_keys_pause_its_own_leads_only() {
        let (pauses, site) = (Pauses::default(), SiteId::parse("acme").expect("a site"));
        let branch = KeyPair::new("wp_pk_b", &Secret::new("wp_sk_b".to_owned())).expect("keys");
        pauses.pause(&site, &branch, "401", at(0));
        assert_eq!(pauses.wait(&site, &keys("1"), at(1)), None);
        assert!(pauses.wait(&site, &branch, at(1)).is_some());
        assert_eq!(pauses.sites(), 1);
    }

    #[test]
    fn new_keys_are_not_paused_and_a_clock_set_back_strands_nobody() {
        let (pauses, site) = (Pauses::default(), SiteId::parse("acme").expect("a site"));
        pauses.pause(&site, &keys("1"), "401", at(100_000));
        assert_eq!(pauses.wait(&site, &keys("1"), at(0)), None);
        assert_eq!(pauses.wait(&site, &keys("2"), at(100_001)), None);
        assert!(pauses.wait(&site, &keys("1"), at(100_001)).is_some());
    }
}
