//! What every page has around it: head, navigation, and the headers that keep a browser from loading anything foreign.

use http::{HeaderName, StatusCode, header};
use maud::{DOCTYPE, Markup, html};

use super::assets::{self, Asset};
use super::words;
use crate::admin::fault::ApiError;
use crate::admin::reply::ApiReply;

/// Nothing inline, nothing from elsewhere, in no other page's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A part of the console, as the navigation shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Leads,
    Sites,
    Live,
}

/// What stands around a page.
pub(super) struct Shell<'a> {
    pub(super) title: &'a str,
    /// None: nobody is logged in, so that there is no navigation.
    pub(super) at: Option<Section>,
    /// The session's token against forged forms.
    pub(super) csrf: &'a str,
    /// The script renews what lives on the page after so many seconds; 0: it doesn't.
    pub(super) refresh: u16,
    /// Without scripts the page is loaded again after so many seconds; 0: it isn't, since the reader has work on it.
    pub(super) reload: u16,
}

impl Section {
    const ALL: [Self; 4] = [Self::Overview, Self::Leads, Self::Sites, Self::Live];

    fn link(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("/console/", words::OVERVIEW),
            Self::Leads => ("/console/leads", words::LEADS),
            Self::Sites => ("/console/sites", words::SITES),
            Self::Live => ("/console/live", words::LIVE),
        }
    }
}

impl Shell<'_> {
    /// Makes the whole page.
    pub(super) fn page(&self, status: StatusCode, main: &Markup) -> ApiReply {
        let body = html! {
            (DOCTYPE)
            html lang="en" {
                (self.head())
                body data-refresh=[(self.refresh > 0).then_some(self.refresh)] data-now=(words::JUST_NOW)
                    data-seconds=(words::SECONDS) data-minutes=(words::MINUTES) data-hours=(words::HOURS) data-ago=(words::AGO)
                    data-in=(words::IN) data-stale=(words::STALE) data-stopped=(words::STOPPED) data-copied=(words::COPIED) {
                    @if let Some(at) = self.at {
                        a.skip href="#main" { (words::SKIP) }
                        (self.navigation(at))
                    }
                    main #main tabindex="-1" { (main) }
                    @if self.at.is_some() { (help()) }
                }
            }
        };
        let html = ApiReply::whole(status, "text/html; charset=utf-8", body.into_string().into_bytes());
        with_security_headers(html)
    }

    fn head(&self) -> Markup {
        html! {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="csrf-token" content=(self.csrf);
                title { (self.title) " · " (words::PRODUCT) }
                link rel="icon" href=(assets::url(Asset::Icon)) type="image/svg+xml";
                link rel="stylesheet" href=(assets::url(Asset::Style));
                script src=(assets::url(Asset::Script)) defer {}
                @if self.reload > 0 { noscript { meta http-equiv="refresh" content=(self.reload); } }
            }
        }
    }

    fn navigation(&self, at: Section) -> Markup {
        html! {
            header.bar {
                a.brand href="/console/" { (mark()) span { (words::PRODUCT) } }
                nav aria-label=(words::NAVIGATION) {
                    @for section in Section::ALL {
                        @let (href, name) = section.link();
                        a href=(href) aria-current=[(section == at).then_some("page")] { (name) }
                    }
                }
                button.quiet type="button" data-keys hidden { (words::SHORTCUTS) }
                form.logout method="post" action="/console/logout" {
                    (csrf_field(self.csrf))
                    button.quiet type="submit" { (words::LOG_OUT) }
                }
            }
        }
    }
}

/// The mark: a gate.
pub(super) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            path d="M3 21V10a9 9 0 0 1 18 0v11M8 21v-9a4 4 0 0 1 8 0v9" fill="none" stroke="currentColor"
                stroke-width="2.4" stroke-linecap="round" {}
        }
    }
}

/// The keys, shown by `?`.
fn help() -> Markup {
    html! {
        dialog #keys aria-label=(words::KEYS) {
            h2 { (words::KEYS) }
            dl.keys {
                @for (key, what) in words::KEY_LIST {
                    dt { kbd { (key) } }
                    dd { (what) }
                }
            }
            p { label { input type="checkbox" data-setting="keys"; " " (words::USE_KEYS) } }
            p { label { input type="checkbox" data-setting="renewal"; " " (words::RENEW) } }
            form method="dialog" { button type="submit" { (words::CLOSE) } }
        }
    }
}

/// Gives a form the session's token.
pub(super) fn csrf_field(csrf: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(csrf); }
}

/// Adds the headers that every answer of the console has.
pub(super) fn with_security_headers(reply: ApiReply) -> ApiReply {
    reply
        .with(header::CONTENT_SECURITY_POLICY, POLICY)
        .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with(header::X_FRAME_OPTIONS, "DENY")
        .with(header::REFERRER_POLICY, "same-origin")
        .with(HeaderName::from_static("cross-origin-opener-policy"), "same-origin")
        .with(HeaderName::from_static("cross-origin-resource-policy"), "same-origin")
        .with(HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()")
}

/// Makes a page of what the API would answer with a problem.
pub(super) fn failed(error: ApiError, csrf: &str, at: Option<Section>) -> ApiReply {
    let problem = error.reply();
    let (title, detail) = problem.problem_words().unwrap_or((words::FAILED, words::FAILED));
    let main = html! {
        div.notice.bad role="alert" {
            h1 { (title) }
            @if detail != title { p { (detail) } }
            p { a href="/console/" { (words::BACK_TO_OVERVIEW) } }
        }
    };
    Shell { title, at, csrf, refresh: 0, reload: 0 }.page(problem.status, &main).with_headers_of(&problem)
}
