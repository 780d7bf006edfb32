//! What a page's visitor is answered: the usual JSON for a script, another page for a person.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};

use super::html;
use super::visitor::{Person, Visitor};
use super::words::Saying;
use crate::accept::outcome::{Dialect, Outcome, PageRefusal, Refusal, Rejected, Stored, reply, see_other};
use crate::accept::submission::BadBody;
use crate::http::RequestId;

/// Makes the answer of a request from a page.
pub(in crate::accept) fn answer(outcome: &Outcome, visitor: &Visitor, id: &RequestId) -> Response<Bytes> {
    let plain = reply(outcome, Dialect::Page, id);
    match visitor {
        Visitor::Script { origin } => for_script(plain, origin.as_ref()),
        Visitor::Person(person) => for_person(outcome, person, plain),
    }
}

fn for_script(mut reply: Response<Bytes>, origin: Option<&HeaderValue>) -> Response<Bytes> {
    if let Some(origin) = origin {
        allow_origin(reply.headers_mut(), origin);
        let readable = HeaderValue::from_static("retry-after, x-request-id");
        reply.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
    }
    reply
}

/// Lets the scripts of a page read an answer.
pub(in crate::accept) fn allow_origin(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
}

fn for_person(outcome: &Outcome, person: &Person, plain: Response<Bytes>) -> Response<Bytes> {
    let saying = saying(outcome);
    if let (Saying::Thanks, Some(thanks)) = (saying, &person.thanks) {
        return see_other(thanks.clone(), plain);
    }
    let home = person.home.as_deref();
    let errors: Vec<String> = match outcome {
        Outcome::Stored(Stored { rejected: Some(Rejected::Invalid(errors)), .. }) => {
            errors.iter().filter_map(|error| person.words.error(error)).collect()
        }
        _ => Vec::new(),
    };
    let (mut head, _problem) = plain.into_parts();
    html::protect(&mut head.headers, person.words, home);
    Response::from_parts(head, html::page(person.words, saying, &errors, home))
}

fn saying(outcome: &Outcome) -> Saying {
    match outcome {
        Outcome::Stored(Stored { rejected: None, .. }) => Saying::Thanks,
        Outcome::Stored(Stored { rejected: Some(Rejected::Invalid(_)), .. }) => Saying::Invalid,
        Outcome::Stored(Stored { rejected: Some(Rejected::Undecodable | Rejected::UnsupportedType), .. })
        | Outcome::Refused(Refusal::Body(BadBody::Broken | BadBody::TooSlow) | Refusal::Head(_)) => Saying::Unreadable,
        Outcome::Refused(
            Refusal::Page(PageRefusal::TooLarge) | Refusal::Body(BadBody::TooLarge | BadBody::TooMuchToKeep),
        ) => Saying::TooLarge,
        Outcome::Refused(Refusal::Page(PageRefusal::Files)) => Saying::Files,
        Outcome::Refused(Refusal::Page(PageRefusal::Full) | Refusal::Limited(_)) => Saying::TooMany,
        Outcome::Refused(Refusal::Method(_) | Refusal::NotFound) => Saying::NothingHere,
        Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Answered(_) | Outcome::Preflight(_) => Saying::Unavailable,
    }
}
