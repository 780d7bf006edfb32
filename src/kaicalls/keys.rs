//! The API's keys. Each can only be built so that a header holds it, and none is ever shown.

use std::fmt;

use reqwest::header::HeaderValue;

/// Longest key, in bytes; the real ones have some fifty.
const KEY_MAX: usize = 256;

/// Why text is no key. The text itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("must begin with {prefix}")]
    Prefix { prefix: &'static str },
    #[error("must have more than its prefix, and at most {KEY_MAX} characters")]
    Length,
    #[error("must hold only letters, digits and -._~+/=")]
    Characters,
}

fn check_key(text: &str, prefix: &'static str) -> Result<(), InvalidKey> {
    let rest = text.strip_prefix(prefix).ok_or(InvalidKey::Prefix { prefix })?;
    if rest.is_empty() || text.len() > KEY_MAX {
        return Err(InvalidKey::Length);
    }
    // The characters of a Bearer token: none can end the header, and none is the colon that joins a pair.
    let plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    plain.then_some(()).ok_or(InvalidKey::Characters)
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        ///
        /// `Debug` shows the prefix only.
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Reads a key; text around it is not taken off.
            pub fn parse(text: &str) -> Result<Self, InvalidKey> {
                check_key(text, $prefix).map(|()| Self(text.to_owned()))
            }

            /// Returns the key itself, to be sent or written where keys are kept.
            pub fn reveal(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(", $prefix, "…)"))
            }
        }
    };
}

key!(
    /// The half of a pair that names the connection: `wp_pk_…`.
    PublicKey, "wp_pk_"
);
key!(
    /// The half of a pair that is kept like a password: `wp_sk_…`.
    SecretKey, "wp_sk_"
);
key!(
    /// A standard key of the API, `kc_live_…`: it mints pairs.
    LiveKey, "kc_live_"
);

/// What a site sends its leads with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    pub public: PublicKey,
    pub secret: SecretKey,
}

impl KeyPair {
    pub(super) fn authorization(&self) -> HeaderValue {
        bearer(&format!("{}:{}", self.public.0, self.secret.0))
    }
}

impl LiveKey {
    pub(super) fn authorization(&self) -> HeaderValue {
        bearer(&self.0)
    }
}

/// Marked sensitive, so that HTTP/2 keeps it out of its compression tables and `Debug` out of sight.
fn bearer(token: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).expect("keys hold only visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_prefix_and_fits_a_header() {
        assert!(PublicKey::parse("wp_pk_abc-_.~+/=9").is_ok());
        assert_eq!(PublicKey::parse("wp_sk_abc"), Err(InvalidKey::Prefix { prefix: "wp_pk_" }));
        assert_eq!(SecretKey::parse(" wp_sk_abc"), Err(InvalidKey::Prefix { prefix: "wp_sk_" }));
        assert_eq!(SecretKey::parse("wp_sk_"), Err(InvalidKey::Length));
        assert_eq!(SecretKey::parse(&format!("wp_sk_{}", "x".repeat(KEY_MAX))), Err(InvalidKey::Length));
        for bad in ["wp_sk_a\n", "wp_sk_a b", "wp_sk_a:b", "wp_sk_ä", "wp_sk_a\0"] {
            assert_eq!(SecretKey::parse(bad), Err(InvalidKey::Characters), "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let pair = KeyPair {
            public: PublicKey::parse("wp_pk_visible").expect("a key"),
            secret: SecretKey::parse("wp_sk_hidden").expect("a key"),
        };
        let live = LiveKey::parse("kc_live_hidden").expect("a key");
        let shown = format!("{pair:?} {live:?} {:?} {:?}", pair.authorization(), live.authorization());
        assert!(!shown.contains("visible") && !shown.contains("hidden"), "{shown}");
        assert!(pair.authorization().is_sensitive());
        assert_eq!(pair.authorization().as_bytes(), b"Bearer wp_pk_visible:wp_sk_hidden");
    }
}
