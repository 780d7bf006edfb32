//! What a page's visitor is answered: the usual JSON for a script, another page for a person.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};

use super::audience::{Audience, Person};
use super::html;
use super::words::Notice;
use crate::accept::outcome::{Dialect, Outcome, PageRefusal, Refusal, Rejected, Stored, reply, see_other};
use crate::accept::submission::BadBody;
use crate::http::RequestId;

/// Makes the answer of a request from a page.
pub(in crate::accept) fn answer(outcome: &Outcome, audience: &Audience, id: &RequestId) -> Response<Bytes> {
    let plain = reply(outcome, Dialect::Page, id);
    match audience {
        Audience::Script { origin } => for_script(plain, origin.as_ref()),
        Audience::Person(person) => for_person(outcome, person, plain),
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
    let notice = notice(outcome);
    if let (Notice::Thanks, Some(thanks)) = (notice, &person.thanks) {
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
    Response::from_parts(head, html::page(person.words, notice, &errors, home))
}

fn notice(outcome: &Outcome) -> Notice {
    match outcome {
        Outcome::Stored(Stored { rejected: None, .. }) => Notice::Thanks,
        Outcome::Stored(Stored { rejected: Some(Rejected::Invalid(_)), .. }) => Notice::Invalid,
        Outcome::Stored(Stored { rejected: Some(Rejected::Undecodable | Rejected::UnsupportedType), .. })
        | Outcome::Refused(Refusal::Body(BadBody::Broken | BadBody::TooSlow) | Refusal::Head(_)) => Notice::Unreadable,
        Outcome::Refused(
            Refusal::Page(PageRefusal::TooLarge) | Refusal::Body(BadBody::TooLarge | BadBody::TooMuchToKeep),
        ) => Notice::TooLarge,
        Outcome::Refused(Refusal::Page(PageRefusal::Files)) => Notice::Files,
        Outcome::Refused(Refusal::Page(PageRefusal::Full) | Refusal::Limited(_)) => Notice::TooMany,
        Outcome::Refused(Refusal::Method(_) | Refusal::Unauthorized) => Notice::NothingHere,
        Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Answered(_) | Outcome::Preflight(_) => Notice::Unavailable,
    }
}
