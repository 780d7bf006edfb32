//! Posts: as fast as so many connections can, or so many a second.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Outcome;
use crate::wire::{is_ok, message_end};

/// What stands for a lead's number in a workload.
const ID: &[u8] = b"@@ID@@";
/// tokio's clock has milliseconds: what is left of a wait is spent looking at the clock.
const CLOCK_STEP: Duration = Duration::from_millis(2);

/// Submissions of one kind, each with an address of its own.
pub(crate) struct Workload {
    head: String,
    before: Vec<u8>,
    after: Vec<u8>,
    /// Goes on from one load to the next: no lead is posted twice.
    next: Rc<Cell<u64>>,
}

/// What came of a load.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) took: Duration,
    /// Of each accepted post, from when it was due to the end of its answer.
    latencies: Vec<Duration>,
}

impl Workload {
    /// Reads a workload, to be posted to a form of each site in turn.
    pub(crate) fn read(name: &str, next: &Rc<Cell<u64>>) -> Outcome<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("benches/workloads")
            .join(format!("{}.http", name.to_lowercase()));
        let bytes = std::fs::read(file)?;
        let head_end = memchr::memmem::find(&bytes, b"\r\n\r\n").ok_or("a workload has a head")? + 4;
        let (head, body) = bytes.split_at(head_end);
        let kind = std::str::from_utf8(head)?.lines().find(|line| line.starts_with("Content-Type:"));
        let at = memchr::memmem::find(body, ID).ok_or("a workload has a place for an id")?;
        let (before, after) = body.split_at(at);
        let after = after.get(ID.len()..).unwrap_or_default();
        let length = before.len() + number(0).len() + after.len();
        let head = format!("{}\r\nContent-Length: {length}\r\n", kind.ok_or("a workload has a type")?);
        Ok(Self { head, before: before.to_vec(), after: after.to_vec(), next: Rc::clone(next) })
    }

    fn write(&self, to: &Target, buffer: &mut Vec<u8>) {
        let lead = self.next.replace(self.next.get() + 1);
        let site = lead % to.sites;
        buffer.clear();
        buffer.extend_from_slice(
            format!(
                "POST /hooks/{}/contact HTTP/1.1\r\nHost: {}\r\nUser-Agent: WordPress/6.5; https://shop.example.com\r\n\
                 Authorization: Bearer {}\r\n{}\r\n",
                crate::setting::site(site),
                to.address,
                crate::setting::token(site),
                self.head
            )
            .as_bytes(),
        );
        buffer.extend_from_slice(&self.before);
        buffer.extend_from_slice(&number(lead));
        buffer.extend_from_slice(&self.after);
    }
}

/// Always as long, so that every body is.
fn number(lead: u64) -> Vec<u8> {
    format!("lead{lead:010}").into_bytes()
}

/// Where submissions go.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) sites: u64,
}

struct Connection {
    stream: TcpStream,
    sent: Vec<u8>,
    read: Vec<u8>,
}

impl Connection {
    async fn open(target: &Target) -> Outcome<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, sent: Vec::with_capacity(4 << 10), read: Vec::with_capacity(4 << 10) })
    }

    /// Posts one; tells whether it was accepted, and keeps the connection for the next.
    async fn post(mut self, workload: &Workload, target: &Target) -> Outcome<(bool, Self)> {
        let accepted = self.exchange(workload, target).await?;
        Ok((accepted, self))
    }

    async fn exchange(&mut self, workload: &Workload, target: &Target) -> Outcome<bool> {
        workload.write(target, &mut self.sent);
        self.stream.write_all(&self.sent).await?;
        self.read.clear();
        loop {
            if let Some(end) = message_end(&self.read) {
                if end != self.read.len() {
                    return Err("more than an answer came".into());
                }
                return Ok(is_ok(&self.read));
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
    }
}

/// Posts one; tells whether it was accepted.
pub(crate) async fn post_one(workload: &Workload, target: Target) -> Outcome<bool> {
    Connection::open(&target).await?.exchange(workload, &target).await
}

/// Posts as fast as so many connections can, for a time.
pub(crate) async fn flood(
    workload: &Rc<Workload>,
    target: Target,
    connections: usize,
    lasting: Duration,
) -> Outcome<Loaded> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let workload = Rc::clone(workload);
        tasks.spawn_local(async move {
            let mut connection = Connection::open(&target).await?;
            let mut loaded = Loaded::default();
            while begun.elapsed() < lasting {
                let due = Instant::now();
                let accepted = connection.exchange(&workload, &target).await?;
                loaded.count(accepted, due.elapsed());
            }
            Outcome::Ok(loaded)
        });
    }
    let mut all = Loaded::default();
    while let Some(loaded) = tasks.join_next().await {
        all.add(loaded??);
    }
    all.took = begun.elapsed();
    Ok(all)
}

/// Posts so many a second, whatever becomes of those before, for a time.
pub(crate) async fn pace(
    workload: &Rc<Workload>,
    target: Target,
    per_second: f64,
    lasting: Duration,
) -> Outcome<Loaded> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    let idle = Rc::new(RefCell::new(Vec::<Connection>::new()));
    let mut sent = 0_u64;
    loop {
        let due = begun + Duration::from_secs_f64(crate::as_f64(sent) / per_second);
        if due >= begun + lasting {
            break;
        }
        wait_until(due).await;
        sent += 1;
        let workload = Rc::clone(workload);
        let idle = Rc::clone(&idle);
        tasks.spawn_local(async move {
            let kept = idle.borrow_mut().pop();
            let posted = match kept {
                // The server may have closed it meanwhile: then it is posted anew, as by any client.
                Some(connection) => connection.post(&workload, &target).await.ok(),
                None => None,
            };
            let (accepted, connection) = match posted {
                Some(posted) => posted,
                None => Connection::open(&target).await?.post(&workload, &target).await?,
            };
            idle.borrow_mut().push(connection);
            Outcome::Ok((accepted, due.elapsed()))
        });
    }
    let mut all = Loaded { took: lasting, ..Loaded::default() };
    while let Some(posted) = tasks.join_next().await {
        let (accepted, latency) = posted??;
        all.count(accepted, latency);
    }
    Ok(all)
}

async fn wait_until(due: Instant) {
    if let Some(early) = due.checked_duration_since(Instant::now() + CLOCK_STEP) {
        tokio::time::sleep(early).await;
    }
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

impl Loaded {
    fn count(&mut self, accepted: bool, latency: Duration) {
        if accepted {
            self.accepted += 1;
            self.latencies.push(latency);
        } else {
            self.refused += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.latencies.extend(other.latencies);
    }

    pub(crate) fn per_second(&self) -> f64 {
        crate::as_f64(self.accepted) / self.took.as_secs_f64()
    }

    /// Returns the latency that so many of a hundred don't exceed, in milliseconds.
    pub(crate) fn percentile(&mut self, percent: usize) -> f64 {
        self.latencies.sort_unstable();
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}
