//! Requests that have shown no valid credential: what is read of them, and how many there may be.

use std::net::IpAddr;

use pingora::protocols::http::ServerSession;

use super::client_address;
use crate::accept::gateway::{Gateway, Request};
use crate::accept::outcome::{Outcome, Refusal, Trail};
use crate::accept::submission::{Body, Taking};
use crate::accept::wire::BadHead;
use crate::config::{Config, Limits};
use crate::pipeline::Keeper;

/// Bodies of senders that have shown no credential yet are read as long as all together hold this part of `max_reading`.
const STRANGERS_SHARE: u64 = 4;

/// Refuses credentials that fit nowhere. While a broken file may hold the site they are for, nobody can tell.
pub(in crate::accept) fn unauthorized(config: &Config) -> Refusal {
    if config.missing.credentials { Refusal::CredentialsUnknown } else { Refusal::Unauthorized }
}

impl Gateway {
    /// Counts a request without a valid credential, whatever it is refused for; gives its end, or that it comes too
    /// often. The address goes first, so that one that floods uses up its own allowance and not the gateway's.
    pub(in crate::accept) fn strangers(&self, limits: &Limits, client: Option<IpAddr>, outcome: Outcome) -> Outcome {
        if !matches!(outcome, Outcome::Refused(_)) || matches!(outcome, Outcome::Refused(Refusal::Limited(_))) {
            return outcome;
        }
        // These cost next to nothing, and must not use up what plugins need.
        let is_cheap = matches!(outcome, Outcome::Refused(Refusal::NotFound | Refusal::Method(_) | Refusal::Head(_)));
        let by_address = client.map_or(Ok(()), |address| self.limiters.client(limits, address));
        let counted = by_address.and_then(|()| if is_cheap { Ok(()) } else { self.limiters.gateway(limits) });
        match counted {
            // What follows a broken body is no request: its own end closes the connection.
            Err(over) if !outcome.loses_framing() => Outcome::Refused(Refusal::Limited(over)),
            _ => outcome,
        }
    }

    /// Ends a request whose head is malformed. A proxy's word for whose it is can't be read.
    pub(in crate::accept) fn malformed(&self, session: &ServerSession, bad: BadHead, trail: &mut Trail) -> Outcome {
        let config = self.config.load();
        let peer = session.client_addr().and_then(|peer| peer.as_inet()).map(|peer| peer.ip());
        let server = &config.server;
        let is_behind_proxy = |peer: &IpAddr| client_address::is_trusted(*peer, &server.trusted_proxies);
        trail.client = peer.filter(|peer| server.client_address.is_none() || !is_behind_proxy(peer));
        let outcome = Outcome::Refused(Refusal::Head(bad));
        let counted = trail.client.map_or(Ok(()), |address| self.limiters.client(&config.limits, address));
        counted.err().map_or(outcome, |over| Outcome::Refused(Refusal::Limited(over)))
    }

    /// Reads a body byte for byte before it is known who sends it: those who may post keep most of the room.
    pub(in crate::accept) async fn strangers_body(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        max: u64,
    ) -> Result<Body, Refusal> {
        let max_together = (request.config.server.max_reading / STRANGERS_SHARE).max(max);
        let room = usize::try_from(max).unwrap_or(usize::MAX);
        let taking = Taking::new(Keeper::as_it_comes(room), room, self.keeping);
        self.body(session, request, taking, max, max_together).await
    }
}
