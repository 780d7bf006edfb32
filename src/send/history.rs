//! What an entry's history says: how long it has been tried, what refused it, what may have arrived.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{later, until};
use crate::config::Retry;
use crate::destination::ASKED_WAIT_MAX;
use crate::queue::{Attempt, AttemptResult, Event, HISTORY_FIRST, HISTORY_MAX, Head, Reason};

/// However old a lead is, it is tried so often before it is given up.
pub const ATTEMPTS_MIN: u32 = 12;
/// After a refusal a lead is tried once more: a bad deploy refuses good leads too.
pub(super) const REFUSED_WAIT: Duration = Duration::from_secs(60 * 60);
/// So long after an attempt it may be asked for: the list of leads need not be made in the same moment.
pub(super) const CONFIRM_AFTER: Duration = Duration::from_secs(5);

/// Tells whether the API has refused the lead since it was last queued.
pub(super) fn was_refused(head: &Head) -> bool {
    last_refused(head).is_some()
}

/// Returns how long a lead that was refused has to wait yet, though its site's waits were ended meanwhile.
pub(super) fn refused_wait(head: &Head, now: Timestamp) -> Option<Duration> {
    until(later(last_refused(head)?, REFUSED_WAIT), now, REFUSED_WAIT)
}

fn last_refused(head: &Head) -> Option<Timestamp> {
    let refused = head.attempts_since_queued().find(|(_, attempt)| attempt.result == AttemptResult::LeadRefused);
    refused.map(|(at, _)| at)
}

/// Tells whether the keys were refused that a lead was last sent with.
pub(super) fn is_key_refused(head: &Head) -> bool {
    head.last_attempt().is_some_and(|attempt| attempt.result == AttemptResult::KeyRefused)
}

/// Returns how long it is until a lead that may have arrived may be asked for.
pub(super) fn confirm_wait(head: &Head, now: Timestamp) -> Option<Duration> {
    let last = ambiguous(head).map(|(event, _)| event.at).max()?;
    until(later(last, CONFIRM_AFTER), now, CONFIRM_AFTER)
}

/// Returns how often sending the lead panicked since it was last queued.
pub(super) fn panics(head: &Head) -> usize {
    head.attempts_since_queued().filter(|(_, attempt)| attempt.has_panicked()).count()
}

/// Returns the attempts since the lead was last queued that may have arrived.
pub(super) fn ambiguous(head: &Head) -> impl Iterator<Item = (&Event, &Attempt)> {
    let since = head.history.iter().skip(head.last_retried().unwrap_or_default());
    let attempts = since.filter_map(|event| Some((event, event.attempt.as_ref()?)));
    attempts.filter(|(_, attempt)| attempt.result == AttemptResult::Ambiguous)
}

/// Tells whether a lead is to be given up: tried for long enough, and often enough.
pub(super) fn is_tried_out(retry: Retry, head: &Head, now: Timestamp) -> bool {
    head.attempts >= ATTEMPTS_MIN && time_tried(retry, head, now) >= retry.give_up_after
}

/// Returns how long a lead has been tried since it was last queued: its age without the time in which its site was
/// paused or gone.
///
/// No pause is written down, so it is told from the gaps between attempts: of each, no more counts than the longest wait
/// that the attempt before can have led to. So time doesn't count either in which a circuit was open for longer than that,
/// or nothing ran: a lead is rather tried too long than too short. Where a history's middle is left out, that gap counts
/// whole.
fn time_tried(retry: Retry, head: &Head, now: Timestamp) -> Duration {
    let queued = head.last_retried();
    let begun = queued_at(head);
    let cut_at = (head.history.len() >= HISTORY_MAX).then_some(HISTORY_FIRST);
    let (mut from, mut longest, mut tried) = (begun, retry.max, Duration::ZERO);
    for (index, event) in head.history.iter().enumerate().skip(queued.map_or(0, |at| at + 1)) {
        let gap = elapsed(from, event.at);
        let gap_counts_whole = cut_at == Some(index);
        tried += if gap_counts_whole { gap } else { gap.min(longest) };
        from = event.at;
        longest = match (&event.attempt, event.reason) {
            (Some(attempt), _) => longest_wait(retry, attempt),
            (None, Reason::SiteGone) => Duration::ZERO,
            (None, Reason::SiteBack) => retry.max,
            (None, _) => longest,
        };
    }
    tried + elapsed(from, now).min(longest)
}

/// Returns when a lead was queued: when it came, or when an operator last sent it again.
pub(super) fn queued_at(head: &Head) -> Timestamp {
    head.last_retried().and_then(|at| head.history.get(at)).map_or(head.accepted_at, |event| event.at)
}

/// Returns the longest wait that an attempt can have led to.
fn longest_wait(retry: Retry, attempt: &Attempt) -> Duration {
    match (attempt.result, attempt.status) {
        (AttemptResult::KeyRefused, _) => Duration::ZERO,
        (AttemptResult::LeadRefused, _) => retry.max.max(REFUSED_WAIT),
        // These two come with a `Retry-After`.
        (_, Some(429 | 503)) => retry.max.max(ASKED_WAIT_MAX),
        _ => retry.max,
    }
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lead::{EntryId, FormId, SiteId};
    use crate::queue::{Reading, State};

    const RETRY: Retry = Retry {
        first: Duration::from_secs(5),
        max: Duration::from_secs(3600),
        give_up_after: Duration::from_secs(14 * 86_400),
    };

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(hours)
    }

    fn event(hours: i64, reason: Reason, result: Option<(AttemptResult, Option<u16>)>) -> Event {
        let attempt =
            result.map(|(result, status)| Attempt { result, status, duration_ms: 1, words: None, confirmed: None });
        Event { at: at(hours), state: State::Queued, reason, attempt }
    }

    fn failed(hours: i64) -> Event {
        event(hours, Reason::Retrying, Some((AttemptResult::Failed, Some(500))))
    }

    fn head(attempts: u32, history: Vec<Event>) -> Head {
        let slug = "a";
        Head {
            id: EntryId::new(1, &[1; 10]),
            site: SiteId::parse(slug).expect("a slug"),
            form: FormId::parse(slug).expect("a slug"),
            state: State::Queued,
            reason: Reason::Retrying,
            revision: 1,
            accepted_at: at(0),
            due_at: None,
            expires_at: None,
            attempts,
            seen: 0,
            lead_id: None,
            reading: Reading::default(),
            traceparent: None,
            history,
        }
    }

    /// Every hour from the first to before the last.
    fn hourly(hours: std::ops::Range<i64>) -> Vec<Event> {
        std::iter::once(event(0, Reason::Accepted, None)).chain(hours.map(failed)).collect()
    }

    fn hours(head: &Head, now: i64) -> u64 {
        time_tried(RETRY, head, at(now)).as_secs() / 3600
    }

    #[test]
    fn a_lead_is_given_up_when_it_was_tried_long_and_often() {
        // What a store keeps of an attempt an hour for two weeks.
        let mut history = hourly(1..10);
        history.extend((287..336).chain([336]).map(failed));
        assert_eq!(history.len(), HISTORY_MAX);
        assert!(is_tried_out(RETRY, &head(ATTEMPTS_MIN, history.clone()), at(336)));
        assert!(!is_tried_out(RETRY, &head(ATTEMPTS_MIN - 1, history.clone()), at(336)));
        history.pop();
        history.insert(1, failed(0));
        assert!(!is_tried_out(RETRY, &head(ATTEMPTS_MIN, history), at(335)));
        assert!(!is_tried_out(RETRY, &head(1000, Vec::new()), at(-5)));
    }

    #[test]
    fn time_in_which_a_site_was_paused_does_not_count() {
        let refused = |hours| event(hours, Reason::Accepted, Some((AttemptResult::KeyRefused, Some(401))));
        // Others of the site were probed, this one waited.
        assert_eq!(hours(&head(1, hourly(1000..1003)), 1003), 1 + 2 + 1);
        // It was the probe itself, every now and then.
        let mut history = hourly(1..3);
        history.extend([refused(3), refused(4), refused(500)]);
        assert_eq!(hours(&head(3, history.clone()), 700), 3);
        history.push(failed(700));
        assert_eq!(hours(&head(4, history), 701), 4);
    }

    #[test]
    fn time_in_which_a_site_was_gone_does_not_count() {
        let mut history = hourly(1..3);
        history.extend([event(3, Reason::SiteGone, None), event(400, Reason::SiteBack, None), failed(401)]);
        assert_eq!(hours(&head(3, history), 401), 4);
    }

    #[test]
    fn a_wait_that_was_asked_for_counts() {
        let mut history = hourly(1..2);
        history.push(event(2, Reason::Retrying, Some((AttemptResult::Failed, Some(429)))));
        assert_eq!(hours(&head(3, history), 22), 22);
    }

    #[test]
    fn an_operators_retry_begins_anew() {
        let mut history = hourly(1..9);
        history.push(event(900, Reason::Retried, None));
        assert_eq!(hours(&head(0, history.clone()), 900), 0);
        history.push(event(901, Reason::Retried, Some((AttemptResult::KeyRefused, Some(401)))));
        history.push(failed(902));
        assert_eq!(hours(&head(2, history), 903), 2);
    }
}
