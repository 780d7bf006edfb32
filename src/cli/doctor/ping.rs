//! A request of our own through the public address, as a plugin posts: without a valid token, so that nothing is stored.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{self, HeaderMap};
use reqwest::tls::TlsInfo;
use serde::Deserialize;
use tokio::time::Instant;

use super::address::PublicAddress;
use crate::cli::replay::post::{self, Client};
use crate::config::Validity;
use crate::kaicalls::NoAnswer;
use crate::telemetry::{PING_PREFIX, ping_origin};

/// For the small request, and for one with a large body.
const PING_TIME: Duration = Duration::from_secs(15);
const BODY_TIME: Duration = Duration::from_secs(60);
/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// Longest header of an answer that is shown, in characters.
const HEADER_MAX: usize = 200;
/// How every problem of formgate's begins.
const PROBLEM: &str = "urn:formgate:problem:";

/// What posts, and the name it posts under.
pub(super) struct Pinger {
    client: Client,
    url: String,
    /// What the gateway is told to expect.
    pub(super) name: String,
}

/// What came back.
pub(super) type Pinged = Result<Answer, NoAnswer>;

/// An answer, whoever gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Where a redirect leads.
    pub(super) location: Option<String>,
    /// What the answer says it was made by.
    pub(super) server: Option<String>,
    /// Whether it is formgate's own.
    pub(super) is_formgate: bool,
    pub(super) took: Duration,
    /// When the certificate that was shown ends; none without TLS.
    pub(super) certificate_ends: Option<Timestamp>,
}

#[derive(Deserialize)]
struct ProblemType {
    #[serde(rename = "type")]
    kind: String,
}

impl Pinger {
    /// Makes a client and a name that nobody can guess.
    pub(super) fn new(address: &PublicAddress) -> Result<Self, reqwest::Error> {
        let builder = post::builder().tls_info(true).user_agent(concat!("formgate-doctor/", env!("CARGO_PKG_VERSION")));
        // Without TLS no certificates are needed, and a small container may have none to load.
        let client = if address.is_https { builder.build()? } else { builder.tls_certs_only([]).build()? };
        let name = format!("{PING_PREFIX}{}", hex::encode(rand::random::<[u8; 16]>()));
        Ok(Self { client, url: format!("{}/hooks/{name}", address.url), name })
    }

    /// Posts a small form.
    pub(super) async fn post(&self) -> Pinged {
        self.send(Bytes::from_static(b"name=formgate+doctor"), PING_TIME).await
    }

    /// Posts a body of a size.
    pub(super) async fn post_bytes(&self, bytes: usize) -> Pinged {
        self.send(vec![b'x'; bytes].into(), BODY_TIME).await
    }

    async fn send(&self, body: Bytes, time: Duration) -> Pinged {
        let begun = Instant::now();
        let request = self.client.post(format!("{}?token={}", self.url, self.name)).timeout(time).body(body);
        // In each place, so that it is known which of them comes through.
        let request = request.bearer_auth(&self.name);
        let request = request.header("x-formgate-token", &self.name).header(header::ORIGIN, ping_origin(&self.name));
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let mut response = request.send().await.map_err(|error| NoAnswer::of(&error))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let certificate = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
        let certificate_ends = certificate.and_then(Validity::of_certificate).map(|validity| validity.ends);
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                break;
            }
        }
        let problem: Option<ProblemType> = serde_json::from_slice(&body).ok();
        Ok(Answer {
            status,
            location: text(&headers, &header::LOCATION),
            server: text(&headers, &header::SERVER),
            is_formgate: problem.is_some_and(|problem| problem.kind.starts_with(PROBLEM)),
            took: begun.elapsed(),
            certificate_ends,
        })
    }
}

impl Answer {
    /// Says who gave it, as far as it says so itself.
    pub(super) fn by(&self) -> String {
        match &self.server {
            Some(server) => format!("{} from a server called {server}", self.status),
            None => self.status.to_string(),
        }
    }
}

/// A redirect's query may repeat what was sent; it is left out.
fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.split('?').next().unwrap_or_default().chars().take(HEADER_MAX).collect())
}
