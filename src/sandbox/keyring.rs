//! Who may send leads, and who may mint keys. Secrets are kept as SHA-256 only and compared in constant time.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::live_key::{LiveKey, MintRefusal, is_well_formed};

/// Most pairs that are kept.
const CONNECTIONS_MAX: usize = 10_000;

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

pub(super) type KeyHash = [u8; 32];

/// A pair of keys that was minted, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    pub connection_id: String,
    pub business_id: String,
    /// The site that it was minted for, as it was written.
    pub site_url: Option<String>,
    pub public_key: String,
    pub created_at: Timestamp,
    /// When verify last found the pair valid.
    pub last_verified_at: Option<Timestamp>,
    /// When intake or the widget was last asked with the pair.
    pub last_used_at: Option<Timestamp>,
    /// How many leads it took.
    pub leads: u64,
}

struct KnownPair {
    secret: KeyHash,
    /// Its place in the order of minting.
    number: u64,
    connection: Connection,
}

/// Why a pair of keys is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrongKey {
    Public,
    Secret,
}

/// The keys this sandbox knows.
pub(super) struct Keyring {
    /// By public key.
    pairs: HashMap<String, KnownPair>,
    minted: u64,
    live_keys: Vec<LiveKey>,
}

impl Keyring {
    pub(super) fn new(first: &NewKeyPair, live_keys: Vec<LiveKey>, now: Timestamp) -> Self {
        let mut keyring = Self { pairs: HashMap::new(), minted: 0, live_keys };
        // An empty keyring has room for one.
        let _has_room = keyring.add(first, None, now);
        keyring
    }

    /// Takes a pair in; tells whether there was room.
    #[must_use]
    pub(super) fn add(&mut self, keys: &NewKeyPair, site_url: Option<String>, now: Timestamp) -> bool {
        if self.pairs.len() >= CONNECTIONS_MAX {
            return false;
        }
        let connection = Connection {
            connection_id: keys.connection_id.clone(),
            business_id: keys.business_id.clone(),
            site_url,
            public_key: keys.public_key.clone(),
            created_at: now,
            last_verified_at: None,
            last_used_at: None,
            leads: 0,
        };
        let pair = KnownPair { secret: hash(&keys.secret_key), number: self.minted, connection };
        self.minted += 1;
        self.pairs.insert(keys.public_key.clone(), pair);
        true
    }

    /// Returns the connection that a pair of keys belongs to.
    pub(super) fn connection(&mut self, public: &str, secret: &str) -> Result<&mut Connection, WrongKey> {
        let pair = self.pairs.get_mut(public);
        // An unknown key costs the same comparison as a known one.
        let expected = pair.as_ref().map_or(&[0; 32], |pair| &pair.secret);
        let is_equal = bool::from(hash(secret).ct_eq(expected));
        let pair = pair.ok_or(WrongKey::Public)?;
        if is_equal { Ok(&mut pair.connection) } else { Err(WrongKey::Secret) }
    }

    /// Finds a connection by its public key alone.
    pub(super) fn find(&mut self, public: &str) -> Option<&mut Connection> {
        self.pairs.get_mut(public).map(|pair| &mut pair.connection)
    }

    /// Returns all connections, newest first.
    pub(super) fn newest(&self) -> Vec<&Connection> {
        let mut pairs: Vec<&KnownPair> = self.pairs.values().collect();
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.number));
        pairs.into_iter().map(|pair| &pair.connection).collect()
    }

    /// Takes back a pair, as the dashboard does; `name` is its connection id or its public key.
    pub(super) fn revoke(&mut self, name: &str) -> Option<Connection> {
        let is_named = |connection: &&Connection| connection.connection_id == name || connection.public_key == name;
        let public_key = self.newest().into_iter().find(is_named)?.public_key.clone();
        self.pairs.remove(&public_key).map(|pair| pair.connection)
    }

    /// Returns the business for which a standard key mints a pair; `None` is any.
    pub(super) fn mint(
        &self,
        key: &str,
        business: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<String>, MintRefusal> {
        if !is_well_formed(key) {
            return Err(MintRefusal::Unauthorized);
        }
        if self.live_keys.is_empty() {
            return Ok(business.map(str::to_owned));
        }
        let hashed = hash(key);
        // Every key is compared, so that the time doesn't tell which one matched.
        let known = self.live_keys.iter().fold(None, |known, live| if live.is(&hashed) { Some(live) } else { known });
        known.ok_or(MintRefusal::Unauthorized)?.mint(business, now)
    }
}

pub(super) fn hash(key: &str) -> KeyHash {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn keyring(first: &NewKeyPair, live_keys: &[&str]) -> Keyring {
        let live_keys = live_keys.iter().map(|key| LiveKey::parse(key).expect("a key")).collect();
        Keyring::new(first, live_keys, NOW)
    }

    fn business<'a>(keyring: &'a mut Keyring, public: &NewKeyPair, secret: &NewKeyPair) -> Result<&'a str, WrongKey> {
        keyring.connection(&public.public_key, &secret.secret_key).map(|connection| connection.business_id.as_str())
    }

    #[test]
    fn a_pair_opens_only_together() {
        let one = NewKeyPair::fresh(&[1; 56]);
        let two = NewKeyPair::fresh(&[2; 56]);
        let mut keyring = keyring(&one, &[]);
        assert_eq!(business(&mut keyring, &one, &one), Ok("biz_sandbox"));
        assert_eq!(business(&mut keyring, &two, &two), Err(WrongKey::Public));
        assert!(keyring.add(&two, None, NOW));
        assert_eq!(business(&mut keyring, &two, &one), Err(WrongKey::Secret));
        assert_eq!(business(&mut keyring, &two, &two), Ok("biz_sandbox"));
    }

    #[test]
    fn a_revoked_pair_is_unknown_and_the_others_stay() {
        let [one, two, three] = [1, 2, 3].map(|n| NewKeyPair::fresh(&[n; 56]));
        let mut keyring = keyring(&one, &[]);
        assert!(keyring.add(&two, Some("https://two.example".to_owned()), NOW) && keyring.add(&three, None, NOW));
        let ids = |keyring: &Keyring| -> Vec<String> {
            keyring.newest().into_iter().map(|connection| connection.public_key.clone()).collect()
        };
        assert_eq!(ids(&keyring), [&three, &two, &one].map(|keys| keys.public_key.clone()));
        let revoked = keyring.revoke(&two.connection_id).expect("it was there");
        assert_eq!(revoked.site_url.as_deref(), Some("https://two.example"));
        assert_eq!(business(&mut keyring, &two, &two), Err(WrongKey::Public));
        assert!(keyring.revoke(&two.connection_id).is_none());
        assert!(keyring.revoke(&one.public_key).is_some());
        assert_eq!(ids(&keyring), [three.public_key]);
    }

    #[test]
    fn a_live_key_mints_if_it_is_known_or_none_is() {
        let first = NewKeyPair::fresh(&[0; 56]);
        let open = keyring(&first, &[]);
        assert_eq!(open.mint("kc_live_abc-_9", Some("biz_1"), NOW), Ok(Some("biz_1".to_owned())));
        assert_eq!(open.mint("kc_test_abc", None, NOW), Err(MintRefusal::Unauthorized));
        let closed = keyring(&first, &["kc_live_a", "kc_live_b,business=biz_b"]);
        assert_eq!(closed.mint("kc_live_a", None, NOW), Ok(None));
        assert_eq!(closed.mint("kc_live_b", None, NOW), Ok(Some("biz_b".to_owned())));
        assert_eq!(closed.mint("kc_live_c", None, NOW), Err(MintRefusal::Unauthorized));
    }

    #[test]
    fn pairs_are_bounded_and_no_secret_is_shown() {
        let first = NewKeyPair::fresh(&[9; 56]);
        let mut keyring = keyring(&first, &[]);
        for n in 1..CONNECTIONS_MAX {
            let keys = NewKeyPair { public_key: n.to_string(), ..first.clone() };
            assert!(keyring.add(&keys, None, NOW));
        }
        assert!(!keyring.add(&NewKeyPair { public_key: "one more".to_owned(), ..first.clone() }, None, NOW));
        assert!(!format!("{first:?}").contains(&first.secret_key));
    }
}
