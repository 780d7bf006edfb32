//! Whether `Host` names the admin listener.

use std::net::IpAddr;

use http::{HeaderMap, header};

use crate::config::Admin;
use crate::http::without_port;

/// Tells whether the one `Host` is the listener's address, a name of this machine's loopback, or configured.
pub(super) fn names_listener(headers: &HeaderMap, admin: &Admin) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    host.to_str().is_ok_and(|host| names(host, admin))
}

fn names(host: &str, admin: &Admin) -> bool {
    let name = without_port(host);
    if admin.hosts.iter().any(|own| own.eq_ignore_ascii_case(name) || own.eq_ignore_ascii_case(host)) {
        return true;
    }
    let listen = admin.listen.ip();
    let local = listen.is_loopback() || listen.is_unspecified();
    match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        // No name resolves to a number: who writes an address means it.
        Ok(address) => address == listen || listen.is_unspecified() || (local && address.is_loopback()),
        Err(_name) => local && name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(listen: &str, hosts: &[&str]) -> Admin {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        Admin { listen: listen.parse().expect("an address"), hosts, ..Admin::default() }
    }

    #[test]
    fn the_listener_is_called_by_its_address_or_as_this_machine() {
        let local = admin("127.0.0.1:8081", &[]);
        for own in ["127.0.0.1:8081", "127.0.0.1", "localhost:8081", "LocalHost", "[::1]:8081", "[::1]"] {
            assert!(names(own, &local), "{own}");
        }
        for foreign in
            ["evil.example", "evil.example:8081", "localhost.evil.example", "192.0.2.1:8081", "", "[::2]:8081"]
        {
            assert!(!names(foreign, &local), "{foreign}");
        }
    }

    #[test]
    fn a_public_listener_is_called_by_its_address_or_a_configured_name() {
        let public = admin("192.0.2.1:8081", &["ops.example"]);
        assert!(names("192.0.2.1:8081", &public));
        assert!(names("Ops.example:8081", &public));
        assert!(!names("localhost:8081", &public));
        assert!(names("192.0.2.7:8081", &admin("0.0.0.0:8081", &[])));
        assert!(!names("evil.example", &admin("0.0.0.0:8081", &[])));
    }
}
