//! Mail: hands events to the mail server of `[mail]`, one mail to one address at a time.
//!
//! A [`letter`] tells of one event or sums up several ([`page`]), as plain text and as simple HTML ([`plain`], [`html`]); [`smtp`]
//! hands it over. Each mail has a connection of its own: mails are few by design, servers close what is idle, and a connection
//! that broke while it lay in a pool would look like a failure of the next mail.

mod failure;
mod html;
mod letter;
mod page;
mod plain;
mod smtp;

use lettre::Address;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use failure::MailFailure;
use letter::Letter;
use smtp::{Envelope, Server};

use super::Sent;
use crate::config::{Mail, MailAddress};
use crate::notify::notice::{LeadContent, Notice};

/// Most bytes of leads' contents in one mail. Both parts of a mail hold a content, encoded: that makes a mail of some 3 MB, and of
/// 8 MB where each character has to be escaped. Servers take 10 MB and more.
const CONTENT_MAX: usize = 1024 * 1024;

/// Sends mails by one mail server.
pub struct Mailer {
    server: Server,
    from: Address,
}

/// Mail can't be sent with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum MailSetupError {
    #[error("[mail] from can't be written into a mail")]
    From(#[source] lettre::address::AddressError),
    #[error("the certificates that mail servers are checked with can't be used")]
    Roots(#[source] lettre::transport::smtp::Error),
}

impl Mailer {
    /// Prepares to send; nothing is connected yet. Certificates are checked with those that the system trusts.
    pub fn new(mail: &Mail) -> Result<Self, MailSetupError> {
        Self::with_roots(mail, None)
    }

    /// Prepares to send, to servers whose certificate one of these authorities (PEM) vouches for and no other.
    pub fn with_roots(mail: &Mail, roots: Option<&[u8]>) -> Result<Self, MailSetupError> {
        let mut tls = TlsParameters::builder(mail.host.clone());
        if let Some(pem) = roots {
            let authority = Certificate::from_pem(pem).map_err(MailSetupError::Roots)?;
            tls = tls.certificate_store(CertificateStore::None).add_root_certificate(authority);
        }
        let login = mail.user.clone().zip(mail.password.as_ref().map(|password| password.expose().to_owned()));
        let server = Server {
            host: mail.host.clone(),
            port: mail.port,
            security: mail.security,
            tls: tls.build().map_err(MailSetupError::Roots)?,
            credentials: login.map(|(user, password)| Credentials::new(user, password)),
            hello: ClientId::default(),
        };
        Ok(Self { server, from: mail.from.as_str().parse().map_err(MailSetupError::From)? })
    }

    /// Sends one mail to one address, which tells of all these events; there must be one at least. `gateway` is the public URL.
    ///
    /// A mail that was sent twice has the same `Message-ID`.
    pub async fn send(&self, to: &MailAddress, notices: &[Notice], gateway: &str) -> Sent {
        match self.try_send(to, notices, gateway).await {
            Ok(()) => Sent::Taken,
            Err(failure) => Sent::Failed(failure.into_sink_failure()),
        }
    }

    async fn try_send(&self, to: &MailAddress, notices: &[Notice], gateway: &str) -> Result<(), MailFailure> {
        let to: Address = to.as_str().parse().map_err(MailFailure::Address)?;
        let letter = Letter { from: &self.from, to: &to, notices, gateway };
        let mail = letter.write().map_err(MailFailure::Letter)?;
        self.server.deliver(&Envelope { from: &self.from, to: &to, mail: &mail }).await
    }
}

/// Returns how many of these events, from the first on, one mail can tell of without growing too large for a server; one at least.
pub fn fitting(notices: &[Notice]) -> usize {
    let mut room = CONTENT_MAX;
    let fits = |notice: &&Notice| {
        let rest = room.checked_sub(content_bytes(notice));
        room = rest.unwrap_or(0);
        rest.is_some()
    };
    notices.iter().take_while(fits).count().max(1)
}

fn content_bytes(notice: &Notice) -> usize {
    match notice.lead().and_then(|data| data.lead.content.as_ref()) {
        Some(LeadContent::Lead(lead)) => lead.name().len() + lead.email().len() + lead.message().len(),
        Some(LeadContent::Unreadable(sent)) => {
            sent.fields.iter().map(|field| field.label.len() + field.value.len()).sum()
        }
        None => 0,
    }
}
