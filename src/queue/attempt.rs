//! What came of one POST to KaiCalls.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One POST to KaiCalls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub result: AttemptResult,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub duration_ms: u64,
    /// KaiCalls' words or the transport's failure, masked of the lead's own values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// Nothing was posted: an attempt before had arrived, and this shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Confirmed>,
}

/// Said of an attempt that panicked. The panic's own message may quote a visitor, so it is never kept.
const PANICKED: &str = "formgate itself failed while it sent the lead";

impl Attempt {
    /// An attempt that ended in a panic: the lead may have arrived.
    pub fn panicked(duration: Duration) -> Self {
        Self {
            result: AttemptResult::Ambiguous,
            status: None,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            words: Some(PANICKED.to_owned()),
            confirmed: None,
        }
    }

    /// Tells whether it ended in a panic.
    pub fn has_panicked(&self) -> bool {
        self.status.is_none() && self.words.as_deref() == Some(PANICKED)
    }

    /// Says how it ended: the status and KaiCalls' words, or the transport's failure.
    pub fn in_words(&self) -> String {
        match (self.status, self.words.as_deref()) {
            (Some(status), Some(words)) => format!("{status} {words}"),
            (Some(status), None) => status.to_string(),
            (None, Some(words)) => words.to_owned(),
            (None, None) => "no answer".to_owned(),
        }
    }
}

/// What showed that a lead had arrived though nobody had said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmed {
    /// KaiCalls' list of recent leads.
    Widget,
}

/// How a POST to KaiCalls ended: a closed set, fit for a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptResult {
    Delivered,
    KeyRefused,
    LeadRefused,
    /// It did not arrive, or was answered in a way that promises better luck later.
    Failed,
    /// It may have arrived: the request was sent and no answer came back.
    Ambiguous,
}
