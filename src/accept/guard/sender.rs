//! Who sent a post that was refused: for the operator, who has to find the plugin that has the wrong URL.

use http::{HeaderMap, HeaderName, header};

use super::host::{comparable, host, server};
use crate::queue::activity::Sender;
use crate::received::HEADER_MAX;

/// Reads who sends: the host is the one in the user agent, else that of the origin, else that of the referer.
pub(in crate::accept) fn sender(headers: &HeaderMap) -> Sender {
    let agent = text(headers, header::USER_AGENT);
    // The host the request was sent to: some HTTP clients name that as their referer.
    let own = text(headers, header::HOST).map(comparable);
    let page = |name| text(headers, name).and_then(host).filter(|host| Some(host) != own.as_ref());
    let named = agent.and_then(server).and_then(host).or_else(|| page(header::ORIGIN));
    Sender::new(named.or_else(|| page(header::REFERER)).as_deref(), agent)
}

/// Returns the text of a header, where it is no longer than what is kept of one.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).filter(|value| value.len() <= HEADER_MAX).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn told(headers: &[(HeaderName, &str)]) -> (Option<String>, Option<String>) {
        let value = |text: &str| HeaderValue::from_str(text).expect("a value");
        let mut headers: HeaderMap = headers.iter().map(|(name, text)| (name.clone(), value(text))).collect();
        headers.insert(header::HOST, value("gate.agency.example:8443"));
        let sender = sender(&headers);
        (sender.host().map(str::to_owned), sender.agent().map(str::to_owned))
    }

    #[test]
    fn the_host_is_the_one_that_the_sender_is_most_likely_of() {
        let agent = (header::USER_AGENT, "WordPress/7.1; https://www.acme.example/blog");
        let origin = (header::ORIGIN, "https://origin.example");
        let referer = (header::REFERER, "https://referer.example/contact?email=jane@example.com");
        let host = |headers: &[_]| told(headers).0;
        assert_eq!(host(&[agent.clone(), origin.clone(), referer.clone()]).as_deref(), Some("acme.example"));
        assert_eq!(told(&[agent]).1.as_deref(), Some("WordPress/7.1; https://www.acme.example/blog"));
        assert_eq!(host(&[origin, referer.clone()]).as_deref(), Some("origin.example"));
        assert_eq!(host(&[(header::USER_AGENT, "curl/8"), referer]).as_deref(), Some("referer.example"));
        assert_eq!(host(&[(header::USER_AGENT, "WordPress/7.1; https://203.0.113.5")]), None);
        assert_eq!(
            host(&[(header::REFERER, "https://gate.agency.example:8443/hooks/acme")]),
            None,
            "where it was sent to"
        );
        assert_eq!(told(&[]), (None, None));
        let long = format!("https://{}.example", "a".repeat(HEADER_MAX));
        assert_eq!(told(&[(header::USER_AGENT, &long), (header::REFERER, &long)]), (None, None));
    }
}
