//! `multipart/form-data` (RFC 7578), read once and piece by piece as it comes: file contents are counted and let go.
//!
//! What comes of it is an index: where in the body the text of each part stands, or what file it was. It is made while a
//! body is received; of one that was stored it is made again. Decoding reads the index, whichever it is.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::charset::Declared;
use super::delimiters::{DelimiterEvent, Delimiters};
use super::disposition::Disposition;
pub(super) use super::disposition::boundary;
use super::document::{Arena, Content, Document};
use super::heads::Heads;
use super::names::Builder;
use super::{DecodeError, DecodeLimits, LIMITS, Oddity};
use crate::received::{Part, PartContent, Received};

/// The pieces of a body, in order.
pub(super) enum MultipartPiece<'a> {
    /// A part begins.
    Head(PartHead<'a>),
    /// Some of the part's text; `at` is where it stands in the body.
    Text { at: usize, bytes: Bytes },
    /// So many bytes that nobody reads: of a file, or of a part without a name.
    Passed(u64),
}

/// How a part begins.
pub(super) struct PartHead<'a> {
    pub(super) name: Option<String>,
    /// A file, where there is one. An empty name: no file was chosen.
    pub(super) file_name: Option<String>,
    /// The file's type as multer reads it.
    pub(super) kind: Option<String>,
    pub(super) headers: &'a HeaderMap<HeaderValue>,
}

impl PartHead<'_> {
    fn new<'a>(headers: &'a HeaderMap, kind: impl FnOnce() -> Option<String>) -> PartHead<'a> {
        let said = headers.get(header::CONTENT_DISPOSITION).map(HeaderValue::as_bytes).unwrap_or_default();
        let Disposition { name, file_name } = Disposition::read(said);
        let kind = file_name.as_ref().and_then(|_| kind());
        PartHead { name, file_name, kind, headers }
    }

    /// Returns how long its headers get where they are written again: of a content that is cut only some, and its size.
    fn stored_bytes(&self) -> usize {
        let is_text = self.is_text();
        let stays = |name: &HeaderName| is_text || [header::CONTENT_DISPOSITION, header::CONTENT_TYPE].contains(name);
        let headers = self.headers.iter().filter(|(name, _)| stays(name));
        let size = if is_text { 0 } else { "content-length: 18446744073709551615\r\n".len() };
        size + headers.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum::<usize>()
    }

    /// Tells whether the part's content is a field's text.
    pub(super) fn is_text(&self) -> bool {
        self.name.is_some() && self.file_name.is_none()
    }
}

/// Reads a multipart body chunk by chunk.
pub(super) struct MultipartReader {
    delimiters: Delimiters,
    heads: Heads,
    /// So many bytes may still come.
    left: u64,
    text_bytes: usize,
    /// The part that is being read is a field's text.
    is_text: bool,
}

impl MultipartReader {
    /// Begins a body of at most `max` bytes.
    pub(super) fn new(boundary: &str, max: u64) -> Self {
        Self { delimiters: Delimiters::new(boundary), heads: Heads::new(), left: max, text_bytes: 0, is_text: false }
    }

    /// Takes the next chunk and gives the pieces that are whole by now, also those before an error.
    ///
    /// After an error nothing more may be pushed.
    pub(super) fn push(&mut self, chunk: Bytes, take: impl FnMut(MultipartPiece<'_>)) -> Result<(), DecodeError> {
        self.left = self.left.checked_sub(chunk.len() as u64).ok_or(DecodeError::BrokenMultipart)?;
        let pushed = self.delimiters.push(chunk);
        self.give(take)?;
        pushed
    }

    /// Ends the body.
    pub(super) fn finish(&mut self, take: impl FnMut(MultipartPiece<'_>)) -> Result<(), DecodeError> {
        let is_whole = self.delimiters.finish();
        self.give(take)?;
        is_whole.then_some(()).ok_or(DecodeError::BrokenMultipart)
    }

    /// Returns how many bytes are held now: what isn't known yet, and what may be the beginning of a boundary.
    pub(super) fn held(&self) -> usize {
        self.delimiters.held()
    }

    /// Gives what was found.
    fn give(&mut self, mut take: impl FnMut(MultipartPiece<'_>)) -> Result<(), DecodeError> {
        self.heads.feed(self.delimiters.skeleton.take());
        for found in self.delimiters.found.drain(..) {
            match found {
                DelimiterEvent::Head => {
                    let field = self.heads.next()?.ok_or(DecodeError::BrokenMultipart)?;
                    let head = PartHead::new(field.headers(), || field.content_type().map(ToString::to_string));
                    self.is_text = head.is_text();
                    DecodeLimits::check("part header", head.stored_bytes(), LIMITS.part_header_bytes)?;
                    take(MultipartPiece::Head(head));
                }
                DelimiterEvent::NoHead => {
                    self.is_text = false;
                    take(MultipartPiece::Head(PartHead::new(&HeaderMap::new(), || None)));
                }
                DelimiterEvent::Content { at, bytes } if self.is_text => {
                    self.text_bytes += bytes.len();
                    DecodeLimits::check("text", self.text_bytes, LIMITS.text_bytes)?;
                    take(MultipartPiece::Text { at, bytes });
                }
                DelimiterEvent::Content { bytes, .. } => take(MultipartPiece::Passed(bytes.len() as u64)),
                DelimiterEvent::End => match self.heads.next()? {
                    None => {}
                    Some(_) => return Err(DecodeError::BrokenMultipart),
                },
            }
        }
        Ok(())
    }
}

/// Collects the parts of a body.
pub(super) struct PartIndex {
    parts: Vec<Part>,
    /// File sizes stand in `Content-Length`.
    cut: bool,
    /// The size of the last part was told there.
    is_told: bool,
    held: usize,
}

impl PartIndex {
    pub(super) fn new(cut: bool) -> Self {
        Self { parts: Vec::new(), cut, is_told: false, held: 0 }
    }

    pub(super) fn take(&mut self, piece: MultipartPiece<'_>) {
        match (piece, self.parts.last_mut().map(|part| &mut part.content)) {
            (MultipartPiece::Head(head), _) => self.begin(head),
            (MultipartPiece::Text { at, bytes }, Some(PartContent::Text(text))) => {
                if text.start == text.end {
                    text.start = at;
                }
                text.end = at.saturating_add(bytes.len());
            }
            (MultipartPiece::Passed(bytes), Some(PartContent::File { size, .. })) if !self.is_told => *size += bytes,
            _ => {}
        }
    }

    /// Returns how many bytes it takes.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn finish(self) -> Vec<Part> {
        self.parts
    }

    fn begin(&mut self, head: PartHead<'_>) {
        let length = head.headers.get(header::CONTENT_LENGTH).filter(|_| self.cut);
        let told = length.and_then(|length| length.to_str().ok()?.parse().ok());
        self.is_told = told.is_some();
        let content = if head.is_text() {
            PartContent::Text(0..0)
        } else {
            let name = head.file_name.unwrap_or_default();
            PartContent::File { name, kind: head.kind, size: told.unwrap_or_default() }
        };
        let part = Part { name: head.name, content };
        self.held += part.held();
        self.parts.push(part);
    }
}

/// Reads a whole body; `cut` says that file sizes stand in `Content-Length`.
pub(super) fn index(content_type: &str, body: &Bytes, cut: bool) -> Result<Vec<Part>, DecodeError> {
    let boundary = boundary(content_type)?;
    let mut reader = MultipartReader::new(&boundary, body.len() as u64);
    let mut index = PartIndex::new(cut);
    reader.push(body.clone(), |piece| index.take(piece))?;
    reader.finish(|piece| index.take(piece))?;
    let parts = index.finish();
    // Without a part it holds no more than its closing line: anything longer was meant to be one.
    let closing = boundary.len() + "----\r\n".len();
    if parts.is_empty() && body.trim_ascii().len() > closing { Err(DecodeError::BrokenMultipart) } else { Ok(parts) }
}

/// Reads a body's parts as a document, names nested as in a form: by the index it came with, else by one that is made here.
pub(super) fn parse<'a>(
    received: &'a Received,
    declared: Declared,
    arena: &'a Arena,
    odd: &mut BTreeSet<Oddity>,
) -> Result<Document<'a>, DecodeError> {
    let made = match received.parts {
        Some(_) => Vec::new(),
        None => index(received.content_type().unwrap_or_default(), &received.body, received.cut)?,
    };
    let parts = received.parts.as_deref().unwrap_or(&made);
    let mut builder = Builder::new(arena, parts.len());
    for part in parts {
        let Some(name) = part.name.as_deref() else { continue };
        if name.contains(char::REPLACEMENT_CHARACTER) {
            odd.insert(Oddity::InvalidText);
        }
        let name = arena.alloc_str(name);
        match &part.content {
            PartContent::Text(text) => {
                let bytes = received.body.get(text.clone()).unwrap_or_default();
                builder.insert(name, Content::Text(declared.decode_value(bytes, arena, odd)))?;
            }
            // No file was chosen where it has no name.
            PartContent::File { name: file, .. } if file.is_empty() => {
                builder.insert(name, Content::Text(""))?;
            }
            PartContent::File { name: file, kind, size } => {
                let kind = kind.as_deref().map(|kind| &*arena.alloc_str(kind));
                let size = bumpalo::format!(in arena, "{}", size).into_bump_str();
                builder.insert_file(name, arena.alloc_str(file), kind, size)?;
            }
        }
    }
    Ok(builder.finish())
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

    fn shown(parts: &[Part], body: &[u8]) -> Vec<String> {
        let show = |part: &Part| {
            let name = part.name.as_deref().unwrap_or("?");
            match &part.content {
                PartContent::Text(text) => {
                    format!("{name}={}", str::from_utf8(body.get(text.clone()).expect("in the body")).expect("text"))
                }
                PartContent::File { name: file, kind, size } => format!("{name}={file}:{kind:?}:{size}"),
            }
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
            ("X: y", "nobody's"),
            ("Content-Disposition: form-data; name=\"i\"", ""),
        ]);
        let whole = index(TYPE, &body.clone().into(), false).expect("parts");
        let expected = [
            "a[b]=one\r\ntwo",
            "f=é \"x\".txt:Some(\"text/plain\"):5",
            "g=naïve.txt:None:2",
            "h=:Some(\"application/octet-stream\"):0",
            "?=:None:8",
            "i=",
        ];
        assert_eq!(shown(&whole, &body), expected);
        for size in [1, 2, 7, 64] {
            let mut reader = MultipartReader::new("XX", u64::MAX);
            let mut index = PartIndex::new(false);
            for chunk in body.chunks(size) {
                reader.push(Bytes::copy_from_slice(chunk), |piece| index.take(piece)).expect("no error yet");
            }
            reader.finish(|piece| index.take(piece)).expect("whole");
            assert_eq!(shown(&index.finish(), &body), expected, "chunks of {size}");
        }
    }

    #[test]
    fn a_head_ends_at_its_first_empty_line_however_the_line_before_it_ends() {
        let bare = "--XX\r\nContent-Disposition: form-data; name=\"a\"\n\r\nJane\r\n";
        let body = [bare.as_bytes(), &body(&[("Content-Disposition: form-data; name=\"b\"", "Doe")])].concat();
        let whole = index(TYPE, &body.clone().into(), false).expect("parts");
        assert_eq!(shown(&whole, &body), ["a=Jane", "b=Doe"]);
    }

    #[test]
    fn a_body_longer_than_it_may_be_is_refused() {
        let body = Bytes::from(body(&[("Content-Disposition: form-data; name=\"f\"; filename=\"a\"", "x")]));
        let push = |max| MultipartReader::new("XX", max).push(body.clone(), |_| {});
        assert_eq!(push(body.len() as u64), Ok(()));
        assert_eq!(push(body.len() as u64 - 1), Err(DecodeError::BrokenMultipart));
    }

    #[test]
    fn what_is_no_content_is_not_held_without_end() {
        for beginning in ["", "--XX\r\nX: "] {
            let mut reader = MultipartReader::new("XX", u64::MAX);
            reader.push(Bytes::from(beginning), |_| {}).expect("no error yet");
            let mut pushes = 0;
            while reader.push(Bytes::from(vec![b'x'; 1000]), |_| {}).is_ok() {
                pushes += 1;
                assert!(reader.held() <= 1000 * pushes + 100 && pushes < 20, "{beginning:?}");
            }
            assert_eq!(pushes, LIMITS.part_header_bytes / 1000, "{beginning:?}");
        }
    }

    #[test]
    fn a_content_of_any_size_passes_through() {
        let mut reader = MultipartReader::new("XX", u64::MAX);
        let mut passed = 0;
        let mut take = |piece: MultipartPiece<'_>| {
            if let MultipartPiece::Passed(bytes) = piece {
                passed += bytes;
            }
        };
        let head = "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n";
        reader.push(Bytes::from(head), &mut take).expect("a head");
        let chunk = Bytes::from(b"\r\n--X\r\n--Y\r\r\n-".repeat(1000));
        for _ in 0..100 {
            reader.push(chunk.clone(), &mut take).expect("content");
            assert!(reader.held() < 100);
        }
        reader.push(Bytes::from("\r\n--XX--"), &mut take).expect("the end");
        reader.finish(&mut take).expect("whole");
        assert_eq!(passed, 100 * chunk.len() as u64);
    }

    #[test]
    fn a_cut_file_keeps_its_size() {
        let head = "Content-Disposition: form-data; name=\"f\"; filename=\"a\"\r\nContent-Length: 12345";
        let parts = index(TYPE, &body(&[(head, "")]).into(), true).expect("parts");
        assert_eq!(shown(&parts, b""), ["f=a:None:12345"]);
    }

    #[test]
    fn broken_bodies_are_refused() {
        let whole = body(&[("Content-Disposition: form-data; name=\"a\"", "x")]);
        let cut = whole.get(..whole.len() - 6).expect("longer");
        assert!(index(TYPE, &Bytes::copy_from_slice(cut), false).is_err());
        assert!(index(TYPE, &Bytes::new(), false).is_err());
        for none in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"\""] {
            assert_eq!(index(none, &whole.clone().into(), false).err(), Some(DecodeError::NoBoundary), "{none}");
        }
    }

    #[test]
    fn parts_are_counted() {
        let head = "Content-Disposition: form-data; name=\"a\"";
        let many = body(&vec![(head, ""); LIMITS.fields + 1]);
        let limit = DecodeError::Limit { limit: "parts", max: LIMITS.fields };
        assert_eq!(index(TYPE, &many.into(), false).err(), Some(limit));
    }
}
