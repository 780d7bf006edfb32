//! A connection's life: a slot, then one request after the other, until one of both sides has enough.
//!
//! pingora's `ServerApp` and not its `HttpServerApp` is implemented: so the whole connection is in one hand, with its
//! slot, the deadline of each head, and the answer to one that is malformed.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Method, Response};
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::tls::ALPN;
use pingora::server::ShutdownWatch;
use tokio::time::{Instant, timeout, timeout_at};

use super::chunks::Chunks;
use super::head::{self, RequestHead};
use super::raw_head::{self, BadHead, CompleteHead};
use crate::accept::gateway::Gateway;
use crate::accept::guard::{ConnectionSlot, Eviction, SlotGrant};
use crate::accept::outcome::{Dialect, Ongoing, Outcome, RequestFailure};
use crate::accept::route;
use crate::http::write;
use crate::telemetry::{ConnectionClosed, catch_async};

/// Most bytes thrown away, one by one, where nobody knows what they are.
const LINGER_BYTES: usize = 256 * 1024;

/// A request that has its outcome, before it is answered.
pub(super) struct EndedRequest {
    pub(super) reply: Response<Bytes>,
    /// Nobody knows where the request ends.
    lost: bool,
}

#[async_trait]
impl ServerApp for Gateway {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _open = self.in_flight.open();
        let trusted = self.config.load_full();
        let grant = self.slots.take(peer(&stream), &trusted.server.trusted_proxies);
        drop(trusted);
        let slot = self.slot(grant)?;
        let stream = match &self.tls {
            Some(tls) => tls.handshake(stream, self.options.handshake).await?,
            None => stream,
        };
        if stream.selected_alpn_proto() == Some(ALPN::H2) {
            self.streams(stream, &slot, shutdown).await;
            return None;
        }
        let mut next = Some(stream);
        while let Some(stream) = next {
            next = self.exchange(stream, &slot, shutdown).await;
        }
        None
    }
}

impl Gateway {
    /// Counts who had to leave for a new connection, or that there was no slot.
    fn slot(&self, grant: SlotGrant) -> Option<ConnectionSlot> {
        match grant.eviction() {
            Some(Eviction::SameAddress) => {
                self.metrics.connection_closed(ConnectionClosed::SameAddress);
                self.floods.evicted_same_address();
            }
            Some(Eviction::Full) => {
                self.metrics.connection_closed(ConnectionClosed::GatewayFull);
                self.floods.evicted_full();
            }
            None => {}
        }
        let slot = grant.slot();
        if slot.is_none() {
            self.metrics.connection_refused();
            self.floods.refused();
        }
        slot
    }

    /// Takes one request and answers it; gives the connection back where it can be used again.
    async fn exchange(&self, mut stream: Stream, slot: &ConnectionSlot, shutdown: &ShutdownWatch) -> Option<Stream> {
        let mut bytes = self.next_request(&mut stream, slot, shutdown).await?;
        let _in_flight = self.in_flight.enter();
        let ongoing = Ongoing::begin(self);
        let deadline = ongoing.trail.started + self.options.head;
        let whole = tokio::select! {
            biased;
            whole = raw_head::whole_head(&mut stream, &mut bytes, deadline) => whole,
            () = slot.wanted() => return None,
        };
        let path = head::path_of_line(&bytes);
        if let Ok(CompleteHead { length, chunked: true }) = whole {
            let rest = bytes.split_off(length);
            stream = Box::new(Chunks::new(stream, rest));
        }
        let mut session = ServerSession::new_http1(stream);
        let head = match whole {
            Ok(_) => parse(&mut session, bytes, deadline).await,
            Err(bad) => Err(bad),
        };
        let EndedRequest { reply, lost } = self.end(&mut session, &head, path.as_deref(), ongoing).await;
        if lost || *shutdown.borrow() {
            session.set_keepalive(None);
        }
        let is_head = head.is_ok_and(|head| head.method == Method::HEAD);
        self.send(session, reply, is_head, lost).await
    }

    /// Brings a request to its end: an answer, which is counted and logged. `path` is what it asks for as far as that
    /// can be seen, also where its head is malformed.
    pub(super) async fn end<'a>(
        &self,
        session: &mut ServerSession,
        head: &'a Result<RequestHead, BadHead>,
        path: Option<&str>,
        mut ongoing: Ongoing<'a>,
    ) -> EndedRequest {
        let dialect = path.and_then(route::endpoint).map_or(Dialect::Formgate, Dialect::Kaicalls);
        let outcome = match head {
            Ok(head) => {
                ongoing.trail.take_id_from(&head.headers);
                ongoing.headers = Some(&head.headers);
                let answered = catch_async(self.answer(session, head, &mut ongoing.trail)).await;
                answered.unwrap_or_else(|panicked| Outcome::Failed(RequestFailure::Panicked(Some(panicked))))
            }
            Err(bad) => self.malformed(session, *bad, &mut ongoing.trail),
        };
        let lost = head.is_err() || outcome.loses_framing();
        EndedRequest { reply: ongoing.end(&outcome, dialect), lost }
    }

    /// Waits for a request to begin; none when the client is gone or silent for too long, its slot is wanted by
    /// another, or the gateway shuts down.
    ///
    /// A client that can't know yet may send one more request into a connection that is kept: it gets a moment.
    async fn next_request(
        &self,
        stream: &mut Stream,
        slot: &ConnectionSlot,
        shutdown: &ShutdownWatch,
    ) -> Option<BytesMut> {
        let mut shutdown = shutdown.clone();
        tokio::select! {
            biased;
            // Cancel-safe: bytes that were read end the wait.
            bytes = raw_head::first_bytes(stream, self.options.idle) => return bytes,
            () = slot.wanted() => return None,
            _stop = shutdown.wait_for(|stop| *stop) => {}
        }
        raw_head::first_bytes(stream, self.options.farewell).await
    }

    /// Sends the answer. After a body that was not read to its end the connection closes; `lost` says that nobody
    /// knows where that end is.
    async fn send(
        &self,
        mut session: ServerSession,
        reply: Response<Bytes>,
        is_head: bool,
        lost: bool,
    ) -> Option<Stream> {
        let unread = lost || !is_body_done(&mut session);
        let sent = timeout(self.options.write, write(&mut session, reply, is_head)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return None;
        }
        if unread {
            drop(timeout(self.options.linger, linger(&mut session, lost)).await);
            return None;
        }
        let finished = timeout(self.options.write, session.finish()).await.ok()?;
        finished.ok().flatten().map(|reusable| reusable.into_parts().0)
    }
}

pub(super) fn peer(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    digest.peer_addr()?.as_inet().map(|address| address.ip())
}

/// Gives pingora a head that is whole; it reads no further.
async fn parse(session: &mut ServerSession, bytes: BytesMut, deadline: Instant) -> Result<RequestHead, BadHead> {
    session.set_pipelined_prefix(bytes);
    session.set_read_timeout(None);
    match timeout_at(deadline, session.read_request()).await {
        Ok(Ok(true)) => RequestHead::read(session.req_header(), false),
        Ok(Ok(false)) => Err(BadHead::Cut),
        Ok(Err(_malformed)) => Err(BadHead::Malformed),
        Err(_elapsed) => Err(BadHead::TooSlow),
    }
}

fn is_body_done(session: &mut ServerSession) -> bool {
    match session {
        ServerSession::H1(h1) => h1.is_body_done(),
        _ => true,
    }
}

/// Ends our side and throws away what the client still sends: closing at once would reset the connection, and the
/// client would never read the answer.
async fn linger(session: &mut ServerSession, lost: bool) {
    let ServerSession::H1(h1) = session else { return };
    h1.shutdown().await;
    if !lost && h1.drain_request_body().await.is_err() {
        return;
    }
    for _ in 0..LINGER_BYTES {
        if !matches!(h1.idle().await, Ok(read) if read > 0) {
            return;
        }
    }
}
