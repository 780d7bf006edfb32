//! The gateway's own TLS, with HTTP/1.1 and HTTP/2 behind it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use formgate::accept::{Options, services};
use formgate::config::{Config, Listen};
use h2::client::SendRequest;
use http::{Method, Request, Version};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::gateway::{Running, TOKEN, lead_body, post, read_to_end, short, start_behind, status};

const GOOD: &[u8] = include_bytes!("tls/good.pem");
const ELSEWHERE: &[u8] = include_bytes!("tls/elsewhere.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");
const PATIENCE: Duration = Duration::from_secs(10);

struct Encrypted {
    gateway: Running,
    folder: tempfile::TempDir,
}

fn files(folder: &Path) -> (PathBuf, PathBuf) {
    let [certificate, key] = ["tls.pem", "tls.key"].map(|name| folder.join(name));
    std::fs::write(&certificate, GOOD).expect("written");
    std::fs::write(&key, KEY).expect("written");
    (certificate, key)
}

fn start_encrypted(options: Options, change: impl FnOnce(&mut Config)) -> Encrypted {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = start_behind(Some(files(folder.path())), options, change, |gateway| gateway);
    Encrypted { gateway, folder }
}

impl Encrypted {
    async fn connect(&self, name: &'static str, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.gateway.address, name, protocols).await
    }

    async fn http2(&self) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
        http2(self.gateway.address).await
    }
}

/// Opens a connection that offers these protocols and trusts what the test authority says of a name.
async fn connect(address: SocketAddr, name: &'static str, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(include_bytes!("tls/ca.pem")).expect("an authority")).expect("added");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn http2(address: SocketAddr) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = connect(address, "localhost", &["h2"]).await.expect("a connection");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    (client.ready().await.expect("ready"), connection)
}

/// Posts once over HTTP/2 and gives status and body of the answer.
pub(crate) async fn http2_to(
    address: SocketAddr,
    path: &str,
    token: &str,
    headers: &[(&'static str, &'static str)],
    body: &str,
) -> (u16, String) {
    let (mut client, _connection) = http2(address).await;
    let mut request = request(Method::POST, path, token);
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().expect("a name");
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    post2(&mut client, request, body).await
}

fn request(method: Method, path: &str, token: &str) -> Request<()> {
    let request = Request::builder().method(method).uri(format!("https://localhost{path}")).version(Version::HTTP_2);
    let request = request.header("content-type", "application/json").header("authorization", format!("Bearer {token}"));
    request.body(()).expect("a request")
}

/// Posts over HTTP/2 and gives status and body of the answer.
async fn post2(client: &mut SendRequest<Bytes>, request: Request<()>, body: &str) -> (u16, String) {
    let (answer, mut sending) = client.send_request(request, false).expect("sent");
    sending.send_data(Bytes::from(body.to_owned()), true).expect("sent");
    let answer = timeout(PATIENCE, answer).await.expect("in time").expect("an answer");
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        text.extend_from_slice(&data.expect("data"));
    }
    (status, String::from_utf8(text).expect("text"))
}

#[tokio::test]
async fn http_1_1_is_served_over_tls_where_the_client_asks_for_it_or_for_nothing() {
    let encrypted = start_encrypted(Options::default(), |_config| {});
    for protocols in [&["http/1.1"][..], &[]] {
        let mut stream = encrypted.connect("localhost", protocols).await.expect("a connection");
        let token = format!("Authorization: Bearer {TOKEN}\r\n");
        let body = lead_body("jane@example.com");
        stream.write_all(post("/hooks/acme", &token, &body).as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer, ended as TLS ends");
        assert_eq!(status(&answer), 200, "{protocols:?}");
    }
}

#[tokio::test]
async fn http_2_goes_the_same_way_as_http_1_1() {
    let encrypted = start_encrypted(Options::default(), |config| {
        config.server.max_body = 150;
        config.server.max_upload = 200;
    });
    let (mut client, _connection) = encrypted.http2().await;
    let body = lead_body("jane@example.com");
    let declared = |length: usize| {
        let mut request = request(Method::POST, "/hooks/acme/contact", TOKEN);
        request.headers_mut().insert("content-length", length.into());
        request
    };
    let post = |path: &str| request(Method::POST, path, TOKEN);
    let stranger = request(Method::POST, "/hooks/acme", "fg_wrong");
    for (request, body, expected) in [
        (declared(body.len()), body.as_str(), (200, "\"queued\"")),
        (post("/hooks/acme/contact"), &body, (200, "\"duplicate\"")),
        (stranger, &body, (401, ":unauthorized\"")),
        (post("/other"), &body, (404, ":not-found\"")),
        (request(Method::OPTIONS, "/hooks/acme", TOKEN), &body, (405, ":method-not-allowed\"")),
        (declared(201), &"x".repeat(201), (413, ":upload-too-large\"")),
        (post("/hooks/acme"), &"x".repeat(201), (413, ":upload-too-large\"")),
        (post("/hooks/acme"), &"x".repeat(151), (413, ":body-too-large\"")),
    ] {
        let (status, answer) = post2(&mut client, request, body).await;
        assert!(status == expected.0 && answer.contains(expected.1), "{expected:?}: {status} {answer}");
    }
    let entry = encrypted.gateway.shelf.only();
    assert_eq!(entry.received.body, body);
}

#[tokio::test]
async fn a_get_over_http_2_has_no_body_and_a_head_no_answers_body() {
    let encrypted = start_encrypted(Options::default(), |_config| {});
    let (mut client, _connection) = encrypted.http2().await;
    for (method, path, expected) in [
        (Method::GET, "/hooks/acme?email=jane%40example.com", 200),
        (Method::GET, "/hooks/acme", 405),
        (Method::HEAD, "/hooks/acme", 405),
    ] {
        let (answer, _) = client.send_request(request(method.clone(), path, TOKEN), true).expect("sent");
        let answer = timeout(PATIENCE, answer).await.expect("in time").expect("an answer");
        assert_eq!(answer.status(), expected, "{method} {path}");
        assert!(answer.headers().contains_key("x-request-id"));
        let data = answer.into_body().data().await;
        let length = data.map_or(0, |data| data.expect("data").len());
        assert_eq!(length == 0, method == Method::HEAD, "{length} bytes");
    }
}

#[tokio::test]
async fn a_body_reset_by_the_client_is_not_stored_and_the_connection_goes_on() {
    let encrypted = start_encrypted(Options::default(), |_config| {});
    let (mut client, _connection) = encrypted.http2().await;
    let (answer, mut sending) = client.send_request(request(Method::POST, "/hooks/acme", TOKEN), false).expect("sent");
    sending.send_data(Bytes::from_static(b"{\"email\""), false).expect("sent");
    sending.send_reset(h2::Reason::CANCEL);
    assert!(answer.await.is_err());
    let (status, _) =
        post2(&mut client, request(Method::POST, "/hooks/acme", TOKEN), &lead_body("j@example.com")).await;
    assert_eq!(status, 200);
    assert_eq!(encrypted.gateway.shelf.entries().len(), 1);
}

#[tokio::test]
async fn streams_and_heads_of_http_2_are_bounded() {
    let encrypted = start_encrypted(Options::default(), |_config| {});
    let (mut client, _connection) = encrypted.http2().await;
    post2(&mut client, request(Method::POST, "/hooks/acme", TOKEN), &lead_body("first@example.com")).await;
    assert_eq!(client.current_max_send_streams(), 100, "the gateway's settings came before its first answer");
    let posts: Vec<_> = (0..100)
        .map(|number| {
            let (answer, mut sending) =
                client.send_request(request(Method::POST, "/hooks/acme", TOKEN), false).expect("sent");
            let body = lead_body(&format!("jane{number}@example.com"));
            sending.send_data(Bytes::from(body), true).expect("sent");
            answer
        })
        .collect();
    for answer in posts {
        assert_eq!(timeout(PATIENCE, answer).await.expect("in time").expect("an answer").status(), 200);
    }
    assert_eq!(encrypted.gateway.shelf.entries().len(), 101);
    let mut large = request(Method::POST, "/hooks/acme", TOKEN);
    for number in 0..70 {
        let name: http::HeaderName = format!("x-{number}").parse().expect("a name");
        large.headers_mut().insert(name, "x".repeat(1000).parse().expect("a value"));
    }
    let (answer, _) = client.send_request(large, true).expect("sent");
    let refused = timeout(PATIENCE, answer).await.expect("in time");
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 431));
}

#[tokio::test]
async fn an_idle_http_2_connection_is_closed_and_a_stop_lets_requests_end() {
    let encrypted = start_encrypted(Options { idle: Duration::from_millis(50), ..Options::default() }, |_config| {});
    let (_client, connection) = encrypted.http2().await;
    drop(timeout(PATIENCE, connection).await.expect("it is closed"));

    let encrypted = start_encrypted(Options::default(), |_config| {});
    let (mut client, connection) = encrypted.http2().await;
    let (answer, mut sending) = client.send_request(request(Method::POST, "/hooks/acme", TOKEN), false).expect("sent");
    sending.send_data(Bytes::from_static(b"{"), false).expect("sent");
    while encrypted.gateway.in_flight.count() == 0 {
        tokio::task::yield_now().await;
    }
    encrypted.gateway.stop();
    sending.send_data(Bytes::from_static(b"}"), true).expect("sent");
    assert_eq!(timeout(PATIENCE, answer).await.expect("in time").expect("an answer").status(), 200);
    drop(timeout(PATIENCE, connection).await.expect("it is closed"));
    timeout(PATIENCE, encrypted.gateway.in_flight.drained()).await.expect("nothing is left");
}

#[tokio::test]
async fn a_client_that_does_not_speak_tls_in_time_gives_its_place_back() {
    let options = Options { handshake: Duration::from_millis(200), connections: 1, ..short() };
    let encrypted = start_encrypted(options, |_config| {});
    let mut silent = TcpStream::connect(encrypted.gateway.address).await.expect("a connection");
    let mut second = TcpStream::connect(encrypted.gateway.address).await.expect("a connection");
    assert_eq!(read_to_end(&mut second).await, "", "the silent one has the only place");
    assert_eq!(read_to_end(&mut silent).await, "", "and loses it");
    let mut plain = TcpStream::connect(encrypted.gateway.address).await.expect("a connection");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    drop(timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("it is closed"));
    assert!(!answer.starts_with(b"HTTP"), "nothing is said in the clear");
    drop(encrypted.connect("localhost", &[]).await.expect("the place is free again"));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let encrypted = start_encrypted(Options::default(), |_config| {});
    let mut old = encrypted.connect("localhost", &["http/1.1"]).await.expect("a connection");
    std::fs::write(encrypted.folder.path().join("tls.pem"), ELSEWHERE).expect("written");
    let renewed = async {
        while encrypted.connect("elsewhere.example", &[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, renewed).await.expect("it is shown soon");
    old.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    old.read_to_string(&mut answer).await.expect("an answer");
    assert_eq!(status(&answer), 404, "connections that are open stay");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = files(folder.path());
    std::fs::write(&key, "no key").expect("written");
    let store = Arc::new(formgate::queue::memory::MemoryStore::new(Duration::ZERO));
    let metrics = Arc::new(formgate::telemetry::Metrics::new().expect("metrics"));
    let config = Arc::new(arc_swap::ArcSwap::from_pointee(crate::gateway::config()));
    let gateway = formgate::accept::Gateway::new(config, store, metrics, Options::default());
    let address = "127.0.0.1:8443".parse().expect("an address");
    let error = services(&gateway, &[Listen { address, tls: Some((certificate, key)) }]).err().expect("an error");
    assert_eq!(error.to_string(), "the certificate or key of 127.0.0.1:8443 can't be used");
    let source = std::error::Error::source(&error).expect("why");
    assert!(source.to_string().ends_with("tls.key has no PEM private key"), "{source}");
}
