//! Captured requests: `.http` files, the bytes of one HTTP/1.1 request as they came over the wire.

use bytes::{Bytes, BytesMut};

use crate::lead::{FormId, SiteId};
use crate::received::{Received, SplitQuery};

/// Largest capture, in bytes: what `max_upload` is by default, and its head.
pub(super) const CAPTURE_MAX: u64 = 26 << 20;
/// Most headers.
const HEADERS_MAX: usize = 256;

/// One captured request.
///
/// No `Debug`: it is personal data, and its headers may hold credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Capture {
    pub(super) method: String,
    /// Path and query, as they came.
    pub(super) target: Vec<u8>,
    /// In their order, values without the white space around them.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// Without its framing.
    pub(super) body: Bytes,
}

/// Why bytes are no captured request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadCapture {
    #[error("the empty line after its headers is missing")]
    NoEnd,
    #[error("the first line is not a request line such as \"POST /hooks/acme HTTP/1.1\"")]
    RequestLine,
    #[error("line {line} is not a header")]
    Header { line: usize },
    #[error("more than {HEADERS_MAX} headers")]
    TooManyHeaders,
    #[error("Content-Length is {declared}, but the body has {found} bytes")]
    Length { declared: String, found: usize },
    #[error("the chunked body is malformed or cut short")]
    Chunks,
}

impl Capture {
    /// Reads a request. Its lines end in CRLF, or in LF where an editor made it so.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BadCapture> {
        let (lines, rest) = split_head(bytes).ok_or(BadCapture::NoEnd)?;
        let (request_line, headers) = lines.split_first().ok_or(BadCapture::RequestLine)?;
        let (method, target) = read_request_line(request_line).ok_or(BadCapture::RequestLine)?;
        if headers.len() > HEADERS_MAX {
            return Err(BadCapture::TooManyHeaders);
        }
        let headers = headers.iter().enumerate();
        let headers = headers.map(|(index, line)| read_header(line).ok_or(BadCapture::Header { line: index + 2 }));
        let mut capture = Self { method, target, headers: headers.collect::<Result<_, _>>()?, body: Bytes::new() };
        capture.body = capture.read_body(rest)?;
        Ok(capture)
    }

    fn read_body(&self, rest: &[u8]) -> Result<Bytes, BadCapture> {
        if self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
            return read_chunks(rest).ok_or(BadCapture::Chunks);
        }
        let Some(declared) = self.header("content-length") else { return Ok(Bytes::copy_from_slice(rest)) };
        let declared = String::from_utf8_lossy(declared).into_owned();
        let body = declared.parse().ok().and_then(|length: usize| rest.split_at_checked(length));
        match body {
            // An editor may have ended the last line.
            Some((body, behind)) if behind.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => {
                Ok(Bytes::copy_from_slice(body))
            }
            _ => Err(BadCapture::Length { declared, found: rest.len() }),
        }
    }

    /// Returns the first header of a name.
    pub(super) fn header(&self, wanted: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_slice())
    }

    /// Returns the path, and the query as it came.
    pub(super) fn split_target(&self) -> (String, Option<String>) {
        let target = String::from_utf8_lossy(&self.target);
        match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target.into_owned(), None),
        }
    }

    /// Returns the site and form that the path names, where it is that of a hook.
    pub(super) fn addressed_to(&self) -> Option<(SiteId, Option<FormId>)> {
        let (path, _) = self.split_target();
        let mut parts = path.strip_prefix("/hooks/")?.split('/');
        let site = SiteId::parse(parts.next()?).ok()?;
        let form = parts.next().map(FormId::parse).transpose().ok()?;
        parts.next().is_none().then_some((site, form))
    }

    /// Returns what the gateway would store of it.
    pub(super) fn received(&self) -> Received {
        let query = SplitQuery::of(self.split_target().1.as_deref()).kept;
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        Received::from_parts(&self.method, query, headers, self.body.clone())
    }
}

/// The lines of a head, without their ends.
type HeadLines<'a> = Vec<&'a [u8]>;

/// Returns the lines up to the first empty one, and what follows it.
fn split_head(bytes: &[u8]) -> Option<(HeadLines<'_>, &[u8])> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    loop {
        let (line, behind) = split_line(rest)?;
        rest = behind;
        if line.is_empty() {
            return Some((lines, rest));
        }
        lines.push(line);
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

fn read_request_line(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let method = std::str::from_utf8(parts.next()?).ok()?;
    let rest = parts.next()?;
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphabetic());
    let at = rest.windows(6).rposition(|end| end == b" HTTP/")?;
    let target = rest.get(..at).filter(|target| target.starts_with(b"/"))?;
    is_method.then(|| (method.to_owned(), target.to_vec()))
}

fn read_header(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(line.get(..colon)?).ok()?;
    let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_token.then_some((name.to_owned(), line.get(colon + 1..)?.trim_ascii().to_vec()))
}

/// Takes the chunks of a body together; what follows the last is a trailer and no part of it.
fn read_chunks(bytes: &[u8]) -> Option<Bytes> {
    let mut body = BytesMut::new();
    let mut rest = bytes;
    loop {
        let (line, behind) = split_line(rest)?;
        let digits = std::str::from_utf8(line.split(|byte| *byte == b';').next()?).ok()?.trim();
        let size = usize::from_str_radix(digits, 16).ok()?;
        if size == 0 {
            return Some(body.freeze());
        }
        let (chunk, behind) = behind.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        let (end, behind) = split_line(behind)?;
        if !end.is_empty() {
            return None;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Capture, BadCapture> {
        Capture::parse(text.as_bytes())
    }

    fn capture(text: &str) -> Capture {
        parse(text).unwrap_or_else(|bad| panic!("{bad}"))
    }

    #[test]
    fn a_request_is_read_as_it_came() {
        let bytes = b"POST /hooks/acme/contact?a=\xe9&token=fg_t HTTP/1.1\r\nHost: g\r\nUser-Agent:  caf\xe9 \r\nContent-Length: 5\r\n\r\na=\xff\r\n";
        let capture = Capture::parse(bytes).unwrap_or_else(|bad| panic!("{bad}"));
        assert_eq!((capture.method.as_str(), capture.body.as_ref()), ("POST", &b"a=\xff\r\n"[..]));
        assert_eq!(capture.target, b"/hooks/acme/contact?a=\xe9&token=fg_t");
        assert_eq!(capture.header("user-agent"), Some(&b"caf\xe9"[..]));
        let received = capture.received();
        assert_eq!(received.query.as_deref(), Some("a=\u{fffd}"));
        assert_eq!(received.header("user-agent"), Some("caf\u{fffd}"));
        let (site, form) = capture.addressed_to().expect("an address");
        assert_eq!((site.as_str(), form.as_ref().map(FormId::as_str)), ("acme", Some("contact")));
    }

    #[test]
    fn lines_may_end_in_lf_and_a_body_without_length_is_all_that_follows() {
        let capture = capture("GET /a?x=1 HTTP/1.0\nAccept: */*\n\nrest\n");
        assert_eq!((capture.method.as_str(), capture.body.as_ref()), ("GET", &b"rest\n"[..]));
        assert_eq!(capture.split_target(), ("/a".to_owned(), Some("x=1".to_owned())));
        assert!(capture.addressed_to().is_none());
    }

    #[test]
    fn chunks_are_put_together() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n";
        let body = |chunks: &str| parse(&format!("{head}{chunks}")).map(|capture| capture.body);
        assert_eq!(body("3;x=y\r\na=1\r\n2\r\n&b\r\n0\r\nX: y\r\n\r\n"), Ok(Bytes::from_static(b"a=1&b")));
        for broken in ["", "3\r\na=1", "3\r\na=12\r\n0\r\n\r\n", "x\r\n", "-1\r\n", "ffffffffffffffffff\r\n"] {
            assert_eq!(body(broken), Err(BadCapture::Chunks), "{broken:?}");
        }
    }

    #[test]
    fn a_length_that_is_wrong_is_told() {
        let with =
            |length: &str, body: &str| parse(&format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}"));
        assert_eq!(with("3", "a=1\n").map(|capture| capture.body), Ok(Bytes::from_static(b"a=1")));
        let bad = with("9", "a=1").err();
        assert_eq!(bad, Some(BadCapture::Length { declared: "9".to_owned(), found: 3 }));
        assert!(with("2", "a=1").is_err() && with("x", "a=1").is_err());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (text, why) in [
            ("", BadCapture::NoEnd),
            ("POST / HTTP/1.1\r\nHost: x\r\n", BadCapture::NoEnd),
            ("\r\n", BadCapture::RequestLine),
            ("POST /\r\n\r\n", BadCapture::RequestLine),
            ("P0ST / HTTP/1.1\r\n\r\n", BadCapture::RequestLine),
            ("POST http://a/ HTTP/1.1\r\n\r\n", BadCapture::RequestLine),
            ("POST / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", BadCapture::Header { line: 3 }),
            ("POST / HTTP/1.1\r\n: x\r\n\r\n", BadCapture::Header { line: 2 }),
        ] {
            assert_eq!(parse(text).err(), Some(why), "{text:?}");
        }
        let many = "a: b\r\n".repeat(HEADERS_MAX + 1);
        assert_eq!(parse(&format!("POST / HTTP/1.1\r\n{many}\r\n")).err(), Some(BadCapture::TooManyHeaders));
    }

    impl std::fmt::Debug for Capture {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Capture { .. }")
        }
    }
}
