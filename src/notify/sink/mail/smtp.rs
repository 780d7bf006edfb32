//! One conversation with the mail server, which hands over one mail.

use std::net::SocketAddr;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tokio::time::timeout;

use super::failure::{MailFailure, Stage};
use crate::config::MailSecurity;

/// How long each of the server's addresses has to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the whole conversation may take, for a small mail.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A large mail has more time: so many bytes a second are slow, and not broken.
const BYTES_PER_SECOND_MIN: u64 = 64 * 1024;
/// How long to wait for the farewell. What matters is settled by then.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// The two that every server has one of. Over an encrypted connection they show the password to the server alone.
const LOGINS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// The server that mail is handed to.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: MailSecurity,
    pub(super) tls: TlsParameters,
    pub(super) credentials: Option<Credentials>,
    /// How this machine introduces itself.
    pub(super) hello: ClientId,
}

/// A mail as it goes over the wire, and between whom.
pub(super) struct Envelope<'a> {
    pub(super) from: &'a Address,
    pub(super) to: &'a Address,
    pub(super) mail: &'a [u8],
}

impl Server {
    /// Hands over a mail. It is taken once the server said so after the last byte.
    pub(super) async fn deliver(&self, envelope: &Envelope<'_>) -> Result<(), MailFailure> {
        let limit = WHOLE_TIMEOUT + Duration::from_secs(envelope.mail.len() as u64 / BYTES_PER_SECOND_MIN);
        let conversation = async {
            let mut connection = self.connect().await?;
            let delivered = self.converse(&mut connection, envelope).await;
            Ok((connection, delivered))
        };
        let (mut connection, delivered) =
            timeout(limit, conversation).await.map_err(|_elapsed| MailFailure::TimedOut(limit))??;
        // Where STARTTLS failed there is no stream any more: one word to it, and lettre panics.
        let has_stream = !matches!(delivered, Err(MailFailure::Smtp { stage: Stage::Encryption, .. }));
        if has_stream {
            // Not within the limit above: were it to run out here, a mail that was taken would be sent again.
            drop(timeout(QUIT_TIMEOUT, connection.abort()).await);
        }
        delivered
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, MailFailure> {
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(MailFailure::Dns)?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let tls = (self.security == MailSecurity::Tls).then(|| self.tls.clone());
        let connecting =
            AsyncSmtpConnection::connect_tokio1(addresses.as_slice(), Some(CONNECT_TIMEOUT), &self.hello, tls, None);
        connecting.await.map_err(|source| MailFailure::Smtp { stage: Stage::Connection, source })
    }

    async fn converse(&self, connection: &mut AsyncSmtpConnection, envelope: &Envelope<'_>) -> Result<(), MailFailure> {
        let at = |stage| move |source| MailFailure::Smtp { stage, source };
        if self.security == MailSecurity::StartTls {
            // Whoever sits between could have removed the offer: without it neither password nor mail leaves this machine.
            if !connection.can_starttls() {
                return Err(MailFailure::NoStartTls);
            }
            connection.starttls(self.tls.clone(), &self.hello).await.map_err(at(Stage::Encryption))?;
        }
        if let Some(credentials) = &self.credentials {
            if connection.server_info().get_auth_mechanism(&LOGINS).is_none() {
                return Err(MailFailure::NoLogin);
            }
            connection.auth(&LOGINS, credentials).await.map_err(at(Stage::Login))?;
        }
        let from = Mail::new(Some(envelope.from.clone()), Vec::new());
        connection.command(from).await.map_err(at(Stage::Sender))?;
        connection.command(Rcpt::new(envelope.to.clone(), Vec::new())).await.map_err(at(Stage::Recipient))?;
        connection.command(Data).await.map_err(at(Stage::Message))?;
        connection.message(envelope.mail).await.map_err(at(Stage::Message))?;
        Ok(())
    }
}
