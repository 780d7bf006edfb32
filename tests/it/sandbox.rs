//! The sandbox over real HTTP: with the gateway's own client, and byte by byte.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use formgate::destination::{BaseUrl, KeyPair, RetryAfter, Secret};
use formgate::kaicalls::{Client, Envelope, FailureKind, LiveKey, NewConnection, Options, Reply, Widget};
use formgate::lead::{Draft, EntryId, Lead};
use formgate::sandbox::{self, Endpoint, Fault, Sandbox, SandboxStartError};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn start() -> Sandbox {
    Sandbox::start(sandbox::Options::new(ANY_PORT)).expect("it starts")
}

fn client(sandbox: &Sandbox) -> Client {
    Client::new(Options::new(BaseUrl::parse(&sandbox.base_url()).expect("a base URL"))).expect("a client")
}

fn pair(public: &str, secret: &str) -> KeyPair {
    KeyPair::new(public, &Secret::new(secret.to_owned())).expect("keys")
}

fn own_keys(sandbox: &Sandbox) -> KeyPair {
    pair(&sandbox.keys().public_key, &sandbox.keys().secret_key)
}

fn lead(name: &str) -> Lead {
    let draft = Draft {
        name: Some(name),
        email: Some("jane@example.com"),
        phone: Some("+15035550123"),
        message: Some("Hello"),
        ..Draft::default()
    };
    Lead::check(draft).expect("a lead").lead
}

fn id(n: u8) -> EntryId {
    EntryId::new(1_790_000_000_000, &[n; 10])
}

/// Returns the status and the envelope of an answer; the status 0 is none.
fn seen<T>(reply: Reply<T>) -> (u16, Option<Envelope<T>>) {
    match reply {
        Reply::Answered(answer) => (answer.status, Some(answer.envelope)),
        Reply::Failed(_) => (0, None),
    }
}

/// Sends bytes on a connection of their own and reads until the sandbox closes it.
async fn raw(sandbox: &Sandbox, request: &str) -> String {
    let mut stream = TcpStream::connect(sandbox.address()).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.expect("read");
    String::from_utf8(reply).expect("text")
}

/// Sends one request with a body, by hand; returns the status and the body as JSON.
async fn ask(sandbox: &Sandbox, line: &str, headers: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    let reply = raw(sandbox, &request).await;
    let (head, body) = reply.split_once("\r\n\r\n").expect("a whole reply");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

const JSON: &str = "content-type: application/json\r\n";

fn with_keys(sandbox: &Sandbox) -> String {
    let keys = sandbox.keys();
    format!("{JSON}authorization: Bearer {}:{}\r\n", keys.public_key, keys.secret_key)
}

#[tokio::test]
async fn a_lead_is_taken_written_down_and_shown() {
    let sandbox = start();
    let (client, keys) = (client(&sandbox), own_keys(&sandbox));
    for n in 1..=12 {
        let reply = client.intake(&keys, &lead(&format!("Jane {n}")), id(n), None).await;
        assert!(matches!(seen(reply), (200, Some(Envelope::Success(taken))) if taken.lead_id.is_some()));
    }
    sandbox.wait_for(12).await;
    let leads = sandbox.leads();
    let first = leads.first().expect("a lead");
    assert_eq!(
        (first.name.as_str(), first.email.as_str(), first.message.as_str()),
        ("Jane 1", "jane@example.com", "Hello")
    );
    assert_eq!(first.phone.as_deref(), Some("+15035550123"));
    assert_eq!(first.idempotency_key, Some(id(1).to_string()));
    assert_eq!(first.public_key, sandbox.keys().public_key);

    let reply = client.dashboard_widget(&keys).await;
    assert!(matches!(&reply, Reply::Answered(answer) if answer.date.is_some()), "its clock is told");
    let (status, widget) = seen(reply);
    let Some(Envelope::Success(widget)) = widget else { unreachable!("answered {status}") };
    let names: Vec<_> = widget.recent_leads.iter().map(|lead| lead.name.as_str()).collect();
    assert_eq!((names.len(), names.first(), widget.leads_this_week), (10, Some(&"Jane 12"), 12));

    let (_, listed) = ask(&sandbox, "GET /_sandbox/leads?limit=2", "", "").await;
    assert_eq!(listed.get("received"), Some(&json!(12)));
    assert_eq!(listed.pointer("/leads/1/name"), Some(&json!("Jane 11")));
    assert_eq!(listed.pointer("/leads/2"), None);
    sandbox.stop().await;
}

#[tokio::test]
async fn only_the_right_pair_may_send() {
    let sandbox = start();
    let client = client(&sandbox);
    let keys = own_keys(&sandbox);
    let wrong_secret = pair(keys.public(), "wp_sk_wrong");
    let wrong_public = pair("wp_pk_wrong", keys.secret().expose());
    for wrong in [&wrong_secret, &wrong_public] {
        assert_eq!(seen(client.intake(wrong, &lead("Jane"), id(1), None).await), (401, Some(Envelope::Failure)));
        assert_eq!(seen(client.dashboard_widget(wrong).await), (401, Some(Envelope::Failure)));
    }
    let said = |reply| match reply {
        Reply::Answered(answer) => answer.words,
        Reply::Failed(_) => None,
    };
    assert_eq!(said(client.verify(&wrong_public).await).as_deref(), Some("Invalid Public Key."));
    assert_eq!(said(client.verify(&wrong_secret).await).as_deref(), Some("Invalid API Key."));
    assert_eq!(said(client.verify(&keys).await), None);
    let unauthorized = (401, json!({"success": false, "error": "Unauthorized"}));
    assert_eq!(ask(&sandbox, "POST /api/v1/wordpress/intake", JSON, "{}").await, unauthorized);
    assert_eq!(sandbox.leads(), []);
}

#[tokio::test]
async fn a_live_key_mints_a_pair_for_its_business() {
    let mut options = sandbox::Options::new(ANY_PORT);
    options.live_keys = vec![sandbox::LiveKey::parse("kc_live_mine").expect("a key")];
    let sandbox = Sandbox::start(options).expect("it starts");
    let client = client(&sandbox);
    let connection = NewConnection { site_url: None, business_id: Some("biz_123".to_owned()) };
    let other = LiveKey::parse("kc_live_other").expect("a key");
    assert_eq!(seen(client.create_keys(&other, &connection).await), (401, Some(Envelope::Failure)));

    let mine = LiveKey::parse("kc_live_mine").expect("a key");
    let (status, minted) = seen(client.create_keys(&mine, &connection).await);
    let Some(Envelope::Success(minted)) = minted else { unreachable!("answered {status}") };
    assert_eq!(minted.business_id.as_deref(), Some("biz_123"));
    let verified = seen(client.verify(&minted.keys).await);
    assert!(matches!(verified, (200, Some(Envelope::Success(v))) if v.business_id.as_deref() == Some("biz_123")));

    assert_eq!(seen(client.intake(&minted.keys, &lead("Jane"), id(1), None).await).0, 200);
    let (_, widget) = seen(client.dashboard_widget(&own_keys(&sandbox)).await);
    assert!(matches!(widget, Some(Envelope::Success(widget)) if widget == Widget::default()), "another's lead");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_in_the_api_s_envelopes() {
    let sandbox = start();
    let keys = with_keys(&sandbox);
    let words = |(status, body): (u16, Value)| {
        let words = body.get("error").map(|error| error.get("code").unwrap_or(error).clone());
        (status, words.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned())
    };
    let expect = |status: u16, words: &str| (status, words.to_owned());
    let intake = "POST /api/v1/wordpress/intake";
    let missing = ask(&sandbox, intake, &keys, r#"{"name":"Jane"}"#).await;
    assert_eq!(words(missing), expect(400, "Missing required fields: name, email and message"));
    let email = ask(&sandbox, intake, &keys, r#"{"name":"J","email":"nowhere","message":"m"}"#).await;
    assert_eq!(words(email), expect(400, "Invalid email address"));
    let form = keys.replace("application/json", "application/x-www-form-urlencoded");
    assert_eq!(words(ask(&sandbox, intake, &form, "name=J").await), expect(415, "unsupported_media_type"));
    let verify = ask(&sandbox, "POST /api/v1/wordpress/auth/verify", JSON, "{}").await;
    assert_eq!(words(verify), expect(400, "API Key and Public Key are required."));
    assert_eq!(words(ask(&sandbox, "GET /api/v1/wordpress/intake", "", "").await), expect(405, "method_not_allowed"));
    assert_eq!(words(ask(&sandbox, "GET /api/v1/agents", "", "").await), expect(404, "not_found"));
    assert_eq!(sandbox.leads(), []);
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_refused_however_it_comes() {
    let sandbox = start();
    let keys = with_keys(&sandbox);
    let head = format!("POST /api/v1/wordpress/intake HTTP/1.1\r\nhost: sandbox\r\n{keys}");
    let declared = raw(&sandbox, &format!("{head}content-length: 1048577\r\n\r\n")).await;
    assert!(declared.starts_with("HTTP/1.1 413 ") && declared.contains("Connection: close"), "{declared}");
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let chunked = raw(&sandbox, &format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}1\r\nx\r\n")).await;
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    let longest = format!(r#"{{"name":"J","email":"j@e.co","message":"{}"}}"#, "m".repeat((1 << 20) - 42));
    assert_eq!(longest.len(), 1 << 20);
    assert_eq!(ask(&sandbox, "POST /api/v1/wordpress/intake", &keys, &longest).await.0, 200);
}

#[tokio::test]
async fn http_is_spoken_as_it_should_be() {
    let sandbox = start();
    assert!(raw(&sandbox, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    assert!(raw(&sandbox, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400 "), "no Host");
    let old = raw(&sandbox, "GET /_sandbox/leads HTTP/1.0\r\nhost: sandbox\r\n\r\n").await;
    assert!(old.contains("Connection: close"), "{old}");
    let head = raw(&sandbox, "HEAD /_sandbox/leads HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 405 ") && head.ends_with("\r\n\r\n"), "{head}");

    let body = r#"{"name":"J","email":"j@e.co","message":"m"}"#;
    let mut stream = TcpStream::connect(sandbox.address()).await.expect("a connection");
    let expecting = format!(
        "POST /api/v1/wordpress/intake HTTP/1.1\r\nhost: s\r\nexpect: 100-continue\r\nconnection: close\r\n{}content-length: {}\r\n\r\n",
        with_keys(&sandbox),
        body.len()
    );
    stream.write_all(expecting.as_bytes()).await.expect("written");
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.expect("read");
    assert_eq!(String::from_utf8_lossy(&go_on), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.expect("written");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("read");
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

#[tokio::test]
async fn a_fault_answers_for_its_times_and_takes_no_lead() {
    let sandbox = start();
    let (client, keys) = (client(&sandbox), own_keys(&sandbox));
    let fault = r#"{"status":503,"times":2,"retry_after":"7","body":"<html>","content_type":"text/html"}"#;
    let set = ask(&sandbox, "POST /_sandbox/faults", JSON, fault).await;
    assert_eq!((set.0, set.1.pointer("/fault/times")), (200, Some(&json!(2))));
    for n in 1..=2 {
        let reply = client.intake(&keys, &lead("Jane"), id(n), None).await;
        let Reply::Answered(answer) = reply else { unreachable!("an answer") };
        assert_eq!(answer.status, 503);
        assert_eq!(answer.retry_after, Some(RetryAfter::After(Duration::from_secs(7))));
        assert!(matches!(answer.envelope, Envelope::Other(_)));
    }
    assert_eq!(sandbox.leads(), []);
    assert_eq!(seen(client.intake(&keys, &lead("Jane"), id(3), None).await).0, 200);
    assert_eq!(ask(&sandbox, "GET /_sandbox/faults", "", "").await, (200, json!({"fault": null, "faults": []})));
}

#[tokio::test]
async fn a_lead_can_be_taken_without_anybody_being_told() {
    let sandbox = start();
    let fault = Fault { drop_after_commit: true, ..Fault::default() };
    sandbox.set_fault(Some(fault)).expect("a fault");
    let reply = client(&sandbox).intake(&own_keys(&sandbox), &lead("Jane"), id(1), None).await;
    assert!(matches!(reply, Reply::Failed(failure) if failure.kind == FailureKind::Interrupted && failure.sent));
    assert_eq!(sandbox.leads().len(), 1);
    assert_eq!(ask(&sandbox, "DELETE /_sandbox/faults", "", "").await.0, 200);
    assert_eq!(seen(client(&sandbox).intake(&own_keys(&sandbox), &lead("Jane"), id(1), None).await).0, 200);
}

#[tokio::test]
async fn a_fault_that_makes_no_sense_is_refused_and_changes_nothing() {
    let sandbox = start();
    for bad in ["", r#"{"stauts":500}"#, r#"{"status":99}"#, "{}"] {
        let (status, body) = ask(&sandbox, "POST /_sandbox/faults", JSON, bad).await;
        assert_eq!((status, body.pointer("/error/code")), (400, Some(&json!("invalid_fault"))), "{bad}");
    }
    assert_eq!(ask(&sandbox, "GET /_sandbox/faults", "", "").await, (200, json!({"fault": null, "faults": []})));
    let refused =
        Sandbox::start(sandbox::Options { faults: vec![Fault::default()], ..sandbox::Options::new(ANY_PORT) });
    assert!(matches!(refused, Err(SandboxStartError::Fault(_))));
}

#[tokio::test]
async fn each_endpoint_has_faults_of_its_own() {
    let sandbox = start();
    let (client, keys) = (client(&sandbox), own_keys(&sandbox));
    let status = |endpoint, status| Fault { endpoint, status: Some(status), ..Fault::default() };
    sandbox.add_fault(status(Endpoint::Verify, 500)).expect("a fault");
    sandbox.add_fault(status(Endpoint::Widget, 502)).expect("a fault");
    let minting = Fault { retry_after: Some("2".to_owned()), ..status(Endpoint::Keys, 429) };
    sandbox.add_fault(minting).expect("a fault");
    let key = LiveKey::parse("kc_live_any").expect("a key");
    assert_eq!(seen(client.verify(&keys).await), (500, Some(Envelope::Failure)));
    assert_eq!(seen(client.dashboard_widget(&keys).await), (502, Some(Envelope::Failure)));
    let Reply::Answered(minted) = client.create_keys(&key, &NewConnection::default()).await else {
        unreachable!("an answer")
    };
    assert_eq!((minted.status, minted.retry_after), (429, Some(RetryAfter::After(Duration::from_secs(2)))));
    assert_eq!(minted.words.as_deref(), Some("Failed to create API keys"));
    assert_eq!(seen(client.intake(&keys, &lead("Jane"), id(1), None).await).0, 200, "intake has none");

    let cleared = ask(&sandbox, "DELETE /_sandbox/faults?endpoint=verify", "", "").await;
    assert_eq!(cleared.1.pointer("/faults").and_then(Value::as_array).map(Vec::len), Some(2));
    assert_eq!(seen(client.verify(&keys).await).0, 200);
    assert_eq!(ask(&sandbox, "DELETE /_sandbox/faults?endpont=verify", "", "").await.0, 400);
    assert_eq!(sandbox.faults().len(), 2, "a misspelt filter clears nothing");
    sandbox.clear_faults();
    assert_eq!(seen(client.dashboard_widget(&keys).await).0, 200);
}

#[tokio::test]
async fn a_fault_may_meet_one_site_alone() {
    let sandbox = start();
    let client = client(&sandbox);
    let key = LiveKey::parse("kc_live_any").expect("a key");
    let connection = |url: &str| NewConnection { site_url: Some(url.to_owned()), business_id: None };
    let mint = async |url| match seen(client.create_keys(&key, &connection(url)).await) {
        (_, Some(Envelope::Success(minted))) => minted.keys,
        (status, _) => unreachable!("answered {status}"),
    };
    let (acme, beta) = (mint("https://acme.example").await, mint("https://beta.example").await);
    let of_acme = r#"{"status":401,"site_url":"https://acme.example/"}"#;
    let set = ask(&sandbox, "POST /_sandbox/faults", JSON, of_acme).await;
    assert_eq!(set.1.pointer("/fault/site_url"), Some(&json!("https://acme.example/")));
    let for_beta = json!({"endpoint": "verify", "status": 401, "public_key": beta.public()}).to_string();
    assert_eq!(ask(&sandbox, "POST /_sandbox/faults", JSON, &for_beta).await.0, 200);
    let no_minting = r#"{"endpoint":"keys","status":500,"site_url":"https://acme.example"}"#;
    assert_eq!(ask(&sandbox, "POST /_sandbox/faults", JSON, no_minting).await.0, 200);

    let intake = async |keys| seen(client.intake(keys, &lead("Jane"), id(1), None).await).0;
    assert_eq!((intake(&acme).await, intake(&beta).await), (401, 200));
    let verify = async |keys| seen(client.verify(keys).await).0;
    assert_eq!((verify(&acme).await, verify(&beta).await), (200, 401));
    let create = async |url| seen(client.create_keys(&key, &connection(url)).await).0;
    assert_eq!((create("https://acme.example").await, create("https://beta.example").await), (500, 200));
}

#[tokio::test]
async fn a_pair_whose_answer_was_lost_is_among_the_connections() {
    let sandbox = start();
    let lost = Fault { endpoint: Endpoint::Keys, drop_after_commit: true, ..Fault::default() };
    sandbox.add_fault(lost).expect("a fault");
    let connection = NewConnection { site_url: Some("https://acme.example".to_owned()), business_id: None };
    let key = LiveKey::parse("kc_live_any").expect("a key");
    let reply = client(&sandbox).create_keys(&key, &connection).await;
    assert!(matches!(reply, Reply::Failed(failure) if failure.sent));
    let (status, listed) = ask(&sandbox, "GET /_sandbox/connections?limit=1", "", "").await;
    assert_eq!((status, listed.get("count")), (200, Some(&json!(2))));
    assert_eq!(listed.pointer("/connections/0/siteUrl"), Some(&json!("https://acme.example")));
    assert_eq!(listed.pointer("/connections/1"), None, "the limit");
}

#[tokio::test]
async fn connections_are_listed_with_their_use_and_revoked() {
    let sandbox = start();
    let (client, keys) = (client(&sandbox), own_keys(&sandbox));
    let fresh = sandbox.connections().remove(0);
    assert_eq!((fresh.last_verified_at, fresh.last_used_at, fresh.leads), (None, None, 0));
    assert_eq!(seen(client.verify(&keys).await).0, 200);
    assert_eq!(seen(client.intake(&keys, &lead("Jane"), id(1), None).await).0, 200);
    let used = sandbox.connections().remove(0);
    assert_eq!((used.public_key.as_str(), used.leads), (keys.public(), 1));
    assert!(used.last_verified_at.is_some() && used.last_used_at.is_some());
    let (_, listed) = ask(&sandbox, "GET /_sandbox/connections", "", "").await;
    assert!(!listed.to_string().contains(keys.secret().expose()), "no secret is shown");
    assert_eq!(listed.pointer("/connections/0/leads"), Some(&json!(1)));

    let revoke = format!("DELETE /_sandbox/connections/{}", used.connection_id);
    let (status, revoked) = ask(&sandbox, &revoke, "", "").await;
    assert_eq!((status, revoked.pointer("/revoked/publicKey")), (200, Some(&json!(keys.public()))));
    assert_eq!(seen(client.intake(&keys, &lead("Jane"), id(2), None).await).0, 401);
    assert_eq!(ask(&sandbox, &revoke, "", "").await.0, 404);
    assert_eq!(ask(&sandbox, "DELETE /_sandbox/connections", "", "").await.0, 405, "not all at once");
    assert_eq!(sandbox.connections(), []);
}

#[tokio::test]
async fn a_live_key_has_scopes_businesses_and_an_end() {
    let mut options = sandbox::Options::new(ANY_PORT);
    let known = |text: &str| sandbox::LiveKey::parse(text).expect("a key");
    options.live_keys = vec![
        known("kc_live_one,business=biz_1,scope=leads:write"),
        known("kc_live_two,business=biz_1,business=biz_2"),
        known("kc_live_reader,scope=leads:read,never-mints"),
        known("kc_live_old,expires=2020-01-01,never-mints"),
    ];
    let sandbox = Sandbox::start(options).expect("it starts");
    let client = client(&sandbox);
    let mint = async |key: &str, business: Option<&str>| {
        let connection = NewConnection { site_url: None, business_id: business.map(str::to_owned) };
        match client.create_keys(&LiveKey::parse(key).expect("a key"), &connection).await {
            Reply::Answered(answer) => (answer.status, answer.words.unwrap_or_default()),
            Reply::Failed(_) => (0, String::new()),
        }
    };
    assert_eq!(mint("kc_live_one", None).await.0, 200);
    assert_eq!(sandbox.connections().last().map(|last| last.business_id.as_str()), Some("biz_1"));
    assert_eq!(mint("kc_live_one", Some("biz_2")).await.0, 403);
    let (status, words) = mint("kc_live_two", None).await;
    assert_eq!((status, words.contains("businessId")), (400, true), "{words}");
    assert_eq!(mint("kc_live_two", Some("biz_2")).await.0, 200);
    let (status, words) = mint("kc_live_reader", None).await;
    assert_eq!((status, words.contains("leads:write")), (403, true), "{words}");
    assert_eq!(mint("kc_live_old", None).await, (401, "Unauthorized".to_owned()));
}

#[tokio::test]
async fn a_live_key_that_could_never_mint_keeps_the_sandbox_from_starting() {
    for (key, why) in [
        ("kc_test_hidden", "it isn't kc_live_"),
        ("kc_live_hidden,scope=leads:read", "leads:write"),
        ("kc_live_hidden,expires=2020-01-01", "it expired at 2020-01-02T00:00:00Z"),
        ("kc_live_hidden,business=", "business= need"),
    ] {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_formgate"));
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--live-key", "kc_live_good", "--live-key", key]);
        // One that starts all the same would stay.
        let ran = tokio::time::timeout(Duration::from_secs(30), command.env_clear().kill_on_drop(true).output()).await;
        let ran = ran.expect("it ends by itself").expect("it runs");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(said.contains("live key 2") && said.contains(why), "{said}");
        assert!(!said.contains("hidden"), "{said}");
    }
}

#[tokio::test]
async fn keys_in_files_outlive_the_sandbox() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys_dir = directory.path().join("keys");
    let options = sandbox::Options { keys_dir: Some(keys_dir.clone()), ..sandbox::Options::new(ANY_PORT) };
    let sandbox = Sandbox::start(options.clone()).expect("it starts");
    let read = |name: &str| std::fs::read_to_string(keys_dir.join(name)).expect("a key file");
    let keys = pair(&read("public_key"), &read("secret_key"));
    assert_eq!(seen(client(&sandbox).verify(&keys).await).0, 200);
    sandbox.stop().await;
    let again = Sandbox::start(options).expect("it starts again");
    assert_eq!(seen(client(&again).verify(&keys).await).0, 200);
}

#[tokio::test]
async fn it_stops_although_a_connection_idles_and_an_answer_is_late() {
    let sandbox = start();
    let idle = TcpStream::connect(sandbox.address()).await.expect("a connection");
    let once = Fault { delay_ms: Some(600_000), times: NonZeroU32::new(1), ..Fault::default() };
    sandbox.set_fault(Some(once)).expect("a fault");
    let (client, keys) = (client(&sandbox), own_keys(&sandbox));
    let late = tokio::spawn(async move { client.intake(&keys, &lead("Jane"), id(1), None).await });
    // The fault is used up when the request is read, so the wait has begun then.
    while ask(&sandbox, "GET /_sandbox/faults", "", "").await.1 != json!({"fault": null, "faults": []}) {}
    let address = sandbox.address();
    let stopping = tokio::spawn(async move { sandbox.stop().await });
    assert!(stopping.await.expect("it stops"), "nothing was waited for in vain");
    assert!(matches!(late.await.expect("it ends"), Reply::Failed(_)));
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    drop(idle);
}

#[tokio::test]
async fn it_runs_until_it_is_told_and_says_where() {
    let (told, shutdown) = tokio::sync::oneshot::channel::<()>();
    let (ready, address) = tokio::sync::oneshot::channel();
    let run = tokio::spawn(sandbox::run(
        sandbox::Options::new(ANY_PORT),
        |sandbox| ready.send(sandbox.address()).expect("somebody waits"),
        async { drop(shutdown.await) },
    ));
    let address = address.await.expect("an address");
    assert!(TcpStream::connect(address).await.is_ok());
    let taken = Sandbox::start(sandbox::Options::new(address));
    assert!(matches!(taken, Err(SandboxStartError::Listen { .. })));
    told.send(()).expect("it runs");
    assert!(run.await.expect("it ends").is_ok());
    assert!(TcpStream::connect(address).await.is_err());
}
