//! A client on bare TCP: it sends what it is told, byte for byte.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// Longest answer that is read.
const ANSWER_MAX: usize = 1 << 20;

/// A connection that may be used again and again.
pub(crate) struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// Answers that came on it.
    pub(crate) answers: usize,
}

/// An answer that came whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The entry's id, where it was answered with success.
    pub(crate) fn id(&self) -> Option<String> {
        let json = self.json();
        let success = self.status == 200 && json.get("success") == Some(&Value::Bool(true));
        json.get("id").filter(|_| success).and_then(Value::as_str).map(str::to_owned)
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> std::io::Result<Self> {
        Self::open_from(address, Ipv4Addr::LOCALHOST).await
    }

    /// Connects from another address of this machine: all of 127.0.0.0/8 are.
    pub(crate) async fn open_from(address: SocketAddr, from: Ipv4Addr) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if from != Ipv4Addr::LOCALHOST {
            socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        }
        let stream = timeout(ANSWER_TIME, socket.connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, bytes: Vec::new(), answers: 0 })
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> std::io::Result<Answer> {
        timeout(ANSWER_TIME, async {
            self.write(request).await?;
            self.answer().await
        })
        .await?
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads one answer.
    pub(crate) async fn answer(&mut self) -> std::io::Result<Answer> {
        let end = loop {
            match self.bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.read_more().await?,
            }
        };
        let head = String::from_utf8_lossy(self.bytes.get(..end).unwrap_or_default()).into_owned();
        self.bytes.drain(..end + 4);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.bytes.len() < length {
            self.read_more().await?;
        }
        answer.body = self.bytes.drain(..length).collect();
        self.answers += 1;
        Ok(answer)
    }

    /// Waits until the other side closes; gives what came before.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.read_more().await.is_ok() {}
        std::mem::take(&mut self.bytes)
    }

    async fn read_more(&mut self) -> std::io::Result<()> {
        let read = self.stream.read_buf(&mut self.bytes).await?;
        if read == 0 || self.bytes.len() > ANSWER_MAX {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// Sends one request on a connection of its own.
pub(crate) async fn once(address: SocketAddr, request: &[u8]) -> std::io::Result<Answer> {
    Connection::open(address).await?.send(request).await
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
}

/// A POST with a token and a body of some type.
pub(crate) fn post(path: &str, token: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
