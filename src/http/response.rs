//! An answer, and its way to the wire.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use serde::Serialize;

/// Makes an answer that nobody keeps.
pub fn response<B>(status: StatusCode, media_type: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes an answer of a value that can always be written as JSON: one with text as its keys.
pub fn json(status: StatusCode, media_type: &'static str, value: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(value).expect("structs with text as keys can be written");
    response(status, media_type, Bytes::from(body))
}

/// Tells whether the client waits for a word before it sends the body (RFC 9110, 10.1.1).
pub fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Writes an answer; to a `HEAD`, its head alone.
pub async fn write(session: &mut ServerSession, response: Response<Bytes>, is_head: bool) -> pingora::Result<()> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    session.write_response_header(Box::new(ResponseHeader::from(head))).await?;
    session.write_response_body(if is_head { Bytes::new() } else { body }, true).await
}
