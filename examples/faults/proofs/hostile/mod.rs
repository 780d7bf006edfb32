//! Hostile senders: each gets the right answer or is cut, while a well-behaved client is served and memory stays bounded.

pub(crate) mod bodies;

mod crowds;

mod heads;

pub(crate) mod smuggling;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::Plan;
use super::client::{Connection, post};
use super::gateway::{Gateway, Place, Settings, size, token};
use super::load::percentile;
use super::row::Row;

/// How long the well-behaved client is watched before an attack.
const BEFORE: Duration = Duration::from_secs(1);
/// Between two of its posts.
const PACE: Duration = Duration::from_millis(5);
/// Memory that the gateway may take: all bodies together (`max_reading`), and as much again.
const MEMORY_KIB_MAX: u64 = 512 * 1024;
/// A well-behaved client's plugin gives up after 5 seconds.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How often each thing happened: a status, or `closed`.
pub(crate) type Ends = BTreeMap<String, usize>;

/// Whom to attack.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
}

/// What is sent, and what may come of it.
struct Attack {
    name: &'static str,
    allowed: &'static [&'static str],
    run: fn(Target) -> JoinHandle<Ends>,
}

const ATTACKS: &[Attack] = &[
    Attack { name: "slow heads", allowed: &["408", "429", "closed"], run: |at| tokio::spawn(heads::slow(at)) },
    Attack {
        name: "header bombs",
        allowed: &["400", "431", "414", "429", "closed"],
        run: |at| tokio::spawn(heads::bombs(at)),
    },
    Attack { name: "slow bodies", allowed: &["408", "closed"], run: |at| tokio::spawn(bodies::slow(at)) },
    Attack { name: "10,000 idle", allowed: &["open", "closed"], run: |at| tokio::spawn(crowds::idle(at)) },
    Attack { name: "50 × 100 MB", allowed: &["413", "503", "closed"], run: |at| tokio::spawn(bodies::uploads(at)) },
    Attack { name: "50 × 24 MB files", allowed: &["200", "503"], run: |at| tokio::spawn(bodies::files(at)) },
    Attack { name: "bodies that bomb", allowed: &["400", "413", "closed"], run: |at| tokio::spawn(bodies::bombs(at)) },
    Attack { name: "random tokens", allowed: &["401", "429"], run: |at| tokio::spawn(crowds::tokens(at)) },
    Attack { name: "smuggling", allowed: &["right", "closed"], run: |at| tokio::spawn(smuggling::all(at)) },
];

impl Target {
    /// Connects from an address that few others have.
    async fn connect(self, number: usize) -> std::io::Result<Connection> {
        let [_, _, high, low] = u32::try_from(number / 100).unwrap_or_default().to_be_bytes();
        Connection::open_from(self.address, Ipv4Addr::new(127, 1, high, low.saturating_add(1))).await
    }
}

/// One row for each attack.
pub(crate) async fn hostile(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let settings = Settings { is_open: false, ..Settings::default() };
    let place = Place::new(&plan.program, folder.path(), &settings)?;
    let gateway = match place.start_below("prlimit", &["--nofile=16384"]).await {
        Ok(gateway) => gateway,
        Err(error) => return Ok(vec![Row::not_run("hostile senders", format!("no 16384 open files: {error:#}"))]),
    };
    let mut rows = Vec::new();
    for attack in ATTACKS {
        rows.push(suffer(attack, &gateway, Target { address: place.address }).await);
    }
    Ok(rows)
}

async fn suffer(attack: &Attack, gateway: &Gateway, target: Target) -> Row {
    let mut row = Row::new(attack.name, 1);
    let (mut before, failed) = Polite::start(target).after(sleep(BEFORE)).await;
    row.expect(failed == 0, || format!("{failed} good posts failed before"));
    let (stop, memory) = (watch::Sender::new(false), watch::Sender::new(0));
    let id = gateway.id().unwrap_or_default();
    let sampler = tokio::spawn(sample(id, memory.clone(), stop.subscribe()));
    let began = Instant::now();
    let mut ends = Ends::new();
    let attacked = async { ends = (attack.run)(target).await.unwrap_or_default() };
    let (mut during, failed) = Polite::start(target).after(attacked).await;
    stop.send_replace(true);
    drop(sampler.await);
    let peak = *memory.borrow();
    for (end, count) in &ends {
        row.expect(attack.allowed.contains(&end.as_str()), || format!("{count} ended with {end}"));
    }
    row.expect(!ends.is_empty(), || "nothing came of it".to_owned());
    row.expect(failed == 0, || format!("{failed} good posts failed meanwhile"));
    row.expect(peak < MEMORY_KIB_MAX, || format!("it took {peak} KiB of memory"));
    let slowest = percentile(&mut during, 100);
    row.expect(slowest < WAIT_MAX, || format!("a good post took {slowest:?}"));
    row.counts.answered = before.len() + during.len();
    row.counts.queued = row.counts.answered;
    let ends: Vec<_> = ends.iter().map(|(end, count)| format!("{end} {count}")).collect();
    row.tell(format!("{} in {} ms", ends.join(", "), began.elapsed().as_millis()));
    let milliseconds = |wait: Duration| format!("{:.1} ms", wait.as_secs_f64() * 1e3);
    let (p99, p99_during) = (percentile(&mut before, 99), percentile(&mut during, 99));
    row.tell(format!("p99 {} → {}", milliseconds(p99), milliseconds(p99_during)));
    row.tell(format!("RSS at most {} MiB, after {} MiB", peak / 1024, gateway.size().0 / 1024));
    row
}

/// Looks again and again how much memory a process has.
async fn sample(id: u32, most: watch::Sender<u64>, stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let (memory, _) = size(id);
        most.send_modify(|most| *most = (*most).max(memory));
        sleep(Duration::from_millis(20)).await;
    }
}

/// A well-behaved client.
struct Polite {
    stop: watch::Sender<bool>,
    posting: JoinHandle<(Vec<Duration>, usize)>,
}

impl Polite {
    fn start(target: Target) -> Self {
        let stop = watch::Sender::new(false);
        Self { posting: tokio::spawn(be_polite(target, stop.subscribe())), stop }
    }

    /// Gives how long each of its posts took, and how many failed.
    async fn after(self, something: impl Future<Output = ()>) -> (Vec<Duration>, usize) {
        something.await;
        self.stop.send_replace(true);
        self.posting.await.unwrap_or_default()
    }
}

async fn be_polite(target: Target, stop: watch::Receiver<bool>) -> (Vec<Duration>, usize) {
    let (mut waits, mut failed, mut number) = (Vec::new(), 0, 0);
    while !*stop.borrow() {
        number += 1;
        let began = Instant::now();
        let taken = polite_post(target, number).await;
        failed += usize::from(!taken);
        waits.extend(taken.then(|| began.elapsed()));
        sleep(PACE).await;
    }
    (waits, failed)
}

/// One good post on a connection of its own; tells whether it was taken.
pub(crate) async fn polite_post(target: Target, number: usize) -> bool {
    let body = format!(r#"{{"name":"Jane","email":"jane{number}@example.com","message":"Hello"}}"#);
    let request = post("/hooks/acme", &token("acme"), "application/json", body.as_bytes());
    let Ok(mut connection) = Connection::open(target.address).await else { return false };
    connection.send(&request).await.is_ok_and(|answer| answer.id().is_some())
}

/// What a connection ends with: the status of the answer, or that it is closed without one.
async fn end_of(connection: &mut Connection) -> String {
    let answer = tokio::time::timeout(Duration::from_secs(60), connection.answer()).await;
    match answer {
        Ok(Ok(answer)) => answer.status.to_string(),
        Ok(Err(_)) => "closed".to_owned(),
        Err(_) => "hangs".to_owned(),
    }
}

/// Sends a byte at a time, and then waits; gives what the connection ends with, which may be sooner.
async fn drip(connection: &mut Connection, bytes: &[u8], pause: Duration) -> String {
    for byte in bytes {
        if connection.write(&[*byte]).await.is_err() {
            break;
        }
        tokio::select! {
            end = end_of(connection) => return end,
            () = tokio::time::sleep(pause) => {}
        }
    }
    end_of(connection).await
}

/// Counts what tasks ended with.
async fn count(tasks: JoinSet<String>) -> Ends {
    let mut ends = Ends::new();
    for end in tasks.join_all().await {
        *ends.entry(end).or_default() += 1;
    }
    ends
}
