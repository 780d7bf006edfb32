//! What formgate tells others: events, by webhook and by mail.
//!
//! An event begins where something happened: the store records what became of a lead in the transaction that changed it,
//! and [`watch`] emits what no change of a lead tells. Both lie in the store's outbox as ids. [`lanes`] takes them from
//! there, in order, to each sink that wants them; [`content`] reads what an event tells when it is sent, so that what was
//! erased is told to nobody; [`sink`] sends it.
//!
//! ```text
//! Store::append, settle, amend ──┐
//! watch ── emit ─────────────────┴▶ outbox ──▶ routing ──▶ lanes ──▶ content ──▶ sink: webhook, mail
//! ```
//!
//! **Invariants**: nothing here keeps a lead waiting: what can't be sent stays in the outbox, which has a bound. Of the
//! gateways that share a store one does all this at a time.

mod alarm;

mod content;

mod lanes;

mod noticing;

pub mod notice;

mod routing;

pub mod sink;

mod trial;

mod watch;

pub mod words;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch as channel;
use tokio::time::{sleep, timeout};

use self::content::Reader;
use self::lanes::{BadSink, Lanes};
use self::routing::{Routed, wanted_moves};
use self::sink::Outlets;
pub use self::trial::{Trial, try_sinks};
use self::watch::Watch;
use crate::clock::Clock;
use crate::config::Config;
use crate::event::EventType;
use crate::operate::SinkStatus;
use crate::queue::activity::Activity;
use crate::queue::{
    EVENTS_MAX, Emission, Events, GatewayName, Happened, Key, Move, OutboxEvent, SendingStatus, State, Store,
    StoreError,
};
use crate::telemetry::Metrics;

/// The outbox' reader, and the name that one gateway holds.
const NAME: &str = "notify";
/// How long the name is held without being renewed.
const HOLD: Duration = Duration::from_secs(30);
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How often is looked, at least.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Changes of the store are gathered for so long.
const GATHER: Duration = Duration::from_millis(100);
/// Pages of events that one round reads.
const PAGES_MAX: usize = 20;
/// After an error of the store it is left alone for so long.
const STORE_WAIT: Duration = Duration::from_secs(5);
/// How long what is being sent gets when the gateway stops.
const STOP_TIME: Duration = Duration::from_millis(800);

/// Tells others what happens, until the gateway stops. Clones share what they publish.
#[derive(Clone)]
pub struct Notifier {
    reader: Reader,
    metrics: Arc<Metrics>,
    activity: Activity,
    statuses: Arc<channel::Sender<Vec<SinkStatus>>>,
}

/// A notifier at work, which is stepped by hand: for those who set the time themselves.
pub struct Session {
    notifier: Notifier,
    round: Round,
}

/// What the gateway holding the name does.
struct Round {
    lanes: Lanes,
    watch: Watch,
    /// The configuration that the lanes follow.
    followed: Arc<Config>,
    outlets: Outlets,
    /// Sinks that others were told of, each with since when.
    told: BTreeSet<(String, Timestamp)>,
    /// Up to where the outbox was trimmed.
    trimmed: u64,
    /// That the store fails was said.
    is_failing: bool,
}

impl Notifier {
    /// Makes what tells of what happens in a store; nothing runs yet.
    pub fn new(config: Arc<ArcSwap<Config>>, store: Arc<dyn Store>, metrics: Arc<Metrics>, activity: Activity) -> Self {
        // From now on, so that what is refused while another gateway still holds the name is told as well.
        drop(activity.watch_refused());
        let (statuses, sinks) = channel::channel(Vec::new());
        let (_, sending) = channel::channel(SendingStatus::default());
        let degraded = Arc::new(Mutex::default());
        let reader = Reader { store, config, sending, sinks, degraded, gateway: None, clock: Clock::default() };
        Self { reader, metrics, activity, statuses: Arc::new(statuses) }
    }

    /// Tells also what the sender holds back.
    #[must_use]
    pub fn with_sending(mut self, sending: channel::Receiver<SendingStatus>) -> Self {
        self.reader.sending = sending;
        self
    }

    /// Notices what only this gateway knows also while another that shares the store sends the events.
    #[must_use]
    pub fn shared_as(mut self, gateway: GatewayName) -> Self {
        self.reader.gateway = Some(gateway);
        self
    }

    /// Goes by another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.reader.clock = clock;
        self
    }

    /// Returns how every sink does.
    pub fn statuses(&self) -> channel::Receiver<Vec<SinkStatus>> {
        self.statuses.subscribe()
    }

    /// Tells what happens until `stopping` says true.
    pub async fn run(self, mut stopping: channel::Receiver<bool>) {
        let holder = holder();
        let mut is_failing = false;
        while !*stopping.borrow() {
            let told = match self.has_sinks() {
                true => self.tell(&holder, stopping.clone()).await,
                false => self.idle(&holder, stopping.clone()).await,
            };
            let was_failing = std::mem::replace(&mut is_failing, told.is_err());
            if let Err(error) = told
                && !was_failing
            {
                tracing::warn!(%error, "notify.store_failed: the store can't be used; trying again");
            }
            if timeout(STORE_WAIT, stopping.wait_for(|stop| *stop)).await.is_ok() {
                break;
            }
        }
        // The next gateway goes on at once; else it waits until the name is free by itself.
        if let Err(error) = self.reader.store.release(&name(), &holder).await {
            tracing::debug!(%error, "notify.unreleased");
        }
    }

    /// Begins without the name, to be stepped; none without sinks.
    pub async fn open(self) -> Result<Option<Session>, StoreError> {
        let round = if self.has_sinks() { self.begin().await? } else { None };
        Ok(round.map(|round| Session { notifier: self, round }))
    }

    fn has_sinks(&self) -> bool {
        !self.reader.config.load().sinks.is_empty()
    }

    /// Takes or renews the name.
    async fn hold(&self, holder: &Key) -> Result<bool, StoreError> {
        self.reader.store.hold(&name(), holder, HOLD, self.reader.now()).await
    }

    /// Tells what happens, as long as this gateway holds the name and has sinks.
    async fn tell(&self, holder: &Key, mut stopping: channel::Receiver<bool>) -> Result<(), StoreError> {
        if !self.hold(holder).await? {
            return match self.reader.gateway {
                Some(_) => self.notice(holder, stopping).await,
                None => Ok(()),
            };
        }
        let Some(mut round) = self.begin().await? else { return Ok(()) };
        let mut changed = self.reader.store.changed();
        let mut renewed = tokio::time::Instant::now();
        loop {
            if renewed.elapsed() >= RENEW_EVERY {
                // Where the store can't be written nobody else can take the name either.
                if matches!(self.hold(holder).await, Ok(false)) {
                    return Ok(());
                }
                renewed = tokio::time::Instant::now();
            }
            if !self.round(&mut round).await {
                break;
            }
            let woken = async {
                // A hint that may be lost, so it is looked again after a while in any case.
                drop(timeout(LOOK_EVERY, changed.changed()).await);
                sleep(GATHER).await;
            };
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => break,
                end = round.lanes.turn_ended() => round.lanes.note(end, &self.metrics, jitter(), self.reader.now()),
                () = woken => {}
            }
        }
        drop(timeout(STOP_TIME, self.finish(&mut round)).await);
        round.lanes.keep(&*self.reader.store, self.reader.now()).await
    }

    /// Begins where it was left; none where the store has no place for it.
    async fn begin(&self) -> Result<Option<Round>, StoreError> {
        let store = &*self.reader.store;
        let followed = self.reader.config.load_full();
        let Some(upto) = store.register(&name()).await? else {
            tracing::error!("notify.no_place: the store has too many readers of events; none is sent");
            return Ok(None);
        };
        store.record_moves(wanted_moves(&followed)).await?;
        let mut lanes = Lanes::begin(upto);
        lanes.follow(&followed, store, self.reader.now()).await?;
        let watch = Watch::begin(self.reader.clone(), Arc::clone(&self.metrics), self.activity.clone()).await?;
        let outlets = Outlets::of(&followed);
        Ok(Some(Round { lanes, watch, followed, outlets, told: BTreeSet::new(), trimmed: upto, is_failing: false }))
    }

    /// Looks, reads, and begins to send what is due; false where there are no sinks any more.
    ///
    /// Whatever the store can't do, what is in memory is sent all the same: that the store is full is just what somebody has
    /// to know.
    async fn round(&self, round: &mut Round) -> bool {
        let config = self.reader.config.load_full();
        if config.sinks.is_empty() {
            return false;
        }
        let now = self.reader.now();
        round.watch.look(&config, now).await;
        let read = self.read(round, &config).await;
        self.tell_bad_sinks(round, now).await;
        for event in round.watch.take_unstored() {
            round.lanes.offer_unstored(&event);
        }
        round.lanes.begin_turns(&self.reader, &round.outlets, now);
        self.publish(&round.lanes);
        let kept = match read {
            Ok(()) => self.keep(round, now).await,
            Err(error) => Err(error),
        };
        match kept {
            Ok(()) => round.is_failing = false,
            Err(error) if !round.is_failing => {
                tracing::warn!(%error, "notify.store_failed: events can't be read from the store, or how far sinks have got \
                                        can't be written; trying again, and they may get events twice");
                round.is_failing = true;
            }
            Err(_) => {}
        }
        true
    }

    /// Writes down how far sinks have got, and lets go of what none needs any more.
    async fn keep(&self, round: &mut Round, now: Timestamp) -> Result<(), StoreError> {
        round.lanes.keep(&*self.reader.store, now).await?;
        let upto = round.lanes.dealt_with(now);
        // Each time costs a write that is synced.
        if upto > round.trimmed {
            self.reader.store.trim(&name(), upto).await?;
            round.trimmed = upto;
        }
        Ok(())
    }

    /// Takes over what the configuration says by now.
    async fn follow(&self, round: &mut Round, config: &Arc<Config>) -> Result<(), StoreError> {
        if Arc::ptr_eq(config, &round.followed) {
            return Ok(());
        }
        self.reader.store.record_moves(wanted_moves(config)).await?;
        round.lanes.follow(config, &*self.reader.store, self.reader.now()).await?;
        round.outlets = Outlets::of(config);
        round.followed = Arc::clone(config);
        Ok(())
    }

    /// Reads new events and offers them.
    async fn read(&self, round: &mut Round, config: &Arc<Config>) -> Result<(), StoreError> {
        self.follow(round, config).await?;
        for _ in 0..PAGES_MAX {
            let Events { events, missed, upto } = self.reader.store.events(round.lanes.seen(), EVENTS_MAX).await?;
            if missed > 0 {
                tracing::warn!(missed, "notify.events_missed: more events came than the outbox holds");
            }
            for event in &events {
                if let Some((entry, at)) = requeued(event) {
                    round.watch.requeued(entry, at);
                }
            }
            let routed: Vec<_> = events.iter().filter_map(Routed::of).collect();
            round.lanes.offer(&routed, upto);
            if events.is_empty() {
                break;
            }
        }
        round.lanes.catch_up(&*self.reader.store, round.trimmed).await
    }

    /// Tells the other sinks of those that take nothing.
    async fn tell_bad_sinks(&self, round: &mut Round, now: Timestamp) {
        let bad = round.lanes.bad(now);
        let new: Vec<_> =
            bad.into_iter().filter(|BadSink { name, since }| !round.told.contains(&(name.clone(), *since))).collect();
        // One event for all: hundreds of mailboxes fail at once when the mail server does.
        let Some(first) = new.first() else { return };
        let once = format!("sink/{}/{}", first.name, first.since.as_millisecond());
        round.told.extend(new.into_iter().map(|BadSink { name, since }| (name, since)));
        // What it tells is read from there.
        self.publish(&round.lanes);
        round.watch.emit(Emission::new(EventType::GatewaySinkFailing), &once, now).await;
    }

    fn publish(&self, lanes: &Lanes) {
        lanes.tell(&self.metrics);
        let statuses = lanes.statuses();
        self.statuses.send_if_modified(|published| {
            let is_new = *published != statuses;
            *published = statuses;
            is_new
        });
    }

    /// Waits until what is being sent has ended.
    async fn finish(&self, round: &mut Round) {
        while round.lanes.is_sending() {
            let end = round.lanes.turn_ended().await;
            round.lanes.note(end, &self.metrics, jitter(), self.reader.now());
        }
    }
}

impl Session {
    /// Looks once, and sends what is due until nothing is.
    pub async fn step(&mut self) -> Result<(), StoreError> {
        loop {
            self.notifier.round(&mut self.round).await;
            if !self.round.lanes.is_sending() {
                return Ok(());
            }
            self.notifier.finish(&mut self.round).await;
        }
    }
}

/// Returns the lead that an event tells was queued again.
fn requeued(event: &OutboxEvent) -> Option<(crate::lead::EntryId, Timestamp)> {
    match &event.happened {
        Happened::Moved(Move { entry, from: Some(from), to: Some(State::Queued), .. }) if *from != State::Queued => {
            Some((*entry, event.at))
        }
        _ => None,
    }
}

fn name() -> Key {
    Key::parse(NAME).expect("it is short")
}

/// A name for this process alone.
fn holder() -> Key {
    let number: u128 = rand::random();
    Key::parse(&format!("{number:032x}")).expect("it is short")
}

fn jitter() -> f64 {
    rand::random()
}
