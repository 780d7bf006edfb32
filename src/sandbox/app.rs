//! The sandbox on the wire: one HTTP/1 request in, one response out, on pingora.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::fault::Fault;
use super::routes::{Moment, Response, SandboxRequest, SandboxState, draw_fault, respond};

/// Most connections at one time.
const CONNECTIONS_MAX: u32 = 1_024;
/// Longest body.
const BODY_MAX: usize = 1 << 20;
/// Longest time for a head, and for the next request on an open connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time for a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The application that pingora calls for each request.
#[derive(Clone)]
pub(super) struct App {
    state: Arc<SandboxState>,
    connections: Arc<Semaphore>,
}

/// Why a body was not read.
enum Unread {
    TooLong,
    TimedOut,
    Broken,
}

/// What becomes of a request.
enum SandboxOutcome {
    Response(Response),
    /// The work is done, and nobody is told.
    Dropped,
    /// The sandbox stops.
    Stopped,
}

impl App {
    pub(super) fn new(state: Arc<SandboxState>) -> Self {
        Self { state, connections: Arc::new(Semaphore::new(CONNECTIONS_MAX as usize)) }
    }

    /// Waits until no connection is left. New ones are not served after.
    pub(super) async fn drained(&self) {
        drop(self.connections.acquire_many(CONNECTIONS_MAX).await);
    }

    async fn answer(&self, session: &mut ServerSession, shutdown: &ShutdownWatch) -> SandboxOutcome {
        if session.get_header("host").is_none() {
            session.set_keepalive(None);
            return SandboxOutcome::Response(Response::error(400, "bad_request", "A request needs a Host"));
        }
        let mut request = read_head(session);
        match read_body(session).await {
            Ok(body) => request.body = body,
            Err(unread) => {
                // What is left of the body must not be read as the next request.
                session.set_keepalive(None);
                return SandboxOutcome::Response(unread.response());
            }
        }
        let fault = draw_fault(&self.state, &request);
        if let Some(delay) = fault.as_ref().and_then(Fault::delay) {
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = stopping(shutdown) => return SandboxOutcome::Stopped,
            }
        }
        self.outcome(&request, fault.as_ref())
    }

    fn outcome(&self, request: &SandboxRequest, fault: Option<&Fault>) -> SandboxOutcome {
        if let Some(fault) = fault.filter(|fault| fault.is_answer()) {
            return SandboxOutcome::Response(Response::of_fault(fault));
        }
        let response = respond(&self.state, request, &Moment { now: Timestamp::now(), random: rand::random() });
        if fault.is_some_and(|fault| fault.drop_after_commit) {
            SandboxOutcome::Dropped
        } else {
            SandboxOutcome::Response(response)
        }
    }
}

#[async_trait]
impl HttpServerApp for App {
    /// pingora's errors are not logged: their text repeats what the client sent.
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let _connection = self.connections.try_acquire().ok()?;
        session.set_write_timeout(Some(WRITE_TIMEOUT));
        let head = tokio::select! {
            head = timeout(HEAD_TIMEOUT, session.read_request()) => head.ok()?,
            () = stopping(shutdown) => return None,
        };
        match head {
            Ok(true) => {}
            Ok(false) => return None,
            Err(_) => {
                let malformed = Response::error(400, "bad_request", "This is not HTTP/1.1");
                session.set_keepalive(None);
                write(&mut session, malformed).await.ok()?;
                return None;
            }
        }
        if *shutdown.borrow() {
            session.set_keepalive(None);
        }
        match self.answer(&mut session, shutdown).await {
            SandboxOutcome::Response(response) => write(&mut session, response).await.ok()?,
            SandboxOutcome::Dropped | SandboxOutcome::Stopped => return None,
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

/// Ends when the sandbox is told to stop, or nobody is left to tell it.
async fn stopping(shutdown: &ShutdownWatch) {
    drop(shutdown.clone().wait_for(|stop| *stop).await);
}

fn read_head(session: &ServerSession) -> SandboxRequest {
    let head = session.req_header();
    let text = |name| session.get_header(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    SandboxRequest {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        authorization: text("authorization"),
        content_type: text("content-type"),
        idempotency_key: text("idempotency-key"),
        body: Vec::new(),
    }
}

async fn read_body(session: &mut ServerSession) -> Result<Vec<u8>, Unread> {
    let declared = session.get_header("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > BODY_MAX as u64) {
        return Err(Unread::TooLong);
    }
    if session.get_header("expect").is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        session.write_continue_response().await.map_err(|_broken| Unread::Broken)?;
    }
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = session.read_request_body().await.map_err(|_broken| Unread::Broken)? {
            if body.len() + chunk.len() > BODY_MAX {
                return Err(Unread::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    timeout(BODY_TIMEOUT, read).await.unwrap_or(Err(Unread::TimedOut))
}

impl Unread {
    fn response(&self) -> Response {
        match self {
            Self::TooLong => Response::error(413, "payload_too_large", "A body has at most 1 MiB"),
            Self::TimedOut => Response::error(408, "request_timeout", "The body took too long"),
            Self::Broken => Response::error(400, "bad_request", "The body is incomplete"),
        }
    }
}

/// pingora leaves the body out where the request is a `HEAD`.
async fn write(session: &mut ServerSession, response: Response) -> pingora::Result<()> {
    let mut header = ResponseHeader::build(response.status, Some(4))?;
    header.insert_header("content-type", response.content_type)?;
    header.insert_header("content-length", response.body.len())?;
    for (name, value) in response.headers {
        header.insert_header(name, value)?;
    }
    session.write_response_header(Box::new(header)).await?;
    if response.body.is_empty() {
        return session.finish_body().await;
    }
    session.write_response_body(response.body.into(), true).await
}
