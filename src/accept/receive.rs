//! From a request to what is stored of it.

use std::collections::BTreeMap;

use http::{HeaderMap, header};

use super::body::BadBody;
use super::guard::Query;
use super::head::Head;
use crate::pipeline::{Keeper, Kept};
use crate::received::{KEPT_HEADERS, Received};

/// Begins to keep a body: of it and the query together at most `max_body`.
pub(super) fn keeper(head: &Head, query: &Query, max_body: u64) -> Result<Keeper, BadBody> {
    let query = query.kept.as_deref().map_or(0, str::len);
    let max = usize::try_from(max_body).unwrap_or(usize::MAX).checked_sub(query).ok_or(BadBody::TooMuchToKeep)?;
    let content_type = head.headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    Ok(Keeper::new(content_type.as_deref(), max))
}

/// Builds what is stored: what is kept of the body, the headers that are kept, the query without its token.
pub(super) fn receive(head: &Head, query: &Query, kept: &Kept) -> Received {
    Received {
        method: head.method.as_str().to_owned(),
        query: query.kept.clone(),
        headers: kept_headers(&head.headers),
        body: kept.body.clone(),
        cut: kept.cut,
    }
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
    fn the_query_counts_to_what_is_kept() {
        let head = Head {
            method: http::Method::POST,
            path: String::new(),
            query: None,
            headers: HeaderMap::new(),
            framing: super::super::head::Framing::Length(5),
            expects_continue: false,
        };
        let query = Query::split(Some("678&token=fg_t"));
        let kept = |max_body| {
            let mut keeper = keeper(&head, &query, max_body)?;
            keeper.push(bytes::Bytes::from("12345"))?;
            Ok(keeper.finish().map(|kept| kept.body)?)
        };
        assert_eq!(kept(8), Ok("12345".into()));
        assert_eq!(kept(7), Err(BadBody::TooMuchToKeep));
        assert_eq!(kept(2), Err(BadBody::TooMuchToKeep));
    }
}
