//! Tokens, keys and header secrets go through a whole gateway, and come out nowhere: not in a log line of any level, a
//! metric, an answer, a `Debug`, or a byte of the store.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use crate::encrypted::http2_to;
use crate::gateway::{self, lead_body, post, status};
use crate::scripted_api::{Reply, ScriptedApi};

const PATIENCE: Duration = Duration::from_secs(30);

const TOKEN: &str = "fg_TokenTokenTokenTokenTokenTokenTokenTokenTok";
const WRONG_TOKEN: &str = "fg_WrongWrongWrongWrongWrongWrongWrongWrongWro";
const KEY: &str = "wp_sk_KeyKeyKeyKeyKey";
const WRONG_KEY: &str = "wp_sk_NoKeyNoKeyNoKey";
const SIGNING: &str = "SigningSigningSigning";
const IN_HEADERS: [(&str, &str); 5] = [
    ("X-Api-Key", "ApiKeyApiKeyApiKey"),
    ("X-Webhook-Secret", "WebhookSecretWebhookSecret"),
    ("Cookie", "session=CookieCookieCookie"),
    ("Proxy-Authorization", "Basic ProxyProxyProxy="),
    ("X-Auth-Token", "AuthTokenAuthToken"),
];

/// The program under test, and all it says.
struct Served {
    _child: Child,
    gateway: SocketAddr,
    encrypted: SocketAddr,
    admin: SocketAddr,
    log: Arc<Mutex<String>>,
}

fn write_config(folder: &Path, api: &str) {
    let sha256: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(folder.join("tls.pem"), include_bytes!("tls/good.pem")).expect("written");
    std::fs::write(folder.join("tls.key"), include_bytes!("tls/server.key")).expect("written");
    let config = format!(
        r#"
        [server]
        listen = ["127.0.0.1:0", {{ address = "127.0.0.1:0", tls = {{ cert = "tls.pem", key = "tls.key" }} }}]
        max_body = "8KiB"
        [admin]
        listen = "127.0.0.1:0"
        [kaicalls]
        base_url = "{api}"
        [queue]
        url = "sqlite:data/formgate.db"
        retry = {{ first = "10ms", max = "10ms" }}
        [[site]]
        id = "acme"
        public_key = "wp_pk_acme"
        secret_key = "{KEY}"
        wpforms_secret = "{SIGNING}"
        tokens = [{{ sha256 = "{sha256}" }}]
        "#
    );
    std::fs::write(folder.join("config.toml"), config).expect("written");
}

async fn serve(folder: &Path) -> Served {
    let mut child = Command::new(env!("CARGO_BIN_EXE_formgate"))
        .args(["serve", "--log-format", "json", "--config"])
        .arg(folder.join("config.toml"))
        .env("RUST_LOG", "trace")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let (log, said) = (Arc::new(Mutex::new(String::new())), Arc::new(Notify::new()));
    let (kept, notify) = (Arc::clone(&log), Arc::clone(&said));
    drop(tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            kept.lock().push_str(&format!("{line}\n"));
            notify.notify_one();
        }
    }));
    let listening = async {
        loop {
            let addresses = addresses(&log.lock());
            if let [gateway, encrypted, admin] = addresses[..] {
                return [gateway, encrypted, admin];
            }
            said.notified().await;
        }
    };
    let [gateway, encrypted, admin] = tokio::time::timeout(PATIENCE, listening).await.expect("it listens");
    Served { _child: child, gateway, encrypted, admin, log }
}

/// Reads where it listens out of its log.
fn addresses(log: &str) -> Vec<SocketAddr> {
    let events = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let listening = events.filter(|event| event["message"].as_str().is_some_and(|text| text.ends_with(".listening")));
    listening.filter_map(|event| event["address"].as_str()?.parse().ok()).collect()
}

/// Every way to show a credential, right and wrong, and every way to be refused with one in hand.
fn requests() -> Vec<(String, u16)> {
    let body = lead_body("jane@example.com");
    let secrets: String = IN_HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let query = |token: &str| format!("/hooks/acme/contact?a=1&token={token}&t%6Fken={token}");
    let mut requests = Vec::new();
    for (token, expected) in [(TOKEN, 200), (WRONG_TOKEN, 401)] {
        let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("any:{token}")));
        let bearer = format!("Authorization: Bearer {token}\r\n");
        let own = format!("X-Formgate-Token: {token}\r\n");
        let referer = format!("{bearer}Referer: https://g.example/hooks/acme?token={token}\r\n");
        for shown in [&basic, &bearer, &own, &referer] {
            requests.push((post("/hooks/acme/contact", &format!("{shown}{secrets}"), &body), expected));
        }
        requests.push((post(&query(token), &secrets, &body), expected));
        let no_body =
            format!("GET {}&email=jane%40example.com HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", query(token));
        requests.push((format!("{no_body}{secrets}\r\n"), expected));
    }
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n{secrets}");
    let raw = |first: &str, headers: &str| format!("{first} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let target = query(TOKEN);
    requests.extend([
        (post(&format!("/nowhere?token={TOKEN}"), &bearer, &body), 404),
        (raw(&format!("HEAD {target}"), &format!("Connection: close\r\n{bearer}")), 405),
        (raw(&format!("POST {target}"), &format!("{bearer}no colon in {TOKEN}\r\n")), 400),
        (raw(&format!("POST {target}"), &format!("{bearer}Host: {TOKEN}\r\n")), 400),
        (raw(&format!("POST {target}#{TOKEN} {TOKEN}"), &bearer), 400),
        (raw(&format!("POST {target}"), &format!("{bearer}X-Long: {}\r\n", TOKEN.repeat(2000))), 431),
        (raw(&format!("POST {target}"), &format!("{bearer}Content-Length: 99999999\r\n")), 413),
        (post(&target, &bearer, &"x".repeat(9000)), 413),
        (raw(&format!("POST {target}"), &format!("{bearer}Transfer-Encoding: chunked\r\n\r\n{TOKEN}")), 400),
        (post(&target, &bearer, "neither a form nor json"), 400),
        (post(&target, &bearer, "{}"), 200),
    ]);
    requests.extend(kaicalls_requests(&body, &secrets));
    requests.extend(signed_requests(&body, &secrets));
    requests
}

fn kaicalls_requests(body: &str, secrets: &str) -> Vec<(String, u16)> {
    let keys = |key: &str| format!("Authorization: Bearer wp_pk_acme:{key}\r\n{secrets}");
    let verify = |key: &str| {
        let body = format!(r#"{{"publicKey":"wp_pk_acme","apiKey":"{key}"}}"#);
        post("/api/v1/wordpress/auth/verify", "", &body)
    };
    let widget = |key: &str| {
        let head = "GET /api/v1/wordpress/dashboard-widget HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        format!("{head}{}\r\n", keys(key))
    };
    vec![
        (post("/api/v1/wordpress/intake", &keys(KEY), body), 200),
        (post("/api/v1/wordpress/intake", &keys(WRONG_KEY), body), 401),
        (verify(KEY), 200),
        (verify(WRONG_KEY), 401),
        (widget(KEY), 200),
        (widget(WRONG_KEY), 401),
    ]
}

fn signed_requests(body: &str, secrets: &str) -> Vec<(String, u16)> {
    let time = jiff::Timestamp::now().as_second();
    let signed = |secret: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
        mac.update(format!("{time}.{body}").as_bytes());
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        post("/hooks/acme/signed", &format!("X-WPForms-Webhook-Signature: t={time},v={hex}\r\n{secrets}"), body)
    };
    vec![(signed(SIGNING), 200), (signed("guessed"), 401)]
}

/// What must be seen nowhere; also as it stands in a header, or in part.
fn unsaid() -> Vec<String> {
    let mut unsaid: Vec<String> = [TOKEN, WRONG_TOKEN, KEY, WRONG_KEY, SIGNING].map(str::to_owned).into();
    unsaid.extend(
        IN_HEADERS.map(|(_, value)| value.trim_start_matches("session=").trim_start_matches("Basic ").to_owned()),
    );
    unsaid.extend([TOKEN, WRONG_TOKEN].map(|token| STANDARD.encode(format!("any:{token}"))));
    unsaid.extend([TOKEN, WRONG_TOKEN, KEY, WRONG_KEY, SIGNING].map(|secret| secret[secret.len() - 12..].to_owned()));
    unsaid
}

fn assert_silent(place: &str, bytes: &[u8]) {
    for secret in unsaid() {
        let found = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
        if let Some(at) = found {
            let around =
                String::from_utf8_lossy(&bytes[at.saturating_sub(200)..(at + 100).min(bytes.len())]).into_owned();
            panic!("{place} says {secret}: …{around}…");
        }
    }
}

#[tokio::test]
async fn no_secret_that_goes_through_comes_out_anywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = ScriptedApi::start().await;
    // KaiCalls repeats what it was shown: refused once, then away, then taken.
    let repeated = format!("no such key wp_pk_acme:{KEY} (Bearer wp_pk_acme:{KEY})");
    api.on_intake(Reply::error(400, &repeated));
    api.on_intake(Reply::html(502, &repeated));
    write_config(folder.path(), &api.base_url());
    let served = serve(folder.path()).await;
    for (request, expected) in requests() {
        let answer = gateway::send(served.gateway, &request).await;
        assert_eq!(status(&answer), expected, "{request}\n\n{answer}");
        assert_silent("an answer", answer.as_bytes());
    }
    for (token, expected) in [(TOKEN, 200), (WRONG_TOKEN, 401)] {
        let target = format!("/hooks/acme/http2?token={token}");
        let answer = http2_to(served.encrypted, &target, token, &IN_HEADERS, &lead_body("june@example.com")).await;
        assert_eq!(answer.0, expected);
        assert_silent("an answer over HTTP/2", answer.1.as_bytes());
    }
    tokio::time::timeout(PATIENCE, api.wait_for(4)).await.expect("leads are sent");

    let metrics =
        gateway::send(served.admin, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await;
    assert!(metrics.contains("formgate_refused_total"), "{metrics}");
    assert_silent("the metrics page", metrics.as_bytes());
    let log = served.log.lock().clone();
    assert!(log.contains("\"TRACE\""), "the log is not at the level of trace");
    assert_silent("the log", log.as_bytes());
    assert_store_is_silent(&folder.path().join("data"));
}

fn assert_store_is_silent(data: &Path) {
    let mut bytes = 0;
    for file in std::fs::read_dir(data).expect("the store's folder") {
        let path = file.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let content = std::fs::read(&path).expect("a file");
        bytes += content.len();
        assert_silent(&path.display().to_string(), &content);
        assert!(!content.windows(9).any(|window| window == b"X-Api-Key"), "{} keeps a header", path.display());
    }
    assert!(bytes > 10_000, "the store holds only {bytes} bytes");
}

#[test]
fn no_debug_of_what_holds_secrets_shows_them() {
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), "http://127.0.0.1:1");
    let sources = formgate::config::Sources::process();
    let loaded =
        formgate::config::load(&folder.path().join("config.toml"), &sources, "2026-01-01".parse().expect("a day"));
    assert_silent("Debug of what was loaded", format!("{loaded:#?}").as_bytes());
    let (config, _) = loaded.complete().expect("a configuration");
    let shown = format!("{config:#?}");
    assert!(shown.contains("acme"), "{shown}");
    assert_silent("Debug of the configuration", shown.as_bytes());
    assert_silent(
        "Debug of a key pair",
        format!(
            "{:?}",
            config.sites.values().next().map(|site| site.keys.as_ref().map(formgate::destination::KeyPair::bearer))
        )
        .as_bytes(),
    );
}
