//! Which machines a webhook may reach, judged by the address that is connected to.
//!
//! A name that pointed to a public address when it was checked can point to `169.254.169.254` when it is used. So names
//! are judged where the connection asks for their addresses, and it gets the ones that were judged and no others. A host
//! that is an address itself is asked of no resolver, and is judged before.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::destination::is_public;

/// Finds the addresses of a name.
pub(super) type Lookup = Arc<dyn Fn(String) -> Looking + Send + Sync>;
pub(super) type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Public,
    /// `http://` to this machine: the operator has said so, and nobody else can be meant.
    Loopback,
    /// `allow_private = true`.
    Anywhere,
}

/// The only address there is, or the first of several, may not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("private address ({0}); set allow_private = true if it is meant")]
pub(super) struct PrivateAddress(IpAddr);

/// A resolver that gives only addresses that may be connected to.
pub(super) struct Resolver {
    reach: Reach,
    lookup: Lookup,
}

impl Reach {
    /// Tells what a URL may reach; fails where it names an address that it may not.
    pub(super) fn of(url: &Url, allow_private: bool) -> Result<Self, PrivateAddress> {
        // The parser has made every spelling of an IPv4 address (0x7f.1, 2130706433) the usual one.
        let host = url.host_str().unwrap_or_default();
        let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        let is_loopback = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        if url.scheme() == "http" && is_loopback {
            return Ok(Self::Loopback);
        }
        let reach = if allow_private { Self::Anywhere } else { Self::Public };
        match address {
            Some(address) if !reach.admits(address) => Err(PrivateAddress(address)),
            _ => Ok(reach),
        }
    }

    fn admits(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Loopback => address.is_loopback(),
            Self::Anywhere => true,
        }
    }

    /// Keeps the addresses that may be connected to; fails where there were only others.
    fn admit(self, mut found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, PrivateAddress> {
        let first = found.first().map(SocketAddr::ip);
        found.retain(|address| self.admits(address.ip()));
        match first {
            Some(first) if found.is_empty() => Err(PrivateAddress(first)),
            _ => Ok(found),
        }
    }
}

impl Resolver {
    pub(super) fn new(reach: Reach, lookup: Lookup) -> Self {
        Self { reach, lookup }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        let looking = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let admitted = reach.admit(looking.await?)?;
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// Asks the system's resolver.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            // The port is the URL's; here it is left open.
            Ok(tokio::net::lookup_host((name, 0)).await?.collect())
        })
    })
}
