//! The origin of a web page, as browsers name it in `Origin`: scheme, host and port.

use std::net::Ipv6Addr;

/// An origin in the one way in which browsers write it: in lower case, its host in ASCII, the scheme's own port left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOrigin(String);

/// Why text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPageOrigin {
    #[error("is not an origin such as \"https://acme.example\"")]
    Malformed,
    #[error("must be https:// or http://")]
    Scheme,
    #[error("has more than scheme, host and port")]
    Path,
    #[error("stands for any origin, which would let every website post")]
    Any,
    #[error("stands for pages without an origin, such as files and sandboxed frames")]
    Null,
}

impl PageOrigin {
    /// Reads an origin and nothing more.
    pub fn parse(text: &str) -> Result<Self, InvalidPageOrigin> {
        match text {
            "*" => return Err(InvalidPageOrigin::Any),
            "null" => return Err(InvalidPageOrigin::Null),
            _ => {}
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidPageOrigin::Malformed)?;
        if rest.contains(['/', '?', '#', '\\']) {
            return Err(InvalidPageOrigin::Path);
        }
        Self::of(scheme, rest)
    }

    /// Returns the origin of the page with this address, where it has one.
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#', '\\']).next()?;
        Self::of(scheme, authority).ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns its host, an IPv6 address in brackets.
    pub(super) fn host(&self) -> &str {
        let authority = self.0.split_once("://").map_or("", |(_scheme, authority)| authority);
        match authority.rsplit_once(':') {
            Some((host, _port)) if !host.starts_with('[') || host.ends_with(']') => host,
            _ => authority,
        }
    }

    /// Tells whether what is sent from its pages can be read and changed on the way.
    pub(super) fn is_in_clear(&self) -> bool {
        let host = self.host();
        let is_here =
            host == "localhost" || host.ends_with(".localhost") || host == "[::1]" || host.starts_with("127.");
        self.0.starts_with("http://") && !is_here
    }

    fn of(scheme: &str, authority: &str) -> Result<Self, InvalidPageOrigin> {
        let scheme = scheme.to_ascii_lowercase();
        let own_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return Err(InvalidPageOrigin::Scheme),
        };
        let (host, port) = match authority.rsplit_once(':') {
            // Of an IPv6 address the last part is no port.
            Some((host, port)) if !host.starts_with('[') || host.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = port.map(number).transpose()?.filter(|port| *port != own_port);
        let host = self::host(host)?;
        Ok(Self(port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"))))
    }
}

fn number(port: &str) -> Result<u16, InvalidPageOrigin> {
    let is_plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|port| is_plain && *port != 0);
    number.ok_or(InvalidPageOrigin::Malformed)
}

fn host(text: &str) -> Result<String, InvalidPageOrigin> {
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_no_address| InvalidPageOrigin::Malformed)?;
        return Ok(format!("[{address}]"));
    }
    let ascii = idna::domain_to_ascii(text).map_err(|_no_domain| InvalidPageOrigin::Malformed)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_host = !ascii.is_empty() && ascii.bytes().all(is_plain);
    is_host.then_some(ascii).ok_or(InvalidPageOrigin::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Result<String, InvalidPageOrigin> {
        PageOrigin::parse(text).map(|origin| origin.as_str().to_owned())
    }

    #[test]
    fn an_origin_is_written_in_one_way() {
        for (text, written) in [
            ("https://acme.example", "https://acme.example"),
            ("HTTPS://Acme.Example:443", "https://acme.example"),
            ("http://acme.example:80", "http://acme.example"),
            ("https://acme.example:80", "https://acme.example:80"),
            ("https://acme.example:08443", "https://acme.example:8443"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[0:0::1]:3000", "http://[::1]:3000"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(written), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_origin_is_told_why() {
        use InvalidPageOrigin::{Any, Malformed, Null, Path, Scheme};
        for (text, why) in [
            ("*", Any),
            ("null", Null),
            ("acme.example", Malformed),
            ("", Malformed),
            ("https://", Malformed),
            ("https://acme.example/", Path),
            ("https://acme.example?x", Path),
            ("https://acme.example\\@evil.example", Path),
            ("ftp://acme.example", Scheme),
            ("https://user@acme.example", Malformed),
            ("https://*.acme.example", Malformed),
            ("https://acme.example:", Malformed),
            ("https://acme.example:0", Malformed),
            ("https://acme.example:65536", Malformed),
            ("https://acme.example:+80", Malformed),
            ("https://acme.example, https://evil.example", Path),
            ("https://acme example", Malformed),
            ("https://[::1", Malformed),
            ("https://::1", Malformed),
        ] {
            assert_eq!(origin(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_pages_address_has_its_origin() {
        let of = |url| PageOrigin::of_url(url).map(|origin| origin.as_str().to_owned());
        let acme = Some("https://acme.example".to_owned());
        for url in ["https://acme.example", "https://ACME.example:443/contact?x=1#y", "https://acme.example?x=://b"] {
            assert_eq!(of(url), acme, "{url}");
        }
        for other in
            ["https://acme.example@evil.example/", "https://acme.example.evil.example/", "http://acme.example/"]
        {
            assert_ne!(of(other), acme, "{other}");
        }
        assert_eq!(["about:blank", "", "/contact", "file:///x"].map(of), [const { None }; 4]);
    }

    #[test]
    fn pages_of_this_machine_are_no_worry_without_encryption() {
        let in_clear = |text| PageOrigin::parse(text).expect("an origin").is_in_clear();
        assert!(in_clear("http://acme.example:8080") && in_clear("http://localhost.example"));
        for here in ["https://acme.example", "http://localhost:3000", "http://127.0.0.1", "http://[::1]:80"] {
            assert!(!in_clear(here), "{here}");
        }
    }
}
