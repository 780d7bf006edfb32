//! The operator's listener: health and metrics for whoever reaches it, all else with the admin token.
//!
//! `Host` must name the listener: a page on the internet whose name resolves to this address gets nothing. Through the
//! socket beside the store neither is asked for: its folder lets in who may. Each request has a task of its own, and the
//! API's are counted, so that a long one keeps no monitor waiting.

mod api;

mod console;

mod fault;

mod health;

mod host;

mod leads;

mod reply;

mod request;

mod routes;

mod sites;

mod stream;

mod token;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{Method, StatusCode, header};
use jiff::Timestamp;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::config::Config;
use crate::destination::Secret;
use crate::http::RequestId;
use crate::operate::{Actor, Audit, KeyVerifier, SinkStatus, Widgets};
use crate::queue::activity::Activity;
use crate::queue::live::Live;
use crate::queue::{KeysUnderWay, OpenStore, SeenGateway, SendingStatus};
use crate::telemetry::Metrics;
use console::Console;
use health::Probe;
pub use health::tell_problems;
use reply::ApiReply;
pub use routes::{API_ROUTES, AdminRoute, HEALTH_ROUTES};
use stream::STREAMS_AT_ONCE;
pub use token::{make_token, read_token, token_file};

/// The socket's place in the data folder.
const SOCKET: &str = "run/admin.sock";

/// How often the audit's lines that found no room are tried again.
const AUDIT_EVERY: Duration = Duration::from_secs(10);
/// For a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Most requests to the API at one time.
const API_AT_ONCE: usize = 8;
/// Most of those that may wait for KaiCalls, beside them: a slow KaiCalls must keep nobody from the API.
const ASKING_AT_ONCE: usize = 32;

/// The admin listener's application. Clones share all state.
#[derive(Clone)]
pub struct AdminApp {
    config: Arc<ArcSwap<Config>>,
    store: OpenStore,
    metrics: Arc<Metrics>,
    audit: Audit,
    /// Lets in where the configuration has no token.
    made_token: Option<Secret>,
    /// What the sender holds back.
    sending: watch::Receiver<SendingStatus>,
    keys_under_way: KeysUnderWay,
    /// It took the place of a gateway that was running.
    has_taken_over: bool,
    /// What was counted and isn't in the store yet.
    activity: Activity,
    /// Asks KaiCalls for its own figures.
    widgets: Option<Widgets>,
    /// Asks KaiCalls about key pairs.
    key_verifier: Option<KeyVerifier>,
    /// How the sinks of events do.
    sinks: watch::Receiver<Vec<SinkStatus>>,
    /// The gateways that share the store.
    gateways: watch::Receiver<Vec<SeenGateway>>,
    since: Timestamp,
    api: Arc<Semaphore>,
    asking: Arc<Semaphore>,
    /// What happens, and how many may watch.
    live: Live,
    streams: Arc<Semaphore>,
    probe: Arc<Probe>,
    console: Arc<Console>,
    caller: Caller,
}

/// How a request came, which says what it has to show.
#[derive(Clone, Copy)]
enum Caller {
    /// Over TCP: a `Host` that names the listener, and for the API the token.
    Network,
    /// Through the socket, as this user: nothing.
    LocalUser(u32),
}

/// Returns where the API's socket is; none where there is no data folder.
pub fn socket_file(config: &Config) -> Option<PathBuf> {
    Some(socket_in(config.data_folder()?))
}

/// Returns where the API's socket is in a data folder.
pub fn socket_in(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

#[async_trait]
impl HttpServerApp for AdminApp {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let (id, reply) = match timeout(HEAD_TIME, session.read_request()).await {
            Ok(Ok(true)) => {
                session.set_keepalive(None);
                let id = RequestId::given(&session.req_header().headers).unwrap_or_else(RequestId::random);
                let reply = self.answer(&mut session).await;
                self.tell(session.req_header(), &id, &reply);
                (id, reply)
            }
            Ok(Err(_malformed)) => {
                let malformed = ApiReply::problem(StatusCode::BAD_REQUEST, "malformed-request", "Malformed request");
                (RequestId::random(), malformed)
            }
            Ok(Ok(false)) | Err(_) => return None,
        };
        session.set_keepalive(None);
        reply.send(session, &id, self.store.store()).await;
        None
    }
}

impl AdminApp {
    /// Makes the application of a configuration and its store.
    pub fn new(config: Arc<ArcSwap<Config>>, store: impl Into<OpenStore>, metrics: Arc<Metrics>) -> Self {
        let audit = Audit::of(&config.load());
        audit.reserve();
        // Without a sender nothing is held back.
        let (_, sending) = watch::channel(SendingStatus::default());
        let (_, sinks) = watch::channel(Vec::new());
        let (_, gateways) = watch::channel(Vec::new());
        Self {
            config,
            store: store.into(),
            metrics,
            audit,
            made_token: None,
            sending,
            keys_under_way: KeysUnderWay::default(),
            has_taken_over: false,
            activity: Activity::default(),
            widgets: None,
            key_verifier: None,
            sinks,
            gateways,
            since: Timestamp::now(),
            api: Arc::new(Semaphore::new(API_AT_ONCE)),
            asking: Arc::new(Semaphore::new(ASKING_AT_ONCE)),
            live: Live::default(),
            streams: Arc::new(Semaphore::new(STREAMS_AT_ONCE)),
            probe: Arc::default(),
            console: Arc::default(),
            caller: Caller::Network,
        }
    }

    /// Answers this user of the machine, who came through the socket.
    pub fn for_local_user(&self, uid: u32) -> Self {
        Self { caller: Caller::LocalUser(uid), ..self.clone() }
    }

    /// Lets in who shows this token, while the configuration has none.
    pub fn with_made_token(self, made_token: Option<Secret>) -> Self {
        Self { made_token, ..self }
    }

    /// Shows what the sender holds back.
    pub fn with_sending(self, sending: watch::Receiver<SendingStatus>) -> Self {
        Self { sending, ..self }
    }

    /// Shows the gateways that share the store.
    pub fn with_gateways(self, gateways: watch::Receiver<Vec<SeenGateway>>) -> Self {
        Self { gateways, ..self }
    }

    /// Shows which keys leads are under way with.
    pub fn with_keys_under_way(self, keys_under_way: KeysUnderWay, has_taken_over: bool) -> Self {
        Self { keys_under_way, has_taken_over, ..self }
    }

    /// Writes down first what others have counted, where figures are shown.
    pub fn with_activity(self, activity: Activity) -> Self {
        Self { activity, ..self }
    }

    /// Shows what KaiCalls tells of sites.
    pub fn with_widgets(self, widgets: Widgets) -> Self {
        Self { widgets: Some(widgets), ..self }
    }

    /// Shows what happens to whoever watches.
    pub fn with_live(self, live: Live) -> Self {
        Self { live, ..self }
    }

    /// Tells whether KaiCalls takes the keys of sites.
    pub fn with_key_verifier(self, verifier: KeyVerifier) -> Self {
        Self { key_verifier: Some(verifier), ..self }
    }

    /// Shows how the sinks of events do.
    pub fn with_sinks(self, sinks: watch::Receiver<Vec<SinkStatus>>) -> Self {
        Self { sinks, ..self }
    }

    /// Writes lines of the audit that found no room as soon as there is some, until `stopping` says true.
    ///
    /// No request does: a monitor must not decide how often the disk is written, nor wait for one that hangs.
    pub async fn keep_audit(&self, mut stopping: watch::Receiver<bool>) {
        while timeout(AUDIT_EVERY, stopping.wait_for(|stop| *stop)).await.is_err() {
            drop(self.audit.waiting().await);
        }
        drop(self.audit.waiting().await);
    }

    /// One line for each request to the API, and for each form of the console. Of who shows no token, nothing is repeated.
    fn tell(&self, head: &RequestHeader, id: &RequestId, reply: &ApiReply) {
        let path = head.uri.path();
        let status = reply.status.as_u16();
        let request_id = id.as_str();
        let by = tracing::field::display(self.by());
        let is_told = path.starts_with("/api/") || (path.starts_with("/console/") && head.method == Method::POST);
        match reply.status {
            _ if !is_told => {}
            StatusCode::TOO_MANY_REQUESTS => tracing::warn!(request_id, status, "admin.refused"),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => tracing::warn!(request_id, status, "admin.refused"),
            _ => tracing::info!(request_id, method = head.method.as_str(), path, status, by, "admin.request"),
        }
    }

    /// Returns whom the audit names.
    fn by(&self) -> Actor {
        match self.caller {
            Caller::Network => Actor::AdminApi,
            Caller::LocalUser(uid) => Actor::LocalUser(uid),
        }
    }

    async fn answer(&self, session: &mut ServerSession) -> ApiReply {
        let head = session.req_header();
        // No page can make a browser open a Unix socket.
        let is_network = matches!(self.caller, Caller::Network);
        if is_network && !host::names_listener(&head.headers, &self.config.load().admin) {
            let detail = "The Host header is neither this listener's address nor in [admin].hosts. Add the name that \
                          you use to [admin].hosts";
            let title = "The Host header names another server";
            return ApiReply::problem_with(StatusCode::FORBIDDEN, "foreign-host", title, detail.to_owned());
        }
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        if path == "/api/v1" || path.starts_with("/api/v1/") {
            return self.api(session, &path, &query).await;
        }
        if path.starts_with("/console/") {
            return self.console(session, &path, &query).await;
        }
        let known = HEALTH_ROUTES.iter().any(|route| route.path == path);
        match (path.as_str(), &head.method) {
            ("/livez", &Method::GET) => ApiReply::text("ok"),
            ("/readyz", &Method::GET) => self.readyz().await,
            ("/metrics", &Method::GET) => self.metrics().await,
            ("/" | "/console", &Method::GET) => ApiReply::text("The console is at /console/")
                .with_status(StatusCode::SEE_OTHER)
                .with(header::LOCATION, "/console/"),
            _ if known => ApiReply::problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Use GET")
                .with(header::ALLOW, "GET"),
            _ => ApiReply::problem(StatusCode::NOT_FOUND, "not-found", "No such path"),
        }
    }
}
