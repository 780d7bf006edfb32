//! One attempt: the POST, what it tells, and how its lease ends.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::clock::Clock;
use super::manners::Learned;
use super::retry;
use super::slots::End;
use super::verdict::{Verdict, judge};
use super::worker::{Chain, LEASE_MARGIN, REFUSED_WAIT, STORE_REST, Sender, since_queued};
use crate::config::Config;
use crate::destination::KeyPair;
use crate::kaicalls::Reply;
use crate::lead::Lead;
use crate::queue::{Attempt, AttemptResult, Entry, HASTEN_MAX, Lease, Reason, Set, Settlement, Store, StoreError};
use crate::telemetry::{DeliveryEnd, Metrics};

/// Said of an attempt that was cut off.
const CUT: &str = "the gateway stopped before an answer came";

/// What is sent, and as whom.
pub(super) struct Ready {
    pub(super) keys: KeyPair,
    pub(super) lead: Lead,
}

/// A lease that is to be sent.
pub(super) struct Delivery {
    pub(super) config: Arc<Config>,
    pub(super) ready: Ready,
    pub(super) lease: Lease,
}

impl Sender {
    /// Sends one lead and settles its lease.
    pub(super) async fn deliver(&self, delivery: Delivery) -> End {
        let Delivery { config, ready: Ready { keys, lead }, lease } = delivery;
        let (entry, started) = (&lease.entry, Instant::now());
        let mut cut = self.cut.subscribe();
        // The POST is dropped only where nobody waits for its end any more: that is recorded as ambiguous.
        let reply = tokio::select! {
            reply = self.client.intake(&keys, &lead, entry.id, entry.content.received.traceparent.as_deref()) => Some(reply),
            _ = cut.wait_for(|cut| *cut) => None,
        };
        let (duration, now) = (started.elapsed(), self.clock.now());
        let verdict = reply.as_ref().map_or(Verdict::Again { wait: None, ambiguous: true }, |reply| judge(reply, now));
        let attempt = attempt(reply.as_ref(), &verdict, duration);
        tell(&self.metrics, entry, &attempt, duration, now);
        let learned =
            reply.as_ref().map(|reply| self.manners.ended(&self.config.load(), (entry, &keys), (reply, &verdict), now));
        self.manners.tell(&self.metrics);
        let settlement = match learned {
            Some(Learned::KeysOutdated) => Settlement::Postponed { after: Duration::ZERO, attempt: Some(attempt) },
            Some(_) => settlement(&config, entry, verdict, attempt, now),
            None => Settlement::Again { after: Duration::ZERO, attempt },
        };
        if matches!(settlement, Settlement::Again { .. }) {
            self.metrics.retried();
        }
        settle(&*self.store, &lease, settlement, &self.clock).await;
        match learned {
            None => return End::Cut,
            Some(Learned::Resumed) => self.hasten(&entry.site, HASTEN_MAX).await,
            Some(_) => {}
        }
        End::Settled
    }
}

fn attempt(reply: Option<&Reply>, verdict: &Verdict, duration: Duration) -> Attempt {
    let (status, words) = match reply {
        Some(Reply::Answered(answer)) => (Some(answer.status), answer.words.clone()),
        Some(Reply::Failed(failure)) => (None, Some(failure.to_string())),
        None => (None, Some(CUT.to_owned())),
    };
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Attempt { result: verdict.result(), status, duration_ms, words, confirmed: None }
}

/// One metric and one line for each attempt.
fn tell(metrics: &Metrics, entry: &Entry, attempt: &Attempt, duration: Duration, now: Timestamp) {
    let end = match attempt.result {
        AttemptResult::Delivered => DeliveryEnd::Delivered,
        AttemptResult::KeyRefused => DeliveryEnd::KeyRefused,
        AttemptResult::LeadRefused => DeliveryEnd::LeadRefused,
        AttemptResult::Failed => DeliveryEnd::Failed,
        AttemptResult::Ambiguous => DeliveryEnd::Ambiguous,
    };
    metrics.attempt(end, duration);
    if end == DeliveryEnd::Delivered {
        let age = now.duration_since(entry.accepted_at);
        metrics.delivered_at_age(Duration::try_from(age).unwrap_or_default());
    }
    tracing::info!(
        id = %entry.id,
        site = %entry.site,
        form = %entry.form,
        trace_id = entry.content.received.trace_id(),
        attempt = entry.attempts,
        result = end.as_str(),
        status = attempt.status,
        duration_ms = attempt.duration_ms,
        "send.attempt"
    );
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
        Verdict::Again { .. } if retry::is_over(retry, entry, now) => {
            Settlement::Dead { reason: Reason::GaveUp, attempt: Some(attempt), keep: keep.dead }
        }
        Verdict::Again { wait, .. } => {
            Settlement::Again { after: retry::delay(retry, entry.attempts, wait, rand::random()), attempt }
        }
    }
}

/// Tells whether KaiCalls has refused the lead before, since it was last queued.
fn was_refused(entry: &Entry) -> bool {
    since_queued(entry).any(|(_, result)| result == AttemptResult::LeadRefused)
}

/// Writes a lease's end down. Where the store is away it is tried until the lease has run out.
pub(super) async fn settle(store: &dyn Store, lease: &Lease, settlement: Settlement, clock: &Clock) {
    for _ in 0..LEASE_MARGIN.as_secs() {
        match store.settle(lease, settlement.clone(), clock.now()).await {
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
