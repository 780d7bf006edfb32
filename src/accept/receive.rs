//! From a request to what is stored of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;

use super::guard::Query;
use super::head::Head;
use crate::received::{KEPT_HEADERS, Received};

/// More than `max_body` would have to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuchToKeep;

/// Builds what is stored: the body as it came, the headers that are kept, the query without its token.
pub(super) fn receive(head: &Head, query: &Query, body: Bytes) -> Received {
    let method = head.method.as_str().to_owned();
    Received { method, query: query.kept.clone(), headers: kept_headers(&head.headers), body, cut: false }
}

/// Cuts what need not be kept, and refuses what is still too large.
pub(super) fn keep(received: Received, max_body: u64) -> Result<Received, TooMuchToKeep> {
    let query = received.query.as_deref().map_or(0, str::len);
    let size = (received.body.len() + query) as u64;
    if size > max_body { Err(TooMuchToKeep) } else { Ok(received) }
}

fn kept_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let kept = KEPT_HEADERS.iter().filter_map(|&name| {
        let text = String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned();
        Some((name.to_owned(), if name == "referer" { without_token(&text) } else { text }))
    });
    kept.collect()
}

/// Some HTTP clients name the URL itself as referer, which may hold the token.
fn without_token(url: &str) -> String {
    let Some((page, rest)) = url.split_once('?') else { return url.to_owned() };
    let (query, fragment) = rest.split_once('#').map_or((rest, None), |(query, end)| (query, Some(end)));
    let query = Query::split(Some(query)).kept.map(|kept| format!("?{kept}")).unwrap_or_default();
    let fragment = fragment.map(|end| format!("#{end}")).unwrap_or_default();
    format!("{page}{query}{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_off_the_list_are_not_kept_and_odd_bytes_do_no_harm() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer fg_t".parse().expect("a value"));
        headers.insert("cookie", "a=b".parse().expect("a value"));
        headers.insert("user-agent", http::HeaderValue::from_bytes(b"caf\xe9").expect("a value"));
        let kept = kept_headers(&headers);
        assert_eq!(kept.into_iter().collect::<Vec<_>>(), [("user-agent".to_owned(), "caf\u{fffd}".to_owned())]);
    }

    #[test]
    fn a_referer_that_is_the_url_itself_loses_its_token() {
        assert_eq!(without_token("https://g.example/hooks/a?token=fg_t"), "https://g.example/hooks/a");
        assert_eq!(without_token("https://g.example/a?x=1&token=fg_t#top"), "https://g.example/a?x=1#top");
        assert_eq!(without_token("https://a.example/page?utm=1"), "https://a.example/page?utm=1");
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let received =
            Received { body: Bytes::from_static(b"12345"), query: Some("678".to_owned()), ..Received::default() };
        assert_eq!(keep(received.clone(), 7), Err(TooMuchToKeep));
        assert_eq!(keep(received.clone(), 8), Ok(received));
    }
}
