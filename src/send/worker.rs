//! The worker: claims what is due, decides what may go, begins to send it, and goes on. It waits for nothing but what wakes
//! it: a claim is under way while leads are posted, and what came of those is written down by tasks of their own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admission::{Admission, Decision};
use super::chain::Chain;
use super::claiming::{Room, new_since};
use super::confirm::Confirmation;
use super::deliver::Deliverer;
use super::flight::{Claimed, Flight, places};
use super::looking::{Looking, POLL};
use super::outcome;
use super::ownership::{GatewayIdentity, Ownership};
use super::publish::Publisher;
use super::returned::{bring_back, end_key_waits};
use super::settle::make_due;
use super::slots::{HeldSlot, Slot, SlotLimits, Slots};
use crate::clock::Clock;
use crate::config::Config;
use crate::kaicalls::Client;
use crate::queue::activity::Activity;
use crate::queue::live::Live;
use crate::queue::{KeysUnderWay, MAKE_DUE_MAX, Partitions, SendingStatus, Store};
use crate::telemetry::{Metrics, Panicked, catch, catch_async};

/// How long attempts in flight get to end when the worker stops.
const DRAIN: Duration = Duration::from_secs(8);
/// How long it may take to write down those that did not.
const SETTLE: Duration = Duration::from_secs(2);

/// Sends queued entries to KaiCalls. Clones share their state.
#[derive(Clone)]
pub struct Sender {
    pub(super) deliverer: Deliverer,
    slots: Arc<Slots>,
    /// Goes up with each new configuration.
    reloads: watch::Sender<u64>,
    returning_panic: Arc<Mutex<Option<Panicked>>>,
    ownership: Option<Ownership>,
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
        let admission = Arc::<Admission>::default();
        let slots = Arc::<Slots>::default();
        let clock = Clock::default();
        let confirmation = Confirmation::new(Arc::clone(&store), client.clone(), Arc::clone(&admission), clock.clone());
        let publisher = Publisher::new(Arc::clone(&admission), Arc::clone(&slots), Arc::clone(&metrics));
        let deliverer = Deliverer {
            store,
            client,
            config,
            metrics,
            admission,
            confirmation: Arc::new(confirmation),
            publisher: Arc::new(publisher),
            clock,
            activity: Activity::default(),
            live: Live::default(),
            cut: watch::Sender::new(false),
        };
        Self { deliverer, slots, reloads: watch::Sender::new(0), returning_panic: Arc::default(), ownership: None }
    }

    /// Lets another clock tell the time.
    pub fn with_clock(self, clock: Clock) -> Self {
        let confirmation = Arc::new(self.deliverer.confirmation.with_clock(clock.clone()));
        Self { deliverer: Deliverer { confirmation, clock, ..self.deliverer }, ..self }
    }

    /// Counts what sites do where others count it too.
    pub fn with_activity(self, activity: Activity) -> Self {
        Self { deliverer: Deliverer { activity, ..self.deliverer }, ..self }
    }

    /// Tells of each attempt whoever watches.
    pub fn with_live(self, live: Live) -> Self {
        Self { deliverer: Deliverer { live, ..self.deliverer }, ..self }
    }

    /// Sends only for the sites whose partitions this gateway holds, since others share the store: [`Ownership::run`] holds
    /// them. To be called last.
    pub fn shared_as(self, identity: GatewayIdentity) -> Self {
        let Deliverer { store, config, metrics, admission, clock, .. } = &self.deliverer;
        let set_up = (Arc::clone(config), Arc::clone(metrics));
        let ownership = Ownership::new(identity, Arc::clone(store), set_up, (admission.held().clone(), clock.clone()));
        Self { ownership: Some(ownership), ..self }
    }

    /// Returns what holds partitions for this gateway; none where it has the store for itself.
    pub fn ownership(&self) -> Option<&Ownership> {
        self.ownership.as_ref()
    }

    /// Returns what is held back, and why: up to a second old while the sender runs.
    pub fn status(&self) -> watch::Receiver<SendingStatus> {
        self.deliverer.publisher.status()
    }

    /// Returns which keys leads are under way with.
    pub fn keys_under_way(&self) -> KeysUnderWay {
        self.deliverer.admission.under_way()
    }

    /// Goes by a new configuration, which is in force already: sites with other keys are resumed at once.
    pub async fn reloaded(&self) {
        let Deliverer { store, config, admission, publisher, clock, .. } = &self.deliverer;
        let config = config.load_full();
        let resumed = admission.reloaded(&config, clock.now());
        publisher.publish(&config, clock.now());
        for site in &resumed.changed {
            make_due(&**store, site, MAKE_DUE_MAX, clock.now()).await;
        }
        for site in resumed.probed.difference(&resumed.changed) {
            make_due(&**store, site, 1, clock.now()).await;
        }
        for site in admission.take_returned(&config) {
            tracing::info!(%site, "send.site_back: the site is in the configuration again, its queued leads go on");
            make_due(&**store, &site, MAKE_DUE_MAX, clock.now()).await;
        }
        self.reloads.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes out the last panic that did not end the worker: of what brings back the leads of a site.
    pub fn take_panic(&self) -> Option<Panicked> {
        self.returning_panic.lock().take()
    }

    /// Sends until `shutdown` says true, then lets the attempts in flight end.
    ///
    /// A panic ends it when the attempts in flight have ended: they are no part of what panicked, and settle their leases.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) -> Stopped {
        let mut flight = Flight::default();
        let mut looking = Looking::now();
        let sent = catch_async(self.send(&mut flight, &mut looking, shutdown.clone())).await;
        self.end_claim(&mut flight, looking).await;
        self.give_back(&mut flight, Flight::take_claimed);
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

    async fn send(&self, flight: &mut Flight, looking: &mut Looking, mut shutdown: watch::Receiver<bool>) {
        // Registered before the first look, so that nothing due in between is missed.
        let mut changed = self.deliverer.store.changed();
        let mut reloads = self.reloads.subscribe();
        reloads.mark_changed();
        let mut moved = self.deliverer.admission.held().changes();
        moved.mark_changed();
        let mut returning = JoinSet::new();
        while !*shutdown.borrow_and_update() {
            self.follow_partitions(&mut moved, &mut reloads, &shutdown).await;
            if reloads.has_changed().unwrap_or_default() {
                reloads.mark_unchanged();
                self.begin_bringing_back(&mut returning).await;
            }
            flight.reap();
            self.begin_claimed(flight);
            self.give_back(flight, Flight::take_overdue);
            self.look(looking, flight);
            let is_due = looking.is_due();
            let looking_at = looking.at();
            // Each branch but the claim's only wakes the loop, so dropping one loses nothing.
            tokio::select! {
                found = looking.found() => {
                    looking.learn(&found);
                    flight.take_in(found.claimed);
                }
                _ = shutdown.changed() => {}
                _ = reloads.changed() => {
                    reloads.mark_changed();
                    looking.hint();
                }
                _ = moved.changed() => {
                    moved.mark_changed();
                    looking.hint();
                }
                () = self.slots.freed() => looking.ended(),
                _ = flight.one_ended(), if flight.under_way() > 0 => looking.ended(),
                _ = changed.changed(), if !is_due => looking.hint(),
                () = tokio::time::sleep_until(looking_at) => looking.time_came(),
            }
        }
    }

    /// Before anything is sent for sites: those of their leads that wait for keys are due with the others then, and go in
    /// their order.
    async fn end_key_waits(&self, mut shutdown: watch::Receiver<bool>) {
        let Deliverer { store, config, admission, clock, .. } = &self.deliverer;
        let config = config.load_full();
        let ended = tokio::select! {
            ended = end_key_waits(&**store, &config, admission.held(), clock.now()) => ended,
            _stop = shutdown.wait_for(|stop| *stop) => return,
        };
        if let Err(error) = ended {
            let error = Chain(&error);
            tracing::error!(%error, "send.key_waits_unread: leads whose keys were refused come up as their waits end");
        }
    }

    /// Goes by the sites that this gateway sends for by now.
    async fn follow_partitions(
        &self,
        moved: &mut watch::Receiver<Partitions>,
        reloads: &mut watch::Receiver<u64>,
        shutdown: &watch::Receiver<bool>,
    ) {
        if moved.has_changed().unwrap_or_default() {
            moved.mark_unchanged();
            self.deliverer.admission.forget_others();
            // What waits for one of the sites that came may have been brought back nowhere.
            reloads.mark_changed();
            self.end_key_waits(shutdown.clone()).await;
        }
    }

    /// Ends the claim that is under way: its leases would else wait until they run out.
    async fn end_claim(&self, flight: &mut Flight, mut looking: Looking) {
        let Some(claiming) = looking.take_claiming() else { return };
        // One that panicked claims nothing more; a store that hangs must not keep the gateway from stopping.
        if let Ok(Ok(found)) = tokio::time::timeout(SETTLE, catch_async(claiming)).await {
            flight.take_in(found.claimed);
        }
    }

    /// Begins to bring back what waits for sites that a new configuration has: at most once at a time.
    async fn begin_bringing_back(&self, returning: &mut JoinSet<()>) {
        returning.shutdown().await;
        let Deliverer { store, config, admission, clock, .. } = self.deliverer.clone();
        let held = admission.held().clone();
        let last_panic = Arc::clone(&self.returning_panic);
        returning.spawn(async move {
            // It must not keep the others' leads from being sent.
            if let Err(panicked) = catch_async(bring_back(store, config, held, clock)).await {
                tracing::error!(
                    location = panicked.location,
                    "send.site_back_failed: a bug in formgate; leads of a site that is back wait for a reload"
                );
                *last_panic.lock() = Some(panicked);
            }
        });
    }

    /// Begins a claim, where something may be due and there is room for it.
    fn look(&self, looking: &mut Looking, flight: &Flight) {
        let config = self.deliverer.config.load_full();
        let now = self.deliverer.clock.now();
        self.deliverer.publisher.publish(&config, now);
        if !looking.may_begin() {
            return;
        }
        let claimable = self.deliverer.admission.claimable(&config, now);
        if claimable.leads == 0 {
            looking.rest(claimable.more_after.map_or(POLL, |wait| wait.min(POLL)));
            return;
        }
        let places = self.places(&config);
        let leads = claimable.leads.saturating_sub(flight.waiting());
        let room = places.map(|(slot, places)| Room { slot, places, free: flight.room(slot, places) });
        if leads > 0 && room.iter().any(|room| room.free > 0) {
            looking.begin(Box::pin(self.clone().claim(config, room, leads, now)));
        }
    }

    /// Returns how many leads of each kind may be on their way.
    fn places(&self, config: &Config) -> [(Slot, usize); 2] {
        let turn_over = self.slots.turn_over();
        Slot::ALL.map(|slot| (slot, places(slot, config.upstream.max_in_flight, turn_over)))
    }

    /// Begins what was claimed, as far as there are slots.
    fn begin_claimed(&self, flight: &mut Flight) {
        let config = self.deliverer.config.load_full();
        let limits = SlotLimits {
            max_in_flight: config.upstream.max_in_flight,
            sites: config.sites.len(),
            new_since: new_since(self.deliverer.clock.now()),
        };
        while let Some((claimed, held)) = flight.next(&self.slots, limits) {
            self.begin(flight, &config, claimed, held);
        }
    }

    /// Decides on a lead that was claimed, and begins to send it, or to settle it where it can't be sent now. A site that is
    /// another gateway's by now is left to that one.
    fn begin(&self, flight: &mut Flight, config: &Arc<Config>, claimed: Claimed, held: HeldSlot) {
        let Claimed { lease, share_place, slot, under_way, .. } = claimed;
        let deliverer = self.deliverer.clone();
        if !deliverer.admission.held().has_site(&lease.head.site) {
            return flight.begin(slot, under_way, async move { deliverer.give_back(&lease).await });
        }
        let config = Arc::clone(config);
        let now = deliverer.clock.now();
        let decision = catch(|| deliverer.admission.admit(&config, &lease.head, share_place, now));
        match decision {
            Ok(Decision::Send(permit)) => flight.begin(slot, under_way, async move {
                deliverer.guard(&lease, deliverer.deliver(&config, &lease, permit, held)).await
            }),
            Ok(Decision::Wait(wait)) => {
                flight.begin(slot, under_way, async move { deliverer.put_off(&lease, wait, now).await });
            }
            Ok(Decision::Hold(reason)) => {
                flight.begin(slot, under_way, async move {
                    deliverer.end(&lease, outcome::of_hold(&config, reason), now).await
                });
            }
            Err(panicked) => {
                flight.begin(slot, under_way, async move {
                    deliverer.end_panicked(&lease, &panicked, Duration::ZERO).await
                });
            }
        }
    }

    /// Sends what is due now and waits until it is settled; tells how many leases that took.
    ///
    /// For those who step the worker by hand: tests, and the demo.
    pub async fn send_due(&self) -> usize {
        let mut flight = Flight::default();
        let mut ended = 0;
        loop {
            let mut looking = Looking::now();
            self.look(&mut looking, &flight);
            let Some(claiming) = looking.take_claiming() else { return ended };
            let claimed = claiming.await.claimed;
            if claimed.is_empty() {
                return ended;
            }
            ended += claimed.len();
            flight.take_in(claimed);
            while !flight.is_empty() {
                self.begin_claimed(&mut flight);
                flight.one_ended().await;
            }
        }
    }

    /// Puts leads back that were claimed and have not begun.
    fn give_back(&self, flight: &mut Flight, take: impl FnOnce(&mut Flight) -> VecDeque<Claimed>) {
        for Claimed { lease, slot, under_way, .. } in take(flight) {
            let deliverer = self.deliverer.clone();
            flight.begin(slot, under_way, async move { deliverer.give_back(&lease).await });
        }
    }

    async fn drain(&self, mut flight: Flight) -> Stopped {
        if tokio::time::timeout(DRAIN, flight.all_ended()).await.is_ok() {
            return Stopped::Drained;
        }
        self.deliverer.cut.send_replace(true);
        let under_way = flight.under_way();
        drop(tokio::time::timeout(SETTLE, flight.all_ended()).await);
        // Where the store is away, the leases stay in it: whoever opens it next finds claims without an end and records
        // them as ambiguous.
        let unsettled = flight.abandon().await;
        tracing::warn!(attempts = under_way, unsettled, "send.cut: no answer came before the gateway had to stop");
        Stopped::Cut(under_way)
    }
}
