//! Multipart: the text parts as they came, files with their size in place of their contents.
//!
//! A body that holds nothing to cut is kept byte for byte. One that is broken can't be decoded, and is kept for the
//! person who looks into it: where no file content had passed by then, its bytes as they came up to the limit;
//! otherwise the parts up to the break, with text as far as it came and without a last boundary, so that it stays
//! broken.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, header};

use super::super::multipart::{MultipartPiece, MultipartReader, PartHead, PartIndex, boundary};
use super::{KeptBody, TooMuchToKeep};
use crate::received::{Part, PartContent};

/// A multipart body on its way.
pub(super) struct Parts {
    /// None where the body is broken.
    reader: Option<MultipartReader>,
    max: usize,
    /// The bytes as they came, as long as they may be what is kept.
    as_came: Option<BytesMut>,
    /// The end of a body that is broken or has no part was left out of `as_came`.
    is_short: bool,
    /// Where texts stand in the body as it came.
    index: PartIndex,
    rebuilt: Rebuilt,
}

/// The body without the contents of its files.
struct Rebuilt {
    boundary: String,
    bytes: Vec<u8>,
    /// Where each text begins.
    texts: Vec<usize>,
    open: OpenPart,
    /// So much was left out.
    passed: u64,
}

/// The part being read.
enum OpenPart {
    None,
    /// Its text is written as it comes.
    Text,
    /// Its content is counted; its headers are written from here on.
    Passing {
        from: usize,
        size: u64,
    },
}

impl Parts {
    pub(super) fn new(content_type: &str, max: usize, max_upload: u64) -> Self {
        let boundary = boundary(content_type).ok();
        let reader = boundary.as_deref().map(|boundary| MultipartReader::new(boundary, max_upload));
        let rebuilt = Rebuilt {
            boundary: boundary.unwrap_or_default(),
            bytes: Vec::new(),
            texts: Vec::new(),
            open: OpenPart::None,
            passed: 0,
        };
        Self { reader, max, as_came: Some(BytesMut::new()), is_short: false, index: PartIndex::new(false), rebuilt }
    }

    pub(super) fn held(&self) -> usize {
        let as_came = self.as_came.as_ref().map_or(0, BytesMut::len);
        as_came + self.rebuilt.bytes.len() + self.index.held() + self.reader.as_ref().map_or(0, MultipartReader::held)
    }

    pub(super) fn push(&mut self, chunk: Bytes) -> Result<(), TooMuchToKeep> {
        if let Some(reader) = &mut self.reader {
            let read = reader.push(chunk.clone(), |piece| {
                self.rebuilt.take(&piece);
                self.index.take(piece);
            });
            if read.is_err() {
                self.reader = None;
            }
        }
        self.keep_as_came(&chunk);
        // Also of a broken body, so that it makes no difference in which chunk it broke.
        let is_over = self.rebuilt.len() > self.max && (self.as_came.is_none() || self.is_short);
        if is_over { Err(TooMuchToKeep) } else { Ok(()) }
    }

    fn keep_as_came(&mut self, chunk: &[u8]) {
        let Some(as_came) = self.as_came.as_mut().filter(|_| self.rebuilt.passed == 0) else {
            self.as_came = None;
            return;
        };
        let room = self.max - as_came.len();
        match chunk.get(..room).filter(|_| chunk.len() > room) {
            None => as_came.extend_from_slice(chunk),
            Some(beginning) if self.reader.is_none() || self.rebuilt.is_empty() => {
                as_came.extend_from_slice(beginning);
                self.is_short = true;
            }
            // Without what stands around the parts it may still be little enough.
            Some(_) => self.as_came = None,
        }
    }

    pub(super) fn finish(mut self) -> KeptBody {
        let whole = match &mut self.reader {
            Some(reader) => {
                let finished = reader.finish(|piece| {
                    self.rebuilt.take(&piece);
                    self.index.take(piece);
                });
                finished.is_ok()
            }
            None => false,
        };
        let mut parts = self.index.finish();
        let is_rebuilt = self.rebuilt.passed > 0 || (self.is_short && whole && !self.rebuilt.is_empty());
        let (body, cut) = match self.as_came.filter(|_| !is_rebuilt) {
            Some(as_came) => (as_came.freeze(), self.is_short),
            None => {
                self.rebuilt.index(&mut parts);
                (self.rebuilt.finish(whole).into(), true)
            }
        };
        // Decoding tells what is wrong with one that is broken, or has no part.
        let parts = (whole && !parts.is_empty()).then(|| parts.into());
        KeptBody { body, cut, parts }
    }
}

impl Rebuilt {
    fn take(&mut self, piece: &MultipartPiece<'_>) {
        match piece {
            MultipartPiece::Head(head) => {
                self.close();
                self.begin(head);
            }
            MultipartPiece::Text { bytes, .. } => self.bytes.extend_from_slice(bytes),
            MultipartPiece::Passed(bytes) => {
                self.passed += bytes;
                if let OpenPart::Passing { size, .. } = &mut self.open {
                    *size += bytes;
                }
            }
        }
    }

    /// Tells whether no part has come.
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns how much is sure to be kept of it.
    fn len(&self) -> usize {
        match self.open {
            // Where its content is empty, it may be kept as it came.
            OpenPart::Passing { from, .. } => from,
            OpenPart::None | OpenPart::Text => self.bytes.len(),
        }
    }

    fn begin(&mut self, head: &PartHead<'_>) {
        let from = self.bytes.len();
        for part in [b"--", self.boundary.as_bytes(), b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
        if head.is_text() {
            for (name, value) in head.headers {
                self.write_header(name, value.as_bytes());
            }
            self.bytes.extend_from_slice(b"\r\n");
            self.texts.push(self.bytes.len());
            self.open = OpenPart::Text;
        } else {
            // The other headers are about contents that aren't here any more.
            for name in [header::CONTENT_DISPOSITION, header::CONTENT_TYPE] {
                if let Some(value) = head.headers.get(&name) {
                    self.write_header(&name, value.as_bytes());
                }
            }
            self.open = OpenPart::Passing { from, size: 0 };
        }
    }

    fn close(&mut self) {
        match std::mem::replace(&mut self.open, OpenPart::None) {
            OpenPart::None => {}
            OpenPart::Text => self.bytes.extend_from_slice(b"\r\n"),
            OpenPart::Passing { size, .. } => {
                self.write_header(&header::CONTENT_LENGTH, size.to_string().as_bytes());
                self.bytes.extend_from_slice(b"\r\n\r\n");
            }
        }
    }

    fn write_header(&mut self, name: &HeaderName, value: &[u8]) {
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Makes an index of the body as it came one of what is rebuilt.
    fn index(&self, parts: &mut [Part]) {
        let texts = parts.iter_mut().filter_map(|part| match &mut part.content {
            PartContent::Text(text) => Some(text),
            PartContent::File { .. } => None,
        });
        for (text, start) in texts.zip(&self.texts) {
            *text = *start..start + text.len();
        }
    }

    fn finish(mut self, whole: bool) -> Vec<u8> {
        self.close();
        if whole {
            for part in [b"--", self.boundary.as_bytes(), b"--\r\n"] {
                self.bytes.extend_from_slice(part);
            }
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{LIMITS, multipart, read};
    use super::*;
    use crate::received::Received;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn keep(body: &str, max: usize, chunk: usize) -> KeptBody {
        let mut parts = Parts::new(TYPE, max, u64::MAX);
        for chunk in body.as_bytes().chunks(chunk) {
            parts.push(Bytes::copy_from_slice(chunk)).unwrap_or_else(|_| panic!("more than {max}: {body}"));
        }
        parts.finish()
    }

    fn part(head: &str, content: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    }

    #[test]
    fn an_index_is_the_same_whether_it_is_made_on_the_way_in_or_of_what_is_stored() {
        let text = part("name=\"a[b]\"", "one\r\n--X");
        let none = part("name=\"g\"; filename=\"\"", "");
        let file = part("name=\"f\"; filename=\"x.txt\"\r\nContent-Type: text/plain", "hello");
        let nobody = "--XX\r\n\r\nnobody's\r\n";
        let after = part("name=\"caf\u{e9}\"", "\u{e9}");
        for (body, max, cut) in [
            (format!("hi\r\n{text}{none}{after}--XX--"), 1000, false),
            (format!("{}\r\n{text}{none}{after}--XX--", "x".repeat(1000)), 1000, true),
            (format!("hi\r\n{text}{file}{after}--XX--"), 1000, true),
            (format!("{text}{nobody}{file}{none}{after}--XX--"), 1000, true),
        ] {
            for chunk in [1, 7, 10_000] {
                let kept = keep(&body, max, chunk);
                let read = multipart::index(TYPE, &kept.body, kept.cut).ok();
                assert!(
                    kept.parts.is_some() && kept.parts.as_deref() == read.as_deref(),
                    "{body} in chunks of {chunk}"
                );
                assert_eq!(kept.cut, cut);
            }
        }
        for none in ["--XX--", "", "--XX--and more", &text, &format!("{text}--XX\r\nno header\r\n\r\n\r\n--XX--")] {
            assert!(keep(none, 1000, 16).parts.is_none(), "{none}");
        }
    }

    #[test]
    fn a_head_that_would_get_too_long_without_its_file_is_refused_with_it() {
        let (mut whole, mut broken) = (0, 0);
        for more in 0..100 {
            let name = "x".repeat(LIMITS.part_header_bytes - 150 + more);
            let kept =
                keep(&format!("{}--XX--", part(&format!("name=\"f\"; filename=\"{name}\""), "x")), usize::MAX, 10_000);
            assert_eq!(kept.parts.is_some(), multipart::index(TYPE, &kept.body, kept.cut).is_ok(), "{more}");
            *(if kept.parts.is_some() { &mut whole } else { &mut broken }) += 1;
        }
        assert!(whole > 0 && broken > 0, "{whole} whole, {broken} broken");
    }

    #[test]
    fn decoding_reads_the_index_where_there_is_one_and_it_counts_as_held() {
        let kept = keep(&format!("{}--XX--", part("name=\"a\"", "one")), 1000, 10);
        let parts: Vec<Part> = kept.parts.iter().flat_map(|parts| parts.iter().cloned()).collect();
        assert_eq!(kept.held(), kept.body.len() + size_of::<Part>() + "a".len());
        let parts = parts.into_iter().map(|part| Part { name: Some("b".to_owned()), ..part }).collect();
        let headers = [("content-type".to_owned(), TYPE.to_owned())].into();
        let received = Received { headers, body: kept.body, parts: Some(parts), ..Received::default() };
        let document = |received| read(received, |read| read.json().to_string());
        assert_eq!(document(&received).as_deref(), Ok(r#"{"b":"one"}"#));
        let stored = Received { parts: None, ..received.clone() };
        assert_eq!(document(&stored).as_deref(), Ok(r#"{"a":"one"}"#));
        assert!(stored == received, "an index says nothing more");
    }
}
