//! When a lead that failed is tried again, and when no more.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::Retry;

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

/// Tells whether a lead is to be given up: too old, and tried often enough.
pub fn is_over(retry: Retry, accepted_at: Timestamp, attempts: u32, now: Timestamp) -> bool {
    let age = Duration::try_from(now.duration_since(accepted_at)).unwrap_or_default();
    attempts >= ATTEMPTS_MIN && age >= retry.give_up_after
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_lead_is_given_up_when_it_is_old_and_was_tried_often() {
        let accepted = Timestamp::UNIX_EPOCH;
        let at = |days: i64| accepted + jiff::SignedDuration::from_hours(24 * days);
        assert!(!is_over(RETRY, accepted, ATTEMPTS_MIN - 1, at(100)));
        assert!(!is_over(RETRY, accepted, 1000, at(13)));
        assert!(is_over(RETRY, accepted, ATTEMPTS_MIN, at(14)));
        assert!(!is_over(RETRY, at(20), ATTEMPTS_MIN, at(14)));
    }
}
