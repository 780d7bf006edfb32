//! Who sent a post that was refused, as far as the post itself says it: a stranger's text, so bounded and cleaned.

use std::net::IpAddr;

/// Longest agent that is kept, in bytes.
pub const AGENT_MAX: usize = 100;
/// Longest host that is kept, in bytes: the longest that DNS has.
pub const HOST_MAX: usize = 253;
/// Stands for a word that is left out of an agent.
const LEFT_OUT: &str = "-";
/// What every token begins with.
const TOKEN_PREFIX: &str = "fg_";

/// The website and the program that a post says it comes from. No address of a visitor and no secret gets here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    host: Option<String>,
    agent: Option<String>,
}

impl Sender {
    /// Keeps a host if it is a name, and of an agent its printable ASCII.
    pub fn new(host: Option<&str>, agent: Option<&str>) -> Self {
        let host = host.filter(|host| is_name(host)).map(str::to_ascii_lowercase);
        Self { host, agent: agent.map(cleaned).filter(|agent| !agent.is_empty()) }
    }

    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }
}

/// Tells whether text is a host's name. An address is none, in whichever way it is written: it may be a person's.
fn is_name(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    // A last label that is a number makes an IPv4 address of any of its forms, such as `0x7f.1`.
    let is_numeric = host.rsplit('.').next().is_none_or(|last| {
        let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        last.is_empty() || hex.map_or_else(|| last.bytes().all(|byte| byte.is_ascii_digit()), is_hex)
    });
    host.len() <= HOST_MAX && host.bytes().all(is_plain) && !is_numeric
}

fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the printable ASCII of an agent, without words that may be a person's or a secret, cut to [`AGENT_MAX`].
fn cleaned(agent: &str) -> String {
    let mut kept = String::new();
    for word in agent.split(|c: char| !c.is_ascii_graphic()).filter(|word| !word.is_empty()) {
        // One word more is over the limit at the latest now; what follows isn't looked at.
        if kept.len() >= AGENT_MAX {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(if is_private(word) { LEFT_OUT } else { word });
    }
    kept.truncate(AGENT_MAX);
    kept
}

/// Tells whether a word of an agent looks like an e-mail address, an IP address or a token.
fn is_private(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let mut parts = word.split(['=', ',', ';', '(', ')', '"', '\'', '<', '>']);
    lower.contains('@') || lower.contains("%40") || lower.contains(TOKEN_PREFIX) || parts.any(is_address)
}

/// Tells whether text is an IP address, or a URL of one. A version such as `Chrome/131.0.0.0` is none.
fn is_address(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_scheme, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let bracketed = authority.strip_prefix('[').and_then(|inner| inner.split(']').next());
    let without_port = authority.rsplit_once(':').map_or(authority, |(host, _port)| host);
    [bracketed.unwrap_or(authority), without_port].iter().any(|host| host.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(text: &str) -> Option<String> {
        Sender::new(None, Some(text)).agent
    }

    #[test]
    fn a_host_is_a_name_and_never_an_address() {
        let longest = format!("{}.example", "a".repeat(HOST_MAX - ".example".len()));
        for name in ["acme.example", "localhost", "my_site.acme.example", "0.pool.example", "7f.example", &longest] {
            assert_eq!(Sender::new(Some(name), None).host(), Some(name), "{name}");
        }
        assert_eq!(Sender::new(Some("Acme.Example"), None).host(), Some("acme.example"));
        let long = format!("a{longest}");
        for none in [
            "",
            "203.0.113.5",
            "2001:db8::1",
            "2130706433",
            "0x7f.1",
            "1.0X7f",
            "a b",
            "jane@acme",
            "büro.example",
            &long,
        ] {
            assert_eq!(Sender::new(Some(none), None).host(), None, "{none}");
        }
    }

    #[test]
    fn an_agent_is_short_and_printable_and_nobodys_address() {
        let browser = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari";
        assert_eq!(agent(browser).as_deref(), Some(browser));
        assert_eq!(
            agent("WordPress/7.1;\t https://www.acme.example"),
            Some("WordPress/7.1; https://www.acme.example".into())
        );
        assert_eq!(agent("a\u{1b}[31m\u{202e}b\u{e9}"), Some("a [31m b".into()));
        for private in [
            "jane@example.com",
            "(jane%40example.com)",
            "203.0.113.5",
            "https://203.0.113.5/",
            "http://203.0.113.5:8080/shop",
            "[2001:db8::1]:443",
            "https://[2001:db8::1]/",
            "ip=203.0.113.5;",
            "2001:db8::1",
            "?token=fg_abc",
        ] {
            assert_eq!(agent(&format!("curl/8 {private} x")), Some("curl/8 - x".into()), "{private}");
        }
        assert_eq!(agent(&"x".repeat(5_000)).map(|agent| agent.len()), Some(AGENT_MAX));
        assert_eq!(agent(&"x ".repeat(5_000)).map(|agent| agent.len()), Some(AGENT_MAX));
        assert_eq!(agent(" \u{e9} "), None);
    }
}
