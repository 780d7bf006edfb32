//! The lines between the parts of a multipart body (RFC 2046 §5.1.1), made strict before the parser reads them.
//!
//! multer takes every line that only begins with the boundary for one, and refuses folded headers (RFC 5322 §2.2.3) and
//! bare line feeds. Here the whole line is looked at; what comes out are the same parts, between lines of [`BOUNDARY`].

use std::borrow::Cow;

use bytes::{Buf, BytesMut};
use memchr::memmem;

use super::{DecodeError, LIMITS};

/// What stands between the parts that come out. A body that holds it itself was made to confuse.
pub(super) const BOUNDARY: &str = "formgate-8b1f6c0e7d5a4f3b92c1e0d4a7f6b5c3";

/// Most white space after a boundary (RFC 2046 calls it transport padding), in bytes.
const PADDING_MAX: usize = 1_024;

/// Reads a body chunk by chunk.
pub(super) struct Delimiters {
    /// "--" and the boundary.
    mark: Vec<u8>,
    /// What ends a line; the first boundary's line tells.
    line_end: &'static [u8],
    state: State,
    /// Read, but not known yet what it is.
    held: BytesMut,
    /// Bytes before the first boundary.
    preamble: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
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
        let mark = format!("--{boundary}").into_bytes();
        Self { mark, line_end: b"\r\n", state: State::Preamble, held: BytesMut::new(), preamble: 0 }
    }

    /// Returns how many bytes it holds back.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes the next chunk and adds what is known by now, also what stands before an error.
    pub(super) fn push(&mut self, chunk: &[u8], out: &mut BytesMut) -> Result<(), DecodeError> {
        if self.state == State::End {
            return Ok(());
        }
        // Once for all bytes, and not again for each line that is found in them.
        let unsearched = self.held.len().saturating_sub(BOUNDARY.len() - 1);
        self.held.extend_from_slice(chunk);
        if self.held.get(unsearched..).is_some_and(|bytes| memmem::find(bytes, BOUNDARY.as_bytes()).is_some()) {
            return Err(DecodeError::BrokenMultipart);
        }
        while match self.state {
            State::Preamble => self.preamble(out)?,
            State::Headers => self.headers(out)?,
            State::Content => self.content(out),
            State::End => false,
        } {}
        Ok(())
    }

    /// Ends the body: what was held back is content, if anything.
    pub(super) fn finish(&mut self, out: &mut BytesMut) {
        if self.state == State::Content {
            out.extend_from_slice(&std::mem::take(&mut self.held));
        }
    }

    /// Reads a line that isn't a part's; tells whether to go on.
    fn preamble(&mut self, out: &mut BytesMut) -> Result<bool, DecodeError> {
        match self.held.strip_prefix(self.mark.as_slice()).map(|rest| (after(rest, b"\r\n"), after(rest, b"\n"))) {
            Some((After::End, _)) => self.close(b"", out),
            Some((After::Part(length), _)) => self.open(b"", length, out),
            Some((_, After::Part(length))) => {
                self.line_end = b"\n";
                self.open(b"", length, out);
            }
            _ => {
                let line = memchr::memchr(b'\n', &self.held).map_or(self.held.len(), |end| end + 1);
                if self.preamble + line > LIMITS.part_header_bytes {
                    return Err(DecodeError::Limit { limit: "preamble", max: LIMITS.part_header_bytes });
                }
                let is_whole = self.held.get(..line).is_some_and(|line| line.ends_with(b"\n"));
                if is_whole {
                    self.preamble += line;
                    self.held.advance(line);
                }
                return Ok(is_whole);
            }
        }
        Ok(true)
    }

    /// Reads a part's headers, with the empty line after them; tells whether to go on.
    fn headers(&mut self, out: &mut BytesMut) -> Result<bool, DecodeError> {
        let empty_line = [self.line_end, self.line_end].concat();
        let end = match self.held.starts_with(self.line_end) {
            true => Some(0),
            false => memmem::find(&self.held, &empty_line).map(|end| end + self.line_end.len()),
        };
        if end.unwrap_or(self.held.len()) > LIMITS.part_header_bytes {
            return Err(DecodeError::Limit { limit: "part header", max: LIMITS.part_header_bytes });
        }
        let Some(end) = end else { return Ok(false) };
        let headers = self.held.split_to(end);
        self.held.advance(self.line_end.len());
        out.extend_from_slice(&unfolded(&headers, self.line_end));
        out.extend_from_slice(b"\r\n");
        self.state = State::Content;
        Ok(true)
    }

    /// Reads content up to the next line that begins with the mark; tells whether to go on.
    fn content(&mut self, out: &mut BytesMut) -> bool {
        let needle = [self.line_end, &self.mark].concat();
        let Some(start) = memmem::find(&self.held, &needle) else {
            // Its end may be the beginning of a boundary, or of ours.
            let keep = needle.len().max(BOUNDARY.len()) - 1;
            out.extend_from_slice(&self.held.split_to(self.held.len().saturating_sub(keep)));
            return false;
        };
        let after = after(self.held.get(start + needle.len()..).unwrap_or_default(), self.line_end);
        let content = self.held.split_to(start);
        if !matches!(after, After::Part(_) | After::End) {
            out.extend_from_slice(&content);
        }
        match after {
            After::Unknown => return false,
            After::Other => out.extend_from_slice(&self.held.split_to(needle.len())),
            After::End => self.close(&content, out),
            After::Part(length) => {
                self.held.advance(self.line_end.len());
                self.open(&content, length, out);
            }
        }
        true
    }

    /// Writes a boundary after a content; `length` bytes of the line follow the mark.
    fn open(&mut self, content: &[u8], length: usize, out: &mut BytesMut) {
        self.held.advance(self.mark.len() + length);
        write(content, self.state, b"\r\n", out);
        self.state = State::Headers;
    }

    /// Writes the last boundary after a content.
    fn close(&mut self, content: &[u8], out: &mut BytesMut) {
        self.held.clear();
        write(content, self.state, b"--\r\n", out);
        self.state = State::End;
    }
}

fn write(content: &[u8], state: State, end: &[u8], out: &mut BytesMut) {
    // The first boundary ends no content.
    let before: &[u8] = if state == State::Content { b"\r\n--" } else { b"--" };
    for piece in [content, before, BOUNDARY.as_bytes(), end] {
        out.extend_from_slice(piece);
    }
}

/// Reads what follows the mark.
fn after(rest: &[u8], line_end: &[u8]) -> After {
    if rest.starts_with(b"--") {
        return After::End;
    }
    let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
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

/// Puts each header on one line.
fn unfolded<'a>(headers: &'a [u8], line_end: &[u8]) -> Cow<'a, [u8]> {
    let is_strict =
        line_end == b"\r\n" && memmem::find(headers, b"\r\n ").is_none() && memmem::find(headers, b"\r\n\t").is_none();
    if is_strict {
        return Cow::Borrowed(headers);
    }
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in headers.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match lines.last_mut() {
            Some(header) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                header.push(b' ');
                header.extend_from_slice(line.trim_ascii());
            }
            _ => lines.push(line.to_vec()),
        }
    }
    Cow::Owned(lines.join(&b"\r\n"[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, with the boundary shown as `@`; the same however it is cut into chunks.
    fn strict(body: &str) -> Result<String, DecodeError> {
        let read = |size: usize| {
            let (mut delimiters, mut out) = (Delimiters::new("XX"), BytesMut::new());
            let pushed = body.as_bytes().chunks(size).try_for_each(|chunk| delimiters.push(chunk, &mut out));
            delimiters.finish(&mut out);
            pushed.map(|()| String::from_utf8_lossy(&out).replace(BOUNDARY, "@"))
        };
        let whole = read(body.len().max(1));
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(read(size), whole, "chunks of {size}");
        }
        whole
    }

    #[test]
    fn a_strict_body_stays_as_it_is() {
        let body = "--XX\r\nA: b\r\n\r\none\r\n--XX\r\nC: d\r\n\r\n\r\n--XX--\r\n";
        assert_eq!(strict(body), Ok(body.replace("XX", "@")));
    }

    #[test]
    fn what_stands_around_the_parts_is_left_out() {
        let body = "hi\r\n--X\r\n--XX \t\r\n\r\none\r\n--XX--\r\n--XX\r\nbye";
        assert_eq!(strict(body).as_deref(), Ok("--@\r\n\r\none\r\n--@--\r\n"));
        assert_eq!(strict("--XX--").as_deref(), Ok("--@--\r\n"));
    }

    #[test]
    fn a_line_that_only_begins_with_the_boundary_is_content() {
        for line in ["--XXY", "--XX-", "--XX-y", "--XX\ry", "--XX \r", "--XX\n", "-XX--"] {
            let body = format!("--XX\r\n\r\none\r\n{line}two\r\n--XX--\r\n");
            let expected = format!("--@\r\n\r\none\r\n{line}two\r\n--@--\r\n");
            assert_eq!(strict(&body), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn bare_line_feeds_end_lines_where_the_first_one_is_bare() {
        let body = "--XX\nA: b\nC: d\n\none\ntwo\n--XX\n\nthree\n--XX--\n";
        let expected = "--@\r\nA: b\r\nC: d\r\n\r\none\ntwo\r\n--@\r\n\r\nthree\r\n--@--\r\n";
        assert_eq!(strict(body).as_deref(), Ok(expected));
        let mixed = "--XX\r\n\r\none\n--XX\n\ntwo\r\n--XX--\r\n";
        assert_eq!(strict(mixed), Ok(mixed.replace("\r\n--XX--", "\r\n--@--").replacen("--XX", "--@", 1)));
    }

    #[test]
    fn folded_headers_are_one_line() {
        let body = "--XX\r\nA:\r\n b;\r\n\tc=d\r\nE: f\r\n\r\nx\r\n--XX--\r\n";
        assert_eq!(strict(body).as_deref(), Ok("--@\r\nA: b; c=d\r\nE: f\r\n\r\nx\r\n--@--\r\n"));
    }

    #[test]
    fn what_is_cut_stays_cut() {
        assert_eq!(strict("--XX\r\nA: b\r\n\r\none\r\n--X").as_deref(), Ok("--@\r\nA: b\r\n\r\none\r\n--X"));
        assert_eq!(strict("--XX\r\nA: b\r\n").as_deref(), Ok("--@\r\n"));
        assert_eq!(strict("").as_deref(), Ok(""));
    }

    #[test]
    fn a_body_that_imitates_our_boundary_is_refused() {
        let body = format!("--XX\r\n\r\none\r\n--{BOUNDARY}\r\n\r\ntwo\r\n--XX--\r\n");
        assert_eq!(strict(&body), Err(DecodeError::BrokenMultipart));
    }

    #[test]
    fn nothing_is_held_without_end() {
        let long = "x".repeat(LIMITS.part_header_bytes + 1);
        let max = LIMITS.part_header_bytes;
        assert_eq!(strict(&long), Err(DecodeError::Limit { limit: "preamble", max }));
        assert_eq!(strict(&"x\r\n".repeat(max)), Err(DecodeError::Limit { limit: "preamble", max }));
        assert_eq!(strict(&format!("--XX\r\n{long}")), Err(DecodeError::Limit { limit: "part header", max }));
        let padded = format!("--XX\r\n\r\none\r\n--XX{}\r\n\r\n\r\n--XX--", " ".repeat(PADDING_MAX + 1));
        assert_eq!(strict(&padded).map(|out| out.matches('@').count()), Ok(2));
    }
}
