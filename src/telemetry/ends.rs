//! How things end: closed sets, fit for a metric's label.

/// How a request to the gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    Queued,
    Held,
    Duplicate,
    /// Stored as held, and answered with an error.
    Rejected,
    /// Nothing was stored.
    Refused,
    /// Answered without a submission in it: a check of keys, the widget.
    Answered,
    /// Cut off before it had an answer: the gateway stopped, or the connection was closed.
    Aborted,
    /// A panic ended it.
    Panicked,
}

impl RequestEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Answered => "answered",
            Self::Aborted => "aborted",
            Self::Panicked => "panicked",
        }
    }
}

/// How a POST to KaiCalls ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    Delivered,
    KeyRefused,
    LeadRefused,
    Failed,
    Ambiguous,
}

impl DeliveryEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::KeyRefused => "key_refused",
            Self::LeadRefused => "lead_refused",
            Self::Failed => "failed",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// What was found where a lead that may have arrived was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmationEnd {
    /// It is there, and is not posted again.
    Confirmed,
    /// It is not there.
    NotShown,
    /// It can't be told.
    Unknown,
}

impl ConfirmationEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::NotShown => "not_shown",
            Self::Unknown => "unknown",
        }
    }
}
