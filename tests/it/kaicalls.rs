//! The API's client against an API that says what the test wants.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use formgate::destination::{BaseUrl, KeyPair, RetryAfter, Secret};
use formgate::kaicalls::{
    Accepted, Answer, Client, ConnectFault, Envelope, FailureKind, LiveKey, NewConnection, NoAnswer, Options, Reply,
    TlsFault, UnexpectedBody,
};
use formgate::lead::{Draft, EntryId, Lead};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::scripted_api::{self, ScriptedApi};

fn client(base_url: &str) -> Client {
    client_with(base_url, |_| {})
}

fn client_with(base_url: &str, change: impl FnOnce(&mut Options)) -> Client {
    let mut options = Options::new(BaseUrl::parse(base_url).expect("a base URL"));
    change(&mut options);
    Client::new(options).expect("a client")
}

fn keys() -> KeyPair {
    KeyPair::new("wp_pk_abc", &Secret::new("wp_sk_def".to_owned())).expect("keys")
}

fn lead() -> Lead {
    let draft = Draft {
        name: Some("Jane Doe"),
        email: Some("jane@example.com"),
        phone: Some("+15035550123"),
        message: Some("Hello"),
        ..Draft::default()
    };
    Lead::check(draft).expect("a lead").lead
}

fn id() -> EntryId {
    EntryId::new(1_790_000_000_000, &[7; 10])
}

async fn intake(client: &Client) -> Reply {
    client.intake(&keys(), &lead(), id(), None).await
}

fn answered<T>(reply: Reply<T>) -> Answer<T> {
    let answer = match reply {
        Reply::Answered(answer) => Ok(answer),
        Reply::Failed(failure) => Err(failure),
    };
    answer.expect("an answer")
}

fn success<T: std::fmt::Debug>(reply: Reply<T>) -> T {
    let success = match answered(reply).envelope {
        Envelope::Success(success) => Ok(success),
        other => Err(other),
    };
    success.expect("a success")
}

/// Sends one lead to an API that answers so.
async fn answer_to(reply: scripted_api::Reply) -> Answer {
    let api = ScriptedApi::start().await;
    api.on_intake(reply);
    answered(intake(&client(&api.base_url())).await)
}

async fn failure_of(client: &Client) -> NoAnswer {
    let failure = match intake(client).await {
        Reply::Answered(answer) => Err(answer),
        Reply::Failed(failure) => Ok(failure),
    };
    failure.expect("a failure")
}

fn taken(lead_id: &str) -> Envelope {
    Envelope::Success(Accepted { lead_id: Some(lead_id.to_owned()) })
}

#[tokio::test]
async fn a_lead_is_sent_as_the_api_documents() {
    let api = ScriptedApi::start().await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let reply = client(&api.base_url()).intake(&keys(), &lead(), id(), Some(traceparent)).await;
    let answer = answered(reply);
    assert_eq!((answer.status, answer.envelope, answer.words), (200, taken("lead_1"), None));

    let requests = api.requests();
    assert_eq!(requests.len(), 1);
    let request = requests.first().expect("one request");
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/v1/wordpress/intake"));
    assert_eq!(request.header("authorization"), Some("Bearer wp_pk_abc:wp_sk_def"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("idempotency-key"), Some(id().to_string().as_str()));
    assert_eq!(request.header("traceparent"), Some(traceparent));
    assert_eq!(request.header("user-agent"), Some(concat!("formgate/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        r#"{"name":"Jane Doe","email":"jane@example.com","phone":"+15035550123","message":"Hello"}"#
    );
}

#[tokio::test]
async fn both_error_envelopes_come_back_with_their_words() {
    let answer = answer_to(scripted_api::Reply::error(401, "Unauthorized")).await;
    assert_eq!((answer.status, answer.envelope), (401, Envelope::Failure));
    assert_eq!(answer.words.as_deref(), Some("Unauthorized"));

    let body = r#"{"error":{"code":"rate_limited","message":"Too many requests"}}"#;
    let answer = answer_to(scripted_api::Reply::json(429, body)).await;
    assert_eq!((answer.status, answer.envelope), (429, Envelope::Failure));
    assert_eq!(answer.words.as_deref(), Some("Too many requests"));
}

#[tokio::test]
async fn words_come_back_without_the_lead_and_without_keys() {
    let said = "jane@example.com (Jane Doe, 503-555-0123) was refused for wp_sk_def";
    let answer = answer_to(scripted_api::Reply::error(400, said)).await;
    assert_eq!(answer.words.as_deref(), Some("… (…, …) was refused for …"));
    let shown = format!("{answer:?}");
    assert!(!shown.contains("ane") && !shown.contains("wp_sk"), "{shown}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let api = ScriptedApi::start().await;
    let elsewhere = ScriptedApi::start().await;
    let to = format!("{}/api/v1/wordpress/intake", elsewhere.base_url());
    for status in [301, 302, 303, 307, 308] {
        api.on_intake(scripted_api::Reply::with_headers(status, &[("location", &to)], ""));
        let answer = answered(intake(&client(&api.base_url())).await);
        assert_eq!((answer.status, answer.envelope), (status, Envelope::Other(UnexpectedBody::Empty)));
    }
    assert_eq!(elsewhere.requests().len(), 0);
    assert_eq!(api.requests().len(), 5);
}

#[tokio::test]
async fn a_200_without_an_envelope_is_not_a_success() {
    let html = answer_to(scripted_api::Reply::html(200, "<html>maintenance</html>")).await;
    assert_eq!((html.status, html.envelope), (200, Envelope::Other(UnexpectedBody::Html)));
    let empty = answer_to(scripted_api::Reply::json(200, "")).await;
    assert_eq!((empty.status, empty.envelope), (200, Envelope::Other(UnexpectedBody::Empty)));
    let none = answer_to(scripted_api::Reply::raw("HTTP/1.1 204 No Content\r\n\r\n")).await;
    assert_eq!((none.status, none.envelope), (204, Envelope::Other(UnexpectedBody::Empty)));
}

#[tokio::test]
async fn a_long_body_is_cut_and_a_body_of_64_kib_is_read() {
    let answer = answer_to(scripted_api::Reply::large(502, 10 << 20)).await;
    assert_eq!((answer.status, answer.envelope), (502, Envelope::Other(UnexpectedBody::TooLong)));

    let start = r#"{"success":true,"leadId":"lead_9","pad":""#;
    let body = format!(r#"{start}{}"}}"#, "x".repeat(64 * 1024 - start.len() - 2));
    assert_eq!(body.len(), 64 * 1024);
    assert_eq!(answer_to(scripted_api::Reply::json(200, &body)).await.envelope, taken("lead_9"));
    let longer = format!("{body} ");
    assert_eq!(answer_to(scripted_api::Reply::json(200, &longer)).await.envelope, taken("lead_9"));
}

#[tokio::test]
async fn informational_noise_comes_before_the_answer() {
    let noise = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let answer = answer_to(scripted_api::Reply::success("lead_5").preceded_by(noise)).await;
    assert_eq!((answer.status, answer.envelope), (200, taken("lead_5")));
}

#[tokio::test]
async fn retry_after_and_date_are_read_in_both_forms() {
    let headers = [("retry-after", "120"), ("date", "Sat, 01 Aug 2026 10:00:00 GMT")];
    let answer = answer_to(scripted_api::Reply::with_headers(503, &headers, "")).await;
    assert_eq!(answer.retry_after, Some(RetryAfter::After(Duration::from_secs(120))));
    let date = answer.date.expect("a date");
    assert_eq!(date.to_string(), "2026-08-01T10:00:00Z");

    let headers = [("retry-after", "Sat, 01 Aug 2026 10:05:00 GMT")];
    let answer = answer_to(scripted_api::Reply::with_headers(429, &headers, "")).await;
    assert_eq!(answer.retry_after.map(|after| after.wait(date)), Some(Duration::from_secs(300)));
    let headers = [("retry-after", "in a while"), ("date", "yesterday")];
    let answer = answer_to(scripted_api::Reply::with_headers(429, &headers, "")).await;
    assert_eq!((answer.retry_after, answer.date), (None, None));
}

#[tokio::test]
async fn a_lead_that_may_have_arrived_is_told_from_one_that_did_not() {
    let api = ScriptedApi::start().await;
    let client = client(&api.base_url());
    let interrupted = NoAnswer { kind: FailureKind::Interrupted, sent: true };
    api.on_intake(scripted_api::Reply::close());
    assert_eq!(failure_of(&client).await, interrupted);
    api.on_intake(scripted_api::Reply::reset());
    assert_eq!(failure_of(&client).await, interrupted);
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"success\":true";
    api.on_intake(scripted_api::Reply::raw(half).then_close());
    assert_eq!(failure_of(&client).await, interrupted);
    api.on_intake(scripted_api::Reply::raw(half).then_reset());
    assert_eq!(failure_of(&client).await, interrupted);
    api.on_intake(scripted_api::Reply::raw("SSH-2.0-OpenSSH_9.2\r\n").then_close());
    assert_eq!(failure_of(&client).await, interrupted);
    assert_eq!(api.requests().len(), 5, "nothing is repeated");

    api.go_away().await;
    let refused = NoAnswer { kind: FailureKind::Connect(ConnectFault::Refused), sent: false };
    assert_eq!(failure_of(&client).await, refused);
    assert_eq!(refused.to_string(), "connection refused");
    api.come_back().await;
    let answer = answered(intake(&client).await);
    assert_eq!(answer.envelope, taken("lead_1"));
}

#[tokio::test]
async fn silence_ends_with_the_time_out() {
    let api = ScriptedApi::start().await;
    let client = client_with(&api.base_url(), |options| options.timeout = Duration::from_millis(200));
    let timeout = NoAnswer { kind: FailureKind::Timeout, sent: true };
    api.on_intake(scripted_api::Reply::silence());
    assert_eq!(failure_of(&client).await, timeout);
    api.on_intake(scripted_api::Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{").then_silence());
    assert_eq!(failure_of(&client).await, timeout);
}

#[tokio::test]
async fn a_name_without_an_address_is_a_failure_of_its_own() {
    let failure = failure_of(&client("https://kaicalls.invalid")).await;
    assert_eq!(failure, NoAnswer { kind: FailureKind::Dns, sent: false });
    assert_eq!((failure.to_string().as_str(), failure.kind.as_str()), ("host name not found (DNS)", "dns"));
}

#[tokio::test]
async fn keys_are_verified_and_minted_and_the_widget_is_read() {
    let api = ScriptedApi::start().await;
    let client = client(&api.base_url());
    let verified = success(client.verify(&keys()).await);
    assert_eq!(verified.business_id.as_deref(), Some("biz_1"));

    let widget =
        r#"{"success":true,"recentLeads":[{"name":"Ann","created_at":"2026-06-27T14:03:00Z"}],"leadsThisWeek":12}"#;
    api.on("/dashboard-widget", scripted_api::Reply::json(200, widget));
    let widget = success(client.dashboard_widget(&keys()).await);
    assert_eq!((widget.recent_leads.len(), widget.leads_this_week), (1, 12));

    let minted = r#"{"success":true,"publicKey":"wp_pk_new","secretKey":"wp_sk_new","businessId":"biz_1","connectionId":"conn_1"}"#;
    api.on("/keys/create", scripted_api::Reply::json(200, minted));
    let live = LiveKey::parse("kc_live_abc").expect("a key");
    let site = NewConnection { site_url: Some("https://acme.example".to_owned()), business_id: None };
    let minted = success(client.create_keys(&live, &site).await);
    assert_eq!((minted.keys.public(), minted.keys.secret().expose()), ("wp_pk_new", "wp_sk_new"));

    let requests = api.requests();
    let asked: Vec<_> = requests.iter().map(|r| (r.path.as_str(), r.header("authorization"))).collect();
    let expected = [
        ("/api/v1/wordpress/auth/verify", None),
        ("/api/v1/wordpress/dashboard-widget", Some("Bearer wp_pk_abc:wp_sk_def")),
        ("/api/v1/wordpress/keys/create", Some("Bearer kc_live_abc")),
    ];
    assert_eq!(asked, expected);
    let bodies: Vec<_> = requests.iter().filter(|r| r.method == "POST").map(|r| r.json()).collect();
    let keys = serde_json::json!({"publicKey": "wp_pk_abc", "apiKey": "wp_sk_def"});
    assert_eq!(bodies, [keys, serde_json::json!({"siteUrl": "https://acme.example"})]);
}

#[tokio::test]
async fn a_certificate_is_checked_and_its_fault_is_named() {
    let ca = include_bytes!("tls/ca.pem").to_vec();
    let good: &[u8] = include_bytes!("tls/good.pem");
    let trusting =
        |certificate: &'static [u8]| client_with(&tls_server(certificate), |options| options.roots = Some(ca.clone()));
    let answer = answered(intake(&trusting(good)).await);
    assert_eq!(answer.envelope, taken("lead_tls"));

    let fault = |fault| NoAnswer { kind: FailureKind::Tls(fault), sent: false };
    let expired = failure_of(&trusting(include_bytes!("tls/expired.pem"))).await;
    assert_eq!(expired, fault(TlsFault::Expired));
    assert_eq!(expired.to_string(), "TLS: certificate expired");
    assert_eq!(failure_of(&trusting(include_bytes!("tls/elsewhere.pem"))).await, fault(TlsFault::WrongName));
    assert_eq!(failure_of(&client(&tls_server(good))).await, fault(TlsFault::UnknownIssuer));

    let api = ScriptedApi::start().await;
    api.close_connections(1);
    let closed = failure_of(&client(&api.base_url().replace("http:", "https:"))).await;
    assert_eq!(closed, NoAnswer { kind: FailureKind::Connect(ConnectFault::Closed), sent: false });
}

/// Serves one connection over TLS with a certificate of the test authority, and takes the JSON that is posted to it.
pub(crate) fn tls_server(certificate: &[u8]) -> String {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("key and certificate belong together");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut tls = rustls::ServerConnection::new(Arc::new(config)).expect("a session");
        let mut stream = rustls::Stream::new(&mut tls, &mut stream);
        let (mut head, mut chunk) = (Vec::new(), [0; 4096]);
        // A client that does not trust the certificate goes away here.
        while !head.ends_with(b"}") {
            let Ok(read) = stream.read(&mut chunk) else { return };
            head.extend_from_slice(chunk.get(..read).unwrap_or_default());
        }
        let body = r#"{"success":true,"leadId":"lead_tls"}"#;
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).expect("it is written");
    });
    format!("https://localhost:{port}")
}
