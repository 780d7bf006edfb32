//! Posts an event to a URL, once, and tells what came of it. When to try again is for who sends.
//!
//! ```text
//! POST https://…                  it follows no redirect, takes no proxy from the environment
//! webhook-id: evt_…               the same on every try
//! webhook-timestamp: 1785575520   of this try
//! webhook-signature: v1,… v1,…    by each secret (Standard Webhooks 1.0)
//!
//! {"type":"site.paused","timestamp":"2026-08-01T09:12:00Z","data":{…}}
//! ```
//!
//! A URL may be chosen by somebody who should not reach this network's own machines, so every connection's address is
//! judged ([`reach`]). Of an answer only the status and `Retry-After` are used: its body is neither read nor shown.

mod answer;
mod body;
mod failure;
mod reach;
mod signature;

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Certificate, Client, StatusCode, Url};

use super::{Sent, SinkSetupError};
use crate::config::WebhookTarget;
use crate::notify::notice::Notice;
use failure::Failure;
use reach::{Lookup, Reach, Resolver};

const USER_AGENT: &str = concat!("formgate/", env!("CARGO_PKG_VERSION"));
/// For one request, from the name to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// For name, connection and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A sink is sent one event after the other; a second connection serves another sink of the same host.
const IDLE_CONNECTIONS_MAX: usize = 2;
/// Shorter than most servers': few requests meet a connection that is being closed.
const IDLE: Duration = Duration::from_secs(30);

/// Posts events to webhooks. Cheap to clone; all sinks share its connections.
#[derive(Clone, Debug)]
pub struct WebhookClient {
    // A client for each reach: a pool knows a connection by its host alone, so a connection to a private address that one
    // sink may use would otherwise serve another sink that may not.
    public: Client,
    loopback: Client,
    anywhere: Client,
}

impl WebhookClient {
    /// Builds the client. No connection is made yet.
    pub fn new() -> Result<Self, SinkSetupError> {
        Self::build(&[], &reach::system_lookup())
    }

    /// Builds a client that trusts these PEM certificates as well as the system's.
    pub fn with_roots(pem: &[u8]) -> Result<Self, SinkSetupError> {
        let roots = Certificate::from_pem_bundle(pem).map_err(SinkSetupError::Http)?;
        Self::build(&roots, &reach::system_lookup())
    }

    fn build(roots: &[Certificate], lookup: &Lookup) -> Result<Self, SinkSetupError> {
        // A second installation, or another's before, is refused and does no harm.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = |reach: Reach| {
            let mut builder = Client::builder()
                .user_agent(USER_AGENT)
                .dns_resolver(Resolver::new(reach, lookup.clone()))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .referer(false)
                .https_only(reach != Reach::Loopback)
                .timeout(TIMEOUT)
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
                .pool_idle_timeout(IDLE);
            builder = match reach {
                // It needs no certificates, and a small container may have none to load.
                Reach::Loopback => builder.tls_certs_only([]),
                Reach::Public | Reach::Anywhere => builder.tls_certs_merge(roots.iter().cloned()),
            };
            builder.build().map_err(SinkSetupError::Http)
        };
        Ok(Self {
            public: client(Reach::Public)?,
            loopback: client(Reach::Loopback)?,
            anywhere: client(Reach::Anywhere)?,
        })
    }

    /// Sends an event. `now` is the time of this try: receivers refuse what is signed for another time.
    pub async fn post(&self, target: &WebhookTarget, notice: &Notice, now: Timestamp) -> Sent {
        match self.exchange(target, notice, now).await {
            // Dropped with it, the body is not read on: the connection is kept only where the whole has come already.
            Ok((status, headers)) => answer::judge(status, &headers, now),
            Err(failure) => Sent::Failed(failure.into()),
        }
    }

    async fn exchange(
        &self,
        target: &WebhookTarget,
        notice: &Notice,
        now: Timestamp,
    ) -> Result<(StatusCode, HeaderMap), Failure> {
        // The parser's error says nothing that the failure doesn't.
        let url = Url::parse(target.url.expose()).ok().ok_or(Failure::Request)?;
        let client = match Reach::of(&url, target.allow_private)? {
            Reach::Public => &self.public,
            Reach::Loopback => &self.loopback,
            Reach::Anywhere => &self.anywhere,
        };
        let body = body::write(notice, target.format);
        let mut request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", now.as_second());
        if let Some(signatures) = signature::sign(&target.secrets, &notice.id, now, &body) {
            request = request.header("webhook-signature", signatures);
        }
        let mut response = request.body(body).send().await.map_err(|error| Failure::of(&error))?;
        Ok((response.status(), std::mem::take(response.headers_mut())))
    }
}
