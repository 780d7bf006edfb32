//! Why credentials were refused: for the operator alone. The sender gets the same answer, whatever it was.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use jiff::civil::Date;

use super::credentials::Credentials;
use crate::config::Config;
use crate::lead::SiteId;
use crate::queue::activity::Mistake;

/// What was wrong with what a request showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accept) enum CredentialFault {
    UnknownSite,
    NoCredential,
    /// A page's post to a form that pages may post, from an origin that isn't the form's.
    OtherOrigin,
    UnknownToken,
    ExpiredToken,
    /// The token is valid, for another site.
    OtherSitesToken,
    BadSignature,
    /// A key pair whose public key no site has.
    UnknownKeys,
    WrongSecretKey,
}

/// A fault, and what the operator may want to know beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::accept) struct RefusedCredential {
    pub(in crate::accept) fault: CredentialFault,
    /// The site that the token is of, where that is another one.
    pub(in crate::accept) token_site: Option<SiteId>,
}

impl CredentialFault {
    /// One word for log and metric; a closed set.
    pub(in crate::accept) fn as_str(self) -> &'static str {
        Mistake::from(self).as_str()
    }
}

impl From<CredentialFault> for Mistake {
    fn from(fault: CredentialFault) -> Self {
        match fault {
            CredentialFault::UnknownSite => Self::UnknownSite,
            CredentialFault::NoCredential => Self::NoCredential,
            CredentialFault::OtherOrigin => Self::OtherOrigin,
            CredentialFault::UnknownToken => Self::UnknownToken,
            CredentialFault::ExpiredToken => Self::ExpiredToken,
            CredentialFault::OtherSitesToken => Self::OtherSitesToken,
            CredentialFault::BadSignature => Self::BadSignature,
            CredentialFault::UnknownKeys => Self::UnknownKeys,
            CredentialFault::WrongSecretKey => Self::WrongSecretKey,
        }
    }
}

impl From<CredentialFault> for RefusedCredential {
    fn from(fault: CredentialFault) -> Self {
        Self { fault, token_site: None }
    }
}

/// Whose each token is, by its digest. Clones share it.
#[derive(Clone, Default)]
pub(in crate::accept) struct TokenOwners(Arc<ArcSwapOption<OwnersOf>>);

/// The owners of the tokens of one configuration, made with the first refusal under it: whoever may not post must not make
/// the gateway go through thousands of sites with each request.
struct OwnersOf {
    config: Weak<Config>,
    tokens: HashMap<[u8; 32], Vec<TokenOwner>>,
}

/// A site that has a token, and to which day.
struct TokenOwner {
    site: SiteId,
    expires: Option<Date>,
}

impl TokenOwners {
    fn of(&self, config: &Arc<Config>) -> Arc<OwnersOf> {
        let known = self.0.load_full().filter(|known| known.config.as_ptr() == Arc::as_ptr(config));
        known.unwrap_or_else(|| {
            let made = Arc::new(OwnersOf::new(config));
            self.0.store(Some(Arc::clone(&made)));
            made
        })
    }
}

impl OwnersOf {
    fn new(config: &Arc<Config>) -> Self {
        let mut tokens: HashMap<_, Vec<_>> = HashMap::new();
        for site in config.sites.values() {
            for token in &site.tokens {
                let owner = TokenOwner { site: site.id.clone(), expires: token.expires };
                tokens.entry(token.sha256).or_default().push(owner);
            }
        }
        Self { config: Arc::downgrade(config), tokens }
    }
}

impl RefusedCredential {
    /// Finds out why none of the tokens that a request shows lets it post to a site.
    ///
    /// It happens before the answer, so a site that exists must not take noticeably longer than one that doesn't: digests of
    /// what was shown are looked up among those of all sites.
    pub(in crate::accept) fn of_tokens(
        config: &Arc<Config>,
        owners: &TokenOwners,
        site: &SiteId,
        credentials: &Credentials,
        today: Date,
    ) -> Self {
        let owners = owners.of(config);
        let shown = || credentials.digests().filter_map(|digest| owners.tokens.get(digest)).flatten();
        let is_expired = |owner: &TokenOwner| owner.expires.is_some_and(|last| last < today);
        let own_is_expired = shown().any(|owner| owner.site == *site && is_expired(owner));
        let other = shown().find(|owner| owner.site != *site && !is_expired(owner)).map(|owner| owner.site.clone());
        let fault = match config.sites.contains_key(site) {
            false => CredentialFault::UnknownSite,
            true if credentials.is_empty() => CredentialFault::NoCredential,
            true if own_is_expired => CredentialFault::ExpiredToken,
            true if other.is_some() => CredentialFault::OtherSitesToken,
            true => CredentialFault::UnknownToken,
        };
        Self { fault, token_site: other }
    }

    /// Returns what was wrong where a request shows no token, and perhaps a signature that is malformed or out of date.
    pub(in crate::accept) fn or_signature(self, is_signed: bool) -> Self {
        let is_all = is_signed && self.fault == CredentialFault::NoCredential;
        if is_all { CredentialFault::BadSignature.into() } else { self }
    }

    /// Returns what was wrong where a request shows no credential, and comes from a page that may not post the form.
    pub(in crate::accept) fn or_origin(self, is_from_page: bool) -> Self {
        let is_all = is_from_page && self.fault == CredentialFault::NoCredential;
        if is_all { CredentialFault::OtherOrigin.into() } else { self }
    }

    /// The same for a signature that no secret of the site has made.
    pub(in crate::accept) fn of_signature(config: &Config, site: &SiteId) -> Self {
        match config.sites.contains_key(site) {
            true => CredentialFault::BadSignature.into(),
            false => CredentialFault::UnknownSite.into(),
        }
    }
}
