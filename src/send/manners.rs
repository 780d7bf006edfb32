//! Whether a lead may be sent now, and what its end means for the next: pauses, circuits and rates in one place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::circuit::{Circuits, Open, Upstream};
use super::clock::later;
use super::pace::{Lines, Together};
use super::pause::{Pauses, Resumed};
use super::retry;
use super::share::{Seat, Shares};
use super::slots::Slot;
use super::verdict::Verdict;
use crate::config::{Config, OverLimit, Site};
use crate::destination::KeyPair;
use crate::kaicalls::{Reply, Symptom};
use crate::lead::SiteId;
use crate::queue::{Attempt, Head, Quota, SendingStatus};
use crate::telemetry::{Degraded, Metrics};

/// What is known of sites, keys and the upstream from what came back. It is lost with the process, and found out again.
#[derive(Default)]
pub(super) struct Manners {
    pauses: Pauses,
    circuits: Circuits,
    lines: Lines,
    together: Together,
    shares: Arc<Shares>,
    resumptions: AtomicU64,
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

/// How many leads may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) leads: usize,
    /// When there is more, where that is known.
    pub(super) more_after: Option<Duration>,
}

impl Manners {
    /// Tells how many leads of all sites may be sent now.
    pub(super) fn room(&self, config: &Config, now: Timestamp) -> Room {
        if config.missing.upstream {
            return Room { leads: 0, more_after: None };
        }
        let rated = match config.upstream.rate {
            None => Room { leads: usize::MAX, more_after: None },
            Some(rate) => {
                let (leads, more_after) = self.together.room(rate, now);
                Room { leads, more_after }
            }
        };
        match self.circuits.upstream(now) {
            Upstream::Closed => rated,
            Upstream::Probe => Room { leads: rated.leads.min(1), more_after: rated.more_after },
            Upstream::Open(wait) => Room { leads: 0, more_after: Some(wait) },
        }
    }

    /// Tells how many leads of each site may be claimed for a slot.
    pub(super) fn quota(&self, config: &Config, slot: Slot, now: Timestamp) -> Quota {
        let slots = slot.count(config.upstream.max_in_flight);
        let (each, of) = self.shares.left(slot, slots, config.sites.len());
        let mut quota = Quota { each, of };
        for (site, most) in self.circuits.quotas(now).into_iter().chain(self.pauses.quotas(config, now)) {
            let most = most.min(quota.of(&site));
            quota.of.insert(site, most);
        }
        quota
    }

    /// Tells whether leads of some site wait only because others of it are under way.
    pub(super) fn holds_back(&self, config: &Config, slot: Slot) -> bool {
        self.shares.any_used_up(slot, slot.count(config.upstream.max_in_flight), config.sites.len())
    }

    /// Takes a place in a site's share, for one lead.
    pub(super) fn seat(&self, slot: Slot, site: &SiteId) -> Seat {
        self.shares.begin(slot, site)
    }

    /// Counts a request that sends no lead.
    pub(super) fn counts_too(&self, config: &Config, now: Timestamp) {
        if let Some(rate) = config.upstream.rate {
            self.together.begin(rate, now);
        }
    }

    /// Counts a lead that is to be sent; returns how long it has to wait instead, where that is so.
    pub(super) fn wait(
        &self,
        config: &Config,
        site: &Site,
        keys: &KeyPair,
        head: &Head,
        now: Timestamp,
    ) -> Option<Duration> {
        let wait = self.pauses.wait(&site.id, keys, now).or_else(|| self.circuits.wait(&site.id, now));
        // A place in line is given last: who must wait for something else takes none.
        let in_line = || match config.limits.over_site {
            OverLimit::Slow => self.lines.wait(&site.id, (head.id, retry::queued_at(head)), config.limits.site, now),
            OverLimit::Hold | OverLimit::Reject => None,
        };
        let wait = wait.or_else(in_line);
        if wait.is_none() {
            self.pauses.begin(&site.id, keys, now);
            self.circuits.begin(&site.id, now);
            if let Some(rate) = config.upstream.rate {
                self.together.begin(rate, now);
            }
        }
        wait
    }

    /// Learns from an attempt's end. `config` is the one in force by then.
    pub(super) fn ended(
        &self,
        config: &Config,
        (head, keys): (&Head, &KeyPair),
        (reply, verdict, attempt): (&Reply, &Verdict, &Attempt),
        now: Timestamp,
    ) -> Learned {
        let site = &head.site;
        match verdict {
            Verdict::Again { .. } => {
                self.circuits.failed((site, head.id), Symptom::of(reply), &attempt.in_words(), now);
                Learned::Nothing
            }
            Verdict::KeyRefused => {
                self.circuits.succeeded(site);
                if !config.sites.get(site).is_some_and(|site| site.has_keys(keys)) {
                    return Learned::KeysOutdated;
                }
                if self.pauses.pause(site, keys, &attempt.in_words(), now) {
                    tracing::warn!(%site, "send.paused: KaiCalls refuses the site's keys; its leads wait for new ones");
                }
                Learned::Nothing
            }
            Verdict::Delivered { .. } | Verdict::LeadRefused => self.taken(site, keys),
        }
    }

    /// Learns that KaiCalls took a lead, or gave an answer that shows it would.
    pub(super) fn taken(&self, site: &SiteId, keys: &KeyPair) -> Learned {
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

    /// Counts how often a site was resumed: a lead told to wait before that may have been told so in vain.
    pub(super) fn resumptions(&self) -> u64 {
        self.resumptions.load(Ordering::SeqCst)
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
    pub(super) fn status(&self, config: &Config, now: Timestamp) -> SendingStatus {
        let global_rate = config.upstream.rate.map(|rate| self.together.room(rate, now));
        let rate_limited_sites = match config.limits.over_site {
            OverLimit::Slow => self.lines.over_rate(config.limits.site, now),
            OverLimit::Hold | OverLimit::Reject => BTreeMap::new(),
        };
        SendingStatus {
            in_flight: self.shares.under_way(),
            upstream: self.circuits.upstream_holdup(),
            failing_sites: self.circuits.site_holdups(),
            paused_sites: self.pauses.holdups(),
            rate_limited_sites,
            rate_limited: global_rate.and_then(|(_, wait)| Some(later(now, wait?))),
        }
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
