//! When a server wants to be asked again, and what its clock says.

use std::time::Duration;

use jiff::Timestamp;

/// Longest wait that is understood, some 136 years: added to any time of ours it overflows nothing.
const WAIT_MAX_S: u64 = u32::MAX as u64;

/// A `Retry-After` header as it came. What is absurd is for the caller to cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    After(Duration),
    At(Timestamp),
}

impl RetryAfter {
    /// Reads the header's value: seconds, or a date.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // Only too many digits can fail here, and that is a very long wait.
            let seconds = text.parse().unwrap_or(u64::MAX).min(WAIT_MAX_S);
            return Some(Self::After(Duration::from_secs(seconds)));
        }
        parse_http_date(text).map(Self::At)
    }

    /// Returns how long to wait. `now` is the reply's own `Date` where it has one, so that two clocks need not agree.
    pub fn wait(self, now: Timestamp) -> Duration {
        match self {
            Self::After(wait) => wait,
            Self::At(time) => {
                let wait = time.duration_since(now).max(jiff::SignedDuration::ZERO).unsigned_abs();
                wait.min(Duration::from_secs(WAIT_MAX_S))
            }
        }
    }
}

/// Reads a date of HTTP, in any of its three forms.
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn seconds_are_read_and_never_overflow() {
        assert_eq!(RetryAfter::parse(" 120 "), Some(RetryAfter::After(Duration::from_secs(120))));
        let absurd = RetryAfter::parse(&"9".repeat(400)).expect("a wait");
        let now = time("2026-08-01T00:00:00Z");
        assert!(now.checked_add(absurd.wait(now)).is_ok());
        for bad in ["", "-1", "1.5", "soon", "12s", "+5"] {
            assert_eq!(RetryAfter::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_date_is_read_in_all_its_forms() {
        let expected = Some(RetryAfter::At(time("1994-11-06T08:49:37Z")));
        assert_eq!(RetryAfter::parse("Sun, 06 Nov 1994 08:49:37 GMT"), expected);
        assert_eq!(RetryAfter::parse("Sunday, 06-Nov-94 08:49:37 GMT"), expected);
        assert_eq!(RetryAfter::parse("Sun Nov  6 08:49:37 1994"), expected);
        assert_eq!(RetryAfter::parse("Sun, 06 Nov 1994 08:49:37"), None);
    }

    #[test]
    fn a_date_is_a_wait_that_is_never_negative() {
        let at = RetryAfter::parse("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        assert_eq!(at.wait(time("1994-11-06T08:49:30Z")), Duration::from_secs(7));
        assert_eq!(at.wait(time("2026-01-01T00:00:00Z")), Duration::ZERO);
        let far = RetryAfter::parse("Wed, 01 Dec 9999 00:00:00 GMT").expect("a date");
        assert_eq!(far.wait(Timestamp::MIN), Duration::from_secs(WAIT_MAX_S));
    }
}
