//! The plainest reading there is of each encoding, by the crate that the program reads it with: what it all has to be measured by.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use formgate::received::Received;

/// Text of JSON, exactly so many bytes: strings, as most values of forms are.
pub(crate) fn json(bytes: usize) -> String {
    const ELEMENT: &str = "\"a text of 20 signs.\",";
    let elements = bytes.saturating_sub(4) / ELEMENT.len();
    let rest = bytes.saturating_sub(elements * ELEMENT.len() + 4);
    format!("[{}\"{}\"]", ELEMENT.repeat(elements), "x".repeat(rest))
}

/// Reads JSON into a value.
pub(crate) fn read_json(text: &[u8]) {
    black_box(serde_json::from_slice::<serde_json::Value>(text)).ok();
}

/// Reads a form into pairs.
pub(crate) fn read_pairs(body: &[u8]) {
    black_box(serde_urlencoded::from_bytes::<Vec<(String, String)>>(body)).ok();
}

/// Reads a body by the library for its type.
pub(crate) fn read(received: &Received) {
    let kind = received.content_type().unwrap_or_default();
    match kind.split(['/', ';']).nth(1).unwrap_or_default() {
        "json" => read_json(&received.body),
        "form-data" => read_parts(kind, &received.body),
        _ => read_pairs(&received.body),
    }
}

/// Reads every part of a multipart body whole.
pub(crate) fn read_parts(content_type: &str, body: &Bytes) {
    let read = pin!(async {
        let mut parts = multer::Multipart::new(Whole(Some(body.clone())), multer::parse_boundary(content_type)?);
        while let Some(part) = parts.next_field().await? {
            black_box(part.bytes().await?);
        }
        Ok::<(), multer::Error>(())
    });
    // All of it is there, so it never waits.
    let end = read.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(end, Poll::Ready(Ok(()))), "multer reads the whole body");
}

/// A body that comes in one chunk.
struct Whole(Option<Bytes>);

impl futures_core::Stream for Whole {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}
