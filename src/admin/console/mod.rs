//! The web console: pages for whoever would rather look than read logs.
//!
//! Made on the server, of links and forms that work without scripts; the script renews pages and listens to keys. Each page
//! is a file: what it shows (a view of what `operate` returns), and its template below. All words of the navigation and of
//! headings are in `words`. Who has no session gets the login page; what changes something is a POST with the session's
//! token, from a page of this listener.

mod amend;

mod assets;

mod bulk;

mod chart;

mod form;

mod layout;

mod lead;

mod leads;

mod live;

mod login;

mod origin;

mod overview;

mod received;

mod results;

mod session;

mod show;

mod site;

mod site_acts;

mod sites;

mod timeline;

mod words;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::AdminApp;
use super::api::STREAM;
use super::fault::ApiError;
use super::reply::ApiReply;
use super::request;
use crate::destination::Secret;
use crate::operate::HistoryReader;
use crate::queue::StoreError;
use form::Fields;
use layout::Section;
pub(super) use origin::is_own;
use overview::Gathered;
pub(super) use session::LoggedIn;
use session::{Guesses, Sessions};

/// Most pages that are made at a time; health and the API have places of their own.
const PAGES_AT_ONCE: usize = 16;
/// Most of those that may wait for KaiCalls: a slow KaiCalls must keep nobody from the pages.
const ASKING_AT_ONCE: usize = 4;
/// How long a page may take; what it does ends well before.
const PAGE_TIME: Duration = Duration::from_secs(60);
/// The script sends it when it renews a page by itself, which keeps no session open: perhaps nobody looks.
const RENEWAL_HEADER: &str = "x-renewal";
/// Longest form, in bytes: its message may be as long as a lead's, each byte written as three.
const FORM_MAX: usize = 1024 * 1024;

/// What the console remembers between requests. Clones of the application share it.
pub(super) struct Console {
    sessions: Sessions,
    guesses: Guesses,
    history: HistoryReader,
    /// What the overview showed last.
    gathered: tokio::sync::Mutex<Option<Gathered>>,
    places: Arc<Semaphore>,
    asking: Semaphore,
}

/// A page, or why there is none.
type PageResult = Result<ApiReply, ApiError>;

/// A request of somebody who is logged in.
struct Request<'a> {
    app: &'a AdminApp,
    logged_in: &'a LoggedIn,
    now: Timestamp,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            sessions: Sessions::default(),
            guesses: Guesses::default(),
            history: HistoryReader::default(),
            gathered: tokio::sync::Mutex::default(),
            places: Arc::new(Semaphore::new(PAGES_AT_ONCE)),
            asking: Semaphore::new(ASKING_AT_ONCE),
        }
    }
}

impl AdminApp {
    /// Answers a request below `/console`.
    pub(super) async fn console(&self, session: &mut ServerSession, path: &str, query: &str) -> ApiReply {
        if let Some(asset) = assets::answer(path, &session.req_header().headers) {
            return asset;
        }
        let Ok(place) = Arc::clone(&self.console.places).try_acquire_owned() else {
            return layout::failed(ApiError::Busy, "", None);
        };
        let parts: Vec<&str> = path.split('/').skip(2).filter(|part| !part.is_empty()).collect();
        let slow = || ApiError::from(StoreError::Unavailable("it took too long".into()));
        let page = timeout(PAGE_TIME, self.page(session, &parts, query)).await;
        page.unwrap_or_else(|_elapsed| layout::failed(slow(), "", None)).holding(place)
    }

    /// Returns who is logged in by a request's cookie.
    pub(super) fn logged_in(&self, head: &RequestHeader) -> Option<LoggedIn> {
        // A browser opens a stream again by itself each hour.
        let is_used = !head.headers.contains_key(RENEWAL_HEADER) && head.uri.path() != STREAM;
        self.console.sessions.find(&head.headers, self.admin_token().as_ref(), is_used)
    }

    /// Tells whether a session is still open, without keeping it so.
    pub(super) fn is_open(&self, session: &LoggedIn) -> bool {
        self.console.sessions.is_open(session.key, self.admin_token().as_ref())
    }

    /// Returns the token that lets in: the configuration's, else the one that was made.
    pub(super) fn admin_token(&self) -> Option<Secret> {
        self.config.load().admin.token.as_ref().or(self.made_token.as_ref()).cloned()
    }

    async fn page(&self, session: &mut ServerSession, parts: &[&str], query: &str) -> ApiReply {
        let head = session.req_header();
        // pingora leaves the body of an answer to a HEAD out.
        let method = if head.method == Method::HEAD { Method::GET } else { head.method.clone() };
        let logged_in = self.logged_in(head);
        let now = Timestamp::now();
        let answer = match (&method, parts, &logged_in) {
            (&Method::GET, ["login"], _) => Ok(login::page(query, None)),
            (&Method::POST, ["login"], _) => self.log_in(session).await,
            (&Method::GET, _, None) => Ok(login::first(&head.headers, head.uri.path(), query)),
            (_, _, None) => Ok(login::page("", Some(words::SESSION_ENDED))),
            (&Method::GET, _, Some(logged_in)) => Request { app: self, logged_in, now }.get(parts, query).await,
            (&Method::POST, _, Some(logged_in)) => Request { app: self, logged_in, now }.post(session, parts).await,
            _ => Err(ApiError::Method("GET, POST")),
        };
        let csrf = logged_in.as_ref().map_or("", |logged_in| logged_in.csrf.as_str());
        answer.unwrap_or_else(|error| layout::failed(error, csrf, logged_in.is_some().then(|| section(parts))))
    }
}

impl Request<'_> {
    async fn get(&self, parts: &[&str], query: &str) -> PageResult {
        match parts {
            [] => self.overview().await,
            ["leads"] => self.leads(query).await,
            // Whoever reloads what a form led to.
            ["leads", "preview" | "apply" | "export"] => Ok(redirect("/console/leads")),
            ["leads", id, "amend" | "reveal" | "capture"] => Ok(redirect(&format!("/console/leads/{id}"))),
            ["sites", id, "token" | "verify"] => Ok(redirect(&format!("/console/sites/{id}"))),
            ["leads", id] => self.lead(id, query).await,
            ["sites"] => self.sites(query).await,
            ["sites", id] => self.site(id).await,
            ["live"] => self.live(query).await,
            _ => Err(ApiError::NoSuchPath),
        }
    }

    /// Does what a form asks for. No other site can send one: its origin is checked, and so is the session's token in it.
    async fn post(&self, session: &mut ServerSession, parts: &[&str]) -> PageResult {
        let admin = self.app.config.load();
        if !origin::is_own(&session.req_header().headers, &admin.admin) {
            return Err(ApiError::Request(words::FOREIGN_FORM.to_owned()));
        }
        drop(admin);
        let fields = Fields::new(request::form(session, FORM_MAX).await?);
        if !self.logged_in.has_csrf(fields.one("csrf")) {
            return Err(ApiError::Request(words::OLD_FORM.to_owned()));
        }
        match parts {
            ["logout"] => {
                self.app.console.sessions.close(self.logged_in.key);
                Ok(login::out())
            }
            ["leads", "preview"] => self.preview(&fields).await,
            ["leads", "apply"] => self.apply(&fields).await,
            ["leads", "export"] => self.export(&fields).await,
            ["leads", id, "amend"] => self.amend(id, &fields).await,
            ["leads", id, "capture"] => self.capture(id, &fields).await,
            ["leads", id, "reveal"] => self.reveal(id).await,
            ["sites", id, "token"] => self.add_token(id, &fields).await,
            ["sites", id, "verify"] => self.verify_keys(id).await,
            _ => Err(ApiError::NoSuchPath),
        }
    }

    fn shell<'s>(&'s self, title: &'s str, at: Section) -> layout::Shell<'s> {
        layout::Shell { title, at: Some(at), csrf: &self.logged_in.csrf, refresh: 0, reload: 0 }
    }
}

/// Returns the part of the console that a path is in.
fn section(parts: &[&str]) -> Section {
    match parts.first() {
        Some(&"leads") => Section::Leads,
        Some(&"sites") => Section::Sites,
        Some(&"live") => Section::Live,
        _ => Section::Overview,
    }
}

/// Sends a browser to another page of the console, to be fetched with GET.
fn redirect(path: &str) -> ApiReply {
    // Paths are made of ids and encoded queries.
    let location = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/console/"));
    let reply = ApiReply::whole(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Vec::new());
    layout::with_security_headers(reply).with_value(header::LOCATION, location)
}
