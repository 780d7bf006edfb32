//! Signed webhooks: let in without a token, and nothing learnt or gained by those who cannot sign.

use std::sync::Arc;

use formgate::accept::Options;
use formgate::config::Config;
use formgate::destination::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::accept::limit;
use crate::gateway::{Running, acme, header, json, lead_body, post, read_one, start_with, status};

const SECRET: &str = "a secret of a webhook";

fn start_signed(change: impl FnOnce(&mut Config)) -> Running {
    start_with(Options::default(), |config| {
        let mut site = acme();
        site.wpforms_secrets = ["another", SECRET].map(|text| Secret::new(text.to_owned())).into();
        config.sites.insert(site.id.clone(), Arc::new(site));
        change(config);
    })
}

/// The header of a signature made `seconds` ago.
fn signed(secret: &str, payload: &str, seconds: i64) -> String {
    let time = Timestamp::now().as_second() - seconds;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(format!("{time}.{payload}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("X-WPForms-Webhook-Signature: t={time},v={hex}\r\n")
}

const FORM: &str = "name=Jane&email=jane%40example.com&message=a%2Fb";
const FORM_AS_JSON: &str = r#"{"name":"Jane","email":"jane@example.com","message":"a\/b"}"#;

#[tokio::test]
async fn a_signed_post_needs_no_token_in_whatever_encoding() {
    let gateway = start_signed(|_config| {});
    let json_body = lead_body("jane@example.com");
    let form = post("/hooks/acme/form", &signed(SECRET, FORM_AS_JSON, 0), FORM);
    let query = format!(
        "GET /hooks/acme/query?{FORM} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n",
        signed(SECRET, FORM_AS_JSON, 0)
    );
    for request in [
        post("/hooks/acme/json", &signed(SECRET, &json_body, 3500), &json_body),
        form.replace("application/json", "application/x-www-form-urlencoded"),
        query,
    ] {
        let answer = gateway.send(&request).await;
        assert_eq!((status(&answer), &json(&answer)["status"]), (200, &"queued".into()), "{request}");
    }
    let stored = gateway.shelf.entries().iter().map(|entry| format!("{:?}", entry.received.headers)).collect();
    let stored: String = stored;
    assert!(!stored.contains("signature"), "{stored}");
}

#[tokio::test]
async fn a_signature_is_over_what_came_and_not_over_what_is_kept() {
    let gateway = start_signed(|_config| {});
    let body = r#"{"email":"jane@example.com","cv":{"filename":"cv.pdf","content":"aGVsbG8="}}"#;
    assert_eq!(status(&gateway.send(post("/hooks/acme", &signed(SECRET, body, 0), body)).await), 200);
    assert!(gateway.shelf.only().received.cut);
}

#[tokio::test]
async fn what_is_not_signed_by_one_of_the_secrets_is_401() {
    let gateway = start_signed(|_config| {});
    let body = lead_body("jane@example.com");
    for (why, headers) in [
        ("another body", signed(SECRET, "{}", 0)),
        ("another secret", signed("guessed", &body, 0)),
        ("the empty secret", signed("", &body, 0)),
        ("too old", signed(SECRET, &body, 3700)),
        ("of the future", signed(SECRET, &body, -3700)),
        ("malformed", "X-WPForms-Webhook-Signature: t=1,v=2\r\n".to_owned()),
    ] {
        assert_eq!(status(&gateway.send(post("/hooks/acme", &headers, &body)).await), 401, "{why}");
    }
    assert!(gateway.shelf.entries().is_empty());
}

#[tokio::test]
async fn a_signature_tells_nothing_about_which_sites_there_are() {
    let gateway = start_signed(|_config| {});
    for site in ["acme", "nobody"] {
        let headers = signed("guessed", "{}", 0);
        let head = post(&format!("/hooks/{site}"), &format!("Expect: 100-continue\r\n{headers}"), "{}");
        let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
        stream.write_all(head.strip_suffix("{}").expect("a body").as_bytes()).await.expect("sent");
        assert_eq!(status(&read_one(&mut stream).await), 100, "{site}");
        stream.write_all(b"{}").await.expect("sent");
        assert_eq!(status(&read_one(&mut stream).await), 401, "{site}");
    }
}

#[tokio::test]
async fn who_signs_wrongly_too_often_is_refused_unread_and_who_signs_well_is_not_limited() {
    let gateway = start_signed(|config| config.limits.client = limit(2));
    let body = lead_body("jane@example.com");
    for _ in 0..4 {
        assert_eq!(status(&gateway.send(post("/hooks/acme", &signed(SECRET, &body, 0), &body)).await), 200);
    }
    let bad = signed("guessed", &body, 0);
    for expected in [401, 401, 429] {
        assert_eq!(status(&gateway.send(post("/hooks/acme", &bad, &body)).await), expected);
    }
    let head = format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\n{bad}Content-Length: 1000\r\n\r\n");
    let answer = gateway.send(head).await;
    assert_eq!(status(&answer), 429, "no byte of the body was waited for");
    assert!(header(&answer, "retry-after").is_some());
    assert_eq!(status(&gateway.post("/hooks/acme", &body).await), 200, "a token is not asked for its address");
}

#[tokio::test]
async fn what_strangers_send_takes_only_a_part_of_the_room() {
    let gateway = start_signed(|config| {
        config.server.max_body = 100;
        config.server.max_reading = 800;
    });
    let head = |length: usize| {
        let signature = signed("guessed", "", 0);
        format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\n{signature}Content-Length: {length}\r\n")
    };
    assert_eq!(status(&gateway.send(format!("{}\r\n", head(101))).await), 413);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
        stream.write_all(format!("{}Expect: 100-continue\r\n\r\n", head(100)).as_bytes()).await.expect("sent");
        assert_eq!(status(&read_one(&mut stream).await), 100);
        held.push(stream);
    }
    assert_eq!(status(&gateway.send(format!("{}\r\n", head(100))).await), 503);
    assert_eq!(status(&gateway.post("/hooks/acme", &lead_body("jane@example.com")).await), 200);
}
