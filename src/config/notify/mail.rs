//! `[mail]`.

use percent_encoding::percent_decode_str;

use super::address::address;
use super::{Mail, MailAddress, MailSecurity};
use crate::config::reader::{Key, KeyShape, KnownKeys, Table, Value};
use crate::config::secret::{Sources, secret};
use crate::destination::is_loopback;
use crate::lead::Email;

pub(in crate::config) const KEYS: KnownKeys = KnownKeys {
    table: "[mail]",
    about: "The server that mail is sent through.",
    keys: &[
        Key::new(
            "smtp",
            KeyShape::Text("URL"),
            "The server: `smtps://USER@HOST:PORT` (TLS, port 465) or `smtp://USER@HOST:PORT` (STARTTLS, port 587; \
             unencrypted only to this machine). An `@` in the user is written `%40`.",
        )
        .required(),
        Key::new(
            "password",
            KeyShape::TextOr("string", "a secret"),
            "The password of the user in `smtp`. Required if there is one.",
        ),
        Key::new("from", KeyShape::Text("e-mail address"), "The sender.")
            .words("the user in `smtp`, if that is an address"),
    ],
};

/// Ports of a mail server that takes mail to pass on (RFC 8314).
const PORT_TLS: u16 = 465;
const PORT_STARTTLS: u16 = 587;

/// What `[mail]` gave.
#[derive(Clone)]
pub(in crate::config) enum WrittenMail {
    /// There is no such table.
    Absent,
    Sound(Mail),
    /// It is written well, but its password can't be had.
    Lacking,
}

impl WrittenMail {
    pub(in crate::config) fn is_sound(&self) -> bool {
        matches!(self, Self::Sound(_))
    }

    /// Returns the server that mail is handed to.
    pub(in crate::config) fn into_mail(self) -> Option<Mail> {
        match self {
            Self::Sound(mail) => Some(mail),
            Self::Absent | Self::Lacking => None,
        }
    }
}

/// Why a text names no mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidSmtpUrl {
    #[error("is not a mail server such as \"smtps://user@mail.example:465\" or \"smtp://user@mail.example:587\"")]
    Malformed,
    #[error("has a password in it: write it as `password`")]
    HasPassword,
    #[error("has an @ in its user: write that as %40")]
    PlainAt,
    #[error("must be only scheme, user, host and port")]
    NotAServer,
}

/// The server that `smtp` names.
#[derive(Debug, PartialEq, Eq)]
struct SmtpServer {
    host: String,
    port: u16,
    security: MailSecurity,
    user: Option<String>,
}

/// Compiles `[mail]`; what can't be had of it is no fault of the file.
pub(in crate::config) fn compile(root: &Table<'_>, sources: &Sources) -> Option<WrittenMail> {
    let Some(value) = root.get("mail") else { return Some(WrittenMail::Absent) };
    let table = value.table(KEYS)?;
    let server = table.need("smtp", smtp);
    let from = table.read("from", address);
    let from = from.and_then(|from| from.or_else(|| sender(&table, server.as_ref()?)));
    let password = table.get("password").map(|value| value.file().aside(|| secret(&value, sources)));
    let (server, from) = (server?, from?);
    match (&server.user, &password) {
        (Some(_), None) => {
            table.error(
                "`password` is missing in [mail]",
                Some("{ env = \"NAME\" } or { file = \"path\" } keeps it out of this file"),
            );
            return None;
        }
        (None, Some(_)) => {
            let place = table.get("password")?;
            place.error("`password` needs a user in `smtp`", Some("write smtps://user@host"));
            return None;
        }
        (Some(_), Some(None)) => return Some(WrittenMail::Lacking),
        (Some(_), Some(Some(_))) | (None, None) => {}
    }
    let SmtpServer { host, port, security, user } = server;
    Some(WrittenMail::Sound(Mail { host, port, security, user, password: password.flatten(), from }))
}

/// Takes the user as sender, where that is an address.
fn sender(table: &Table<'_>, server: &SmtpServer) -> Option<MailAddress> {
    let sender = server.user.as_deref().and_then(|user| Email::parse(user).ok());
    if sender.is_none() {
        table.error(
            "`from` is missing in [mail]",
            Some("the address that mails come from: from = \"formgate@agency.example\""),
        );
    }
    sender.map(|email| MailAddress(email.as_str().to_owned()))
}

fn smtp(value: &Value<'_>) -> Option<SmtpServer> {
    value.parse(SmtpServer::parse)
}

impl SmtpServer {
    fn parse(text: &str) -> Result<Self, InvalidSmtpUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidSmtpUrl::Malformed)?;
        let (user, server) = rest.rsplit_once('@').map_or((None, rest), |(user, server)| (Some(user), server));
        let user = user.map(user_name).transpose()?;
        let server = server.strip_suffix('/').unwrap_or(server);
        if server.contains(['/', '?', '#']) {
            return Err(InvalidSmtpUrl::NotAServer);
        }
        let server: http::uri::Authority = server.parse().map_err(|_invalid| InvalidSmtpUrl::Malformed)?;
        let host = server.host();
        let has_port = server.as_str().len() > host.len();
        let port = server.port_u16().filter(|port| *port != 0);
        if host.is_empty() || has_port && port.is_none() {
            return Err(InvalidSmtpUrl::Malformed);
        }
        let (security, default) = match scheme {
            "smtps" => (MailSecurity::Tls, PORT_TLS),
            "smtp" if is_loopback(host) => (MailSecurity::None, PORT_STARTTLS),
            "smtp" => (MailSecurity::StartTls, PORT_STARTTLS),
            _ => return Err(InvalidSmtpUrl::Malformed),
        };
        // Only URLs write an IPv6 address in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: port.unwrap_or(default), security, user })
    }
}

fn user_name(written: &str) -> Result<String, InvalidSmtpUrl> {
    if written.contains(':') {
        return Err(InvalidSmtpUrl::HasPassword);
    }
    if written.contains('@') {
        return Err(InvalidSmtpUrl::PlainAt);
    }
    let user = percent_decode_str(written).decode_utf8().map_err(|_no_text| InvalidSmtpUrl::Malformed)?;
    if user.is_empty() || user.chars().any(char::is_control) {
        return Err(InvalidSmtpUrl::Malformed);
    }
    Ok(user.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: u16, security: MailSecurity, user: Option<&str>) -> SmtpServer {
        SmtpServer { host: host.to_owned(), port, security, user: user.map(str::to_owned) }
    }

    #[test]
    fn a_mail_server_is_reached_encrypted_unless_it_is_this_machine() {
        use MailSecurity::{None as Plain, StartTls, Tls};
        for (text, expected) in [
            ("smtps://formgate@mail.example:465", server("mail.example", 465, Tls, Some("formgate"))),
            ("smtps://mail.example", server("mail.example", 465, Tls, None)),
            ("smtp://mail.example/", server("mail.example", 587, StartTls, None)),
            ("smtp://a%40b.example@mail.example:25", server("mail.example", 25, StartTls, Some("a@b.example"))),
            ("smtp://localhost:25", server("localhost", 25, Plain, None)),
            ("smtp://127.0.0.1", server("127.0.0.1", 587, Plain, None)),
            ("smtp://[::1]:25", server("::1", 25, Plain, None)),
            ("smtps://[2606:4700::1]", server("2606:4700::1", 465, Tls, None)),
            ("smtps://localhost", server("localhost", 465, Tls, None)),
        ] {
            assert_eq!(SmtpServer::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_names_no_mail_server_is_told_why() {
        use InvalidSmtpUrl::{HasPassword, Malformed, NotAServer, PlainAt};
        for (text, expected) in [
            ("mail.example", Malformed),
            ("https://mail.example", Malformed),
            ("smtps://", Malformed),
            ("smtps://@mail.example", Malformed),
            ("smtps://mail.example:0", Malformed),
            ("smtps://mail.example:", Malformed),
            ("smtps://mail.example:70000", Malformed),
            ("smtps://a%0d@mail.example", Malformed),
            ("smtps://u:hush@mail.example", HasPassword),
            ("smtps://u:hu@sh@mail.example", HasPassword),
            ("smtps://u@b.example@mail.example", PlainAt),
            ("smtps://mail.example/inbox", NotAServer),
            ("smtps://mail.example?tls=1", NotAServer),
        ] {
            assert_eq!(SmtpServer::parse(text), Err(expected), "{text}");
        }
    }
}
