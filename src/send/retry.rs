//! When a lead that failed is tried again, and when no more.

use std::time::Duration;

use jiff::Timestamp;

use super::verdict::RETRY_AFTER_MAX;
use super::worker::REFUSED_WAIT;
use crate::config::Retry;
use crate::queue::{Attempt, AttemptResult, HISTORY_FIRST, HISTORY_MAX, Head, Reason};

/// However old a lead is, it is tried so often before it is given up.
pub const ATTEMPTS_MIN: u32 = 12;

/// Returns how long to wait after the `attempts`th attempt: exponential with full jitter, never before `asked`.
///
/// `fraction` is the randomness, from 0 to 1.
pub fn delay(retry: Retry, attempts: u32, asked: Option<Duration>, fraction: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let longest = retry.first.saturating_mul(1 << doublings).min(retry.max);
    let jitter = longest.mul_f64(fraction.clamp(0.0, 1.0));
    match asked {
        // What was asked for is the least; the jitter keeps all who were told the same from coming at once.
        Some(wait) => wait.saturating_add(jitter.min(retry.first)),
        None => jitter,
    }
}

/// Tells whether a lead is to be given up: tried for long enough, and often enough.
pub fn is_over(retry: Retry, head: &Head, now: Timestamp) -> bool {
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
        (_, Some(429 | 503)) => retry.max.max(RETRY_AFTER_MAX),
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
    use crate::queue::{Event, Reading, State};

    const RETRY: Retry = Retry {
        first: Duration::from_secs(5),
        max: Duration::from_secs(3600),
        give_up_after: Duration::from_secs(14 * 86_400),
    };

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits = [1, 2, 3, 10, 11, 60, u32::MAX].map(|attempts| delay(RETRY, attempts, None, 1.0).as_secs());
        assert_eq!(waits, [5, 10, 20, 2560, 3600, 3600, 3600]);
        assert_eq!(delay(RETRY, 3, None, 0.0), Duration::ZERO);
        assert_eq!(delay(RETRY, 3, None, 0.5), Duration::from_secs(10));
    }

    #[test]
    fn what_was_asked_for_is_the_least() {
        let asked = Some(Duration::from_secs(600));
        assert_eq!(delay(RETRY, 1, asked, 0.0), Duration::from_secs(600));
        assert_eq!(delay(RETRY, 20, asked, 1.0), Duration::from_secs(605));
    }

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
        assert!(is_over(RETRY, &head(ATTEMPTS_MIN, history.clone()), at(336)));
        assert!(!is_over(RETRY, &head(ATTEMPTS_MIN - 1, history.clone()), at(336)));
        history.pop();
        history.insert(1, failed(0));
        assert!(!is_over(RETRY, &head(ATTEMPTS_MIN, history), at(335)));
        assert!(!is_over(RETRY, &head(1000, Vec::new()), at(-5)));
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
