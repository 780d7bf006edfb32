//! The operator's listener: health and metrics for whoever reaches it, all else with the admin token.
//!
//! `Host` must name the listener: a page on the internet whose name resolves to this address gets nothing.

mod host;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use jiff::Timestamp;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use serde_json::json;
use tokio::time::timeout;

use crate::config::Config;
use crate::queue::{Counts, State, Store, StoreError};
use crate::telemetry::{Depth, Metrics};

/// For a request's head, and for the client to take the answer.
const CLIENT_TIME: Duration = Duration::from_secs(10);
/// How long the store may take to say that it is ready, or to count.
const STORE_TIME: Duration = Duration::from_secs(2);

/// The admin listener's application. Clones share all state.
#[derive(Clone)]
pub struct Admin {
    config: Arc<ArcSwap<Config>>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

/// An answer.
struct Reply {
    status: StatusCode,
    media_type: &'static str,
    body: Vec<u8>,
    more: Option<(HeaderName, &'static str)>,
}

/// Why the store is not ready.
enum Unready {
    Slow,
    Failed(StoreError),
}

#[async_trait]
impl HttpServerApp for Admin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let reply = match timeout(CLIENT_TIME, session.read_request()).await {
            Ok(Ok(true)) => self.answer(session.req_header()).await,
            Ok(Err(_malformed)) => Reply::problem(StatusCode::BAD_REQUEST, "malformed-request", "Malformed request"),
            Ok(Ok(false)) | Err(_) => return None,
        };
        session.set_keepalive(None);
        drop(timeout(CLIENT_TIME, send(session, reply)).await);
        None
    }
}

impl Admin {
    pub fn new(config: Arc<ArcSwap<Config>>, store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { config, store, metrics }
    }

    async fn answer(&self, head: &RequestHeader) -> Reply {
        if !host::names_listener(&head.headers, &self.config.load().admin) {
            return Reply::problem(StatusCode::FORBIDDEN, "foreign-host", "The Host header names another server");
        }
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        if path == "/api/v1" || path.starts_with("/api/v1/") {
            let mut reply =
                Reply::problem(StatusCode::UNAUTHORIZED, "unauthorized", "The admin token is missing or wrong");
            reply.more = Some((header::WWW_AUTHENTICATE, "Bearer realm=\"formgate admin\""));
            return reply;
        }
        let known = matches!(path, "/livez" | "/readyz" | "/metrics");
        match (path, &head.method) {
            ("/livez", &Method::GET) => Reply::text("ok"),
            ("/readyz", &Method::GET) => self.readyz(query.split('&').any(|part| part == "verbose")).await,
            ("/metrics", &Method::GET) => self.metrics().await,
            _ if known => {
                let mut reply = Reply::problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This takes GET");
                reply.more = Some((header::ALLOW, "GET"));
                reply
            }
            _ => Reply::problem(StatusCode::NOT_FOUND, "not-found", "No such path"),
        }
    }

    /// Ready is: the store can be written. That the configuration is loaded shows in our being here at all; KaiCalls
    /// being away is no reason to turn submissions away.
    async fn readyz(&self, verbose: bool) -> Reply {
        let store = match timeout(STORE_TIME, self.store.ready()).await {
            Ok(ready) => ready.map_err(Unready::Failed),
            Err(_elapsed) => Err(Unready::Slow),
        };
        let words = store.as_ref().map_or_else(Unready::words, |()| "ok".to_owned());
        let (status, word) = match &store {
            Ok(()) => (StatusCode::OK, "ready"),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
        };
        if store.is_ok() && !verbose {
            return Reply::text("ok");
        }
        let sites = self.config.load().sites.len();
        let body = json!({ "status": word, "checks": { "config": "ok", "store": words }, "sites": sites });
        Reply::json(status, "application/json", &body)
    }

    async fn metrics(&self) -> Reply {
        if let Ok(Ok(counts)) = timeout(STORE_TIME, self.store.counts()).await {
            self.metrics.depth(depth(&counts, Timestamp::now()));
        }
        match self.metrics.text() {
            Ok(body) => Reply {
                status: StatusCode::OK,
                media_type: "text/plain; version=0.0.4; charset=utf-8",
                body,
                more: None,
            },
            Err(_unwritable) => {
                Reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "The metrics cannot be written")
            }
        }
    }
}

/// Sums the counts of all sites.
fn depth(counts: &[Counts], now: Timestamp) -> Depth {
    let mut depth = Depth::default();
    for count in counts.iter().filter(|count| count.entries > 0) {
        let sum = match count.state {
            State::Queued => &mut depth.queued,
            State::Held => &mut depth.held,
            State::Delivered => &mut depth.delivered,
            State::Dead => &mut depth.dead,
        };
        *sum += count.entries;
        if count.state == State::Queued {
            // A clock that was set back gives no age.
            let age = Duration::try_from(now.duration_since(count.oldest)).unwrap_or_default();
            depth.oldest_queued = depth.oldest_queued.max(age);
        }
    }
    depth
}

impl Unready {
    fn words(&self) -> String {
        match self {
            Self::Slow => "the store did not answer in time".to_owned(),
            Self::Failed(error) => error.to_string(),
        }
    }
}

impl Reply {
    fn text(text: &str) -> Self {
        let body = format!("{text}\n").into_bytes();
        Self { status: StatusCode::OK, media_type: "text/plain; charset=utf-8", body, more: None }
    }

    fn json(status: StatusCode, media_type: &'static str, value: &serde_json::Value) -> Self {
        Self { status, media_type, body: value.to_string().into_bytes(), more: None }
    }

    fn problem(status: StatusCode, kind: &str, title: &str) -> Self {
        let problem = json!({
            "type": format!("urn:formgate:problem:{kind}"),
            "title": title,
            "status": status.as_u16(),
            "detail": title,
        });
        Self::json(status, "application/problem+json", &problem)
    }
}

async fn send(mut session: ServerSession, reply: Reply) -> pingora::Result<()> {
    let mut head = ResponseHeader::build(reply.status, Some(5))?;
    head.insert_header(header::CONTENT_TYPE, reply.media_type)?;
    head.insert_header(header::CONTENT_LENGTH, reply.body.len().to_string())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    if let Some((name, value)) = reply.more {
        head.insert_header(name, value)?;
    }
    session.write_response_header(Box::new(head)).await?;
    session.write_response_body(Bytes::from(reply.body), true).await?;
    session.finish().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lead::SiteId;

    #[test]
    fn the_depth_is_that_of_all_sites() {
        let now = Timestamp::from_second(1_000).expect("a time");
        let count = |site: &str, state, entries, oldest| Counts {
            site: SiteId::parse(site).expect("a site"),
            state,
            entries,
            oldest: Timestamp::from_second(oldest).expect("a time"),
        };
        let counts = [
            count("a", State::Queued, 2, 990),
            count("b", State::Queued, 3, 900),
            count("b", State::Dead, 1, 1),
            count("c", State::Queued, 1, 2_000),
        ];
        let oldest_queued = Duration::from_secs(100);
        assert_eq!(depth(&counts, now), Depth { queued: 6, dead: 1, oldest_queued, ..Depth::default() });
    }
}
