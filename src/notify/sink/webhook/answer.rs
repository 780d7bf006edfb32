//! What a receiver's answer means.

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use crate::destination::{RetryAfter, parse_http_date};
use crate::notify::sink::{Sent, SinkFailure};

/// Judges an answer by its status and headers.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Sent {
    if status.is_success() {
        return Sent::Taken;
    }
    if status == StatusCode::GONE {
        return Sent::Gone;
    }
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    // A date is meant by the receiver's clock, and its `Date` shows that one.
    let their_now = text(DATE).and_then(parse_http_date).unwrap_or(now);
    Sent::Failed(SinkFailure {
        why: in_words(status),
        retry_after: text(RETRY_AFTER).and_then(RetryAfter::parse).map(|asked| asked.wait(their_now)),
        is_overload: matches!(status.as_u16(), 429 | 502 | 503 | 504),
        // In order one by one: those behind it wait, as they do for any other failure.
        is_refused: false,
    })
}

/// Says what the status means; never the receiver's own reason, which could hold anything.
fn in_words(status: StatusCode) -> String {
    let code = status.as_u16();
    match (code, status.canonical_reason()) {
        (300..=399, _) => format!("redirects aren't followed ({code}); set url to where it leads"),
        (_, Some(reason)) => format!("{code} {reason}"),
        (_, None) => format!("status {code}"),
    }
}
