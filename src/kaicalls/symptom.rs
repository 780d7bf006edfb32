//! What a failed attempt says about KaiCalls as a whole.

use super::failure::FailureKind;
use super::reply::{Envelope, Foreign, Reply};

/// What a reply that delivered nothing says about the upstream, whatever it says about the site.
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
    /// KaiCalls' own envelope: it works, whatever it thinks of this site.
    Alive,
    /// It could be anything: a redirect, text, JSON of another shape, a request that couldn't be made.
    Unclear,
}

impl Symptom {
    pub fn of(reply: &Reply) -> Self {
        let answer = match reply {
            Reply::Answered(answer) => answer,
            Reply::Failed(failure) => {
                return match failure.kind {
                    FailureKind::Dns | FailureKind::Connect(_) | FailureKind::Tls(_) => Self::Unreachable,
                    FailureKind::Timeout | FailureKind::Interrupted => Self::Unanswered,
                    FailureKind::Request => Self::Unclear,
                };
            }
        };
        match (answer.status, &answer.envelope) {
            (500.., _) => Self::ServerError,
            (_, Envelope::Other(Foreign::Html)) => Self::Page,
            (200..=299 | 400..=499, Envelope::Success(_) | Envelope::Failure) => Self::Alive,
            _ => Self::Unclear,
        }
    }

    /// Tells whether it speaks against the upstream, so that other sites would fail in the same way.
    pub fn is_against_upstream(self) -> bool {
        matches!(self, Self::Unreachable | Self::Unanswered | Self::ServerError | Self::Page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kaicalls::{Accepted, Answer, ConnectFault, Failure, TlsFault};

    fn answered(status: u16, envelope: Envelope) -> Symptom {
        let answer = Answer { status, envelope, retry_after: None, date: None, words: None };
        Symptom::of(&Reply::Answered(answer))
    }

    #[test]
    fn each_status_with_and_without_the_envelope() {
        let envelopes = || {
            let foreign = [Foreign::Empty, Foreign::Json, Foreign::Text, Foreign::TooLong];
            foreign.map(Envelope::Other)
        };
        for status in [200, 201, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 422, 429, 451] {
            assert_eq!(answered(status, Envelope::Failure), Symptom::Alive, "{status}");
            assert_eq!(answered(status, Envelope::Success(Accepted::default())), Symptom::Alive, "{status}");
        }
        for status in [200, 204, 301, 302, 304, 400, 401, 402, 403, 404, 429] {
            assert_eq!(answered(status, Envelope::Other(Foreign::Html)), Symptom::Page, "{status}");
            for envelope in envelopes() {
                assert_eq!(answered(status, envelope), Symptom::Unclear, "{status}");
            }
        }
        assert_eq!(answered(302, Envelope::Failure), Symptom::Unclear);
        for status in [500, 502, 503, 504, 520, 599] {
            let others = [Envelope::Failure, Envelope::Success(Accepted::default()), Envelope::Other(Foreign::Html)];
            for envelope in envelopes().into_iter().chain(others) {
                assert_eq!(answered(status, envelope), Symptom::ServerError, "{status}");
            }
        }
    }

    #[test]
    fn no_answer_speaks_against_the_upstream_unless_nothing_could_be_asked() {
        let failed = |kind| Symptom::of(&Reply::Failed(Failure { kind, sent: false }));
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
