//! How things end: closed sets, fit for a metric's label.

/// How a request to the gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    Queued,
    Held,
    /// Held, since the form's honeypot is filled in: nobody has to look at it.
    Spam,
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
    /// How many there are.
    pub(super) const COUNT: usize = Self::Panicked as usize + 1;
    /// Every one there is, in their order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Queued,
        Self::Held,
        Self::Spam,
        Self::Duplicate,
        Self::Rejected,
        Self::Refused,
        Self::Answered,
        Self::Aborted,
        Self::Panicked,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Spam => "spam",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Answered => "answered",
            Self::Aborted => "aborted",
            Self::Panicked => "panicked",
        }
    }
}

/// For what new connection an idle one had to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionClosed {
    /// For one of the same address, which had all that an address may have.
    SameAddress,
    /// For anybody's: all places were taken.
    GatewayFull,
    /// For anybody's to the admin API, whose places were taken.
    AdminFull,
}

impl ConnectionClosed {
    /// Every one there is.
    pub const ALL: [Self; 3] = [Self::SameAddress, Self::GatewayFull, Self::AdminFull];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SameAddress => "same_address",
            Self::GatewayFull => "gateway_full",
            Self::AdminFull => "admin_full",
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
    /// Every one there is.
    pub const ALL: [Self; 5] = [Self::Delivered, Self::KeyRefused, Self::LeadRefused, Self::Failed, Self::Ambiguous];

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
    /// Every one there is.
    pub const ALL: [Self; 3] = [Self::Confirmed, Self::NotShown, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::NotShown => "not_shown",
            Self::Unknown => "unknown",
        }
    }
}
