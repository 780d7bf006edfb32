//! KaiCalls' API under the proofs' control: it writes down what it was sent, and fails as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How many leads the dashboard's widget shows of a site.
const WIDGET_LEADS: usize = 10;

/// How the API behaves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mood {
    /// Connections are closed before anything is read.
    pub(crate) away: bool,
    /// Leads are taken, and never answered.
    pub(crate) silent: bool,
    /// Of 100 leads that are taken, for so many the connection is dropped instead of an answer.
    pub(crate) drops_percent: u32,
    /// Each lead takes so long.
    pub(crate) takes: Duration,
}

/// The server; it ends with the process.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    mood: Mutex<Mood>,
    leads: Mutex<Leads>,
}

#[derive(Default)]
struct Leads {
    /// How often each entry was taken.
    taken: HashMap<String, usize>,
    /// E-mail and message of each entry.
    texts: HashMap<String, (String, String)>,
    /// Name and time of the leads of each site, the oldest first.
    widget: HashMap<String, Vec<(String, Timestamp)>>,
}

impl Upstream {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, state) = (listener.local_addr()?, Arc::new(State::default()));
        let serving = Arc::clone(&state);
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                drop(tokio::spawn(async move { serve(stream, &state).await }));
            }
        }));
        Ok(Self { address, state })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.state.mood.lock() = mood;
    }

    /// How often each entry was taken.
    pub(crate) fn taken(&self) -> HashMap<String, usize> {
        self.state.leads.lock().taken.clone()
    }

    /// The longest time between two leads of a site, for each.
    pub(crate) fn longest_gaps(&self) -> HashMap<String, Duration> {
        let leads = self.state.leads.lock();
        let gaps = leads.widget.iter().map(|(site, came)| {
            let pairs = came.windows(2).filter_map(|pair| match pair {
                [(_, one), (_, next)] => Duration::try_from(next.duration_since(*one)).ok(),
                _ => None,
            });
            (site.clone(), pairs.max().unwrap_or_default())
        });
        gaps.collect()
    }

    /// E-mail and message of every lead.
    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        self.state.leads.lock().texts.values().cloned().collect()
    }
}

async fn serve(mut stream: TcpStream, state: &State) {
    let mut bytes = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut bytes).await {
        let mood = *state.mood.lock();
        if mood.away {
            return;
        }
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let site = header("authorization").unwrap_or_default().to_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (status, answer) = if path.ends_with("/intake") {
            tokio::time::sleep(mood.takes).await;
            take(state, &site, header("idempotency-key").unwrap_or_default(), &body);
            if mood.silent {
                return std::future::pending().await;
            }
            if rand::rng().random_range(0..100) < mood.drops_percent {
                return;
            }
            (200, json!({"success": true, "leadId": "lead_1", "message": "Lead created successfully"}))
        } else if path.ends_with("/dashboard-widget") {
            (200, widget(state, &site))
        } else {
            (404, json!({"error": {"code": "not_found", "message": "Not found"}}))
        };
        let (answer, date) = (answer.to_string(), Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT"));
        let answer = format!(
            "HTTP/1.1 {status} Scripted\r\nDate: {date}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn take(state: &State, site: &str, id: &str, body: &[u8]) {
    let lead: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key| lead.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut leads = state.leads.lock();
    *leads.taken.entry(id.to_owned()).or_default() += 1;
    leads.texts.insert(id.to_owned(), (text("email"), text("message")));
    leads.widget.entry(site.to_owned()).or_default().push((text("name"), Timestamp::now()));
}

fn widget(state: &State, site: &str) -> Value {
    let leads = state.leads.lock();
    let own = leads.widget.get(site).map(Vec::as_slice).unwrap_or_default();
    let recent: Vec<_> = own.iter().rev().take(WIDGET_LEADS).collect();
    let recent: Vec<_> =
        recent.into_iter().map(|(name, at)| json!({"name": name, "created_at": at.to_string()})).collect();
    json!({"success": true, "recentLeads": recent, "leadsThisWeek": own.len()})
}

/// Reads a request with a `Content-Length` or no body.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
            let length = head.lines().filter_map(|line| line.split_once(':'));
            let length = length.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length = length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0);
            bytes.drain(..end + 4);
            while bytes.len() < length {
                read_more(stream, bytes).await?;
            }
            return Some((head, bytes.drain(..length).collect()));
        }
        read_more(stream, bytes).await?;
    }
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(bytes).await.ok()? > 0).then_some(())
}
