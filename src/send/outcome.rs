//! What an attempt's end means for its lead: how its lease is settled.

use std::time::Duration;

use super::admission::{Learned, PROBE_AFTER, Wait, WaitReason};
use super::attempt::Ended;
use super::{backoff, history};
use crate::config::Config;
use crate::destination::Verdict;
use crate::queue::{Attempt, Head, Reason, Settlement};

/// An entry is held with the panic of so many attempts.
pub const PANICS_MAX: usize = 3;

/// Says how the lease of a lead ends that was posted.
pub(super) fn of_attempt(config: &Config, head: &Head, ended: Ended, learned: Learned) -> Settlement {
    let Ended { judged, attempt, at, .. } = ended;
    let Some(judged) = judged else {
        return Settlement::Again { after: Duration::ZERO, attempt };
    };
    let retry = config.queue.retry;
    let keep = config.queue.keep;
    match judged.verdict {
        Verdict::KeyRefused if learned == Learned::KeysOutdated => {
            Settlement::Postponed { after: Duration::ZERO, attempt: Some(attempt) }
        }
        Verdict::KeyRefused => Settlement::Postponed { after: PROBE_AFTER, attempt: Some(attempt) },
        Verdict::Delivered { lead_id } => Settlement::Delivered { lead_id, attempt, keep: keep.delivered },
        Verdict::LeadRefused if history::was_refused(head) => {
            Settlement::Dead { reason: Reason::Refused, attempt: Some(attempt), keep: keep.dead }
        }
        Verdict::LeadRefused => Settlement::Again { after: history::REFUSED_WAIT, attempt },
        Verdict::Again(_) if history::is_tried_out(retry, head, at) => {
            Settlement::Dead { reason: Reason::GaveUp, attempt: Some(attempt), keep: keep.dead }
        }
        Verdict::Again(failed) => {
            let after = backoff::delay(retry, head.attempts, failed.wait, rand::random());
            Settlement::Again { after, attempt }
        }
    }
}

/// Says how the lease of a lead ends that turned out to be there already.
pub(super) fn of_confirmed(config: &Config, attempt: Attempt) -> Settlement {
    Settlement::Delivered { lead_id: None, attempt, keep: config.queue.keep.delivered }
}

/// Says how the lease of a lead ends that has to wait.
pub(super) fn of_wait(wait: Wait) -> Settlement {
    match wait.why {
        WaitReason::SiteGone => Settlement::SiteGone { after: wait.after },
        _ => Settlement::Postponed { after: wait.after, attempt: None },
    }
}

/// Says how the lease of a lead ends that needs a person.
pub(super) fn of_hold(config: &Config, reason: Reason) -> Settlement {
    Settlement::Held { reason, attempt: None, keep: config.queue.keep.held }
}

/// Says how the lease of a lead ends whose attempt panicked, as so many did before: the lead may have arrived.
pub(super) fn of_panic(config: &Config, head: &Head, took: Duration) -> Settlement {
    let attempt = Attempt::panicked(took);
    if history::panics(head) + 1 >= PANICS_MAX {
        return Settlement::Held { reason: Reason::Poison, attempt: Some(attempt), keep: config.queue.keep.held };
    }
    let after = backoff::delay(config.queue.retry, head.attempts, None, rand::random());
    Settlement::Again { after, attempt }
}
