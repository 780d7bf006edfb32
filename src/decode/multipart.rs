//! `multipart/form-data` (RFC 7578), read part by part as it comes: file contents are counted and let go.
//!
//! The parser is multer's; it is fed here by hand, so that decoding stays free of I/O and a body of any size passes
//! through in the memory of one chunk.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use multer::{Constraints, Multipart, SizeLimit};

use super::charset::Declared;
use super::disposition::{self, Disposition};
use super::tree::Tree;
use super::urlencoded::{Builder, file_value};
use super::{DecodeError, LIMITS, Limits, Oddity};

/// One part of a body.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub content: PartContent,
}

/// What a part holds.
#[derive(Clone, PartialEq, Eq)]
pub enum PartContent {
    Text(Bytes),
    /// A file, its contents let go. An empty name: no file was chosen.
    File {
        name: String,
        kind: Option<String>,
        size: u64,
    },
}

type Work = Pin<Box<dyn Future<Output = Result<Vec<Part>, DecodeError>> + Send>>;

/// Reads a multipart body chunk by chunk.
pub struct Reader {
    feed: Feed,
    work: Option<Work>,
    done: Option<Result<Vec<Part>, DecodeError>>,
}

impl Reader {
    /// Begins to read; `max` bounds the bytes of the whole body, `cut` says that file sizes stand in `Content-Length`.
    pub fn new(content_type: &str, max: u64, cut: bool) -> Result<Self, DecodeError> {
        let boundary = disposition::boundary(content_type)?;
        let feed = Feed::default();
        let limit = Constraints::new().size_limit(SizeLimit::new().whole_stream(max));
        let multipart = Multipart::with_constraints(feed.clone(), boundary, limit);
        Ok(Self { feed, work: Some(Box::pin(read_parts(multipart, cut))), done: None })
    }

    /// Takes the next chunk.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), DecodeError> {
        self.feed.with(|state| state.chunks.push_back(chunk));
        self.advance();
        match &self.done {
            Some(Err(error)) => Err(*error),
            _ => Ok(()),
        }
    }

    /// Ends the body.
    pub fn finish(mut self) -> Result<Vec<Part>, DecodeError> {
        self.feed.with(|state| state.ended = true);
        self.advance();
        self.done.unwrap_or(Err(DecodeError::BrokenMultipart))
    }

    /// Lets the parser work through what there is. It waits for nothing but the feed, so nobody needs waking.
    fn advance(&mut self) {
        let Some(work) = &mut self.work else {
            self.feed.with(|state| state.chunks.clear());
            return;
        };
        if let Poll::Ready(parts) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.done = Some(parts);
            self.work = None;
        }
    }
}

/// Reads a whole body at once.
pub(super) fn parse(content_type: &str, body: &[u8], cut: bool) -> Result<Vec<Part>, DecodeError> {
    let mut reader = Reader::new(content_type, body.len() as u64, cut)?;
    reader.push(Bytes::copy_from_slice(body))?;
    let parts = reader.finish()?;
    // Without a part it holds no more than its closing line: anything longer was meant to be one.
    let closing = disposition::boundary(content_type)?.len() + "----\r\n".len();
    if parts.is_empty() && body.trim_ascii().len() > closing { Err(DecodeError::BrokenMultipart) } else { Ok(parts) }
}

/// Turns parts into a tree, names nested as in a form.
pub(super) fn into_tree(parts: Vec<Part>, declared: Declared, odd: &mut BTreeSet<Oddity>) -> Result<Tree, DecodeError> {
    let mut builder = Builder::default();
    for part in parts {
        if part.name.contains(char::REPLACEMENT_CHARACTER) {
            odd.insert(Oddity::InvalidText);
        }
        let value = match part.content {
            PartContent::Text(bytes) => Tree::Text(declared.decode_value(&bytes, odd).into_owned()),
            PartContent::File { name, kind, size } => file_value(name, kind, size),
        };
        builder.insert(&part.name, value)?;
    }
    Ok(builder.finish())
}

async fn read_parts(mut multipart: Multipart<'static>, cut: bool) -> Result<Vec<Part>, DecodeError> {
    let mut parts = Vec::new();
    let mut count = 0;
    let mut text_bytes = 0;
    while let Some(mut field) = multipart.next_field().await.map_err(|error| broken(&error))? {
        count += 1;
        Limits::check("parts", count, LIMITS.fields)?;
        Limits::check("part header", header_bytes(&field), LIMITS.part_header_bytes)?;
        let header = field.headers().get(http::header::CONTENT_DISPOSITION);
        let said = Disposition::read(header.map(http::HeaderValue::as_bytes).unwrap_or_default());
        let Some(name) = said.name else {
            while field.chunk().await.map_err(|error| broken(&error))?.is_some() {}
            continue;
        };
        let content = match said.file_name {
            Some(file_name) => read_file(&mut field, file_name, cut).await?,
            None => PartContent::Text(read_text(&mut field, &mut text_bytes).await?),
        };
        parts.push(Part { name, content });
    }
    Ok(parts)
}

async fn read_text(field: &mut multer::Field<'static>, text_bytes: &mut usize) -> Result<Bytes, DecodeError> {
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        *text_bytes += chunk.len();
        Limits::check("text", *text_bytes, LIMITS.text_bytes)?;
        text.extend_from_slice(&chunk);
    }
    Ok(text.into())
}

async fn read_file(field: &mut multer::Field<'static>, name: String, cut: bool) -> Result<PartContent, DecodeError> {
    let mut size = 0;
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        size += chunk.len() as u64;
    }
    if cut {
        let told = field.headers().get(http::header::CONTENT_LENGTH);
        size = told.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(size);
    }
    Ok(PartContent::File { name, kind: field.content_type().map(ToString::to_string), size })
}

fn header_bytes(field: &multer::Field<'static>) -> usize {
    field.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn broken(error: &multer::Error) -> DecodeError {
    match error {
        multer::Error::StreamSizeExceeded { limit } => {
            DecodeError::Limit { limit: "body", max: usize::try_from(*limit).unwrap_or(usize::MAX) }
        }
        _ => DecodeError::BrokenMultipart,
    }
}

/// The chunks on their way to the parser.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<FeedState>>);

#[derive(Default)]
struct FeedState {
    chunks: VecDeque<Bytes>,
    ended: bool,
}

impl Feed {
    fn with<T>(&self, change: impl FnOnce(&mut FeedState) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl futures_core::Stream for Feed {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.with(|state| match state.chunks.pop_front() {
            Some(chunk) => Poll::Ready(Some(Ok(chunk))),
            None if state.ended => Poll::Ready(None),
            None => Poll::Pending,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn body(parts: &[(&str, &str)]) -> Vec<u8> {
        let parts: String =
            parts.iter().map(|(head, content)| format!("--XX\r\n{head}\r\n\r\n{content}\r\n")).collect();
        format!("{parts}--XX--\r\n").into_bytes()
    }

    fn shown(parts: &[Part]) -> Vec<String> {
        let show = |part: &Part| match &part.content {
            PartContent::Text(bytes) => format!("{}={}", part.name, String::from_utf8_lossy(bytes)),
            PartContent::File { name, kind, size } => format!("{}={name}:{kind:?}:{size}", part.name),
        };
        parts.iter().map(show).collect()
    }

    #[test]
    fn parts_come_out_the_same_however_they_are_cut_into_chunks() {
        let body = body(&[
            ("Content-Disposition: form-data; name=\"a[b]\"", "one\r\ntwo"),
            (
                "Content-Disposition: form-data; name=\"f\"; filename=\"é \\\"x\\\".txt\"\r\nContent-Type: text/plain",
                "hello",
            ),
            ("Content-Disposition: form-data; name=\"g\"; filename*=UTF-8''na%C3%AFve.txt", "hi"),
            ("Content-Disposition: form-data; name=\"h\"; filename=\"\"\r\nContent-Type: application/octet-stream", ""),
        ]);
        let whole = parse(TYPE, &body, false).expect("parts");
        assert_eq!(
            shown(&whole),
            [
                "a[b]=one\r\ntwo",
                "f=é \"x\".txt:Some(\"text/plain\"):5",
                "g=naïve.txt:None:2",
                "h=:Some(\"application/octet-stream\"):0"
            ]
        );
        for size in [1, 2, 7, 64] {
            let mut reader = Reader::new(TYPE, 10_000, false).expect("a boundary");
            for chunk in body.chunks(size) {
                reader.push(Bytes::copy_from_slice(chunk)).expect("no error yet");
            }
            assert!(reader.finish().expect("parts") == whole, "chunks of {size}");
        }
    }

    #[test]
    fn a_cut_file_keeps_its_size() {
        let head = "Content-Disposition: form-data; name=\"f\"; filename=\"a\"\r\nContent-Length: 12345";
        let parts = parse(TYPE, &body(&[(head, "")]), true).expect("parts");
        assert_eq!(shown(&parts), ["f=a:None:12345"]);
    }

    #[test]
    fn broken_bodies_are_refused() {
        let whole = body(&[("Content-Disposition: form-data; name=\"a\"", "x")]);
        let cut = whole.get(..whole.len() - 6).expect("longer");
        assert!(parse(TYPE, cut, false).is_err());
        assert!(parse(TYPE, b"", false).is_err());
        for none in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"\""] {
            assert_eq!(parse(none, &whole, false).err(), Some(DecodeError::NoBoundary), "{none}");
        }
    }

    #[test]
    fn parts_are_counted() {
        let head = "Content-Disposition: form-data; name=\"a\"";
        let many = body(&vec![(head, ""); LIMITS.fields + 1]);
        let limit = DecodeError::Limit { limit: "parts", max: LIMITS.fields };
        assert_eq!(parse(TYPE, &many, false).err(), Some(limit));
    }
}
