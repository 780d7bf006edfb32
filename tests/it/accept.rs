//! What the gateway answers, over real sockets, byte by byte.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use formgate::accept::Options;
use formgate::config::{Limit, OverLimit, Rate};
use formgate::queue::{Reason, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::gateway::{
    PUBLIC, TOKEN, Trouble, acme, config, header, json, lead_body, post, read_one, read_to_end, short, start,
    start_behind, start_with, status, try_send,
};
use crate::log_lines::LogLines;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

pub(crate) fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

/// Checks an error's shape and returns its type.
fn problem(answer: &str) -> String {
    assert_eq!(header(answer, "content-type"), Some("application/problem+json"), "{answer}");
    let problem = json(answer);
    assert_eq!(problem["status"], status(answer));
    assert_eq!(problem["request_id"].as_str(), header(answer, "x-request-id"));
    for member in ["title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
    let kind = problem["type"].as_str().expect("a type");
    kind.strip_prefix("urn:formgate:problem:").expect("a URN of ours").to_owned()
}

#[tokio::test]
async fn a_lead_is_stored_before_it_is_answered_with_200() {
    let gateway = start();
    let answer = gateway.post("/hooks/acme/contact", &lead_body("jane@example.com")).await;
    assert_eq!(status(&answer), 200);
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    let entry = gateway.shelf.only();
    assert_eq!(json(&answer), serde_json::json!({"success": true, "id": entry.id.to_string(), "status": "queued"}));
    assert_eq!((entry.state, entry.reason), (State::Queued, Reason::Accepted));
    assert_eq!((entry.site.as_str(), entry.form.as_str()), ("acme", "contact"));
    assert_eq!(entry.received.method, "POST");
    assert_eq!(entry.received.body, lead_body("jane@example.com"));
    assert!(gateway.page().contains(r#"formgate_submissions_received_total{outcome="queued"} 1"#));
}

#[tokio::test]
async fn the_same_lead_again_is_a_duplicate_of_the_first() {
    let gateway = start();
    let body = lead_body("jane@example.com");
    let first = json(&gateway.post("/hooks/acme/contact", &body).await);
    let again = json(&gateway.post("/hooks/acme/contact", &body).await);
    assert_eq!(again, serde_json::json!({"success": true, "id": first["id"], "status": "duplicate"}));
    assert_eq!(json(&gateway.post("/hooks/acme/quote", &body).await)["status"], "queued");
}

#[tokio::test]
async fn what_a_cut_message_no_longer_shows_makes_another_lead_all_the_same() {
    let gateway = start();
    let post = async |budget: &str| {
        let message = "much to say ".repeat(6_000);
        let fields = [("name", "Jane"), ("email", "jane@example.com"), ("message", &message), ("budget", budget)];
        let body = serde_json::Value::from_iter(fields).to_string();
        json(&gateway.post("/hooks/acme/contact", &body).await)["status"].clone()
    };
    assert_eq!(
        (post("100").await, post("900").await, post("100").await),
        ("queued".into(), "queued".into(), "duplicate".into())
    );
}

#[tokio::test]
async fn nothing_is_a_duplicate_where_dedupe_is_off() {
    let gateway = start_with(Options::default(), |config| config.queue.dedupe = Duration::ZERO);
    let body = lead_body("jane@example.com");
    for _ in 0..2 {
        assert_eq!(json(&gateway.post("/hooks/acme/contact", &body).await)["status"], "queued");
    }
}

#[tokio::test]
async fn what_makes_no_lead_is_held_and_answered_with_success() {
    let gateway = start();
    let answer = gateway.post("/hooks/acme", &lead_body("nowhere")).await;
    assert_eq!((status(&answer), &json(&answer)["status"]), (200, &"held".into()));
    let entry = gateway.shelf.only();
    assert_eq!((entry.state, entry.reason), (State::Held, Reason::Invalid));
    assert_eq!(entry.reading.errors.len(), 1);
}

#[tokio::test]
async fn a_site_that_does_not_deliver_holds_its_leads() {
    let gateway = start_with(Options::default(), |config| {
        let mut site = acme();
        site.deliver = false;
        config.sites.insert(site.id.clone(), Arc::new(site));
    });
    let answer = gateway.post("/hooks/acme", &lead_body("jane@example.com")).await;
    assert_eq!(json(&answer)["status"], "held");
    let entry = gateway.shelf.only();
    assert_eq!((entry.state, entry.reason), (State::Held, Reason::DeliverOff));
    assert!(entry.reading.lead.is_some());
}

#[tokio::test]
async fn a_copy_of_the_site_on_another_host_is_held_and_takes_no_leads_place() {
    let gateway = start_with(Options::default(), |config| {
        let mut site = acme();
        site.hosts = vec!["acme.example".to_owned()];
        config.sites.insert(site.id.clone(), Arc::new(site));
        let (mappings, _) = formgate::config::shipped_mappings();
        config.mappings = Arc::new(mappings);
    });
    let agent = |host: &str| format!("{}User-Agent: WordPress/6.9; https://{host}\r\n", bearer());
    let with_page = |page: &str| {
        format!(
            r#"{{"id":"7","form_id":"1","date_created":"x","is_starred":"0","source_url":"{page}","1":"jane@example.com"}}"#
        )
    };
    let body = lead_body("jane@example.com");
    for (headers, body, expected) in [
        (agent("staging.acme.example"), body.as_str(), Reason::OtherHost),
        (agent("acme.example"), &body, Reason::Accepted),
        (agent("acme.example"), &with_page("https://staging.acme.example/contact"), Reason::OtherHost),
        (agent("acme.example"), &with_page("https://acme.example/contact"), Reason::Accepted),
    ] {
        let answer = gateway.send(post("/hooks/acme/contact", &headers, body)).await;
        let status = if expected == Reason::Accepted { "queued" } else { "held" };
        assert_eq!(json(&answer)["status"], status, "{headers}{body}");
        let entry = gateway.shelf.entries().pop().expect("an entry");
        assert_eq!(entry.reason, expected, "{headers}{body}");
        assert!(entry.reading.lead.is_some());
    }
}

#[tokio::test]
async fn any_one_of_four_credentials_suffices() {
    let gateway = start();
    let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("any:{TOKEN}")));
    let own = format!("X-Formgate-Token: {TOKEN}\r\n");
    let query = format!("/hooks/acme?token={TOKEN}");
    let body = lead_body("jane@example.com");
    let wrong_first = format!("Authorization: Bearer fg_wrong\r\n{own}");
    for (path, headers) in [
        ("/hooks/acme", bearer().as_str()),
        ("/hooks/acme", &basic),
        ("/hooks/acme", &own),
        (query.as_str(), ""),
        ("/hooks/acme", &wrong_first),
    ] {
        let answer = gateway.send(post(path, headers, &body)).await;
        assert_eq!(status(&answer), 200, "{headers}");
    }
    for headers in ["", "Authorization: Bearer fg_wrong\r\n", "X-Formgate-Token: \r\n", "Authorization: Basic x\r\n"] {
        let answer = gateway.send(post("/hooks/acme", headers, &body)).await;
        assert_eq!((status(&answer), problem(&answer)), (401, "unauthorized".to_owned()), "{headers}");
    }
}

#[tokio::test]
async fn an_expired_token_opens_nothing() {
    let gateway = start_with(Options::default(), |config| {
        let mut site = acme();
        site.tokens[0].expires = Some("2020-01-01".parse().expect("a date"));
        config.sites.insert(site.id.clone(), Arc::new(site));
    });
    assert_eq!(status(&gateway.post("/hooks/acme", "{}").await), 401);
}

#[tokio::test]
async fn an_unknown_site_and_a_wrong_token_are_answered_alike() {
    let gateway = start();
    let ask = |site: &str| {
        let headers = "Authorization: Bearer fg_wrong\r\nX-Request-Id: same\r\n";
        post(&format!("/hooks/{site}"), headers, "{}")
    };
    let without_date = |answer: String| {
        answer.lines().filter(|line| !line.to_lowercase().starts_with("date:")).collect::<Vec<_>>().join("\n")
    };
    let known = without_date(gateway.send(ask("acme")).await);
    let unknown = without_date(gateway.send(ask("nobody")).await);
    assert!(known.starts_with("HTTP/1.1 401 "), "{known}");
    assert_eq!(known, unknown);
    let page = gateway.page();
    assert!(page.contains(r#"formgate_refused_total{reason="unauthorized",site="acme"} 1"#), "{page}");
    assert!(!page.contains("nobody"), "what came over the wire is no label");
}

#[tokio::test]
async fn the_token_never_reaches_the_store() {
    let gateway = start();
    let target = format!("/hooks/acme/contact?a=1&token={TOKEN}&t%6Fken={TOKEN}&b=%20");
    let headers = format!("{}Referer: https://g.example/hooks/acme?token={TOKEN}\r\nCookie: c=1\r\n", bearer());
    let answer = gateway.send(post(&target, &headers, &lead_body("jane@example.com"))).await;
    assert_eq!(status(&answer), 200);
    let received = gateway.shelf.only().received;
    assert_eq!(received.query.as_deref(), Some("a=1&b=%20"));
    assert_eq!(received.header("referer"), Some("https://g.example/hooks/acme"));
    let stored = serde_json::to_string(&received).expect("json");
    assert!(!stored.contains(TOKEN) && !stored.contains("cookie"), "{stored}");
}

#[tokio::test]
async fn a_get_with_fields_in_its_query_is_a_submission() {
    let gateway = start();
    let answer = gateway.send(get(&format!("/hooks/acme?token={TOKEN}&email=jane%40example.com"))).await;
    assert_eq!((status(&answer), &json(&answer)["success"]), (200, &true.into()));
    let received = gateway.shelf.only().received;
    assert_eq!((received.method.as_str(), received.query.as_deref()), ("GET", Some("email=jane%40example.com")));
}

#[tokio::test]
async fn a_get_with_nothing_in_it_says_what_the_url_is_for() {
    let gateway = start();
    for target in ["/hooks/acme".to_owned(), format!("/hooks/acme?token={TOKEN}"), "/hooks/nobody?&&".to_owned()] {
        let answer = gateway.send(get(&target)).await;
        assert_eq!((status(&answer), problem(&answer)), (405, "method-not-allowed".to_owned()), "{target}");
        assert_eq!(header(&answer, "allow"), Some("POST, PUT, PATCH, GET, DELETE"));
        assert!(json(&answer)["detail"].as_str().expect("a detail").contains("webhook settings"));
    }
    let chunked = format!(
        "DELETE /hooks/acme HTTP/1.1\r\nHost: a\r\n{}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        bearer()
    );
    assert_eq!(status(&gateway.send(chunked).await), 405);
    assert!(gateway.shelf.entries().is_empty());
}

#[tokio::test]
async fn every_method_of_the_plugins_is_taken_and_no_other() {
    let gateway = start();
    let body = lead_body("jane@example.com");
    for method in ["POST", "PUT", "PATCH", "GET", "DELETE"] {
        let request = post("/hooks/acme", &bearer(), &body).replacen("POST", method, 1);
        assert_eq!(status(&gateway.send(request).await), 200, "{method}");
    }
    for method in ["OPTIONS", "TRACE", "BREW"] {
        let request = post("/hooks/acme", &bearer(), &body).replacen("POST", method, 1);
        assert_eq!(status(&gateway.send(request).await), 405, "{method}");
    }
    let answer = gateway.send("HEAD /hooks/acme HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), 405);
    assert!(answer.ends_with("\r\n\r\n"), "an answer to HEAD has no body: {answer}");
}

#[tokio::test]
async fn other_paths_are_404_and_never_a_redirect() {
    let gateway = start();
    for path in ["/", "/hooks", "/hooks/", "/hooks/acme/", "/hooks/Acme", "/hooks/acme/a/b", "/api/v1/wordpress/x"] {
        let answer = gateway.post(path, "{}").await;
        assert_eq!((status(&answer), header(&answer, "location")), (404, None), "{path}");
    }
    assert_eq!(problem(&gateway.post("/hooks/", "{}").await), "not-found");
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_unread() {
    let gateway = start_with(Options::default(), |config| config.server.max_upload = 10);
    let request = format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\n{}Content-Length: 11\r\n\r\n", bearer());
    let answer = gateway.send(request).await;
    assert_eq!((status(&answer), problem(&answer)), (413, "upload-too-large".to_owned()));
    assert_eq!(header(&answer, "connection"), Some("close"));
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_cut_off() {
    let gateway = start_with(Options::default(), |config| config.server.max_upload = 10);
    let head = format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\n{}Transfer-Encoding: chunked\r\n\r\n", bearer());
    let answer = gateway.send(format!("{head}b\r\nhello world\r\n0\r\n\r\n")).await;
    assert_eq!((status(&answer), header(&answer, "connection")), (413, Some("close")));
}

#[tokio::test]
async fn more_than_max_body_is_not_kept() {
    let gateway = start_with(Options::default(), |config| config.server.max_body = 20);
    let answer = gateway.post("/hooks/acme", &"x".repeat(21)).await;
    assert_eq!((status(&answer), problem(&answer)), (413, "body-too-large".to_owned()));
    assert!(gateway.shelf.entries().is_empty());
}

#[tokio::test]
async fn a_refused_client_that_is_still_sending_can_read_why() {
    let gateway = start_with(Options::default(), |config| config.server.max_upload = 10);
    let head = format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\n{}Content-Length: 4000000\r\n\r\n", bearer());
    let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b'x'; 4_000_000]).await.expect("all of it is taken");
    assert_eq!(status(&read_to_end(&mut stream).await), 413);
}

#[tokio::test]
async fn over_what_all_bodies_may_take_it_is_503() {
    let gateway = start_with(Options::default(), |config| config.server.max_reading = 30);
    let slow = format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\n{}Content-Length: 20\r\n", bearer());
    let mut first = TcpStream::connect(gateway.address).await.expect("a connection");
    first.write_all(format!("{slow}Expect: 100-continue\r\n\r\n").as_bytes()).await.expect("sent");
    assert_eq!(status(&read_one(&mut first).await), 100, "its share is taken");
    let answer = gateway.post("/hooks/acme", &"x".repeat(11)).await;
    assert_eq!((status(&answer), problem(&answer)), (503, "busy".to_owned()));
    assert_eq!(header(&answer, "retry-after"), Some("5"));
    first.write_all(b"message=hello there!").await.expect("sent");
    assert_eq!(status(&read_one(&mut first).await), 200);
    assert_eq!(status(&gateway.post("/hooks/acme", "message=abc").await), 200, "the share is given back");
}

#[tokio::test]
async fn what_cannot_be_stored_is_503_and_never_200() {
    for (trouble, kind) in
        [(Trouble::Full, "store-full"), (Trouble::Away, "store-unavailable"), (Trouble::Silent, "store-unavailable")]
    {
        let gateway = start_with(short(), |_config| {});
        gateway.shelf.fail(trouble);
        let answer = gateway.post("/hooks/acme", &lead_body("jane@example.com")).await;
        assert_eq!((status(&answer), problem(&answer).as_str()), (503, kind));
        assert_eq!(header(&answer, "retry-after"), Some("30"));
    }
}

#[tokio::test]
async fn continue_is_said_only_after_the_head_is_checked() {
    let gateway = start_with(Options::default(), |config| config.server.max_upload = 100);
    let head = |credential: &str, length: usize| {
        let fixed = "POST /hooks/acme HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n";
        format!("{fixed}{credential}Content-Length: {length}\r\n\r\n")
    };
    assert_eq!(status(&gateway.send(head("", 5)).await), 401);
    assert_eq!(status(&gateway.send(head(&bearer(), 101)).await), 413);
    let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
    let body = lead_body("jane@example.com");
    for _ in 0..2 {
        stream.write_all(head(&bearer(), body.len()).as_bytes()).await.expect("sent");
        assert_eq!(read_one(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(body.as_bytes()).await.expect("sent");
        let answer = read_one(&mut stream).await;
        assert_eq!((status(&answer), header(&answer, "connection")), (200, Some("keep-alive")));
    }
}

#[tokio::test]
async fn a_connection_is_kept_as_the_client_asks() {
    let gateway = start();
    let body = lead_body("jane@example.com");
    let request = |version: &str, connection: &str| {
        let head = format!("POST /hooks/acme HTTP/{version}\r\nHost: a\r\n{}{connection}", bearer());
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    for (version, connection, kept) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
        stream.write_all(request(version, connection).as_bytes()).await.expect("sent");
        let answer = read_one(&mut stream).await;
        let word = if kept { "keep-alive" } else { "close" };
        assert_eq!((status(&answer), header(&answer, "connection")), (200, Some(word)), "{version} {connection}");
        if kept {
            stream.write_all(request(version, connection).as_bytes()).await.expect("sent");
            assert_eq!(status(&read_one(&mut stream).await), 200);
        } else {
            assert_eq!(stream.read(&mut [0; 1]).await.expect("an end"), 0);
        }
    }
}

#[tokio::test]
async fn malformed_requests_are_answered_with_400_and_the_connection_closes() {
    let gateway = start();
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000));
    for (request, expected) in [
        ("nonsense\r\n\r\n", 400),
        ("POST /hooks/acme HTTP/1.1\r\n\r\n", 400),
        ("POST /hooks/acme HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("POST /hooks/acme HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (
            "POST /hooks/acme HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST /hooks/acme HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST /hooks/acme HTTP/1.1\nHost: a\n\n", 400),
        (long.as_str(), 431),
    ] {
        let answer = gateway.send(request).await;
        let shown = request.get(..60).unwrap_or(request);
        assert_eq!((status(&answer), header(&answer, "connection")), (expected, Some("close")), "{shown:?}");
        problem(&answer);
    }
    assert_eq!(status(&gateway.send("GET / HTTP/1.0\r\n\r\n").await), 404, "HTTP/1.0 needs no Host");
    assert!(gateway.page().contains(r#"formgate_submissions_received_total{outcome="refused"} 9"#));
}

#[tokio::test]
async fn a_chunked_body_is_put_together() {
    let gateway = start();
    let body = lead_body("jane@example.com");
    let (one, two) = body.split_at(7);
    let request = format!(
        "POST /hooks/acme HTTP/1.1\r\nHost: a\r\n{}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         7;x=y\r\n{one}\r\n{:X}\r\n{two}\r\n0\r\nTrailer: t\r\n\r\n",
        bearer(),
        two.len()
    );
    assert_eq!(status(&gateway.send(request).await), 200);
    assert_eq!(gateway.shelf.only().received.body, body);
}

#[tokio::test]
async fn after_a_broken_body_nothing_more_is_read_as_a_request() {
    let gateway = start();
    let head = format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\n{}Transfer-Encoding: chunked\r\n\r\n", bearer());
    let next = post("/hooks/acme", &bearer(), "{}");
    let in_full = "2\r\n{}\r\n0\r\n";
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        &format!("{in_full}bad trailer\r\n\r\n"),
        // pingora takes each of these.
        "2 \r\n{}\r\n0\r\n\r\n",
        "2;a\nb\r\n{}\r\n0\r\n\r\n",
        "2;a\0b\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n\r\n\r\n",
        "2\r\n{}\r\n;x\r\n\r\n",
        &format!("{in_full}GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        &format!("{in_full}Name: \0\r\n\r\n"),
    ] {
        let answer = gateway.send(format!("{head}{body}{next}")).await;
        assert_eq!((status(&answer), problem(&answer)), (400, "broken-body".to_owned()), "{body:?}");
        assert_eq!(header(&answer, "connection"), Some("close"));
    }
    assert!(gateway.shelf.entries().is_empty());
    let answer = gateway.send(format!("{head}{in_full}Good: trailer\r\n\r\n{next}")).await;
    assert_eq!(
        (status(&answer), answer.matches("HTTP/1.1").count()),
        (200, 1),
        "what follows chunks is never a request"
    );
}

#[tokio::test]
async fn a_body_cut_off_by_the_client_is_not_stored() {
    let gateway = start();
    let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
    let head = format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\n{}Content-Length: 50\r\n\r\nhalf", bearer());
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.shutdown().await.expect("our end");
    let answer = read_to_end(&mut stream).await;
    assert_eq!((status(&answer), problem(&answer)), (400, "broken-body".to_owned()));
    assert!(gateway.shelf.entries().is_empty());
}

#[tokio::test]
async fn a_slow_head_and_a_slow_body_are_cut() {
    let gateway = start_with(short(), |_config| {});
    let answer = gateway.send("POST /hooks/acme HTTP/1.1\r\nHost: a\r\n").await;
    assert_eq!((status(&answer), problem(&answer)), (408, "head-too-slow".to_owned()));
    let request = format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\n{}Content-Length: 50\r\n\r\nhalf", bearer());
    let answer = gateway.send(request).await;
    assert_eq!((status(&answer), problem(&answer)), (408, "body-too-slow".to_owned()));
    assert_eq!(header(&answer, "connection"), Some("close"));
}

#[tokio::test]
async fn a_silent_connection_is_closed_without_a_word() {
    let gateway = start_with(Options { idle: Duration::from_millis(50), ..Options::default() }, |_config| {});
    assert_eq!(gateway.send("").await, "");
    assert!(gateway.page().contains("formgate_accept_duration_seconds_count 0"));
}

#[tokio::test]
async fn a_request_id_is_echoed_when_it_is_plain() {
    let gateway = start();
    let ask = |id: &str| post("/", &format!("X-Request-Id: {id}\r\n"), "");
    let answer = gateway.send(ask("abc-1.2_X")).await;
    assert_eq!(header(&answer, "x-request-id"), Some("abc-1.2_X"));
    let answer = gateway.send(ask("a\"b")).await;
    assert_eq!(header(&answer, "x-request-id").map(str::len), Some(32));
}

#[tokio::test]
async fn over_its_cap_an_address_loses_its_own_idle_connection() {
    let (lines, _guard) = LogLines::begin();
    let options = Options { connections_per_address: 1, ..Options::default() };
    let mut reporting = None;
    let gateway = start_behind(None, options, |_config| {}, |gateway| reporting.insert(gateway).clone());
    let mut first = TcpStream::connect(gateway.address).await.expect("a connection");
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    assert_eq!(status(&read_one(&mut first).await), 404);
    // The first is idle as soon as its answer is written; until then it is served, and the next finds no place.
    let answered =
        async { while try_send(gateway.address, get("/")).await.is_none_or(|answer| status(&answer) != 404) {} };
    tokio::time::timeout(Duration::from_secs(10), answered).await.expect("it is answered");
    assert_eq!(read_to_end(&mut first).await, "");
    assert!(gateway.page().contains("formgate_connections_closed_total{reason=\"same_address\"} 1\n"));
    // What was closed is summed up each minute, and at the end.
    let (_stop, stopping) = watch::channel(true);
    reporting.expect("a gateway").report_floods(stopping).await;
    assert_eq!(lines.events("connections.closed")[0]["evicted_same_address"], 1, "{}", lines.text());
}

#[tokio::test]
async fn a_connection_over_the_cap_finds_no_place_where_none_is_idle() {
    let options = Options { connections_per_address: 1, ..Options::default() };
    let gateway = start_with(options, |_config| {});
    let mut busy = TcpStream::connect(gateway.address).await.expect("a connection");
    let head = format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{}", bearer());
    busy.write_all(format!("{head}Content-Length: 9\r\n\r\n").as_bytes()).await.expect("sent");
    assert_eq!(status(&read_one(&mut busy).await), 100);
    let mut second = TcpStream::connect(gateway.address).await.expect("a connection");
    assert_eq!(read_to_end(&mut second).await, "");
    assert!(gateway.page().contains("formgate_connections_refused_total 1"));
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_waits_for_requests() {
    let gateway = start();
    let mut idle = TcpStream::connect(gateway.address).await.expect("a connection");
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    assert_eq!(status(&read_one(&mut idle).await), 404);
    let body = lead_body("jane@example.com");
    let mut busy = TcpStream::connect(gateway.address).await.expect("a connection");
    let head = format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{}", bearer());
    busy.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).await.expect("sent");
    assert_eq!(status(&read_one(&mut busy).await), 100);
    gateway.stop();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert_eq!(gateway.in_flight.count(), 1);
    busy.write_all(body.as_bytes()).await.expect("sent");
    let answer = read_to_end(&mut busy).await;
    assert_eq!((status(&answer), header(&answer, "connection")), (200, Some("close")));
    gateway.in_flight.drained().await;
    assert_eq!(gateway.shelf.entries().len(), 1);
}

#[tokio::test]
async fn a_reload_counts_from_the_next_request_on() {
    let gateway = start();
    assert_eq!(status(&gateway.post("/hooks/acme", &lead_body("jane@example.com")).await), 200);
    let mut without = config();
    without.sites.clear();
    gateway.config.store(Arc::new(without));
    assert_eq!(status(&gateway.post("/hooks/acme", &lead_body("jane@example.com")).await), 401);
}

pub(crate) fn limit(burst: u32) -> Limit {
    let rate = Rate { count: NonZeroU32::MIN, per: Duration::from_secs(3600) };
    Limit { rate, burst: NonZeroU32::new(burst).expect("a number") }
}

#[tokio::test]
async fn over_the_gateways_limit_it_is_429() {
    let gateway = start_with(Options::default(), |config| config.limits.gateway = limit(1));
    assert_eq!(status(&gateway.post("/hooks/acme", "{}").await), 200);
    let answer = gateway.post("/hooks/acme", "{}").await;
    assert_eq!((status(&answer), problem(&answer)), (429, "rate-limited".to_owned()));
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(header(&answer, name).is_some(), "{answer}");
    }
}

#[tokio::test]
async fn an_address_without_a_valid_credential_is_limited_and_one_with_it_is_not() {
    let gateway = start_with(Options::default(), |config| config.limits.client = limit(2));
    for expected in [401, 401, 429] {
        let answer = gateway.send(post("/hooks/acme", "X-Formgate-Token: fg_wrong\r\n", "{}")).await;
        assert_eq!(status(&answer), expected);
    }
    let keys = format!("Authorization: Bearer {PUBLIC}:wp_sk_x\r\n");
    let answer = gateway.send(post("/api/v1/wordpress/intake", &keys, &lead_body("jane@example.com"))).await;
    assert_eq!(status(&answer), 429);
    assert_eq!(status(&gateway.post("/hooks/acme", "{}").await), 200);
}

#[tokio::test]
async fn whatever_a_stranger_is_refused_for_counts_towards_its_limit() {
    let no_body = |first: &str| format!("{first} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    for (request, expected) in [
        (no_body("GET /wp-login.php"), 404),
        (no_body("GET /hooks/acme"), 405),
        (no_body("BREW /api/v1/wordpress/intake"), 405),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 400),
        (post("/api/v1/wordpress/auth/verify", "", "{}"), 400),
        (post("/api/v1/wordpress/auth/verify", "", &"x".repeat(20_000)), 413),
    ] {
        let gateway = start_with(Options::default(), |config| {
            (config.limits.client, config.limits.gateway) = (limit(3), limit(4));
        });
        for _ in 0..3 {
            assert_eq!(status(&gateway.send(&request).await), expected, "{request}");
        }
        assert_eq!(status(&gateway.send(&request).await), 429, "{request}");
        assert_eq!(status(&gateway.send(no_body("GET /")).await), 429, "after {request}");
        // Behind the same address translation.
        assert_eq!(status(&gateway.post("/hooks/acme", &lead_body("jane@example.com")).await), 200, "after {request}");
    }
}

#[tokio::test]
async fn a_scanner_fills_no_log_and_every_request_is_counted() {
    let (lines, _guard) = LogLines::begin();
    let gateway = start();
    for number in 0..50 {
        gateway.send(get(&format!("/admin/{number}"))).await;
    }
    assert_eq!(status(&gateway.post("/hooks/acme", &lead_body("jane@example.com")).await), 200);
    let text = lines.text();
    assert_eq!(text.matches("request not_found").count(), 10, "{text}");
    assert_eq!(text.matches("request queued").count(), 1, "whoever may post has a line for each");
    assert!(gateway.page().contains("formgate_submissions_received_total{outcome=\"refused\"} 50\n"));
}

#[tokio::test]
async fn over_a_sites_limit_it_goes_as_the_operator_says() {
    for (over, expected) in [
        (OverLimit::Slow, (200, State::Queued, Reason::Accepted)),
        (OverLimit::Hold, (200, State::Held, Reason::OverLimit)),
    ] {
        let gateway = start_with(Options::default(), |config| {
            config.limits.site = limit(1);
            config.limits.over_site = over;
        });
        gateway.post("/hooks/acme", &lead_body("jane@example.com")).await;
        let answer = gateway.post("/hooks/acme/other", &lead_body("june@example.com")).await;
        let second = gateway.shelf.entries().remove(1);
        assert_eq!((status(&answer), second.state, second.reason), expected);
    }
    let gateway = start_with(Options::default(), |config| {
        config.limits.site = limit(1);
        config.limits.over_site = OverLimit::Reject;
    });
    gateway.post("/hooks/acme", "{}").await;
    assert_eq!(status(&gateway.post("/hooks/acme", "{}").await), 429);
}

#[tokio::test]
async fn each_request_is_one_log_line_without_a_value_or_a_secret() {
    let (lines, _guard) = LogLines::begin();
    let gateway = start();
    let target = format!("/hooks/acme/contact?token={TOKEN}&utm=spring");
    gateway.send(post(&target, "X-Request-Id: r-1\r\n", &lead_body("jane@example.com"))).await;
    gateway.send(post("/hooks/stranger/contact", "", "{}")).await;
    gateway.shelf.fail(Trouble::Full);
    gateway.post("/hooks/acme", &lead_body("june@example.com")).await;
    let text = lines.text();
    let logged: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    assert_eq!(logged.len(), 3, "{text}");
    let id = gateway.shelf.only().id.to_string();
    for (name, value) in [
        ("level", "INFO"),
        ("request_id", "r-1"),
        ("site", "acme"),
        ("form", "contact"),
        ("outcome", "queued"),
        ("id", id.as_str()),
    ] {
        assert_eq!(logged[0][name], value, "{text}");
    }
    assert_eq!(logged[0]["status"], 200);
    assert_eq!((&logged[2]["level"], &logged[2]["outcome"]), (&"ERROR".into(), &"store_full".into()));
    for unsaid in ["jane", "june", "Jane", "Hello", TOKEN, "spring", "stranger"] {
        assert!(!text.contains(unsaid), "{unsaid} in {text}");
    }
}
