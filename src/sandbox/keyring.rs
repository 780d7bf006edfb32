//! Who may send leads, and who may mint keys. Keys are kept as SHA-256 only and compared in constant time.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Most pairs that are kept.
const CONNECTIONS_MAX: usize = 10_000;
/// Longest key that is looked at, in bytes.
const KEY_MAX: usize = 256;

/// Randomness for a pair of keys and its connection.
pub(super) type Randomness = [u8; 56];

/// A key pair, shown only once. `Debug` hides the secret.
#[derive(Clone)]
pub struct NewKeyPair {
    pub public_key: String,
    pub secret_key: String,
    pub business_id: String,
    pub(super) connection_id: String,
}

impl NewKeyPair {
    pub(super) fn fresh(random: &Randomness) -> Self {
        let (public, rest) = random.split_at(24);
        let (secret, connection) = rest.split_at(24);
        Self {
            public_key: format!("wp_pk_{}", BASE64_URL_SAFE_NO_PAD.encode(public)),
            secret_key: format!("wp_sk_{}", BASE64_URL_SAFE_NO_PAD.encode(secret)),
            business_id: "biz_sandbox".to_owned(),
            connection_id: format!("conn_{}", BASE64_URL_SAFE_NO_PAD.encode(connection)),
        }
    }
}

impl fmt::Debug for NewKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKeyPair").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

type KeyHash = [u8; 32];

struct Connection {
    secret: KeyHash,
    business_id: String,
}

/// Why a pair of keys is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrongKey {
    Public,
    Secret,
}

/// The keys this sandbox knows.
pub(super) struct Keyring {
    connections: HashMap<KeyHash, Connection>,
    live_keys: Vec<KeyHash>,
}

impl Keyring {
    pub(super) fn new(first: &NewKeyPair, live_keys: &[String]) -> Self {
        let mut keyring =
            Self { connections: HashMap::new(), live_keys: live_keys.iter().map(|key| hash(key)).collect() };
        // An empty keyring has room for one.
        let _has_room = keyring.add(first);
        keyring
    }

    /// Takes a pair in; tells whether there was room.
    #[must_use]
    pub(super) fn add(&mut self, keys: &NewKeyPair) -> bool {
        if self.connections.len() >= CONNECTIONS_MAX {
            return false;
        }
        let connection = Connection { secret: hash(&keys.secret_key), business_id: keys.business_id.clone() };
        self.connections.insert(hash(&keys.public_key), connection);
        true
    }

    /// Returns the business a pair of keys belongs to.
    pub(super) fn business(&self, public: &str, secret: &str) -> Result<&str, WrongKey> {
        let connection = self.connections.get(&hash(public));
        // An unknown key costs the same comparison as a known one.
        let expected = connection.map_or(&[0; 32], |connection| &connection.secret);
        let is_equal = bool::from(hash(secret).ct_eq(expected));
        let connection = connection.ok_or(WrongKey::Public)?;
        if is_equal { Ok(&connection.business_id) } else { Err(WrongKey::Secret) }
    }

    /// Tells whether a standard key may mint pairs.
    pub(super) fn may_mint(&self, key: &str) -> bool {
        let rest = key.strip_prefix("kc_live_").unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_formed = !rest.is_empty() && key.len() <= KEY_MAX && rest.bytes().all(is_plain);
        let hashed = hash(key);
        let is_known = self.live_keys.iter().fold(false, |known, live| known | bool::from(hashed.ct_eq(live)));
        is_formed && (is_known || self.live_keys.is_empty())
    }
}

fn hash(key: &str) -> KeyHash {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_opens_only_together() {
        let one = NewKeyPair::fresh(&[1; 56]);
        let two = NewKeyPair::fresh(&[2; 56]);
        let mut keyring = Keyring::new(&one, &[]);
        assert_eq!(keyring.business(&one.public_key, &one.secret_key), Ok("biz_sandbox"));
        assert_eq!(keyring.business(&two.public_key, &two.secret_key), Err(WrongKey::Public));
        assert!(keyring.add(&two));
        assert_eq!(keyring.business(&two.public_key, &one.secret_key), Err(WrongKey::Secret));
        assert_eq!(keyring.business(&two.public_key, &two.secret_key), Ok("biz_sandbox"));
    }

    #[test]
    fn a_live_key_mints_if_it_is_known_or_none_is() {
        let first = NewKeyPair::fresh(&[0; 56]);
        let open = Keyring::new(&first, &[]);
        assert!(open.may_mint("kc_live_abc-_9"));
        for bad in ["", "kc_live_", "kc_test_abc", "kc_live_a b", &format!("kc_live_{}", "x".repeat(KEY_MAX))] {
            assert!(!open.may_mint(bad), "{bad}");
        }
        let closed = Keyring::new(&first, &["kc_live_a".to_owned(), "kc_live_b".to_owned()]);
        assert!(closed.may_mint("kc_live_a") && closed.may_mint("kc_live_b"));
        assert!(!closed.may_mint("kc_live_c"));
    }

    #[test]
    fn pairs_are_bounded_and_no_secret_is_shown() {
        let first = NewKeyPair::fresh(&[9; 56]);
        let mut keyring = Keyring::new(&first, &[]);
        for n in 1..CONNECTIONS_MAX {
            let keys = NewKeyPair { public_key: n.to_string(), ..first.clone() };
            assert!(keyring.add(&keys));
        }
        assert!(!keyring.add(&NewKeyPair { public_key: "one more".to_owned(), ..first.clone() }));
        assert!(!format!("{first:?}").contains(&first.secret_key));
    }
}
