//! The operator's verbs over HTTP, each one call of `operate`.
//! [`routes`](super::routes) lists the paths.
//!
//! Where `[admin].mask` is true, what comes over TCP shows leads masked: `GET` of leads, their traces and their export, and
//! dry runs. `?reveal=true`, or `"reveal": true` in a body, shows them whole, and the audit says so.
//!
//! One call of a bulk verb goes on for seconds at most, and gives `next`, from where another goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use jiff::Timestamp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use super::console::{self, LoggedIn};
use super::fault::ApiError;
use super::reply::ApiReply;
use super::request::{self, Parameters};
use super::sites::{ASKS_KAICALLS, VERIFIES_KEYS};
use super::{AdminApp, Caller, routes, token};
use crate::operate::{self, AmendAsked, DropAsked, EraseAsked, ExplainAsked, RetryAsked, Situation};
use crate::queue::StoreError;
use crate::telemetry::OpenFiles;

/// How long a call may take; the verbs themselves end well before.
const CALL_TIME: Duration = Duration::from_secs(120);
/// Copying or salvaging a large store takes as long as the disk does.
const STORE_TIME: Duration = Duration::from_secs(60 * 60);

/// What happens, as it does.
pub(super) const STREAM: &str = "/api/v1/stream";

/// Longest body of an amendment, in bytes: its message may be as long as a lead's.
const AMENDED_MAX: usize = 1024 * 1024;

/// Where the console's script puts its session's token, in what changes something.
const CSRF_HEADER: &str = "x-csrf-token";

/// The result of one API request.
pub(super) type ApiResult = Result<ApiReply, ApiError>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupAsked {
    file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptureAsked {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PingAsked {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NothingAsked {}

impl AdminApp {
    /// Answers a request below `/api/v1`.
    pub(super) async fn api(&self, session: &mut ServerSession, path: &str, query: &str) -> ApiReply {
        if !self.is_let_in(session.req_header()) {
            return ApiError::Unauthorized.reply();
        }
        if routes::parts(path) == routes::parts(STREAM) {
            // It takes none of the API's places: it would keep it for an hour.
            return match session.req_header().method {
                Method::GET => self.stream(query, self.session_in_use(session.req_header())).await,
                _ => ApiError::Method("GET").reply(),
            };
        }
        let asks = query == ASKS_KAICALLS || path.ends_with(VERIFIES_KEYS);
        let waits_for_kaicalls = path.starts_with("/api/v1/sites/") && asks;
        let places = if waits_for_kaicalls { &self.asking } else { &self.api };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else { return ApiError::Busy.reply() };
        let time = if path.starts_with("/api/v1/store/") { STORE_TIME } else { CALL_TIME };
        let answer = timeout(time, self.route(session, path, query)).await;
        let slow = || StoreError::Unavailable("it took too long".into());
        answer.unwrap_or_else(|_elapsed| Err(slow().into())).unwrap_or_else(ApiError::reply).holding(place)
    }

    /// Tells whether a request may use the API: with the token, by the socket, or with a console session. A session's cookie
    /// comes along by itself, so that what changes something must show more than that.
    fn is_let_in(&self, head: &RequestHeader) -> bool {
        let is_local = matches!(self.caller, Caller::LocalUser(_));
        if is_local || token::is_shown(&head.headers, self.admin_token().as_ref()) {
            return true;
        }
        let csrf = head.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
        let is_own = || console::is_own(&head.headers, &self.config.load().admin);
        let may = |logged_in: LoggedIn| head.method == Method::GET || (logged_in.has_csrf(csrf) && is_own());
        self.logged_in(head).is_some_and(may)
    }

    /// Returns the console session that alone lets a request in: what lasts must end with it.
    fn session_in_use(&self, head: &RequestHeader) -> Option<LoggedIn> {
        let is_local = matches!(self.caller, Caller::LocalUser(_));
        let has_token = is_local || token::is_shown(&head.headers, self.admin_token().as_ref());
        if has_token { None } else { self.logged_in(head) }
    }

    async fn route(&self, session: &mut ServerSession, path: &str, query: &str) -> ApiResult {
        let parts = routes::parts(path);
        let Some(route) = routes::find(&parts) else { return Err(ApiError::NoSuchPath) };
        match &session.req_header().method {
            method if method.as_str() != route.method => Err(ApiError::Method(route.method)),
            &Method::POST => self.post(session, &parts).await,
            _ => self.get(&parts, query).await,
        }
    }

    async fn get(&self, parts: &[&str], query: &str) -> ApiResult {
        if parts == ["status"] {
            return found(&self.status(query == "brief=true").await);
        }
        if parts.first() == Some(&"sites") {
            return self.sites(parts, query).await;
        }
        let store = self.store.store();
        let now = Timestamp::now();
        let parameters = Parameters::read(query)?;
        match parts {
            [] => {
                let sites = self.config.load().sites.len();
                found(&json!({ "formgate": env!("CARGO_PKG_VERSION"), "sites": sites }))
            }
            ["notify"] => found(&json!({ "sinks": *self.sinks.borrow() })),
            ["process"] => found(&json!({ "open_files": OpenFiles::of_this_process() })),
            ["pings", name] => {
                let arrivals = self.metrics.pings().arrivals(name).ok_or(ApiError::NoSuchPath)?;
                found(&json!({ "arrivals": arrivals }))
            }
            ["leads"] => self.leads(&parameters, now).await,
            _ if parameters.order.is_some() => {
                Err(ApiError::Request("`order` is only for the list of leads".to_owned()))
            }
            ["leads", "groups"] => {
                found(&operate::groups(store, &parameters.filter.read(now)?, &self.situation(now)).await?)
            }
            ["leads", "export"] => self.export(&parameters, now).await,
            ["leads", id] => self.lead(id, parameters.reveal, now).await,
            ["leads", id, "trace"] => self.trace(id, parameters.reveal, now).await,
            _ => Err(ApiError::NoSuchPath),
        }
    }

    pub(super) fn situation(&self, now: Timestamp) -> Situation {
        Situation { config: self.config.load_full(), sending: Some(self.sending.borrow().clone()), now }
    }

    async fn post(&self, session: &mut ServerSession, parts: &[&str]) -> ApiResult {
        match parts {
            ["leads", verb] => self.post_leads(session, verb).await,
            ["store", verb] => self.post_store(session, verb).await,
            ["sites", id, "keys", "verify"] => self.post_verify(session, id).await,
            ["sites", id, "tokens"] => self.post_token(session, id).await,
            ["explain"] => {
                let asked: ExplainAsked = request::json_up_to(session, AMENDED_MAX).await?;
                self.explain(asked).await
            }
            ["pings"] => {
                let PingAsked { name } = request::json(session).await?;
                if !self.metrics.pings().announce(&name) {
                    return Err(ApiError::Request("`name` must be doctor- and 32 hex digits in lower case".to_owned()));
                }
                found(&json!({ "name": name }))
            }
            _ => Err(ApiError::NoSuchPath),
        }
    }

    async fn post_leads(&self, session: &mut ServerSession, verb: &str) -> ApiResult {
        let store = self.store.store();
        let audit = &self.audit;
        let by = self.by();
        match verb {
            "retry" => {
                let asked: RetryAsked = request::json(session).await?;
                self.retry(&asked, Timestamp::now()).await
            }
            "amend" => {
                let asked: AmendAsked = request::json_up_to(session, AMENDED_MAX).await?;
                self.amend(&asked, Timestamp::now()).await
            }
            "drop" => {
                let asked: DropAsked = request::json(session).await?;
                let keep = self.config.load().queue.keep.dead;
                found(&operate::drop_entries(store, audit, &asked, keep, by, Timestamp::now()).await?)
            }
            "erase" => {
                let asked: EraseAsked = request::json(session).await?;
                found(&operate::erase(store, audit, &asked, by, Timestamp::now()).await?)
            }
            "capture" => {
                let CaptureAsked { id } = request::json(session).await?;
                let config = self.config.load_full();
                found(&operate::capture(store, &config, audit, &id, by, Timestamp::now()).await?)
            }
            _ => Err(ApiError::NoSuchPath),
        }
    }

    async fn post_store(&self, session: &mut ServerSession, verb: &str) -> ApiResult {
        let audit = &self.audit;
        let by = self.by();
        match verb {
            "salvage" => {
                let NothingAsked {} = request::json(session).await?;
                found(&operate::salvage(&self.store, audit, by, Timestamp::now()).await?)
            }
            "backup" => {
                let BackupAsked { file } = request::json(session).await?;
                if !file.is_absolute() {
                    return Err(ApiError::Request(
                        "`file` must be an absolute path on the gateway's machine".to_owned(),
                    ));
                }
                found(&operate::backup(&self.store, audit, &file, by, Timestamp::now()).await?)
            }
            _ => Err(ApiError::NoSuchPath),
        }
    }
}

pub(super) fn found(value: &impl Serialize) -> ApiResult {
    Ok(ApiReply::json(StatusCode::OK, value))
}
