//! Answers that only forms have which pages post: where a browser goes next, what its scripts may do, and why not.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::ErrorAnswer;
use crate::accept::browser;
use crate::accept::outcome::PageRefusal;

/// When to come again where a form has had its share of the store.
const FORM_RETRY: Duration = Duration::from_secs(600);

/// Sends a browser on, with the headers of the answer that it would have had.
pub(in crate::accept) fn see_other(location: HeaderValue, answer: Response<Bytes>) -> Response<Bytes> {
    let (mut head, _body) = answer.into_parts();
    head.status = StatusCode::SEE_OTHER;
    head.headers.remove(header::CONTENT_TYPE);
    head.headers.insert(header::LOCATION, location);
    Response::from_parts(head, Bytes::new())
}

/// Lets scripts of these pages post what a plain form can't.
pub(super) fn preflight(origin: &HeaderValue) -> Response<Bytes> {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = StatusCode::OK;
    let headers = reply.headers_mut();
    browser::allow_origin(headers, origin);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
        (header::VARY, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}

pub(super) fn page_fault(refusal: PageRefusal) -> ErrorAnswer<'static> {
    match refusal {
        PageRefusal::TooLarge => ErrorAnswer::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Form too large",
            "A form that a page posts without a token may have at most 64 KiB.",
        ),
        PageRefusal::Files => ErrorAnswer::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Files aren't taken",
            "A form that a page posts without a token may not have files in it.",
        ),
        PageRefusal::Full => ErrorAnswer {
            retry_after: Some(FORM_RETRY),
            ..ErrorAnswer::new(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many submissions of this form",
                "This form has had its share of the store; the operator has to look at what came.",
            )
        },
    }
}
