//! How long a lead waits after an attempt that settled nothing.

use std::time::Duration;

use crate::config::Retry;

/// Returns how long to wait after the `attempts`th attempt: exponential with full jitter, never before `asked`.
///
/// `fraction` is the randomness, from 0 to 1.
pub(super) fn delay(retry: Retry, attempts: u32, asked: Option<Duration>, fraction: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let longest = retry.first.saturating_mul(1 << doublings).min(retry.max);
    let jitter = longest.mul_f64(fraction.clamp(0.0, 1.0));
    match asked {
        // What was asked for is the least; the jitter keeps all who were told the same from coming at once.
        Some(wait) => wait.saturating_add(jitter.min(retry.first)),
        None => jitter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits =
            [1, 2, 3, 10, 11, 60, u32::MAX].map(|attempts| delay(Retry::default(), attempts, None, 1.0).as_secs());
        assert_eq!(waits, [5, 10, 20, 2560, 3600, 3600, 3600]);
        assert_eq!(delay(Retry::default(), 3, None, 0.0), Duration::ZERO);
        assert_eq!(delay(Retry::default(), 3, None, 0.5), Duration::from_secs(10));
    }

    #[test]
    fn what_was_asked_for_is_the_least() {
        let asked = Some(Duration::from_secs(600));
        assert_eq!(delay(Retry::default(), 1, asked, 0.0), Duration::from_secs(600));
        assert_eq!(delay(Retry::default(), 20, asked, 1.0), Duration::from_secs(605));
    }
}
