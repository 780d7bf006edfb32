//! What KaiCalls' replies about keys mean.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::kaicalls::{Answer, Envelope, Reply};

/// What a request about keys came to.
pub(super) enum KeyReply<T> {
    Success(T),
    Refused(Refused),
    /// Nothing is known yet.
    Later(Later),
}

/// KaiCalls said no, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub status: u16,
    pub words: Option<String>,
}

/// It may be asked again.
#[derive(Debug)]
pub(super) struct Later {
    /// How long it asked to be left alone.
    pub(super) wait: Option<Duration>,
    pub(super) is_rate_limited: bool,
    pub(super) why: String,
    /// What was asked for may have been done all the same.
    pub(super) may_have_happened: bool,
}

/// Whether a pair of keys is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    Valid { business_id: Option<String> },
    Refused(Refused),
    Unreachable(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(f, "{} “{words}”", self.status),
            None => write!(f, "{} without a word", self.status),
        }
    }
}

/// Judges a reply that came at a time. Only KaiCalls' own envelope refuses: a proxy's page says nothing about keys.
pub(super) fn judge<T>(reply: Reply<T>, now: Timestamp) -> KeyReply<T> {
    let answer = match reply {
        Reply::Answered(answer) => answer,
        Reply::Failed(failure) => {
            return KeyReply::Later(Later {
                wait: None,
                is_rate_limited: false,
                why: failure.to_string(),
                may_have_happened: failure.sent,
            });
        }
    };
    let Answer { status, envelope, retry_after, date, words } = answer;
    match (status, envelope) {
        (200..=299, Envelope::Success(success)) => KeyReply::Success(success),
        (400..=428 | 430..=499, Envelope::Failure) => KeyReply::Refused(Refused { status, words }),
        (_, envelope) => {
            let said = match &envelope {
                Envelope::Other(body) => Some(body.to_string()),
                Envelope::Success(_) | Envelope::Failure => words,
            };
            let is_own = matches!(envelope, Envelope::Failure);
            let wait = retry_after.map(|asked| asked.wait(date.unwrap_or(now)));
            let said = said.map(|said| format!(", {said}")).unwrap_or_default();
            let asked = wait.map(|wait| format!(", and asks to be left alone for {} s", wait.as_secs()));
            KeyReply::Later(Later {
                wait,
                is_rate_limited: status == 429,
                why: format!("it answered {status}{said}{}", asked.unwrap_or_default()),
                // A server that failed behind a proxy, and a success that can't be read.
                may_have_happened: matches!(status, 200..=299 | 500..=599) && !is_own,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kaicalls::{FailureKind, NoAnswer, UnexpectedBody, Verified};

    fn judged(status: u16, envelope: Envelope<Verified>) -> KeyReply<Verified> {
        let words = Some("No".to_owned());
        let answer = Answer { status, envelope, retry_after: None, date: None, words };
        judge(Reply::Answered(answer), Timestamp::UNIX_EPOCH)
    }

    fn later(reply: KeyReply<Verified>) -> (bool, bool) {
        match reply {
            KeyReply::Later(later) => (later.is_rate_limited, later.may_have_happened),
            KeyReply::Success(_) | KeyReply::Refused(_) => panic!("not later"),
        }
    }

    #[test]
    fn only_the_apis_own_words_refuse() {
        for status in [400, 401, 403, 404, 422] {
            assert!(matches!(judged(status, Envelope::Failure), KeyReply::Refused(_)), "{status}");
            assert_eq!(later(judged(status, Envelope::Other(UnexpectedBody::Html))), (false, false), "{status}");
        }
        assert_eq!(later(judged(429, Envelope::Failure)), (true, false));
        assert!(matches!(judged(200, Envelope::Success(Verified::default())), KeyReply::Success(_)));
    }

    #[test]
    fn what_may_have_happened_is_told() {
        assert_eq!(later(judged(500, Envelope::Failure)), (false, false));
        assert_eq!(later(judged(502, Envelope::Other(UnexpectedBody::Html))), (false, true));
        assert_eq!(later(judged(200, Envelope::Other(UnexpectedBody::Json))), (false, true));
        for sent in [true, false] {
            let failed = Reply::Failed(NoAnswer { kind: FailureKind::Timeout, sent });
            assert_eq!(later(judge(failed, Timestamp::UNIX_EPOCH)), (false, sent));
        }
    }
}
