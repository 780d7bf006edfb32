//! Who is logged in: sessions in memory, each behind a cookie that is worth nothing once the admin token changes.
//!
//! Only the SHA-256 of a cookie is kept. A restart and an upgrade log everybody out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, header};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use crate::destination::Secret;
use crate::http::subscriber;
use crate::lead::EntryId;

/// The cookie's name.
const COOKIE: &str = "formgate_session";
/// A session ends so long after its last request.
const IDLE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// Most sessions at a time; one more ends the one that was idle longest.
const SESSIONS_MAX: usize = 500;
/// Leads that a session shows unmasked, the last ones.
const REVEALED_MAX: usize = 100;
/// Tokens that an address may try at once, and how many a minute after those.
const GUESSES_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
const GUESSES_PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
/// Addresses whose guesses are counted at a time; of more, those that have waited long enough are forgotten.
const GUESSERS_MAX: usize = 4_096;

/// The sessions of the console.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionKey, Session>>);

/// What a session is found by: the SHA-256 of its cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionKey([u8; 32]);

struct Session {
    /// Must be in each form that is sent.
    csrf: String,
    /// SHA-256 of the admin token that it was opened with.
    token: [u8; 32],
    used_at: Instant,
    revealed: Vec<EntryId>,
}

/// A request of somebody who is logged in.
#[derive(Clone)]
pub(in crate::admin) struct LoggedIn {
    pub(super) key: SessionKey,
    pub(in crate::admin) csrf: String,
}

impl Sessions {
    /// Opens a session for whoever showed this token, and returns its cookie's value.
    pub(super) fn open(&self, token: &Secret) -> String {
        let cookie = random();
        let session =
            Session { csrf: random(), token: digest(token.expose()), used_at: Instant::now(), revealed: Vec::new() };
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| session.used_at.elapsed() < IDLE_MAX);
        if sessions.len() >= SESSIONS_MAX
            && let Some(idlest) = sessions.iter().min_by_key(|(_, session)| session.used_at).map(|(key, _)| *key)
        {
            sessions.remove(&idlest);
        }
        sessions.insert(SessionKey::of(&cookie), session);
        cookie
    }

    /// Finds the session of a request, which keeps it open where somebody has sent it.
    pub(super) fn find(&self, headers: &HeaderMap, token: Option<&Secret>, is_used: bool) -> Option<LoggedIn> {
        let key = SessionKey::of(cookie(headers)?);
        let token = digest(token?.expose());
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(&key)?;
        if session.used_at.elapsed() >= IDLE_MAX || !bool::from(session.token.ct_eq(&token)) {
            sessions.remove(&key);
            return None;
        }
        if is_used {
            session.used_at = Instant::now();
        }
        Some(LoggedIn { key, csrf: session.csrf.clone() })
    }

    /// Tells whether a session is still open, without keeping it so.
    pub(super) fn is_open(&self, key: SessionKey, token: Option<&Secret>) -> bool {
        let Some(token) = token.map(|token| digest(token.expose())) else { return false };
        let sessions = self.0.lock();
        sessions
            .get(&key)
            .is_some_and(|session| session.used_at.elapsed() < IDLE_MAX && bool::from(session.token.ct_eq(&token)))
    }

    pub(super) fn close(&self, key: SessionKey) {
        self.0.lock().remove(&key);
    }

    /// Remembers that a lead is shown unmasked.
    pub(super) fn reveal(&self, key: SessionKey, lead: EntryId) {
        if let Some(session) = self.0.lock().get_mut(&key) {
            if session.revealed.len() >= REVEALED_MAX {
                session.revealed.remove(0);
            }
            session.revealed.push(lead);
        }
    }

    pub(super) fn is_revealed(&self, key: SessionKey, lead: EntryId) -> bool {
        self.0.lock().get(&key).is_some_and(|session| session.revealed.contains(&lead))
    }
}

impl SessionKey {
    fn of(cookie: &str) -> Self {
        Self(digest(cookie))
    }
}

impl LoggedIn {
    /// Tells whether a form or a header shows this session's token, which no other site can read.
    pub(in crate::admin) fn has_csrf(&self, shown: Option<&str>) -> bool {
        shown.is_some_and(|shown| bool::from(shown.as_bytes().ct_eq(self.csrf.as_bytes())))
    }
}

/// Slows down whoever tries tokens.
pub(super) struct Guesses(DefaultKeyedRateLimiter<IpAddr>);

impl Default for Guesses {
    fn default() -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(GUESSES_PER_MINUTE).allow_burst(GUESSES_BURST)))
    }
}

impl Guesses {
    /// Counts a try; how long to wait where there were too many.
    pub(super) fn count(&self, address: IpAddr) -> Result<(), Duration> {
        if self.0.len() > GUESSERS_MAX {
            self.0.retain_recent();
        }
        self.0.check_key(&subscriber(address)).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

/// Returns the cookie header that a browser keeps until it ends; `is_secure`: it came to us by TLS. When the session ends is
/// the server's to say: an age would end it in the middle of work.
pub(super) fn set_cookie(value: &str, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{secure}")
}

/// Returns the cookie header by which a browser forgets it.
pub(super) fn clear_cookie() -> String {
    format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let mut pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    pairs.find_map(|line| line.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('=')))
}

fn random() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn shown(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = format!("theme=dark; {COOKIE}={cookie}; other=1");
        headers.insert(header::COOKIE, value.parse().expect("a value"));
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_it_is_idle_or_the_token_changes() {
        let sessions = Sessions::default();
        let cookie = sessions.open(&token("fga_one"));
        let is_in = |with: &str| sessions.find(&shown(&cookie), Some(&token(with)), true).is_some();
        tokio::time::advance(IDLE_MAX - Duration::from_secs(1)).await;
        assert!(is_in("fga_one"));
        tokio::time::advance(IDLE_MAX - Duration::from_secs(1)).await;
        assert!(is_in("fga_one"), "it was used");
        tokio::time::advance(IDLE_MAX / 2).await;
        assert!(sessions.find(&shown(&cookie), Some(&token("fga_one")), false).is_some());
        tokio::time::advance(IDLE_MAX / 2 - Duration::from_secs(1)).await;
        assert!(is_in("fga_one"), "it is open, and a page that renews itself keeps it no longer");
        tokio::time::advance(IDLE_MAX).await;
        assert!(!is_in("fga_one"));
        let cookie = sessions.open(&token("fga_one"));
        assert!(sessions.find(&shown(&cookie), Some(&token("fga_two")), true).is_none());
        assert!(sessions.find(&shown(&cookie), Some(&token("fga_one")), true).is_none(), "it doesn't come back");
        assert!(sessions.find(&shown("x"), Some(&token("fga_one")), true).is_none());
        assert!(sessions.find(&HeaderMap::new(), Some(&token("fga_one")), true).is_none());
        assert!(sessions.find(&shown(&sessions.open(&token("fga_one"))), None, true).is_none());
    }

    #[tokio::test]
    async fn sessions_and_what_they_show_are_bounded() {
        let sessions = Sessions::default();
        let first = sessions.open(&token("t"));
        let second = sessions.open(&token("t"));
        assert!(sessions.find(&shown(&first), Some(&token("t")), true).is_some());
        for _ in 2..=SESSIONS_MAX {
            sessions.open(&token("t"));
        }
        assert_eq!(sessions.0.lock().len(), SESSIONS_MAX);
        assert!(sessions.find(&shown(&second), Some(&token("t")), true).is_none(), "it was idle longest");
        let logged_in = sessions.find(&shown(&first), Some(&token("t")), true).expect("a session");
        let lead = |number: usize| EntryId::new(number as u64, &[1; 10]);
        (0..=REVEALED_MAX).for_each(|number| sessions.reveal(logged_in.key, lead(number)));
        assert!(!sessions.is_revealed(logged_in.key, lead(0)) && sessions.is_revealed(logged_in.key, lead(1)));
        assert!(logged_in.has_csrf(Some(&logged_in.csrf)) && !logged_in.has_csrf(Some("")));
        assert!(!logged_in.has_csrf(None));
    }

    #[test]
    fn guesses_are_limited_by_network() {
        let guesses = Guesses::default();
        let count = |text: &str| guesses.count(text.parse().expect("an address"));
        for _ in 0..GUESSES_BURST.get() {
            assert!(count("192.0.2.1").is_ok() && count("2001:db8::1").is_ok());
        }
        assert!(count("::ffff:192.0.2.1").is_err_and(|wait| wait > Duration::ZERO));
        assert!(count("2001:db8::2").is_err());
        assert!(count("192.0.2.2").is_ok() && count("2001:db8:1::2").is_ok());
    }
}
