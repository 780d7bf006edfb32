//! What came back, judged.

use std::time::Duration;

use jiff::Timestamp;

use crate::kaicalls::{Answer, Envelope, Reply};
use crate::queue::AttemptResult;

/// What is to be done about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// KaiCalls took the lead.
    Delivered { lead_id: Option<String> },
    /// The site's keys are refused: no lead of the site can be sent until they change.
    KeyRefused,
    /// KaiCalls refuses this lead: once more in a while, since a bad deploy answers so too, then never again.
    LeadRefused,
    /// Again later; not before the wait, where one was asked for.
    Again { wait: Option<Duration>, ambiguous: bool },
}

/// Longest wait that a `Retry-After` is given.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Judges a reply to an intake.
pub fn judge(reply: &Reply, now: Timestamp) -> Verdict {
    match reply {
        Reply::Answered(answer) => judge_answer(answer, now),
        Reply::Failed(failure) => Verdict::Again { wait: None, ambiguous: failure.sent },
    }
}

/// Only the API's own words count as a refusal: a proxy's page says nothing about a lead or a key.
fn judge_answer(answer: &Answer, now: Timestamp) -> Verdict {
    match (answer.status, &answer.envelope) {
        (200..=299, Envelope::Success(accepted)) => Verdict::Delivered { lead_id: accepted.lead_id.clone() },
        (401, Envelope::Failure) => Verdict::KeyRefused,
        (400 | 413 | 422, Envelope::Failure) => Verdict::LeadRefused,
        _ => {
            let wait = answer.retry_after.map(|asked| asked.wait(answer.date.unwrap_or(now)).min(RETRY_AFTER_MAX));
            Verdict::Again { wait, ambiguous: may_have_been_taken(answer) }
        }
    }
}

/// Tells whether the lead may be there although this answer doesn't say so.
///
/// The API's own no is believed, and so is what turns a request away at the door: 1xx, 3xx, 4xx, 503. A success that can't be
/// read may be one. 502, 504 and their like come from something between that lost the API on the way, after it may have
/// done its work; some of those speak in the API's envelope. Any other 5xx that is not the API's own word is a crash of
/// something, nobody knows when. A yes that contradicts its status is no no either.
fn may_have_been_taken(answer: &Answer) -> bool {
    match (answer.status, &answer.envelope) {
        (_, Envelope::Success(_)) => true,
        (200..=299, Envelope::Other(_)) => true,
        (503, _) => false,
        (500 | 501 | 505.., Envelope::Failure) => false,
        (500.., _) => true,
        _ => false,
    }
}

impl Verdict {
    /// Returns the attempt's result as it is kept with the entry.
    pub fn result(&self) -> AttemptResult {
        match self {
            Self::Delivered { .. } => AttemptResult::Delivered,
            Self::KeyRefused => AttemptResult::KeyRefused,
            Self::LeadRefused => AttemptResult::LeadRefused,
            Self::Again { ambiguous: true, .. } => AttemptResult::Ambiguous,
            Self::Again { ambiguous: false, .. } => AttemptResult::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kaicalls::{Accepted, Failure, FailureKind, Foreign, RetryAfter};

    fn answer(status: u16, envelope: Envelope) -> Reply {
        Reply::Answered(Answer { status, envelope, retry_after: None, date: None, words: None })
    }

    fn judged(reply: &Reply) -> Verdict {
        judge(reply, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn every_row_of_the_table() {
        let success = || Envelope::Success(Accepted { lead_id: Some("lead_1".to_owned()) });
        let delivered = Verdict::Delivered { lead_id: Some("lead_1".to_owned()) };
        let again = Verdict::Again { wait: None, ambiguous: false };
        let ambiguous = Verdict::Again { wait: None, ambiguous: true };
        for (status, envelope, expected) in [
            (200, success(), &delivered),
            (201, success(), &delivered),
            (401, Envelope::Failure, &Verdict::KeyRefused),
            (401, Envelope::Other(Foreign::Html), &again),
            (400, Envelope::Failure, &Verdict::LeadRefused),
            (413, Envelope::Failure, &Verdict::LeadRefused),
            (422, Envelope::Failure, &Verdict::LeadRefused),
            (422, Envelope::Other(Foreign::Html), &again),
            (200, Envelope::Failure, &again),
            (200, Envelope::Other(Foreign::Html), &ambiguous),
            (200, Envelope::Other(Foreign::Empty), &ambiguous),
            (204, Envelope::Other(Foreign::Empty), &ambiguous),
            (302, Envelope::Other(Foreign::Empty), &again),
            (402, Envelope::Failure, &again),
            (403, Envelope::Failure, &again),
            (404, Envelope::Failure, &again),
            (408, Envelope::Failure, &again),
            (409, Envelope::Failure, &again),
            (429, Envelope::Failure, &again),
            (404, success(), &ambiguous),
            (500, Envelope::Failure, &again),
            (500, Envelope::Other(Foreign::Html), &ambiguous),
            (502, Envelope::Failure, &ambiguous),
            (502, Envelope::Other(Foreign::TooLong), &ambiguous),
            (503, Envelope::Failure, &again),
            (503, Envelope::Other(Foreign::Html), &again),
            (503, success(), &ambiguous),
            (504, Envelope::Other(Foreign::Json), &ambiguous),
            (524, Envelope::Other(Foreign::Html), &ambiguous),
            (599, Envelope::Failure, &again),
        ] {
            assert_eq!(judged(&answer(status, envelope.clone())), *expected, "{status} {envelope:?}");
        }
    }

    #[test]
    fn a_request_that_may_have_arrived_is_ambiguous() {
        for sent in [true, false] {
            let failed = Reply::Failed(Failure { kind: FailureKind::Timeout, sent });
            assert_eq!(judged(&failed), Verdict::Again { wait: None, ambiguous: sent });
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_within_a_day() {
        let asked = |seconds: &str| {
            let retry_after = RetryAfter::parse(seconds);
            assert!(retry_after.is_some(), "{seconds}");
            let envelope = Envelope::Failure;
            judged(&Reply::Answered(Answer { status: 429, envelope, retry_after, date: None, words: None }))
        };
        assert_eq!(asked("120"), Verdict::Again { wait: Some(Duration::from_secs(120)), ambiguous: false });
        assert_eq!(asked("99999999"), Verdict::Again { wait: Some(RETRY_AFTER_MAX), ambiguous: false });
    }
}
