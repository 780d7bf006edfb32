//! Where events go: a URL they are posted to, or a mailbox.

pub mod mail;
mod outlets;
pub mod webhook;

use std::time::Duration;

pub(in crate::notify) use outlets::Outlets;

/// What came of sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It has them.
    Taken,
    /// It wants no more, for good (410 Gone).
    Gone,
    /// Try again later.
    Failed(SinkFailure),
}

/// Why a sink didn't take what it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkFailure {
    /// In words, such as `503 Service Unavailable` or `connection refused`: without its URL, address, secret, or anything
    /// that its answer said; at most 200 bytes.
    pub why: String,
    /// How long it asked to be left alone.
    pub retry_after: Option<Duration>,
    /// It is overloaded (429, 502, 503, 504): it is sent less from now on.
    pub is_overload: bool,
    /// It refuses this very message for good: another may well be taken.
    pub is_refused: bool,
}

impl SinkFailure {
    /// A failure in words of ours.
    pub(in crate::notify) fn new(why: &str) -> Self {
        Self { why: why.to_owned(), retry_after: None, is_overload: false, is_refused: false }
    }
}

/// Why a sink can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SinkSetupError {
    #[error("the HTTP client can't be set up")]
    Http(#[source] reqwest::Error),
}
