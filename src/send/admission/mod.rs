//! May this lead go? One answer from all that may hold it back: its site and keys, what was refused or failed before, and
//! the rates. What is known here came from replies; it is lost with the process, and found out again.
//!
//! [`Admission::claimable`] says how much of what waits in the store is worth claiming, so that a backlog that has to wait
//! is neither read nor written again and again. [`Admission::admit`] decides on one lead that was claimed, and the
//! [`Permit`] that it gives reports how the attempt ended.

mod circuit;

mod pace;

mod pause;

mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::history;
use super::ownership::HeldPartitions;
use super::slots::Slot;
use crate::clock::{later, until};
use crate::config::{Config, OverLimit, Rate, Site};
use crate::destination::{Judged, KeyPair, Verdict};
use crate::lead::{EntryId, SiteId};
use crate::queue::{Attempt, Head, KeyUnderWay, KeysUnderWay, Quota, Reason, SITE_GONE_MAX, SendingStatus};
use crate::telemetry::{Degraded, Metrics};

pub(super) use circuit::Open;
use circuit::{Circuits, Upstream};
use pace::{GlobalRateLimit, Lines};
pub(super) use pause::PROBE_AFTER;
use pause::{Pauses, Resumed};
pub(super) use share::SharePlace;
use share::Shares;

/// How long a lead waits where the keys it is sent with can't be read.
const KEYS_WAIT: Duration = Duration::from_secs(30);

/// What is known of sites, keys and the upstream.
#[derive(Default)]
pub(super) struct Admission {
    pauses: Pauses,
    circuits: Circuits,
    lines: Lines,
    global_rate: GlobalRateLimit,
    shares: Arc<Shares>,
    held: HeldPartitions,
    /// Sites whose leads were found to wait for the site to come back.
    gone: Mutex<BTreeSet<SiteId>>,
    resumptions: AtomicU64,
    under_way: KeysUnderWay,
}

/// How much may be claimed.
pub(super) struct Claimable {
    pub(super) leads: usize,
    /// When there is more, where that is known.
    pub(super) more_after: Option<Duration>,
}

/// Whether a lead may go.
pub(super) enum Decision {
    Send(Permit),
    Wait(Wait),
    /// Only a person can help.
    Hold(Reason),
}

/// A lead waits in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) after: Duration,
    pub(super) why: WaitReason,
    /// How often sites had been resumed by then: the wait may be over before it is written down.
    pub(super) resumptions: u64,
}

/// What a lead waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitReason {
    /// Its site has left the configuration, not long ago.
    SiteGone,
    /// The keys it is sent with can't be read.
    KeysUnreadable,
    /// It was refused, and is tried once more after a while.
    Refused,
    /// It may have arrived, and it is too early to ask whether it did.
    Unconfirmed,
    /// The keys it is sent with are refused.
    KeysRefused,
    /// Its site's leads fail.
    SiteFailing,
    /// Its site has used up its rate.
    OverRate,
    /// Everybody's leads fail.
    UpstreamFailing,
}

/// A lead may be sent, once.
pub(super) struct Permit {
    admission: Arc<Admission>,
    share_place: SharePlace,
    id: EntryId,
    keys: KeyPair,
    under_way: Arc<KeyUnderWay>,
}

/// What an attempt's end means for the site's other leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    Nothing,
    /// They waited for this one, and need not any longer.
    Resumed,
    /// The keys were refused, but the site has others by now.
    KeysOutdated,
}

impl Admission {
    /// Tells how many leads of all sites are worth claiming now.
    pub(super) fn claimable(&self, config: &Config, now: Timestamp) -> Claimable {
        let held = self.held.claimable();
        if config.missing.upstream || held.is_empty() {
            return Claimable { leads: 0, more_after: None };
        }
        let rated = self.rate(config).map(|rate| self.global_rate.room(rate, now));
        let (leads, more_after) = rated.unwrap_or((usize::MAX, None));
        match self.circuits.upstream(now) {
            Upstream::Closed => Claimable { leads, more_after },
            Upstream::Probe => Claimable { leads: leads.min(1), more_after },
            Upstream::Open(wait) => Claimable { leads: 0, more_after: Some(wait) },
        }
    }

    /// Returns which partitions' sites this gateway sends for.
    pub(super) fn held(&self) -> &HeldPartitions {
        &self.held
    }

    /// Returns this gateway's part of the rate of all.
    fn rate(&self, config: &Config) -> Option<Rate> {
        Some(pace::part_of(config.upstream.rate?, self.held.claimable()))
    }

    /// Tells how many leads of each site are worth claiming, of so many places of a kind.
    pub(super) fn quota(&self, config: &Config, slot: Slot, places: usize, now: Timestamp) -> Quota {
        let (each, of) = self.shares.left(slot, places, config.sites.len(), now);
        let mut quota = Quota { each, of, ..Quota::default() };
        for (site, most) in self.circuits.quotas(now).into_iter().chain(self.pauses.quotas(config, now)) {
            let most = most.min(quota.of(&site));
            quota.of.insert(site, most);
        }
        quota
    }

    /// Tells whether leads of some site wait only because others of it are under way.
    pub(super) fn holds_back(&self, config: &Config, slot: Slot, places: usize) -> bool {
        self.shares.any_used_up(slot, places, config.sites.len())
    }

    /// Takes a place in a site's share, for a lead that was claimed.
    pub(super) fn share_place(&self, slot: Slot, site: &SiteId, now: Timestamp) -> SharePlace {
        self.shares.begin(slot, site, now)
    }

    /// Decides whether a lead may be sent now.
    pub(super) fn admit(
        self: &Arc<Self>,
        config: &Config,
        head: &Head,
        share_place: SharePlace,
        now: Timestamp,
    ) -> Decision {
        // Taken first: what resumes a site while this is decided is not missed.
        let resumptions = self.resumptions();
        let wait = |after, why| Decision::Wait(Wait { after, why, resumptions });
        let Some(site) = config.sites.get(&head.site) else {
            return match self.gone_wait(head, now) {
                Some(after) => wait(after, WaitReason::SiteGone),
                None => Decision::Hold(Reason::SiteGone),
            };
        };
        if !site.deliver {
            return Decision::Hold(Reason::DeliverOff);
        }
        if head.reading.lead.is_none() {
            return Decision::Hold(Reason::Invalid);
        }
        let Some(keys) = site.keys_of(&head.form) else {
            return wait(KEYS_WAIT, WaitReason::KeysUnreadable);
        };
        // It was claimed before the circuit opened. Due at once, and not claimed before the next probe.
        if matches!(self.circuits.upstream(now), Upstream::Open(_)) {
            return wait(Duration::ZERO, WaitReason::UpstreamFailing);
        }
        if let Some((after, why)) = self.wait(config, site, keys, head, now) {
            return wait(after, why);
        }
        self.pauses.begin(&site.id, keys, now);
        self.circuits.begin(&site.id, now);
        self.count_request(config, now);
        Decision::Send(Permit {
            admission: Arc::clone(self),
            share_place: share_place.sent(),
            id: head.id,
            keys: keys.clone(),
            under_way: Arc::new(self.under_way.begin(&site.id, keys.public())),
        })
    }

    fn wait(
        &self,
        config: &Config,
        site: &Site,
        keys: &KeyPair,
        head: &Head,
        now: Timestamp,
    ) -> Option<(Duration, WaitReason)> {
        let by = |why| move |after| (after, why);
        let refused = || history::refused_wait(head, now).map(by(WaitReason::Refused));
        let unconfirmed = || match config.upstream.confirm {
            true => history::confirm_wait(head, now).map(by(WaitReason::Unconfirmed)),
            false => None,
        };
        let keys_refused = || self.pauses.wait(&site.id, keys, now).map(by(WaitReason::KeysRefused));
        let site_failing = || self.circuits.wait(&site.id, now).map(by(WaitReason::SiteFailing));
        let over_rate = || match config.limits.over_site {
            OverLimit::Slow => {
                let place = (head.id, history::queued_at(head));
                self.lines.wait(&site.id, place, config.limits.site, now).map(by(WaitReason::OverRate))
            }
            OverLimit::Hold | OverLimit::Reject => None,
        };
        // A place in line is given last: who must wait for something else takes none.
        refused().or_else(unconfirmed).or_else(keys_refused).or_else(site_failing).or_else(over_rate)
    }

    /// Returns how long a lead whose site is gone is queued yet.
    fn gone_wait(&self, head: &Head, now: Timestamp) -> Option<Duration> {
        // A clock that was set back since shortens no lead's day.
        let since = head.site_gone_since().unwrap_or(now).min(now);
        let after = until(later(since, SITE_GONE_MAX), now, SITE_GONE_MAX)?;
        self.gone.lock().insert(head.site.clone());
        Some(after)
    }

    /// Takes out the sites that were gone and are in the configuration again.
    pub(super) fn take_returned(&self, config: &Config) -> BTreeSet<SiteId> {
        let mut gone = self.gone.lock();
        let returned = gone.iter().filter(|site| config.sites.contains_key(*site)).cloned().collect();
        gone.retain(|site| !config.sites.contains_key(site));
        returned
    }

    /// Counts a request at the rate of all: a lead's, or another.
    pub(super) fn count_request(&self, config: &Config, now: Timestamp) {
        if let Some(rate) = self.rate(config) {
            self.global_rate.begin(rate, now);
        }
    }

    /// Learns that KaiCalls took a lead, or gave an answer that shows it would.
    fn taken(&self, site: &SiteId, keys: &KeyPair) -> Learned {
        let was_open = self.circuits.succeeded(site);
        let was_paused = self.pauses.resume(site, keys);
        if was_paused {
            tracing::info!(%site, "send.resumed: KaiCalls takes the site's keys again");
        }
        if !was_open && !was_paused {
            return Learned::Nothing;
        }
        self.resumptions.fetch_add(1, Ordering::SeqCst);
        Learned::Resumed
    }

    /// Counts how often a site was resumed.
    pub(super) fn resumptions(&self) -> u64 {
        self.resumptions.load(Ordering::SeqCst)
    }

    /// Forgets what it knew of sites that another gateway sends for by now: whether they go again it would never learn.
    pub(super) fn forget_others(&self) {
        let held = self.held.all_claimable_or_leaving();
        let is_ours = |site: &SiteId| held.has_site(site);
        self.circuits.retain(is_ours);
        self.lines.retain(is_ours);
        self.pauses.retain(is_ours);
        self.gone.lock().retain(is_ours);
    }

    /// Learns from a new configuration.
    pub(super) fn reloaded(&self, config: &Config, now: Timestamp) -> Resumed {
        let is_there = |site: &SiteId| config.sites.contains_key(site);
        self.circuits.retain(is_there);
        self.lines.retain(is_there);
        let resumed = self.pauses.reloaded(config, now);
        self.resumptions.fetch_add(1, Ordering::SeqCst);
        for site in &resumed.changed {
            tracing::info!(%site, "send.resumed: the site's keys have changed");
        }
        resumed
    }

    /// Returns what is held back, and why.
    pub(super) fn status(&self, config: &Config, in_flight: usize, now: Timestamp) -> SendingStatus {
        let together = self.rate(config).map(|rate| self.global_rate.room(rate, now));
        let rate_limited_sites = match config.limits.over_site {
            OverLimit::Slow => self.lines.over_rate(config.limits.site, now),
            OverLimit::Hold | OverLimit::Reject => BTreeMap::new(),
        };
        SendingStatus {
            partitions: self.held.all_claimable_or_leaving(),
            in_flight,
            upstream: self.circuits.upstream_holdup(),
            failing_sites: self.circuits.site_holdups(),
            unreachable_sites: self.circuits.unreachable_sites(),
            paused_sites: self.pauses.holdups(),
            rate_limited_sites,
            rate_limited: together.and_then(|(_, wait)| Some(later(now, wait?))),
        }
    }

    /// Returns which keys leads are under way with.
    pub(super) fn under_way(&self) -> KeysUnderWay {
        self.under_way.clone()
    }

    /// Tells the metrics how it stands; returns it.
    pub(super) fn tell(&self, metrics: &Metrics) -> (Open, usize) {
        let open = self.circuits.open();
        let paused = self.pauses.sites();
        metrics.paused(paused);
        metrics.circuits(open.sites, open.upstream);
        metrics.set_degraded(Degraded::SitesPaused, paused > 0);
        metrics.set_degraded(Degraded::UpstreamFailing, open.upstream);
        (open, paused)
    }
}

impl Permit {
    pub(super) fn keys(&self) -> &KeyPair {
        &self.keys
    }

    /// Returns what counts its keys as under way: to be kept until the lead is settled.
    pub(super) fn under_way(&self) -> Arc<KeyUnderWay> {
        Arc::clone(&self.under_way)
    }

    /// Reports how the attempt ended. `config` is the one in force by then. Where it is cut off, the permit is dropped.
    pub(super) fn report(self, config: &Config, judged: &Judged, attempt: &Attempt, now: Timestamp) -> Learned {
        let Self { admission, share_place, id, keys, .. } = self;
        let site = share_place.site().clone();
        match &judged.verdict {
            Verdict::Again(failed) => {
                admission.circuits.failed((&site, id), failed.symptom, &attempt.in_words(), now);
                Learned::Nothing
            }
            Verdict::KeyRefused => {
                share_place.answered();
                admission.circuits.succeeded(&site);
                if !config.sites.get(&site).is_some_and(|site| site.has_keys(&keys)) {
                    return Learned::KeysOutdated;
                }
                if admission.pauses.pause(&site, &keys, &attempt.in_words(), now) {
                    tracing::warn!(%site, "send.paused: KaiCalls refuses the site's keys; its leads wait for new ones");
                }
                Learned::Nothing
            }
            Verdict::Delivered { .. } | Verdict::LeadRefused => {
                share_place.answered();
                admission.taken(&site, &keys)
            }
        }
    }

    /// Reports that the lead turned out to be there already.
    pub(super) fn report_confirmed(self) -> Learned {
        let Self { admission, share_place, keys, .. } = self;
        let site = share_place.site().clone();
        share_place.answered();
        admission.taken(&site, &keys)
    }
}
