//! The addresses that are listened on, with the ports the system chose.

use std::net::SocketAddr;

use super::StartError;
use crate::accept::Listeners;
use crate::config::{Config, Listen};

/// Where the gateway and its admin API are reached.
pub(super) struct Bound {
    pub(super) gateway: Vec<Listen>,
    pub(super) admin: SocketAddr,
    pub(super) admin_is_bound: bool,
}

/// Listens on every address, and gives them back with the ports the system chose: the gateway's, and the admin's.
pub(super) fn bind_all(config: &Config, listeners: &Listeners, admin_is_broken: bool) -> Result<Bound, StartError> {
    let bind = |address: SocketAddr| listeners.bind(address).map_err(|source| StartError::Listen { address, source });
    let gateway: Vec<Listen> = config
        .server
        .listen
        .iter()
        .map(|listen| Ok(Listen { address: bind(listen.address)?, tls: listen.tls.clone() }))
        .collect::<Result<_, StartError>>()?;
    let (admin, admin_is_bound) = match bind(config.admin.listen) {
        Ok(address) => (address, true),
        // Nobody chose this address, or not now: submissions are taken without it. Its task tries again.
        Err(_) if admin_is_broken => (config.admin.listen, false),
        Err(error) => return Err(error),
    };
    let addresses: Vec<_> = gateway.iter().map(|listen| listen.address).chain([admin]).collect();
    listeners.keep_only(&addresses);
    Ok(Bound { gateway, admin, admin_is_bound })
}
