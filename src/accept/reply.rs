//! From an [`Outcome`] to the bytes of an answer; the only place that knows a status code.
//!
//! Every success is exactly 200 with `"success": true`: the one answer that every plugin takes as success. Errors are
//! problems (RFC 9457), except on KaiCalls' own endpoints, whose clients read KaiCalls' envelope. No answer repeats a
//! value of the submission.

use std::time::Duration;

use http::{HeaderName, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use super::body::BadBody;
use super::head::RequestId;
use super::limits::Over;
use super::outcome::{Outcome, Refusal, Rejected, Stored, WrongKeys};
use super::route::Allowed;
use super::wire::BadHead;
use crate::lead::FieldError;

/// When to come again where the store is full or away.
const STORE_RETRY: Duration = Duration::from_secs(30);
/// When to come again where too many bodies are being read.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// Whose shape an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Formgate,
    Kaicalls,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Vec<u8>,
}

/// RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

/// What an error is answered with, whatever the dialect.
struct Fault<'a> {
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
    retry_after: Option<Duration>,
    errors: &'a [FieldError],
}

/// Makes the answer.
pub(super) fn reply(outcome: &Outcome, dialect: Dialect, id: &RequestId) -> Reply {
    let mut reply = match outcome {
        Outcome::Stored(stored) => match &stored.rejected {
            None => Reply::json(StatusCode::OK, "application/json", &success(stored, dialect)),
            Some(rejected) => fault(&rejected_fault(rejected), outcome.reason(), dialect, id),
        },
        Outcome::Answered(answer) => Reply::json(StatusCode::OK, "application/json", answer),
        Outcome::Failed(_) => fault(&failed_fault(), outcome.reason(), dialect, id),
        Outcome::Refused(refusal) => {
            let mut reply = fault(&refusal_fault(refusal), outcome.reason(), dialect, id);
            match refusal {
                Refusal::Method(allowed) => reply.push(header::ALLOW, methods(*allowed)),
                Refusal::Limited(over) => reply.push_limit(over),
                Refusal::Unauthorized => reply.push(header::WWW_AUTHENTICATE, "Bearer realm=\"formgate\""),
                _ => {}
            }
            reply
        }
    };
    reply.push(header::CACHE_CONTROL, "no-store");
    reply.push(HeaderName::from_static("x-request-id"), id.as_str());
    reply
}

fn success(stored: &Stored, dialect: Dialect) -> serde_json::Value {
    let (id, status) = (stored.id.to_string(), stored.status.as_str());
    match dialect {
        Dialect::Formgate => json!({ "success": true, "id": id, "status": status }),
        Dialect::Kaicalls => json!({
            "success": true,
            "leadId": id,
            "message": "Lead received",
            "id": id,
            "status": status,
        }),
    }
}

fn fault(fault: &Fault<'_>, reason: &str, dialect: Dialect, id: &RequestId) -> Reply {
    let mut reply = match dialect {
        Dialect::Formgate => {
            let problem = Problem {
                kind: format!("urn:formgate:problem:{}", reason.replace('_', "-")),
                title: fault.title,
                status: fault.status.as_u16(),
                detail: fault.detail,
                request_id: id.as_str(),
                errors: fault.errors,
            };
            Reply::json(fault.status, "application/problem+json", &problem)
        }
        Dialect::Kaicalls => {
            let envelope = json!({ "success": false, "error": fault.detail, "request_id": id.as_str() });
            Reply::json(fault.status, "application/json", &envelope)
        }
    };
    if let Some(wait) = fault.retry_after {
        reply.push(header::RETRY_AFTER, &whole_seconds(wait).to_string());
    }
    reply
}

fn rejected_fault(rejected: &Rejected) -> Fault<'_> {
    match rejected {
        Rejected::Undecodable => Fault::new(
            StatusCode::BAD_REQUEST,
            "The body cannot be decoded",
            "The body is not what its content type says, or it is cut off. It was kept and is held for the operator.",
        ),
        Rejected::UnsupportedType => Fault::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The media type is no form",
            "Send application/x-www-form-urlencoded, multipart/form-data, JSON or text. The body was kept and is held.",
        ),
        Rejected::Invalid(errors) => Fault {
            errors,
            ..Fault::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "No valid lead",
                "No valid lead can be made of this submission; see errors. It was kept and is held for the operator.",
            )
        },
    }
}

/// No promise is made: the entry may be stored, or not.
fn failed_fault() -> Fault<'static> {
    Fault::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The gateway failed",
        "A bug of the gateway ended this request; its log names the request_id.",
    )
}

fn refusal_fault(refusal: &Refusal) -> Fault<'static> {
    match refusal {
        Refusal::Head(bad) => head_fault(*bad),
        Refusal::NotFound => Fault::new(
            StatusCode::NOT_FOUND,
            "No such path",
            "Webhooks are posted to /hooks/{site} or /hooks/{site}/{form}.",
        ),
        Refusal::Method(allowed) => {
            Fault::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", method_detail(*allowed))
        }
        Refusal::Unauthorized => Fault::new(
            StatusCode::UNAUTHORIZED,
            "Credential missing or wrong",
            "Send the site's token as Authorization: Bearer, as X-Formgate-Token, as Basic password or as ?token=.",
        ),
        Refusal::Keys(wrong) => keys_fault(*wrong),
        Refusal::Body(bad) => body_fault(*bad),
        Refusal::Limited(over) => Fault {
            retry_after: Some(over.wait),
            ..Fault::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests", "Over the limit; come again later.")
        },
        Refusal::Store(_) | Refusal::StoreSlow => Fault {
            retry_after: Some(STORE_RETRY),
            ..Fault::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "It could not be stored",
                "The submission could not be written to disk and is not accepted; come again later.",
            )
        },
    }
}

fn head_fault(bad: BadHead) -> Fault<'static> {
    match bad {
        BadHead::Malformed | BadHead::Cut => {
            Fault::new(StatusCode::BAD_REQUEST, "Malformed request", "The request is not well-formed HTTP/1.1.")
        }
        BadHead::TooLarge => Fault::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "Head too large",
            "The request line and headers are larger than 64 KiB.",
        ),
        BadHead::TooSlow => Fault::new(
            StatusCode::REQUEST_TIMEOUT,
            "Head too slow",
            "The request line and headers did not come in time.",
        ),
    }
}

fn body_fault(bad: BadBody) -> Fault<'static> {
    match bad {
        BadBody::TooMuchToKeep => Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Too much to keep",
            "Without the contents of its files the submission is larger than max_body.",
        ),
        BadBody::TooLarge => {
            Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "Body too large", "The body is larger than max_upload.")
        }
        BadBody::Busy => Fault {
            retry_after: Some(BUSY_RETRY),
            ..Fault::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too much is being read",
                "Other bodies take all the room there is (max_reading); come again later.",
            )
        },
        BadBody::TooSlow => Fault::new(StatusCode::REQUEST_TIMEOUT, "Body too slow", "The body did not come in time."),
        BadBody::Broken => {
            Fault::new(StatusCode::BAD_REQUEST, "Broken body", "The body ended early, or its chunks are malformed.")
        }
    }
}

/// The words of KaiCalls' documentation, by which its clients tell.
fn keys_fault(wrong: WrongKeys) -> Fault<'static> {
    match wrong {
        WrongKeys::Missing => {
            Fault::new(StatusCode::BAD_REQUEST, "Keys missing", "API Key and Public Key are required.")
        }
        WrongKeys::Public => Fault::new(StatusCode::UNAUTHORIZED, "Wrong key", "Invalid Public Key."),
        WrongKeys::Secret => Fault::new(StatusCode::UNAUTHORIZED, "Wrong key", "Invalid API Key."),
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
        Allowed::Post => "This endpoint takes POST.",
        Allowed::Get => "This endpoint takes GET.",
    }
}

impl Fault<'_> {
    fn new(status: StatusCode, title: &'static str, detail: &'static str) -> Self {
        Self { status, title, detail, retry_after: None, errors: &[] }
    }
}

/// Rounded up: who comes back after that many seconds is let in.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl Reply {
    fn json(status: StatusCode, media_type: &str, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("plain structs with string keys always serialise");
        Self { status, headers: vec![(header::CONTENT_TYPE, media_type.to_owned())], body }
    }

    fn push(&mut self, name: HeaderName, value: &str) {
        self.headers.push((name, value.to_owned()));
    }

    /// The fields of draft-ietf-httpapi-ratelimit-headers.
    fn push_limit(&mut self, Over { policy, limit, wait }: &Over) {
        let (burst, window) = (limit.burst, limit.rate.per.as_secs() * u64::from(limit.burst.get()));
        let window = (window / u64::from(limit.rate.count.get())).max(1);
        self.push(HeaderName::from_static("ratelimit-policy"), &format!("\"{policy}\";q={burst};w={window}"));
        self.push(HeaderName::from_static("ratelimit"), &format!("\"{policy}\";r=0;t={}", whole_seconds(*wait)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::outcome::Status;
    use crate::lead::{Code, EntryId, LeadField};
    use crate::queue::StoreError;

    fn id() -> RequestId {
        RequestId::random()
    }

    fn answer(outcome: &Outcome, dialect: Dialect) -> (u16, serde_json::Value) {
        let reply = reply(outcome, dialect, &id());
        (reply.status.as_u16(), serde_json::from_slice(&reply.body).expect("json"))
    }

    fn stored(rejected: Option<Rejected>) -> Outcome {
        Outcome::Stored(Stored { id: EntryId::new(1, &[0; 10]), status: Status::Held, rejected })
    }

    #[test]
    fn each_end_has_its_status() {
        use Refusal as No;
        let over = Over {
            policy: "gateway",
            limit: crate::config::Limit {
                rate: crate::config::Rate { count: 60.try_into().expect("60"), per: Duration::from_secs(60) },
                burst: 30.try_into().expect("30"),
            },
            wait: Duration::from_millis(1500),
        };
        for (outcome, status) in [
            (stored(None), 200),
            (stored(Some(Rejected::Undecodable)), 400),
            (stored(Some(Rejected::UnsupportedType)), 415),
            (stored(Some(Rejected::Invalid(Vec::new()))), 422),
            (Outcome::Refused(No::Head(BadHead::Malformed)), 400),
            (Outcome::Refused(No::Unauthorized), 401),
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
            assert_eq!(answer(&outcome, Dialect::Kaicalls).0, status, "{}", outcome.reason());
        }
        let limited = reply(&Outcome::Refused(No::Limited(over)), Dialect::Formgate, &id());
        let header =
            |name: &str| limited.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
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
        let (_, envelope) = answer(&stored(Some(Rejected::Undecodable)), Dialect::Kaicalls);
        assert_eq!(envelope["success"], false);
    }
}
