//! Why no answer came: a closed set, in words without the URL, which is often a secret in itself.

use std::error::Error;
use std::io::{self, ErrorKind};

use rustls::CertificateError;

use super::reach::PrivateAddress;
use super::{CONNECT_TIMEOUT, TIMEOUT};
use crate::notify::sink::SinkFailure;

/// Where it went wrong. `Display` is for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Private(#[from] PrivateAddress),
    #[error("the name can't be resolved")]
    Name,
    #[error("connection refused")]
    Refused,
    #[error("network unreachable")]
    Unreachable,
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout,
    #[error("no connection")]
    Connect,
    #[error("TLS: {0}")]
    Tls(&'static str),
    #[error("timed out after {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("connection closed before an answer came")]
    Interrupted,
    #[error("the URL can't be posted to")]
    Request,
}

impl Failure {
    /// Reads a failure of the exchange, at whatever point of it.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if let Some(private) = causes(error).find_map(|cause| cause.downcast_ref::<PrivateAddress>()) {
            return Self::Private(*private);
        }
        match (error.is_builder(), error.is_connect(), error.is_timeout()) {
            (true, _, _) => Self::Request,
            (_, true, true) => Self::ConnectTimeout,
            (_, true, false) => Self::of_connecting(error),
            (_, false, true) => Self::Timeout,
            (_, false, false) => Self::Interrupted,
        }
    }

    fn of_connecting(error: &reqwest::Error) -> Self {
        if error.is_dns() {
            return Self::Name;
        }
        let tls = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()).map(tls_words).map(Self::Tls);
        let connect = || causes(error).find_map(|cause| Self::of_socket(cause.downcast_ref::<io::Error>()?.kind()));
        tls.or_else(connect).unwrap_or(Self::Connect)
    }

    fn of_socket(kind: ErrorKind) -> Option<Self> {
        match kind {
            ErrorKind::ConnectionRefused => Some(Self::Refused),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
                Some(Self::Unreachable)
            }
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::UnexpectedEof => {
                Some(Self::Interrupted)
            }
            _ => None,
        }
    }
}

impl From<Failure> for SinkFailure {
    fn from(failure: Failure) -> Self {
        Self { why: failure.to_string(), retry_after: None, is_overload: false, is_refused: false }
    }
}

/// Returns the causes from outside in, also those an [`io::Error`] wraps: its own `source` skips them.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| {
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map_or_else(|| cause.source(), |inner| Some(inner))
    })
}

fn tls_words(error: &rustls::Error) -> &'static str {
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return "handshake failed";
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate not yet valid",
        CertificateError::UnknownIssuer => "certificate from an unknown issuer",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "certificate for another name"
        }
        CertificateError::Revoked => "certificate revoked",
        _ => "certificate not valid",
    }
}
