//! The head of a request as bytes: read whole, within a time and a size, and checked for what parsers read differently.
//!
//! pingora's own reader has no deadline for the whole head and takes up to a megabyte of it; so the bytes are read
//! here and given to it complete.

use std::time::Duration;

use bytes::BytesMut;
use pingora::protocols::Stream;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};

/// Most bytes of a head.
pub(super) const HEAD_MAX: usize = 64 * 1024;
/// Most empty lines skipped before the request line.
const EMPTY_LINES_MAX: usize = 4;
/// Room made for each read.
const READ_SIZE: usize = 4 * 1024;

/// Why no head came out of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accept) enum BadHead {
    /// It is not HTTP/1.x, or what two parsers could read in two ways.
    Malformed,
    TooLarge,
    TooSlow,
    /// The client went away in the middle.
    Cut,
}

/// A complete head at the beginning of the bytes read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompleteHead {
    pub(super) length: usize,
    /// The body is sent in chunks.
    pub(super) chunked: bool,
}

/// Waits for the first bytes of a request; none where the client stays silent for `idle` or goes away.
pub(super) async fn first_bytes(stream: &mut Stream, idle: Duration) -> Option<BytesMut> {
    let mut bytes = BytesMut::with_capacity(READ_SIZE);
    match tokio::time::timeout(idle, stream.read_buf(&mut bytes)).await {
        Ok(Ok(read)) if read > 0 => Some(bytes),
        _ => None,
    }
}

/// Reads on until the head is whole. What follows it is left in the bytes: the beginning of the body.
pub(super) async fn whole_head(
    stream: &mut Stream,
    bytes: &mut BytesMut,
    deadline: Instant,
) -> Result<CompleteHead, BadHead> {
    let mut searched = 0;
    loop {
        skip_empty_lines(bytes)?;
        if let Some(end) = find_end(bytes, searched) {
            let chunked = check(bytes.get(..end).unwrap_or_default())?;
            return Ok(CompleteHead { length: end, chunked });
        }
        if bytes.len() > HEAD_MAX {
            return Err(BadHead::TooLarge);
        }
        searched = bytes.len().saturating_sub(3);
        bytes.reserve(READ_SIZE);
        match timeout_at(deadline, stream.read_buf(bytes)).await {
            Ok(Ok(read)) if read > 0 => {}
            Ok(_) => return Err(BadHead::Cut),
            Err(_elapsed) => return Err(BadHead::TooSlow),
        }
    }
}

/// RFC 9112, 2.2: empty lines before the request line are ignored, within reason.
fn skip_empty_lines(bytes: &mut BytesMut) -> Result<(), BadHead> {
    for _ in 0..EMPTY_LINES_MAX {
        if !bytes.starts_with(b"\r\n") {
            return Ok(());
        }
        drop(bytes.split_to(2));
    }
    if bytes.starts_with(b"\r\n") { Err(BadHead::Malformed) } else { Ok(()) }
}

/// Returns where the head ends: behind the first empty line, also one that is ended by a bare LF.
fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    tail.iter().enumerate().find_map(|(at, &byte)| {
        let after = tail.get(at + 1..)?;
        match (byte, after) {
            (b'\n', [b'\r', b'\n', ..]) => Some(from + at + 3),
            (b'\n', [b'\n', ..]) => Some(from + at + 2),
            _ => None,
        }
    })
}

/// Refuses what proxies and parsers are known to disagree about: lone CR or LF, NUL, folded lines, both framings.
/// Tells whether the body comes in chunks.
fn check(head: &[u8]) -> Result<bool, BadHead> {
    if head.len() > HEAD_MAX {
        return Err(BadHead::TooLarge);
    }
    if head.contains(&0) {
        return Err(BadHead::Malformed);
    }
    let (mut lengths, mut encodings) = (0, 0);
    for (number, line) in head.split(|&byte| byte == b'\n').enumerate() {
        let line = match line {
            [line @ .., b'\r'] if !line.contains(&b'\r') => line,
            [] => continue,
            _ => return Err(BadHead::Malformed),
        };
        if number == 0 {
            check_request_line(line)?;
        } else if line.first().is_some_and(u8::is_ascii_whitespace) {
            return Err(BadHead::Malformed);
        }
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        lengths += usize::from(name.eq_ignore_ascii_case(b"content-length"));
        encodings += usize::from(name.eq_ignore_ascii_case(b"transfer-encoding"));
    }
    if encodings > 1 || (lengths > 0 && encodings > 0) { Err(BadHead::Malformed) } else { Ok(encodings > 0) }
}

/// The target stands between two spaces, and holds none: where it ends is seen differently otherwise.
fn check_request_line(line: &[u8]) -> Result<(), BadHead> {
    let mut words = line.split(|&byte| byte == b' ');
    let target = words.nth(1).unwrap_or_default();
    let plain = !target.is_empty() && !target.iter().any(u8::is_ascii_control);
    let whole = plain && words.next().is_some() && words.next().is_none();
    whole.then_some(()).ok_or(BadHead::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_its_first_empty_line_wherever_the_search_begins() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
        for from in 0..head.len() - 7 {
            assert_eq!(find_end(head, from), Some(head.len() - 4), "from {from}");
        }
        assert_eq!(find_end(b"GET / HTTP/1.1\n\nx", 0), Some(16));
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 0), None);
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        for bad in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\rb: c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: x\r\n\r\n",
        ] {
            assert_eq!(check(bad.as_bytes()), Err(BadHead::Malformed), "{bad:?}");
        }
        assert_eq!(check(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n"), Ok(false));
        assert_eq!(check(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), Ok(true));
        assert_eq!(check(&[b'a'; HEAD_MAX + 1]), Err(BadHead::TooLarge));
    }

    #[test]
    fn a_few_empty_lines_before_the_request_are_ignored() {
        let mut bytes = BytesMut::from("\r\n\r\nGET");
        assert_eq!(skip_empty_lines(&mut bytes), Ok(()));
        assert_eq!(&bytes[..], b"GET");
        let mut bytes = BytesMut::from("\r\n".repeat(5).as_str());
        assert_eq!(skip_empty_lines(&mut bytes), Err(BadHead::Malformed));
    }
}
