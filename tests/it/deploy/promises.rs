//! What docs/deploy/README.md says of each server.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::front::Server;
use super::place::{PATIENCE, Place};
use super::visitor::{Post, Visitor, post, read_answer};
use crate::faults::proofs::gateway::free_address;
use crate::gateway::{TOKEN, header, json, status};

const MIB: usize = 1 << 20;
const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");

pub(super) async fn a_large_form_becomes_a_lead_whether_its_length_is_known_or_not(server: Server) {
    let place = Place::open(server).await;
    let front = server.start(place.gateway).await;
    let known = post(front.https, &Post::with_upload("known@example.com", 20 * MIB)).await;
    let unknown = post(front.https, &Post::with_upload("unknown@example.com", 20 * MIB).chunked()).await;
    for (answer, email) in [(known, "known@example.com"), (unknown, "unknown@example.com")] {
        assert_eq!((status(&answer), &json(&answer)["status"]), (200, &"queued".into()), "{answer}");
        assert_eq!(place.led(email).await["name"], "Jane");
    }
}

pub(super) async fn a_body_over_the_limit_is_answered_413(server: Server) {
    let place = Place::open(server).await;
    let front = server.start(place.gateway).await;
    // 25 MiB with what goes around them: formgate itself refuses it, and so counts it.
    let over = post(front.https, &Post::with_upload("jane@example.com", 25 * MIB)).await;
    assert_eq!(status(&over), 413, "{over}");
    assert!(over.contains("urn:formgate:problem:upload-too-large"), "formgate is not asked: {over}");
    let far_over = Post::with_upload("jane@example.com", 30 * MIB);
    for far_over in [post(front.https, &far_over).await, post(front.https, &far_over.chunked()).await] {
        assert_eq!(status(&far_over), 413, "{far_over}");
    }
}

pub(super) async fn the_gateway_sees_the_clients_address_and_none_that_it_made_up(server: Server) {
    let place = Place::open(server).await;
    let front = server.start(place.gateway).await;
    let name = format!("doctor-{:032x}", 7);
    place.announce(&name).await;
    // Each of these would be believed if the proxy passed it on, or the gateway read it.
    let made_up = [
        "",
        "X-Forwarded-For: 203.0.113.5\r\n",
        "X-Forwarded-For: 203.0.113.5, 127.0.0.1\r\n",
        "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-For: 127.0.0.1\r\n",
        "X-Real-IP: 203.0.113.5\r\nForwarded: for=203.0.113.5\r\nX_Forwarded_For: 203.0.113.5\r\n",
    ];
    // Not the address that the gateway trusts, which is the proxy's own.
    let source = Ipv4Addr::new(127, 0, 0, 2);
    for lines in made_up {
        let ping = Post::of("jane@example.com").to(&format!("/hooks/{name}")).with(lines);
        let answer = Visitor::from(source, front.https).await.post(&ping).await;
        assert_eq!(status(&answer), 401, "{answer}");
    }
    assert_eq!(place.clients(&name).await, vec![source.to_string(); made_up.len()]);
}

pub(super) async fn no_file_has_the_token(server: Server) {
    let mut place = Place::open(server).await;
    let front = server.start(place.gateway).await;
    let small = Post::of("jane@example.com").with("X-Formgate-Token: fg_header\r\n");
    assert_eq!(status(&post(front.https, &small).await), 200);
    // What is too large for memory, for formgate and for the server: each is an event of its own in some error log.
    for (size, expected) in [(2 * MIB, 200), (25 * MIB, 413), (30 * MIB, 413)] {
        let answer = post(front.https, &Post::with_upload("joe@example.com", size)).await;
        assert_eq!(status(&answer), expected, "{answer}");
    }
    if let Ok(mut plain) = TcpStream::connect(front.http).await {
        plain.write_all(&small.bytes()).await.expect("sent");
        read_answer(&mut plain).await;
    }
    place.kill().await;
    assert!(status(&post(front.https, &small).await) >= 502);
    // A sender that goes away in the middle.
    let cut = Post::with_upload("jim@example.com", 2 * MIB).bytes();
    let mut gone = Visitor::at(front.https).await;
    gone.send(&cut[..MIB]).await;
    drop(gone);

    let has = |word: &str| front.written().into_iter().find(|(_, text)| text.contains(word));
    let noted = async {
        while front.logged("/hooks/acme/contact") < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noted)
        .await
        .unwrap_or_else(|_elapsed| panic!("it logs less: {:?}", front.written()));
    for secret in [TOKEN, "fg_header", "token="] {
        let found = has(secret).filter(|(path, _)| !path.ends_with("Caddyfile") && !path.ends_with("formgate.conf"));
        assert!(found.is_none(), "`{secret}` stands in {found:?}");
    }
}

/// Passes bytes on to the gateway and counts the connections.
async fn counting(gateway: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    drop(tokio::spawn(async move {
        while let Ok((mut outer, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(tokio::spawn(async move {
                let mut inner = TcpStream::connect(gateway).await.expect("a connection");
                let _ended = copy_bidirectional(&mut outer, &mut inner).await;
            }));
        }
    }));
    (address, count)
}

pub(super) async fn connections_to_the_gateway_are_kept(server: Server) {
    let place = Place::open(server).await;
    let (between, connections) = counting(place.gateway).await;
    let front = server.start(between).await;
    let mut visitor = Visitor::at(front.https).await;
    for number in 0..20 {
        let answer = visitor.post(&Post::of(&format!("jane{number}@example.com"))).await;
        assert_eq!(status(&answer), 200, "{answer}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

pub(super) async fn while_the_gateway_is_down_nothing_is_answered_2xx_and_then_it_is_found_at_once(server: Server) {
    let mut place = Place::open(server).await;
    let front = server.start(place.gateway).await;
    assert_eq!(status(&post(front.https, &Post::of("before@example.com")).await), 200);
    place.kill().await;
    for _ in 0..2 {
        let answer = post(front.https, &Post::of("down@example.com")).await;
        assert!((502..=504).contains(&status(&answer)), "{answer}");
    }
    place.start().await;
    let answer = post(front.https, &Post::of("after@example.com")).await;
    assert_eq!(status(&answer), 200, "{answer}");
    place.led("after@example.com").await;
}

pub(super) async fn plain_http_is_not_redirected(server: Server) {
    let place = Place::open(server).await;
    let front = server.start(place.gateway).await;
    let plain = TcpStream::connect(front.http).await;
    if server == Server::Caddy {
        // It listens there only while it gets a certificate.
        assert!(plain.is_err(), "Caddy answers without TLS");
        return;
    }
    let mut plain = plain.expect("a connection");
    plain.write_all(&Post::of("jane@example.com").bytes()).await.expect("sent");
    let answer = read_answer(&mut plain).await;
    assert_eq!((status(&answer), header(&answer, "location")), (403, None), "{answer}");
}

pub(super) async fn the_doctor_finds_nothing_to_mend(server: Server) {
    let place = Place::open(server).await;
    let front = server.start(place.gateway).await;
    let ran = Command::new(env!("CARGO_BIN_EXE_formgate"))
        .args(["doctor", "--output", "json", "--public-url"])
        .arg(format!("https://localhost:{}", front.https.port()))
        .current_dir(place.folder.path())
        .env("SSL_CERT_FILE", CA)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(PATIENCE, ran).await.expect("it ends in time").expect("it runs");
    let told: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let findings = told["findings"].as_array().expect("findings");
    for check in ["connect", "tls", "redirect", "route", "client_address", "credentials", "body_limit"] {
        let mut of_check = findings.iter().filter(|finding| finding["check"] == check).peekable();
        assert!(of_check.peek().is_some(), "{check} is not checked: {told}");
        // localhost is ::1 too, where nobody listens.
        let mut wrong = of_check.filter(|finding| finding["grade"] != "ok" && !finding.to_string().contains("::1"));
        assert!(wrong.next().is_none(), "{check}: {told}");
    }
}

pub(super) async fn of_two_gateways_the_one_that_runs_gets_every_post(server: Server) {
    let place = Place::open(server).await;
    // Of another address, so that Caddy looks for its admin listener in vain too.
    let mut away = free_address().expect("a port");
    away.set_ip(Ipv4Addr::new(127, 0, 0, 2).into());
    let front = server.start_for_two([away, place.gateway], place.admin).await;
    for number in 0..10 {
        let answer = post(front.https, &Post::of(&format!("jane{number}@example.com"))).await;
        assert_eq!(status(&answer), 200, "post {number}: {answer}");
    }
    place.led("jane9@example.com").await;
}

/// A gateway that can't store: it answers 503 to everything. Gives its address, and how often it was asked.
async fn unable() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let _read = stream.read(&mut [0; 8192]).await;
            let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _written = stream.write_all(answer.as_bytes()).await;
        }
    }));
    (address, asked)
}

pub(super) async fn a_gateway_that_can_not_store_costs_at_most_one_post(server: Server) {
    let place = Place::open(server).await;
    let (unable, asked) = unable().await;
    let front = server.start_for_two([unable, place.gateway], place.admin).await;
    let mut refused = 0;
    for number in 0..10 {
        let answer = post(front.https, &Post::of(&format!("jane{number}@example.com"))).await;
        assert!([200, 503].contains(&status(&answer)), "{answer}");
        refused += usize::from(status(&answer) == 503);
    }
    // nginx takes the same post to the next one.
    assert!(refused <= usize::from(server != Server::Nginx), "{refused} posts were refused");
    // Caddy may know before the first post, by its health check.
    assert!(server == Server::Caddy || asked.load(Ordering::SeqCst) > 0, "the test proves nothing");
}

/// Of Caddy alone.
pub(super) async fn a_post_waits_for_a_gateway_that_restarts(server: Server) {
    let gateway = free_address().expect("a port");
    let front = server.start(gateway).await;
    let mut waiting = tokio::spawn(async move { post(front.https, &Post::of("jane@example.com")).await });
    // Long enough for the first try to find nobody.
    let waited = tokio::time::timeout(Duration::from_millis(500), &mut waiting).await;
    assert!(waited.is_err(), "it doesn't wait: {waited:?}");
    let listener = TcpListener::bind(gateway).await.expect("the port is free");
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let _read = stream.read(&mut [0; 8192]).await.expect("a request");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("answered");
    let answer = waiting.await.expect("it ends");
    assert_eq!(status(&answer), 200, "{answer}");
}
