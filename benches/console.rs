//! How long the console's pages take with 100,000 entries, 10,000 of which are held: `cargo bench --bench console`.
//!
//! Over real connections, in one process with the gateway. The goal is 50 ms a page; a search looks at every lead until its
//! page is full, and is told apart.

#![expect(clippy::expect_used, reason = "a bench ends where it can't go on")]

#[path = "../tests/it/console/stage.rs"]
#[expect(dead_code, reason = "the tests do more with it")]
mod stage;
mod table;

use std::time::Duration;

use formgate::queue::{Appended, OpenStore, Reason, State};
use jiff::{SignedDuration, Timestamp};
use stage::{ADMIN, Stage, Visitor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

const ENTRIES: u64 = 100_000;
/// One of so many is held.
const HELD_EACH: u64 = 10;
/// Appended at one time: a store writes that many with one sync.
const TOGETHER: usize = 512;
const ROUNDS: usize = 15;
/// What a page is to take at most, in milliseconds.
const GOAL: f64 = 50.0;

#[tokio::main]
async fn main() {
    let now = Timestamp::now();
    let stage = Stage::with("", |store| fill(store, now)).await;
    let cookie = log_in(&stage).await;
    let held = first_lead(&get(&stage, &cookie, "/console/leads?state=held").await.1);
    let lead = format!("/console/leads/{held}");
    let pages = [
        "/console/",
        "/console/leads",
        "/console/leads?order=oldest",
        "/console/leads?state=held",
        "/console/leads?state=held&reason=hold_rule&site=birch-law",
        &lead,
        "/console/leads?state=held&reason=hold_rule&cause=hold+rule%3A+rule+3",
        "/console/sites",
        "/console/sites/cedar-homes",
        "/console/live",
        "/console/leads?text=visitor99990%40",
    ];
    let mut rows = Vec::new();
    for page in pages {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            let (time, answer) = get(&stage, &cookie, page).await;
            bytes = answer.len();
            times.push(time.as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let first = times.first().copied().unwrap_or_default();
        let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
        let slowest = times.last().copied().unwrap_or_default();
        let verdict = if median <= GOAL { "goal" } else { "missed" };
        let page = page.replace(&held, "{id}");
        let figures = [first, median, slowest].map(|figure| format!("{figure:.1}"));
        rows.push([vec![page], figures.to_vec(), vec![bytes.to_string(), verdict.to_owned()]].concat());
    }
    let heads = ["page", "fastest, ms", "median", "slowest", "bytes", "≤ 50 ms"];
    table::print("The console with 100,000 entries", &heads, &rows);
    stage.stop().await;
}

/// Nine of ten wait at a site whose keys are refused, one of ten is held by one of seven rules.
async fn fill(store: OpenStore, now: Timestamp) {
    let mut appending = JoinSet::new();
    for number in 0..ENTRIES {
        if appending.len() >= TOGETHER {
            appended(appending.join_next().await);
        }
        let store = store.clone();
        appending.spawn(async move {
            let name = format!("Visitor {number}");
            let email = format!("visitor{number}@post.example");
            let visitor = Visitor { name: &name, email: &email, message: "Please call me back about the flat." };
            let millis = i64::try_from(number).unwrap_or_default() * 1_000;
            let at = now - SignedDuration::from_millis(millis);
            let is_held = number % HELD_EACH == 0;
            let site = if is_held { "birch-law" } else { "cedar-homes" };
            let mut entry = stage::entry(number, site, &visitor, at);
            if is_held {
                entry.state = State::Held;
                entry.reason = Reason::HoldRule;
                entry.reading.hold_rule = Some(format!("rule {}", number / HELD_EACH % 7));
            }
            store.store().append(entry, None).await.expect("appended")
        });
    }
    while let Some(one) = appending.join_next().await {
        appended(Some(one));
    }
    stage::fortnight(&store, now).await;
}

fn appended(one: Option<Result<Appended, tokio::task::JoinError>>) {
    assert!(matches!(one, Some(Ok(Appended::New(_)))), "a new entry");
}

async fn log_in(stage: &Stage) -> String {
    let host = stage.gateway.admin();
    let body = format!("token={ADMIN}");
    let form = "Content-Type: application/x-www-form-urlencoded";
    let length = body.len();
    let request = format!(
        "POST /console/login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: close\r\n{form}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let answer = send(stage, &request).await;
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie:"));
    let cookie = line.and_then(|line| line.split_once(": ")).map(|(_, cookie)| cookie).expect("a cookie");
    cookie.split(';').next().unwrap_or_default().to_owned()
}

async fn get(stage: &Stage, cookie: &str, path: &str) -> (Duration, String) {
    let host = stage.gateway.admin();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    let begun = Instant::now();
    let answer = send(stage, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}");
    (begun.elapsed(), answer)
}

async fn send(stage: &Stage, request: &str) -> String {
    let mut stream = TcpStream::connect(stage.gateway.admin()).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer
}

fn first_lead(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"id\" value=\"").expect("a lead");
    rest.split('"').next().unwrap_or_default().to_owned()
}
