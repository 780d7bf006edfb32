//! Standard keys of the API, `kc_live_…`: what they may do. Kept as SHA-256 only.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use subtle::ConstantTimeEq;

use super::keyring::{KeyHash, hash};

/// The scope that minting needs. The API's documents name none: creating a connection for leads is taken to need this.
const MINT_SCOPE: &str = "leads:write";
/// The scope that contains all others.
const EVERY_SCOPE: &str = "*";
/// Longest key, in bytes. KaiCalls' own have 44 characters after the prefix; a test may want a readable one.
const KEY_MAX: usize = 256;

/// A standard key that the sandbox knows. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct LiveKey {
    hash: KeyHash,
    /// What it may do; `None` is everything, as for a key that was created without restrictions.
    scopes: Option<Vec<String>>,
    /// The businesses that it may act for; `None` is all.
    businesses: Option<Vec<String>>,
    expires: Option<Timestamp>,
    /// Known to be refused, so that a client can be tried with it.
    never_mints: bool,
}

/// What is wrong with a live key. The key is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLiveKey {
    #[error("it isn't kc_live_ followed by letters, digits, - and _, at most {KEY_MAX} characters in all")]
    Malformed,
    #[error("after the key there is something other than scope=…, business=…, expires=… and never-mints")]
    UnknownPart,
    #[error("scope= and business= need a value; leave them out for every scope or business")]
    Empty,
    #[error("expires= needs a date such as 2027-06-30 or a time such as 2027-06-30T12:00:00Z")]
    NotATime,
    #[error("it expired at {0}, so it could never mint; add never-mints if that is what you want to try")]
    Expired(Timestamp),
    #[error(
        "it has neither the scope {MINT_SCOPE} nor {EVERY_SCOPE}, so it could never mint; add never-mints if that is \
         what you want to try"
    )]
    Scope,
}

/// Why a live key mints nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MintRefusal {
    #[error("Unauthorized")]
    Unauthorized,
    #[error("Insufficient scope: {MINT_SCOPE} is required")]
    Scope,
    #[error("businessId is required: this API key spans several businesses")]
    BusinessNeeded,
    #[error("This API key has no access to that business")]
    OtherBusiness,
}

impl LiveKey {
    /// Reads `KEY[,scope=S]…[,business=ID]…[,expires=WHEN][,never-mints]`.
    ///
    /// Without scopes it has all, without businesses it acts for any. A date is the last day (UTC) on which it is valid.
    pub fn parse(text: &str) -> Result<Self, InvalidLiveKey> {
        let mut parts = text.split(',');
        let key = parts.next().unwrap_or_default();
        if !is_well_formed(key) {
            return Err(InvalidLiveKey::Malformed);
        }
        let mut parsed = Self { hash: hash(key), scopes: None, businesses: None, expires: None, never_mints: false };
        for part in parts {
            match part.split_once('=') {
                Some(("scope" | "business", "")) => return Err(InvalidLiveKey::Empty),
                Some(("scope", scope)) => parsed.scopes.get_or_insert_default().push(scope.to_owned()),
                Some(("business", id)) => parsed.businesses.get_or_insert_default().push(id.to_owned()),
                Some(("expires", when)) => parsed.expires = Some(end(when).ok_or(InvalidLiveKey::NotATime)?),
                None if part == "never-mints" => parsed.never_mints = true,
                _ => return Err(InvalidLiveKey::UnknownPart),
            }
        }
        Ok(parsed)
    }

    /// Refuses a key that could never mint, which is a mistake unless it says so.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), InvalidLiveKey> {
        match self.expires {
            _ if self.never_mints => Ok(()),
            Some(end) if end <= now => Err(InvalidLiveKey::Expired(end)),
            _ if !self.has_scope() => Err(InvalidLiveKey::Scope),
            _ => Ok(()),
        }
    }

    /// Compares in constant time.
    pub(super) fn is(&self, hashed: &KeyHash) -> bool {
        bool::from(self.hash.ct_eq(hashed))
    }

    /// Returns the business that a pair is minted for; `None` is the caller's own choice.
    pub(super) fn mint(&self, business: Option<&str>, now: Timestamp) -> Result<Option<String>, MintRefusal> {
        if self.expires.is_some_and(|end| end <= now) {
            return Err(MintRefusal::Unauthorized);
        }
        if !self.has_scope() {
            return Err(MintRefusal::Scope);
        }
        match (self.businesses.as_deref(), business) {
            (None, asked) => Ok(asked.map(str::to_owned)),
            (Some([own]), None) => Ok(Some(own.clone())),
            (Some(_), None) => Err(MintRefusal::BusinessNeeded),
            (Some(own), Some(asked)) => {
                let is_own = own.iter().any(|own| own == asked);
                is_own.then(|| Some(asked.to_owned())).ok_or(MintRefusal::OtherBusiness)
            }
        }
    }

    fn has_scope(&self) -> bool {
        let suffices = |scope: &String| scope == MINT_SCOPE || scope == EVERY_SCOPE;
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(suffices))
    }
}

impl fmt::Debug for LiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveKey(kc_live_…)")
    }
}

/// Tells whether text has the form of a live key; base64url may be padded.
pub(super) fn is_well_formed(key: &str) -> bool {
    let rest = key.strip_prefix("kc_live_").unwrap_or_default().trim_end_matches('=');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !rest.is_empty() && key.len() <= KEY_MAX && rest.bytes().all(is_plain)
}

/// Reads when a key ends: a time, or a date whose day is the last.
fn end(when: &str) -> Option<Timestamp> {
    if let Ok(time) = when.parse() {
        return Some(time);
    }
    let after = when.parse::<Date>().ok()?.tomorrow().ok()?;
    Some(after.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn key(rest: &str) -> LiveKey {
        LiveKey::parse(&format!("kc_live_a{rest}")).expect("a key")
    }

    const NOW: &str = "2027-01-01T00:00:00Z";

    #[test]
    fn a_key_mints_for_its_businesses() {
        let mint = |rest, business| key(rest).mint(business, at(NOW));
        assert_eq!(mint("", None), Ok(None));
        assert_eq!(mint("", Some("biz_1")), Ok(Some("biz_1".to_owned())));
        assert_eq!(mint(",business=biz_1", None), Ok(Some("biz_1".to_owned())));
        assert_eq!(mint(",business=biz_1", Some("biz_2")), Err(MintRefusal::OtherBusiness));
        let two = ",business=biz_1,business=biz_2";
        assert_eq!(mint(two, None), Err(MintRefusal::BusinessNeeded));
        assert_eq!(mint(two, Some("biz_2")), Ok(Some("biz_2".to_owned())));
    }

    #[test]
    fn scopes_and_expiry_are_kept() {
        let mint = |rest, now| key(rest).mint(None, at(now)).map(|_| ());
        assert_eq!(mint(",scope=leads:read,scope=leads:write", NOW), Ok(()));
        assert_eq!(mint(",scope=*", NOW), Ok(()));
        assert_eq!(mint(",scope=leads:read", NOW), Err(MintRefusal::Scope));
        assert_eq!(mint(",expires=2027-01-01", "2027-01-01T23:59:59Z"), Ok(()));
        assert_eq!(mint(",expires=2027-01-01", "2027-01-02T00:00:00Z"), Err(MintRefusal::Unauthorized));
        assert_eq!(mint(",expires=2027-01-01T10:00:00Z", "2027-01-01T10:00:00Z"), Err(MintRefusal::Unauthorized));
    }

    #[test]
    fn a_key_that_could_never_mint_is_told_unless_it_says_so() {
        let check = |rest| key(rest).check(at(NOW));
        assert_eq!((check(""), check(",scope=*,expires=2027-01-01")), (Ok(()), Ok(())));
        assert_eq!(check(",scope=leads:read"), Err(InvalidLiveKey::Scope));
        assert_eq!(check(",expires=2026-12-31"), Err(InvalidLiveKey::Expired(at(NOW))));
        assert_eq!(check(",scope=leads:read,never-mints"), Ok(()));
    }

    #[test]
    fn what_is_no_live_key_is_told_without_repeating_it() {
        let refused = |text: &str| {
            let error = LiveKey::parse(text).expect_err("refused");
            assert!(!error.to_string().contains("hidden"), "{error}");
            error
        };
        for bad in ["", "kc_live_", "kc_test_hidden", "kc_live_hid den", "hidden", "kc_live_=="] {
            assert_eq!(refused(bad), InvalidLiveKey::Malformed, "{bad}");
        }
        assert_eq!(refused(&format!("kc_live_{}", "x".repeat(KEY_MAX))), InvalidLiveKey::Malformed);
        assert_eq!(refused("kc_live_hidden,kc_live_hidden"), InvalidLiveKey::UnknownPart);
        assert_eq!(refused("kc_live_hidden,scopes=x"), InvalidLiveKey::UnknownPart);
        assert_eq!(refused("kc_live_hidden,business="), InvalidLiveKey::Empty);
        assert_eq!(refused("kc_live_hidden,scope="), InvalidLiveKey::Empty);
        assert_eq!(refused("kc_live_hidden,expires=soon"), InvalidLiveKey::NotATime);
        let shown = format!("{:?}", LiveKey::parse("kc_live_hidden-_9=").expect("a key"));
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
