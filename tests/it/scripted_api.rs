//! KaiCalls' API under a test's control, on bare TCP: it says what the script says, byte for byte, and writes down
//! what it was asked.
//!
//! Without a script every lead is taken (`lead_1`, `lead_2`, …) and every key is valid.

#![allow(dead_code, reason = "the verbs of a harness; no test file uses all of them")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Longest head and body that are read.
const REQUEST_MAX: usize = 4 << 20;

/// What one request meets.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    parts: Vec<Part>,
}

#[derive(Clone)]
enum Part {
    Send(Vec<u8>),
    WaitFor(Arc<Notify>),
    Pass(Duration),
    Hang,
    Close,
    Reset,
}

impl Reply {
    /// The documented success of intake.
    pub(crate) fn success(lead_id: &str) -> Self {
        Self::json(200, &format!(r#"{{"success":true,"leadId":"{lead_id}","message":"Lead created successfully"}}"#))
    }

    /// The documented error of the WordPress endpoints.
    pub(crate) fn error(status: u16, words: &str) -> Self {
        Self::json(status, &serde_json::json!({"success": false, "error": words}).to_string())
    }

    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::with_headers(status, &[("content-type", "application/json")], body)
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        Self::with_headers(status, &[("content-type", "text/html")], body)
    }

    /// A whole reply; `Content-Length` is added.
    pub(crate) fn with_headers(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut head = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        Self::raw(format!("{head}\r\n{body}"))
    }

    /// Exactly these bytes; the connection stays open.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { parts: vec![Part::Send(bytes.into())] }
    }

    /// A body of so many bytes of nothing.
    pub(crate) fn large(status: u16, size: usize) -> Self {
        Self::with_headers(status, &[("content-type", "text/plain")], &"x".repeat(size))
    }

    /// The request is read, and nothing ever comes.
    pub(crate) fn silence() -> Self {
        Self { parts: vec![Part::Hang] }
    }

    /// The request is read, then the connection is closed.
    pub(crate) fn close() -> Self {
        Self { parts: vec![Part::Close] }
    }

    /// The request is read, then the connection is reset.
    pub(crate) fn reset() -> Self {
        Self { parts: vec![Part::Reset] }
    }

    /// Then the connection is closed.
    pub(crate) fn then_close(self) -> Self {
        self.then(Part::Close)
    }

    /// Then the connection is reset.
    pub(crate) fn then_reset(self) -> Self {
        self.then(Part::Reset)
    }

    /// Then nothing more comes.
    pub(crate) fn then_silence(self) -> Self {
        self.then(Part::Hang)
    }

    /// All of it comes only when the test says so.
    pub(crate) fn when(mut self, told: &Arc<Notify>) -> Self {
        self.parts.insert(0, Part::WaitFor(Arc::clone(told)));
        self
    }

    /// All of it comes after a time of tokio's clock.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.parts.insert(0, Part::Pass(wait));
        self
    }

    /// These bytes come first: 1xx noise, for one.
    pub(crate) fn preceded_by(mut self, bytes: &str) -> Self {
        self.parts.insert(0, Part::Send(bytes.into()));
        self
    }

    fn then(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    /// Returns a header's value, whatever the case of its name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

#[derive(Default)]
struct Script {
    intake: VecDeque<Reply>,
    others: VecDeque<(String, Reply)>,
    always: Option<Reply>,
    closing: usize,
    taken: usize,
    rule: Option<Rule>,
}

/// Decides what a request meets; where it gives none the script does.
type Rule = Box<dyn FnMut(&Recorded) -> Option<Reply> + Send>;

struct Shared {
    script: Mutex<Script>,
    requests: Mutex<Vec<Recorded>>,
    seen: watch::Sender<usize>,
}

/// The server. It is gone when it is dropped.
pub(crate) struct ScriptedApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Mutex<Option<JoinHandle<()>>>,
    /// Holds the port while nobody listens.
    reserved: Mutex<Option<TcpSocket>>,
}

impl ScriptedApi {
    pub(crate) async fn start() -> Self {
        let socket = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = socket.listen(64).expect("it listens");
        let address = listener.local_addr().expect("a bound address");
        let shared = Shared { script: Mutex::default(), requests: Mutex::default(), seen: watch::Sender::new(0) };
        let shared = Arc::new(shared);
        let listening = Mutex::new(Some(tokio::spawn(accept(listener, Arc::clone(&shared)))));
        Self { address, shared, listening, reserved: Mutex::default() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Queues a reply for one lead.
    pub(crate) fn on_intake(&self, reply: Reply) {
        self.shared.script.lock().intake.push_back(reply);
    }

    /// Answers every lead so, once the queue is empty; until [`Self::back_to_normal`].
    pub(crate) fn always(&self, reply: Reply) {
        self.shared.script.lock().always = Some(reply);
    }

    pub(crate) fn back_to_normal(&self) {
        let mut script = self.shared.script.lock();
        script.always = None;
        script.intake.clear();
    }

    /// Queues a reply for one request whose path ends so.
    pub(crate) fn on(&self, path_end: &str, reply: Reply) {
        self.shared.script.lock().others.push_back((path_end.to_owned(), reply));
    }

    /// Asks a rule first, for every request.
    pub(crate) fn rule(&self, rule: impl FnMut(&Recorded) -> Option<Reply> + Send + 'static) {
        self.shared.script.lock().rule = Some(Box::new(rule));
    }

    /// Closes the next connections before anything of them is read.
    pub(crate) fn close_connections(&self, count: usize) {
        self.shared.script.lock().closing = count;
    }

    /// Returns every request so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().clone()
    }

    /// Waits until so many requests have come, and returns all of them.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Recorded> {
        let mut seen = self.shared.seen.subscribe();
        seen.wait_for(|seen| *seen >= count).await.expect("the sender lives as long as the server");
        self.requests()
    }

    /// Cuts every connection and stops listening: the port refuses.
    pub(crate) async fn go_away(&self) {
        let listening = self.listening.lock().take();
        if let Some(task) = listening {
            task.abort();
            assert!(task.await.expect_err("it only ends when told").is_cancelled());
            *self.reserved.lock() = Some(bind(self.address));
        }
    }

    /// Listens again on the same port.
    pub(crate) async fn come_back(&self) {
        let socket = self.reserved.lock().take().expect("it went away before");
        let listener = socket.listen(64).expect("it listens again");
        *self.listening.lock() = Some(tokio::spawn(accept(listener, Arc::clone(&self.shared))));
    }
}

impl Drop for ScriptedApi {
    fn drop(&mut self) {
        if let Some(task) = self.listening.lock().take() {
            task.abort();
        }
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of every socket");
    socket.bind(address).expect("the port is free");
    socket
}

/// Accepts until it is aborted; its connections end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("it accepts");
        let is_closing = {
            let mut script = shared.script.lock();
            let is_closing = script.closing > 0;
            script.closing = script.closing.saturating_sub(1);
            is_closing
        };
        if !is_closing {
            let shared = Arc::clone(&shared);
            connections.spawn(async move { serve(stream, &shared).await });
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) {
    while let Some(request) = read_request(&mut stream).await {
        let reply = next_reply(shared, &request);
        let count = {
            let mut requests = shared.requests.lock();
            requests.push(request);
            requests.len()
        };
        shared.seen.send_replace(count);
        for part in reply.parts {
            match part {
                // Who asked may be gone by now; the next read tells.
                Part::Send(bytes) => drop(stream.write_all(&bytes).await),
                Part::WaitFor(told) => told.notified().await,
                Part::Pass(wait) => tokio::time::sleep(wait).await,
                Part::Hang => std::future::pending().await,
                Part::Close => return,
                Part::Reset => return stream.set_zero_linger().expect("an option of every socket"),
            }
        }
    }
}

fn next_reply(shared: &Shared, request: &Recorded) -> Reply {
    let mut script = shared.script.lock();
    if let Some(reply) = script.rule.as_mut().and_then(|rule| rule(request)) {
        return reply;
    }
    if let Some(at) = script.others.iter().position(|(end, _)| request.path.ends_with(end)) {
        return script.others.remove(at).expect("it was found just now").1;
    }
    if request.path.ends_with("/auth/verify") {
        return Reply::json(200, r#"{"success":true,"business_id":"biz_1"}"#);
    }
    if request.path.ends_with("/dashboard-widget") {
        return Reply::json(200, r#"{"success":true,"recentLeads":[],"leadsThisWeek":0}"#);
    }
    if !request.path.ends_with("/intake") {
        return Reply::json(404, r#"{"error":{"code":"not_found","message":"Not found"}}"#);
    }
    if let Some(reply) = script.intake.pop_front().or_else(|| script.always.clone()) {
        return reply;
    }
    script.taken += 1;
    Reply::success(&format!("lead_{}", script.taken))
}

/// Reads a request with a `Content-Length` or no body; `None` when the connection ends.
async fn read_request(stream: &mut TcpStream) -> Option<Recorded> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let mut request = parse_head(bytes.get(..end).unwrap_or_default());
            let length = request.header("content-length").map_or(0, |length| length.parse().expect("a length"));
            bytes.drain(..end + 4);
            while bytes.len() < length {
                read_more(stream, &mut bytes).await?;
            }
            request.body = bytes;
            return Some(request);
        }
        read_more(stream, &mut bytes).await?;
    }
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    assert!(bytes.len() < REQUEST_MAX, "a request longer than any of a test");
    let read = stream.read_buf(bytes).await.ok()?;
    (read > 0).then_some(())
}

fn parse_head(head: &[u8]) -> Recorded {
    let head = std::str::from_utf8(head).expect("the head is text");
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    Recorded { method: method.to_owned(), path: path.to_owned(), headers, body: Vec::new() }
}
