//! How a request ends: every one in exactly one [`Outcome`], from which its metric, its log line and its reply are made.

mod ongoing;
mod reply;

use http::HeaderValue;

pub(super) use self::ongoing::{Ongoing, Trail};
pub(super) use self::reply::{Dialect, reply, see_other};
use super::guard::Over;
use super::route::{Allowed, NoRoute};
use super::submission::{BadBody, NoBody};
use super::wire::BadHead;
use super::wordpress::EndpointAnswer;
use crate::lead::{EntryId, FieldError};
use crate::queue::activity::Mistake;
use crate::queue::{Reason, State, StoreError};
use crate::telemetry::{Panicked, RequestEnd};

/// The end of a request.
#[must_use]
pub(super) enum Outcome {
    /// It is durable in the store.
    Stored(Stored),
    /// KaiCalls' other endpoints: the keys fit, and this is the answer.
    Answered(EndpointAnswer),
    /// A browser asked whether a script may post a form, and pages of this origin may.
    Preflight(HeaderValue),
    /// Nothing of it was stored.
    Refused(Refusal),
    /// It came to no end of its own. What it had given to the store by then may be there.
    Failed(RequestFailure),
}

/// Why a request had no outcome of its own.
#[derive(Debug)]
pub(super) enum RequestFailure {
    /// It was cut off: the gateway stopped, or the connection was closed.
    Aborted,
    /// A bug of this program.
    Panicked(Option<Panicked>),
}

/// A submission that was stored.
pub(super) struct Stored {
    pub(super) id: EntryId,
    pub(super) status: StoredStatus,
    /// Why it is in its state; of a duplicate, why the second would be.
    pub(super) reason: Reason,
    /// What a page is told: of spam what it would be told of the same post without the honeypot.
    pub(super) told: StoredStatus,
    /// Stored, and still answered with an error.
    pub(super) rejected: Option<Rejected>,
}

/// What the plugin is told about a stored submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredStatus {
    Queued,
    Held,
    Duplicate,
}

/// Why a stored submission is answered with an error.
pub(super) enum Rejected {
    Undecodable,
    UnsupportedType,
    Invalid(Vec<FieldError>),
}

/// Why nothing was stored.
#[derive(Debug)]
pub(super) enum Refusal {
    Head(BadHead),
    NotFound,
    Method(Allowed),
    /// No valid credential. The same for a site that doesn't exist.
    Unauthorized,
    /// No valid credential as far as is known: one of a site that can't be read now would look the same.
    CredentialsUnknown,
    /// KaiCalls' `verify`: which of the keys is wrong, in KaiCalls' words.
    Keys(WrongKeys),
    Body(BadBody),
    /// A bug of this program, met by a body that is too large to be stored as it came.
    Unkept(Panicked),
    Limited(Over),
    /// Only posts from pages.
    Page(PageRefusal),
    Store(StoreError),
    /// The store took too long.
    StoreSlow,
}

/// Why nothing was stored of a post from a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageRefusal {
    TooLarge,
    /// There is a file in it.
    Files,
    /// The form has had its share of the store.
    Full,
}

/// What is wrong with the keys shown to `verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrongKeys {
    Missing,
    Public,
    Secret,
    /// They are the site's, and KaiCalls refuses them.
    Refused,
}

impl Stored {
    /// Held for its filled honeypot: it says nothing about how the site does.
    pub(super) fn is_spam(&self) -> bool {
        self.reason == Reason::Spam
    }
}

impl StoredStatus {
    pub(super) fn of(state: State) -> Self {
        if state == State::Queued { Self::Queued } else { Self::Held }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Duplicate => "duplicate",
        }
    }
}

impl Outcome {
    /// The end as the metric counts it.
    pub(super) fn end(&self) -> RequestEnd {
        match self {
            Self::Stored(stored) if stored.is_spam() => RequestEnd::Spam,
            Self::Stored(stored) if stored.rejected.is_some() => RequestEnd::Rejected,
            Self::Stored(stored) => match stored.status {
                StoredStatus::Queued => RequestEnd::Queued,
                StoredStatus::Held => RequestEnd::Held,
                StoredStatus::Duplicate => RequestEnd::Duplicate,
            },
            Self::Answered(_) | Self::Preflight(_) => RequestEnd::Answered,
            Self::Refused(Refusal::Unkept(_)) => RequestEnd::Panicked,
            Self::Refused(_) => RequestEnd::Refused,
            Self::Failed(RequestFailure::Aborted) => RequestEnd::Aborted,
            Self::Failed(RequestFailure::Panicked(_)) => RequestEnd::Panicked,
        }
    }

    /// One word for log and metric; a closed set.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Stored(Stored { rejected: None, status, .. }) => status.as_str(),
            Self::Stored(Stored { rejected: Some(rejected), .. }) => rejected.as_str(),
            Self::Answered(_) => "answered",
            Self::Preflight(_) => "preflight",
            Self::Refused(refusal) => refusal.as_str(),
            Self::Failed(RequestFailure::Aborted) => "aborted",
            Self::Failed(RequestFailure::Panicked(_)) => "panicked",
        }
    }

    /// What went wrong on our side.
    pub(super) fn error(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(Refusal::Store(error)) => Some(error),
            _ => None,
        }
    }

    /// Where a panic came from that was caught.
    pub(super) fn location(&self) -> Option<&str> {
        match self {
            Self::Failed(RequestFailure::Panicked(panicked)) => {
                panicked.as_ref().map(|panicked| panicked.location.as_str())
            }
            Self::Refused(Refusal::Unkept(panicked)) => Some(&panicked.location),
            _ => None,
        }
    }

    /// Tells whether a submission could not be stored, or this program failed: somebody has to look.
    pub(super) fn needs_somebody(&self) -> bool {
        matches!(
            self,
            Self::Refused(Refusal::Store(_) | Refusal::StoreSlow | Refusal::Unkept(_))
                | Self::Failed(RequestFailure::Panicked(_))
        )
    }

    /// Tells whether what follows on the connection can't be read as HTTP any more.
    pub(super) fn loses_framing(&self) -> bool {
        matches!(
            self,
            Self::Failed(_) | Self::Refused(Refusal::Head(_) | Refusal::Body(BadBody::Broken | BadBody::TooSlow))
        )
    }

    /// Why what was stored is held.
    pub(super) fn held_for(&self) -> Option<Reason> {
        match self {
            Self::Stored(Stored { status: StoredStatus::Held, reason, .. }) => Some(*reason),
            _ => None,
        }
    }

    pub(super) fn id(&self) -> Option<EntryId> {
        match self {
            Self::Stored(stored) => Some(stored.id),
            _ => None,
        }
    }
}

impl Rejected {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnsupportedType => "unsupported_type",
            Self::Invalid(_) => "invalid_lead",
        }
    }
}

impl Refusal {
    /// One word for log, metric and problem type; a closed set.
    pub(super) fn as_str(&self) -> &'static str {
        self.mistake().as_str()
    }

    /// What was wrong, as far as the sender may know.
    pub(super) fn mistake(&self) -> Mistake {
        match self {
            Self::Head(BadHead::Malformed) => Mistake::MalformedRequest,
            Self::Head(BadHead::TooLarge) => Mistake::HeadTooLarge,
            Self::Head(BadHead::TooSlow) => Mistake::HeadTooSlow,
            Self::Head(BadHead::Cut) => Mistake::HeadCut,
            Self::NotFound => Mistake::NotFound,
            Self::Method(_) => Mistake::MethodNotAllowed,
            Self::Unauthorized | Self::Keys(WrongKeys::Public | WrongKeys::Secret) => Mistake::Unauthorized,
            Self::CredentialsUnknown => Mistake::CredentialsUnknown,
            Self::Keys(WrongKeys::Missing) => Mistake::KeysMissing,
            Self::Keys(WrongKeys::Refused) => Mistake::KeysRefused,
            Self::Body(BadBody::TooLarge) => Mistake::UploadTooLarge,
            Self::Body(BadBody::TooMuchToKeep) => Mistake::BodyTooLarge,
            Self::Body(BadBody::Busy) => Mistake::Busy,
            Self::Body(BadBody::TooSlow) => Mistake::BodyTooSlow,
            Self::Body(BadBody::Broken) => Mistake::BrokenBody,
            Self::Unkept(_) => Mistake::Panicked,
            Self::Limited(_) => Mistake::RateLimited,
            Self::Page(PageRefusal::TooLarge) => Mistake::FormTooLarge,
            Self::Page(PageRefusal::Files) => Mistake::FilesNotTaken,
            Self::Page(PageRefusal::Full) => Mistake::FormFull,
            Self::Store(StoreError::Full | StoreError::DiskFull) => Mistake::StoreFull,
            Self::Store(_) | Self::StoreSlow => Mistake::StoreUnavailable,
        }
    }
}

impl From<BadHead> for Refusal {
    fn from(bad: BadHead) -> Self {
        Self::Head(bad)
    }
}

impl From<NoRoute> for Refusal {
    fn from(none: NoRoute) -> Self {
        match none {
            NoRoute::Path => Self::NotFound,
            NoRoute::Method(allowed) => Self::Method(allowed),
        }
    }
}

impl From<BadBody> for Refusal {
    fn from(bad: BadBody) -> Self {
        Self::Body(bad)
    }
}

impl From<NoBody> for Refusal {
    fn from(none: NoBody) -> Self {
        match none {
            NoBody::Bad(bad) => Self::Body(bad),
            NoBody::Panicked(panicked) => Self::Unkept(panicked),
        }
    }
}

impl From<Over> for Refusal {
    fn from(over: Over) -> Self {
        Self::Limited(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_not_be_stored_needs_somebody() {
        for (refusal, needed) in [
            (Refusal::Store(StoreError::DiskFull), true),
            (Refusal::StoreSlow, true),
            (Refusal::Body(BadBody::Busy), false),
            (Refusal::Unauthorized, false),
        ] {
            let outcome = Outcome::Refused(refusal);
            assert_eq!(outcome.needs_somebody(), needed, "{}", outcome.reason());
        }
    }
}
