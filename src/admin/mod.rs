//! The operator's listener: health and metrics for whoever reaches it, all else with the admin token.
//!
//! `Host` must name the listener: a page on the internet whose name resolves to this address gets nothing. Each request
//! has a task of its own, and the API's are counted, so that a long one keeps no monitor waiting.

mod api;

mod fault;

mod health;

mod host;

mod reply;

mod request;

mod token;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{Method, StatusCode, header};
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::Config;
use crate::destination::Secret;
use crate::operate::Audit;
use crate::queue::Store;
use crate::telemetry::Metrics;
use reply::{Reply, RequestId};
pub use token::{make_token, read_token, token_file};

/// For a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Most requests to the API at one time.
const API_AT_ONCE: usize = 8;

/// The admin listener's application. Clones share all state.
#[derive(Clone)]
pub struct Admin {
    config: Arc<ArcSwap<Config>>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    audit: Audit,
    /// Lets in where the configuration has no token.
    made_token: Option<Secret>,
    api: Arc<Semaphore>,
}

#[async_trait]
impl HttpServerApp for Admin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let (id, reply) = match timeout(HEAD_TIME, session.read_request()).await {
            Ok(Ok(true)) => {
                session.set_keepalive(None);
                let id = RequestId::of(Some(&session.req_header().headers));
                let reply = self.answer(&mut session).await;
                tell(session.req_header(), &id, &reply);
                (id, reply)
            }
            Ok(Err(_malformed)) => {
                let malformed = Reply::problem(StatusCode::BAD_REQUEST, "malformed-request", "Malformed request");
                (RequestId::of(None), malformed)
            }
            Ok(Ok(false)) | Err(_) => return None,
        };
        session.set_keepalive(None);
        reply.send(session, &id, &*self.store).await;
        None
    }
}

/// One line for each request to the API. Of who shows no token, nothing is repeated.
fn tell(head: &RequestHeader, id: &RequestId, reply: &Reply) {
    let (path, status, request_id) = (head.uri.path(), reply.status.as_u16(), id.as_str());
    match reply.status {
        _ if !path.starts_with("/api/") => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => tracing::warn!(request_id, status, "admin.refused"),
        _ => tracing::info!(request_id, method = head.method.as_str(), path, status, "admin.request"),
    }
}

impl Admin {
    /// Makes the application of a configuration and its store.
    pub fn new(config: Arc<ArcSwap<Config>>, store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        let audit = Audit::of(&config.load());
        audit.reserve();
        Self { config, store, metrics, audit, made_token: None, api: Arc::new(Semaphore::new(API_AT_ONCE)) }
    }

    /// Lets in who shows this token, while the configuration has none.
    pub fn with_made_token(self, made_token: Option<Secret>) -> Self {
        Self { made_token, ..self }
    }

    async fn answer(&self, session: &mut ServerSession) -> Reply {
        // Lines that found no room, as soon as there is some: whoever asks for metrics or health asks often.
        drop(self.audit.waiting().await);
        let head = session.req_header();
        if !host::names_listener(&head.headers, &self.config.load().admin) {
            return Reply::problem(StatusCode::FORBIDDEN, "foreign-host", "The Host header names another server");
        }
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        if path == "/api/v1" || path.starts_with("/api/v1/") {
            return self.api(session, &path, &query).await;
        }
        let known = matches!(path.as_str(), "/livez" | "/readyz" | "/metrics");
        match (path.as_str(), &head.method) {
            ("/livez", &Method::GET) => Reply::text("ok"),
            ("/readyz", &Method::GET) => self.readyz(query.split('&').any(|part| part == "verbose")).await,
            ("/metrics", &Method::GET) => self.metrics().await,
            _ if known => Reply::problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This takes GET")
                .with(header::ALLOW, "GET"),
            _ => Reply::problem(StatusCode::NOT_FOUND, "not-found", "No such path"),
        }
    }
}
