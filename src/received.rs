//! What came over the wire, as it is stored: the one value from which everything else can be made again.
//!
//! A leaf: it knows no other room. Credentials never get this far, and file contents are cut to name and
//! size before it is built.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Header names that are kept. All others may hold secrets or say nothing about the visitor.
pub const KEPT_HEADERS: [&str; 5] = ["content-type", "user-agent", "origin", "referer", "x-wpforms-webhook-id"];

/// Most bytes kept of a header's value. Anybody can send headers without end, and no browser's say more.
pub const HEADER_MAX: usize = 2 * 1024;

/// One request as it is stored.
///
/// `Debug` shows sizes only: the body is personal data.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Received {
    /// The request method, upper case.
    pub method: String,
    /// The query as it came, without its `?` and without the `token` parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Headers of [`KEPT_HEADERS`], names in lower case; bytes that are not UTF-8 are replaced, and what comes after
    /// [`HEADER_MAX`] bytes is cut off.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The W3C `traceparent` it came with, where that is valid: passed on with the lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The body as it came; where `cut` says so, without the contents of its files.
    #[serde(skip)]
    pub body: Bytes,
    /// File contents were taken out of the body, their sizes are written where they stood.
    #[serde(default)]
    pub cut: bool,
    /// What a multipart body consists of, where it was found out as the body came. It isn't stored, and says nothing
    /// that the body doesn't.
    #[serde(skip)]
    pub parts: Option<Arc<[Part]>>,
}

/// One part of a multipart body.
///
/// No `Debug`: it is personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// Without a name it is no field.
    pub name: Option<String>,
    pub content: PartContent,
}

/// What a part holds.
#[derive(Clone, PartialEq, Eq)]
pub enum PartContent {
    /// A field's text: where it stands in the body.
    Text(Range<usize>),
    /// A file, or something without a name. An empty name: no file was chosen.
    File { name: String, kind: Option<String>, size: u64 },
}

impl Part {
    /// Returns how many bytes it takes.
    pub fn held(&self) -> usize {
        let content = match &self.content {
            PartContent::Text(_) => 0,
            PartContent::File { name, kind, .. } => name.len() + kind.as_deref().map_or(0, str::len),
        };
        size_of::<Self>() + self.name.as_deref().map_or(0, str::len) + content
    }
}

/// A query taken apart.
///
/// No `Debug`: it holds credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SplitQuery {
    /// What is kept, as it came; none where nothing is left.
    pub kept: Option<String>,
    /// The values of `token`, decoded.
    pub tokens: Vec<String>,
}

impl SplitQuery {
    /// Takes every `token` parameter out of a query, however it is written.
    pub fn of(query: Option<&str>) -> Self {
        let mut tokens = Vec::new();
        let mut kept = Vec::new();
        for part in query.unwrap_or_default().split('&') {
            match read_pair(part) {
                Some((name, value)) if name == "token" => tokens.push(value),
                Some(_) => kept.push(part),
                None => {}
            }
        }
        Self { kept: (!kept.is_empty()).then(|| kept.join("&")), tokens }
    }
}

fn read_pair(part: &str) -> Option<(String, String)> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(part).unwrap_or_default();
    pairs.into_iter().next()
}

/// Some HTTP clients name the URL itself as referer, which may hold the token.
fn without_token(url: &str) -> String {
    let Some((page, rest)) = url.split_once('?') else { return url.to_owned() };
    let (query, fragment) = rest.split_once('#').map_or((rest, None), |(query, end)| (query, Some(end)));
    let query = SplitQuery::of(Some(query)).kept.map(|kept| format!("?{kept}")).unwrap_or_default();
    let fragment = fragment.map(|end| format!("#{end}")).unwrap_or_default();
    format!("{page}{query}{fragment}")
}

/// Reads a `traceparent`: `00-<trace>-<parent>-<flags>`. Of a later version the same parts are taken, as its
/// specification wants.
fn traceparent(value: &[u8]) -> Option<String> {
    let text = str::from_utf8(value).ok()?.trim();
    let mut parts = text.split('-');
    let [version, trace, parent, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let is_hex = |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &str, len| is_hex(part, len) && part.bytes().any(|byte| byte != b'0');
    let known = version != "ff" && is_hex(version, 2) && (version != "00" || parts.next().is_none());
    let valid = known && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2);
    valid.then(|| format!("00-{trace}-{parent}-{flags}"))
}

/// Returns the id of the trace that a kept `traceparent` names.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}

impl Received {
    /// Builds what is stored of a request: of each kept header the first, nothing that may be a credential.
    ///
    /// `kept_query` is what [`SplitQuery`] leaves.
    pub fn from_parts<'h>(
        method: &str,
        kept_query: Option<String>,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        body: Bytes,
    ) -> Self {
        let (mut kept, mut traces) = (BTreeMap::new(), Vec::new());
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("traceparent") {
                traces.push(traceparent(value));
            }
            let Some(known) = KEPT_HEADERS.into_iter().find(|known| known.eq_ignore_ascii_case(name)) else { continue };
            let text = String::from_utf8_lossy(value).into_owned();
            // Cut at last: half a token would be none that is found.
            let mut text = if known == "referer" { without_token(&text) } else { text };
            let end = (0..=HEADER_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
            kept.entry(known.to_owned()).or_insert(text);
        }
        // Two make none: nobody knows which is meant.
        let traceparent = traces.pop().flatten().filter(|_| traces.is_empty());
        Self { method: method.to_owned(), query: kept_query, headers: kept, traceparent, body, cut: false, parts: None }
    }

    /// Returns the id of the trace it is part of.
    pub fn trace_id(&self) -> Option<&str> {
        trace_id(self.traceparent.as_deref()?)
    }

    /// Returns the value of a kept header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the `Content-Type` as it came.
    pub fn content_type(&self) -> Option<&str> {
        self.header("content-type")
    }
}

impl Eq for Received {}

impl PartialEq for Received {
    fn eq(&self, other: &Self) -> bool {
        // The parts are in the body already.
        let Self { method, query, headers, traceparent, body, cut, parts: _ } = self;
        (method, query, headers) == (&other.method, &other.query, &other.headers)
            && (traceparent, body, cut) == (&other.traceparent, &other.body, &other.cut)
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received")
            .field("method", &self.method)
            .field("content_type", &self.content_type())
            .field("query_len", &self.query.as_deref().map(str::len))
            .field("body_len", &self.body.len())
            .field("cut", &self.cut)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_leaves_the_query_and_the_rest_stays_as_it_came() {
        let split = |query| {
            let SplitQuery { kept, tokens } = SplitQuery::of(Some(query));
            (kept.unwrap_or_default(), tokens.join(" "))
        };
        assert_eq!(split("a=1&token=fg_x&b=%20+&to%6ben=fg_y"), ("a=1&b=%20+".to_owned(), "fg_x fg_y".to_owned()));
        assert_eq!(split("token=fg_x"), (String::new(), "fg_x".to_owned()));
        assert_eq!(split("tokens=1&Token=2"), ("tokens=1&Token=2".to_owned(), String::new()));
        assert_eq!(split("&&"), (String::new(), String::new()));
    }

    #[test]
    fn of_the_headers_only_those_on_the_list_are_kept_once_and_without_a_token() {
        let headers: [(&str, &[u8]); 6] = [
            ("Authorization", b"Bearer fg_t"),
            ("User-Agent", b"caf\xe9"),
            ("user-agent", b"second"),
            ("Cookie", b"a=b"),
            ("Referer", b"https://g.example/hooks/a?x=1&token=fg_t#top"),
            ("X-Formgate-Token", b"fg_t"),
        ];
        let received = Received::from_parts("POST", None, headers, Bytes::from_static(b"a=1"));
        let kept: Vec<_> = received.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(kept, ["referer: https://g.example/hooks/a?x=1#top", "user-agent: caf\u{fffd}"]);
    }

    #[test]
    fn a_long_header_is_cut_between_two_characters_and_after_the_token_is_out() {
        let referer = format!("https://a.example/?token=fg_{}&x={}", "t".repeat(HEADER_MAX), "y".repeat(HEADER_MAX));
        let headers: [(&str, &[u8]); 2] = [("User-Agent", &[0xff; 30_000]), ("Referer", referer.as_bytes())];
        let received = Received::from_parts("POST", None, headers, Bytes::new());
        assert_eq!(received.header("user-agent"), Some("\u{fffd}".repeat(HEADER_MAX / 3).as_str()));
        let referer = received.header("referer").expect("kept");
        assert!(referer.starts_with("https://a.example/?x=yy") && referer.len() == HEADER_MAX, "{referer}");
    }

    #[test]
    fn a_trace_goes_on_where_it_is_told_once_and_well() {
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let zeros = "0".repeat(32);
        let read = |values: &[&str]| {
            let headers = values.iter().map(|value| ("TraceParent", value.as_bytes()));
            Received::from_parts("POST", None, headers, Bytes::new())
        };
        let good = format!("00-{trace}-{parent}-01");
        assert_eq!(read(&[&good]).traceparent.as_ref(), Some(&good));
        assert_eq!(read(&[&good]).trace_id(), Some(trace));
        assert_eq!(read(&[&format!("cc-{trace}-{parent}-01-more")]).traceparent.as_ref(), Some(&good));
        assert_eq!(read(&[&good, &good]).traceparent, None);
        for bad in [
            format!("{good}-more"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{zeros}-{parent}-01"),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-1"),
            "jane@example.com".to_owned(),
        ] {
            assert_eq!(read(&[&bad]).traceparent, None, "{bad}");
        }
    }
}
