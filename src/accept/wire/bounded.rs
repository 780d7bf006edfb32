//! Another room's listener, held to what the gateway's own is held to: a cap on connections, and a deadline for each head.
//!
//! Where all slots are taken, the connection that has been silent or sending its head for longest leaves for a new one:
//! whoever holds connections open keeps nobody out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::time::{Instant, timeout_at};

use super::connection::peer;
use super::raw_head;
use crate::accept::guard::{ConnectionSlot, ConnectionSlots};
use crate::telemetry::{ConnectionClosed, Metrics};

/// What the connections of a listener may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections.
    pub connections: usize,
    /// From the beginning of a connection to the end of its request's head.
    pub head: Duration,
    /// For the whole connection, where its application has no closer deadline.
    pub connection: Duration,
}

/// An application of one request a connection, within its bounds. Clones share the slots.
#[derive(Clone)]
pub struct Bounded<A> {
    app: A,
    slots: ConnectionSlots,
    bounds: Bounds,
    metrics: Arc<Metrics>,
}

impl<A: HttpServerApp + Clone + Send + Sync + 'static> Bounded<A> {
    pub fn new(app: A, bounds: Bounds, metrics: Arc<Metrics>) -> Self {
        Self { app, slots: ConnectionSlots::new(bounds.connections, bounds.connections), bounds, metrics }
    }

    /// Makes it the bounds of another application, with which it shares the slots.
    pub fn with_app(&self, app: A) -> Self {
        Self { app, ..self.clone() }
    }

    /// Takes one connection and what it asks for.
    pub async fn take(&self, stream: Stream, shutdown: &ShutdownWatch) {
        let grant = self.slots.take(peer(&stream), &[]);
        if grant.eviction().is_some() {
            self.metrics.connection_closed(ConnectionClosed::AdminFull);
        }
        let Some(slot) = grant.slot() else { return self.metrics.connection_refused() };
        let deadline = Instant::now() + self.bounds.connection;
        drop(timeout_at(deadline, self.request(stream, &slot, shutdown)).await);
    }

    async fn request(&self, mut stream: Stream, slot: &ConnectionSlot, shutdown: &ShutdownWatch) {
        let deadline = Instant::now() + self.bounds.head;
        let head = async {
            let mut bytes = raw_head::first_bytes(&mut stream, self.bounds.head).await?;
            match raw_head::whole_head(&mut stream, &mut bytes, deadline).await {
                // The application says what is wrong with a malformed one.
                Ok(_) | Err(raw_head::BadHead::Malformed) => Some(bytes),
                Err(raw_head::BadHead::TooLarge | raw_head::BadHead::TooSlow | raw_head::BadHead::Cut) => None,
            }
        };
        let bytes = tokio::select! {
            biased;
            bytes = head => bytes,
            () = slot.wanted() => None,
        };
        let Some(bytes) = bytes else { return };
        let mut session = ServerSession::new_http1(stream);
        session.set_pipelined_prefix(bytes);
        drop(Arc::new(self.app.clone()).process_new_http(session, shutdown).await);
    }
}

#[async_trait]
impl<A: HttpServerApp + Clone + Send + Sync + 'static> ServerApp for Bounded<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        self.take(stream, shutdown).await;
        None
    }
}
