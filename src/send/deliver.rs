//! One attempt: the POST, what it tells, and how its lease ends.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::manners::Learned;
use super::retry;
use super::share::Seat;
use super::slots::End;
use super::verdict::{Verdict, judge};
use super::worker::{Chain, LEASE_MARGIN, REFUSED_WAIT, STORE_REST, Sender};
use crate::config::Config;
use crate::destination::KeyPair;
use crate::kaicalls::{Answer, Envelope, Reply};
use crate::lead::Lead;
use crate::queue::{Attempt, AttemptResult, HASTEN_MAX, Head, Lease, Reason, Set, Settlement, Store, StoreError};
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
    pub(super) lease: Arc<Lease>,
    pub(super) seat: Seat,
}

impl Sender {
    /// Sends one lead, unless it turns out to be there already, and settles its lease.
    pub(super) async fn deliver(&self, delivery: Delivery) -> End {
        if let Some(end) = self.settle_by_asking(&delivery).await {
            return end;
        }
        let Delivery { config, ready: Ready { keys, lead }, lease, mut seat } = delivery;
        let head = &lease.head;
        let started = Instant::now();
        let reply = self.post(&keys, &lead, head).await;
        let (duration, now) = (started.elapsed(), self.clock.now());
        let verdict = reply.as_ref().map_or(Verdict::Again { wait: None, ambiguous: true }, |reply| judge(reply, now));
        if !matches!(verdict, Verdict::Again { .. }) {
            seat.answered();
        }
        let attempt = attempt(reply.as_ref(), &verdict, duration);
        tell(&self.metrics, head, &attempt, duration, now);
        let learned = reply
            .as_ref()
            .map(|reply| self.manners.ended(&self.config.load(), (head, &keys), (reply, &verdict, &attempt), now));
        self.publish(now);
        let settlement = match learned {
            Some(Learned::KeysOutdated) => Settlement::Postponed { after: Duration::ZERO, attempt: Some(attempt) },
            Some(_) => settlement(&config, head, verdict, attempt, now),
            None => Settlement::Again { after: Duration::ZERO, attempt },
        };
        if matches!(settlement, Settlement::Again { .. }) {
            self.metrics.retried();
        }
        settle(&*self.store, &lease, settlement, now).await;
        drop(seat);
        match learned {
            None => return End::Cut,
            Some(Learned::Resumed) => self.hasten(&head.site, HASTEN_MAX).await,
            Some(_) => {}
        }
        End::Settled
    }

    /// Posts a lead; none where that was cut off.
    async fn post(&self, keys: &KeyPair, lead: &Lead, head: &Head) -> Option<Reply> {
        let mut cut = self.cut.subscribe();
        // The POST is dropped only where nobody waits for its end any more: that is recorded as ambiguous.
        tokio::select! {
            reply = self.client.intake(keys, lead, head.id, head.traceparent.as_deref()) => Some(reply),
            _ = cut.wait_for(|cut| *cut) => None,
        }
    }

    pub(super) fn count_delivered(&self, head: &Head, now: Timestamp) {
        self.metrics.delivered_at_age(age(head, now));
        self.metrics.site_delivered(head.site.as_str());
    }
}

/// Rounded up: only an attempt whose end nobody saw has none.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000).max(1)).unwrap_or(u64::MAX)
}

fn age(head: &Head, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(head.accepted_at)).unwrap_or_default()
}

fn attempt(reply: Option<&Reply>, verdict: &Verdict, duration: Duration) -> Attempt {
    let (status, words) = match reply {
        Some(Reply::Answered(answer)) => (Some(answer.status), words_of(answer)),
        Some(Reply::Failed(failure)) => (None, Some(failure.to_string())),
        None => (None, Some(CUT.to_owned())),
    };
    Attempt { result: verdict.result(), status, duration_ms: milliseconds(duration), words, confirmed: None }
}

/// The API's words; else what came instead of them.
fn words_of(answer: &Answer) -> Option<String> {
    match &answer.envelope {
        Envelope::Other(foreign) => Some(foreign.to_string()),
        Envelope::Success(_) | Envelope::Failure => answer.words.clone(),
    }
}

/// One metric and one line for each attempt.
fn tell(metrics: &Metrics, head: &Head, attempt: &Attempt, duration: Duration, now: Timestamp) {
    let end = match attempt.result {
        AttemptResult::Delivered => DeliveryEnd::Delivered,
        AttemptResult::KeyRefused => DeliveryEnd::KeyRefused,
        AttemptResult::LeadRefused => DeliveryEnd::LeadRefused,
        AttemptResult::Failed => DeliveryEnd::Failed,
        AttemptResult::Ambiguous => DeliveryEnd::Ambiguous,
    };
    metrics.attempt(end, duration);
    if end == DeliveryEnd::Delivered {
        metrics.delivered_at_age(age(head, now));
        metrics.site_delivered(head.site.as_str());
    }
    tracing::info!(
        id = %head.id,
        site = %head.site,
        form = %head.form,
        trace_id = head.trace_id(),
        attempt = head.attempts,
        result = end.as_str(),
        status = attempt.status,
        duration_ms = attempt.duration_ms,
        "send.attempt"
    );
}

fn settlement(config: &Config, head: &Head, verdict: Verdict, attempt: Attempt, now: Timestamp) -> Settlement {
    let (retry, keep) = (config.queue.retry, config.queue.keep);
    match verdict {
        Verdict::Delivered { lead_id } => Settlement::Delivered { lead_id, attempt, keep: keep.delivered },
        Verdict::KeyRefused => Settlement::Postponed { after: super::PROBE_AFTER, attempt: Some(attempt) },
        Verdict::LeadRefused if was_refused(head) => {
            Settlement::Dead { reason: Reason::Refused, attempt: Some(attempt), keep: keep.dead }
        }
        Verdict::LeadRefused => Settlement::Again { after: REFUSED_WAIT, attempt },
        Verdict::Again { .. } if retry::is_over(retry, head, now) => {
            Settlement::Dead { reason: Reason::GaveUp, attempt: Some(attempt), keep: keep.dead }
        }
        Verdict::Again { wait, .. } => {
            Settlement::Again { after: retry::delay(retry, head.attempts, wait, rand::random()), attempt }
        }
    }
}

/// Tells whether KaiCalls has refused the lead before, since it was last queued.
fn was_refused(head: &Head) -> bool {
    head.attempts_since_queued().any(|(_, attempt)| attempt.result == AttemptResult::LeadRefused)
}

/// Writes a lease's end down, as of when it ended. Where the store is away it is tried until the lease has run out.
pub(super) async fn settle(store: &dyn Store, lease: &Lease, settlement: Settlement, ended_at: Timestamp) {
    for _ in 0..LEASE_MARGIN.as_secs() {
        match store.settle(lease, settlement.clone(), ended_at).await {
            Ok(Set::Done(_)) => return,
            Ok(Set::Lost) => {
                tracing::warn!(id = %lease.head.id, "queue.lease_lost: another attempt holds the entry now");
                return;
            }
            Err(StoreError::Corrupt(source)) => {
                tracing::error!(id = %lease.head.id, error = %Chain(&*source), "queue.settle_failed");
                return;
            }
            Err(error) => {
                tracing::error!(id = %lease.head.id, error = %Chain(&error), "queue.settle_failed: tried again");
                tokio::time::sleep(STORE_REST).await;
            }
        }
    }
}
