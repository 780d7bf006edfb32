//! Load: clients that post one submission after the other and write down what each was answered.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use formgate::queue::{AttemptResult, Head, State};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::Connection;
use super::row::{Counts, Row};
use super::submission::submission;

/// What the clients heard.
#[derive(Default)]
pub(crate) struct Heard {
    /// The ids that were answered 200.
    pub(crate) ids: Vec<String>,
    /// Other answers, by status.
    pub(crate) refused: BTreeMap<u16, usize>,
    /// Requests without an answer on connections that had been answered on before.
    pub(crate) cut: usize,
    /// Requests without an answer on new connections, and connections that were refused.
    pub(crate) turned_away: usize,
    pub(crate) waits: Vec<Duration>,
}

/// Clients that post until they are stopped.
pub(crate) struct Load {
    heard: Arc<Mutex<Heard>>,
    up: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

/// Numbers of submissions, over all loads of the process.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

impl Load {
    /// Starts so many clients; they post while the gateway is said to be up.
    pub(crate) fn start(address: SocketAddr, clients: usize) -> Self {
        Self::start_slowly(address, clients, Duration::ZERO)
    }

    /// Each client waits so long between two posts.
    pub(crate) fn start_slowly(address: SocketAddr, clients: usize, pace: Duration) -> Self {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (up, stop) = (watch::Sender::new(true), watch::Sender::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(client(address, pace, Arc::clone(&heard), up.subscribe(), stop.subscribe()));
        }
        Self { heard, up, stop, clients: tasks }
    }

    /// Says whether the gateway can be reached.
    pub(crate) fn set_up(&self, up: bool) {
        self.up.send_replace(up);
    }

    /// Ends all clients, each after its request, and gives what they heard.
    pub(crate) async fn stop(self) -> Heard {
        self.stop.send_replace(true);
        self.up.send_replace(true);
        self.clients.join_all().await;
        std::mem::take(&mut *self.heard.lock())
    }
}

async fn client(
    address: SocketAddr,
    pace: Duration,
    heard: Arc<Mutex<Heard>>,
    mut up: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
) {
    let mut kept = None;
    while up.wait_for(|up| *up).await.is_ok() && !*stop.borrow() {
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let opened = match kept.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(address).await,
        };
        let Ok(mut connection) = opened else {
            heard.lock().turned_away += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let answer = connection.send(&submission(number)).await;
        let mut heard = heard.lock();
        heard.waits.push(started.elapsed());
        match answer {
            Ok(answer) => {
                match answer.id() {
                    Some(id) => heard.ids.push(id),
                    None => *heard.refused.entry(answer.status).or_default() += 1,
                }
                kept = Some(connection).filter(|_| !answer.closes());
            }
            Err(_) if connection.answers > 0 => heard.cut += 1,
            Err(_) => heard.turned_away += 1,
        }
    }
}

impl Heard {
    /// The time within which so many percent were answered.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        percentile(&mut self.waits.clone(), percent)
    }

    /// Holds what was answered against the store and against what the API got.
    pub(crate) fn judge(&self, row: &mut Row, entries: &HashMap<String, Head>, taken: &HashMap<String, usize>) {
        let mut counts = Counts { answered: self.ids.len(), ..Counts::default() };
        for id in &self.ids {
            let end = entries.get(id).map(|entry| entry.state);
            match end {
                Some(State::Delivered) if taken.contains_key(id) => counts.delivered += 1,
                Some(State::Queued) => counts.queued += 1,
                Some(State::Held) => counts.held += 1,
                Some(State::Delivered | State::Dead) | None => counts.lost += 1,
            }
        }
        let mut ambiguous = 0;
        for (id, entry) in entries {
            let unsure = count(entry, AttemptResult::Ambiguous);
            ambiguous += unsure;
            let times = taken.get(id).copied().unwrap_or_default();
            counts.doubled += times.saturating_sub(1);
            row.expect(times <= 1 || entry.attempts >= 2, || format!("{id} was taken {times} times in one attempt"));
            row.expect(times <= 1 + unsure, || {
                format!("{id} was taken {times} times, {unsure} attempts are ambiguous")
            });
        }
        row.expect(counts.lost == 0, || format!("{} answered 200 are lost", counts.lost));
        row.expect(counts.answered > 0, || "nothing was answered 200".to_owned());
        row.expect(taken.keys().all(|id| entries.contains_key(id)), || "the API got what the store lacks".to_owned());
        row.tell(format!("ambiguous attempts {ambiguous}"));
        row.counts = counts;
    }
}

fn count(entry: &Head, result: AttemptResult) -> usize {
    let attempts = entry.history.iter().filter_map(|event| event.attempt.as_ref());
    attempts.filter(|attempt| attempt.result == result).count()
}

pub(crate) fn percentile(waits: &mut [Duration], percent: usize) -> Duration {
    waits.sort_unstable();
    let at = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
    waits.get(at).copied().unwrap_or_default()
}
