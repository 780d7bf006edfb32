//! Why a mail wasn't taken, in words that hold neither an address nor anything the server said: servers quote addresses.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::time::Duration;

use lettre::transport::smtp::Error as SmtpError;
use rustls::CertificateError;

use crate::notify::sink::SinkFailure;

/// Answers that say "not now": the service closes, the mailbox is busy or full, too much at once (RFC 5321 §4.2.3).
const OVERLOAD: [u16; 4] = [421, 450, 451, 452];

/// Why a mail wasn't taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum MailFailure {
    /// `[mail]`'s own host: neither a recipient's domain nor anything of a person.
    #[error("the mail server's name can't be resolved")]
    Dns(#[source] io::Error),
    #[error("{}", told(*stage, source))]
    Smtp { stage: Stage, source: SmtpError },
    #[error("the server doesn't offer STARTTLS, so nothing was sent; use smtps:// if it has that")]
    NoStartTls,
    #[error("the server offers no login that formgate knows (PLAIN or LOGIN)")]
    NoLogin,
    #[error("timed out after {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("the address can't be written into a mail")]
    Address(#[source] lettre::address::AddressError),
    #[error("the mail can't be written")]
    Letter(#[source] lettre::error::Error),
}

/// How far the conversation with the server got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connection,
    Encryption,
    Login,
    Sender,
    Recipient,
    Message,
}

impl MailFailure {
    /// Tells it to whoever sends again later.
    pub(super) fn into_sink_failure(self) -> SinkFailure {
        let code = match &self {
            Self::Smtp { source, .. } => source.status().map(u16::from),
            _ => None,
        };
        SinkFailure {
            why: self.to_string(),
            retry_after: None,
            is_overload: code.is_some_and(|code| OVERLOAD.contains(&code)),
            is_refused: matches!(&self, Self::Smtp { stage: Stage::Message, source } if source.is_permanent()),
        }
    }
}

fn told(stage: Stage, error: &SmtpError) -> String {
    let what = match stage {
        Stage::Connection => "the connection",
        Stage::Encryption => "STARTTLS",
        Stage::Login => "the login",
        Stage::Sender => "the sender's address",
        Stage::Recipient => "the recipient",
        Stage::Message => "the message",
    };
    if let Some(code) = error.status() {
        let for_now = if error.is_transient() { " for now" } else { "" };
        return format!("the server refused {what}{for_now} ({code})");
    }
    if let Some(fault) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return format!("TLS: {}", tls_fault(fault));
    }
    if error.is_tls() {
        return "TLS: no agreement with the server".to_owned();
    }
    let fault = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    match fault {
        Some(fault) => connection_fault(fault.kind()).to_owned(),
        None => "the server gave no answer that mail servers give".to_owned(),
    }
}

/// Returns the causes from outside in, also those an [`io::Error`] wraps: its own `source` skips them.
fn causes(error: &SmtpError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| {
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map_or_else(|| cause.source(), |inner| Some(inner))
    })
}

fn connection_fault(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            "the server is unreachable"
        }
        ErrorKind::TimedOut => "timed out while connecting",
        ErrorKind::InvalidData => "TLS: no agreement with the server",
        _ => "the server closed the connection",
    }
}

fn tls_fault(error: &rustls::Error) -> &'static str {
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return "no agreement with the server";
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate isn't valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name"
        }
        _ => "the certificate isn't trusted",
    }
}
