//! The worker: takes what is due, sends it, and writes down what came of it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::pause::{Pauses, Turn};
use super::retry;
use super::verdict::{Verdict, judge};
use crate::config::{Config, Site};
use crate::destination::KeyPair;
use crate::kaicalls::{Client, Reply};
use crate::lead::Lead;
use crate::queue::{Attempt, AttemptResult, Entry, Lease, Reason, Set, Settlement, Store, StoreError};
use crate::telemetry::{DeliveryEnd, Metrics};

/// How much longer than the longest POST a lease lasts.
const LEASE_MARGIN: Duration = Duration::from_secs(60);
/// How often is looked for what is due, should a hint be lost.
const POLL: Duration = Duration::from_secs(1);
/// How long is waited after the store failed.
const STORE_REST: Duration = Duration::from_secs(1);
/// How long attempts in flight get to end when the worker stops.
const DRAIN: Duration = Duration::from_secs(8);
/// After a refusal a lead is tried once more: a bad deploy refuses good leads too.
const REFUSED_WAIT: Duration = Duration::from_secs(60 * 60);

/// Sends queued entries to KaiCalls. Clones share their state.
#[derive(Clone)]
pub struct Sender {
    store: Arc<dyn Store>,
    client: Client,
    config: Arc<ArcSwap<Config>>,
    metrics: Arc<Metrics>,
    pauses: Arc<Pauses>,
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
        Self { store, client, config, metrics, pauses: Arc::default() }
    }

    /// Sends until `shutdown` says true, then lets the attempts in flight end.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) -> Stopped {
        // Registered before the first look, so that nothing due in between is missed.
        let mut changed = self.store.changed();
        let mut attempts = JoinSet::new();
        while !*shutdown.borrow_and_update() {
            changed.borrow_and_update();
            let more = self.fill(&mut attempts).await;
            if more && !self.is_full(&attempts) {
                continue;
            }
            // Each branch only wakes the loop, so dropping one loses nothing.
            tokio::select! {
                _ = shutdown.changed() => {}
                _ = attempts.join_next(), if !attempts.is_empty() => {}
                _ = changed.changed(), if !self.is_full(&attempts) => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        self.drain(attempts).await
    }

    /// Sends what is due now and waits until it is settled; tells how many attempts that were.
    ///
    /// For those who step the worker by hand: tests, and the demo.
    pub async fn send_due(&self) -> usize {
        let mut attempts = JoinSet::new();
        let mut ended = 0;
        while self.fill(&mut attempts).await {
            ended += attempts.len();
            while attempts.join_next().await.is_some() {}
        }
        ended
    }

    fn is_full(&self, attempts: &JoinSet<()>) -> bool {
        attempts.len() >= self.slots()
    }

    fn slots(&self) -> usize {
        usize::try_from(self.config.load().upstream.max_in_flight.get()).unwrap_or(usize::MAX)
    }

    /// Claims what there is room for; tells whether anything was due.
    async fn fill(&self, attempts: &mut JoinSet<()>) -> bool {
        while attempts.try_join_next().is_some() {}
        let config = self.config.load_full();
        let free = self.slots().saturating_sub(attempts.len());
        if free == 0 {
            return false;
        }
        let lease = config.upstream.timeout + LEASE_MARGIN;
        match self.store.claim(free, lease, Timestamp::now(), None).await {
            Ok(leases) => {
                let any = !leases.is_empty();
                for lease in leases {
                    let (sender, config) = (self.clone(), Arc::clone(&config));
                    attempts.spawn(async move { sender.handle(&config, lease).await });
                }
                any
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "queue.claim_failed: leads wait until the store answers again");
                tokio::time::sleep(STORE_REST).await;
                false
            }
        }
    }

    async fn drain(&self, mut attempts: JoinSet<()>) -> Stopped {
        let all = async { while attempts.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, all).await.is_ok() {
            return Stopped::Drained;
        }
        let cut = attempts.len();
        // A lease whose attempt is cut off stays in the store: whoever opens it next finds a claim without an end
        // and records it as ambiguous.
        attempts.shutdown().await;
        Stopped::Cut(cut)
    }

    /// Brings one lease to its end.
    async fn handle(&self, config: &Config, lease: Lease) {
        let settlement = match self.ready(config, &lease.entry) {
            Ok((site, keys, lead)) => self.deliver(config, site, keys, lead, &lease.entry).await,
            Err(settlement) => settlement,
        };
        self.settle(&lease, settlement).await;
    }

    /// Returns what is needed to send an entry, or why it can't be sent now.
    fn ready<'a>(&self, config: &'a Config, entry: &'a Entry) -> Result<(&'a Site, &'a KeyPair, &'a Lead), Settlement> {
        let held = |reason| Settlement::Held { reason, keep: config.queue.keep.held };
        let site = config.sites.get(&entry.site).ok_or_else(|| held(Reason::SiteGone))?;
        if !site.deliver {
            return Err(held(Reason::DeliverOff));
        }
        let lead = entry.content.lead.as_ref().ok_or_else(|| held(Reason::Invalid))?;
        let keys = site.form_keys.get(&entry.form).unwrap_or(&site.keys);
        match self.pauses.turn(&site.id, keys, Timestamp::now()) {
            Turn::Send => Ok((site, keys, lead)),
            Turn::Wait(after) => Err(Settlement::Postponed { after, attempt: None }),
        }
    }

    async fn deliver(&self, config: &Config, site: &Site, keys: &KeyPair, lead: &Lead, entry: &Entry) -> Settlement {
        let started = Instant::now();
        let reply = self.client.intake(keys, lead, entry.id, None).await;
        let (duration, now) = (started.elapsed(), Timestamp::now());
        let verdict = judge(&reply, now);
        let attempt = attempt(&reply, &verdict, duration);
        self.tell(entry, &attempt, duration, now);
        match &verdict {
            Verdict::KeyRefused => {
                self.pauses.pause(&site.id, keys, now);
                tracing::warn!(site = %site.id, "send.paused: KaiCalls refuses the site's keys; its leads wait for new ones");
            }
            _ if attempt.status.is_some() => self.pauses.resume(&site.id),
            _ => {}
        }
        self.metrics.paused(self.pauses.len());
        settlement(config, entry, verdict, attempt, now)
    }

    fn tell(&self, entry: &Entry, attempt: &Attempt, duration: Duration, now: Timestamp) {
        let end = match attempt.result {
            AttemptResult::Delivered => DeliveryEnd::Delivered,
            AttemptResult::KeyRefused => DeliveryEnd::KeyRefused,
            AttemptResult::LeadRefused => DeliveryEnd::LeadRefused,
            AttemptResult::Failed => DeliveryEnd::Failed,
            AttemptResult::Ambiguous => DeliveryEnd::Ambiguous,
        };
        self.metrics.attempt(end, duration);
        if end == DeliveryEnd::Delivered {
            let age = now.duration_since(entry.accepted_at);
            self.metrics.delivered_at_age(Duration::try_from(age).unwrap_or_default());
        }
        tracing::info!(
            id = %entry.id,
            site = %entry.site,
            form = %entry.form,
            attempt = entry.attempts,
            result = end.as_str(),
            status = attempt.status,
            duration_ms = attempt.duration_ms,
            "send.attempt"
        );
    }

    /// Writes a lease's end down. Where the store is away it is tried until the lease has run out.
    async fn settle(&self, lease: &Lease, settlement: Settlement) {
        for _ in 0..LEASE_MARGIN.as_secs() {
            match self.store.settle(lease, settlement.clone(), Timestamp::now()).await {
                Ok(Set::Done) => return,
                Ok(Set::Lost) => {
                    tracing::warn!(id = %lease.entry.id, "queue.lease_lost: another attempt holds the entry now");
                    return;
                }
                Err(StoreError::Corrupt(source)) => {
                    tracing::error!(id = %lease.entry.id, error = %Chain(&*source), "queue.settle_failed");
                    return;
                }
                Err(error) => {
                    tracing::error!(id = %lease.entry.id, error = %Chain(&error), "queue.settle_failed: tried again");
                    tokio::time::sleep(STORE_REST).await;
                }
            }
        }
    }
}

fn attempt(reply: &Reply, verdict: &Verdict, duration: Duration) -> Attempt {
    let (status, words) = match reply {
        Reply::Answered(answer) => (Some(answer.status), answer.words.clone()),
        Reply::Failed(failure) => (None, Some(failure.to_string())),
    };
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Attempt { result: verdict.result(), status, duration_ms, words }
}

fn settlement(config: &Config, entry: &Entry, verdict: Verdict, attempt: Attempt, now: Timestamp) -> Settlement {
    let (retry, keep) = (config.queue.retry, config.queue.keep);
    match verdict {
        Verdict::Delivered { lead_id } => Settlement::Delivered { lead_id, attempt, keep: keep.delivered },
        Verdict::KeyRefused => Settlement::Postponed { after: super::PROBE_AFTER, attempt: Some(attempt) },
        Verdict::LeadRefused if was_refused(entry) => {
            Settlement::Dead { reason: Reason::Refused, attempt: Some(attempt), keep: keep.dead }
        }
        Verdict::LeadRefused => Settlement::Again { after: REFUSED_WAIT, attempt },
        Verdict::Again { .. } if retry::is_over(retry, entry.accepted_at, entry.attempts, now) => {
            Settlement::Dead { reason: Reason::GaveUp, attempt: Some(attempt), keep: keep.dead }
        }
        Verdict::Again { wait, .. } => {
            Settlement::Again { after: retry::delay(retry, entry.attempts, wait, rand::random()), attempt }
        }
    }
}

/// Tells whether KaiCalls has refused the lead before, since it was last queued.
fn was_refused(entry: &Entry) -> bool {
    let since_queued = entry.history.iter().rev().take_while(|event| event.reason != Reason::Retried);
    let mut attempts = since_queued.filter_map(|event| event.attempt.as_ref());
    attempts.any(|attempt| attempt.result == AttemptResult::LeadRefused)
}

/// An error with its causes, in one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

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
