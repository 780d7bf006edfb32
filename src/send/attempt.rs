//! One attempt: the POST, and what it tells.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::Clock;
use crate::destination::{Failed, Judged, KeyPair, Verdict};
use crate::kaicalls::Client;
use crate::lead::Lead;
use crate::queue::activity::{Activity, LeadEnd};
use crate::queue::{Attempt, AttemptResult, Confirmed, Head};
use crate::telemetry::{DeliveryEnd, Metrics};

/// Said of an attempt that was cut off.
const CUT: &str = "the gateway stopped before an answer came";

/// How one POST ended.
pub(super) struct Ended {
    /// None where it was cut off.
    pub(super) judged: Option<Judged>,
    pub(super) attempt: Attempt,
    pub(super) at: Timestamp,
    pub(super) took: Duration,
}

/// Posts a lead, unless `cut` turns true before it is answered.
pub(super) async fn post(
    client: &Client,
    keys: &KeyPair,
    lead: &Lead,
    head: &Head,
    clock: &Clock,
    mut cut: watch::Receiver<bool>,
) -> Ended {
    let begun = Instant::now();
    // The POST is dropped only where nobody waits for its end any more: that is recorded as ambiguous.
    let reply = tokio::select! {
        reply = client.intake(keys, lead, head.id, head.traceparent.as_deref()) => Some(reply),
        _ = cut.wait_for(|cut| *cut) => None,
    };
    let took = begun.elapsed();
    let at = clock.now();
    let judged = reply.map(|reply| reply.judge(at));
    let attempt = Attempt {
        result: judged.as_ref().map_or(AttemptResult::Ambiguous, |judged| result(&judged.verdict)),
        status: judged.as_ref().and_then(|judged| judged.status),
        duration_ms: milliseconds(took),
        words: judged.as_ref().map_or_else(|| Some(CUT.to_owned()), |judged| judged.words.clone()),
        confirmed: None,
    };
    Ended { judged, attempt, at, took }
}

/// Makes the attempt of a lead that turned out to be there.
pub(super) fn confirmed(took: Duration) -> Attempt {
    Attempt {
        result: AttemptResult::Delivered,
        status: None,
        duration_ms: milliseconds(took),
        words: None,
        confirmed: Some(Confirmed::Widget),
    }
}

/// Says an attempt's end in the words that are kept with its entry.
fn result(verdict: &Verdict) -> AttemptResult {
    match verdict {
        Verdict::Delivered { .. } => AttemptResult::Delivered,
        Verdict::KeyRefused => AttemptResult::KeyRefused,
        Verdict::LeadRefused => AttemptResult::LeadRefused,
        Verdict::Again(Failed { ambiguous: true, .. }) => AttemptResult::Ambiguous,
        Verdict::Again(Failed { ambiguous: false, .. }) => AttemptResult::Failed,
    }
}

/// Rounded up: only an attempt whose end nobody saw has none.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000).max(1)).unwrap_or(u64::MAX)
}

/// Tells of an attempt: one metric, one line.
pub(super) fn tell(metrics: &Metrics, activity: &Activity, head: &Head, ended: &Ended) {
    let Ended { attempt, at, took, .. } = ended;
    let end = match attempt.result {
        AttemptResult::Delivered => DeliveryEnd::Delivered,
        AttemptResult::KeyRefused => DeliveryEnd::KeyRefused,
        AttemptResult::LeadRefused => DeliveryEnd::LeadRefused,
        AttemptResult::Failed => DeliveryEnd::Failed,
        AttemptResult::Ambiguous => DeliveryEnd::Ambiguous,
    };
    metrics.attempt(end, *took);
    if end == DeliveryEnd::Delivered {
        count_delivered(metrics, activity, head, *at);
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

/// Counts a lead that was delivered, or turned out to be.
pub(super) fn count_delivered(metrics: &Metrics, activity: &Activity, head: &Head, at: Timestamp) {
    let age = Duration::try_from(at.duration_since(head.accepted_at)).unwrap_or_default();
    metrics.delivered_at_age(age);
    metrics.site_delivered(head.site.as_str());
    activity.settled(&head.site, &head.form, LeadEnd::Delivered { took: age }, at);
}
