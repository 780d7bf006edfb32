//! Whether a request comes from a page of this listener: no other site may send one in an operator's name.

use http::{HeaderMap, header};

use crate::config::Admin;

/// Tells whether `Origin` names the same authority as `Host`, or a configured name.
///
/// Browsers send it with every POST. Of pages with `Referrer-Policy: no-referrer` it would be `null`, so that ours say
/// `same-origin` (Fetch, "append a request Origin header"). A cookie's `SameSite` alone would let in another port of the
/// same machine.
pub(in crate::admin) fn is_own(headers: &HeaderMap, admin: &Admin) -> bool {
    let one = |name| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    };
    let Some((_, authority)) = one(header::ORIGIN).and_then(|origin| origin.split_once("://")) else { return false };
    let is_host = one(header::HOST).is_some_and(|host| host.eq_ignore_ascii_case(authority));
    is_host || admin.hosts.iter().any(|own| own.eq_ignore_ascii_case(authority))
}

/// Tells whether the browser speaks TLS, to a proxy before us: it says so itself.
pub(super) fn is_secure(headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_listener_are_its_own() {
        let admin = Admin { hosts: vec!["ops.example".to_owned()], ..Admin::default() };
        let is_own = |origin: Option<&str>, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a value"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            }
            is_own(&headers, &admin)
        };
        assert!(is_own(Some("http://localhost:8081"), "localhost:8081"));
        assert!(is_own(Some("https://Ops.example"), "127.0.0.1:8081"), "behind a proxy that changes Host");
        for (origin, host) in [
            (Some("http://localhost:3000"), "localhost:8081"),
            (Some("http://localhost"), "localhost:8081"),
            (Some("https://ops.example:444"), "127.0.0.1:8081"),
            (Some("https://evil.example"), "localhost:8081"),
            (Some("null"), "localhost:8081"),
            (None, "localhost:8081"),
        ] {
            assert!(!is_own(origin, host), "{origin:?} {host}");
        }
    }
}
