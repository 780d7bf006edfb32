//! What fails again and again is left alone, and probed every minute.
//!
//! A site's circuit opens when three of its leads in a row have failed: one lead that fails for ever holds nobody up.
//! The upstream's opens when the last attempts of three sites or more failed alike, for a reason that speaks against the
//! upstream, with no sign of life between: then nothing is claimed but one lead a minute. Any answer in KaiCalls' own
//! envelope is a sign of life, also one that fails the site, such as a closed account's 402: three of those must not
//! throttle everybody.
//!
//! A success closes what it went through. A refused key or lead is a success here, since KaiCalls answered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::clock::{later, until};
use crate::destination::Symptom;
use crate::lead::{EntryId, SiteId};
use crate::queue::Holdup;

/// How often one lead is sent through an open circuit.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(60);
/// So many leads of a site, or so many sites, must have failed.
pub(super) const OPENS_AFTER: usize = 3;

/// The circuits of all sites and of the upstream.
#[derive(Default)]
pub(super) struct Circuits {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Sites whose last attempt failed.
    sites: HashMap<SiteId, Failing>,
    /// Sites whose last attempt spoke against the upstream, since its last sign of life.
    against_upstream: BTreeMap<SiteId, Symptom>,
    upstream: Option<Holdup>,
}

#[derive(Default)]
struct Failing {
    /// Leads that failed in a row, each once, up to as many as open the circuit.
    leads: Vec<EntryId>,
    open: Option<Holdup>,
}

/// Whether anything may be sent upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    Closed,
    /// One lead may be sent.
    Probe,
    Open(Duration),
}

/// How many circuits are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::send) struct Open {
    pub(super) sites: usize,
    pub(super) upstream: bool,
}

impl Circuits {
    /// Tells whether anything may be sent.
    pub(super) fn upstream(&self, now: Timestamp) -> Upstream {
        match &self.state.lock().upstream {
            None => Upstream::Closed,
            Some(open) => until(open.next_probe, now, PROBE_EVERY).map_or(Upstream::Probe, Upstream::Open),
        }
    }

    /// Returns how long a site's lead has to wait; none where it may be sent. The upstream's probe may be of any site.
    pub(super) fn wait(&self, site: &SiteId, now: Timestamp) -> Option<Duration> {
        let state = self.state.lock();
        let open = state.sites.get(site)?.open.as_ref().filter(|_| state.upstream.is_none())?;
        until(open.next_probe, now, PROBE_EVERY)
    }

    /// Returns how many leads of each site with an open circuit may be sent: none, or the probe.
    pub(super) fn quotas(&self, now: Timestamp) -> Vec<(SiteId, usize)> {
        let state = self.state.lock();
        if state.upstream.is_some() {
            return Vec::new();
        }
        let open = state.sites.iter().filter_map(|(site, failing)| Some((site, failing.open.as_ref()?)));
        let quota = |open: &Holdup| usize::from(until(open.next_probe, now, PROBE_EVERY).is_none());
        open.map(|(site, open)| (site.clone(), quota(open))).collect()
    }

    /// Notes that a lead is sent: through an open circuit no other is until the next probe's time.
    pub(super) fn begin(&self, site: &SiteId, now: Timestamp) {
        let state = &mut *self.state.lock();
        let of_site = state.sites.get_mut(site).and_then(|failing| failing.open.as_mut());
        for open in of_site.into_iter().chain(&mut state.upstream) {
            open.next_probe = later(now, PROBE_EVERY);
        }
    }

    /// Notes that KaiCalls answered for a site: what it went through is closed. Tells whether the site's was open.
    pub(super) fn succeeded(&self, site: &SiteId) -> bool {
        let state = &mut *self.state.lock();
        let was_open = state.sites.remove(site).is_some_and(|failing| failing.open.is_some());
        if !state.shows_life() && was_open {
            tracing::info!(%site, "send.site_closed: KaiCalls takes the site's leads again");
        }
        was_open
    }

    /// Notes that an attempt failed, and in which words; opens what has failed too often.
    pub(super) fn failed(&self, (site, id): (&SiteId, EntryId), symptom: Symptom, why: &str, now: Timestamp) {
        let state = &mut *self.state.lock();
        if symptom == Symptom::Alive {
            state.shows_life();
        }
        let holdup = || Holdup { since: now, why: why.to_owned(), next_probe: later(now, PROBE_EVERY) };
        let failing = state.sites.entry(site.clone()).or_default();
        if failing.leads.len() < OPENS_AFTER && !failing.leads.contains(&id) {
            failing.leads.push(id);
        }
        match &mut failing.open {
            Some(open) => why.clone_into(&mut open.why),
            None if failing.leads.len() >= OPENS_AFTER => {
                failing.open = Some(holdup());
                tracing::warn!(%site, why, "send.site_opened: the site's leads wait; one is tried every minute");
            }
            None => {}
        }
        if !symptom.is_against_upstream() {
            state.against_upstream.remove(site);
            return;
        }
        state.against_upstream.insert(site.clone(), symptom);
        let alike = state.against_upstream.values().filter(|other| **other == symptom).count();
        match &mut state.upstream {
            Some(open) => why.clone_into(&mut open.why),
            None if alike >= OPENS_AFTER => {
                state.upstream = Some(holdup());
                tracing::warn!(sites = alike, why, "send.upstream_opened: all leads wait; one is tried every minute");
            }
            None => {}
        }
    }

    /// Forgets sites that are gone.
    pub(super) fn retain(&self, keep: impl Fn(&SiteId) -> bool) {
        let state = &mut *self.state.lock();
        state.sites.retain(|site, _| keep(site));
        state.against_upstream.retain(|site, _| keep(site));
    }

    /// Counts what is open.
    pub(super) fn open(&self) -> Open {
        let state = self.state.lock();
        let sites = state.sites.values().filter(|failing| failing.open.is_some()).count();
        Open { sites, upstream: state.upstream.is_some() }
    }

    /// Returns why the upstream's leads wait, where its circuit is open.
    pub(super) fn upstream_holdup(&self) -> Option<Holdup> {
        self.state.lock().upstream.clone()
    }

    /// Returns why each failing site's leads wait.
    pub(super) fn site_holdups(&self) -> BTreeMap<SiteId, Holdup> {
        let state = self.state.lock();
        let open = state.sites.iter().filter_map(|(site, failing)| Some((site.clone(), failing.open.clone()?)));
        open.collect()
    }

    /// Returns the failing sites whose last attempt spoke against the upstream.
    pub(super) fn unreachable_sites(&self) -> BTreeSet<SiteId> {
        let state = self.state.lock();
        let is_open = |site: &&SiteId| state.sites.get(*site).is_some_and(|failing| failing.open.is_some());
        state.against_upstream.keys().filter(is_open).cloned().collect()
    }
}

impl State {
    /// Notes a sign of life from KaiCalls; tells whether that closed the upstream's circuit.
    fn shows_life(&mut self) -> bool {
        self.against_upstream.clear();
        let was_open = self.upstream.take().is_some();
        if was_open {
            // They failed because the upstream did.
            self.sites.clear();
            tracing::info!("send.upstream_closed: KaiCalls answers again");
        }
        was_open
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
        let fail = |lead, now| circuits.failed((&site(1), id(lead)), Symptom::ServerError, "500", at(now));
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
        let fail = |number, symptom| circuits.failed((&site(number), id(number)), symptom, "failed", at(0));
        fail(1, Symptom::ServerError);
        fail(2, Symptom::ServerError);
        circuits.succeeded(&site(3));
        fail(1, Symptom::ServerError);
        fail(1, Symptom::ServerError);
        fail(2, Symptom::Unreachable);
        fail(3, Symptom::ServerError);
        assert_eq!(circuits.upstream(at(0)), Upstream::Closed);
        fail(2, Symptom::ServerError);
        assert_eq!(circuits.upstream(at(10)), Upstream::Open(Duration::from_secs(50)));
        assert_eq!(circuits.upstream(at(60)), Upstream::Probe);
        circuits.begin(&site(9), at(60));
        assert_eq!(circuits.upstream(at(61)), Upstream::Open(Duration::from_secs(59)));
        circuits.succeeded(&site(9));
        assert_eq!((circuits.upstream(at(62)), circuits.open()), (Upstream::Closed, Open::default()));
    }

    #[test]
    fn what_does_not_speak_against_the_upstream_opens_only_its_sites() {
        for symptom in [Symptom::Alive, Symptom::Unclear] {
            let circuits = Circuits::default();
            for number in 1..=9 {
                (1..=3).for_each(|lead| circuits.failed((&site(number), id(lead)), symptom, "402", at(0)));
            }
            assert_eq!(circuits.open(), Open { sites: 9, upstream: false }, "{symptom:?}");
        }
    }

    #[test]
    fn a_sites_failure_in_the_envelope_is_a_sign_of_life() {
        let circuits = Circuits::default();
        let fail = |number, symptom| circuits.failed((&site(number), id(number)), symptom, "failed", at(0));
        fail(1, Symptom::ServerError);
        fail(2, Symptom::ServerError);
        fail(4, Symptom::Alive);
        fail(3, Symptom::ServerError);
        assert_eq!(circuits.upstream(at(0)), Upstream::Closed);
        // What is unclear says nothing of the upstream: not even that the others' failures are over.
        fail(5, Symptom::Unclear);
        fail(1, Symptom::ServerError);
        assert_eq!(circuits.upstream(at(60)), Upstream::Closed);
        fail(2, Symptom::ServerError);
        assert_eq!(circuits.upstream(at(60)), Upstream::Probe);
        // The probe meets a closed account: KaiCalls works, and that site's failures begin with this one.
        fail(4, Symptom::Alive);
        assert_eq!((circuits.upstream(at(60)), circuits.open()), (Upstream::Closed, Open::default()));
    }

    #[test]
    fn an_open_circuit_tells_since_when_and_how_it_failed_last() {
        let circuits = Circuits::default();
        for number in 1..=3 {
            circuits.failed((&site(number), id(number)), Symptom::ServerError, "500", at(i64::from(number)));
        }
        circuits.begin(&site(1), at(63));
        circuits.failed((&site(1), id(1)), Symptom::Unreachable, "connection refused", at(64));
        let holdup = Holdup { since: at(3), why: "connection refused".to_owned(), next_probe: at(123) };
        assert_eq!(circuits.upstream_holdup(), Some(holdup));
    }

    #[test]
    fn a_probe_of_the_upstream_may_be_of_a_site_that_failed() {
        let circuits = Circuits::default();
        (1..=3).for_each(|lead| circuits.failed((&site(1), id(lead)), Symptom::Unreachable, "", at(0)));
        (2..=3).for_each(|number| circuits.failed((&site(number), id(number)), Symptom::Unreachable, "", at(0)));
        assert_eq!(circuits.open(), Open { sites: 1, upstream: true });
        assert_eq!(circuits.wait(&site(1), at(1)), None);
        circuits.succeeded(&site(2));
        assert_eq!(circuits.wait(&site(1), at(1)), None);
    }
}
