//! What fails again and again is left alone, and probed every minute.
//!
//! A site's circuit opens when three of its leads in a row have failed: one lead that fails for ever holds nobody up.
//! The whole upstream's opens when the last attempts of three sites or more have failed alike, with no success of any
//! site between: then nothing is claimed but one lead a minute. A success closes what it went through. A refused key or
//! lead is a success here, since KaiCalls answered.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::clock::{later, until};
use crate::kaicalls::{FailureKind, Reply};
use crate::lead::{EntryId, SiteId};

/// How often one lead is sent through an open circuit.
pub const PROBE_EVERY: Duration = Duration::from_secs(60);
/// So many leads of a site, or so many sites, must have failed.
pub const OPENS_AFTER: usize = 3;

/// How an attempt failed, as far as failures are told apart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection.
    Unreachable,
    /// A connection, but no whole answer.
    Unanswered,
    /// 5xx.
    Server,
    /// Another answer that takes no lead and refuses none.
    Answer(u16),
}

impl Fault {
    /// Returns how a reply that delivered nothing failed.
    pub fn of(reply: &Reply) -> Self {
        match reply {
            Reply::Failed(failure) => match failure.kind {
                FailureKind::Timeout | FailureKind::Interrupted => Self::Unanswered,
                FailureKind::Dns | FailureKind::Connect(_) | FailureKind::Tls(_) | FailureKind::Request => {
                    Self::Unreachable
                }
            },
            Reply::Answered(answer) if answer.status >= 500 => Self::Server,
            Reply::Answered(answer) => Self::Answer(answer.status),
        }
    }
}

/// The circuits of all sites and of the upstream.
#[derive(Default)]
pub struct Circuits {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Sites whose last attempt failed.
    sites: HashMap<SiteId, Failing>,
    /// How the last attempt of each site failed since the last success of any.
    since_success: BTreeMap<SiteId, Fault>,
    /// Where it is open: when the next probe is due.
    upstream: Option<Timestamp>,
}

#[derive(Default)]
struct Failing {
    /// Leads that failed in a row, each once, up to as many as open the circuit.
    leads: Vec<EntryId>,
    /// Where it is open: when the next probe is due.
    open: Option<Timestamp>,
}

/// Whether anything may be sent upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    Closed,
    /// One lead may be sent.
    Probe,
    Open(Duration),
}

/// How many circuits are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    pub sites: usize,
    pub upstream: bool,
}

impl Circuits {
    /// Tells whether anything may be sent.
    pub fn upstream(&self, now: Timestamp) -> Upstream {
        match self.state.lock().upstream {
            None => Upstream::Closed,
            Some(probe_at) => until(probe_at, now, PROBE_EVERY).map_or(Upstream::Probe, Upstream::Open),
        }
    }

    /// Returns how long a site's lead has to wait; none where it may be sent. The upstream's probe may be of any site.
    pub fn wait(&self, site: &SiteId, now: Timestamp) -> Option<Duration> {
        let state = self.state.lock();
        let probe_at = state.sites.get(site)?.open.filter(|_| state.upstream.is_none())?;
        until(probe_at, now, PROBE_EVERY)
    }

    /// Returns how many leads of each site with an open circuit may be sent: none, or the probe.
    pub(super) fn quotas(&self, now: Timestamp) -> Vec<(SiteId, usize)> {
        let state = self.state.lock();
        if state.upstream.is_some() {
            return Vec::new();
        }
        let open = state.sites.iter().filter_map(|(site, failing)| Some((site, failing.open?)));
        let quota = |probe_at| usize::from(until(probe_at, now, PROBE_EVERY).is_none());
        open.map(|(site, probe_at)| (site.clone(), quota(probe_at))).collect()
    }

    /// Notes that a lead is sent: through an open circuit no other is until the next probe's time.
    pub fn begin(&self, site: &SiteId, now: Timestamp) {
        let state = &mut *self.state.lock();
        let of_site = state.sites.get_mut(site).and_then(|failing| failing.open.as_mut());
        for probe_at in of_site.into_iter().chain(&mut state.upstream) {
            *probe_at = later(now, PROBE_EVERY);
        }
    }

    /// Notes that KaiCalls answered for a site: what it went through is closed. Tells whether the site's was open.
    pub fn succeeded(&self, site: &SiteId) -> bool {
        let state = &mut *self.state.lock();
        state.since_success.clear();
        let was_open = state.sites.remove(site).is_some_and(|failing| failing.open.is_some());
        if state.upstream.take().is_some() {
            // They failed for the upstream's sake.
            state.sites.clear();
            tracing::info!("send.upstream_closed: KaiCalls answers again");
        } else if was_open {
            tracing::info!(%site, "send.site_closed: the site's leads are taken again");
        }
        was_open
    }

    /// Notes that an attempt failed; opens what has failed too often.
    pub fn failed(&self, site: &SiteId, id: EntryId, fault: Fault, now: Timestamp) {
        let state = &mut *self.state.lock();
        let probe_at = later(now, PROBE_EVERY);
        let failing = state.sites.entry(site.clone()).or_default();
        if failing.leads.len() < OPENS_AFTER && !failing.leads.contains(&id) {
            failing.leads.push(id);
        }
        state.since_success.insert(site.clone(), fault);
        let alike = state.since_success.values().filter(|other| **other == fault).count();
        if alike >= OPENS_AFTER && state.upstream.is_none() {
            state.upstream = Some(probe_at);
            tracing::warn!(sites = alike, ?fault, "send.upstream_opened: KaiCalls is tried once a minute, leads wait");
        }
        if failing.leads.len() >= OPENS_AFTER && failing.open.is_none() {
            failing.open = Some(probe_at);
            tracing::warn!(%site, ?fault, "send.site_opened: the site is tried once a minute, its leads wait");
        }
    }

    /// Forgets sites that are gone.
    pub fn retain(&self, keep: impl Fn(&SiteId) -> bool) {
        let state = &mut *self.state.lock();
        state.sites.retain(|site, _| keep(site));
        state.since_success.retain(|site, _| keep(site));
    }

    /// Counts what is open.
    pub fn open(&self) -> Open {
        let state = self.state.lock();
        let sites = state.sites.values().filter(|failing| failing.open.is_some()).count();
        Open { sites, upstream: state.upstream.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(number: u8) -> SiteId {
        SiteId::parse(&format!("site-{number}")).expect("a slug")
    }

    fn id(number: u8) -> EntryId {
        EntryId::new(1, &[number; 10])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[test]
    fn a_sites_circuit_opens_when_three_of_its_leads_failed_in_a_row() {
        let circuits = Circuits::default();
        let fail = |lead, now| circuits.failed(&site(1), id(lead), Fault::Server, at(now));
        // One lead that always fails is no failing site.
        (0..20).for_each(|now| fail(1, now));
        fail(2, 20);
        assert_eq!(circuits.wait(&site(1), at(20)), None);
        assert!(!circuits.succeeded(&site(1)));
        fail(1, 21);
        fail(2, 21);
        assert_eq!(circuits.open(), Open::default());
        fail(3, 21);
        assert_eq!(circuits.wait(&site(1), at(31)), Some(Duration::from_secs(50)));
        assert_eq!(circuits.wait(&site(2), at(31)), None);
        assert_eq!(
            (circuits.open(), circuits.upstream(at(31))),
            (Open { sites: 1, upstream: false }, Upstream::Closed)
        );
        // One probe a minute.
        assert_eq!(circuits.wait(&site(1), at(81)), None);
        circuits.begin(&site(1), at(81));
        assert_eq!(circuits.wait(&site(1), at(82)), Some(Duration::from_secs(59)));
        assert!(circuits.succeeded(&site(1)));
        assert_eq!(circuits.wait(&site(1), at(83)), None);
    }

    #[test]
    fn the_upstreams_opens_when_three_sites_failed_alike_with_no_success_between() {
        let circuits = Circuits::default();
        let fail = |number, fault| circuits.failed(&site(number), id(number), fault, at(0));
        fail(1, Fault::Server);
        fail(2, Fault::Server);
        circuits.succeeded(&site(3));
        fail(1, Fault::Server);
        fail(1, Fault::Server);
        fail(2, Fault::Unreachable);
        fail(3, Fault::Server);
        assert_eq!(circuits.upstream(at(0)), Upstream::Closed);
        fail(2, Fault::Server);
        assert_eq!(circuits.upstream(at(10)), Upstream::Open(Duration::from_secs(50)));
        assert_eq!(circuits.upstream(at(60)), Upstream::Probe);
        circuits.begin(&site(9), at(60));
        assert_eq!(circuits.upstream(at(61)), Upstream::Open(Duration::from_secs(59)));
        circuits.succeeded(&site(9));
        assert_eq!((circuits.upstream(at(62)), circuits.open()), (Upstream::Closed, Open::default()));
    }

    #[test]
    fn a_probe_of_the_upstream_may_be_of_a_site_that_failed() {
        let circuits = Circuits::default();
        (1..=3).for_each(|lead| circuits.failed(&site(1), id(lead), Fault::Unreachable, at(0)));
        (2..=3).for_each(|number| circuits.failed(&site(number), id(number), Fault::Unreachable, at(0)));
        assert_eq!(circuits.open(), Open { sites: 1, upstream: true });
        assert_eq!(circuits.wait(&site(1), at(1)), None);
        circuits.succeeded(&site(2));
        assert_eq!(circuits.wait(&site(1), at(1)), None);
    }
}
