//! KaiCalls' API, fast, and sick for some keys: for proofs of the sender alone, in this process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What the leads of a public key meet.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Health {
    Well,
    /// The key is refused.
    Revoked,
    /// Nothing is ever answered.
    Silent,
}

/// The API; it ends when it is dropped.
pub(crate) struct KeyedApi {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

struct State {
    /// Every lead takes so long.
    takes: Duration,
    health: fn(&str) -> Health,
    seen: Mutex<HashMap<String, Instant>>,
    taken: watch::Sender<usize>,
}

impl KeyedApi {
    pub(crate) async fn start(takes: Duration, health: fn(&str) -> Health) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = State { takes, health, seen: Mutex::default(), taken: watch::Sender::new(0) };
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                drop(tokio::spawn(async move { serve(stream, &state).await }));
            }
        });
        Ok(Self { address, state, serving })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// When each entry first came, if it was taken.
    pub(crate) fn seen(&self) -> HashMap<String, Instant> {
        self.state.seen.lock().clone()
    }

    /// Waits until so many leads were taken.
    pub(crate) async fn taken(&self, count: usize) -> anyhow::Result<()> {
        self.state.taken.subscribe().wait_for(|taken| *taken >= count).await?;
        Ok(())
    }
}

impl Drop for KeyedApi {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, state: &State) {
    let mut bytes = Vec::new();
    while let Some(head) = request(&mut stream, &mut bytes).await {
        let came = Instant::now();
        let header = |name: &str| value(&head, name).unwrap_or_default();
        let key = header("authorization").trim_start_matches("Bearer ").split(':').next().unwrap_or_default();
        let answer = match (state.health)(key) {
            Health::Silent => return std::future::pending().await,
            Health::Revoked => answer(401, r#"{"success":false,"error":"Unauthorized"}"#),
            Health::Well => {
                tokio::time::sleep(state.takes).await;
                let is_new = state.seen.lock().insert(header("idempotency-key").to_owned(), came).is_none();
                state.taken.send_modify(|taken| *taken += usize::from(is_new));
                answer(200, r#"{"success":true,"leadId":"lead_1"}"#)
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Reads a request and gives its head; none at the connection's end.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
            let length: usize = value(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            while bytes.len() < end + 4 + length {
                read_more(stream, bytes).await?;
            }
            bytes.drain(..end + 4 + length);
            return Some(head);
        }
        read_more(stream, bytes).await?;
    }
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(bytes).await.ok()? > 0).then_some(())
}
