//! `[server]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use jiff::civil::Date;
use toml::de::DeValue;

use super::advice::warn_of_open_doors;
use super::certificate::warn_of_expiry;
use super::diagnostic::Severity;
use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::secret::{Sources, warn_of_readers};
use super::snapshot::{Listen, Server};
use super::values;
use crate::lead::SiteId;

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "[server]",
    about: "The listener that forms post to.",
    keys: &[
        Key::new(
            "listen",
            KeyShape::TextsOr("IP address and port", "a listen address"),
            "Where to listen: one address, or a list.",
        )
        .text("127.0.0.1:8080"),
        Key::new(
            "tls",
            KeyShape::Table("tls"),
            "Serves HTTPS on every address that has no `tls` of its own. Without it: plain HTTP.",
        ),
        Key::new(
            "public_url",
            KeyShape::Text("URL"),
            "The public address of the gateway: scheme, host and perhaps port. Every URL that formgate shows begins \
             with it; without it, with the first listen address.",
        ),
        Key::new(
            "data",
            KeyShape::Text("path"),
            "The folder for the admin token, the admin socket, the audit log, the spool and the last-good \
             configuration.",
        )
        .words("the folder of a SQLite store, else `data` beside `config.toml`"),
        Key::new(
            "client_address",
            KeyShape::Text("header name"),
            "The header in which a trusted proxy passes the visitor's address, such as `x-forwarded-for`. Without \
             it the peer's address counts.",
        ),
        Key::new(
            "trusted_proxies",
            KeyShape::Texts("networks"),
            "The proxies whose `client_address` header is believed.",
        )
        .texts(&["127.0.0.1/32", "::1/128"]),
        Key::new(
            "max_body",
            KeyShape::Size,
            "The most that is kept of a submission, after uploads are reduced to name and size. Over it: 413.",
        )
        .text("1MiB"),
        Key::new(
            "max_upload",
            KeyShape::Size,
            "The most that is read of one request. At least `max_body`. Over it: 413.",
        )
        .text("25MiB"),
        Key::new(
            "max_reading",
            KeyShape::Size,
            "The most memory for all bodies that are being read at one time. At least `max_upload`. Over it: 503.",
        )
        .text("256MiB"),
    ],
};
pub(super) const LISTEN: KnownKeys = KnownKeys {
    table: "a listen address",
    about: "An item of `listen` that is written as a table.",
    keys: &[
        Key::new(
            "address",
            KeyShape::Text("IP address and port"),
            "Where to listen, such as `127.0.0.1:8080` or `[::1]:8080`.",
        )
        .required(),
        Key::new("tls", KeyShape::Table("tls"), "Serves HTTPS on this address.").words("the `tls` of `[server]`"),
    ],
};
pub(super) const TLS: KnownKeys = KnownKeys {
    table: "tls",
    about: "A certificate for HTTPS. Renewed files are picked up without a restart.",
    keys: &[
        Key::new(
            "cert",
            KeyShape::Text("path"),
            "A PEM file with the certificate chain, the server's own certificate first.",
        )
        .required(),
        Key::new("key", KeyShape::Text("path"), "A PEM file with the private key, readable only by formgate's user.")
            .required(),
    ],
};

const MIB: u64 = 1024 * 1024;

impl Default for Server {
    fn default() -> Self {
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        Self {
            listen: vec![Listen { address: SocketAddr::from(([127, 0, 0, 1], 8080)), tls: None }],
            public_url: None,
            data: None,
            client_address: None,
            trusted_proxies: loopback.map(IpNet::from).into(),
            max_body: MIB,
            max_upload: 25 * MIB,
            max_reading: 256 * MIB,
        }
    }
}

impl Server {
    /// Returns where the gateway is reached, without a slash at the end: `public_url`, else its first listener from this
    /// machine.
    pub fn base_url(&self) -> String {
        let of_listener = || {
            let listen = self.listen.first();
            let scheme = if listen.is_some_and(|listen| listen.tls.is_some()) { "https" } else { "http" };
            listen.map_or_else(String::new, |listen| format!("{scheme}://{}", from_here(listen.address)))
        };
        self.public_url.clone().unwrap_or_else(of_listener)
    }

    /// Returns the URL that a site's forms post to.
    pub fn hook_url(&self, site: &SiteId) -> String {
        format!("{}/hooks/{site}", self.base_url())
    }
}

/// Returns where a listener on every interface is reached from this machine.
fn from_here(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => {}
        IpAddr::V4(_) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
    }
    address
}

/// Compiles `[server]`.
pub(super) fn compile(table: &Table<'_>, sources: &Sources, today: Date) -> Option<Server> {
    let default = Server::default();
    let files = TlsFiles { sources, today };
    let tls = table.read("tls", |value| files.read(value));
    let common = tls.clone().flatten();
    let common = common.as_ref();
    let listen = table.or("listen", with_tls(default.listen, common), |value| listen(value, common, &files));
    let public_url = table.read("public_url", origin);
    let data = table.read("data", |value| value.filled().map(|path| value.file().resolve(path)));
    let client_address = table.read("client_address", header_name);
    let trusted_proxies =
        table.or("trusted_proxies", default.trusted_proxies, |value| value.list_of(|item| item.parse(values::network)));
    let sizes = sizes(table);
    tls?;
    let [max_body, max_upload, max_reading] = sizes?;
    let server = Server {
        listen: listen?,
        public_url: public_url?,
        data: data?,
        client_address: client_address?,
        trusted_proxies: trusted_proxies?,
        max_body,
        max_upload,
        max_reading,
    };
    warn_of_open_doors(table, &server);
    Some(server)
}

/// Reads the address of the gateway as the world sees it: scheme, host and perhaps a port, nothing behind them.
fn origin(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?.trim_end_matches('/');
    let uri: Option<http::Uri> = text.parse().ok();
    let is_origin = uri.is_some_and(|uri| {
        let is_web = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        is_web && uri.path() == "/" && uri.query().is_none() && !text.contains(['@', '#'])
    });
    if !is_origin {
        let hint = "write only scheme and host: \"https://gate.agency.example\"";
        value.error(&format!("`{}` must be a URL without a path", value.key()), Some(hint));
        return None;
    }
    Some(text.to_owned())
}

fn listen(value: &Value<'_>, common: Option<&(PathBuf, PathBuf)>, files: &TlsFiles<'_>) -> Option<Vec<Listen>> {
    let list = value.one_or_more(|item| match item.inner() {
        DeValue::Table(_) => {
            let table = item.table(LISTEN)?;
            let address = table.need("address", address);
            let tls = table.read("tls", |value| files.read(value));
            Some(Listen { address: address?, tls: tls?.or_else(|| common.cloned()) })
        }
        _ => Some(Listen { address: address(item)?, tls: common.cloned() }),
    })?;
    if list.is_empty() {
        value.error("`listen` is empty", None);
    }
    Some(list)
}

fn with_tls(mut list: Vec<Listen>, common: Option<&(PathBuf, PathBuf)>) -> Vec<Listen> {
    for listen in &mut list {
        listen.tls = common.cloned();
    }
    list
}

/// Reads an address with its port.
pub(super) fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    let address = text.parse().ok();
    if address.is_none() {
        let hint = match text.strip_prefix(':').or_else(|| text.strip_prefix("localhost:")) {
            Some(port) => format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for every interface"),
            None => "write an IP address and a port: \"127.0.0.1:8080\", \"[::1]:8080\"".to_owned(),
        };
        value.error(&format!("`{}` is not an address to listen on", value.key()), Some(&hint));
    }
    address
}

/// Reads which files hold a certificate and its key, and warns of what is wrong with these.
struct TlsFiles<'a> {
    sources: &'a Sources,
    today: Date,
}

impl TlsFiles<'_> {
    fn read(&self, value: &Value<'_>) -> Option<(PathBuf, PathBuf)> {
        let table = value.table(TLS)?;
        let cert = table.need("cert", |value| {
            let path = existing_file(value)?;
            warn_of_expiry(value, &path, self.today);
            Some(path)
        });
        let key = table.need("key", |value| {
            let path = existing_file(value)?;
            warn_of_readers(value, value.key(), &path, self.sources);
            Some(path)
        });
        Some((cert?, key?))
    }
}

fn existing_file(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.file().resolve(value.filled()?);
    if path.is_file() {
        return Some(path);
    }
    // Else nobody would see that it has come.
    value.file().note_file(&path);
    let message = format!("`{}`: the file {} doesn't exist", value.key(), path.display());
    value.file().report(Severity::Unresolved, value.span(), &message, None);
    None
}

fn header_name(value: &Value<'_>) -> Option<String> {
    let name = value.parse(|text| http::HeaderName::try_from(text).map_err(|_invalid| "is not a header name"))?;
    Some(name.as_str().to_owned())
}

/// Reads the three sizes, each at least the one before; one left out moves with those given.
fn sizes(table: &Table<'_>) -> Option<[u64; 3]> {
    let default = Server::default();
    let keys = ["max_body", "max_upload", "max_reading"];
    let [body, upload, reading] = keys.map(|key| table.read(key, Value::size));
    let (body, upload, reading) = (body?, upload?, reading?);
    let given = [
        (body, "max_body", upload, "max_upload"),
        (upload, "max_upload", reading, "max_reading"),
        (body, "max_body", reading, "max_reading"),
    ];
    for (smaller, smaller_key, larger, larger_key) in given {
        if smaller.zip(larger).is_some_and(|(smaller, larger)| larger < smaller) {
            let message = format!("`{larger_key}` must not be below `{smaller_key}`");
            table.get(larger_key)?.error(&message, None);
            return None;
        }
    }
    let max_body = body.unwrap_or_else(|| default.max_body.min(upload.or(reading).unwrap_or(u64::MAX)));
    let max_upload = upload.unwrap_or_else(|| default.max_upload.max(max_body).min(reading.unwrap_or(u64::MAX)));
    Some([max_body, max_upload, reading.unwrap_or_else(|| default.max_reading.max(max_upload))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_the_worlds_else_the_one_from_this_machine() {
        let acme = SiteId::parse("acme").expect("an id");
        let mut server = Server::default();
        let mut listen = |address: &str, tls| {
            server.listen = vec![Listen { address: address.parse().expect("an address"), tls }];
            server.hook_url(&acme)
        };
        assert_eq!(listen("127.0.0.1:8080", None), "http://127.0.0.1:8080/hooks/acme");
        assert_eq!(listen("0.0.0.0:443", Some((PathBuf::new(), PathBuf::new()))), "https://127.0.0.1:443/hooks/acme");
        assert_eq!(listen("[::]:80", None), "http://[::1]:80/hooks/acme");
        server.public_url = Some("https://gate.agency.example".to_owned());
        assert_eq!(server.hook_url(&acme), "https://gate.agency.example/hooks/acme");
    }
}
