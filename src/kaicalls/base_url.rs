//! Where the API is: a URL that can't send a key over the open network.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

/// The API's address: `https`, or `http` to this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

/// Why text is no base URL. The text itself is not repeated: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBaseUrl {
    #[error("is not a URL")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("must begin with https://")]
    Scheme,
    #[error("must begin with https://; http:// is only for this machine (127.0.0.0/8, ::1, localhost)")]
    PlainHttp,
    #[error("must hold no user name or password")]
    Credentials,
    #[error("must hold no query and no fragment")]
    QueryOrFragment,
}

impl BaseUrl {
    /// Reads a base URL; a path in it is kept and stands before the API's own.
    pub fn parse(text: &str) -> Result<Self, InvalidBaseUrl> {
        let url = Url::parse(text).map_err(|error| InvalidBaseUrl::Malformed(Box::new(error)))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(InvalidBaseUrl::PlainHttp),
            _ => return Err(InvalidBaseUrl::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidBaseUrl::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidBaseUrl::QueryOrFragment);
        }
        Ok(Self(url))
    }

    /// Returns whether requests go out encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Returns the address of an endpoint; `path` begins with `/`.
    pub(super) fn endpoint(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({self})")
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_reached_encrypted_or_on_this_machine() {
        for good in [
            "https://www.kaicalls.com",
            "https://192.0.2.1:8443/base/",
            "http://127.0.0.1:8787",
            "http://127.9.9.9",
            "http://[::1]:80",
            "http://localhost:1",
        ] {
            assert!(BaseUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://www.kaicalls.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://0.0.0.0",
            "http://[::ffff:127.0.0.1]",
            "http://128.0.0.1",
        ] {
            assert!(matches!(BaseUrl::parse(bad), Err(InvalidBaseUrl::PlainHttp)), "{bad}");
        }
    }

    #[test]
    fn a_base_url_is_nothing_but_a_place() {
        let refused = |text| BaseUrl::parse(text).expect_err("refused");
        assert!(matches!(refused("www.kaicalls.com"), InvalidBaseUrl::Malformed(_)));
        assert!(matches!(refused("ftp://www.kaicalls.com"), InvalidBaseUrl::Scheme));
        assert!(matches!(refused("https://user@kaicalls.com"), InvalidBaseUrl::Credentials));
        assert!(matches!(refused("https://:secret@kaicalls.com"), InvalidBaseUrl::Credentials));
        assert!(matches!(refused("https://kaicalls.com/?a=1"), InvalidBaseUrl::QueryOrFragment));
        assert!(matches!(refused("https://kaicalls.com/#a"), InvalidBaseUrl::QueryOrFragment));
    }

    #[test]
    fn a_path_stands_before_the_endpoint() {
        let at = |text| BaseUrl::parse(text).expect("a base URL").endpoint("/api/v1").to_string();
        assert_eq!(at("https://kaicalls.example"), "https://kaicalls.example/api/v1");
        assert_eq!(at("https://kaicalls.example/"), "https://kaicalls.example/api/v1");
        assert_eq!(at("https://proxy.example/kaicalls/"), "https://proxy.example/kaicalls/api/v1");
    }
}
