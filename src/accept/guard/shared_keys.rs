//! Several sites with one key pair: which of them a request comes from.
//!
//! An agency may have one KaiCalls account for many sites, and KaiCalls' plugin shows nothing but the account's keys. So
//! the site is told by where the request says it comes from: by its host, and by its path where sites share that too.

use std::sync::Arc;

use http::header;

use super::host::{self, ComparableUrl};
use crate::accept::wire::RequestHead;
use crate::config::Site;
use crate::destination::KeyPair;
use crate::lead::FormId;

/// A site that has the key pair of a request: itself, or one of its forms.
#[derive(Clone, Copy)]
pub(in crate::accept) struct Holder<'a> {
    pub(in crate::accept) site: &'a Arc<Site>,
    pub(in crate::accept) form: Option<&'a FormId>,
    /// The pair that the request came with.
    pub(in crate::accept) keys: &'a KeyPair,
}

/// The site that a request belongs to.
pub(in crate::accept) struct SiteOwner<'a> {
    /// The first by name where it is ambiguous.
    pub(in crate::accept) holder: Holder<'a>,
    /// It could come from another holder as well.
    pub(in crate::accept) is_ambiguous: bool,
}

/// Finds the holder that a request comes from; none where nobody has its keys.
pub(in crate::accept) fn owner<'a>(holders: &[Holder<'a>], head: &RequestHead) -> Option<SiteOwner<'a>> {
    let &first = holders.first()?;
    if holders.len() == 1 {
        return Some(SiteOwner { holder: first, is_ambiguous: false });
    }
    let mut left: Option<Vec<Holder<'a>>> = None;
    for named in sources(head) {
        let fitting = fitting(holders, &named);
        if fitting.is_empty() {
            // A proxy's or a builder's address says nothing of which of our sites it is.
            continue;
        }
        let is_fitting = |one: &Holder<'a>| fitting.iter().any(|other| other.site.id == one.site.id);
        match &mut left {
            Some(left) => left.retain(is_fitting),
            None => left = Some(fitting),
        }
    }
    match left.as_deref() {
        Some(&[holder]) => Some(SiteOwner { holder, is_ambiguous: false }),
        _ => Some(SiteOwner { holder: first, is_ambiguous: true }),
    }
}

/// Where a request says it comes from.
struct RequestOrigin {
    place: ComparableUrl,
    /// Its path is that of the site. `Origin` has none, and browsers cut that of `Referer` for other hosts.
    has_path: bool,
}

fn sources(head: &RequestHead) -> Vec<RequestOrigin> {
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let own = head.host().map(host::comparable);
    let of_browser = |name| {
        let place = text(name).and_then(host::place).filter(|place| Some(&place.host) != own.as_ref())?;
        Some(RequestOrigin { has_path: !place.path.is_empty(), place })
    };
    let server = text(header::USER_AGENT).and_then(host::server).and_then(host::place);
    let server = server.map(|place| RequestOrigin { place, has_path: true });
    [server, of_browser(header::ORIGIN), of_browser(header::REFERER)].into_iter().flatten().collect()
}

/// Returns the holders whose host is named; of several those whose path leads deepest into what is named.
fn fitting<'a>(holders: &[Holder<'a>], source: &RequestOrigin) -> Vec<Holder<'a>> {
    let on_host: Vec<_> =
        holders.iter().copied().filter(|holder| is_on_host(holder.site, &source.place.host)).collect();
    if !source.has_path || on_host.len() < 2 {
        return on_host;
    }
    let depth = |holder: &Holder<'a>| depth(holder.site, &source.place);
    let deepest = on_host.iter().filter_map(depth).max();
    let below = on_host.iter().copied().filter(|holder| deepest.is_some() && depth(holder) == deepest);
    let below: Vec<_> = below.collect();
    if below.is_empty() { on_host } else { below }
}

fn is_on_host(site: &Site, host: &str) -> bool {
    site.hosts.iter().any(|own| host::comparable(own) == host)
        || site.url.as_deref().and_then(host::place).is_some_and(|own| own.host == host)
}

/// Returns how many parts the path of a site has that a place is below; none where it is not below it. A site that is
/// known by `hosts` alone has the whole host.
fn depth(site: &Site, place: &ComparableUrl) -> Option<usize> {
    match site.url.as_deref().and_then(host::place).filter(|own| own.host == place.host) {
        Some(own) => place.path.starts_with(&own.path).then_some(own.path.len()),
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::{HeaderMap, HeaderName, Method};

    use super::*;
    use crate::accept::wire::Framing;
    use crate::destination::Secret;
    use crate::lead::SiteId;
    use crate::pipeline::SiteRules;

    fn site(id: &str, url: Option<&str>, hosts: &[&str]) -> Arc<Site> {
        Arc::new(Site {
            id: SiteId::parse(id).expect("a slug"),
            name: None,
            url: url.map(str::to_owned),
            keys: Some(KeyPair::new("wp_pk_a", &Secret::new("wp_sk_a".to_owned())).expect("keys")),
            lacks_signature_secret: false,
            form_keys: BTreeMap::new(),
            page_forms: BTreeMap::new(),
            tokens: Vec::new(),
            wpforms_secrets: Vec::new(),
            deliver: true,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            rules: SiteRules::default(),
            notify: crate::config::SiteNotify::default(),
            file: "sites/a.toml".into(),
        })
    }

    /// Returns the id of the site that a request is of; none where that is ambiguous.
    fn whose(sites: &[Arc<Site>], headers: &[(&str, &str)]) -> Option<String> {
        let holder = |site| Holder { site, form: None, keys: Site::key_pairs(site).next().expect("keys").1 };
        let holders: Vec<_> = sites.iter().map(holder).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().chain(&[("host", "gateway.example:8443")]) {
            map.insert(HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
        }
        let path = "/".to_owned();
        let framing = Framing::None;
        let expects_continue = false;
        let head = RequestHead { method: Method::POST, path, query: None, headers: map, framing, expects_continue };
        let owner = owner(&holders, &head).expect("there are holders");
        (!owner.is_ambiguous).then(|| owner.holder.site.id.to_string())
    }

    fn agent(url: &str) -> (&'static str, String) {
        ("user-agent", format!("WordPress/7.1; {url}"))
    }

    #[test]
    fn a_site_is_known_by_its_host_however_it_is_written() {
        let sites = [
            site("a", Some("https://www.a.example"), &[]),
            site("b", None, &["b.example", "bücher.example"]),
            site("c", None, &[]),
        ];
        for (url, expected) in [
            ("https://a.example", Some("a")),
            ("HTTP://WWW.A.Example.:8080/shop?x=1", Some("a")),
            ("https://b.example", Some("b")),
            ("https://xn--bcher-kva.example", Some("b")),
            ("https://a.example.evil.example", None),
            ("https://staging.a.example", None),
            ("a.example", None),
        ] {
            let (name, value) = agent(url);
            assert_eq!(whose(&sites, &[(name, &value)]).as_deref(), expected, "{url}");
            assert_eq!(whose(&sites, &[("origin", url)]).as_deref(), expected, "{url}");
            assert_eq!(whose(&sites, &[("referer", url)]).as_deref(), expected, "{url}");
        }
        assert_eq!(whose(&sites, &[]), None);
        assert_eq!(whose(&sites, &[("origin", "null"), ("user-agent", "curl/8")]), None);
        assert_eq!(whose(&sites[..1], &[]).as_deref(), Some("a"), "nobody shares its keys");
    }

    #[test]
    fn sites_of_one_host_are_known_by_their_paths() {
        let [root, berlin, bonn] = [("root", ""), ("berlin", "/berlin/"), ("bonn", "/de/bonn")]
            .map(|(id, path)| site(id, Some(&format!("https://a.example{path}")), &["a.example"]));
        let cities = [berlin.clone(), bonn.clone()];
        let all = [root, berlin, bonn];
        for (url, of_cities, of_all) in [
            ("https://a.example/berlin", Some("berlin"), Some("berlin")),
            ("https://a.example/Berlin/contact", Some("berlin"), Some("berlin")),
            ("https://a.example/de/bonn", Some("bonn"), Some("bonn")),
            ("https://a.example/berlin2", None, Some("root")),
            ("https://a.example", None, Some("root")),
        ] {
            let (name, value) = agent(url);
            let headers = [(name, value.as_str())];
            assert_eq!(whose(&cities, &headers).as_deref(), of_cities, "{url}");
            assert_eq!(whose(&all, &headers).as_deref(), of_all, "{url}");
        }
    }

    #[test]
    fn what_says_more_decides_and_what_contradicts_does_not() {
        let sites = [
            site("a", Some("https://a.example"), &[]),
            site("b", Some("https://b.example/x"), &[]),
            site("c", Some("https://b.example/y"), &[]),
        ];
        let (name, of_a) = agent("https://a.example");
        assert_eq!(whose(&sites, &[(name, &of_a), ("origin", "https://cdn.example")]).as_deref(), Some("a"));
        assert_eq!(whose(&sites, &[(name, &of_a), ("origin", "https://b.example")]), None);
        assert_eq!(whose(&sites, &[("origin", "https://b.example")]), None);
        let referer = ("referer", "https://b.example/y/contact");
        assert_eq!(whose(&sites, &[("origin", "https://b.example"), referer]).as_deref(), Some("c"));
        assert_eq!(
            whose(&sites, &[("referer", "https://gateway.example:8443/api"), (name, &of_a)]).as_deref(),
            Some("a")
        );
    }
}
