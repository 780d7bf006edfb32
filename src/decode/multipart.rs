//! `multipart/form-data` (RFC 7578), read piece by piece as it comes: file contents are counted and let go.
//!
//! The parser is multer's; it is fed here by hand, so that decoding stays free of I/O and a body of any size passes
//! through in the memory of one chunk.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use multer::{Constraints, Multipart, SizeLimit};

use super::charset::Declared;
use super::delimiters::{self, Delimiters};
use super::disposition::Disposition;
pub(super) use super::disposition::boundary;
use super::document::{Arena, Content, Document};
use super::names::Builder;
use super::{DecodeError, LIMITS, Limits, Oddity};
use crate::received::Received;

/// What a body consists of, in the order in which it comes.
pub(super) enum Piece {
    /// A part begins.
    Head(PartHead),
    /// Some of the part's text.
    Text(Bytes),
    /// So many bytes that nobody reads: of a file, or of a part without a name.
    Passed(u64),
}

/// How a part begins.
pub(super) struct PartHead {
    pub(super) name: Option<String>,
    /// A file, where there is one. An empty name: no file was chosen.
    pub(super) file_name: Option<String>,
    /// The type as multer reads it.
    pub(super) kind: Option<String>,
    pub(super) headers: HeaderMap<HeaderValue>,
}

impl PartHead {
    /// Tells whether the part's content is a field's text.
    pub(super) fn is_text(&self) -> bool {
        self.name.is_some() && self.file_name.is_none()
    }
}

/// How much longer the lines between the parts may get: ours for each part, in the place of the shortest there is.
const DELIMITERS_MAX: u64 = 64 * (LIMITS.fields as u64 + 2);

type Work = Pin<Box<dyn Future<Output = Result<(), DecodeError>> + Send>>;

/// Reads a multipart body chunk by chunk.
pub(super) struct Reader {
    delimiters: Delimiters,
    feed: Feed,
    work: Option<Work>,
}

impl Reader {
    /// Begins a body of at most `max` bytes.
    pub(super) fn new(boundary: &str, max: u64) -> Self {
        let feed = Feed::default();
        // What is made of the lines between the parts may be longer than they were.
        let max = max.saturating_add(DELIMITERS_MAX);
        let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(max));
        let multipart = Multipart::with_constraints(feed.clone(), delimiters::BOUNDARY, constraints);
        let work: Work = Box::pin(read_parts(multipart, feed.clone()));
        Self { delimiters: Delimiters::new(boundary), feed, work: Some(work) }
    }

    /// Takes the next chunk and gives the pieces that are whole by now, also those before an error.
    ///
    /// After an error nothing more may be pushed.
    pub(super) fn push(&mut self, chunk: Bytes, take: impl FnMut(Piece)) -> Result<(), DecodeError> {
        let mut strict = BytesMut::new();
        let pushed = self.delimiters.push(&chunk, &mut strict);
        self.advance(strict, take).unwrap_or(Ok(()))?;
        pushed
    }

    /// Ends the body.
    pub(super) fn finish(&mut self, mut take: impl FnMut(Piece)) -> Result<(), DecodeError> {
        let mut strict = BytesMut::new();
        self.delimiters.finish(&mut strict);
        // Before the end is told: the parser gives nothing of a content that has none.
        self.advance(strict, &mut take).unwrap_or(Ok(()))?;
        if self.work.is_none() {
            return Ok(());
        }
        self.feed.with(|state| state.ended = true);
        self.advance(BytesMut::new(), take).unwrap_or(Err(DecodeError::BrokenMultipart))
    }

    /// Returns the most bytes that are held now: what isn't known yet, and what may be the beginning of a boundary.
    pub(super) fn held_max(&self) -> usize {
        let in_parser =
            if self.feed.with(|state| state.is_fed) { delimiters::BOUNDARY.len() + "\r\n--".len() } else { 0 };
        self.delimiters.held() + in_parser
    }

    /// Lets the parser work through what there is. It waits for nothing but the feed, so nobody needs waking.
    fn advance(&mut self, strict: BytesMut, take: impl FnMut(Piece)) -> Option<Result<(), DecodeError>> {
        let work = self.work.as_mut()?;
        self.feed.with(|state| {
            state.is_fed |= !strict.is_empty();
            state.chunks.push_back(strict.freeze());
        });
        let polled = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.feed.with(|state| std::mem::take(&mut state.pieces)).into_iter().for_each(take);
        match polled {
            Poll::Ready(end) => {
                self.work = None;
                Some(end)
            }
            Poll::Pending => None,
        }
    }
}

/// One part of a body.
struct Part {
    name: String,
    content: PartContent,
}

/// What a part holds.
enum PartContent {
    Text(Vec<u8>),
    /// A file, its contents let go; where they were cut out before, its size is told.
    File {
        name: String,
        kind: Option<String>,
        size: u64,
        told: bool,
    },
    /// Something without a name.
    Nothing,
}

/// Reads a whole body as a document, names nested as in a form.
pub(super) fn parse<'a>(
    received: &'a Received,
    declared: Declared,
    arena: &'a Arena,
    odd: &mut BTreeSet<Oddity>,
) -> Result<Document<'a>, DecodeError> {
    let parts = parts(received.content_type().unwrap_or_default(), &received.body, received.cut)?;
    let mut builder = Builder::new(arena, parts.len());
    for part in parts {
        if part.name.contains(char::REPLACEMENT_CHARACTER) {
            odd.insert(Oddity::InvalidText);
        }
        let name = arena.alloc_str(&part.name);
        match part.content {
            PartContent::Text(bytes) => {
                let value = declared.decode_value(arena.alloc_slice_copy(&bytes), arena, odd);
                builder.insert(name, Content::Text(value))?;
            }
            // No file was chosen where it has no name.
            PartContent::File { name: file, .. } if file.is_empty() => {
                builder.insert(name, Content::Text(""))?;
            }
            PartContent::File { name: file, kind, size, told: _ } => {
                let id = builder.insert(name, Content::Null)?;
                let kind = kind.map(|kind| &*arena.alloc_str(&kind));
                let size = bumpalo::format!(in arena, "{}", size).into_bump_str();
                builder.document().set_file(id, arena.alloc_str(&file), kind, size);
            }
            PartContent::Nothing => {}
        }
    }
    Ok(builder.finish())
}

fn parts(content_type: &str, body: &Bytes, cut: bool) -> Result<Vec<Part>, DecodeError> {
    let boundary = boundary(content_type)?;
    let mut reader = Reader::new(&boundary, body.len() as u64);
    let mut parts = Vec::new();
    reader.push(body.clone(), |piece| add(&mut parts, piece, cut))?;
    reader.finish(|piece| add(&mut parts, piece, cut))?;
    // Without a part it holds no more than its closing line: anything longer was meant to be one.
    let closing = boundary.len() + "----\r\n".len();
    if parts.is_empty() && body.trim_ascii().len() > closing { Err(DecodeError::BrokenMultipart) } else { Ok(parts) }
}

fn add(parts: &mut Vec<Part>, piece: Piece, cut: bool) {
    match (piece, parts.last_mut().map(|part| &mut part.content)) {
        (Piece::Head(head), _) => parts.push(Part::begin(head, cut)),
        (Piece::Text(bytes), Some(PartContent::Text(text))) => text.extend_from_slice(&bytes),
        (Piece::Passed(bytes), Some(PartContent::File { size, told: false, .. })) => *size += bytes,
        _ => {}
    }
}

impl Part {
    fn begin(head: PartHead, cut: bool) -> Self {
        let length = head.headers.get(header::CONTENT_LENGTH).filter(|_| cut);
        let told = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let content = match (&head.name, head.file_name) {
            (None, _) => PartContent::Nothing,
            (Some(_), None) => PartContent::Text(Vec::new()),
            (Some(_), Some(name)) => {
                PartContent::File { name, kind: head.kind, size: told.unwrap_or_default(), told: told.is_some() }
            }
        };
        Self { name: head.name.unwrap_or_default(), content }
    }
}

/// Reads the parts one after the other, and leaves what they consist of with the feed.
async fn read_parts(mut multipart: Multipart<'static>, feed: Feed) -> Result<(), DecodeError> {
    let mut count = 0;
    let mut text_bytes = 0;
    while let Some(mut field) = multipart.next_field().await.map_err(broken)? {
        count += 1;
        Limits::check("parts", count, LIMITS.fields)?;
        Limits::check("part header", header_bytes(field.headers()), LIMITS.part_header_bytes)?;
        let head = head(&field);
        let is_text = head.is_text();
        feed.give(Piece::Head(head));
        while let Some(chunk) = field.chunk().await.map_err(broken)? {
            if is_text {
                text_bytes += chunk.len();
                Limits::check("text", text_bytes, LIMITS.text_bytes)?;
                feed.give(Piece::Text(chunk));
            } else {
                feed.give(Piece::Passed(chunk.len() as u64));
            }
        }
    }
    Ok(())
}

fn head(field: &multer::Field<'static>) -> PartHead {
    let said = field.headers().get(header::CONTENT_DISPOSITION).map(HeaderValue::as_bytes).unwrap_or_default();
    let Disposition { name, file_name } = Disposition::read(said);
    PartHead { name, file_name, kind: field.content_type().map(ToString::to_string), headers: field.headers().clone() }
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn broken(_error: multer::Error) -> DecodeError {
    DecodeError::BrokenMultipart
}

/// The chunks on their way to the parser, and the pieces on their way back.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<FeedState>>);

#[derive(Default)]
struct FeedState {
    chunks: VecDeque<Bytes>,
    is_fed: bool,
    ended: bool,
    pieces: Vec<Piece>,
}

impl Feed {
    fn with<T>(&self, change: impl FnOnce(&mut FeedState) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leaves a piece of the part that is being read.
    fn give(&self, piece: Piece) {
        self.with(|state| state.pieces.push(piece));
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
            PartContent::File { name, kind, size, .. } => format!("{}={name}:{kind:?}:{size}", part.name),
            PartContent::Nothing => String::new(),
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
        let whole = parts(TYPE, &body.clone().into(), false).expect("parts");
        let expected = [
            "a[b]=one\r\ntwo",
            "f=é \"x\".txt:Some(\"text/plain\"):5",
            "g=naïve.txt:None:2",
            "h=:Some(\"application/octet-stream\"):0",
        ];
        assert_eq!(shown(&whole), expected);
        for size in [1, 2, 7, 64] {
            let mut reader = Reader::new("XX", u64::MAX);
            let mut parts = Vec::new();
            for chunk in body.chunks(size) {
                let pushed = reader.push(Bytes::copy_from_slice(chunk), |piece| add(&mut parts, piece, false));
                pushed.expect("no error yet");
            }
            reader.finish(|piece| add(&mut parts, piece, false)).expect("whole");
            assert_eq!(shown(&parts), expected, "chunks of {size}");
        }
    }

    #[test]
    fn a_body_longer_than_it_may_be_is_refused() {
        let content = "x".repeat(2 * DELIMITERS_MAX as usize);
        let body = Bytes::from(body(&[("Content-Disposition: form-data; name=\"f\"; filename=\"a\"", &content)]));
        let push = |max| Reader::new("XX", max).push(body.clone(), |_| {});
        assert_eq!(push(body.len() as u64), Ok(()));
        assert_eq!(push(body.len() as u64 - DELIMITERS_MAX - 100), Err(DecodeError::BrokenMultipart));
    }

    #[test]
    fn what_is_no_content_is_not_held_without_end() {
        for beginning in ["", "--XX\r\nX: "] {
            let mut reader = Reader::new("XX", u64::MAX);
            reader.push(Bytes::from(beginning), |_| {}).expect("no error yet");
            let mut pushes = 0;
            while reader.push(Bytes::from(vec![b'x'; 1000]), |_| {}).is_ok() {
                pushes += 1;
                assert!(reader.held_max() <= 1000 * pushes + 100 && pushes < 20, "{beginning:?}");
            }
            assert_eq!(pushes, LIMITS.part_header_bytes / 1000, "{beginning:?}");
        }
    }

    #[test]
    fn a_content_of_any_size_passes_through() {
        let mut reader = Reader::new("XX", u64::MAX);
        let mut passed = 0;
        let mut take = |piece| {
            if let Piece::Passed(bytes) = piece {
                passed += bytes;
            }
        };
        let head = "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n";
        reader.push(Bytes::from(head), &mut take).expect("a head");
        let chunk = Bytes::from(b"\r\n--X\r\n--Y\r\r\n-".repeat(1000));
        for _ in 0..100 {
            reader.push(chunk.clone(), &mut take).expect("content");
            assert!(reader.held_max() < 100);
        }
        reader.push(Bytes::from("\r\n--XX--"), &mut take).expect("the end");
        reader.finish(&mut take).expect("whole");
        assert_eq!(passed, 100 * chunk.len() as u64);
    }

    #[test]
    fn a_cut_file_keeps_its_size() {
        let head = "Content-Disposition: form-data; name=\"f\"; filename=\"a\"\r\nContent-Length: 12345";
        let parts = parts(TYPE, &body(&[(head, "")]).into(), true).expect("parts");
        assert_eq!(shown(&parts), ["f=a:None:12345"]);
    }

    #[test]
    fn broken_bodies_are_refused() {
        let whole = body(&[("Content-Disposition: form-data; name=\"a\"", "x")]);
        let cut = whole.get(..whole.len() - 6).expect("longer");
        assert!(parts(TYPE, &Bytes::copy_from_slice(cut), false).is_err());
        assert!(parts(TYPE, &Bytes::new(), false).is_err());
        for none in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"\""] {
            assert_eq!(parts(none, &whole.clone().into(), false).err(), Some(DecodeError::NoBoundary), "{none}");
        }
    }

    #[test]
    fn parts_are_counted() {
        let head = "Content-Disposition: form-data; name=\"a\"";
        let many = body(&vec![(head, ""); LIMITS.fields + 1]);
        let limit = DecodeError::Limit { limit: "parts", max: LIMITS.fields };
        assert_eq!(parts(TYPE, &many.into(), false).err(), Some(limit));
    }
}
