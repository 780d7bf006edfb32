//! What takes long keeps nobody else waiting.

use std::time::Duration;

use formgate::accept::Options;
use formgate::lead::FormId;
use formgate::pipeline::{self, Mappings, Processed, SiteRules};
use formgate::received::Received;
use parking_lot::{Condvar, Mutex};

use crate::gateway::{self, TOKEN, header, lead_body, start_behind, status};

const LARGE: usize = 200_000;

/// Whether large bodies may be decoded; they wait for it, as if each took very long.
static GATE: Mutex<bool> = Mutex::new(false);
static NEVER: Mutex<bool> = Mutex::new(false);
static OPENED: Condvar = Condvar::new();

fn process(mappings: &Mappings, site: &SiteRules, form: Option<&FormId>, received: &Received) -> Processed {
    if received.body.len() >= LARGE {
        let mut is_open = GATE.lock();
        OPENED.wait_while_for(&mut is_open, |is_open| !*is_open, Duration::from_secs(30));
    }
    pipeline::process(mappings, site, form, received)
}

/// Never opened: whoever takes the place for decoding keeps it.
fn never(mappings: &Mappings, site: &SiteRules, form: Option<&FormId>, received: &Received) -> Processed {
    if received.body.len() >= LARGE {
        let mut is_open = NEVER.lock();
        OPENED.wait_while_for(&mut is_open, |is_open| !*is_open, Duration::from_secs(1));
    }
    pipeline::process(mappings, site, form, received)
}

#[tokio::test]
async fn a_large_body_that_finds_no_place_in_time_is_told_to_come_again() {
    let options = Options { offload: Duration::from_millis(50), ..Options::default() };
    let gateway = start_behind(None, options, |_config| {}, |gateway| gateway.with_pipeline(never));
    let post = |email: String| {
        let token = format!("Authorization: Bearer {TOKEN}\r\n");
        gateway::send(gateway.address, gateway::post("/hooks/acme", &token, &lead_body(&email)))
    };
    // More than there are places on any machine that runs this.
    let places = std::thread::available_parallelism().map_or(1, usize::from);
    let larges: Vec<_> =
        (0..places + 3).map(|n| tokio::spawn(post(format!("jane{n}@example.com {}", "x".repeat(LARGE))))).collect();
    let (mut taken, mut busy) = (0, 0);
    for large in larges {
        let answer = large.await.expect("it is answered");
        match status(&answer) {
            200 => taken += 1,
            503 => {
                busy += 1;
                assert!(header(&answer, "retry-after").is_some() && answer.contains("problem:busy"), "{answer}");
            }
            other => panic!("{other}: {answer}"),
        }
    }
    assert!(taken > 0 && busy > 0, "{taken} taken, {busy} told to come again");
    assert_eq!(gateway.shelf.entries().len(), taken, "what was answered 200 is stored, and nothing else");
}

/// The test's runtime, which is the gateway's too, has one thread: who blocks it stops everything.
#[tokio::test]
async fn a_large_body_that_takes_long_keeps_no_small_post_waiting() {
    let gateway = start_behind(None, Options::default(), |_config| {}, |gateway| gateway.with_pipeline(process));
    let post = |email: &str| {
        let token = format!("Authorization: Bearer {TOKEN}\r\n");
        gateway::send(gateway.address, gateway::post("/hooks/acme", &token, &lead_body(email)))
    };
    let large = format!("jane@example.com {}", "x".repeat(LARGE));
    let larges: Vec<_> = (0..4).map(|_| tokio::spawn(post(&large))).collect();
    while gateway.in_flight.count() < larges.len() {
        tokio::task::yield_now().await;
    }
    for number in 0..20 {
        let answer = tokio::time::timeout(Duration::from_secs(10), post(&format!("jane{number}@example.com"))).await;
        assert_eq!(status(&answer.expect("it waits for no other")), 200);
    }
    assert!(larges.iter().all(|large| !large.is_finished()));
    *GATE.lock() = true;
    OPENED.notify_all();
    for large in larges {
        assert_eq!(status(&large.await.expect("it is answered")), 200);
    }
}
