//! The API's standard key, and how keys travel.

use std::fmt;

use reqwest::header::HeaderValue;

use crate::destination::{InvalidKaiCallsKey, Secret, check_key};

/// A standard key of the API, `kc_live_…`: it mints pairs.
#[derive(Clone, PartialEq, Eq)]
pub struct LiveKey(Secret);

impl LiveKey {
    /// Reads a key; text around it is not taken off.
    pub fn parse(text: &str) -> Result<Self, InvalidKaiCallsKey> {
        check_key(text, "kc_live_").map(|()| Self(Secret::new(text.to_owned())))
    }

    pub(super) fn authorization(&self) -> HeaderValue {
        bearer(&self.0)
    }
}

impl fmt::Debug for LiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveKey(kc_live_…)")
    }
}

/// Marked sensitive, so that HTTP/2 keeps it out of its compression tables and `Debug` out of sight.
pub(super) fn bearer(token: &Secret) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).expect("keys hold only visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let live = LiveKey::parse("kc_live_hidden").expect("a key");
        let shown = format!("{live:?} {:?}", live.authorization());
        assert!(!shown.contains("hidden"), "{shown}");
        assert!(live.authorization().is_sensitive());
        assert_eq!(live.authorization().as_bytes(), b"Bearer kc_live_hidden");
    }
}
