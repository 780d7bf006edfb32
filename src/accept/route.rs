//! What a path and a method ask for. Knows no site: an unknown one is found out with its credential, not before.

use http::Method;

use super::wire::{Framing, RequestHead};
use crate::lead::{FormId, SiteId};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A submission to `/hooks/{site}[/{form}]`.
    Hook { site: SiteId, form: Option<FormId> },
    /// `OPTIONS` of a form: a browser may be asking for a page's script.
    Preflight { site: SiteId, form: FormId },
    /// `POST /api/v1/wordpress/intake`.
    Intake,
    /// `POST /api/v1/wordpress/auth/verify`.
    Verify,
    /// `GET /api/v1/wordpress/dashboard-widget`.
    Widget,
}

/// Why a request leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// No such path.
    Path,
    /// The path is there, but not for this method, or not for this method with nothing in it.
    Method(Allowed),
}

/// What may be done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    Hook,
    /// One of KaiCalls' endpoints that are posted to.
    Post,
    /// KaiCalls' widget.
    Get,
}

/// One of KaiCalls' endpoints, known by the path alone: whatever is wrong with the rest, its errors are KaiCalls'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Intake,
    Verify,
    Widget,
    /// Another path below KaiCalls' prefix.
    Unknown,
}

const API: &str = "/api/v1/wordpress";

/// A path of the gateway, for the reference.
#[derive(Clone, Copy, Debug)]
pub struct GatewayRoute {
    pub methods: &'static [&'static str],
    /// From the root; a part in braces is a site's or a form's name.
    pub path: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// Every path that [`find`] knows.
pub const GATEWAY_ROUTES: [GatewayRoute; 7] = [
    GatewayRoute { methods: &["POST", "PUT", "PATCH"], path: "/hooks/{site}/{form}", about: "A submission of a form." },
    GatewayRoute {
        methods: &["POST", "PUT", "PATCH"],
        path: "/hooks/{site}",
        about: "A submission. Its form is the one whose `match` fits, else `[forms.default]`, else one that is named as the body \
                names it.",
    },
    GatewayRoute {
        methods: &["GET", "DELETE"],
        path: "/hooks/{site}/{form}",
        about: "The same, if there is a body, or a query with more than `token`. Else 405. `/hooks/{site}` takes these methods \
                as well.",
    },
    GatewayRoute {
        methods: &["OPTIONS"],
        path: "/hooks/{site}/{form}",
        about: "A browser's question whether a page's script may post the form (CORS preflight).",
    },
    GatewayRoute {
        methods: &["POST"],
        path: "/api/v1/wordpress/intake",
        about: "A lead, as KaiCalls' own endpoint takes it. The site is the one that has the key pair.",
    },
    GatewayRoute {
        methods: &["POST"],
        path: "/api/v1/wordpress/auth/verify",
        about: "Tells whether a key pair is a site's, as KaiCalls' own endpoint does.",
    },
    GatewayRoute {
        methods: &["GET"],
        path: "/api/v1/wordpress/dashboard-widget",
        about: "The newest leads of a key pair's site, as KaiCalls' own endpoint gives them.",
    },
];

/// Finds out what a request asks for. `has_fields`: its query holds more than a token.
pub(super) fn find(head: &RequestHead, has_fields: bool) -> Result<Route, NoRoute> {
    if let Some(rest) = head.path.strip_prefix("/hooks/") {
        let (site, form) = hook(rest).ok_or(NoRoute::Path)?;
        if let (&Method::OPTIONS, Some(form)) = (&head.method, &form) {
            return Ok(Route::Preflight { site, form: form.clone() });
        }
        let carried = has_fields || head.framing != Framing::None;
        let taken = match head.method {
            Method::POST | Method::PUT | Method::PATCH => true,
            Method::GET | Method::DELETE => carried,
            _ => false,
        };
        return if taken { Ok(Route::Hook { site, form }) } else { Err(NoRoute::Method(Allowed::Hook)) };
    }
    let (route, method, allowed) = match endpoint(&head.path) {
        Some(Endpoint::Intake) => (Route::Intake, Method::POST, Allowed::Post),
        Some(Endpoint::Verify) => (Route::Verify, Method::POST, Allowed::Post),
        Some(Endpoint::Widget) => (Route::Widget, Method::GET, Allowed::Get),
        Some(Endpoint::Unknown) | None => return Err(NoRoute::Path),
    };
    if head.method == method { Ok(route) } else { Err(NoRoute::Method(allowed)) }
}

/// A chunked body may turn out to be none: then `GET` and `DELETE` without fields are no submissions after all.
pub(super) fn check_carried(head: &RequestHead, has_fields: bool, body_is_empty: bool) -> Result<(), NoRoute> {
    let bare = matches!(head.method, Method::GET | Method::DELETE) && !has_fields && body_is_empty;
    if bare { Err(NoRoute::Method(Allowed::Hook)) } else { Ok(()) }
}

fn hook(rest: &str) -> Option<(SiteId, Option<FormId>)> {
    let (site, form) = match rest.split_once('/') {
        Some((site, form)) => (site, Some(FormId::parse(form).ok()?)),
        None => (rest, None),
    };
    Some((SiteId::parse(site).ok()?, form))
}

/// Returns which of KaiCalls' endpoints a path is; none for a path that is not below their prefix.
pub(super) fn endpoint(path: &str) -> Option<Endpoint> {
    match path.strip_prefix(API)? {
        "/intake" => Some(Endpoint::Intake),
        "/auth/verify" => Some(Endpoint::Verify),
        "/dashboard-widget" => Some(Endpoint::Widget),
        rest if rest.is_empty() || rest.starts_with('/') => Some(Endpoint::Unknown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: Method, path: &str, framing: Framing, has_fields: bool) -> Result<Route, NoRoute> {
        let headers = http::HeaderMap::new();
        let head =
            RequestHead { method, path: path.to_owned(), query: None, headers, framing, expects_continue: false };
        find(&head, has_fields)
    }

    #[test]
    fn every_path_that_is_told_of_is_taken_and_every_one_that_is_taken_is_told_of() {
        let mut told = std::collections::BTreeSet::new();
        for GatewayRoute { methods, path, .. } in GATEWAY_ROUTES {
            let path = path.replace("{site}", "acme").replace("{form}", "contact");
            for method in methods {
                let method = Method::from_bytes(method.as_bytes()).expect("a method");
                told.insert(match route(method, &path, Framing::Length(3), true).expect("it is taken") {
                    Route::Hook { form: None, .. } => "hook of a site",
                    Route::Hook { form: Some(_), .. } => "hook of a form",
                    Route::Preflight { .. } => "preflight",
                    Route::Intake => "intake",
                    Route::Verify => "verify",
                    Route::Widget => "widget",
                });
            }
        }
        assert_eq!(told.len(), 6, "{told:?}");
    }

    #[test]
    fn hooks_name_a_site_and_perhaps_a_form() {
        let post = |path| route(Method::POST, path, Framing::None, false);
        let site = SiteId::parse("acme").expect("a site");
        let form = FormId::parse("contact").ok();
        assert_eq!(post("/hooks/acme"), Ok(Route::Hook { site: site.clone(), form: None }));
        assert_eq!(post("/hooks/acme/contact"), Ok(Route::Hook { site, form }));
        for other in ["/", "/hooks", "/hooks/", "/hooks/acme/", "/hooks/acme/a/b", "/hooks/Acme", "/hooks/%61cme", "*"]
        {
            assert_eq!(post(other), Err(NoRoute::Path), "{other}");
        }
    }

    #[test]
    fn get_and_delete_are_submissions_when_they_carry_something() {
        for method in [Method::GET, Method::DELETE] {
            assert!(route(method.clone(), "/hooks/acme", Framing::None, true).is_ok());
            assert!(route(method.clone(), "/hooks/acme", Framing::Length(3), false).is_ok());
            let bare = route(method, "/hooks/acme", Framing::None, false);
            assert_eq!(bare, Err(NoRoute::Method(Allowed::Hook)));
        }
        for method in [Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert_eq!(route(method, "/hooks/acme", Framing::Length(3), true), Err(NoRoute::Method(Allowed::Hook)));
        }
        let asked = route(Method::OPTIONS, "/hooks/acme/contact", Framing::None, false);
        assert!(matches!(asked, Ok(Route::Preflight { .. })), "{asked:?}");
    }

    #[test]
    fn the_endpoints_of_kaicalls_have_one_method_each() {
        let intake = "/api/v1/wordpress/intake";
        assert_eq!(route(Method::POST, intake, Framing::None, false), Ok(Route::Intake));
        assert_eq!(route(Method::GET, intake, Framing::None, true), Err(NoRoute::Method(Allowed::Post)));
        let widget = "/api/v1/wordpress/dashboard-widget";
        assert_eq!(route(Method::GET, widget, Framing::None, false), Ok(Route::Widget));
        assert_eq!(route(Method::POST, widget, Framing::None, false), Err(NoRoute::Method(Allowed::Get)));
        assert_eq!(route(Method::POST, "/api/v1/wordpress/keys/create", Framing::None, false), Err(NoRoute::Path));
    }
}
