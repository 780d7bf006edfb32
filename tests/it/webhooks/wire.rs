//! What goes over the wire, and what is made of what comes back.

use std::time::Duration;

use formgate::config::{WebhookFormat, WebhookTarget};
use formgate::notify::sink::Sent;
use formgate::notify::sink::webhook::WebhookClient;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{client, failure, notices, target};
use crate::kaicalls::tls_server;
use crate::scripted_api::{Reply, ScriptedApi};

fn now() -> Timestamp {
    "2026-08-01T10:00:00Z".parse().expect("a time")
}

/// Posts an event to an API that answers so.
async fn answered(reply: Reply) -> Sent {
    let api = ScriptedApi::start().await;
    api.on("/hook", reply);
    client().post(&target(&format!("{}/hook", api.base_url()), &[]), &notices::test(), now()).await
}

#[tokio::test]
async fn an_event_is_posted_as_standard_webhooks_says() {
    let api = ScriptedApi::start().await;
    api.on("/hook?key=1", Reply::json(200, "{}"));
    let target = target(&format!("{}/hook?key=1", api.base_url()), &[1]);
    assert_eq!(client().post(&target, &notices::test(), now()).await, Sent::Taken);
    let request = api.requests().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hook?key=1"));
    for (name, value) in [
        ("content-type", "application/json"),
        ("user-agent", concat!("formgate/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", "evt_0198c1f0a2b87c3d9e4f5a6b7c8d9e0f"),
        ("webhook-timestamp", "1785578400"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert!(request.header("webhook-signature").is_some_and(|text| text.starts_with("v1,")));
    let keys: Vec<_> = request.json().as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["type", "timestamp", "data"]);
}

#[tokio::test]
async fn a_chat_gets_one_line_and_without_a_secret_nothing_is_signed() {
    let api = ScriptedApi::start().await;
    api.on("/hook", Reply::json(200, "ok"));
    let target = WebhookTarget { format: WebhookFormat::Slack, ..target(&format!("{}/hook", api.base_url()), &[]) };
    assert_eq!(client().post(&target, &notices::test(), now()).await, Sent::Taken);
    let request = api.requests().remove(0);
    let body = request.json();
    assert_eq!(body.as_object().map(|body| body.len()), Some(1));
    assert!(body["text"].as_str().is_some_and(|text| !text.is_empty() && !text.contains('\n')));
    assert_eq!(request.header("webhook-signature"), None);
}

#[tokio::test]
async fn an_answer_is_judged_by_its_status_alone() {
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(answered(Reply::html(status, "")).await, Sent::Taken, "{status}");
    }
    assert_eq!(answered(Reply::json(410, "{}")).await, Sent::Gone);
    for (status, why, is_overload) in [
        (301, "redirects aren't followed (301); set url to where it leads", false),
        (302, "redirects aren't followed (302); set url to where it leads", false),
        (400, "400 Bad Request", false),
        (401, "401 Unauthorized", false),
        (404, "404 Not Found", false),
        (429, "429 Too Many Requests", true),
        (500, "500 Internal Server Error", false),
        (502, "502 Bad Gateway", true),
        (503, "503 Service Unavailable", true),
        (504, "504 Gateway Timeout", true),
        (599, "status 599", false),
    ] {
        let headers = [("location", "http://127.0.0.1:1/elsewhere"), ("content-type", "text/html")];
        let failure = failure(answered(Reply::with_headers(status, &headers, "Hush <b>hush</b>")).await);
        assert_eq!((failure.why.as_str(), failure.is_overload, failure.retry_after), (why, is_overload, None));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let api = ScriptedApi::start().await;
    let elsewhere = ScriptedApi::start().await;
    let location = format!("{}/hook", elsewhere.base_url());
    api.on("/hook", Reply::with_headers(307, &[("location", &location)], ""));
    let sent = client().post(&target(&format!("{}/hook", api.base_url()), &[]), &notices::test(), now()).await;
    assert_eq!(failure(sent).why, "redirects aren't followed (307); set url to where it leads");
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn who_asks_to_be_left_alone_is_heard_in_seconds_or_by_a_date() {
    let by_their_clock = [("date", "Sun, 06 Nov 1994 08:49:00 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")];
    for (headers, wait) in [
        (&[("retry-after", "120")][..], Some(120)),
        (&[("retry-after", "Sat, 01 Aug 2026 10:00:30 GMT")], Some(30)),
        (&by_their_clock, Some(37)),
        (&[("retry-after", "Sat, 01 Aug 2026 09:00:00 GMT")], Some(0)),
        (&[("retry-after", "soon")], None),
    ] {
        let failure = failure(answered(Reply::with_headers(503, headers, "")).await);
        assert_eq!(failure.retry_after, wait.map(Duration::from_secs), "{headers:?}");
    }
}

#[tokio::test]
async fn a_large_answer_is_not_read() {
    assert_eq!(
        answered(Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{").then_silence()).await,
        Sent::Taken
    );
    let endless = Reply::raw("HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").then_silence();
    assert_eq!(failure(answered(endless).await).why, "500 Internal Server Error");
}

#[tokio::test]
async fn a_connection_serves_the_next_event_after_a_small_answer() {
    let api = ScriptedApi::start().await;
    for _ in 0..2 {
        api.on("/hook", Reply::json(200, r#"{"ok":true}"#));
    }
    let client = client();
    let target = target(&format!("{}/hook", api.base_url()), &[]);
    assert_eq!(client.post(&target, &notices::test(), now()).await, Sent::Taken);
    // Nobody else is let in, so the second event needs the connection of the first.
    api.close_connections(usize::MAX);
    assert_eq!(client.post(&target, &notices::test(), now()).await, Sent::Taken);
}

#[tokio::test]
async fn a_failure_is_told_without_the_url() {
    let api = ScriptedApi::start().await;
    let address = api.address();
    api.go_away().await;
    for (url, why) in [
        (format!("http://{address}/hush?key=hush"), "connection refused"),
        ("https://hush.invalid/hush".to_owned(), "the name can't be resolved"),
        ("hush".to_owned(), "the URL can't be posted to"),
        ("http://hush.invalid/hush".to_owned(), "the URL can't be posted to"),
    ] {
        let failure = failure(client().post(&target(&url, &[1]), &notices::test(), now()).await);
        assert_eq!(failure.why, why);
        assert!(!failure.is_overload && failure.retry_after.is_none());
    }
    for reply in [Reply::close(), Reply::reset(), Reply::raw("SSH-2.0-hush\r\n").then_close()] {
        assert_eq!(failure(answered(reply).await).why, "connection closed before an answer came");
    }
}

#[tokio::test]
async fn who_never_answers_is_not_waited_for() {
    let api = ScriptedApi::start().await;
    api.on("/hook", Reply::silence());
    let target = target(&format!("{}/hook", api.base_url()), &[]);
    let posting = tokio::spawn(async move { client().post(&target, &notices::test(), now()).await });
    api.wait_for(1).await;
    // From here on nothing happens any more but the end of the time.
    tokio::time::pause();
    assert_eq!(failure(posting.await.expect("it ends")).why, "timed out after 15 s");
}

#[tokio::test]
async fn a_certificate_is_checked_and_its_fault_is_named() {
    let trusting = WebhookClient::with_roots(include_bytes!("../tls/ca.pem")).expect("a client");
    let at = |certificate| WebhookTarget { allow_private: true, ..target(&tls_server(certificate), &[]) };
    let (good, expired, elsewhere): (&[u8], &[u8], &[u8]) = (
        include_bytes!("../tls/good.pem"),
        include_bytes!("../tls/expired.pem"),
        include_bytes!("../tls/elsewhere.pem"),
    );
    assert_eq!(trusting.post(&at(good), &notices::test(), now()).await, Sent::Taken);
    for (client, certificate, why) in [
        (&trusting, expired, "TLS: certificate expired"),
        (&trusting, elsewhere, "TLS: certificate for another name"),
        (&client(), good, "TLS: certificate from an unknown issuer"),
    ] {
        assert_eq!(failure(client.post(&at(certificate), &notices::test(), now()).await).why, why);
    }
}

#[tokio::test]
async fn a_private_address_is_reached_only_where_the_operator_says_so() {
    let api = ScriptedApi::start().await;
    let port = api.address().port();
    for (url, address) in [
        (format!("https://localhost:{port}"), "127.0.0.1"),
        (format!("https://127.0.0.1:{port}"), "127.0.0.1"),
        (format!("https://0x7f.1:{port}"), "127.0.0.1"),
        (format!("https://2130706433:{port}"), "127.0.0.1"),
        (format!("https://[::ffff:127.0.0.1]:{port}"), "::ffff:127.0.0.1"),
        ("https://10.0.0.5/hook".to_owned(), "10.0.0.5"),
        ("https://169.254.169.254/latest".to_owned(), "169.254.169.254"),
        ("https://[fd00::1]/hook".to_owned(), "fd00::1"),
    ] {
        let why = failure(client().post(&target(&url, &[]), &notices::test(), now()).await).why;
        let expected = format!("private address ({address}); set allow_private = true if it is meant");
        // A machine may resolve `localhost` to its IPv6 address first.
        assert_eq!(why.replace("(::1)", "(127.0.0.1)"), expected, "{url}");
    }
    assert!(api.requests().is_empty());
    for host in ["127.0.0.1", "localhost"] {
        let target = target(&format!("http://{host}:{port}/api/v1/wordpress/intake"), &[]);
        assert_eq!(client().post(&target, &notices::test(), now()).await, Sent::Taken, "{host}: http says it is meant");
    }
}

#[tokio::test]
async fn content_that_is_too_large_is_left_out_and_the_event_says_so() {
    let api = ScriptedApi::start().await;
    let target = target(&format!("{}/hook", api.base_url()), &[]);
    for (size, is_whole) in [(1_000_000, true), (1_050_000, false)] {
        api.on("/hook", Reply::json(200, ""));
        let notice = notices::overdue(notices::unreadable(&"x".repeat(size)));
        assert_eq!(client().post(&target, &notice, now()).await, Sent::Taken);
        let request = api.requests().pop().expect("a request");
        let lead: &Value = &request.json()["data"]["lead"];
        assert_eq!(lead.get("content").is_some(), is_whole);
        assert_eq!(lead.get("content_omitted"), (!is_whole).then_some(&json!(true)));
        assert_eq!(lead["state"], "dead");
    }
}
