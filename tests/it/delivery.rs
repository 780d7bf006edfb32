//! The whole gateway against a scripted API: what is posted to the one arrives at the other.

use std::sync::Arc;
use std::time::Duration;

use formgate::app;
use formgate::config::{Config, Retry};
use formgate::destination::BaseUrl;
use formgate::lead::EntryId;
use formgate::queue::memory::MemoryStore;
use formgate::queue::{AttemptResult, Head, Reason, State, Store};

use crate::fixtures;
use crate::gateway::{self, PUBLIC, SECRET, TOKEN, header, json, lead_body, status};
use crate::scripted_api::{Reply, ScriptedApi};

/// A gateway whose KaiCalls is a script.
struct Whole {
    api: ScriptedApi,
    store: Arc<dyn Store>,
    app: app::Running,
}

impl Whole {
    async fn start() -> Self {
        Self::start_with(|_config| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let api = ScriptedApi::start().await;
        let mut config = gateway::config();
        let address = "127.0.0.1:0".parse().expect("an address");
        config.server.listen = vec![formgate::config::Listen { address, tls: None }];
        config.admin.listen = address;
        config.upstream.base_url = BaseUrl::parse(&api.base_url()).expect("a URL");
        config.upstream.timeout = Duration::from_secs(5);
        config.queue.retry =
            Retry { first: Duration::from_millis(1), max: Duration::from_millis(20), ..config.queue.retry };
        config.mappings = Arc::new(formgate::config::shipped_mappings().0);
        change(&mut config);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(config.queue.dedupe));
        let app = app::start_on(config, Arc::clone(&store)).expect("started");
        Self { api, store, app }
    }

    async fn post(&self, token: &str, kind: &str, body: &str) -> String {
        let fixed =
            format!("Host: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\n");
        let request =
            format!("POST /hooks/acme/contact HTTP/1.1\r\n{fixed}Content-Length: {}\r\n\r\n{body}", body.len());
        gateway::send(self.app.gateway()[0], request).await
    }

    async fn post_json(&self, body: &str) -> String {
        self.post(TOKEN, "application/json", body).await
    }

    async fn head(&self, answer: &str) -> Head {
        let id = json(answer)["id"].as_str().and_then(EntryId::parse).expect("an id");
        self.store.get(id).await.expect("the store answers").expect("the entry is there").head
    }

    /// Waits until an entry has come to a state; a test that waits for ever fails here.
    async fn until(&self, answer: &str, state: State) -> Head {
        let mut changed = self.store.changed();
        let arrived = async {
            loop {
                changed.borrow_and_update();
                let entry = self.head(answer).await;
                if entry.state == state {
                    return entry;
                }
                drop(tokio::time::timeout(Duration::from_millis(20), changed.changed()).await);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), arrived).await.expect("the state comes")
    }
}

#[tokio::test]
async fn a_lead_that_was_accepted_arrives() {
    let whole = Whole::start().await;
    let answer = whole.post_json(&lead_body("jane@example.com")).await;
    assert_eq!((status(&answer), &json(&answer)["status"]), (200, &"queued".into()));
    let request = whole.api.wait_for(1).await.remove(0);
    assert_eq!(request.json(), serde_json::json!({"name": "Jane", "email": "jane@example.com", "message": "Hello"}));
    assert_eq!(request.header("authorization"), Some(format!("Bearer {PUBLIC}:{SECRET}").as_str()));
    assert_eq!(request.header("idempotency-key"), json(&answer)["id"].as_str());
    let entry = whole.until(&answer, State::Delivered).await;
    assert_eq!((entry.lead_id.as_deref(), entry.attempts), (Some("lead_1"), 1));
}

#[tokio::test]
async fn a_lead_arrives_in_every_encoding() {
    let whole = Whole::start().await;
    let boundary = "--x\r\nContent-Disposition: form-data; name=";
    let multipart =
        format!("{boundary}\"your-name\"\r\n\r\nJo\r\n{boundary}\"your-email\"\r\n\r\nc@example.com\r\n--x--\r\n");
    for (kind, body) in [
        ("application/x-www-form-urlencoded", "name=Jo&email=a%40example.com&message=Hi"),
        ("application/json", r#"{"name":"Jo","email":"b@example.com","message":"Hi"}"#),
        ("multipart/form-data; boundary=x", multipart.as_str()),
    ] {
        assert_eq!(status(&whole.post(TOKEN, kind, body).await), 200, "{kind}");
    }
    let mut emails: Vec<_> =
        whole.api.wait_for(3).await.iter().map(|request| request.json()["email"].clone()).collect();
    emails.sort_by_key(ToString::to_string);
    assert_eq!(emails, ["a@example.com", "b@example.com", "c@example.com"]);
}

#[tokio::test]
async fn a_lead_waits_while_the_api_is_away_and_arrives_when_it_is_back() {
    let whole = Whole::start().await;
    whole.api.go_away().await;
    let answer = whole.post_json(&lead_body("jane@example.com")).await;
    assert_eq!(status(&answer), 200);
    let tried = async {
        while whole.head(&answer).await.history.iter().all(|event| event.attempt.is_none()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), tried).await.expect("it is tried");
    whole.api.come_back().await;
    let entry = whole.until(&answer, State::Delivered).await;
    assert!(entry.attempts >= 2, "{} attempts", entry.attempts);
    assert_eq!(whole.api.requests().len(), 1);
}

#[tokio::test]
async fn a_submission_without_a_valid_address_is_held_with_its_reasons() {
    let whole = Whole::start().await;
    let answer = whole.post_json(r#"{"name":"Jane","email":"nowhere","message":"Hello"}"#).await;
    assert_eq!((status(&answer), &json(&answer)["status"]), (200, &"held".into()));
    let entry = whole.head(&answer).await;
    assert_eq!((entry.state, entry.reason), (State::Held, Reason::Invalid));
    assert_eq!(serde_json::to_value(&entry.reading.errors).expect("JSON")[0]["code"], "invalid");
    assert!(whole.api.requests().is_empty());
}

#[tokio::test]
async fn a_wrong_token_stores_nothing() {
    let whole = Whole::start().await;
    let wrong = TOKEN.replace('0', "1");
    let answer = whole.post(&wrong, "application/json", &lead_body("jane@example.com")).await;
    assert_eq!((status(&answer), header(&answer, "content-type")), (401, Some("application/problem+json")));
    assert!(whole.store.counts().await.expect("counts").is_empty());
}

#[tokio::test]
async fn a_refused_key_pauses_the_site_and_its_leads_stay_queued() {
    let whole = Whole::start().await;
    whole.api.always(Reply::error(401, "Unauthorized"));
    let first = whole.post_json(&lead_body("a@example.com")).await;
    whole.api.wait_for(1).await;
    let paused = async {
        while whole.head(&first).await.history.iter().all(|event| event.attempt.is_none()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), paused).await.expect("the refusal is recorded");
    let second = whole.post_json(&lead_body("b@example.com")).await;
    let first = whole.head(&first).await;
    let second = whole.head(&second).await;
    assert_eq!((first.state, second.state), (State::Queued, State::Queued));
    assert_eq!(
        first.history.iter().filter_map(|event| event.attempt.as_ref()).next().map(|a| a.result),
        Some(AttemptResult::KeyRefused)
    );
    assert_eq!(whole.api.requests().len(), 1, "only the first was tried");
}

#[tokio::test]
async fn stopping_lets_the_attempt_under_way_end() {
    let whole = Whole::start().await;
    let told = Arc::new(tokio::sync::Notify::new());
    whole.api.on_intake(Reply::success("lead_late").when(&told));
    let answer = whole.post_json(&lead_body("jane@example.com")).await;
    whole.api.wait_for(1).await;
    let Whole { app, store, .. } = whole;
    let stopping = tokio::spawn(app.stop());
    told.notify_one();
    let ended = stopping.await.expect("stopped");
    assert_eq!((ended.unanswered, ended.attempts_cut), (0, 0));
    let id = json(&answer)["id"].as_str().and_then(EntryId::parse).expect("an id");
    let entry = store.get(id).await.expect("the store answers").expect("the entry");
    assert_eq!(entry.head.lead_id.as_deref(), Some("lead_late"));
}

/// The bytes of a capture, posted to the site's hook instead of where the plugin sent them.
fn readdressed(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == b'\r').expect("a request line");
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut parts = line.split(' ');
    let (method, target) = (parts.next().expect("a method"), parts.next().expect("a target"));
    let version = parts.next().expect("a version");
    let query = target.split_once('?').map(|(_, query)| format!("{query}&")).unwrap_or_default();
    let mut request = format!("{method} /hooks/acme?{query}token={TOKEN} {version}").into_bytes();
    request.extend_from_slice(&bytes[end..]);
    request
}

#[tokio::test]
async fn every_fixture_posted_byte_for_byte_becomes_its_lead() {
    let whole = Whole::start_with(|config| config.queue.dedupe = Duration::ZERO).await;
    let mut wrong = Vec::new();
    for path in fixtures::exact_cases() {
        let expected = fixtures::expectation(&path);
        let mut stream = tokio::net::TcpStream::connect(whole.app.gateway()[0]).await.expect("a connection");
        let request = readdressed(&std::fs::read(&path).expect("the capture"));
        tokio::io::AsyncWriteExt::write_all(&mut stream, &request).await.expect("sent");
        let answer = final_answer(&mut stream).await;
        let found = match json(&answer)["id"].as_str() {
            Some(_) => serde_json::to_value(whole.head(&answer).await.reading.lead).expect("JSON"),
            None => serde_json::Value::Null,
        };
        let lead = expected.get("expect").cloned().unwrap_or_default();
        if found != lead {
            wrong.push(format!("{}: {} {found}", path.display(), status(&answer)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Reads one answer, past a `100 Continue`.
async fn final_answer(stream: &mut tokio::net::TcpStream) -> String {
    let first = gateway::read_one(stream).await;
    match first.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n") {
        None => first,
        Some("") => gateway::read_one(stream).await,
        Some(rest) => rest.to_owned(),
    }
}
