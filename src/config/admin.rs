//! `[admin]`.

use std::net::SocketAddr;

use super::reader::{Keys, Table};
use super::secret::{Sources, secret};
use super::server::address;
use super::snapshot::Admin;

pub(super) const KEYS: Keys = Keys { table: "[admin]", keys: &["listen", "token", "hosts"] };

/// Shorter tokens can be guessed, in bytes.
const TOKEN_SAFE: usize = 16;

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), token: None, hosts: Vec::new() }
    }
}

/// Compiles `[admin]`.
pub(super) fn compile(table: &Table<'_>, sources: &Sources) -> Option<Admin> {
    let default = Admin::default();
    let listen = table.or("listen", default.listen, address);
    let token = table.read("token", |value| {
        let token = secret(value, sources)?;
        if token.expose().len() < TOKEN_SAFE {
            value.warn("`token` is short enough to be guessed", Some("`openssl rand -base64 32` makes a good one"));
        }
        Some(token)
    });
    let hosts = table.or("hosts", default.hosts, |value| value.list_of(super::site::host));
    Some(Admin { listen: listen?, token: token?, hosts: hosts? })
}
