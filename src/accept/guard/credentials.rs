//! Who may post to `/hooks`: a site's token, in one of four places.
//!
//! A comparison takes the same time whether or not it fits and whether or not the site exists.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, header};
use jiff::civil::Date;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::{Config, Site, Token};
use crate::http::{basic_password, bearer};
use crate::lead::SiteId;
use crate::queue::activity::TokenPrefix;
use crate::received::SplitQuery;

/// Most values looked at per request.
const CREDENTIALS_MAX: usize = 8;
/// Each credential is compared with at least so many tokens, so that a site's number of them doesn't tell.
const COMPARED_MIN: usize = 8;

/// What a request shows to be let in. No `Debug`.
pub(in crate::accept) struct Credentials(Vec<[u8; 32]>);

impl Credentials {
    /// Collects what the headers and the query show; only digests are kept.
    pub(in crate::accept) fn collect(headers: &HeaderMap, query: &SplitQuery) -> Self {
        let authorization = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
        let shown = authorization.filter_map(authorization_token);
        let own = headers.get_all("x-formgate-token").iter().filter_map(|value| value.to_str().ok());
        let own = own.map(|text| Cow::Borrowed(text.trim()));
        let in_query = query.tokens.iter().map(|token| Cow::Borrowed(token.as_str()));
        let all = shown.chain(own).chain(in_query);
        Self(all.filter(|token| !token.is_empty()).take(CREDENTIALS_MAX).map(|token| digest(&token)).collect())
    }

    /// Tells whether nothing is shown at all.
    pub(in crate::accept) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn digests(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter()
    }

    /// Returns what the token is called by which a site was found: one that is valid.
    pub(in crate::accept) fn token_of(&self, site: &Site, today: Date) -> Option<TokenPrefix> {
        let fits = |token: &&Token| self.0.iter().any(|shown| holds(std::slice::from_ref(*token), shown, today).into());
        site.tokens.iter().find(fits).map(|token| TokenPrefix::of(&token.sha256))
    }
}

/// Reads the token of `Bearer`, or the password of `Basic`.
fn authorization_token(value: &str) -> Option<Cow<'_, str>> {
    bearer(value).map(Cow::Borrowed).or_else(|| basic_password(value).map(Cow::Owned))
}

pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Returns the site if one of its tokens is among the credentials.
pub(in crate::accept) fn site<'a>(
    config: &'a Config,
    site: &SiteId,
    credentials: &Credentials,
    today: Date,
) -> Option<&'a Arc<Site>> {
    let known = config.sites.get(site);
    let tokens = known.map_or(&[][..], |site| site.tokens.as_slice());
    let fits = credentials.0.iter().fold(Choice::from(0), |found, shown| found | holds(tokens, shown, today));
    known.filter(|_| bool::from(fits))
}

/// Compares with every token, and with dummies where the site has few or doesn't exist.
fn holds(tokens: &[Token], shown: &[u8; 32], today: Date) -> Choice {
    let dummy = Token { sha256: [0; 32], note: None, expires: Some(Date::MIN) };
    let padded = tokens.iter().chain(std::iter::repeat(&dummy)).take(tokens.len().max(COMPARED_MIN));
    padded.fold(Choice::from(0), |found, token| {
        let alive = token.expires.is_none_or(|last| today <= last);
        found | (token.sha256.ct_eq(shown) & Choice::from(u8::from(alive)))
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn shown(headers: &[(&'static str, &str)], query: &str) -> Vec<[u8; 32]> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        Credentials::collect(&map, &SplitQuery::of(Some(query))).0
    }

    #[test]
    fn a_token_is_read_in_four_places() {
        let basic = format!("Basic {}", STANDARD.encode("any:fg_t"));
        let token = vec![digest("fg_t")];
        assert_eq!(shown(&[("authorization", "bearer fg_t")], ""), token);
        assert_eq!(shown(&[("authorization", &basic)], ""), token);
        assert_eq!(shown(&[("x-formgate-token", "fg_t")], ""), token);
        assert_eq!(shown(&[], "a=1&token=fg_t"), token);
        assert_eq!(shown(&[("authorization", "Digest x"), ("x-formgate-token", "")], "token="), Vec::<[u8; 32]>::new());
        let many = "token=a&".repeat(20);
        assert_eq!(shown(&[], &many).len(), CREDENTIALS_MAX);
    }

    #[test]
    fn a_token_is_valid_to_the_end_of_its_last_day() {
        let last: Date = "2027-06-30".parse().expect("a date");
        let token = Token { sha256: digest("fg_t"), note: None, expires: Some(last) };
        let valid = |tokens: &[Token], shown: &str, day: Date| bool::from(holds(tokens, &digest(shown), day));
        assert!(valid(std::slice::from_ref(&token), "fg_t", last));
        assert!(!valid(std::slice::from_ref(&token), "fg_t", last.tomorrow().expect("a day")));
        assert!(!valid(&[token], "fg_u", last));
        let forever = Token { sha256: digest("fg_t"), note: None, expires: None };
        let many: Vec<Token> = (0..20).map(|_| forever.clone()).collect();
        assert!(valid(&many, "fg_t", Date::MAX));
        assert!(!valid(&[], "fg_t", last));
    }
}
