//! The host that a request names.

/// Returns a host without its port. An IPv6 address in brackets keeps them.
pub fn without_port(authority: &str) -> &str {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match authority.rsplit_once(':') {
        // Of an address without brackets the last part is no port.
        Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_the_end_of_an_address() {
        for (authority, name) in [
            ("a.example:8080", "a.example"),
            ("a.example:", "a.example"),
            ("a.example", "a.example"),
            ("[::1]:8081", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("a.example:http", "a.example:http"),
            ("", ""),
        ] {
            assert_eq!(without_port(authority), name, "{authority}");
        }
    }
}
