//! The worker: takes what is due, sends it, and writes down what came of it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clock::{Clock, until};
use super::confirm::{self, Surveys};
use super::deliver::{Delivery, Ready, settle};
use super::gone::GoneSites;
use super::manners::Manners;
use super::publish::Publisher;
use super::slots::{End, Flight, Slot};
use crate::config::Config;
use crate::kaicalls::Client;
use crate::lead::SiteId;
use crate::queue::{AttemptResult, Claim, HASTEN_MAX, Head, Lease, Reason, Settlement, Store};
use crate::telemetry::{Metrics, catch, catch_async};

/// How much longer than the longest POST a lease lasts.
pub(super) const LEASE_MARGIN: Duration = Duration::from_secs(60);
/// How often is looked for what is due, should a hint be lost.
const POLL: Duration = Duration::from_secs(1);
/// How long is waited after the store failed.
pub(super) const STORE_REST: Duration = Duration::from_secs(1);
/// How long attempts in flight get to end when the worker stops.
const DRAIN: Duration = Duration::from_secs(8);
/// How long it may take to write down those that did not.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a lead counts as new.
const NEW: Duration = Duration::from_secs(10 * 60);
/// After a refusal a lead is tried once more: a bad deploy refuses good leads too.
pub(super) const REFUSED_WAIT: Duration = Duration::from_secs(60 * 60);
/// How long a lead waits where the keys it is sent with can't be read.
const KEYS_WAIT: Duration = Duration::from_secs(30);
/// Rounds in which a site's waits are ended, [`HASTEN_MAX`] a round; what is left comes up by itself.
const HASTEN_ROUNDS: usize = 1_000;

/// Sends queued entries to KaiCalls. Clones share their state.
#[derive(Clone)]
pub struct Sender {
    pub(super) store: Arc<dyn Store>,
    pub(super) client: Client,
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) manners: Arc<Manners>,
    pub(super) surveys: Arc<Surveys>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) gone_sites: Arc<GoneSites>,
    /// Goes up with each new configuration.
    reloads: watch::Sender<u64>,
    pub(super) clock: Clock,
    /// Turns true when attempts under way are to be cut off.
    pub(super) cut: watch::Sender<bool>,
}

/// How the worker stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every attempt ended by itself.
    Drained,
    /// So many attempts were cut off; they are recorded as ambiguous.
    Cut(usize),
}

impl Sender {
    pub fn new(store: Arc<dyn Store>, client: Client, config: Arc<ArcSwap<Config>>, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            client,
            config,
            metrics,
            manners: Arc::default(),
            surveys: Arc::default(),
            publisher: Arc::default(),
            gone_sites: Arc::default(),
            reloads: watch::Sender::new(0),
            clock: Clock::default(),
            cut: watch::Sender::new(false),
        }
    }

    /// Lets another clock tell the time.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Sends until `shutdown` says true, then lets the attempts in flight end.
    ///
    /// A panic ends it when the attempts in flight have ended: they are no part of what panicked, and settle their leases.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) -> Stopped {
        let mut flight = Flight::default();
        let sent = catch_async(self.send(&mut flight, shutdown.clone())).await;
        if sent.is_err() {
            tokio::select! {
                _cut = flight.all_ended() => {}
                _stop = shutdown.wait_for(|stop| *stop) => {}
            }
        }
        let stopped = self.drain(flight).await;
        match sent {
            Ok(()) => stopped,
            Err(panicked) => panicked.resume(),
        }
    }

    async fn send(&self, flight: &mut Flight, mut shutdown: watch::Receiver<bool>) {
        // Registered before the first look, so that nothing due in between is missed.
        let mut changed = self.store.changed();
        let mut reloads = self.reloads.subscribe();
        reloads.mark_changed();
        let mut returning = JoinSet::new();
        while !*shutdown.borrow_and_update() {
            changed.borrow_and_update();
            if reloads.has_changed().unwrap_or_default() {
                reloads.mark_unchanged();
                // At most one at a time; it ends with this loop.
                returning.shutdown().await;
                returning.spawn(self.clone().bring_back());
            }
            if let Some(Err(panicked)) = returning.try_join_next()
                && panicked.is_panic()
            {
                tracing::error!(
                    "send.site_back_failed: a bug in formgate; leads of a site that is back wait for a reload"
                );
            }
            let Next::LookAfter(wait) = self.fill(flight).await else { continue };
            let has_room = self.has_room(flight);
            // Each branch only wakes the loop, so dropping one loses nothing.
            tokio::select! {
                _ = shutdown.changed() => {}
                _ = flight.one_ended(), if !flight.is_empty() => {}
                _ = changed.changed(), if has_room => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Sends what is due now and waits until it is settled; tells how many leases that took.
    ///
    /// For those who step the worker by hand: tests, and the demo.
    pub async fn send_due(&self) -> usize {
        let mut flight = Flight::default();
        let mut ended = 0;
        while self.fill(&mut flight).await == Next::LookNow {
            ended += flight.len();
            flight.all_ended().await;
        }
        ended
    }

    /// Goes by a new configuration, which is in force already: sites with other keys are resumed at once.
    pub async fn reloaded(&self) {
        let resumed = self.manners.reloaded(&self.config.load(), self.clock.now());
        self.publish(self.clock.now());
        for site in &resumed.changed {
            self.hasten(site, HASTEN_MAX).await;
        }
        for site in resumed.probed.difference(&resumed.changed) {
            self.hasten(site, 1).await;
        }
        self.send_returned().await;
        self.reloads.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Ends the waits of a site's leads: all, or only so many as are to be tried.
    pub(super) async fn hasten(&self, site: &SiteId, max: usize) {
        for _ in 0..HASTEN_ROUNDS {
            match self.store.hasten(site, max, self.clock.now()).await {
                Ok(HASTEN_MAX) => {}
                Ok(_) => return,
                Err(error) => {
                    let error = Chain(&error);
                    tracing::error!(%site, %error, "queue.hasten_failed: the site's leads come up as their waits end");
                    return;
                }
            }
        }
    }

    fn has_room(&self, flight: &Flight) -> bool {
        let max = self.config.load().upstream.max_in_flight;
        flight.free(Slot::Any, max) > 0 || flight.free(Slot::New, max) > 0
    }

    /// Claims what there is room for.
    async fn fill(&self, flight: &mut Flight) -> Next {
        flight.reap();
        let (config, now) = (self.config.load_full(), self.clock.now());
        self.publish(now);
        let room = self.manners.room(&config, now);
        let max = config.upstream.max_in_flight;
        let asked = flight.free(Slot::Any, max).min(room.leads);
        let mut taken = self.take(flight, &config, Slot::Any, asked, now).await;
        // Where there was less than asked for, nothing else is due, unless a site's share was used up.
        if taken == Some(asked) || (taken.is_some() && self.manners.holds_back(&config, Slot::Any)) {
            let asked = flight.free(Slot::New, max).min(room.leads.saturating_sub(taken.unwrap_or_default()));
            let more = self.take(flight, &config, Slot::New, asked, now).await;
            taken = taken.zip(more).map(|(any, new)| any + new);
        }
        match taken {
            None => Next::LookAfter(STORE_REST),
            Some(0) => Next::LookAfter(room.more_after.map_or(POLL, |wait| wait.min(POLL))),
            Some(_) => Next::LookNow,
        }
    }

    /// Claims up to so many leads for a slot and begins to send them; none where the store failed.
    async fn take(
        &self,
        flight: &mut Flight,
        config: &Arc<Config>,
        slot: Slot,
        max: usize,
        now: Timestamp,
    ) -> Option<usize> {
        if max == 0 {
            return Some(0);
        }
        let claim = Claim {
            max,
            lease: config.upstream.timeout + confirm::longest(config) + LEASE_MARGIN,
            now,
            accepted_since: (slot == Slot::New).then(|| now.checked_sub(NEW).unwrap_or(Timestamp::MIN)),
            quota: self.manners.quota(config, slot, now),
        };
        let leases = match self.store.claim(&claim).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::error!(error = %Chain(&error), "queue.claim_failed: leads wait until the store answers again");
                return None;
            }
        };
        let taken = leases.len();
        for lease in leases {
            self.begin(flight, config, slot, lease, now);
        }
        Some(taken)
    }

    /// Begins to send a lease, or to settle it where it can't be sent now.
    fn begin(&self, flight: &mut Flight, config: &Arc<Config>, slot: Slot, lease: Lease, now: Timestamp) {
        let (sender, resumptions) = (self.clone(), self.manners.resumptions());
        let lease = Arc::new(lease);
        let readied = match catch(|| self.ready(config, &lease.head, now)) {
            Ok(readied) => readied,
            Err(panicked) => {
                let settled = async move { sender.settle_panicked(&lease, &panicked, Duration::ZERO).await };
                return flight.begin(slot, settled);
            }
        };
        match readied {
            Ok(ready) => {
                let seat = self.manners.seat(slot, &lease.head.site);
                let delivery = Delivery { config: Arc::clone(config), ready, lease: Arc::clone(&lease), seat };
                flight.begin(slot, async move { sender.guard(&lease, sender.deliver(delivery)).await });
            }
            Err(settlement) => flight.begin(slot, async move {
                settle(&*sender.store, &lease, settlement, now).await;
                if sender.manners.resumptions() != resumptions {
                    sender.hasten(&lease.head.site, HASTEN_MAX).await;
                }
                End::Settled
            }),
        }
    }

    /// Returns what is needed to send an entry, or why it can't be sent now.
    fn ready(&self, config: &Config, head: &Head, now: Timestamp) -> Result<Ready, Settlement> {
        let keep = config.queue.keep;
        let held = |reason| Settlement::Held { reason, attempt: None, keep: keep.held };
        let gone = || self.gone_sites.settlement(head, keep, now);
        let site = config.sites.get(&head.site).ok_or_else(gone)?;
        if !site.deliver {
            return Err(held(Reason::DeliverOff));
        }
        let lead = head.reading.lead.as_ref().ok_or_else(|| held(Reason::Invalid))?;
        let Some(keys) = site.keys_of(&head.form) else {
            return Err(Settlement::Postponed { after: KEYS_WAIT, attempt: None });
        };
        let wait = refused_wait(head, now).or_else(|| confirm::wait(config, head, now));
        match wait.or_else(|| self.manners.wait(config, site, keys, head, now)) {
            Some(after) => Err(Settlement::Postponed { after, attempt: None }),
            None => Ok(Ready { keys: keys.clone(), lead: lead.clone() }),
        }
    }

    async fn drain(&self, mut flight: Flight) -> Stopped {
        if tokio::time::timeout(DRAIN, flight.all_ended()).await.is_ok() {
            return Stopped::Drained;
        }
        self.cut.send_replace(true);
        let under_way = flight.len();
        drop(tokio::time::timeout(SETTLE, flight.all_ended()).await);
        // Where the store is away, the leases stay in it: whoever opens it next finds claims without an end and records
        // them as ambiguous.
        let unsettled = flight.abandon().await;
        tracing::warn!(attempts = under_way, unsettled, "send.cut: no answer came before the gateway had to stop");
        Stopped::Cut(under_way)
    }
}

/// When to look for what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// There was something, and may be more.
    LookNow,
    LookAfter(Duration),
}

/// Returns how long a lead that was refused once has to wait, though its site's waits were ended meanwhile.
fn refused_wait(head: &Head, now: Timestamp) -> Option<Duration> {
    let refused = head.attempts_since_queued().find(|(_, attempt)| attempt.result == AttemptResult::LeadRefused);
    until(super::clock::later(refused?.0, REFUSED_WAIT), now, REFUSED_WAIT)
}

/// An error with its causes, in one line.
pub(super) struct Chain<'a>(pub(super) &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
