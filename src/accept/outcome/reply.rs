//! From an [`Outcome`] to the bytes of an answer; the only place that knows a status code (with `pages`, its part for
//! forms that pages post).
//!
//! Every success is exactly 200 with `"success": true`: the one answer that every plugin takes as success. Errors are
//! problems (RFC 9457), except on KaiCalls' own endpoints: their errors are KaiCalls' envelope in KaiCalls' documented
//! words, since KaiCalls' plugin shows them to the visitor. No answer repeats a value of the submission.

mod pages;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

pub(in crate::accept) use self::pages::see_other;
use self::pages::{page_fault, preflight};
use super::{Outcome, Refusal, Rejected, Stored, WrongKeys};
use crate::accept::guard::Over;
use crate::accept::route::{Allowed, Endpoint};
use crate::accept::submission::BadBody;
use crate::accept::wire::BadHead;
use crate::http::{Problem, RequestId, json};
use crate::lead::{EntryId, FieldError};

/// What is answered, unless it is a problem.
const JSON: &str = "application/json";
/// When to come again where the store is full or away.
const STORE_RETRY: Duration = Duration::from_secs(30);
/// When a credential that can't be checked now may be.
const CONFIG_RETRY: Duration = Duration::from_secs(60);
/// When to come again where too many bodies are being read.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// Whose shape an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accept) enum Dialect {
    Formgate,
    /// The same, to who waits at a page.
    Page,
    Kaicalls(Endpoint),
}

/// The answer to a stored submission.
#[derive(Serialize)]
struct StoredAnswer {
    success: bool,
    id: EntryId,
    status: &'static str,
}

/// The same, as KaiCalls answers `intake`.
#[derive(Serialize)]
struct LeadCreated {
    success: bool,
    #[serde(rename = "leadId")]
    lead_id: EntryId,
    message: &'static str,
    id: EntryId,
    status: &'static str,
}

/// KaiCalls' format of an error.
#[derive(Serialize)]
struct ErrorEnvelope {
    success: bool,
    error: &'static str,
}

/// The content of an error, whatever its format.
struct ErrorAnswer<'a> {
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
    retry_after: Option<Duration>,
    errors: &'a [FieldError],
    /// What KaiCalls' documentation says of exactly this.
    kaicalls: Option<&'static str>,
}

/// Makes the answer.
pub(in crate::accept) fn reply(outcome: &Outcome, dialect: Dialect, id: &RequestId) -> Response<Bytes> {
    let mut reply = match outcome {
        Outcome::Stored(stored) => match &stored.rejected {
            None => success(stored, dialect),
            Some(rejected) => fault(&rejected_fault(rejected), outcome.reason(), dialect, id),
        },
        Outcome::Answered(answer) => json(StatusCode::OK, JSON, answer),
        Outcome::Preflight(origin) => preflight(origin),
        Outcome::Failed(_) => fault(&failed_fault(), outcome.reason(), dialect, id),
        Outcome::Refused(refusal) => {
            let mut reply = fault(&refusal_fault(refusal), outcome.reason(), dialect, id);
            add_headers(reply.headers_mut(), refusal, dialect);
            reply
        }
    };
    reply.headers_mut().insert(RequestId::HEADER, id.into());
    reply
}

fn success(stored: &Stored, dialect: Dialect) -> Response<Bytes> {
    let Stored { id, status, told, .. } = *stored;
    let status = status.as_str();
    match dialect {
        Dialect::Formgate => json(StatusCode::OK, JSON, &StoredAnswer { success: true, id, status }),
        Dialect::Page => json(StatusCode::OK, JSON, &StoredAnswer { success: true, id, status: told.as_str() }),
        Dialect::Kaicalls(_) => {
            let message = "Lead created successfully";
            json(StatusCode::OK, JSON, &LeadCreated { success: true, lead_id: id, message, id, status })
        }
    }
}

fn fault(fault: &ErrorAnswer<'_>, reason: &str, dialect: Dialect, id: &RequestId) -> Response<Bytes> {
    let mut reply = match dialect {
        Dialect::Formgate | Dialect::Page => {
            let ErrorAnswer { status, title, detail, errors, .. } = *fault;
            Problem { kind: reason, title, status, detail, request_id: id, errors }.response()
        }
        Dialect::Kaicalls(endpoint) => {
            json(fault.status, JSON, &ErrorEnvelope { success: false, error: fault.kaicalls_words(endpoint) })
        }
    };
    if let Some(wait) = fault.retry_after {
        reply.headers_mut().insert(header::RETRY_AFTER, whole_seconds(wait).into());
    }
    reply
}

/// Says in headers what some refusals have to say there.
fn add_headers(headers: &mut HeaderMap, refusal: &Refusal, dialect: Dialect) {
    match refusal {
        Refusal::Method(allowed) => {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods(*allowed)));
        }
        Refusal::Limited(over) => add_limit(headers, over),
        Refusal::Unauthorized => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge(dialect)));
        }
        _ => {}
    }
}

/// The fields of draft-ietf-httpapi-ratelimit-headers.
fn add_limit(headers: &mut HeaderMap, Over { policy, limit, wait }: &Over) {
    let burst = limit.burst;
    let window = limit.rate.per.as_secs() * u64::from(burst.get());
    let window = (window / u64::from(limit.rate.count.get())).max(1);
    let plain = |text: String| HeaderValue::try_from(text).expect("words and numbers are a header's value");
    headers.insert("ratelimit-policy", plain(format!("\"{policy}\";q={burst};w={window}")));
    headers.insert("ratelimit", plain(format!("\"{policy}\";r=0;t={}", whole_seconds(*wait))));
}

fn rejected_fault(rejected: &Rejected) -> ErrorAnswer<'_> {
    match rejected {
        Rejected::Undecodable => ErrorAnswer::new(
            StatusCode::BAD_REQUEST,
            "The body can't be decoded",
            "The body doesn't match its Content-Type, or it is cut off. It was stored and is held for the operator.",
        ),
        Rejected::UnsupportedType => ErrorAnswer::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The media type is neither a form nor text",
            "Send application/x-www-form-urlencoded, multipart/form-data, JSON or text. The body was stored and is \
             held.",
        ),
        Rejected::Invalid(errors) => ErrorAnswer {
            errors,
            ..ErrorAnswer::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "No valid lead",
                "This submission has no valid lead; see errors. It was stored and is held for the operator.",
            )
        },
    }
}

/// No promise is made: the entry may be stored, or not.
fn failed_fault() -> ErrorAnswer<'static> {
    ErrorAnswer::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The gateway failed",
        "A bug in the gateway ended this request; the log has the request_id.",
    )
}

fn refusal_fault(refusal: &Refusal) -> ErrorAnswer<'static> {
    match refusal {
        Refusal::Head(bad) => head_fault(*bad),
        Refusal::NotFound => ErrorAnswer::new(
            StatusCode::NOT_FOUND,
            "No such path",
            "Webhooks are posted to /hooks/{site} or /hooks/{site}/{form}.",
        ),
        Refusal::Method(allowed) => {
            ErrorAnswer::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", method_detail(*allowed))
        }
        Refusal::Unauthorized => ErrorAnswer::new(
            StatusCode::UNAUTHORIZED,
            "Credential missing or wrong",
            "Send the site's token as Authorization: Bearer, as X-Formgate-Token, as Basic password or as ?token=.",
        ),
        Refusal::CredentialsUnknown => ErrorAnswer {
            retry_after: Some(CONFIG_RETRY),
            ..ErrorAnswer::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Credentials can't be checked now",
                "Part of the gateway's configuration can't be read, so this credential can't be checked; try again \
                 later.",
            )
        },
        Refusal::Keys(wrong) => keys_fault(*wrong),
        Refusal::Body(bad) => body_fault(*bad),
        Refusal::Unkept(_) => unkept_fault(),
        Refusal::Limited(over) => ErrorAnswer {
            retry_after: Some(over.wait),
            ..ErrorAnswer::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests", "Over the limit; try again later.")
        },
        Refusal::Page(refusal) => page_fault(*refusal),
        Refusal::Store(_) | Refusal::StoreSlow => store_fault(),
    }
}

fn store_fault() -> ErrorAnswer<'static> {
    ErrorAnswer {
        retry_after: Some(STORE_RETRY),
        ..ErrorAnswer::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The submission couldn't be stored",
            "The submission couldn't be written to disk and wasn't accepted; try again later.",
        )
    }
}

/// A sender that comes again meets the same bug, unless the program is another by then; a person sees that it failed.
fn unkept_fault() -> ErrorAnswer<'static> {
    ErrorAnswer {
        retry_after: Some(STORE_RETRY),
        ..ErrorAnswer::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The submission couldn't be stored",
            "A bug in the gateway prevented storing this submission; the log has the request_id.",
        )
    }
}

fn head_fault(bad: BadHead) -> ErrorAnswer<'static> {
    match bad {
        BadHead::Malformed | BadHead::Cut => {
            ErrorAnswer::new(StatusCode::BAD_REQUEST, "Malformed request", "The request is not well-formed HTTP/1.1.")
        }
        BadHead::TooLarge => ErrorAnswer::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Head too large",
            "The request line and headers are larger than 64 KiB.",
        ),
        BadHead::TooSlow => ErrorAnswer::new(
            StatusCode::REQUEST_TIMEOUT,
            "Head too slow",
            "The request line and headers didn't arrive in time.",
        ),
    }
}

fn body_fault(bad: BadBody) -> ErrorAnswer<'static> {
    match bad {
        BadBody::TooMuchToKeep => ErrorAnswer::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Submission too large",
            "Even without the contents of its files, the submission is larger than max_body.",
        ),
        BadBody::TooLarge => {
            ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, "Body too large", "The body is larger than max_upload.")
        }
        BadBody::Busy => ErrorAnswer {
            retry_after: Some(BUSY_RETRY),
            ..ErrorAnswer::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many bodies being read",
                "Other requests use all the memory for bodies (max_reading), or all the time for decoding; try again \
                 later.",
            )
        },
        BadBody::TooSlow => {
            ErrorAnswer::new(StatusCode::REQUEST_TIMEOUT, "Body too slow", "The body didn't arrive in time.")
        }
        BadBody::Broken => ErrorAnswer::new(
            StatusCode::BAD_REQUEST,
            "Malformed body",
            "The body ended early, or its chunks are malformed.",
        ),
    }
}

/// Only `verify` has them, and both are documented.
fn keys_fault(wrong: WrongKeys) -> ErrorAnswer<'static> {
    let (status, title, words) = match wrong {
        WrongKeys::Missing => (StatusCode::BAD_REQUEST, "Keys missing", "API Key and Public Key are required."),
        WrongKeys::Public => (StatusCode::UNAUTHORIZED, "Wrong key", "Invalid Public Key."),
        WrongKeys::Secret | WrongKeys::Refused => (StatusCode::UNAUTHORIZED, "Wrong key", "Invalid API Key."),
    };
    ErrorAnswer { kaicalls: Some(words), ..ErrorAnswer::new(status, title, words) }
}

fn challenge(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Formgate | Dialect::Page => "Bearer realm=\"formgate\"",
        Dialect::Kaicalls(_) => "Bearer",
    }
}

fn methods(allowed: Allowed) -> &'static str {
    match allowed {
        Allowed::Hook => "POST, PUT, PATCH, GET, DELETE",
        Allowed::Post => "POST",
        Allowed::Get => "GET",
    }
}

fn method_detail(allowed: Allowed) -> &'static str {
    match allowed {
        Allowed::Hook => {
            "This URL takes form submissions: paste it into the form plugin's webhook settings. It expects a POST with \
             the form's fields (PUT and PATCH work too, GET and DELETE with fields in the query or with a body)."
        }
        Allowed::Post => "Use POST.",
        Allowed::Get => "Use GET.",
    }
}

impl ErrorAnswer<'_> {
    fn new(status: StatusCode, title: &'static str, detail: &'static str) -> Self {
        Self { status, title, detail, retry_after: None, errors: &[], kaicalls: None }
    }

    /// Returns what KaiCalls' API says of such a fault. Its document knows a few words only, so `intake` has one for
    /// everything but wrong keys; the other endpoints, which no visitor sees, have the status' own words for the rest.
    fn kaicalls_words(&self, endpoint: Endpoint) -> &'static str {
        match (self.kaicalls, self.status, endpoint) {
            (Some(documented), ..) => documented,
            (None, StatusCode::UNAUTHORIZED, _) => "Unauthorized",
            (None, _, Endpoint::Intake) => "Failed to create lead",
            (None, status, _) => status.canonical_reason().unwrap_or("Error"),
        }
    }
}

/// Rounded up: who comes back after that many seconds is let in.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::accept::outcome::StoredStatus;
    use crate::lead::{Code, LeadField};
    use crate::queue::{Reason, StoreError};

    fn id() -> RequestId {
        RequestId::random()
    }

    fn answer(outcome: &Outcome, dialect: Dialect) -> (u16, serde_json::Value) {
        let reply = reply(outcome, dialect, &id());
        (reply.status().as_u16(), serde_json::from_slice(reply.body()).expect("json"))
    }

    fn stored(rejected: Option<Rejected>) -> Outcome {
        let id = EntryId::new(1, &[0; 10]);
        let status = StoredStatus::Held;
        Outcome::Stored(Stored { id, status, reason: Reason::Invalid, told: status, rejected })
    }

    fn over() -> Over {
        Over {
            policy: "gateway",
            limit: crate::config::Limit {
                rate: crate::config::Rate { count: 60.try_into().expect("60"), per: Duration::from_secs(60) },
                burst: 30.try_into().expect("30"),
            },
            wait: Duration::from_millis(1500),
        }
    }

    #[test]
    fn each_end_has_its_status() {
        use Refusal as No;
        let over = over();
        for (outcome, status) in [
            (stored(None), 200),
            (stored(Some(Rejected::Undecodable)), 400),
            (stored(Some(Rejected::UnsupportedType)), 415),
            (stored(Some(Rejected::Invalid(Vec::new()))), 422),
            (Outcome::Refused(No::Head(BadHead::Malformed)), 400),
            (Outcome::Refused(No::Unauthorized), 401),
            (Outcome::Refused(No::CredentialsUnknown), 503),
            (Outcome::Refused(No::NotFound), 404),
            (Outcome::Refused(No::Method(Allowed::Hook)), 405),
            (Outcome::Refused(No::Body(BadBody::TooLarge)), 413),
            (Outcome::Refused(No::Body(BadBody::TooMuchToKeep)), 413),
            (Outcome::Refused(No::Limited(over)), 429),
            (Outcome::Refused(No::Body(BadBody::Busy)), 503),
            (Outcome::Refused(No::Store(StoreError::Full)), 503),
            (Outcome::Refused(No::StoreSlow), 503),
        ] {
            assert_eq!(answer(&outcome, Dialect::Formgate).0, status, "{}", outcome.reason());
            let (found, envelope) = answer(&outcome, Dialect::Kaicalls(Endpoint::Intake));
            assert_eq!(found, status, "{}", outcome.reason());
            let words = match status {
                200 => continue,
                401 => "Unauthorized",
                _ => "Failed to create lead",
            };
            assert_eq!(envelope, json!({ "success": false, "error": words }), "{}", outcome.reason());
        }
    }

    #[test]
    fn over_a_limit_the_headers_say_which_and_for_how_long() {
        let limited = reply(&Outcome::Refused(Refusal::Limited(over())), Dialect::Formgate, &id());
        let header = |name: &str| limited.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("retry-after"), Some("2"));
        assert_eq!(header("ratelimit-policy"), Some("\"gateway\";q=30;w=30"));
        assert_eq!(header("ratelimit"), Some("\"gateway\";r=0;t=2"));
    }

    #[test]
    fn a_lead_that_does_not_validate_is_told_why() {
        let errors = vec![FieldError::new(LeadField::Email, Code::Missing, "no field gives an e-mail address")];
        let (_, problem) = answer(&stored(Some(Rejected::Invalid(errors))), Dialect::Formgate);
        assert_eq!(problem["type"], "urn:formgate:problem:invalid-lead");
        let error = json!({"field": "email", "code": "missing", "detail": "no field gives an e-mail address"});
        assert_eq!(problem["errors"], json!([error]));
    }

    #[test]
    fn what_no_visitor_sees_has_the_words_of_its_status() {
        let told = |refusal, endpoint| answer(&Outcome::Refused(refusal), Dialect::Kaicalls(endpoint)).1;
        let envelope = |words| json!({ "success": false, "error": words });
        assert_eq!(told(Refusal::StoreSlow, Endpoint::Widget), envelope("Service Unavailable"));
        assert_eq!(told(Refusal::NotFound, Endpoint::Unknown), envelope("Not Found"));
        assert_eq!(told(Refusal::Unauthorized, Endpoint::Widget), envelope("Unauthorized"));
        assert_eq!(told(Refusal::Keys(WrongKeys::Public), Endpoint::Verify), envelope("Invalid Public Key."));
    }
}
