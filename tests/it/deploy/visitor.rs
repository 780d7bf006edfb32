//! Who posts to a server from outside, over TLS: raw bytes, from an address of choice.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::place::PATIENCE;
use crate::gateway::{TOKEN, header};

/// Goes around a multipart's parts.
const BOUNDARY: &str = "----formgate";

pub(super) struct Visitor {
    stream: TlsStream<TcpStream>,
}

/// A request and the bytes of its body.
pub(super) struct Post {
    path: String,
    headers: String,
    body: Vec<u8>,
    is_chunked: bool,
}

impl Post {
    /// A form with this address, as a plugin sends it, and the token in its URL.
    pub(super) fn of(email: &str) -> Self {
        let body = format!("name=Jane&email={email}&message=Hello").into_bytes();
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n".to_owned();
        Self { path: format!("/hooks/acme/contact?token={TOKEN}"), headers, body, is_chunked: false }
    }

    /// A form with an upload of so many bytes.
    pub(super) fn with_upload(email: &str, size: usize) -> Self {
        let part = |name: &str, more: &str| {
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n")
        };
        let mut body = format!("{}Jane\r\n{}{email}\r\n", part("name", ""), part("email", "")).into_bytes();
        let file = "; filename=\"plan.bin\"\r\nContent-Type: application/octet-stream";
        body.extend(part("plan", file).into_bytes());
        body.resize(body.len() + size, b'x');
        body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
        let headers = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n");
        Self { headers, body, ..Self::of(email) }
    }

    pub(super) fn to(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub(super) fn with(mut self, lines: &str) -> Self {
        self.headers.push_str(lines);
        self
    }

    /// Tells no length before.
    pub(super) fn chunked(mut self) -> Self {
        self.is_chunked = true;
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let Self { path, headers, body, is_chunked } = self;
        let length = if *is_chunked {
            "Transfer-Encoding: chunked\r\n".to_owned()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let mut bytes = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n").into_bytes();
        if *is_chunked {
            for chunk in body.chunks(50_000) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        } else {
            bytes.extend(body);
        }
        bytes
    }
}

impl Visitor {
    pub(super) async fn at(server: SocketAddr) -> Self {
        Self::from(Ipv4Addr::LOCALHOST, server).await
    }

    /// Connects from an address of this machine.
    pub(super) async fn from(source: Ipv4Addr, server: SocketAddr) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(include_bytes!("../tls/ca.pem")).expect("an authority");
        roots.add(authority).expect("added");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0)).expect("an address of this machine");
        let stream = socket.connect(server).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS");
        Self { stream }
    }

    /// Sends a request and reads the answer, which may come before the request is over. The connection stays.
    pub(super) async fn post(&mut self, post: &Post) -> String {
        let bytes = post.bytes();
        let (mut from, mut to) = tokio::io::split(&mut self.stream);
        // A server that has answered may read no further.
        let sending = async {
            let _sent = to.write_all(&bytes).await;
            let _sent = to.flush().await;
            std::future::pending::<()>().await;
        };
        let both = async {
            tokio::select! {
                answer = read_answer(&mut from) => answer,
                () = sending => String::new(),
            }
        };
        timeout(PATIENCE, both).await.expect("an answer in time")
    }

    /// Sends bytes and reads nothing.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
        self.stream.flush().await.expect("sent");
    }
}

/// Posts once, over a connection of its own.
pub(super) async fn post(server: SocketAddr, post: &Post) -> String {
    Visitor::at(server).await.post(post).await
}

/// Reads one answer: to the length it tells, or to the end.
pub(super) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let mut piece = [0; 8192];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").and_then(|length| length.parse().ok());
            let is_whole = length.is_some_and(|length| body.len() >= length) || body.ends_with("0\r\n\r\n");
            if is_whole {
                return text;
            }
        }
        // Some end without saying goodbye.
        match stream.read(&mut piece).await {
            Ok(length @ 1..) => answer.extend_from_slice(&piece[..length]),
            Ok(0) | Err(_) => return text,
        }
    }
}
