//! Posting a captured request to a hook, and reading the gateway's answer.

use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub(in crate::cli) use reqwest::{Client, RequestBuilder, Response};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::cli::capture::Capture;
use crate::received::SplitQuery;

/// Longest time for one request, from the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// What a captured query may hold that a URL may not. `%` stays: the query is encoded already.
const RAW: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'`');

/// Headers of one connection or one server, or a credential: none is the visitor's.
const LEFT_OUT: [&str; 18] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
    "authorization",
    "x-formgate-token",
    "cookie",
    "accept-encoding",
    "via",
    "forwarded",
];

/// A hook to post to, and the token that lets in.
///
/// No `Debug`: URL and token are credentials.
#[derive(Clone)]
pub(in crate::cli) struct Hook {
    url: Url,
    token: Option<HeaderValue>,
}

/// Why there is no hook.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum BadHook {
    #[error("not a URL such as https://gateway.example/hooks/acme")]
    Url,
    #[error("a token can only have visible ASCII characters")]
    Token,
}

/// The gateway's answer to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct GatewayAnswer {
    pub(in crate::cli) code: u16,
    /// `queued`, `held` or `duplicate`, where it is a success.
    pub(in crate::cli) status: Option<String>,
    pub(in crate::cli) id: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum PostError {
    #[error("the gateway can't be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the captured method or a header can't be sent")]
    NotSendable,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AnswerBody {
    id: Option<String>,
    status: serde_json::Value,
}

impl Hook {
    /// Reads a hook's URL; a token may be in it as `?token=`.
    pub(in crate::cli) fn new(url: &str, token: Option<&str>) -> Result<Self, BadHook> {
        let url: Url = url.parse().map_err(|_invalid| BadHook::Url)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(BadHook::Url);
        }
        let token = token.map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            Ok::<_, reqwest::header::InvalidHeaderValue>(value)
        });
        Ok(Self { url, token: token.transpose().map_err(|_invalid| BadHook::Token)? })
    }

    pub(in crate::cli) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Returns where a capture is posted: its own query, but for a token of elsewhere, follows the hook's.
    fn url_for(&self, capture: &Capture) -> Url {
        let mut at = capture.target.splitn(2, |byte| *byte == b'?');
        let raw = at.nth(1).map(|query| percent_encode(query, RAW).to_string());
        let Some(kept) = SplitQuery::of(raw.as_deref()).kept else { return self.url.clone() };
        let mut url = self.url.clone();
        let query = url.query().map_or_else(|| kept.clone(), |own| format!("{own}&{kept}"));
        url.set_query(Some(&query));
        url
    }
}

/// Builds a client for posting: no redirects, no proxy, nothing repeated.
pub(in crate::cli) fn client(needs_tls: bool) -> Result<Client, reqwest::Error> {
    let builder = builder();
    // Without TLS no certificates are needed, and a small container may have none to load.
    if needs_tls { builder.build() } else { builder.tls_certs_only([]).build() }
}

/// Builds a client whose requests go through a Unix socket, whatever host they name.
pub(in crate::cli) fn socket_client(socket: &Path) -> Result<Client, reqwest::Error> {
    builder().tls_certs_only([]).unix_socket(socket).build()
}

/// Begins a client: no redirects, no proxy, nothing repeated.
pub(in crate::cli) fn builder() -> reqwest::ClientBuilder {
    // A second installation is refused and does no harm.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .timeout(TIMEOUT)
}

/// Posts a captured request as the plugin did: its method, query, own headers and body.
pub(in crate::cli) async fn post(client: &Client, hook: &Hook, capture: &Capture) -> Result<GatewayAnswer, PostError> {
    let method = Method::from_bytes(capture.method.as_bytes()).map_err(|_invalid| PostError::NotSendable)?;
    let mut headers = headers(capture).ok_or(PostError::NotSendable)?;
    if let Some(token) = &hook.token {
        headers.insert(reqwest::header::AUTHORIZATION, token.clone());
    }
    let mut request = client.request(method, hook.url_for(capture)).headers(headers);
    if !capture.body.is_empty() {
        request = request.body(capture.body.clone());
    }
    let mut response = request.send().await.map_err(unreachable)?;
    let code = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX {
            break;
        }
    }
    let read: AnswerBody = serde_json::from_slice(&body).unwrap_or_default();
    Ok(GatewayAnswer { code, status: read.status.as_str().map(str::to_owned), id: read.id })
}

/// The URL may hold a token: it is taken out of the error.
fn unreachable(error: reqwest::Error) -> PostError {
    PostError::Unreachable(error.without_url())
}

/// Returns the headers that are sent on, or none where one can't be.
fn headers(capture: &Capture) -> Option<HeaderMap> {
    let connection = capture.header("connection").unwrap_or_default();
    let named = String::from_utf8_lossy(connection).to_ascii_lowercase();
    let named: Vec<&str> = named.split(',').map(str::trim).collect();
    let mut headers = HeaderMap::new();
    for (name, value) in &capture.headers {
        let name = name.to_ascii_lowercase();
        if LEFT_OUT.contains(&name.as_str()) || named.contains(&name.as_str()) {
            continue;
        }
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(bytes: &[u8]) -> Capture {
        Capture::parse(bytes).unwrap_or_else(|bad| panic!("{bad}"))
    }

    #[test]
    fn the_captured_query_follows_the_hooks_without_its_token() {
        let url =
            |hook: &str, bytes: &[u8]| Hook::new(hook, None).expect("a hook").url_for(&capture(bytes)).to_string();
        let get = b"GET /a?form=x+y&token=fg_old&n=caf\xe9%20\"#1 HTTP/1.1\r\n\r\n";
        assert_eq!(url("http://g/hooks/acme", get), "http://g/hooks/acme?form=x+y&n=caf%E9%20%22%231");
        assert_eq!(
            url("http://g/hooks/acme?token=fg_t", b"GET /a?b=1 HTTP/1.1\r\n\r\n"),
            "http://g/hooks/acme?token=fg_t&b=1"
        );
        assert_eq!(url("http://g/hooks/acme", b"POST /a HTTP/1.1\r\n\r\n"), "http://g/hooks/acme");
    }

    #[test]
    fn headers_of_the_connection_and_credentials_stay_behind() {
        let captured = capture(
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nAuthorization: Bearer fg_t\r\nX-Formgate-Token: fg_t\r\nExpect: 100-continue\r\nContent-Length: 0\r\nUser-Agent: caf\xe9\r\nX-WPForms-Signature: s\r\n\r\n",
        );
        let kept = headers(&captured).expect("headers");
        let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["user-agent", "x-wpforms-signature"]);
        assert_eq!(kept["user-agent"].as_bytes(), b"caf\xe9");
    }

    #[test]
    fn only_the_web_has_hooks() {
        for bad in ["", "gateway", "ftp://g/hooks/a", "http://"] {
            assert!(Hook::new(bad, None).is_err(), "{bad}");
        }
        assert!(Hook::new("http://g", Some("a\nb")).is_err());
        assert!(Hook::new("https://g", Some("fg_t")).is_ok_and(|hook| hook.is_https()));
    }
}
