//! The public address: can WordPress reach its port, does its name lead somewhere, does somebody listen there?

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::finding::{Check, Finding};

/// What `wp_safe_remote_post` accepts: the HTTP call that many plugins use.
const WORDPRESS_PORTS: [u16; 3] = [80, 443, 8080];
/// For the name, and for each connection.
const LOOKUP_TIME: Duration = Duration::from_secs(5);
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Where the world reaches the gateway: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicAddress {
    /// Without a slash at the end.
    pub(super) url: String,
    pub(super) is_https: bool,
    /// A name, or an address without brackets.
    host: String,
    port: u16,
}

/// What came of a connection to one address of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    address: IpAddr,
    answers: bool,
}

impl PublicAddress {
    /// Reads a URL that has nothing behind its host.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let url = text.trim_end_matches('/');
        let uri: http::Uri = url.parse().ok()?;
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_origin = uri.path() == "/" && uri.query().is_none() && !url.contains(['@', '#']);
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        (is_origin && !host.is_empty()).then(|| Self { url: url.to_owned(), is_https, host, port })
    }

    /// Judges what the URL alone says.
    pub(super) fn judge(&self) -> Vec<Finding> {
        vec![self.judge_scheme(), self.judge_port()]
    }

    fn judge_scheme(&self) -> Finding {
        let url = &self.url;
        if self.is_local() {
            let what = format!("{url} can be reached from this machine or its network only");
            return Finding::warn(Check::Url, what, "fine for a trial; plugins elsewhere need a public https address");
        }
        if self.is_https {
            return Finding::ok(Check::Url, url);
        }
        let what = format!("{url} isn't encrypted: others can read tokens and visitors' data on the way");
        let cure = "serve https: [server].tls, or a proxy with a certificate in front; then change public_url and the \
                    URLs in the plugins";
        Finding::bad(Check::Url, what, cure)
    }

    fn judge_port(&self) -> Finding {
        let port = self.port;
        if WORDPRESS_PORTS.contains(&port) {
            return Finding::ok(Check::Port, format!("WordPress posts to port {port}"));
        }
        Finding::warn(
            Check::Port,
            format!("some plugins won't post to port {port}: WordPress' safe requests go to 80, 443 and 8080 only"),
            "use port 443; docs/doctor.md names the plugins",
        )
    }

    /// Asks for the name's addresses and connects to each of them. Tells whether one of them answers.
    pub(super) async fn look(&self) -> (bool, Vec<Finding>) {
        let looked_up = timeout(LOOKUP_TIME, lookup_host((self.host.as_str(), self.port))).await;
        let addresses: Vec<SocketAddr> = match looked_up {
            Ok(Ok(addresses)) => addresses.take(ADDRESSES_MAX).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let mut connecting = JoinSet::new();
        for address in addresses {
            connecting.spawn(async move {
                let connected = timeout(CONNECT_TIME, TcpStream::connect(address)).await;
                Tried { address: address.ip(), answers: matches!(connected, Ok(Ok(_))) }
            });
        }
        let mut tried = connecting.join_all().await;
        tried.sort_by_key(|tried| tried.address);
        tried.dedup();
        (tried.iter().any(|tried| tried.answers), judge_addresses(&self.host, self.port, &tried))
    }

    /// Tells whether the URL leads to this machine or its network, so that nobody comes from outside.
    pub(super) fn is_local(&self) -> bool {
        self.host.parse().is_ok_and(|address| !is_public(address)) || self.host == "localhost"
    }
}

/// Tells whether the internet can have a way to an address.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let is_shared = v4.octets().first() == Some(&100) && v4.octets().get(1).is_some_and(|it| it & 0xc0 == 64);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || is_shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local())
        }
    }
}

fn judge_addresses(host: &str, port: u16, tried: &[Tried]) -> Vec<Finding> {
    if host.parse::<IpAddr>().is_ok() {
        return vec![judge_connections(port, tried, silent(tried))];
    }
    if tried.is_empty() {
        let cure = "add an A record (and AAAA for IPv6) for it, or correct public_url; new records take a while";
        return vec![Finding::bad(Check::Dns, format!("{host} has no address"), cure)];
    }
    let private = list(tried, |tried| !is_public(tried.address));
    let dns = if private.is_empty() {
        Finding::ok(Check::Dns, format!("{host} is {}", list(tried, |_| true)))
    } else {
        let cure = "the internet can't reach a private address. If the name has another one outside, run the doctor \
                    from there with --admin";
        Finding::warn(Check::Dns, format!("{host} is {private} here"), cure)
    };
    vec![dns, judge_connections(port, tried, silent(tried))]
}

fn silent(tried: &[Tried]) -> String {
    list(tried, |tried| !tried.answers)
}

fn list(tried: &[Tried], is_chosen: impl Fn(&Tried) -> bool) -> String {
    let chosen: Vec<String> = tried.iter().filter(|it| is_chosen(it)).map(|it| it.address.to_string()).collect();
    chosen.join(", ")
}

fn judge_connections(port: u16, tried: &[Tried], silent: String) -> Finding {
    let answering = tried.iter().filter(|tried| tried.answers).count();
    let only_v6_is_silent = tried.iter().all(|tried| tried.answers || tried.address.is_ipv6());
    let what = format!("nobody answers at port {port} of {silent}");
    if silent.is_empty() {
        return Finding::ok(Check::Connect, format!("port {port} answers"));
    }
    if answering > 0 && only_v6_is_silent {
        let cure = "if this machine has IPv6, listen there too or remove the AAAA record: a WordPress host with IPv6 \
                    tries it first";
        return Finding::warn(Check::Connect, what, cure);
    }
    let cure = "open the port in the firewall, start the proxy, or correct the name's records. Some routers don't let a \
                machine reach its own public address: then run the doctor from outside with --admin";
    Finding::bad(Check::Connect, what, cure)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    fn address(url: &str) -> PublicAddress {
        PublicAddress::parse(url).expect("an address")
    }

    fn grades(findings: &[Finding]) -> Vec<(Check, Grade)> {
        findings.iter().map(|finding| (finding.check, finding.grade)).collect()
    }

    fn tried(list: &[(&str, bool)]) -> Vec<Tried> {
        list.iter().map(|(ip, answers)| Tried { address: ip.parse().expect("an IP"), answers: *answers }).collect()
    }

    #[test]
    fn a_url_is_judged_by_its_scheme_and_its_port() {
        let judged = |url| address(url).judge().into_iter().map(|finding| finding.grade).collect::<Vec<_>>();
        assert_eq!(judged("https://gate.example/"), [Grade::Ok, Grade::Ok]);
        assert_eq!(judged("https://gate.example:8443"), [Grade::Ok, Grade::Warn]);
        assert_eq!(judged("http://gate.example:8080"), [Grade::Bad, Grade::Ok]);
        assert_eq!(judged("http://127.0.0.1:8080"), [Grade::Warn, Grade::Ok]);
        for bad in ["", "gate.example", "ftp://gate.example", "https://gate.example/hooks", "https://a@gate.example"] {
            assert_eq!(PublicAddress::parse(bad), None, "{bad}");
        }
        assert_eq!(address("https://[2001:db8::1]").host, "2001:db8::1");
        assert!(address("http://[::1]:80").is_local() && !address("https://gate.example").is_local());
    }

    #[test]
    fn an_address_of_the_internet_is_told_from_one_of_a_network() {
        for public in ["203.0.113.7", "100.63.0.1", "2001:db8::1"] {
            assert!(is_public(public.parse().expect("an IP")), "{public}");
        }
        for private in
            ["10.0.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"]
        {
            assert!(!is_public(private.parse().expect("an IP")), "{private}");
        }
    }

    #[test]
    fn each_address_of_the_name_must_answer() {
        let judge = |list: &[(&str, bool)]| grades(&judge_addresses("gate.example", 443, &tried(list)));
        assert_eq!(judge(&[]), [(Check::Dns, Grade::Bad)]);
        let both = [(Check::Dns, Grade::Ok), (Check::Connect, Grade::Ok)];
        assert_eq!(judge(&[("203.0.113.7", true), ("2001:db8::1", true)]), both);
        let no_v6 = [(Check::Dns, Grade::Ok), (Check::Connect, Grade::Warn)];
        assert_eq!(judge(&[("203.0.113.7", true), ("2001:db8::1", false)]), no_v6);
        let half = [(Check::Dns, Grade::Ok), (Check::Connect, Grade::Bad)];
        assert_eq!(judge(&[("203.0.113.7", true), ("203.0.113.8", false)]), half);
        assert_eq!(judge(&[("2001:db8::1", false)]), half, "there is no other");
        let literal = judge_addresses("203.0.113.7", 443, &tried(&[("203.0.113.7", true)]));
        assert_eq!(grades(&literal), [(Check::Connect, Grade::Ok)], "there is no name to look up");
        assert_eq!(judge(&[("10.0.0.1", true)]), [(Check::Dns, Grade::Warn), (Check::Connect, Grade::Ok)]);
    }
}
