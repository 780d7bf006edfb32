//! What a failed attempt says about KaiCalls as a whole.

use super::failure::{FailureKind, NoAnswer};
use super::reply::{Answer, Envelope, UnexpectedBody};
use crate::destination::Symptom;

/// Tells what an answer that delivered nothing says about KaiCalls.
pub(super) fn of_answer(answer: &Answer) -> Symptom {
    match (answer.status, &answer.envelope) {
        (500.., _) => Symptom::ServerError,
        (_, Envelope::Other(UnexpectedBody::Html)) => Symptom::Page,
        (200..=299 | 400..=499, Envelope::Success(_) | Envelope::Failure) => Symptom::Alive,
        _ => Symptom::Unclear,
    }
}

/// Tells what it says about KaiCalls that no whole answer came.
pub(super) fn of_failure(failure: NoAnswer) -> Symptom {
    match failure.kind {
        FailureKind::Dns | FailureKind::Connect(_) | FailureKind::Tls(_) => Symptom::Unreachable,
        FailureKind::Timeout | FailureKind::Interrupted => Symptom::Unanswered,
        FailureKind::Request => Symptom::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kaicalls::{Accepted, ConnectFault, TlsFault};

    fn answered(status: u16, envelope: Envelope) -> Symptom {
        of_answer(&Answer { status, envelope, retry_after: None, date: None, words: None })
    }

    #[test]
    fn each_status_with_and_without_the_envelope() {
        let envelopes = || {
            let foreign = [UnexpectedBody::Empty, UnexpectedBody::Json, UnexpectedBody::Text, UnexpectedBody::TooLong];
            foreign.map(Envelope::Other)
        };
        for status in [200, 201, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 422, 429, 451] {
            assert_eq!(answered(status, Envelope::Failure), Symptom::Alive, "{status}");
            assert_eq!(answered(status, Envelope::Success(Accepted::default())), Symptom::Alive, "{status}");
        }
        for status in [200, 204, 301, 302, 304, 400, 401, 402, 403, 404, 429] {
            assert_eq!(answered(status, Envelope::Other(UnexpectedBody::Html)), Symptom::Page, "{status}");
            for envelope in envelopes() {
                assert_eq!(answered(status, envelope), Symptom::Unclear, "{status}");
            }
        }
        assert_eq!(answered(302, Envelope::Failure), Symptom::Unclear);
        for status in [500, 502, 503, 504, 520, 599] {
            let others =
                [Envelope::Failure, Envelope::Success(Accepted::default()), Envelope::Other(UnexpectedBody::Html)];
            for envelope in envelopes().into_iter().chain(others) {
                assert_eq!(answered(status, envelope), Symptom::ServerError, "{status}");
            }
        }
    }

    #[test]
    fn no_answer_speaks_against_the_upstream_unless_nothing_could_be_asked() {
        let failed = |kind| of_failure(NoAnswer { kind, sent: false });
        for (kind, symptom) in [
            (FailureKind::Dns, Symptom::Unreachable),
            (FailureKind::Connect(ConnectFault::Refused), Symptom::Unreachable),
            (FailureKind::Tls(TlsFault::Expired), Symptom::Unreachable),
            (FailureKind::Timeout, Symptom::Unanswered),
            (FailureKind::Interrupted, Symptom::Unanswered),
        ] {
            assert_eq!(failed(kind), symptom);
            assert!(symptom.is_against_upstream());
        }
        assert_eq!(failed(FailureKind::Request), Symptom::Unclear);
        assert!(!Symptom::Unclear.is_against_upstream() && !Symptom::Alive.is_against_upstream());
    }
}
