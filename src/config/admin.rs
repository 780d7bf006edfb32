//! `[admin]`.

use std::net::SocketAddr;

use super::advice::warn_of_open_admin;
use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::secret::{Sources, secret};
use super::server::address;
use super::snapshot::Admin;

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "[admin]",
    about: "The listener for health checks, metrics, the console and the admin API.",
    keys: &[
        Key::new("listen", KeyShape::Text("IP address and port"), "Where to listen.").text("127.0.0.1:8081"),
        Key::new("token", KeyShape::TextOr("string", "a secret"), "What the admin API and the console ask for.")
            .words("made at the first start, in `admin.token` in the data folder"),
        Key::new(
            "hosts",
            KeyShape::Texts("host names"),
            "Names besides the listener's own address that `Host` may give. Other requests are refused.",
        )
        .texts(&[]),
        Key::new(
            "site_metrics",
            KeyShape::Number(0, SITE_METRICS_MAX),
            "How many sites get metrics of their own, in the order of their ids; 0 is none.",
        )
        .number(1000),
        Key::new(
            "mask",
            KeyShape::Flag,
            "Hides visitors' e-mail addresses and phone numbers in the admin API and the console until somebody \
             asks for them.",
        )
        .flag(false),
    ],
};

/// Most sites with metrics of their own: each has ten series or so.
const SITE_METRICS_MAX: u32 = 100_000;
/// Shorter tokens can be guessed, in bytes.
const TOKEN_SAFE: usize = 16;

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            token: None,
            hosts: Vec::new(),
            site_metrics: 1_000,
            mask: false,
        }
    }
}

/// Compiles `[admin]`.
pub(super) fn compile(table: &Table<'_>, sources: &Sources) -> Option<Admin> {
    let default = Admin::default();
    let listen = table.or("listen", default.listen, |value| {
        let address = address(value)?;
        warn_of_open_admin(value, address.ip());
        Some(address)
    });
    // Without it the API takes the token that is made at the first start.
    let token = table.get("token").and_then(|value| {
        let token = table.file().aside(|| secret(&value, sources))?;
        if token.expose().len() < TOKEN_SAFE {
            value.warn("`token` is short enough to guess", Some("make one with `openssl rand -base64 32`"));
        }
        Some(token)
    });
    let hosts = table.or("hosts", default.hosts, |value| value.list_of(super::site::host));
    let site_metrics = table.or("site_metrics", default.site_metrics, |value| value.number(SITE_METRICS_MAX));
    let mask = table.or("mask", default.mask, Value::boolean);
    Some(Admin { listen: listen?, token, hosts: hosts?, site_metrics: site_metrics?, mask: mask? })
}
