//! Requests that have shown no valid credential: how many there may be.

use std::net::IpAddr;

use pingora::protocols::http::ServerSession;

use crate::accept::gateway::Gateway;
use crate::accept::outcome::{Outcome, Refusal, Trail};
use crate::accept::wire::BadHead;
use crate::config::{Config, Limits};

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
        let is_behind_proxy = |peer: &IpAddr| crate::http::is_trusted(*peer, &server.trusted_proxies);
        trail.client = peer.filter(|peer| server.client_address.is_none() || !is_behind_proxy(peer));
        let outcome = Outcome::Refused(Refusal::Head(bad));
        let counted = trail.client.map_or(Ok(()), |address| self.limiters.client(&config.limits, address));
        counted.err().map_or(outcome, |over| Outcome::Refused(Refusal::Limited(over)))
    }
}
