//! Whom the gateway counts a request for, when it comes from outside: limits are per address, so this must be the
//! visitor's or plugin's own, not the proxy's.

use std::net::IpAddr;

use super::address::is_public;
use super::finding::{Check, Finding};
use crate::telemetry::{Arrival, ClientHeader};

/// Headers that say that there is a proxy, and don't name the client as `client_address` reads it.
const NOT_READ: [&str; 2] = ["via", "forwarded"];

/// Judges how a request of ours arrived. `is_local`: it was not sent from outside.
pub(super) fn judge(arrival: &Arrival, is_local: bool) -> Finding {
    let Some(peer) = arrival.peer else {
        return Finding::warn(Check::ClientAddress, "the peer has no address", "is a Unix socket in front?");
    };
    match &arrival.client_header {
        Some(header) => judge_header(header, arrival, peer, is_local),
        None => judge_peer(arrival, peer, is_local),
    }
}

fn judge_header(header: &ClientHeader, arrival: &Arrival, peer: IpAddr, is_local: bool) -> Finding {
    let ClientHeader { name, came } = header;
    let client = arrival.client.unwrap_or(peer);
    if !came {
        let cure = format!(
            "have the proxy send {name} (nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for), or unset \
             [server].client_address if there is no proxy"
        );
        let what = format!("without the header {name}: all clients count as {peer} and share its limit");
        return Finding::warn(Check::ClientAddress, what, cure);
    }
    if !arrival.peer_is_trusted {
        let what = format!("{peer} isn't in [server].trusted_proxies, so its {name} isn't believed");
        return Finding::warn(Check::ClientAddress, what, format!("add \"{peer}\" to [server].trusted_proxies"));
    }
    if !is_local && (client == peer || !is_public(client)) {
        let what = format!("the client is seen as {client}, which is no address of the internet");
        let cure = format!(
            "if another proxy is in between, add its address to [server].trusted_proxies and have it send {name} too; if \
             this machine reaches its public address from inside its network, run the doctor from outside with --admin"
        );
        return Finding::warn(Check::ClientAddress, what, cure);
    }
    Finding::ok(Check::ClientAddress, format!("this request came as {client}, by {name}"))
}

fn judge_peer(arrival: &Arrival, peer: IpAddr, is_local: bool) -> Finding {
    let header = arrival.proxy_headers.iter().find(|name| !NOT_READ.contains(&name.as_str()));
    let is_behind_proxy = !arrival.proxy_headers.is_empty() || (!is_local && !is_public(peer));
    if !is_behind_proxy {
        return Finding::ok(Check::ClientAddress, format!("this request came from {peer}, without a proxy"));
    }
    let what = format!("a proxy at {peer} is in front: all clients count as {peer} and share its limit");
    let cure = match header {
        Some(name) => format!(
            "set [server].client_address = \"{name}\", and trusted_proxies = [\"{peer}\"] unless it is there already"
        ),
        None => format!(
            "have the proxy send X-Forwarded-For, and set [server].client_address = \"x-forwarded-for\" and \
             trusted_proxies = [\"{peer}\"]. Is there no proxy? Then run the doctor from outside with --admin"
        ),
    };
    Finding::warn(Check::ClientAddress, what, cure)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    fn arrival(peer: &str, client: &str) -> Arrival {
        let ip = |text: &str| Some(text.parse().expect("an IP"));
        Arrival {
            peer: ip(peer),
            client: ip(client),
            peer_is_trusted: true,
            client_header: None,
            proxy_headers: Vec::new(),
            shown: None,
        }
    }

    fn by_header(came: bool) -> Option<ClientHeader> {
        Some(ClientHeader { name: "x-forwarded-for".to_owned(), came })
    }

    const PROXY: &str = "127.0.0.1";
    const VISITOR: &str = "203.0.113.7";

    #[test]
    fn a_configured_header_must_come_from_a_trusted_proxy() {
        let good = Arrival { client_header: by_header(true), ..arrival(PROXY, VISITOR) };
        assert_eq!(judge(&good, false).grade, Grade::Ok);
        let missing = Arrival { client_header: by_header(false), ..arrival(PROXY, PROXY) };
        assert!(judge(&missing, false).what.contains("share its limit"));
        let untrusted = Arrival {
            peer_is_trusted: false,
            ..Arrival { client_header: by_header(true), ..arrival(VISITOR, VISITOR) }
        };
        assert!(judge(&untrusted, false).cure.is_some_and(|cure| cure.contains("203.0.113.7")));
        let second_proxy = Arrival { client_header: by_header(true), ..arrival(PROXY, "10.0.0.3") };
        assert!(judge(&second_proxy, false).what.contains("10.0.0.3"));
        assert_eq!(judge(&second_proxy, true).grade, Grade::Ok, "the request was sent from inside");
    }

    #[test]
    fn a_proxy_that_is_not_configured_is_noticed() {
        assert_eq!(judge(&arrival(VISITOR, VISITOR), false).grade, Grade::Ok);
        assert_eq!(judge(&arrival(PROXY, PROXY), true).grade, Grade::Ok, "a trial on this machine");
        let silent = judge(&arrival(PROXY, PROXY), false);
        assert!(silent.cure.is_some_and(|cure| cure.contains("have the proxy send X-Forwarded-For")));
        let proxy_headers = ["via", "x-real-ip"].map(str::to_owned).to_vec();
        let named = judge(&Arrival { proxy_headers, ..arrival(PROXY, PROXY) }, true);
        assert!(named.cure.is_some_and(|cure| cure.contains("client_address = \"x-real-ip\"")));
    }
}
