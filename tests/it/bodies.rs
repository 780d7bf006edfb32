//! Bodies through the gateway: what is read, what is kept of it, and how much is held meanwhile.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use formgate::accept::Options;
use formgate::config::{Config, shipped_mappings};
use formgate::decode::{self, Field};
use formgate::pipeline::Keeper;
use formgate::queue::{NewEntry, Reason, State};
use formgate::received::Received;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::fixtures::{cases, expectation, fixtures, received};
use crate::gateway::{Running, TOKEN, read_one, read_to_end, start, start_with, status};

const MULTIPART: &str = "multipart/form-data; boundary=XX";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A request's head up to what frames its body.
fn head(content_type: &str) -> String {
    let fixed = "POST /hooks/acme HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    format!("{fixed}Authorization: Bearer {TOKEN}\r\nContent-Type: {content_type}\r\n")
}

fn request(content_type: &str, body: &str) -> String {
    format!("{}Content-Length: {}\r\n\r\n{body}", head(content_type), body.len())
}

fn part(head: &str, content: &str) -> String {
    format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

/// A form with an e-mail, and a file of a size.
fn with_file(size: usize) -> String {
    let email = part("name=\"email\"", "jane@example.com");
    let file = part("name=\"cv\"; filename=\"cv – é.pdf\"\r\nContent-Type: application/pdf", &"x".repeat(size));
    format!("{email}{file}--XX--\r\n")
}

/// One field of a size, in each encoding.
fn one_field(size: usize) -> [(&'static str, String); 3] {
    let value = "x".repeat(size);
    [
        (JSON, format!("{{\"message\":\"{value}\"}}")),
        (FORM, format!("message={value}")),
        (MULTIPART, format!("{}--XX--\r\n", part("name=\"message\"", &value))),
    ]
}

fn start_with_config(change: impl FnOnce(&mut Config)) -> Running {
    start_with(Options::default(), change)
}

fn last(gateway: &Running) -> NewEntry {
    gateway.shelf.entries().pop().expect("an entry")
}

async fn connect(gateway: &Running, bytes: String) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test]
async fn an_upload_is_stored_without_its_contents() {
    let gateway = start();
    assert_eq!(status(&gateway.send(request(MULTIPART, &with_file(2 << 20))).await), 200);
    let entry = gateway.shelf.only();
    let received = entry.received;
    let body = String::from_utf8(received.body.to_vec()).expect("text");
    assert!(received.cut && body.len() < 400, "{body}");
    assert!(body.contains("filename=\"cv – é.pdf\"") && body.contains("content-length: 2097152\r\n"), "{body}");
    assert_eq!(entry.reading.lead.expect("a lead").email(), "jane@example.com");
}

#[tokio::test]
async fn a_form_without_files_is_stored_byte_for_byte() {
    let gateway = start();
    for (content_type, body) in one_field(100) {
        assert_eq!(status(&gateway.send(request(content_type, &body)).await), 200);
        let received = last(&gateway).received;
        assert_eq!((received.body, received.cut), (body.into(), false));
    }
}

#[tokio::test]
async fn two_hundred_megabytes_pass_in_the_memory_of_two_chunks() {
    let chunk = vec![0; 64 * 1024];
    let size = 3200 * chunk.len();
    let gateway = start_with_config(|config| {
        config.server.max_upload = 300 << 20;
        config.server.max_reading = 2 * 64 * 1024;
    });
    let (before, after) = (with_file(0), "\r\n--XX--\r\n");
    let before = before.strip_suffix(after).expect("an empty file at its end");
    let length = before.len() + size + after.len();
    let mut stream = connect(&gateway, format!("{}Content-Length: {length}\r\n\r\n{before}", head(MULTIPART))).await;
    for _ in 0..size / chunk.len() {
        stream.write_all(&chunk).await.expect("sent");
    }
    stream.write_all(after.as_bytes()).await.expect("sent");
    let answer = read_to_end(&mut stream).await;
    assert_eq!(status(&answer), 200, "max_reading is never passed: {answer}");
    let body = String::from_utf8(gateway.shelf.only().received.body.to_vec()).expect("text");
    assert!(body.contains(&format!("content-length: {size}\r\n")), "{body}");
}

#[tokio::test]
async fn fifty_large_uploads_at_once_take_a_chunk_each() {
    let gateway = start_with_config(|config| {
        config.server.max_upload = 100 << 20;
        config.server.max_reading = 50 * 64 * 1024;
    });
    let begin = || format!("{}Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n", head(MULTIPART));
    let mut uploads = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(&gateway, begin()).await;
        assert_eq!(status(&read_one(&mut stream).await), 100);
        uploads.push(stream);
    }
    assert_eq!(status(&gateway.send(begin()).await), 503, "the fifty-first finds no room");
    drop(uploads);
}

#[tokio::test]
async fn max_upload_is_on_what_is_read_in_every_encoding() {
    let gateway = start_with_config(|config| config.server.max_upload = 5000);
    let mut bodies = one_field(5000).to_vec();
    bodies.push((MULTIPART, with_file(5000)));
    for (content_type, body) in bodies {
        assert_eq!(status(&gateway.send(request(content_type, &body)).await), 413, "{content_type}");
        let chunked =
            format!("{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", head(content_type), body.len());
        assert_eq!(status(&gateway.send(chunked).await), 413, "{content_type}, chunked");
    }
    assert!(gateway.shelf.entries().is_empty());
    for (content_type, body) in one_field(4000) {
        assert_eq!(status(&gateway.send(request(content_type, &body)).await), 200, "{content_type}");
    }
}

#[tokio::test]
async fn max_body_is_on_what_is_kept_in_every_encoding() {
    let gateway = start_with_config(|config| config.server.max_body = 1000);
    for (content_type, body) in one_field(1000) {
        let answer = gateway.send(request(content_type, &body)).await;
        assert_eq!(status(&answer), 413, "{content_type}");
        assert!(answer.contains("body-too-large"), "{answer}");
    }
    assert!(gateway.shelf.entries().is_empty());
    let file = format!(r#"{{"message":"x","cv":{{"filename":"cv.pdf","content":"{}"}}}}"#, "AAAA".repeat(1000));
    let mut bodies = one_field(800).to_vec();
    bodies.extend([(JSON, file), (MULTIPART, with_file(100_000))]);
    for (content_type, body) in bodies {
        assert_eq!(status(&gateway.send(request(content_type, &body)).await), 200, "{content_type}");
        assert!(last(&gateway).received.body.len() <= 1000);
    }
}

#[tokio::test]
async fn max_reading_is_on_what_is_held_in_every_encoding() {
    let gateway = start_with_config(|config| config.server.max_reading = 70_000);
    for (content_type, body) in one_field(80_000) {
        assert_eq!(status(&gateway.send(request(content_type, &body)).await), 503, "{content_type}");
    }
    let [_, _, (content_type, body)] = one_field(40_000);
    assert_eq!(status(&gateway.send(request(content_type, &body)).await), 503, "its text counts while it is read");
    assert!(gateway.shelf.entries().is_empty());
    let uploads = [(MULTIPART, with_file(80_000)), (MULTIPART, with_file(10_000_000))];
    for (content_type, body) in one_field(2000).into_iter().chain(uploads) {
        assert_eq!(status(&gateway.send(request(content_type, &body)).await), 200, "{content_type}");
    }
    assert!(gateway.page().contains("formgate_reading_bytes 0"), "all is given back: {}", gateway.page());
}

#[tokio::test]
async fn a_broken_upload_is_held_with_what_came_before_it_broke() {
    let gateway = start();
    let whole = with_file(3_000_000);
    let cut = whole.strip_suffix("--\r\n").expect("a last boundary");
    let beginning = |length| whole.chars().take(length).collect::<String>();
    for (body, kept_max) in
        [(cut.to_owned(), 400), (beginning(2_000_000), 400), (beginning(90), 90), ("--YY--".to_owned(), 6)]
    {
        let answer = gateway.send(request(MULTIPART, &body)).await;
        assert_eq!(status(&answer), 400, "{answer}");
        let entry = last(&gateway);
        assert_eq!((entry.state, entry.reason), (State::Held, Reason::Undecodable));
        let kept = entry.received.body;
        assert!(kept.len() <= kept_max, "{} bytes", kept.len());
        assert!(kept_max < 90 || String::from_utf8_lossy(&kept).contains("jane@example.com"), "{kept:?}");
    }
    assert_eq!(gateway.shelf.entries().len(), 4);
}

#[tokio::test]
async fn text_past_the_limit_of_decoding_is_held_as_it_came() {
    let gateway = start_with_config(|config| config.server.max_body = 4 << 20);
    let [_, _, (content_type, body)] = one_field(2 << 20);
    let answer = gateway.send(request(content_type, &body)).await;
    let entry = gateway.shelf.only();
    assert_eq!((status(&answer), entry.reason), (400, Reason::Undecodable));
    assert_eq!(entry.received.body, body);
}

#[tokio::test]
async fn an_upload_comes_in_every_way_that_http_has() {
    let gateway = start();
    let body = with_file(200_000);
    let plain = request(MULTIPART, &body).replacen("Host: a", "Host: a\r\nUser-Agent: Agentür 🦀", 1);
    let (first, second) = body.split_at(70_000);
    let chunked = format!(
        "{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:X};a=b\r\n{second}\r\n0\r\n\r\n",
        head(MULTIPART),
        first.len(),
        second.len()
    );
    let mut requests = vec![chunked, plain.replacen("HTTP/1.1", "HTTP/1.0", 1)];
    requests.extend(["POST", "PUT", "PATCH", "GET", "DELETE"].map(|method| plain.replacen("POST", method, 1)));
    for request in requests {
        let start = request.get(..40).expect("longer").to_owned();
        assert_eq!(status(&gateway.send(request).await), 200, "{start}");
        let received = last(&gateway).received;
        let kept = String::from_utf8_lossy(&received.body).into_owned();
        assert!(received.cut && kept.contains("content-length: 200000\r\n"), "{start}: {kept}");
        assert!(received.header("user-agent").is_none_or(|agent| agent == "Agentür 🦀"), "{start}");
    }
}

#[tokio::test]
async fn continue_is_said_before_an_upload_is_sent() {
    let gateway = start();
    let body = with_file(1_200_000);
    let expecting = format!("{}Expect: 100-Continue\r\nContent-Length: {}\r\n\r\n", head(MULTIPART), body.len());
    let mut stream = connect(&gateway, expecting).await;
    assert_eq!(status(&read_one(&mut stream).await), 100);
    stream.write_all(body.as_bytes()).await.expect("sent");
    assert_eq!(status(&read_to_end(&mut stream).await), 200);
}

/// Reads a captured request as it is posted here: its head, and its body.
fn capture(name: &str) -> (PathBuf, String, Vec<u8>) {
    let path = fixtures().join(name);
    let bytes = std::fs::read(&path).expect("the capture");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let captured = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let (_, headers) = captured.split_once("\r\n").expect("a request line");
    let head = format!("POST /hooks/acme HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n{headers}\r\n\r\n");
    (path, head, bytes[end + 4..].to_vec())
}

#[tokio::test]
async fn captured_files_in_base64_come_through_with_the_limits_as_they_are() {
    let gateway = start_with_config(|config| config.mappings = Arc::new(shipped_mappings().0));
    for (name, waits) in [
        ("contact-form-7/53-webhook-big-base64-expect-100.http", true),
        ("contact-form-7/22-webhook-rich-file-base64.http", false),
    ] {
        let (path, head, body) = capture(name);
        let mut stream = connect(&gateway, head).await;
        if waits {
            assert_eq!(status(&read_one(&mut stream).await), 100, "{name}");
        }
        stream.write_all(&body).await.expect("sent");
        assert_eq!(status(&read_to_end(&mut stream).await), 200, "{name}");
        let entry = last(&gateway);
        assert_eq!(json!(entry.reading.lead), expectation(&path)["expect"], "{name}");
        assert!(entry.received.cut && entry.received.body.len() < 2000, "{name}");
    }
}

/// Checks that what is kept of a request decodes to what the whole does, and returns it.
fn kept(whole: &Received, chunk: usize) -> Received {
    let mut keeper = Keeper::new(whole.content_type(), usize::MAX, u64::MAX);
    for chunk in whole.body.chunks(chunk) {
        keeper.push(Bytes::copy_from_slice(chunk)).expect("no limit");
    }
    let kept = keeper.finish().unwrap_or_else(|error| panic!("{error}"));
    let kept = Received { body: kept.body, cut: kept.cut, parts: kept.parts, ..whole.clone() };
    let stored = Received { parts: None, ..kept.clone() };
    let told = |received: &Received| {
        decode::read(received, |submission| {
            let way = |field: &Field<'_>| {
                let way = field.node.into_iter().flat_map(|node| submission.document.way(node));
                way.map(|node| submission.name(node)).collect::<Vec<_>>()
            };
            let fields = submission.fields.iter();
            let field =
                |it: &Field<'_>| format!("{} {:?} {:?} {:?} {:?}", it.key, it.label, it.kind, it.values, way(it));
            (fields.map(field).collect::<Vec<_>>(), submission.json().clone(), submission.oddities.clone())
        })
    };
    // Of what is broken only the beginning may be there, which breaks in another way.
    assert_eq!(told(&kept).ok(), told(whole).ok());
    assert_eq!(told(&kept), told(&stored));
    kept
}

#[test]
fn every_capture_decodes_the_same_once_it_is_cut_also_with_a_file_in_it() {
    let (mut uploads, mut cut) = (0, 0);
    for path in cases(&fixtures()) {
        let whole = received(&path);
        if decode::read(&whole, |_| ()).is_err() {
            continue;
        }
        cut += usize::from(kept(&whole, 1000).cut);
        let content_type = whole.content_type().unwrap_or_default();
        let boundary =
            content_type.split_once("multipart/form-data; boundary=").map(|(_, text)| text.trim_matches('"'));
        let Some(boundary) = boundary.filter(|_| decode::read(&whole, |_| ()).is_ok()) else { continue };
        uploads += 1;
        let file = part("name=\"cv[]\"; filename=\"cv.pdf\"\r\nContent-Type: application/pdf", "%PDF\r\n--");
        let file = file.replacen("XX", boundary, 1);
        let with_file = Received { body: [file.as_bytes(), &whole.body].concat().into(), ..whole };
        for chunk in [1, 61, 64 * 1024] {
            assert!(kept(&with_file, chunk).cut, "{}", path.display());
        }
    }
    assert!(uploads >= 35 && cut >= 3, "{uploads} uploads, {cut} cut");
}
