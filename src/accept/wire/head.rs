//! A request's head, parsed and checked: where it is addressed, how its body is framed, what it shows as credential.

use http::{HeaderMap, HeaderValue, Method, Version, header};
use pingora::http::RequestHeader;

use super::raw_head::BadHead;
use crate::http::expects_continue;

/// How the body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accept) enum Framing {
    None,
    /// Declared in bytes; never zero.
    Length(u64),
    /// It ends where it ends: chunked, or a stream of HTTP/2.
    Undeclared,
}

/// A well-formed head. No `Debug`: its headers and query hold credentials.
pub(in crate::accept) struct RequestHead {
    pub(in crate::accept) method: Method,
    pub(in crate::accept) path: String,
    /// As it came, `token` and all.
    pub(in crate::accept) query: Option<String>,
    pub(in crate::accept) headers: HeaderMap,
    pub(in crate::accept) framing: Framing,
    /// The client waits for a word before it sends the body.
    pub(in crate::accept) expects_continue: bool,
}

impl RequestHead {
    /// Checks what pingora parsed. `unframed`: in HTTP/2, a body follows whether or not its length is declared.
    pub(super) fn read(parsed: &RequestHeader, unframed: bool) -> Result<Self, BadHead> {
        check_host(parsed)?;
        let (path, query) = split_target(parsed.raw_path());
        let mut headers = parsed.headers.clone();
        if let Some(host) = authority(parsed) {
            headers.entry(header::HOST).or_insert(host);
        }
        let framing = match framing(&headers)? {
            Framing::None if unframed => Framing::Undeclared,
            framing => framing,
        };
        let expects_continue = parsed.version == Version::HTTP_11 && expects_continue(&headers);
        Ok(Self { method: parsed.method.clone(), path, query, framing, headers, expects_continue })
    }

    /// Returns the host the request was sent to.
    pub(in crate::accept) fn host(&self) -> Option<&str> {
        self.headers.get(header::HOST)?.to_str().ok()
    }
}

/// Returns the path that the first line of a head asks for, whatever is wrong with the head.
pub(super) fn path_of_line(head: &[u8]) -> Option<String> {
    let line = head.split(|&byte| byte == b'\n').next()?;
    let target = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()).nth(1)?;
    Some(split_target(target).0)
}

/// HTTP/2 names the host outside of the headers; pingora has checked that it does, and that a `Host` says the same.
fn authority(parsed: &RequestHeader) -> Option<HeaderValue> {
    let authority = parsed.uri.authority().filter(|_| parsed.version == Version::HTTP_2)?;
    HeaderValue::from_str(authority.as_str()).ok()
}

/// RFC 9112, 3.2: HTTP/1.1 has exactly one `Host`, and it must be one.
fn check_host(parsed: &RequestHeader) -> Result<(), BadHead> {
    let mut hosts = parsed.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next(), parsed.version) {
        (None, _, Version::HTTP_10) => Ok(()),
        (_, None, Version::HTTP_2) => Ok(()),
        (Some(host), None, Version::HTTP_10 | Version::HTTP_11) => {
            let text = host.to_str().unwrap_or(" ");
            let plain = text.is_empty() || text.parse::<http::uri::Authority>().is_ok_and(|name| name.as_str() == text);
            (plain && !text.contains('@')).then_some(()).ok_or(BadHead::Malformed)
        }
        _ => Err(BadHead::Malformed),
    }
}

/// Takes the target apart; of the absolute form the path and query count. Bytes that are not UTF-8 are replaced: a
/// query with one of them is still somebody's message.
fn split_target(raw: &[u8]) -> (String, Option<String>) {
    let target = String::from_utf8_lossy(raw);
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => &target,
    };
    match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target.to_owned(), None),
    }
}

fn framing(headers: &HeaderMap) -> Result<Framing, BadHead> {
    if let Some(coding) = headers.get(header::TRANSFER_ENCODING) {
        // Another coding under the chunks would be stored as bytes nobody can read.
        let chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        return chunked.then_some(Framing::Undeclared).ok_or(BadHead::Malformed);
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(Framing::None),
        (Some(length), None) => {
            let digits = length.to_str().map_err(|_not_text| BadHead::Malformed)?;
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            match digits.parse::<u64>() {
                Ok(0) if plain => Ok(Framing::None),
                Ok(length) if plain && length <= i64::MAX.unsigned_abs() => Ok(Framing::Length(length)),
                _ => Err(BadHead::Malformed),
            }
        }
        _ => Err(BadHead::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, headers: &[(&'static str, &str)]) -> Result<RequestHead, BadHead> {
        let mut parsed = RequestHeader::build("POST", b"/hooks/acme", None).expect("a request");
        parsed.set_version(version);
        for (name, value) in headers {
            parsed.append_header(*name, *value).expect("a header");
        }
        RequestHead::read(&parsed, false)
    }

    #[test]
    fn exactly_one_host_is_given() {
        let ok = |version, headers: &[(&'static str, &str)]| head(version, headers).is_ok();
        assert!(ok(Version::HTTP_11, &[("Host", "a.example:80")]));
        assert!(ok(Version::HTTP_11, &[("Host", "[::1]:80")]));
        assert!(ok(Version::HTTP_10, &[]));
        assert!(!ok(Version::HTTP_11, &[]));
        assert!(!ok(Version::HTTP_11, &[("Host", "a"), ("Host", "a")]));
        assert!(!ok(Version::HTTP_10, &[("Host", "a"), ("Host", "b")]));
        for bad in ["a b", "a/b", "u@a", "a,b c", "a#b"] {
            assert!(!ok(Version::HTTP_11, &[("Host", bad)]), "{bad}");
        }
        assert!(!ok(Version::HTTP_09, &[("Host", "a")]));
    }

    #[test]
    fn a_body_is_framed_in_one_plain_way() {
        let framed = |name, value| head(Version::HTTP_11, &[("Host", "a"), (name, value)]).map(|head| head.framing);
        assert_eq!(framed("Content-Length", "007"), Ok(Framing::Length(7)));
        assert_eq!(framed("Content-Length", "0"), Ok(Framing::None));
        assert_eq!(framed("Transfer-Encoding", "Chunked"), Ok(Framing::Undeclared));
        for bad in ["", "+1", "-1", "1,1", "1 1", "0x1", "9223372036854775808", "18446744073709551616"] {
            assert_eq!(framed("Content-Length", bad), Err(BadHead::Malformed), "{bad}");
        }
        for bad in ["gzip, chunked", "identity", "xchunked", "\"chunked\"", ""] {
            assert_eq!(framed("Transfer-Encoding", bad), Err(BadHead::Malformed), "{bad}");
        }
    }

    #[test]
    fn the_target_may_be_absolute() {
        let split = |raw: &str| split_target(raw.as_bytes());
        assert_eq!(split("/hooks/a?x=1?2"), ("/hooks/a".to_owned(), Some("x=1?2".to_owned())));
        assert_eq!(split("http://a.example/hooks/a"), ("/hooks/a".to_owned(), None));
        assert_eq!(split("http://a.example?x"), (String::new(), Some("x".to_owned())));
        assert_eq!(split("/hooks/a?u=http://b"), ("/hooks/a".to_owned(), Some("u=http://b".to_owned())));
    }
}
