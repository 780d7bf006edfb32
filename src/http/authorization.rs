//! Credentials in `Authorization` (RFC 9110, 11.6.2), one value at a time: whether they fit is for others to say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Returns the token of `Bearer T`.
pub fn bearer(value: &str) -> Option<&str> {
    credentials(value, "bearer")
}

/// Returns the password of `Basic …`.
pub fn basic_password(value: &str) -> Option<String> {
    let decoded = STANDARD.decode(credentials(value, "basic")?).ok()?;
    let pair = String::from_utf8(decoded).ok()?;
    pair.split_once(':').map(|(_user, password)| password.to_owned())
}

fn credentials<'a>(value: &'a str, wanted: &str) -> Option<&'a str> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_read_in_any_case_and_no_other_is() {
        assert_eq!(bearer(" bEARER  t "), Some("t"));
        for other in ["Bearer", "t", "Basic dTp0", "Bearert"] {
            assert_eq!(bearer(other), None, "{other}");
        }
        assert_eq!(basic_password("basic dTp0OnQ=").as_deref(), Some("t:t"));
        for bad in ["Basic ?", "Basic dQ==", "Bearer dTp0", "Basic /zp0"] {
            assert_eq!(basic_password(bad), None, "{bad}");
        }
    }
}
