//! What becomes an event though no change of a lead tells it: looked at every second, told once.

mod degraded;
mod digest;
mod overdue;
mod refused;
mod sending;
mod silence;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{JoinError, JoinSet};

use self::overdue::Overdue;
use self::refused::Refusals;
use super::alarm::Alarms;
use super::content::Reader;
use super::routing::Routed;
use crate::clock::later;
use crate::config::Config;
use crate::event::EventType;
use crate::lead::EntryId;
use crate::queue::activity::Activity;
use crate::queue::{Emission, Key, Partitions, Store, StoreError};
use crate::telemetry::{Degraded, Metrics};

/// How often is looked at what costs something to look at.
const SLOW_LOOK: Duration = Duration::from_secs(10);
/// Most events that the store couldn't take and are kept until they are offered to sinks.
const UNSTORED_MAX: usize = 100;

/// Events that are recorded at once: the store writes them to the disk together.
const EMITTED_AT_ONCE: usize = 64;
/// After a start it takes a while until everything that needs a person is noticed again.
const SETTLED_AFTER: Duration = Duration::from_secs(2 * 60);

/// Looks, and remembers what it told.
pub(super) struct Watch {
    reader: Reader,
    metrics: Arc<Metrics>,
    activity: Activity,
    alarms: Alarms,
    refusals: Refusals,
    overdue: Overdue,
    digests: digest::Told,
    tokens: tokens::Told,
    forms: silence::LastLook,
    /// What the store couldn't take.
    unstored: Vec<Routed>,
    /// What needs a person here and another gateway has to send, since when, by the key of its alarm: the store didn't take it yet.
    untold: BTreeMap<String, (EventType, Timestamp)>,
    /// Since when this process sees what is degraded now.
    degraded_since: BTreeMap<Degraded, Timestamp>,
    slow_look_at: Option<Timestamp>,
    begun_at: Timestamp,
    /// For which this gateway sent when it last read the alarms.
    partitions: Partitions,
}

impl Watch {
    /// Begins with what was told before.
    pub(super) async fn begin(reader: Reader, metrics: Arc<Metrics>, activity: Activity) -> Result<Self, StoreError> {
        let alarms = Alarms::read(&*reader.store).await?;
        let overdue = Overdue::begin(&alarms);
        let begun_at = reader.now();
        Ok(Self {
            reader,
            metrics,
            activity,
            alarms,
            refusals: Refusals::default(),
            overdue,
            digests: digest::Told::default(),
            tokens: tokens::Told::default(),
            forms: silence::LastLook::default(),
            unstored: Vec::new(),
            untold: BTreeMap::new(),
            degraded_since: BTreeMap::new(),
            slow_look_at: None,
            begun_at,
            partitions: Partitions::NONE,
        })
    }

    /// Looks once.
    pub(super) async fn look(&mut self, config: &Config, now: Timestamp) {
        if !self.look_at_own(config, true, now).await {
            return;
        }
        self.look_at_tokens(config, now).await;
        self.look_at_digests(config, now).await;
        if let Err(error) = self.look_at_forms(config, now).await {
            tracing::warn!(%error, "notify.silence_unread: silent forms can't be looked for; trying again");
        }
        if let Err(error) = self.look_at_waiting_leads(config, now).await {
            tracing::warn!(%error, "notify.overdue_unread: overdue leads can't be looked for; trying again");
        }
    }

    /// Looks once at what only this gateway knows; tells whether it is time to look at what costs something. `tells`: it is
    /// the one of the store that sends events.
    pub(super) async fn look_at_own(&mut self, config: &Config, tells: bool, now: Timestamp) -> bool {
        // The clock was ahead at the start.
        self.begun_at = self.begun_at.min(now);
        let is_slow = self.slow_look_at.is_none_or(|at| now >= later(at, SLOW_LOOK) || now < at);
        self.follow_others(is_slow).await;
        self.look_at_sites(config, is_slow, now).await;
        self.look_at_upstream(config, is_slow, now).await;
        self.look_at_refusals(config, now).await;
        if is_slow {
            self.slow_look_at = Some(now);
            self.look_at_gateway(config, tells, now).await;
        }
        is_slow
    }

    /// Takes in what other gateways told, where they share the store: before anything of a site is told that was theirs.
    async fn follow_others(&mut self, is_slow: bool) {
        if self.reader.gateway.is_none() {
            return;
        }
        let partitions = self.reader.sending.borrow().partitions;
        if !is_slow && self.partitions == partitions {
            return;
        }
        match self.alarms.refresh(&*self.reader.store).await {
            Ok(()) => self.partitions = partitions,
            Err(error) => {
                tracing::warn!(%error, "notify.alarms_unread: what other gateways told can't be read; trying again");
            }
        }
    }

    /// Notes that a lead was queued again: it may be overdue later.
    pub(super) fn requeued(&mut self, id: EntryId, at: Timestamp) {
        self.overdue.requeued(id, at);
    }

    /// Returns the events that the store couldn't take since the last time.
    pub(super) fn take_unstored(&mut self) -> Vec<Routed> {
        std::mem::take(&mut self.unstored)
    }

    /// Tells whether what was true before the start would have been noticed by now.
    fn is_settled(&self, now: Timestamp) -> bool {
        now >= later(self.begun_at, SETTLED_AFTER)
    }

    /// Tells whether no other gateway that shares the store has told the same within a while.
    async fn may_tell(&self, what: &str, within: Duration, now: Timestamp) -> bool {
        let Some(gateway) = &self.reader.gateway else { return true };
        let (Ok(what), Ok(teller)) = (Key::parse(what), Key::parse(gateway.as_str())) else { return true };
        // Where the store can't tell, once too often is better than never.
        self.reader.store.hold(&what, &teller, within, now).await.unwrap_or(true)
    }

    /// Records an event, once for a key. One that the store can't take goes out without it: that the store is full is just
    /// what somebody has to know.
    pub(super) async fn emit(&mut self, emission: Emission, once: &str, now: Timestamp) {
        let emitted = match Key::parse(once) {
            Ok(once) => self.reader.store.emit(&emission, &once, now).await,
            Err(_too_long) => return,
        };
        if let Err(error) = emitted {
            tracing::warn!(
                event = emission.event.as_str(),
                %error,
                "notify.unstored: the store can't take the event; it is sent from memory"
            );
            if self.unstored.len() < UNSTORED_MAX {
                self.unstored.push(Routed::emitted(emission, now));
            }
        }
    }
}

/// Records events, each once for its key; all of them, or with an error some.
async fn emit_all(store: &Arc<dyn Store>, events: Vec<(Emission, String)>, now: Timestamp) -> Result<(), StoreError> {
    let mut emitting = JoinSet::new();
    for (emission, once) in events {
        let Ok(once) = Key::parse(&once) else { continue };
        if emitting.len() >= EMITTED_AT_ONCE {
            emitted(emitting.join_next().await)?;
        }
        let store = Arc::clone(store);
        emitting.spawn(async move { store.emit(&emission, &once, now).await });
    }
    while !emitting.is_empty() {
        emitted(emitting.join_next().await)?;
    }
    Ok(())
}

fn emitted(ended: Option<Result<Result<bool, StoreError>, JoinError>>) -> Result<(), StoreError> {
    match ended {
        Some(Ok(emitted)) => emitted.map(|_is_new| ()),
        Some(Err(failed)) => Err(StoreError::Unavailable(failed.into())),
        None => Ok(()),
    }
}
