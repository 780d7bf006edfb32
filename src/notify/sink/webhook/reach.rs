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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use parking_lot::Mutex;

    use super::*;
    use crate::config::{WebhookFormat, WebhookTarget};
    use crate::destination::Secret;
    use crate::event::EventType;
    use crate::notify::notice::{Data, Notice, TestData};
    use crate::notify::sink::webhook::WebhookClient;
    use crate::notify::sink::{Sent, SinkFailure};

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 0)).collect()
    }

    /// Answers with each of these in turn.
    fn scripted(answers: &[&[&str]]) -> (Lookup, Arc<Mutex<VecDeque<Vec<SocketAddr>>>>) {
        let answers: VecDeque<Vec<SocketAddr>> = answers.iter().map(|answer| addresses(answer)).collect();
        let left = Arc::new(Mutex::new(answers));
        let answers = Arc::clone(&left);
        let lookup: Lookup = Arc::new(move |_name| {
            let answer = answers.lock().pop_front().expect("an answer is left");
            Box::pin(std::future::ready(Ok(answer)))
        });
        (lookup, left)
    }

    async fn resolved(resolver: &Resolver) -> Result<Vec<SocketAddr>, String> {
        let found = resolver.resolve("hook.example".parse().expect("a name")).await;
        found.map(Iterator::collect).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_name_leads_to_its_public_addresses_only() {
        let (lookup, _) =
            scripted(&[&["10.0.0.5", "8.8.8.8", "::1", "2606:4700::1111"], &["10.0.0.5", "127.0.0.1"], &[]]);
        let resolver = Resolver::new(Reach::Public, lookup);
        assert_eq!(resolved(&resolver).await, Ok(addresses(&["8.8.8.8", "2606:4700::1111"])));
        let private = "private address (10.0.0.5); set allow_private = true if it is meant";
        assert_eq!(resolved(&resolver).await, Err(private.to_owned()));
        assert_eq!(resolved(&resolver).await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn a_name_that_turns_private_is_refused_from_then_on() {
        let (lookup, _) = scripted(&[&["8.8.8.8"], &["169.254.169.254"]]);
        let resolver = Resolver::new(Reach::Public, lookup);
        assert_eq!(resolved(&resolver).await, Ok(addresses(&["8.8.8.8"])));
        assert!(resolved(&resolver).await.is_err());
    }

    #[tokio::test]
    async fn localhost_leads_to_loopback_only() {
        let (lookup, _) = scripted(&[&["127.0.0.1", "8.8.8.8"], &["8.8.8.8"]]);
        let resolver = Resolver::new(Reach::Loopback, lookup);
        assert_eq!(resolved(&resolver).await, Ok(addresses(&["127.0.0.1"])));
        assert!(resolved(&resolver).await.is_err());
    }

    /// The second answer is what an attacker's resolver gives to who asks once to judge and once to connect.
    #[tokio::test]
    async fn the_connection_uses_the_answer_that_was_judged() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (lookup, left) = scripted(&[&["127.0.0.1"], &["8.8.8.8"]]);
        let client = WebhookClient::build(&[], &lookup).expect("a client");
        let target = WebhookTarget {
            url: Secret::new(format!("https://hook.example:{port}/")),
            secrets: Vec::new(),
            format: WebhookFormat::Standard,
            allow_private: false,
        };
        let data = TestData { gateway: String::new(), sink: "ops".to_owned(), message: "a test" };
        let at = "2026-08-01T09:12:00Z".parse().expect("a time");
        let notice = Notice { id: "evt_1".to_owned(), event: EventType::NotifyTest, at, data: Data::Test(data) };
        let Sent::Failed(SinkFailure { why, .. }) = client.post(&target, &notice, at).await else {
            panic!("it was sent");
        };
        assert_eq!(why, "private address (127.0.0.1); set allow_private = true if it is meant");
        assert_eq!(left.lock().len(), 1, "it is looked up once");
        let connection = have_now(listener.accept());
        assert!(connection.is_none(), "nobody connected");
    }

    /// Returns what a future has by now.
    fn have_now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match Box::pin(future).as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn each_url_has_its_reach() {
        let reach = |url: &str, allow_private| Reach::of(&Url::parse(url).expect("a URL"), allow_private);
        for url in ["http://localhost:8080/x", "http://127.0.0.1", "http://127.9.9.9", "http://[::1]/"] {
            assert_eq!(reach(url, false), Ok(Reach::Loopback), "{url}");
            assert_eq!(reach(url, true), Ok(Reach::Loopback), "{url}");
        }
        for url in ["https://hook.example", "https://8.8.8.8", "https://localhost", "http://localhost.example"] {
            assert_eq!(reach(url, false), Ok(Reach::Public), "{url}");
        }
        for url in ["https://10.0.0.5", "https://[fd00::1]", "https://127.0.0.1", "http://10.0.0.5", "https://0/"] {
            assert!(reach(url, false).is_err(), "{url}");
            assert_eq!(reach(url, true), Ok(Reach::Anywhere), "{url}");
        }
    }
}
