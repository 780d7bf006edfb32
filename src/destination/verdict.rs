//! What came of sending a lead, in words of no API: each destination's client judges its own replies.

use std::time::Duration;

/// Longest wait that an API may ask for.
pub const ASKED_WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// One attempt's end, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Judged {
    pub verdict: Verdict,
    /// The HTTP status, where a whole answer came.
    pub status: Option<u16>,
    /// The API's words, or what came instead of them: one line without the lead's values and without keys.
    pub words: Option<String>,
}

/// What is to be done about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The API took the lead.
    Delivered { lead_id: Option<String> },
    /// The site's keys are refused: no lead of the site can be sent until they change.
    KeyRefused,
    /// The API refuses this lead: once more in a while, since a bad deploy answers so too, then never again.
    LeadRefused,
    /// Again later.
    Again(Failed),
}

/// An attempt that settles nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Not before, where the API asked for a wait.
    pub wait: Option<Duration>,
    /// The lead may be there although nobody said so.
    pub ambiguous: bool,
    pub symptom: Symptom,
}

/// What a failed attempt says about the API as a whole, whatever it says about the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symptom {
    /// No connection.
    Unreachable,
    /// A connection, but no whole answer.
    Unanswered,
    /// 5xx, whatever its body.
    ServerError,
    /// An HTML page where JSON was due: a proxy, a firewall or a maintenance page answered.
    Page,
    /// The API's own envelope: it works, whatever it thinks of this site.
    Alive,
    /// It could be anything: a redirect, text, JSON of another shape, a request that couldn't be made.
    Unclear,
}

impl Symptom {
    /// Tells whether it speaks against the API, so that other sites would fail in the same way.
    pub fn is_against_upstream(self) -> bool {
        matches!(self, Self::Unreachable | Self::Unanswered | Self::ServerError | Self::Page)
    }
}
