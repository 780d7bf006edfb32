//! Where leads go, as whom, and what came of it: the API's base URL, a site's key pair, a verdict, when a server wants to
//! be asked again; and which addresses are public. A leaf, shared by the configuration, the client, the sender and the
//! notifier.

mod public_address;

mod retry_after;

mod verdict;

use std::fmt;
use std::net::IpAddr;

pub use public_address::is_public;
pub use retry_after::{RetryAfter, parse_http_date};
pub use verdict::{ASKED_WAIT_MAX, Failed, Judged, Symptom, Verdict};

/// Text that no log, error or `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text; for comparing, signing and sending only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A site's keys at KaiCalls: `wp_pk_…` names the business, `wp_sk_…` proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    public: String,
    secret: Secret,
}

/// Why a text isn't a KaiCalls key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKaiCallsKey {
    #[error("must begin with {0}")]
    Prefix(&'static str),
    #[error("must have more than its prefix, and at most {KEY_MAX} characters")]
    Length,
    #[error("must hold only letters, digits and -._~+/=")]
    Characters,
}

/// Longest key, in bytes; the real ones have some fifty.
const KEY_MAX: usize = 256;

impl KeyPair {
    /// Pairs two keys that [`KeyPair::check_public`] and [`KeyPair::check_secret`] find well formed.
    pub fn new(public: &str, secret: &Secret) -> Result<Self, InvalidKaiCallsKey> {
        Self::check_public(public)?;
        Self::check_secret(secret)?;
        Ok(Self { public: public.to_owned(), secret: secret.clone() })
    }

    pub fn check_public(key: &str) -> Result<(), InvalidKaiCallsKey> {
        check_key(key, "wp_pk_")
    }

    pub fn check_secret(key: &Secret) -> Result<(), InvalidKaiCallsKey> {
        check_key(key.expose(), "wp_sk_")
    }

    pub fn public(&self) -> &str {
        &self.public
    }

    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns `pk:sk`, the token of the `Authorization` header.
    pub fn bearer(&self) -> Secret {
        Secret(format!("{}:{}", self.public, self.secret.0))
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(..)")
    }
}

/// Checks that a key has its prefix and that a `Bearer` token can hold it.
pub(crate) fn check_key(key: &str, prefix: &'static str) -> Result<(), InvalidKaiCallsKey> {
    let rest = key.strip_prefix(prefix).ok_or(InvalidKaiCallsKey::Prefix(prefix))?;
    if rest.is_empty() || key.len() > KEY_MAX {
        return Err(InvalidKaiCallsKey::Length);
    }
    // None of these ends the header, and none is the colon that joins a pair.
    let plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    plain.then_some(()).ok_or(InvalidKaiCallsKey::Characters)
}

/// An API's origin: `https://host[:port]`, or `http://` where the host is this machine's loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

/// Why text is no base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBaseUrl {
    #[error("is not a URL such as \"https://www.kaicalls.com\"")]
    Malformed,
    #[error("must be https, so that keys and leads are encrypted (http is for 127.0.0.1, ::1 and localhost)")]
    Insecure,
    #[error("must be only scheme and host: no path, query or user")]
    NotAnOrigin,
}

impl BaseUrl {
    /// Reads an origin; a slash at its end is ignored.
    pub fn parse(text: &str) -> Result<Self, InvalidBaseUrl> {
        let uri: http::Uri = text.parse().map_err(|_invalid| InvalidBaseUrl::Malformed)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(InvalidBaseUrl::Malformed)?;
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if has_user || uri.query().is_some() || !matches!(uri.path(), "" | "/") || text.contains('#') {
            return Err(InvalidBaseUrl::NotAnOrigin);
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host) => {}
            Some("http") => return Err(InvalidBaseUrl::Insecure),
            _ => return Err(InvalidBaseUrl::Malformed),
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Ok(Self(format!("{}://{authority}", uri.scheme_str().unwrap_or("https"))))
    }

    /// Tells whether requests go out encrypted.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Returns the URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Tells whether a URL's host is this machine's loopback.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_travel_encrypted_or_not_at_all() {
        for good in ["https://www.kaicalls.com", "https://x.example:8443/", "http://127.0.0.1:9090", "http://[::1]:1"] {
            assert!(BaseUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://www.kaicalls.com", InvalidBaseUrl::Insecure),
            ("http://127.0.0.1.example", InvalidBaseUrl::Insecure),
            ("https://u:p@x.example", InvalidBaseUrl::NotAnOrigin),
            ("https://x.example/api", InvalidBaseUrl::NotAnOrigin),
            ("https://x.example?a", InvalidBaseUrl::NotAnOrigin),
            ("ftp://x.example", InvalidBaseUrl::Malformed),
            ("x.example", InvalidBaseUrl::Malformed),
            ("", InvalidBaseUrl::Malformed),
        ] {
            assert_eq!(BaseUrl::parse(bad).err(), Some(why), "{bad}");
        }
    }

    #[test]
    fn keys_are_known_by_their_prefix_and_shown_nowhere() {
        let secret = Secret::new("wp_sk_hush".to_owned());
        let pair = KeyPair::new("wp_pk_a", &secret).expect("keys");
        assert_eq!(pair.bearer().expose(), "wp_pk_a:wp_sk_hush");
        assert!(!format!("{pair:?} {secret:?}").contains("hush"));
        assert_eq!(KeyPair::check_public("wp_sk_a"), Err(InvalidKaiCallsKey::Prefix("wp_pk_")));
        assert_eq!(KeyPair::check_public("wp_pk_"), Err(InvalidKaiCallsKey::Length));
        assert_eq!(KeyPair::check_public(&format!("wp_pk_{}", "x".repeat(KEY_MAX))), Err(InvalidKaiCallsKey::Length));
        for bad in ["wp_pk_a b", "wp_pk_a\n", "wp_pk_a:b", "wp_pk_ä", "wp_pk_a\0"] {
            assert_eq!(KeyPair::check_public(bad), Err(InvalidKaiCallsKey::Characters), "{bad:?}");
        }
    }
}
