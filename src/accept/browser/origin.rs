//! Which page a request comes from, and whether the form takes posts from there.

use std::sync::Arc;

use http::{HeaderMap, header};

use crate::config::{Config, PageForm, PageOrigin, Site};
use crate::lead::{FormId, SiteId};

/// A request from a page that may post the form.
#[derive(Clone, Copy)]
pub(in crate::accept) struct PageRequest<'a> {
    pub(in crate::accept) site: &'a Arc<Site>,
    pub(in crate::accept) form: &'a FormId,
    pub(super) page_form: &'a PageForm,
    /// The page's origin, as the configuration writes it.
    pub(super) origin: &'a PageOrigin,
    /// It named its origin itself, as every request does that a script may read the answer of.
    pub(super) is_cors: bool,
}

/// Tells whether a request comes from a page that may post this form.
///
/// The headers are read first, also where there is no such form, so that what takes long takes as long for any name. What
/// remains, looking for the form and its origins, is some hundred nanoseconds: a network hides that from one request, and limits
/// keep addresses from sending enough of them to see it.
pub(in crate::accept) fn page_request<'a>(
    headers: &HeaderMap,
    config: &'a Config,
    site: &SiteId,
    form: &'a FormId,
) -> Option<PageRequest<'a>> {
    let (named, is_cors) = named(headers)?;
    let site = config.sites.get(site)?;
    let page_form = site.page_forms.get(form)?;
    let origin = page_form.origins.iter().find(|origin| **origin == named)?;
    Some(PageRequest { site, form, page_form, origin, is_cors })
}

/// Tells whether a request that was refused names some page, and the form is one that pages may post: then its origin is what
/// was wrong.
pub(in crate::accept) fn is_other_page(
    headers: &HeaderMap,
    config: &Config,
    site: &SiteId,
    form: Option<&FormId>,
) -> bool {
    let is_from_page = headers.contains_key(header::ORIGIN) || headers.contains_key(header::REFERER);
    let of_pages = |form| config.sites.get(site).is_some_and(|site| site.page_forms.contains_key(form));
    is_from_page & form.is_some_and(of_pages)
}

/// Returns the origin a request names in `Origin`; only where it has none, that of its `Referer`.
fn named(headers: &HeaderMap) -> Option<(PageOrigin, bool)> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => Some((PageOrigin::parse(origin.to_str().ok()?).ok()?, true)),
        (None, _) => {
            let mut pages = headers.get_all(header::REFERER).iter();
            let (page, None) = (pages.next()?, pages.next()) else { return None };
            Some((PageOrigin::of_url(page.to_str().ok()?)?, false))
        }
        (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> Option<(String, bool)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        named(&map).map(|(origin, is_cors)| (origin.as_str().to_owned(), is_cors))
    }

    #[test]
    fn the_origin_goes_before_the_referer_and_neither_is_guessed() {
        let acme = |is_cors| Some(("https://acme.example".to_owned(), is_cors));
        let page = ("referer", "https://acme.example/contact?x=1");
        assert_eq!(of(&[("origin", "https://ACME.example:443")]), acme(true));
        assert_eq!(of(&[page]), acme(false));
        assert_eq!(
            of(&[("origin", "https://other.example"), page]).map(|(origin, _)| origin).as_deref(),
            Some("https://other.example")
        );
        for refused in [
            &[("origin", "null"), page][..],
            &[("origin", ""), page],
            &[("origin", "https://acme.example/"), page],
            &[("origin", "https://acme.example"), ("origin", "https://acme.example")],
            &[page, page],
            &[("referer", "/contact")],
            &[],
        ] {
            assert_eq!(of(refused), None, "{refused:?}");
        }
    }
}
