//! The URL of a PostgreSQL store: which servers, which database, and how the connection is encrypted.
//!
//! `postgres://user:password@host1,host2:5433/database?sslmode=verify-full&sslrootcert=ca.pem`. All that libpq reads in such
//! a URL is read, but for what would let a connection fall back to plain text. Where several hosts are named, the one that
//! takes writes is used.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long one host may take to accept a connection, unless `connect_timeout` says otherwise: then the next is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long data that was sent may stay without an answer from the other machine before the connection counts as lost.
const UNANSWERED_MAX: Duration = Duration::from_secs(5);
/// The parameters that PostgreSQL's client library knows and this program reads itself.
const OWN_PARAMETERS: [&str; 2] = ["sslmode", "sslrootcert"];

/// Where a PostgreSQL store is.
///
/// `Debug` and `Display` leave out the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    config: Config,
    tls: PostgresTls,
}

/// How a connection to PostgreSQL is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresTls {
    /// Not at all: `sslmode=disable`, the default on this machine.
    Off,
    /// TLS with a certificate that is good for the host's name: by an authority that the system trusts, or by one of a file.
    Verified { authorities: Option<PathBuf> },
}

/// Why a text isn't the URL of a PostgreSQL store. Says nothing of the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPostgresUrl {
    #[error("it doesn't begin with postgres://")]
    Scheme,
    #[error("it can't be read: {0}")]
    Unreadable(String),
    #[error("it names no host")]
    NoHost,
    #[error("`hostaddr` isn't read; name the host that its certificate is for")]
    HostAddress,
    #[error("it names no user")]
    NoUser,
    #[error("it names no database")]
    NoDatabase,
    #[error("`sslmode` is {0}, which may send passwords and leads in plain text; write verify-full or disable")]
    MayFallBack(&'static str),
    #[error("`sslmode` must be verify-full or disable")]
    SslMode,
    #[error("`sslrootcert` needs sslmode=verify-full")]
    AuthoritiesWithoutTls,
}

impl PostgresUrl {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, InvalidPostgresUrl> {
        let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        if !is_postgres {
            return Err(InvalidPostgresUrl::Scheme);
        }
        let (own, rest) = take_own(text);
        let mut config: Config = rest.parse().map_err(|error| InvalidPostgresUrl::Unreadable(in_words(&error)))?;
        check_complete(&config)?;
        let tls = read_tls(&config, own)?;
        config.ssl_mode(if tls == PostgresTls::Off { SslMode::Disable } else { SslMode::Require });
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("formgate");
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNANSWERED_MAX);
        }
        Ok(Self { config, tls })
    }

    /// Returns what a connection is opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns how a connection is encrypted.
    pub fn tls(&self) -> &PostgresTls {
        &self.tls
    }

    /// Reads the file of authorities relative to a folder, where it is named relatively.
    #[must_use]
    pub fn relative_to(mut self, folder: &std::path::Path) -> Self {
        if let PostgresTls::Verified { authorities: Some(file) } = &mut self.tls {
            *file = folder.join(&file);
        }
        self
    }
}

/// Takes the parameters that this program reads itself out of the query.
fn take_own(text: &str) -> (Vec<(String, String)>, String) {
    let Some((before, query)) = text.split_once('?') else { return (Vec::new(), text.to_owned()) };
    let mut own = Vec::new();
    let mut rest = Vec::new();
    for part in query.split('&') {
        match part.split_once('=') {
            Some((name, value)) if OWN_PARAMETERS.contains(&name) => {
                own.push((name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned()));
            }
            _ => rest.push(part),
        }
    }
    let question_mark = if rest.is_empty() { "" } else { "?" };
    (own, format!("{before}{question_mark}{}", rest.join("&")))
}

/// tokio-postgres' words: they name a parameter, never its value.
fn in_words(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

fn check_complete(config: &Config) -> Result<(), InvalidPostgresUrl> {
    if !config.get_hostaddrs().is_empty() {
        return Err(InvalidPostgresUrl::HostAddress);
    }
    if config.get_hosts().is_empty() {
        return Err(InvalidPostgresUrl::NoHost);
    }
    if config.get_user().is_none() {
        return Err(InvalidPostgresUrl::NoUser);
    }
    config.get_dbname().map(|_name| ()).ok_or(InvalidPostgresUrl::NoDatabase)
}

fn read_tls(config: &Config, own: Vec<(String, String)>) -> Result<PostgresTls, InvalidPostgresUrl> {
    let mut mode = None;
    let mut authorities = None;
    for (name, value) in own {
        match name.as_str() {
            "sslmode" => mode = Some(value),
            _ => authorities = Some(PathBuf::from(value)),
        }
    }
    let is_verified = match mode.as_deref() {
        None => !config.get_hosts().iter().all(is_on_this_machine),
        Some("disable") => false,
        // Who asks for an encrypted connection means one that nobody reads: without a look at the certificate anybody could.
        Some("require" | "verify-ca" | "verify-full") => true,
        Some("prefer") => return Err(InvalidPostgresUrl::MayFallBack("prefer")),
        Some("allow") => return Err(InvalidPostgresUrl::MayFallBack("allow")),
        Some(_) => return Err(InvalidPostgresUrl::SslMode),
    };
    match (is_verified, authorities) {
        (true, authorities) => Ok(PostgresTls::Verified { authorities }),
        (false, None) => Ok(PostgresTls::Off),
        (false, Some(_)) => Err(InvalidPostgresUrl::AuthoritiesWithoutTls),
    }
}

fn is_on_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let ports = self.config.get_ports();
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                #[cfg(unix)]
                Host::Unix(folder) => write!(f, "{}", folder.display())?,
            }
            // One port stands for all hosts.
            if let Some(port) = ports.get(at).or(ports.first()).filter(|port| **port != 5432) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(url: &str) -> Result<PostgresTls, InvalidPostgresUrl> {
        PostgresUrl::parse(url).map(|url| url.tls)
    }

    #[test]
    fn a_connection_to_another_machine_is_verified_unless_it_says_otherwise() {
        let verified = PostgresTls::Verified { authorities: None };
        for url in [
            "postgres://u@db.example/leads",
            "postgresql://u:p@db.example,other.example:5433/leads?sslmode=verify-full",
            "postgres://u@db.example/leads?sslmode=require",
            "postgres://u@10.0.0.1,localhost/leads",
            "postgres://u@127.0.0.1/leads?sslmode=verify-ca",
        ] {
            assert_eq!(tls(url), Ok(verified.clone()), "{url}");
        }
        for url in [
            "postgres://u@localhost/leads",
            "postgres://u@127.0.0.1,[::1]/leads",
            "postgres://u@%2Frun%2Fpostgresql/leads",
            "postgres://u@db.example/leads?sslmode=disable",
        ] {
            assert_eq!(tls(url), Ok(PostgresTls::Off), "{url}");
        }
        let named = "postgres://u@db.example/leads?sslrootcert=ca%20one.pem&application_name=x";
        assert_eq!(tls(named), Ok(PostgresTls::Verified { authorities: Some("ca one.pem".into()) }));
        let url = PostgresUrl::parse(named).expect("a URL").relative_to(std::path::Path::new("/etc"));
        assert_eq!(url.tls, PostgresTls::Verified { authorities: Some("/etc/ca one.pem".into()) });
    }

    #[test]
    fn what_is_missing_or_unsafe_is_named() {
        use InvalidPostgresUrl::*;
        for (url, expected) in [
            ("sqlite:leads.db", Scheme),
            ("postgres:///leads?user=u", NoHost),
            ("postgres://u@localhost/leads?hostaddr=10.0.0.5", HostAddress),
            ("postgres://db.example/leads", NoUser),
            ("postgres://u@db.example", NoDatabase),
            ("postgres://u@db.example/leads?sslmode=prefer", MayFallBack("prefer")),
            ("postgres://u@db.example/leads?sslmode=allow", MayFallBack("allow")),
            ("postgres://u@db.example/leads?sslmode=on", SslMode),
            ("postgres://u@localhost/leads?sslrootcert=ca.pem", AuthoritiesWithoutTls),
        ] {
            assert_eq!(tls(url), Err(expected), "{url}");
        }
        let error = tls("postgres://u:hunter2@db.example/leads?sslcert=hunter2").expect_err("not known");
        assert!(matches!(&error, Unreadable(words) if words.contains("sslcert")), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn the_password_is_not_shown() {
        let url = PostgresUrl::parse("postgres://jane:hunter2@one.example:6000,two.example:6001/leads").expect("a URL");
        assert_eq!(url.to_string(), "postgres://one.example:6000,two.example:6001/leads");
        assert_eq!(format!("{url:?}"), "PostgresUrl(postgres://one.example:6000,two.example:6001/leads)");
        let plain = PostgresUrl::parse("postgres://jane:hunter2@db.example/leads").expect("a URL");
        assert_eq!(plain.to_string(), "postgres://db.example/leads");
    }
}
