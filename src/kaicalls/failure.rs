//! What went wrong when no whole answer came: a closed set, without addresses or texts from outside.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use rustls::CertificateError;

/// No complete answer arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    pub kind: FailureKind,
    /// The request may have reached the API, so the lead may be there although nobody said so.
    pub sent: bool,
}

/// Where it went wrong. `Display` is for operators, [`FailureKind::as_str`] for labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The API's name has no address, or nobody could be asked for it.
    Dns,
    Connect(ConnectFault),
    Tls(TlsFault),
    /// The request went out and no whole answer came in time.
    Timeout,
    /// The connection ended, or what came was no HTTP, before an answer was whole.
    Interrupted,
    /// The request could not even be made.
    Request,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFault {
    Refused,
    Unreachable,
    TimedOut,
    Closed,
    Other,
}

/// Why the API was not trusted, or did not agree on how to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    Expired,
    NotYetValid,
    UnknownIssuer,
    WrongName,
    Revoked,
    Certificate,
    Handshake,
}

impl NoAnswer {
    /// Reads a failure of the exchange, at whatever point of it.
    pub fn of(error: &reqwest::Error) -> Self {
        if error.is_builder() {
            return Self { kind: FailureKind::Request, sent: false };
        }
        // The client's own connect time-out is shorter than its total one, so a request that
        // timed out any other way had a connection to go out on.
        if error.is_connect() {
            return Self { kind: connect_kind(error), sent: false };
        }
        let kind = if error.is_timeout() { FailureKind::Timeout } else { FailureKind::Interrupted };
        Self { kind, sent: true }
    }
}

fn connect_kind(error: &reqwest::Error) -> FailureKind {
    if error.is_dns() {
        return FailureKind::Dns;
    }
    if error.is_timeout() {
        return FailureKind::Connect(ConnectFault::TimedOut);
    }
    let tls = || causes(error).find_map(|cause| cause.downcast_ref()).map(tls_fault).map(FailureKind::Tls);
    let connect = || causes(error).find_map(|cause| connect_fault(cause.downcast_ref::<io::Error>()?.kind()));
    tls().unwrap_or_else(|| FailureKind::Connect(connect().unwrap_or(ConnectFault::Other)))
}

/// Returns the causes from outside in, also those an [`io::Error`] wraps: its own `source` skips them.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| {
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map_or_else(|| cause.source(), |inner| Some(inner))
    })
}

fn connect_fault(kind: ErrorKind) -> Option<ConnectFault> {
    match kind {
        ErrorKind::ConnectionRefused => Some(ConnectFault::Refused),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            Some(ConnectFault::Unreachable)
        }
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::UnexpectedEof => {
            Some(ConnectFault::Closed)
        }
        _ => None,
    }
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return TlsFault::Handshake;
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYetValid,
        CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
        CertificateError::Revoked => TlsFault::Revoked,
        _ => TlsFault::Certificate,
    }
}

impl FailureKind {
    /// Returns the kind as one of a few words, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("host name not found (DNS)"),
            Self::Connect(fault) => f.write_str(match fault {
                ConnectFault::Refused => "connection refused",
                ConnectFault::Unreachable => "network unreachable",
                ConnectFault::TimedOut => "connection timed out",
                ConnectFault::Closed => "connection closed before the request was sent",
                ConnectFault::Other => "no connection",
            }),
            Self::Tls(fault) => write!(f, "TLS: {fault}"),
            Self::Timeout => f.write_str("answer timed out"),
            Self::Interrupted => f.write_str("connection closed before the answer was complete"),
            Self::Request => f.write_str("the request couldn't be created"),
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "certificate expired",
            Self::NotYetValid => "certificate not yet valid",
            Self::UnknownIssuer => "certificate from an unknown issuer",
            Self::WrongName => "certificate for another name",
            Self::Revoked => "certificate revoked",
            Self::Certificate => "certificate not valid",
            Self::Handshake => "handshake failed",
        })
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}
