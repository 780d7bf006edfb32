//! The admin listener over real sockets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use formgate::accept::Bounds;
use formgate::telemetry::{Degraded, NotTaking};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::gateway::{
    Trouble, header, json, lead_body, read_to_end, send, start, start_admin, start_admin_within, status, try_send,
};

fn get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn health_and_metrics_are_open() {
    let gateway = start();
    gateway.post("/hooks/acme", &lead_body("jane@example.com")).await;
    let (address, _stop) = start_admin(&gateway.shelf, &gateway.metrics);
    let answer = send(address, get("/livez", "127.0.0.1")).await;
    assert_eq!(status(&answer), 200);
    assert!(answer.ends_with("\r\n\r\nok\n"));
    assert_eq!(status(&send(address, get("/readyz", "localhost:9")).await), 200);
    let verbose = json(&send(address, get("/readyz?verbose", "localhost")).await);
    assert_eq!((&verbose["status"], &verbose["checks"]["store"]), (&"ready".into(), &"ok".into()));
    assert_eq!((&verbose["degraded"], &verbose["reasons"]), (&serde_json::json!([]), &serde_json::json!([])));
    let page = send(address, get("/metrics", "localhost")).await;
    assert!(page.contains("\nformgate_queue_entries{state=\"queued\"} 1\n"), "{page}");
    assert!(page.contains("\nformgate_ready 1\n") && page.contains("\nformgate_store_max_bytes "), "{page}");
    assert!(page.contains("\nformgate_submissions_received_total{outcome=\"queued\"} 1\n"), "{page}");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_not_ready_but_alive() {
    for (trouble, words, reason) in [
        (Trouble::Full, "the store is full: max_size is reached", "store_full"),
        (Trouble::Away, "the store is unavailable", "store_away"),
    ] {
        let gateway = start();
        gateway.shelf.fail(trouble);
        let (address, _stop) = start_admin(&gateway.shelf, &gateway.metrics);
        let answer = send(address, get("/readyz", "localhost")).await;
        assert_eq!((status(&answer), &json(&answer)["checks"]["store"]), (503, &words.into()));
        assert_eq!((&json(&answer)["status"], &json(&answer)["reasons"][0]), (&"unready".into(), &reason.into()));
        assert_eq!(status(&send(address, get("/livez", "localhost")).await), 200);
        let page = send(address, get("/metrics", "localhost")).await;
        assert!(status(&page) == 200 && page.contains("\nformgate_ready 0\n"), "{page}");
    }
}

#[tokio::test]
async fn what_only_needs_a_person_is_named_and_leaves_the_gateway_ready() {
    let gateway = start();
    let (address, _stop) = start_admin(&gateway.shelf, &gateway.metrics);
    for reason in Degraded::ALL {
        gateway.metrics.set_degraded(reason, true);
    }
    let answer = send(address, get("/readyz", "localhost")).await;
    let mut expected: Vec<&str> = Degraded::ALL.map(Degraded::as_str).into();
    // The store itself says how it is.
    expected.retain(|reason| !["store_set_aside", "store_damaged", "store_away"].contains(reason));
    assert_eq!((status(&answer), &json(&answer)["degraded"]), (200, &serde_json::json!(expected)));
    gateway.metrics.stop_taking(NotTaking::Stopping);
    let answer = send(address, get("/readyz", "localhost")).await;
    assert_eq!((status(&answer), &json(&answer)["reasons"]), (503, &serde_json::json!(["stopping"])));
}

#[tokio::test]
async fn what_is_damaged_in_the_store_is_degraded_until_it_is_mended() {
    let gateway = start();
    let (address, _stop) = start_admin(&gateway.shelf, &gateway.metrics);
    let degraded = async || {
        let answer = send(address, get("/readyz", "localhost")).await;
        (status(&answer), json(&answer)["degraded"].clone())
    };
    gateway.shelf.is_damaged.store(true, Ordering::Relaxed);
    assert_eq!(degraded().await, (200, serde_json::json!(["store_damaged"])));
    gateway.shelf.is_damaged.store(false, Ordering::Relaxed);
    assert_eq!(degraded().await, (200, serde_json::json!([])));
}

#[tokio::test]
async fn all_who_ask_at_once_make_one_probe() {
    let gateway = start();
    let (address, _stop) = start_admin(&gateway.shelf, &gateway.metrics);
    let ask = |_| async move { status(&send(address, get("/readyz", "localhost")).await) };
    let answers = JoinSet::from_iter((0..50).map(ask)).join_all().await;
    assert_eq!(answers, [200; 50]);
    assert_eq!(Arc::clone(&gateway.shelf).probes.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_foreign_host_gets_nothing_and_the_api_wants_a_token() {
    let gateway = start();
    let (address, _stop) = start_admin(&gateway.shelf, &gateway.metrics);
    for path in ["/livez", "/metrics", "/api/v1/leads"] {
        let answer = send(address, get(path, "evil.example")).await;
        assert_eq!((status(&answer), header(&answer, "content-type")), (403, Some("application/problem+json")));
        assert!(answer.contains("[admin].hosts") && !answer.contains("evil"), "{answer}");
    }
    assert_eq!(status(&send(address, "GET /livez HTTP/1.0\r\n\r\n").await), 403);
    assert_eq!(status(&send(address, get("/api/v1/leads", "localhost")).await), 401);
    assert_eq!(status(&send(address, get("/else", "localhost")).await), 404);
    let answer = send(address, get("/livez", "localhost").replacen("GET", "POST", 1)).await;
    assert_eq!((status(&answer), header(&answer, "allow")), (405, Some("GET")));
    assert_eq!(status(&send(address, "nonsense\r\n\r\n").await), 400);
}

#[tokio::test]
async fn whoever_holds_its_connections_open_keeps_no_monitor_out() {
    let gateway = start();
    let bounds = Bounds { connections: 2, head: Duration::from_secs(3600), connection: Duration::from_secs(3600) };
    let (address, _stop) = start_admin_within(bounds, &gateway.shelf, &gateway.metrics);
    let mut held = Vec::new();
    for number in 0..10 {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let begun: &[u8] = if number % 2 == 0 { b"" } else { b"GET /livez HTTP/1.1\r\nHost: loc" };
        stream.write_all(begun).await.expect("sent");
        held.push(stream);
        let answered = async {
            while try_send(address, get("/livez", "localhost")).await.is_none_or(|answer| status(&answer) != 200) {}
        };
        tokio::time::timeout(Duration::from_secs(10), answered).await.expect("it is answered");
    }
    let page = gateway.page();
    let closed = page.lines().find_map(|line| {
        line.strip_prefix("formgate_connections_closed_total{reason=\"admin_full\"} ")?.parse::<u32>().ok()
    });
    assert!(closed.is_some_and(|closed| closed >= 8), "{closed:?} of ten had to leave two places");
}

#[tokio::test]
async fn no_connection_lasts_longer_than_it_may() {
    let gateway = start();
    let bounds = Bounds { connections: 9, head: Duration::from_secs(3600), connection: Duration::from_millis(100) };
    let (address, _stop) = start_admin_within(bounds, &gateway.shelf, &gateway.metrics);
    let mut held = TcpStream::connect(address).await.expect("a connection");
    held.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").await.expect("sent");
    assert_eq!(read_to_end(&mut held).await, "");
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let gateway = start();
    let bounds = Bounds { connections: 9, head: Duration::from_millis(100), connection: Duration::from_secs(3600) };
    let (address, _stop) = start_admin_within(bounds, &gateway.shelf, &gateway.metrics);
    let mut silent = TcpStream::connect(address).await.expect("a connection");
    let mut dripping = TcpStream::connect(address).await.expect("a connection");
    dripping.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").await.expect("sent");
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(read_to_end(&mut dripping).await, "");
}
