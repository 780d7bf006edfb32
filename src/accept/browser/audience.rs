//! Who waits for the answer to a page's post: the page's script, or a person whose browser shows what comes.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use super::PageRequest;
use super::words::{self, Words};
use crate::accept::gateway::Request;

/// Most languages looked at in `Accept-Language`.
const LANGUAGES_MAX: usize = 20;

/// How the answer must look.
pub(in crate::accept) enum Audience {
    /// A script of the page reads it, if this origin is named in it.
    Script { origin: Option<HeaderValue> },
    /// The browser shows it in the page's place.
    Person(Person),
}

/// What is known of a person who sees the answer.
pub(in crate::accept) struct Person {
    pub(super) words: &'static Words,
    /// Where to send the browser on to.
    pub(super) thanks: Option<HeaderValue>,
    /// The origin of the page it came from.
    pub(super) home: Option<Arc<str>>,
}

impl Audience {
    /// Of a post from a page.
    pub(in crate::accept) fn of(request: &Request<'_>, page: &PageRequest<'_>) -> Self {
        let headers = &request.head.headers;
        if !navigates(headers) {
            let origin = page.origin.as_str();
            return Self::Script { origin: HeaderValue::from_str(origin).ok().filter(|_| page.is_cors) };
        }
        let thanks = page.page_form.thanks.clone();
        let words = language(request.query.kept.as_deref(), headers);
        Self::Person(Person { words, thanks, home: Some(page.origin.as_str().into()) })
    }

    /// Of a browser that was sent to look at the address of a form, which shows nothing.
    pub(in crate::accept) fn passing_by(request: &Request<'_>) -> Option<Self> {
        let headers = &request.head.headers;
        let words = language(request.query.kept.as_deref(), headers);
        navigates(headers).then_some(Self::Person(Person { words, thanks: None, home: None }))
    }
}

/// Tells whether a browser will show the answer to a person. Browsers say so themselves, but for old ones, and for all
/// where the gateway is reached without encryption.
fn navigates(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => {
            headers.get_all(header::ACCEPT).iter().any(|accepted| takes_html(accepted.to_str().unwrap_or_default()))
        }
    }
}

fn takes_html(accept: &str) -> bool {
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html"))
}

/// Chooses the language: what the page says in its form's address (`?lang=de`), else what the browser asks for.
fn language(query: Option<&str>, headers: &HeaderMap) -> &'static Words {
    let pairs: Vec<(String, String)> =
        query.and_then(|query| serde_urlencoded::from_str(query).ok()).unwrap_or_default();
    let of_page = pairs.iter().find(|(name, _)| name == "lang").and_then(|(_, tag)| words::of_tag(tag));
    let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    of_page.or_else(|| preferred(asked)).unwrap_or_else(words::fallback)
}

/// Returns the best of the languages in an `Accept-Language` that there are words of.
fn preferred(accept: &str) -> Option<&'static Words> {
    let weighed = accept.split(',').take(LANGUAGES_MAX).filter_map(|item| {
        let (tag, parameters) = item.split_once(';').unwrap_or((item, ""));
        let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.parse::<f32>().ok())?;
        Some((words::of_tag(tag.trim())?, weight)).filter(|(_, weight)| *weight > 0.0)
    });
    // Of several that are wanted as much, the first.
    let better = |best: Option<(&'static Words, f32)>, one: (&'static Words, f32)| match best {
        Some(best) if best.1 >= one.1 => Some(best),
        _ => Some(one),
    };
    weighed.fold(None, better).map(|(words, _)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_browser_says_whether_a_person_will_see_the_answer() {
        let html = ("accept", "application/xhtml+xml, Text/HTML;q=0.9, */*;q=0.8");
        assert!(navigates(&headers(&[("sec-fetch-mode", "navigate")])));
        assert!(navigates(&headers(&[html])));
        for mode in ["cors", "no-cors", "same-origin", "websocket", ""] {
            assert!(!navigates(&headers(&[("sec-fetch-mode", mode), html])), "{mode}");
        }
        for accept in ["*/*", "application/json", "text/html5", "application/json;x=text/html"] {
            assert!(!navigates(&headers(&[("accept", accept)])), "{accept}");
        }
        assert!(!navigates(&HeaderMap::new()));
    }

    #[test]
    fn the_page_says_the_language_else_the_browser_does() {
        let chosen = |query: Option<&str>, accept| language(query, &headers(&[("accept-language", accept)])).tag();
        assert_eq!(chosen(Some("a=1&lang=fr-CA"), "de"), "fr");
        assert_eq!(chosen(Some("lang=xx"), "de"), "de");
        assert_eq!(chosen(Some("lang=%22%3E"), ""), "en");
        assert_eq!(chosen(None, "de-AT, en;q=0.8"), "de");
        assert_eq!(chosen(None, "xx, en;q=0.5, fr;q=0.7, de;q=0.7"), "fr");
        assert_eq!(chosen(None, "de;q=0, it;q=0.1"), "it");
        assert_eq!(chosen(None, "*, de;q=x"), "en");
        let many = "xx,".repeat(LANGUAGES_MAX) + "de";
        assert_eq!(preferred(&many).map(Words::tag), None);
    }
}
