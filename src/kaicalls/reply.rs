//! What came back, as one typed value. Nothing is judged here: that is for who sends.

use std::fmt;

use jiff::Timestamp;
use reqwest::header::{self, HeaderMap};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::failure::NoAnswer;
use super::words::Mask;
use crate::destination::{KeyPair, RetryAfter, Secret, parse_http_date};

/// How much of a body is read; what is longer is cut.
pub const BODY_MAX: usize = 64 * 1024;
/// Longest id of the API that is kept, in characters.
const ID_MAX: usize = 200;

/// The end of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reply<T = Accepted> {
    Answered(Answer<T>),
    Failed(NoAnswer),
}

/// A whole answer, whoever gave it: KaiCalls, or something between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T = Accepted> {
    pub status: u16,
    pub envelope: Envelope<T>,
    pub retry_after: Option<RetryAfter>,
    /// The clock of who answered; not of an old copy.
    pub date: Option<Timestamp>,
    /// The error's text: one line of at most 300 characters, without the lead's values and without keys.
    pub words: Option<String>,
}

/// The shape of the body, whatever the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope<T = Accepted> {
    /// JSON with `"success": true`, and what this endpoint gives with it.
    Success(T),
    /// `{"success":false,…}` or `{"error":{"code":…,"message":…}}`: the API itself says no.
    Failure,
    /// Anything else: perhaps not the API's answer at all.
    Other(UnexpectedBody),
}

/// The kind of body that isn't KaiCalls' format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnexpectedBody {
    Empty,
    Html,
    Json,
    Text,
    /// Longer than [`BODY_MAX`].
    TooLong,
}

/// A lead was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    pub lead_id: Option<String>,
}

/// A pair of keys is valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub business_id: Option<String>,
}

/// The recent leads of a business, in the API's own shape. `Debug` shows no name.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Widget {
    pub recent_leads: Vec<RecentLead>,
    pub leads_this_week: u64,
}

/// One line of the widget.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecentLead {
    pub name: String,
    pub created_at: String,
}

/// A fresh pair of keys; the secret is shown this once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintedKeys {
    pub keys: KeyPair,
    pub business_id: Option<String>,
    pub connection_id: Option<String>,
}

impl fmt::Debug for Widget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Widget")
            .field("recent_leads", &self.recent_leads.len())
            .field("leads_this_week", &self.leads_this_week)
            .finish()
    }
}

impl fmt::Display for UnexpectedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty body",
            Self::Html => "an HTML page",
            Self::Json => "unexpected JSON",
            Self::Text => "text that is not JSON",
            Self::TooLong => "a body of more than 64 KiB",
        })
    }
}

/// What an endpoint's success is made of; `None` where the body lacks what it is about.
pub(super) trait Success: Sized {
    fn read(body: &Map<String, Value>) -> Option<Self>;
}

impl Success for Accepted {
    fn read(body: &Map<String, Value>) -> Option<Self> {
        Some(Self { lead_id: id(body, "leadId") })
    }
}

impl Success for Verified {
    fn read(body: &Map<String, Value>) -> Option<Self> {
        Some(Self { business_id: id(body, "business_id") })
    }
}

impl Success for Widget {
    fn read(body: &Map<String, Value>) -> Option<Self> {
        Self::deserialize(&Value::Object(body.clone())).ok()
    }
}

impl Success for MintedKeys {
    fn read(body: &Map<String, Value>) -> Option<Self> {
        let text = |key| body.get(key).and_then(Value::as_str);
        let secret = Secret::new(text("secretKey")?.to_owned());
        let keys = KeyPair::new(text("publicKey")?, &secret).ok()?;
        let (business_id, connection_id) = (id(body, "businessId"), id(body, "connectionId"));
        Some(Self { keys, business_id, connection_id })
    }
}

/// A body as it was read, at most [`BODY_MAX`] bytes of it.
#[derive(Default)]
pub(super) struct ReplyBody {
    pub(super) bytes: Vec<u8>,
    pub(super) is_cut: bool,
}

/// Reads an answer; its words are masked before anybody has them.
pub(super) fn read_answer<T: Success>(
    status: u16,
    headers: &HeaderMap,
    body: &ReplyBody,
    mask: impl FnOnce() -> Mask,
) -> Answer<T> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let retry_after = text(header::RETRY_AFTER).and_then(RetryAfter::parse);
    // A copy out of a cache tells when it was made, not what time it is.
    let is_copy = text(header::AGE).is_some_and(|age| age.trim() != "0");
    let date = text(header::DATE).filter(|_| !is_copy).and_then(parse_http_date);
    let (envelope, words) = read_envelope(body);
    Answer { status, envelope, retry_after, date, words: words.and_then(|words| mask().apply(&words)) }
}

fn read_envelope<T: Success>(body: &ReplyBody) -> (Envelope<T>, Option<String>) {
    let Ok(json) = serde_json::from_slice::<Value>(&body.bytes) else {
        return (Envelope::Other(foreign(body)), None);
    };
    let Value::Object(object) = json else {
        return (Envelope::Other(UnexpectedBody::Json), None);
    };
    match (object.get("success"), object.get("error")) {
        (Some(Value::Bool(true)), _) => {
            (T::read(&object).map_or(Envelope::Other(UnexpectedBody::Json), Envelope::Success), None)
        }
        (Some(Value::Bool(false)), error) => {
            let words = error.and_then(error_text).or_else(|| object.get("message")?.as_str());
            (Envelope::Failure, words.map(str::to_owned))
        }
        (None, Some(error @ Value::Object(fields))) if fields.get("code").is_some_and(Value::is_string) => {
            (Envelope::Failure, error_text(error).map(str::to_owned))
        }
        _ => (Envelope::Other(UnexpectedBody::Json), None),
    }
}

/// Finds the words in either form of an error.
fn error_text(error: &Value) -> Option<&str> {
    error.as_str().or_else(|| error.get("message")?.as_str()).or_else(|| error.get("code")?.as_str())
}

fn foreign(body: &ReplyBody) -> UnexpectedBody {
    let text = body.bytes.trim_ascii();
    match text.first() {
        _ if body.is_cut => UnexpectedBody::TooLong,
        None => UnexpectedBody::Empty,
        Some(b'<') => UnexpectedBody::Html,
        Some(_) => UnexpectedBody::Text,
    }
}

/// Reads an id: text or number, visible ASCII only, since it is shown and searched for.
fn id(body: &Map<String, Value>, key: &str) -> Option<String> {
    let text = match body.get(key)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let fits = !text.is_empty() && text.len() <= ID_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Answer {
        let body = ReplyBody { bytes: bytes.to_vec(), is_cut: false };
        read_answer(200, &HeaderMap::new(), &body, Mask::default)
    }

    fn words(text: &str) -> Option<String> {
        let answer = read(text.as_bytes());
        assert_eq!(answer.envelope, Envelope::Failure, "{text}");
        answer.words
    }

    #[test]
    fn success_is_the_boolean_true() {
        let id = |text: &str| match read(text.as_bytes()).envelope {
            Envelope::Success(accepted) => Some(accepted.lead_id),
            _ => None,
        };
        assert_eq!(id(r#"{"success":true,"leadId":"lead_1","error":"x"}"#), Some(Some("lead_1".to_owned())));
        assert_eq!(id(r#" {"success":true,"leadId":789} "#), Some(Some("789".to_owned())));
        assert_eq!(id(r#"{"success":true}"#), Some(None));
        assert_eq!(id(r#"{"success":true,"leadId":"a\nb"}"#), Some(None));
        for other in [r#"{"success":"true"}"#, r#"{"success":1}"#, "[true]", "true", r#"{"leadId":"x"}"#, "{}"] {
            assert_eq!(read(other.as_bytes()).envelope, Envelope::Other(UnexpectedBody::Json), "{other}");
        }
    }

    #[test]
    fn both_error_envelopes_give_their_words() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(words(r#"{"success":false,"error":"Unauthorized"}"#), some("Unauthorized"));
        assert_eq!(words(r#"{"error":{"code":"bad","message":"Too bad"}}"#), some("Too bad"));
        assert_eq!(words(r#"{"error":{"code":"bad"}}"#), some("bad"));
        assert_eq!(words(r#"{"success":false,"error":{"code":"bad","message":"Too bad"}}"#), some("Too bad"));
        assert_eq!(words(r#"{"success":false,"message":"No"}"#), some("No"));
        assert_eq!(words(r#"{"success":false,"error":null}"#), None);
    }

    #[test]
    fn what_is_no_envelope_is_named() {
        let envelope = |bytes: &[u8]| read(bytes).envelope;
        assert_eq!(envelope(b" \r\n"), Envelope::Other(UnexpectedBody::Empty));
        assert_eq!(envelope(b"<!doctype html>"), Envelope::Other(UnexpectedBody::Html));
        assert_eq!(envelope(b"upstream error"), Envelope::Other(UnexpectedBody::Text));
        assert_eq!(envelope(b"{\"success\":true"), Envelope::Other(UnexpectedBody::Text));
        assert_eq!(envelope(br#"{"error":"Unauthorized"}"#), Envelope::Other(UnexpectedBody::Json));
        assert_eq!(envelope("[".repeat(60_000).as_bytes()), Envelope::Other(UnexpectedBody::Text));
    }

    #[test]
    fn minted_keys_without_keys_are_no_success() {
        let body = ReplyBody { bytes: br#"{"success":true,"publicKey":"wp_pk_a"}"#.to_vec(), is_cut: false };
        let answer = read_answer::<MintedKeys>(200, &HeaderMap::new(), &body, Mask::default);
        assert_eq!(answer.envelope, Envelope::Other(UnexpectedBody::Json));
    }

    #[test]
    fn the_widget_shows_no_name_in_debug() {
        let widget = Widget {
            recent_leads: vec![RecentLead { name: "Jane".to_owned(), created_at: String::new() }],
            leads_this_week: 1,
        };
        assert_eq!(format!("{widget:?}"), "Widget { recent_leads: 1, leads_this_week: 1 }");
    }
}
