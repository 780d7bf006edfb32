//! HTTP/2: one connection, many requests at once, each answered as one of HTTP/1.1 is.

use std::sync::Arc;

use http::Method;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{self, H2Accept, H2Options, HttpSession};
use pingora::protocols::{Digest, Stream};
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::head::RequestHead;
use super::raw_head::HEAD_MAX;
use crate::accept::gateway::Gateway;
use crate::accept::guard::ConnectionSlot;
use crate::accept::outcome::Ongoing;
use crate::http::write;

/// Most requests of one connection that are open at once.
const STREAMS_MAX: u32 = 100;
/// Most that are being answered: those that the client took back while they were count here and not there.
const ANSWERING_MAX: usize = 200;
/// Most malformed requests of one connection.
const MALFORMED_MAX: usize = 32;

impl Gateway {
    /// Answers a connection's requests until the client ends it, is silent for too long, or the gateway stops.
    pub(super) async fn streams(&self, stream: Stream, place: &ConnectionSlot, shutdown: &ShutdownWatch) {
        let digest = Arc::new(Digest {
            ssl_digest: stream.get_ssl_digest(),
            timing_digest: stream.get_timing_digest(),
            proxy_digest: stream.get_proxy_digest(),
            socket_digest: stream.get_socket_digest(),
        });
        let opened = timeout(self.options.handshake, server::handshake(stream, Some(limits()))).await;
        let Ok(Ok(mut connection)) = opened else { return };
        let mut shutdown = shutdown.clone();
        let (mut answering, mut stopping, mut malformed) = (JoinSet::new(), false, 0);
        while malformed < MALFORMED_MAX {
            tokio::select! {
                biased;
                _stop = shutdown.wait_for(|stop| *stop), if !stopping => {
                    connection.graceful_shutdown();
                    stopping = true;
                }
                Some(_answered) = answering.join_next() => {}
                // Cancel-safe; it is what reads and writes for all streams.
                accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)),
                    if answering.len() < ANSWERING_MAX => match accepted {
                    Ok(Some(H2Accept::Session(session))) => {
                        let gateway = self.clone();
                        answering.spawn(async move { gateway.stream(session).await });
                    }
                    Ok(Some(H2Accept::Rejected)) => malformed += 1,
                    Ok(None) | Err(_) => break,
                },
                () = tokio::time::sleep(self.options.idle), if answering.is_empty() => break,
                () = place.wanted(), if answering.is_empty() => break,
            }
        }
        drop(connection);
        // What came whole is stored though nobody waits for the answer; each has its deadlines.
        while answering.join_next().await.is_some() {}
    }

    /// Takes one request and answers it.
    async fn stream(&self, session: HttpSession) {
        let _in_flight = self.in_flight.enter();
        let has_body = !session.is_body_empty();
        let mut session = ServerSession::new_http2(session);
        let head = RequestHead::read(session.req_header(), has_body);
        let path = session.req_header().uri.path().to_owned();
        let ended = self.end(&mut session, &head, Some(&path), Ongoing::begin(self)).await;
        let is_head = head.is_ok_and(|head| head.method == Method::HEAD);
        let sent = timeout(self.options.write, write(&mut session, ended.reply, is_head)).await;
        if matches!(sent, Ok(Ok(()))) {
            drop(session.finish().await);
        }
    }
}

fn limits() -> H2Options {
    let mut options = H2Options::new();
    let head_max = u32::try_from(HEAD_MAX).unwrap_or(u32::MAX);
    options.max_concurrent_streams(STREAMS_MAX).max_header_list_size(head_max);
    options
}
