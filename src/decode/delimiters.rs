//! Where the parts of a multipart body begin and end (RFC 2046 §5.1.1): the one search there is for its boundaries.
//!
//! The whole line is looked at, since a line that only begins with the boundary is content. What is found are the
//! contents, as slices of what came, and a [`Skeleton`] for the parser.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;

use super::heads::Skeleton;
use super::{DecodeError, DecodeLimits, LIMITS};

/// Most white space after a boundary (RFC 2046 calls it transport padding), in bytes.
const PADDING_MAX: usize = 1_024;

pub(super) const CRLF: &[u8] = b"\r\n";
const LF: &[u8] = b"\n";

/// The events of a multipart body, in order.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum DelimiterEvent {
    /// A part begins, its headers are the next of the skeleton.
    Head,
    /// A part begins that has no headers.
    NoHead,
    /// Some of a part's content; `at` is where it stands in the body.
    Content { at: usize, bytes: Bytes },
    /// The last boundary, also of the skeleton.
    End,
}

/// Reads a body chunk by chunk.
pub(super) struct Delimiters {
    /// What ends a content: a line end, "--" and the boundary.
    delimiter: Finder<'static>,
    /// What ends a line; the first boundary's line tells.
    line_end: &'static [u8],
    state: ScanState,
    /// Read, but not known yet what it is.
    held: BytesMut,
    /// Where the first byte that isn't known yet stands in the body.
    at: usize,
    /// So many bytes of what is held were searched in vain.
    searched: usize,
    parts: usize,
    /// What was found and nobody has taken.
    pub(super) found: Vec<DelimiterEvent>,
    /// The parser's share of it.
    pub(super) skeleton: Skeleton,
}

/// The scanner's position between delimiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScanState {
    Preamble,
    Headers,
    Content,
    /// What follows the last boundary is no part of the form.
    End,
}

/// What follows the mark on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// A part begins after so many bytes.
    Part(usize),
    End,
    /// Some other text.
    Other,
    /// That takes more bytes to tell.
    Unknown,
}

impl Delimiters {
    pub(super) fn new(boundary: &str) -> Self {
        let delimiter = [CRLF, b"--", boundary.as_bytes()].concat();
        Self {
            delimiter: Finder::new(&delimiter).into_owned(),
            line_end: CRLF,
            state: ScanState::Preamble,
            held: BytesMut::new(),
            at: 0,
            searched: 0,
            parts: 0,
            found: Vec::new(),
            skeleton: Skeleton::default(),
        }
    }

    /// Returns how many bytes it holds back.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes the next chunk and adds what is found by now, also what stands before an error.
    pub(super) fn push(&mut self, chunk: Bytes) -> Result<(), DecodeError> {
        if self.state == ScanState::End {
            return Ok(());
        }
        let mut rest = if self.held.is_empty() {
            chunk
        } else {
            self.held.extend_from_slice(&chunk);
            std::mem::take(&mut self.held).freeze()
        };
        let length = rest.len();
        let read = self.read(&mut rest);
        self.held = match rest.len() == length {
            // It may be long, and grow: it isn't copied for each chunk.
            true => rest.try_into_mut().unwrap_or_else(|rest| BytesMut::from(rest.as_ref())),
            false => BytesMut::from(rest.as_ref()),
        };
        read
    }

    /// Ends the body; true where it was whole. What was held back is content, if anything.
    pub(super) fn finish(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.held).freeze();
        if self.state == ScanState::Content && !bytes.is_empty() {
            self.found.push(DelimiterEvent::Content { at: self.at, bytes });
        }
        self.state == ScanState::End
    }

    /// Reads as far as it is known what comes.
    fn read(&mut self, rest: &mut Bytes) -> Result<(), DecodeError> {
        while match self.state {
            ScanState::Preamble => self.preamble(rest)?,
            ScanState::Headers => self.headers(rest)?,
            ScanState::Content => self.content(rest),
            ScanState::End => {
                rest.clear();
                false
            }
        } {}
        Ok(())
    }

    /// Reads a line that isn't a part's; tells whether to go on.
    fn preamble(&mut self, rest: &mut Bytes) -> Result<bool, DecodeError> {
        let mark = self.delimiter.needle().get(CRLF.len()..).unwrap_or_default();
        let length = mark.len();
        match rest.strip_prefix(mark).map(|line| (after(line, CRLF), after(line, LF))) {
            Some((After::End, _)) => self.end(),
            Some((After::Part(padding), _)) => self.begin(rest, length + padding),
            Some((_, After::Part(padding))) => {
                self.line_end = LF;
                self.delimiter = Finder::new(&[LF, mark].concat()).into_owned();
                self.begin(rest, length + padding);
            }
            _ => {
                let unsearched = rest.get(self.searched..).unwrap_or_default();
                let line = memchr::memchr(b'\n', unsearched).map(|end| self.searched + end + 1);
                DecodeLimits::check("preamble", self.at + line.unwrap_or(rest.len()), LIMITS.part_header_bytes)?;
                match line {
                    Some(line) => self.pass(rest, line),
                    None => self.searched = rest.len(),
                }
                return Ok(line.is_some());
            }
        }
        Ok(true)
    }

    /// Reads a part's headers, with the empty line after them; tells whether to go on.
    fn headers(&mut self, rest: &mut Bytes) -> Result<bool, DecodeError> {
        let end = headers_end(rest, self.searched, self.line_end);
        let length = end.map_or(rest.len(), |(headers, _)| headers);
        DecodeLimits::check("part header", length, LIMITS.part_header_bytes)?;
        let Some((length, whole)) = end else {
            self.searched = rest.len();
            return Ok(false);
        };
        self.parts += 1;
        DecodeLimits::check("parts", self.parts, LIMITS.fields)?;
        let headers = rest.get(..length).unwrap_or_default();
        let head = if self.skeleton.add(headers) { DelimiterEvent::Head } else { DelimiterEvent::NoHead };
        self.found.push(head);
        self.pass(rest, whole);
        self.state = ScanState::Content;
        Ok(true)
    }

    /// Reads content up to the next boundary; tells whether to go on.
    fn content(&mut self, rest: &mut Bytes) -> bool {
        let length = self.delimiter.needle().len();
        let mut from = 0;
        while let Some(start) = self.delimiter.find(rest.get(from..).unwrap_or_default()).map(|start| from + start) {
            let end = start + length;
            match after(rest.get(end..).unwrap_or_default(), self.line_end) {
                After::Other => from = end,
                After::Unknown => {
                    self.give(rest, start);
                    return false;
                }
                After::End => {
                    self.give(rest, start);
                    self.end();
                    return true;
                }
                After::Part(padding) => {
                    self.give(rest, start);
                    self.begin(rest, length + padding);
                    return true;
                }
            }
        }
        let open = self.open_end(rest.get(from..).unwrap_or_default());
        self.give(rest, rest.len() - open);
        false
    }

    /// Returns how many bytes at the end may be the beginning of a boundary.
    fn open_end(&self, content: &[u8]) -> usize {
        let delimiter = self.delimiter.needle();
        let end = content.get(content.len().saturating_sub(delimiter.len() - 1)..).unwrap_or_default();
        // A boundary has no line end in it, so that none but the last may begin one.
        let begun = self.line_end.first().and_then(|byte| memchr::memrchr(*byte, end));
        begun.and_then(|start| end.get(start..)).filter(|begun| delimiter.starts_with(begun)).map_or(0, <[u8]>::len)
    }

    /// Gives the next bytes as content.
    fn give(&mut self, rest: &mut Bytes, length: usize) {
        if length > 0 {
            self.found.push(DelimiterEvent::Content { at: self.at, bytes: rest.slice(..length) });
            self.pass(rest, length);
        }
    }

    /// Passes the line of a boundary that a part follows.
    fn begin(&mut self, rest: &mut Bytes, line: usize) {
        self.pass(rest, line);
        self.state = ScanState::Headers;
    }

    /// Passes the last boundary.
    fn end(&mut self) {
        self.skeleton.end();
        self.found.push(DelimiterEvent::End);
        self.state = ScanState::End;
    }

    fn pass(&mut self, rest: &mut Bytes, length: usize) {
        rest.advance(length);
        self.at = self.at.saturating_add(length);
        self.searched = 0;
    }
}

/// Finds the empty line after a part's headers; returns where they end, and where it ends.
fn headers_end(rest: &[u8], searched: usize, line_end: &[u8]) -> Option<(usize, usize)> {
    let empty_line = |start: usize| {
        let (headers, line) = rest.split_at_checked(start)?;
        // Line ends mix: where line feeds are bare, a line may still have a carriage return, and the other way round.
        let length = [line_end, CRLF].into_iter().find(|end| line.starts_with(end))?.len();
        (headers.is_empty() || headers.ends_with(LF)).then_some((start, start + length))
    };
    // The line ends may have come in two pieces.
    let from = searched.saturating_sub(CRLF.len() + 1);
    let lines = memchr::memchr_iter(b'\n', rest.get(from..).unwrap_or_default()).map(|end| from + end + 1);
    std::iter::once(0).chain(lines).find_map(empty_line)
}

/// Reads what follows the mark.
fn after(rest: &[u8], line_end: &[u8]) -> After {
    if rest.starts_with(b"--") {
        return After::End;
    }
    let padding = rest.iter().take_while(|byte| is_blank(**byte)).count();
    let line = rest.get(padding..).unwrap_or_default();
    if padding > PADDING_MAX {
        After::Other
    } else if line.starts_with(line_end) {
        After::Part(padding + line_end.len())
    } else if line_end.starts_with(line) || rest == b"-" {
        After::Unknown
    } else {
        After::Other
    }
}

/// Tells whether a byte is white space within a line.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, each head in brackets; the same however it is cut into chunks.
    fn found(body: &str) -> Result<String, DecodeError> {
        let read = |size: usize| {
            let mut delimiters = Delimiters::new("XX");
            let pushed =
                body.as_bytes().chunks(size).try_for_each(|chunk| delimiters.push(Bytes::copy_from_slice(chunk)));
            delimiters.finish();
            let skeleton = String::from_utf8(delimiters.skeleton.take()).expect("text");
            let mut heads = skeleton.split("\r\n--B").skip(1).map(|head| head.trim_end().replace("\r\n", "|"));
            let mut out = String::new();
            for found in delimiters.found {
                match found {
                    DelimiterEvent::Head | DelimiterEvent::End => {
                        out += &format!("[{}]", heads.next().expect("a head"));
                    }
                    DelimiterEvent::NoHead => out += "[-]",
                    DelimiterEvent::Content { at, bytes } => {
                        let content = str::from_utf8(&bytes).expect("text");
                        assert!(body.get(at..).is_some_and(|body| body.starts_with(content)), "{content} at {at}");
                        out += content;
                    }
                }
            }
            assert_eq!(heads.next(), None, "the skeleton has no other head");
            pushed.map(|()| out)
        };
        let whole = read(body.len().max(1));
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(read(size), whole, "chunks of {size}");
        }
        whole
    }

    #[test]
    fn contents_stand_between_heads() {
        let body = "--XX\r\nA: b\r\nE: f\r\n\r\none\r\n--XX\r\nC: d\r\n\r\n\r\n--XX--\r\n";
        assert_eq!(found(body).as_deref(), Ok("[|A: b|E: f]one[|C: d][--]"));
    }

    #[test]
    fn a_content_in_one_chunk_is_not_copied() {
        let body = Bytes::from("--XX\r\nA: b\r\n\r\none\r\ntwo\r\n--XX--");
        let mut delimiters = Delimiters::new("XX");
        delimiters.push(body.clone()).expect("no limit");
        let contents = delimiters.found.iter().filter_map(|found| match found {
            DelimiterEvent::Content { bytes, .. } => Some(bytes.as_ptr()),
            _ => None,
        });
        let content = body.slice(14..);
        assert!(content.starts_with(b"one") && contents.eq([content.as_ptr()]));
    }

    #[test]
    fn what_stands_around_the_parts_is_left_out() {
        let body = "hi\r\n--X\r\n--XX \t\r\nA: b\r\n\r\none\r\n--XX--\r\n--XX\r\nbye";
        assert_eq!(found(body).as_deref(), Ok("[|A: b]one[--]"));
        assert_eq!(found("--XX--").as_deref(), Ok("[--]"));
    }

    #[test]
    fn a_part_without_headers_ends_where_the_next_begins() {
        assert_eq!(
            found("--XX\r\n\r\none\r\n--XX\r\nA: b\r\n\r\ntwo\r\n--XX--").as_deref(),
            Ok("[-]one[|A: b]two[--]")
        );
    }

    #[test]
    fn a_line_that_only_begins_with_the_boundary_is_content() {
        for line in ["--XXY", "--XX-", "--XX-y", "--XX\ry", "--XX \r", "--XX\n", "-XX--"] {
            let body = format!("--XX\r\n\r\none\r\n{line}two\r\n--XX--\r\n");
            assert_eq!(found(&body), Ok(format!("[-]one\r\n{line}two[--]")), "{line:?}");
        }
    }

    #[test]
    fn bare_line_feeds_end_lines_where_the_first_one_is_bare() {
        let body = "--XX\nA: b\nC: d\n\none\ntwo\n--XX\n\nthree\n--XX--\n";
        assert_eq!(found(body).as_deref(), Ok("[|A: b|C: d]one\ntwo[-]three[--]"));
        let mixed = "--XX\r\n\r\none\n--XX\n\ntwo\r\n--XX--\r\n";
        assert_eq!(found(mixed).as_deref(), Ok("[-]one\n--XX\n\ntwo[--]"));
        let mixed = "--XX\nA: b\r\n\r\none\n\ntwo\n--XX--\n";
        assert_eq!(found(mixed).as_deref(), Ok("[|A: b]one\n\ntwo[--]"));
    }

    #[test]
    fn folded_headers_are_one_line() {
        let body = "--XX\r\nA:\r\n b;\r\n\tc=d\r\nE: f\r\n\r\nx\r\n--XX--\r\n";
        assert_eq!(found(body).as_deref(), Ok("[|A: b; c=d|E: f]x[--]"));
    }

    #[test]
    fn what_is_cut_stays_cut() {
        assert_eq!(found("--XX\r\nA: b\r\n\r\none\r\n--X").as_deref(), Ok("[|A: b]one\r\n--X"));
        assert_eq!(found("--XX\r\nA: b\r\n").as_deref(), Ok(""));
        assert_eq!(found("").as_deref(), Ok(""));
    }

    #[test]
    fn nothing_is_held_without_end() {
        let long = "x".repeat(LIMITS.part_header_bytes + 1);
        let max = LIMITS.part_header_bytes;
        assert_eq!(found(&long), Err(DecodeError::Limit { limit: "preamble", max }));
        assert_eq!(found(&"x\r\n".repeat(max)), Err(DecodeError::Limit { limit: "preamble", max }));
        assert_eq!(found(&format!("--XX\r\n{long}")), Err(DecodeError::Limit { limit: "part header", max }));
        let padded = format!("--XX\r\n\r\none\r\n--XX{}\r\n\r\n\r\n--XX--", " ".repeat(PADDING_MAX + 1));
        assert_eq!(found(&padded).map(|out| out.matches("[-]").count()), Ok(1));
    }
}
