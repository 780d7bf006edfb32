//! KaiCalls' WordPress API, as a client: one typed [`Reply`] for whatever comes back.
//!
//! The only place that speaks HTTP outwards. It follows no redirect, repeats nothing, takes no proxy from the
//! environment and judges nothing: whether a reply means delivered, later or never is for who sends.
//!
//! ```text
//! POST {base}/api/v1/wordpress/intake            Authorization: Bearer wp_pk_…:wp_sk_…     one lead
//! POST {base}/api/v1/wordpress/auth/verify       the keys in the body                      are they valid?
//! GET  {base}/api/v1/wordpress/dashboard-widget  Authorization: Bearer wp_pk_…:wp_sk_…     the recent leads
//! POST {base}/api/v1/wordpress/keys/create       Authorization: Bearer kc_live_…           a fresh pair
//! ```

mod failure;
mod keys;
mod reply;
mod symptom;
mod verdict;
mod words;

use std::time::Duration;

use reqwest::header::{self, HeaderValue};
use reqwest::{Certificate, RequestBuilder, Response};
use serde::Serialize;

use crate::destination::{BaseUrl, KeyPair};
use crate::lead::{EntryId, Lead};

pub use failure::{ConnectFault, FailureKind, NoAnswer, TlsFault};
pub use keys::LiveKey;
use keys::bearer;
pub use reply::{
    Accepted, Answer, BODY_MAX, Envelope, MintedKeys, RecentLead, Reply, UnexpectedBody, Verified, Widget,
};
use reply::{ReplyBody, Success, read_answer};
use words::Mask;

const INTAKE: &str = "/api/v1/wordpress/intake";
const VERIFY: &str = "/api/v1/wordpress/auth/verify";
const WIDGET: &str = "/api/v1/wordpress/dashboard-widget";
const CREATE_KEYS: &str = "/api/v1/wordpress/keys/create";

const USER_AGENT: &str = concat!("formgate/", env!("CARGO_PKG_VERSION"));
/// Longest time for name, connection and TLS; never more than half of the whole time-out.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Idle connections are let go before most servers close them, so that few requests meet a closing one.
const IDLE: Duration = Duration::from_secs(30);
/// A peer that is gone without a word is noticed by these.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How the API is reached.
#[derive(Clone, Debug)]
pub struct Options {
    pub base_url: BaseUrl,
    /// For one request, from the name to the last byte.
    pub timeout: Duration,
    /// So many connections are kept for the next request.
    pub max_in_flight: usize,
    /// PEM certificates that are trusted instead of the system's.
    pub roots: Option<Vec<u8>>,
}

impl Options {
    /// Returns the defaults of the configuration.
    pub fn new(base_url: BaseUrl) -> Self {
        Self { base_url, timeout: Duration::from_secs(30), max_in_flight: 32, roots: None }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the trusted certificates can't be read")]
    Roots(#[source] reqwest::Error),
    #[error("the HTTP client can't be set up")]
    Setup(#[source] reqwest::Error),
}

/// A client of the API. Cheap to clone; all sites share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base_url: BaseUrl,
}

/// What a minted pair is for.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewConnection {
    /// The site, for the operator's own reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_url: Option<String>,
    /// The business; required where the key spans several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerifyBody<'a> {
    public_key: &'a str,
    api_key: &'a str,
}

impl Client {
    /// Builds the client. No connection is made yet.
    pub fn new(options: Options) -> Result<Self, ClientError> {
        // A second installation, or another's before, is refused and does no harm.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .https_only(options.base_url.is_https())
            .timeout(options.timeout)
            .connect_timeout(CONNECT_MAX.min(options.timeout / 2))
            .pool_max_idle_per_host(options.max_in_flight)
            .pool_idle_timeout(IDLE)
            .tcp_keepalive(KEEP_ALIVE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(CONNECT_MAX);
        if let Some(pem) = &options.roots {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(ClientError::Roots)?);
        } else if !options.base_url.is_https() {
            // Loopback needs no certificates, and a small container may have none to load.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(ClientError::Setup)?;
        Ok(Self { http, base_url: options.base_url })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url.as_str())
    }

    /// Sends one lead. The entry's id goes along as `Idempotency-Key`, the same on every try.
    pub async fn intake(&self, keys: &KeyPair, lead: &Lead, id: EntryId, traceparent: Option<&str>) -> Reply {
        let mut request = self
            .http
            .post(self.url(INTAKE))
            .header(header::AUTHORIZATION, bearer(&keys.bearer()))
            .header("idempotency-key", id.to_string())
            .json(lead);
        if let Some(traceparent) = traceparent.and_then(|text| HeaderValue::try_from(text).ok()) {
            request = request.header("traceparent", traceparent);
        }
        exchange(request, || Mask::of(lead)).await
    }

    /// Asks whether a pair of keys is valid.
    pub async fn verify(&self, keys: &KeyPair) -> Reply<Verified> {
        let body = VerifyBody { public_key: keys.public(), api_key: keys.secret().expose() };
        exchange(self.http.post(self.url(VERIFY)).json(&body), Mask::default).await
    }

    /// Asks whether a pair is valid, without one: KaiCalls answers 400 in its own format, something else doesn't.
    pub async fn ask_without_keys(&self) -> Reply<Verified> {
        let body = VerifyBody { public_key: "", api_key: "" };
        exchange(self.http.post(self.url(VERIFY)).json(&body), Mask::default).await
    }

    /// Asks for the recent leads of the business.
    pub async fn dashboard_widget(&self, keys: &KeyPair) -> Reply<Widget> {
        let request = self.http.get(self.url(WIDGET)).header(header::CACHE_CONTROL, "no-cache");
        exchange(request.header(header::AUTHORIZATION, bearer(&keys.bearer())), Mask::default).await
    }

    /// Mints a pair of keys.
    pub async fn create_keys(&self, key: &LiveKey, connection: &NewConnection) -> Reply<MintedKeys> {
        let request = self.http.post(self.url(CREATE_KEYS)).json(connection);
        exchange(request.header(header::AUTHORIZATION, key.authorization()), Mask::default).await
    }
}

/// Sends a request and reads its reply. `mask` hides what must not be seen in the API's words, where it says any.
async fn exchange<T: Success>(request: RequestBuilder, mask: impl FnOnce() -> Mask) -> Reply<T> {
    let request = request.header(header::ACCEPT, "application/json");
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Reply::Failed(NoAnswer::of(&error)),
    };
    match read_body(&mut response).await {
        Ok(body) => Reply::Answered(read_answer(response.status().as_u16(), response.headers(), &body, mask)),
        Err(error) => Reply::Failed(NoAnswer::of(&error)),
    }
}

/// Reads up to [`BODY_MAX`] bytes; what is left when the response is dropped closes the connection.
async fn read_body(response: &mut Response) -> Result<ReplyBody, reqwest::Error> {
    let mut body = ReplyBody::default();
    while let Some(chunk) = response.chunk().await? {
        let room = BODY_MAX - body.bytes.len();
        body.bytes.extend(chunk.iter().take(room));
        if chunk.len() > room {
            body.is_cut = true;
            break;
        }
    }
    Ok(body)
}
