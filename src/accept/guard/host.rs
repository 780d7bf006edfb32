//! Which host a submission says it comes from: a copy of a site, made for trying things out, posts as the site does.

use crate::http::without_port;
use crate::received::Received;

/// How the server side of a WordPress site names itself: `WordPress/<version>; <address of the site>`.
const SERVER: &str = "WordPress/";

/// Tells whether a submission names a host that is none of a site's. One that names none is nobody else's.
///
/// `own` is the host the request was sent to: some HTTP clients name that as their referer.
pub(in crate::accept) fn is_other(
    hosts: &[String],
    received: &Received,
    page: Option<&str>,
    own: Option<&str>,
) -> bool {
    if hosts.is_empty() {
        return false;
    }
    let server = received.header("user-agent").and_then(server);
    let from_browser = ["referer", "origin"].map(|name| received.header(name).and_then(host));
    let own = own.map(comparable);
    let named = [server.and_then(host), page.and_then(host)];
    let named = named.into_iter().chain(from_browser.into_iter().filter(|host| *host != own)).flatten();
    let hosts: Vec<String> = hosts.iter().map(|host| comparable(host)).collect();
    named.into_iter().any(|named| !hosts.contains(&named))
}

/// Returns the address by which the server side of a WordPress site names itself in its user agent.
pub(super) fn server(user_agent: &str) -> Option<&str> {
    let (_version, site) = user_agent.strip_prefix(SERVER)?.split_once(';')?;
    site.split(';').next()
}

/// Returns the host of a URL, where it is one.
pub(super) fn host(url: &str) -> Option<String> {
    place(url).map(|place| place.host)
}

/// A URL reduced to host and path, for comparison with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::accept) struct ComparableUrl {
    pub(super) host: String,
    /// The parts of its path, in lower case.
    pub(super) path: Vec<String>,
}

/// Takes host and path out of a URL, where it is one.
pub(super) fn place(url: &str) -> Option<ComparableUrl> {
    let end = url.find('#').unwrap_or(url.len());
    let url = url.get(..end)?.trim();
    let (scheme, rest) = url.split_once("://")?;
    let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let rest = rest.split('?').next().filter(|_| is_web)?;
    let (authority, path) = rest.split_once(['/', '\\']).unwrap_or((rest, ""));
    let authority = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
    let path = path.split(['/', '\\']).filter(|part| !part.is_empty()).map(str::to_lowercase).collect();
    (!authority.is_empty()).then(|| ComparableUrl { host: comparable(authority), path })
}

/// Makes a host comparable: without port and the final dot, in lower case and ASCII; `www.` is no other host.
pub(super) fn comparable(authority: &str) -> String {
    let name = without_port(authority).trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let ascii = idna::domain_to_ascii(name).unwrap_or_else(|_no_domain| name.to_lowercase());
    ascii.strip_prefix("www.").unwrap_or(&ascii).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(headers: &[(&str, &str)], page: Option<&str>) -> bool {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let received = Received { headers, ..Received::default() };
        let hosts =
            ["acme.example".to_owned(), "bücher.example".to_owned(), "10.0.0.1".to_owned(), "2001:db8::1".to_owned()];
        is_other(&hosts, &received, page, Some("gateway.example:8443"))
    }

    #[test]
    fn a_copy_of_the_site_is_known_by_what_it_says() {
        assert!(other(&[("user-agent", "WordPress/6.9; https://staging.acme.example")], None));
        assert!(other(&[("referer", "https://acme.staging.example/contact")], None));
        assert!(other(&[("origin", "https://acme.staging.example")], None));
        assert!(other(&[], Some("http://acme.example.local/contact?x=1")));
        assert!(other(&[("user-agent", "WordPress/6.9; https://acme.example")], Some("https://staging.example/")));
        assert!(other(&[], Some("https://acme.example@staging.example/")));
        assert!(other(&[], Some("https://gateway.example/")), "a page is no referer");
    }

    #[test]
    fn the_site_itself_is_known_however_it_is_written() {
        for site in [
            "https://acme.example",
            "HTTPS://WWW.Acme.Example.:8443/shop",
            "http://acme.example?a=https://b.example",
            "https://acme.example#@b.example",
            "https://xn--bcher-kva.example/",
            "https://BÜCHER.example:8080/",
            "http://[2001:DB8::1]:8080/",
            "http://[2001:db8::1]/",
            "http://10.0.0.1:8080",
        ] {
            assert!(!other(&[("user-agent", &format!("WordPress/6.9; {site}"))], None), "{site}");
            assert!(!other(&[("referer", site)], Some(site)), "{site}");
        }
    }

    #[test]
    fn what_names_no_host_is_no_others() {
        assert!(!other(&[], None));
        assert!(!other(&[("user-agent", "wpforms-webhooks/1.4.0"), ("origin", "null")], Some("/contact")));
        assert!(!other(&[("user-agent", "WordPress/6.9"), ("referer", "about:blank")], Some("Contact us")));
        assert!(!other(&[("referer", "https://gateway.example:8443/hooks/acme")], None), "where it was sent to");
        let received =
            Received { headers: [("referer".into(), "https://x.example".into())].into(), ..Received::default() };
        assert!(!is_other(&[], &received, None, None), "no hosts are set");
    }
}
