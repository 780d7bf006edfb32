//! `formgate doctor` beside a real gateway, the sandbox, and a small proxy that is in front and misbehaves.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use formgate::destination::BaseUrl;
use formgate::kaicalls::{Client, Envelope, LiveKey, MintedKeys, NewConnection, Options, Reply};
use formgate::sandbox::{self, Endpoint, Fault, Sandbox};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsAcceptor;

use crate::{gateway, process};

/// How long the doctor may take; it takes a second.
const PATIENCE: Duration = Duration::from_secs(60);
const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");
const GOOD: &[u8] = include_bytes!("tls/good.pem");
const EXPIRED: &[u8] = include_bytes!("tls/expired.pem");
const ELSEWHERE: &[u8] = include_bytes!("tls/elsewhere.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");

/// A folder with a configuration of two sites, KaiCalls, and a gateway.
struct Practice {
    folder: tempfile::TempDir,
    sandbox: Sandbox,
    /// The second site's connection.
    beta: String,
    gateway: SocketAddr,
    child: Child,
}

struct Visit {
    code: i32,
    data: String,
    talk: String,
}

/// What is in front of the gateway.
#[derive(Clone, Copy)]
enum Front {
    /// Passes everything on, and these lines.
    PassesOn(&'static str),
    Redirects,
    /// Refuses bodies of more than 1 MiB, as nginx does by default.
    Limits,
    /// Passes requests on, and replaces the answer by a page of its own.
    Replaces,
    /// Knows no `/hooks/`.
    Unaware,
    /// Takes the query away and these headers, in lower case.
    Strips(&'static [&'static str]),
}

/// Has the sandbox make another pair.
async fn mint(sandbox: &Sandbox) -> MintedKeys {
    let base_url = BaseUrl::parse(&sandbox.base_url()).expect("a URL");
    let client = Client::new(Options::new(base_url)).expect("a client");
    let key = LiveKey::parse("kc_live_test").expect("a key");
    let Reply::Answered(answer) = client.create_keys(&key, &NewConnection::default()).await else {
        unreachable!("the sandbox answers")
    };
    let Envelope::Success(minted) = answer.envelope else { unreachable!("it mints") };
    minted
}

fn write_config(folder: &Path, server: &str, sandbox: &Sandbox, minted: &MintedKeys) {
    let acme = sandbox.keys();
    let config = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        {server}
        [admin]
        listen = "127.0.0.1:0"
        [kaicalls]
        base_url = "{}"
        [queue]
        url = "sqlite:data/formgate.db"
        max_size = "16MiB"
        [[site]]
        id = "acme"
        public_key = "{}"
        secret_key = "{}"
        tokens = []
        [[site]]
        id = "beta"
        public_key = "{}"
        secret_key = "{}"
        tokens = []
        "#,
        sandbox.base_url(),
        acme.public_key,
        acme.secret_key,
        minted.keys.public(),
        minted.keys.secret().expose(),
    );
    std::fs::write(folder.join("config.toml"), config).expect("written");
}

impl Practice {
    async fn open() -> Self {
        Self::with_server("").await
    }

    async fn with_server(server: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let sandbox = Sandbox::start(sandbox::Options::new(any_port)).expect("it starts");
        let minted = mint(&sandbox).await;
        write_config(folder.path(), server, &sandbox, &minted);
        std::fs::write(folder.path().join("good.pem"), GOOD).expect("written");
        std::fs::write(folder.path().join("server.key"), KEY).expect("written");
        let beta = minted.connection_id.expect("an id");
        let (child, gateway) = process::serve(folder.path()).await;
        Self { folder, sandbox, beta, gateway, child }
    }

    async fn run(&self, line: &[&str]) -> Visit {
        let mut command = Command::new(env!("CARGO_BIN_EXE_formgate"));
        command.args(line).current_dir(self.folder.path()).env_clear().env("SSL_CERT_FILE", CA);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let ran = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Visit { code: ran.status.code().unwrap_or(-1), data: text(ran.stdout), talk: text(ran.stderr) }
    }

    async fn doctor(&self, more: &[&str]) -> Visit {
        self.run(&[&["doctor", "--output", "json"], more].concat()).await
    }

    async fn behind(&self, front: Front) -> Visit {
        let address = start_front(front, self.gateway, None).await;
        self.doctor(&["--public-url", &format!("http://{address}")]).await
    }
}

impl Visit {
    fn findings(&self) -> Vec<Value> {
        let output: Value = serde_json::from_str(&self.data).unwrap_or_else(|_| panic!("{}{}", self.data, self.talk));
        output["findings"].as_array().expect("findings").clone()
    }

    /// Returns the grade and the words of a check's worst finding.
    fn of(&self, check: &str) -> (String, String) {
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let order = ["bad", "warn", "skipped", "ok"];
        let found = self.findings().into_iter().filter(|finding| finding["check"] == check);
        let worst = found.min_by_key(|finding| order.iter().position(|grade| finding["grade"] == *grade));
        let worst = worst.unwrap_or_else(|| panic!("nothing of {check}: {}{}", self.data, self.talk));
        (text(&worst, "grade"), text(&worst, "what"))
    }

    fn grade(&self, check: &str) -> String {
        self.of(check).0
    }
}

/// Starts a proxy in front of an address; encrypted where it has a certificate.
async fn start_front(front: Front, behind: SocketAddr, certificate: Option<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let acceptor = certificate.map(acceptor);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    None => serve_front(stream, front, behind).await,
                    // A client that doesn't trust the certificate goes away.
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => serve_front(stream, front, behind).await,
                        Err(_refused) => None,
                    },
                }
            });
        }
    });
    address
}

fn acceptor(certificate: &[u8]) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>().expect("a chain");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config =
        config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY).expect("a key"));
    TlsAcceptor::from(Arc::new(config.expect("they fit")))
}

/// Serves one request; ends early where the client goes away.
async fn serve_front(mut stream: impl AsyncRead + AsyncWrite + Unpin, front: Front, behind: SocketAddr) -> Option<()> {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
    }
    let end = seen.windows(4).position(|window| window == b"\r\n\r\n")? + 2;
    let head = String::from_utf8_lossy(&seen[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let length: usize = length.unwrap_or_default();
    let missing = length.saturating_sub(seen.len() - end - 2);
    match front {
        Front::Redirects => {
            refuse(&mut stream, missing, "301 Moved Permanently", "Location: https://www.gate.example/hooks/?x=1\r\n")
                .await
        }
        Front::Limits if length > 1 << 20 => refuse(&mut stream, missing, "413 Request Entity Too Large", "").await,
        Front::Unaware => refuse(&mut stream, missing, "404 Not Found", "").await,
        Front::Replaces => {
            let mut upstream = TcpStream::connect(behind).await.ok()?;
            upstream.write_all(&seen).await.ok()?;
            let mut first = [0; 1];
            upstream.read_exact(&mut first).await.ok()?;
            refuse(&mut stream, missing, "502 Bad Gateway", "").await
        }
        Front::PassesOn(_) | Front::Limits | Front::Strips(_) => {
            let stripped = strip(&String::from_utf8_lossy(&seen[..end]), front);
            let lines = if let Front::PassesOn(lines) = front { lines } else { "" };
            let mut upstream = TcpStream::connect(behind).await.ok()?;
            upstream.write_all(stripped.as_bytes()).await.ok()?;
            upstream.write_all(format!("{lines}Connection: close\r\n").as_bytes()).await.ok()?;
            upstream.write_all(&seen[end..]).await.ok()?;
            copy_bidirectional(&mut stream, &mut upstream).await.ok().map(drop)
        }
    }
}

/// Takes out of a request's head what doesn't get past.
fn strip(head: &str, front: Front) -> String {
    let Front::Strips(headers) = front else { return head.to_owned() };
    let is_kept = |line: &&str| !headers.iter().any(|name| line.to_lowercase().starts_with(&format!("{name}:")));
    let mut lines = head.split_inclusive("\r\n").filter(is_kept);
    let first = lines.next().unwrap_or_default();
    let path = first.split(['?', ' ']).nth(1).unwrap_or_default();
    std::iter::once(format!("POST {path} HTTP/1.1\r\n").as_str()).chain(lines).collect()
}

/// Reads the rest of a request, and answers it with a page of the proxy's own.
async fn refuse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    missing: usize,
    status: &str,
    more: &str,
) -> Option<()> {
    let mut body = vec![0; missing];
    stream.read_exact(&mut body).await.ok()?;
    let answer = format!(
        "HTTP/1.1 {status}\r\nServer: nginx\r\n{more}Content-Type: text/html\r\nContent-Length: 6\r\n\
         Connection: close\r\n\r\n<html>"
    );
    stream.write_all(answer.as_bytes()).await.ok()
}

#[tokio::test]
async fn a_gateway_that_is_reached_as_it_should_be_has_no_bad_finding_and_stores_nothing() {
    let practice = Practice::with_server("client_address = \"x-forwarded-for\"").await;
    let visit = practice.behind(Front::PassesOn("X-Forwarded-For: 203.0.113.7\r\n")).await;
    assert_eq!(visit.code, 0, "{}{}", visit.data, visit.talk);
    for check in [
        "disk_space",
        "gateway",
        "store",
        "connect",
        "redirect",
        "route",
        "client_address",
        "credentials",
        "body_limit",
        "base_url",
        "clock",
        "keys",
    ] {
        assert_eq!(visit.grade(check), "ok", "{check}: {}", visit.data);
    }
    assert!(visit.of("route").1.starts_with("a POST reaches this gateway"), "{}", visit.data);
    assert!(visit.of("client_address").1.contains("203.0.113.7, by x-forwarded-for"), "{}", visit.data);
    assert_eq!(visit.findings().iter().filter(|finding| finding["check"] == "keys").count(), 2);
    let stored = practice.run(&["leads", "list", "--output", "json"]).await;
    assert_eq!((stored.code, stored.data.trim()), (0, "[]"));
    assert_eq!(practice.sandbox.leads(), []);
}

#[tokio::test]
async fn what_is_in_front_and_in_the_way_is_told() {
    let practice = Practice::open().await;
    for (front, check, grade, words) in [
        (Front::Redirects, "redirect", "bad", "redirected (301) to https://www.gate.example/hooks/"),
        (Front::Limits, "body_limit", "bad", "a body of 1.1 MiB is answered 413 from a server called nginx"),
        (Front::Unaware, "route", "bad", "something else answers 404"),
        (Front::Replaces, "route", "bad", "replaced by 502"),
        (Front::PassesOn("X-Real-IP: 203.0.113.7\r\n"), "client_address", "warn", "all clients count as 127.0.0.1"),
    ] {
        let visit = practice.behind(front).await;
        let (found, what) = visit.of(check);
        assert!(found == grade && what.contains(words), "{check}: {found}: {what}: {}", visit.data);
        assert_eq!(visit.code, i32::from(grade == "bad"), "{check}: {}", visit.data);
        let cures = visit.findings().iter().all(|finding| finding["grade"] == "ok" || finding["cure"].is_string());
        assert!(cures, "{}", visit.data);
    }
}

#[tokio::test]
async fn a_proxy_that_takes_credentials_away_is_told() {
    let practice = Practice::open().await;
    for (headers, words) in [
        (&[][..], &["?token="][..]),
        (&["authorization", "x-formgate-token", "origin"], &["?token=", "Authorization", "X-Formgate-Token", "Origin"]),
    ] {
        let visit = practice.behind(Front::Strips(headers)).await;
        let found: Vec<_> = visit.findings().into_iter().filter(|it| it["check"] == "credentials").collect();
        let told: Vec<_> = found.iter().filter_map(|it| it["what"].as_str()?.split(' ').next()).collect();
        assert_eq!(told, words, "{}", visit.data);
        assert!(found.iter().all(|it| it["grade"] == "bad" && it["cure"].is_string()), "{}", visit.data);
        assert_eq!((visit.grade("route"), visit.code), ("ok".to_owned(), 1), "{}", visit.data);
    }
    let status = practice.run(&["status", "--output", "json"]).await;
    assert!(!status.data.contains("unknown_site"), "the doctor's posts are nobody's: {}", status.data);
}

#[tokio::test]
async fn another_gateway_and_an_address_where_nobody_listens_are_told() {
    let practice = Practice::open().await;
    let other = gateway::start();
    let elsewhere = format!("http://{}", other.address);
    let visit = practice.doctor(&["--public-url", &elsewhere]).await;
    assert_eq!((visit.code, visit.of("route")), (1, ("bad".to_owned(), "another formgate answers".to_owned())));
    assert!(other.shelf.entries().is_empty());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let visit = practice.doctor(&["--public-url", &silent]).await;
    assert_eq!((visit.code, visit.grade("connect"), visit.grade("route")), (1, "bad".to_owned(), "skipped".to_owned()));
    let visit = practice.doctor(&["--public-url", "http://nowhere.invalid"]).await;
    assert_eq!((visit.code, visit.grade("dns")), (1, "bad".to_owned()), "{}", visit.data);
}

#[tokio::test]
async fn the_certificate_is_judged_as_wordpress_would() {
    let practice = Practice::open().await;
    for (certificate, grade, words) in [
        (GOOD, "ok", "trusted, and valid for"),
        (EXPIRED, "bad", "certificate expired"),
        (ELSEWHERE, "bad", "certificate for another name"),
    ] {
        let address = start_front(Front::PassesOn(""), practice.gateway, Some(certificate)).await;
        let visit = practice.doctor(&["--public-url", &format!("https://localhost:{}", address.port())]).await;
        let (found, what) = visit.of("tls");
        assert!(found == grade && what.contains(words), "{found}: {what}: {}", visit.data);
        assert_eq!(visit.grade("route"), if grade == "ok" { "ok" } else { "skipped" }, "{}", visit.data);
    }
}

#[tokio::test]
async fn a_gateway_without_a_proxy_is_reached_in_http_1_and_in_http_2() {
    // Over TLS the gateway offers HTTP/2. Its answer comes before a large body has been read.
    let tls = r#"tls = { cert = "good.pem", key = "server.key" }"#;
    for (server, scheme) in [("", "http"), (tls, "https")] {
        let practice = Practice::with_server(server).await;
        let visit =
            practice.doctor(&["--public-url", &format!("{scheme}://localhost:{}", practice.gateway.port())]).await;
        for check in ["route", "redirect", "client_address", "body_limit"] {
            assert_eq!(visit.grade(check), "ok", "{scheme}: {check}: {}", visit.data);
        }
        assert_eq!(visit.findings().iter().any(|finding| finding["check"] == "tls"), scheme == "https");
    }
}

#[tokio::test]
async fn refused_keys_are_told_in_kaicalls_words() {
    let practice = Practice::open().await;
    assert!(practice.sandbox.revoke(&practice.beta));
    let visit = practice.doctor(&[]).await;
    assert_eq!(visit.code, 1, "{}", visit.data);
    assert!(visit.of("keys").1.contains("Invalid Public Key."), "{}", visit.data);
    let of_acme = practice.doctor(&["acme"]).await;
    assert_eq!((of_acme.code, of_acme.grade("keys")), (0, "ok".to_owned()), "{}", of_acme.data);
    let busy =
        Fault { endpoint: Endpoint::Verify, status: Some(503), body: Some("<html>".to_owned()), ..Fault::default() };
    practice.sandbox.add_fault(busy).expect("a fault");
    let visit = practice.doctor(&[]).await;
    assert_eq!((visit.grade("base_url"), visit.grade("keys")), ("bad".to_owned(), "skipped".to_owned()));
    assert!(!visit.data.contains(&practice.sandbox.keys().secret_key), "no secret is shown");
}

#[tokio::test]
async fn without_a_gateway_and_a_public_address_what_is_not_checked_is_said() {
    let mut practice = Practice::open().await;
    practice.child.kill().await.expect("killed");
    let visit = practice.doctor(&[]).await;
    assert_eq!((visit.code, visit.grade("gateway"), visit.grade("store")), (1, "bad".into(), "skipped".into()));
    assert!(visit.of("url").0 == "skipped" && visit.of("url").1.contains("were not checked"), "{}", visit.data);
    let shown = practice.run(&["doctor"]).await;
    assert!(
        shown.data.contains("  bad      gateway         no gateway answers\n           help: start it"),
        "{}",
        shown.data
    );
    assert!(shown.talk.contains("1 bad, ") && shown.talk.contains(" not checked"), "{}", shown.talk);
    let unknown = practice.run(&["doctor", "acmee"]).await;
    assert!(unknown.code == 2 && unknown.talk.contains("acme"), "{}", unknown.talk);
    assert_eq!(practice.run(&["doctor", "--public-url", "gate.example"]).await.code, 2);
    assert!(Path::new(&practice.folder.path().join("data/formgate.db")).exists());
}
