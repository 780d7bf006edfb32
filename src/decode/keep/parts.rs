//! Multipart: the text parts as they came, files with their size in place of their contents.
//!
//! A body that holds nothing to cut is kept byte for byte. One that is broken can't be decoded, and is kept for the
//! person who looks into it: where no file content had passed by then, its bytes as they came up to the limit;
//! otherwise the parts up to the break, with text as far as it came and without a last boundary, so that it stays
//! broken.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, header};

use super::super::multipart::{PartHead, Piece, Reader, boundary};
use super::{Kept, TooMuchToKeep};

/// A multipart body on its way.
pub(super) struct Parts {
    /// None where the body is broken.
    reader: Option<Reader>,
    max: usize,
    /// The bytes as they came, as long as they may be what is kept.
    as_came: Option<BytesMut>,
    /// The end of a body that is broken or has no part was left out of `as_came`.
    is_short: bool,
    rebuilt: Rebuilt,
}

/// The body without the contents of its files.
struct Rebuilt {
    boundary: String,
    bytes: Vec<u8>,
    open: Open,
    /// So much was left out.
    passed: u64,
}

/// The part that is being read.
enum Open {
    None,
    /// Its text is written as it comes.
    Text,
    /// Its content is counted.
    Passing {
        headers: HeaderMap,
        size: u64,
    },
}

impl Parts {
    pub(super) fn new(content_type: &str, max: usize, max_upload: u64) -> Self {
        let boundary = boundary(content_type).ok();
        let reader = boundary.as_deref().map(|boundary| Reader::new(boundary, max_upload));
        let rebuilt =
            Rebuilt { boundary: boundary.unwrap_or_default(), bytes: Vec::new(), open: Open::None, passed: 0 };
        Self { reader, max, as_came: Some(BytesMut::new()), is_short: false, rebuilt }
    }

    pub(super) fn held(&self) -> usize {
        let as_came = self.as_came.as_ref().map_or(0, BytesMut::len);
        as_came + self.rebuilt.bytes.len() + self.reader.as_ref().map_or(0, Reader::held_max)
    }

    pub(super) fn push(&mut self, chunk: Bytes) -> Result<(), TooMuchToKeep> {
        if let Some(reader) = &mut self.reader {
            let read = reader.push(chunk.clone(), |piece| self.rebuilt.take(piece));
            if read.is_err() {
                self.reader = None;
            }
        }
        self.keep_as_came(&chunk);
        // Also of a broken body, so that it makes no difference in which chunk it broke.
        let is_over = self.rebuilt.bytes.len() > self.max && (self.as_came.is_none() || self.is_short);
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

    pub(super) fn finish(mut self) -> Kept {
        let whole = match &mut self.reader {
            Some(reader) => reader.finish(|piece| self.rebuilt.take(piece)).is_ok(),
            None => false,
        };
        let is_rebuilt = self.rebuilt.passed > 0 || (self.is_short && whole && !self.rebuilt.is_empty());
        if let Some(as_came) = self.as_came.filter(|_| !is_rebuilt) {
            return Kept { body: as_came.freeze(), cut: self.is_short };
        }
        Kept { body: self.rebuilt.finish(whole).into(), cut: true }
    }
}

impl Rebuilt {
    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Head(head) => {
                self.close();
                self.begin(head);
            }
            Piece::Text(text) => self.bytes.extend_from_slice(&text),
            Piece::Passed(bytes) => {
                self.passed += bytes;
                if let Open::Passing { size, .. } = &mut self.open {
                    *size += bytes;
                }
            }
        }
    }

    /// Tells whether no part has come.
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && matches!(self.open, Open::None)
    }

    fn begin(&mut self, head: PartHead) {
        if head.is_text() {
            self.write_boundary();
            for (name, value) in &head.headers {
                self.write_header(name, value.as_bytes());
            }
            self.bytes.extend_from_slice(b"\r\n");
            self.open = Open::Text;
        } else {
            self.open = Open::Passing { headers: head.headers, size: 0 };
        }
    }

    fn close(&mut self) {
        match std::mem::replace(&mut self.open, Open::None) {
            Open::None => {}
            Open::Text => self.bytes.extend_from_slice(b"\r\n"),
            Open::Passing { headers, size } => {
                self.write_boundary();
                // The other headers are about contents that aren't here any more.
                for name in [header::CONTENT_DISPOSITION, header::CONTENT_TYPE] {
                    if let Some(value) = headers.get(&name) {
                        self.write_header(&name, value.as_bytes());
                    }
                }
                self.write_header(&header::CONTENT_LENGTH, size.to_string().as_bytes());
                self.bytes.extend_from_slice(b"\r\n\r\n");
            }
        }
    }

    fn write_boundary(&mut self) {
        for part in [b"--", self.boundary.as_bytes(), b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
    }

    fn write_header(&mut self, name: &HeaderName, value: &[u8]) {
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            self.bytes.extend_from_slice(part);
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
