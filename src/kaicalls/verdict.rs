//! What KaiCalls' replies to an intake mean.

use jiff::Timestamp;

use super::reply::{Answer, Envelope, Reply};
use super::symptom;
use crate::destination::{ASKED_WAIT_MAX, Failed, Judged, Verdict};

impl Reply {
    /// Judges a reply to an intake that came at a time.
    pub fn judge(self, now: Timestamp) -> Judged {
        match self {
            Self::Answered(answer) => {
                let words = match &answer.envelope {
                    Envelope::Other(foreign) => Some(foreign.to_string()),
                    Envelope::Success(_) | Envelope::Failure => answer.words.clone(),
                };
                Judged { status: Some(answer.status), words, verdict: judge_answer(answer, now) }
            }
            Self::Failed(failure) => {
                let symptom = symptom::of_failure(failure);
                let verdict = Verdict::Again(Failed { wait: None, ambiguous: failure.sent, symptom });
                Judged { verdict, status: None, words: Some(failure.to_string()) }
            }
        }
    }
}

/// Only the API's own words count as a refusal: a proxy's page says nothing about a lead or a key.
fn judge_answer(answer: Answer, now: Timestamp) -> Verdict {
    match (answer.status, &answer.envelope) {
        (200..=299, Envelope::Success(accepted)) => Verdict::Delivered { lead_id: accepted.lead_id.clone() },
        (401, Envelope::Failure) => Verdict::KeyRefused,
        (400 | 413 | 422, Envelope::Failure) => Verdict::LeadRefused,
        _ => {
            let wait = answer.retry_after.map(|asked| asked.wait(answer.date.unwrap_or(now)).min(ASKED_WAIT_MAX));
            let ambiguous = may_have_been_taken(&answer);
            Verdict::Again(Failed { wait, ambiguous, symptom: symptom::of_answer(&answer) })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::destination::RetryAfter;
    use crate::kaicalls::{Accepted, FailureKind, NoAnswer, UnexpectedBody};

    fn whole(status: u16, envelope: Envelope) -> Answer {
        Answer { status, envelope, retry_after: None, date: None, words: None }
    }

    fn answer(status: u16, envelope: Envelope) -> Reply {
        Reply::Answered(whole(status, envelope))
    }

    /// A verdict as the table has it.
    fn row(reply: Reply) -> &'static str {
        match reply.judge(Timestamp::UNIX_EPOCH).verdict {
            Verdict::Delivered { .. } => "delivered",
            Verdict::KeyRefused => "key refused",
            Verdict::LeadRefused => "lead refused",
            Verdict::Again(Failed { ambiguous: false, .. }) => "again",
            Verdict::Again(Failed { ambiguous: true, .. }) => "ambiguous",
        }
    }

    #[test]
    fn every_row_of_the_table() {
        let success = || Envelope::Success(Accepted { lead_id: Some("lead_1".to_owned()) });
        for (status, envelope, expected) in [
            (200, success(), "delivered"),
            (201, success(), "delivered"),
            (401, Envelope::Failure, "key refused"),
            (401, Envelope::Other(UnexpectedBody::Html), "again"),
            (400, Envelope::Failure, "lead refused"),
            (413, Envelope::Failure, "lead refused"),
            (422, Envelope::Failure, "lead refused"),
            (422, Envelope::Other(UnexpectedBody::Html), "again"),
            (200, Envelope::Failure, "again"),
            (200, Envelope::Other(UnexpectedBody::Html), "ambiguous"),
            (200, Envelope::Other(UnexpectedBody::Empty), "ambiguous"),
            (204, Envelope::Other(UnexpectedBody::Empty), "ambiguous"),
            (302, Envelope::Other(UnexpectedBody::Empty), "again"),
            (402, Envelope::Failure, "again"),
            (403, Envelope::Failure, "again"),
            (404, Envelope::Failure, "again"),
            (408, Envelope::Failure, "again"),
            (409, Envelope::Failure, "again"),
            (429, Envelope::Failure, "again"),
            (404, success(), "ambiguous"),
            (500, Envelope::Failure, "again"),
            (500, Envelope::Other(UnexpectedBody::Html), "ambiguous"),
            (502, Envelope::Failure, "ambiguous"),
            (502, Envelope::Other(UnexpectedBody::TooLong), "ambiguous"),
            (503, Envelope::Failure, "again"),
            (503, Envelope::Other(UnexpectedBody::Html), "again"),
            (503, success(), "ambiguous"),
            (504, Envelope::Other(UnexpectedBody::Json), "ambiguous"),
            (524, Envelope::Other(UnexpectedBody::Html), "ambiguous"),
            (599, Envelope::Failure, "again"),
        ] {
            assert_eq!(row(answer(status, envelope.clone())), expected, "{status} {envelope:?}");
        }
    }

    #[test]
    fn a_verdict_comes_with_the_leads_id_the_status_and_the_words() {
        let accepted = Accepted { lead_id: Some("lead_1".to_owned()) };
        let judged = answer(201, Envelope::Success(accepted)).judge(Timestamp::UNIX_EPOCH);
        let verdict = Verdict::Delivered { lead_id: Some("lead_1".to_owned()) };
        assert_eq!(judged, Judged { verdict, status: Some(201), words: None });
        let refused = Answer { words: Some("No such form".to_owned()), ..whole(422, Envelope::Failure) };
        let judged = Reply::Answered(refused).judge(Timestamp::UNIX_EPOCH);
        assert_eq!((judged.status, judged.words.as_deref()), (Some(422), Some("No such form")));
        let judged = answer(502, Envelope::Other(UnexpectedBody::Html)).judge(Timestamp::UNIX_EPOCH);
        assert_eq!(judged.words.as_deref(), Some("an HTML page"));
        let failure = NoAnswer { kind: FailureKind::Dns, sent: false };
        let judged = Reply::Failed(failure).judge(Timestamp::UNIX_EPOCH);
        assert_eq!((judged.status, judged.words.as_deref()), (None, Some("host name not found (DNS)")));
    }

    #[test]
    fn a_request_that_may_have_arrived_is_ambiguous() {
        for (sent, expected) in [(true, "ambiguous"), (false, "again")] {
            assert_eq!(row(Reply::Failed(NoAnswer { kind: FailureKind::Timeout, sent })), expected);
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_within_a_day() {
        let asked = |seconds: &str| {
            let retry_after = RetryAfter::parse(seconds);
            assert!(retry_after.is_some(), "{seconds}");
            let answer = Answer { retry_after, ..whole(429, Envelope::Failure) };
            match Reply::Answered(answer).judge(Timestamp::UNIX_EPOCH).verdict {
                Verdict::Again(failed) => failed.wait,
                _ => None,
            }
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("99999999"), Some(ASKED_WAIT_MAX));
    }
}
