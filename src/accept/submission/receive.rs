//! From a request to what is stored of it.

use http::header;

use super::body::BadBody;
use crate::accept::wire::RequestHead;
use crate::pipeline::{Keeper, KeptBody};
use crate::received::{Received, SplitQuery};

/// Returns how much of a body may be stored: of it and the query together at most `max_body`.
pub(super) fn room(query: &SplitQuery, max_body: u64) -> Result<usize, BadBody> {
    let query = query.kept.as_deref().map_or(0, str::len);
    usize::try_from(max_body).unwrap_or(usize::MAX).checked_sub(query).ok_or(BadBody::TooMuchToKeep)
}

/// Begins to keep a body: at most `room` of its at most `max_upload` bytes.
pub(super) fn keeper(head: &RequestHead, room: usize, max_upload: u64) -> Keeper {
    let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    Keeper::new(content_type.as_deref(), room, max_upload)
}

/// Builds what is stored: what is kept of the body, the headers that are kept, the query without its token.
pub(super) fn receive(head: &RequestHead, query: &SplitQuery, kept: &KeptBody) -> Received {
    let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let received = Received::from_parts(head.method.as_str(), query.kept.clone(), headers, kept.body.clone());
    Received { cut: kept.cut, parts: kept.parts.clone(), ..received }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> RequestHead {
        RequestHead {
            method: http::Method::POST,
            path: String::new(),
            query: None,
            headers: http::HeaderMap::new(),
            framing: crate::accept::wire::Framing::Length(5),
            expects_continue: false,
        }
    }

    #[test]
    fn the_query_counts_to_what_is_kept() {
        let head = head();
        let query = SplitQuery::of(Some("678&token=fg_t"));
        let kept = |max_body| {
            let mut keeper = keeper(&head, room(&query, max_body)?, u64::MAX);
            let kept = keeper.push(bytes::Bytes::from("12345")).and_then(|()| keeper.finish());
            kept.map(|kept| kept.body).map_err(|_too_much| BadBody::TooMuchToKeep)
        };
        assert_eq!(kept(8), Ok("12345".into()));
        assert_eq!(kept(7), Err(BadBody::TooMuchToKeep));
        assert_eq!(kept(2), Err(BadBody::TooMuchToKeep));
    }

    #[test]
    fn what_was_found_out_of_a_body_goes_with_it() {
        let mut keeper = Keeper::new(Some("multipart/form-data; boundary=x"), 1000, 1000);
        let body = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--x--";
        keeper.push(bytes::Bytes::from(body)).expect("little");
        let kept = keeper.finish().unwrap_or_else(|error| panic!("{error}"));
        let received = receive(&head(), &SplitQuery::default(), &kept);
        assert!(kept.parts.is_some() && received.parts == kept.parts && received.body == kept.body);
    }
}
