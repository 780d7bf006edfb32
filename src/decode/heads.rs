//! Multer's share of a multipart body: the lines between the parts, and each part's headers.
//!
//! It is given a skeleton, the body without its contents. What it is to read next is always there before it is asked, so
//! that it never waits.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use multer::{Field, Multipart};

use super::DecodeError;
use super::delimiters::{CRLF, is_blank};

/// What stands between the heads. The parser looks for it and finds it where it begins, whatever the headers hold; a
/// short one is the fastest to look for.
const BOUNDARY: &str = "B";

/// As long as the skeleton of a form usually gets, in bytes.
const USUAL: usize = 1_024;

/// A body without its contents, in strict form: multer refuses bare line feeds and folded headers (RFC 5322 §2.2.3).
#[derive(Default)]
pub(super) struct Skeleton(Vec<u8>);

impl Skeleton {
    /// Adds a part's headers; false where it has none, which multer takes for one that begins with its content.
    pub(super) fn add(&mut self, headers: &[u8]) -> bool {
        if self.0.capacity() == 0 {
            self.0.reserve(USUAL);
        }
        let before = self.0.len();
        self.write_boundary(CRLF);
        let empty = self.0.len();
        if is_strict(headers) {
            self.0.extend_from_slice(headers);
        } else {
            unfold(headers, &mut self.0);
        }
        if self.0.len() == empty {
            self.0.truncate(before);
            return false;
        }
        self.0.extend_from_slice(CRLF);
        true
    }

    /// Adds the last boundary.
    pub(super) fn end(&mut self) {
        self.write_boundary(b"--\r\n");
    }

    /// Takes what there is of it.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    fn write_boundary(&mut self, end: &[u8]) {
        for piece in [b"\r\n--", BOUNDARY.as_bytes(), end] {
            self.0.extend_from_slice(piece);
        }
    }
}

/// Tells whether each header is one line that ends as it should.
fn is_strict(headers: &[u8]) -> bool {
    let mut line_ends = memchr::memchr_iter(b'\n', headers);
    headers.ends_with(CRLF)
        && line_ends.all(|end| {
            let (line, next) = headers.split_at_checked(end + 1).unwrap_or_default();
            line.ends_with(CRLF) && !next.first().is_some_and(|byte| is_blank(*byte))
        })
}

/// Writes each header on one line, up to a line that is empty.
fn unfold(headers: &[u8], out: &mut Vec<u8>) {
    let begun = out.len();
    let lines = headers.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in lines.take_while(|line| !line.is_empty()) {
        let goes_on = out.len() > begun && line.first().is_some_and(|byte| is_blank(*byte));
        if goes_on {
            // In the place of the line end before.
            out.truncate(out.len() - CRLF.len());
            out.push(b' ');
        }
        out.extend_from_slice(if goes_on { line.trim_ascii() } else { line });
        out.extend_from_slice(CRLF);
    }
}

/// Reads a skeleton.
pub(super) struct Heads {
    multipart: Multipart<'static>,
    feed: Feed,
}

impl Heads {
    pub(super) fn new() -> Self {
        let feed = Feed::default();
        Self { multipart: Multipart::new(feed.clone(), BOUNDARY), feed }
    }

    /// Gives it more of the skeleton.
    pub(super) fn feed(&self, skeleton: Vec<u8>) {
        let mut unread = self.feed.0.lock().unwrap_or_else(PoisonError::into_inner);
        match unread.is_empty() {
            true => *unread = skeleton,
            false => unread.extend_from_slice(&skeleton),
        }
    }

    /// Reads the next head; none after the last boundary.
    pub(super) fn next(&mut self) -> Result<Option<Field<'static>>, DecodeError> {
        // It waits for nothing but the feed, so nobody needs waking.
        match self.multipart.poll_next_field(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(head)) => Ok(head),
            Poll::Ready(Err(_)) | Poll::Pending => Err(DecodeError::BrokenMultipart),
        }
    }
}

/// The skeleton on its way to the parser.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<Vec<u8>>>);

impl futures_core::Stream for Feed {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut unread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.is_empty() { Poll::Pending } else { Poll::Ready(Some(Ok(std::mem::take(&mut *unread).into()))) }
    }
}
