//! Why credentials were refused: for the operator alone. The sender gets the same answer, whatever it was.

use jiff::civil::Date;

use super::credentials::Credentials;
use crate::config::Config;
use crate::lead::SiteId;

/// What was wrong with what a request showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accept) enum CredentialFault {
    UnknownSite,
    NoCredential,
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
        match self {
            Self::UnknownSite => "unknown_site",
            Self::NoCredential => "no_credential",
            Self::UnknownToken => "unknown_token",
            Self::ExpiredToken => "expired_token",
            Self::OtherSitesToken => "other_sites_token",
            Self::BadSignature => "bad_signature",
            Self::UnknownKeys => "unknown_keys",
            Self::WrongSecretKey => "wrong_secret_key",
        }
    }
}

impl From<CredentialFault> for RefusedCredential {
    fn from(fault: CredentialFault) -> Self {
        Self { fault, token_site: None }
    }
}

impl RefusedCredential {
    /// Finds out why none of the tokens that a request shows lets it post to a site.
    ///
    /// It happens before the answer, so it takes as long for a site that exists as for one that doesn't: every site's
    /// tokens are looked at to the end. Only digests are compared, of tokens that nobody can guess.
    pub(in crate::accept) fn of_tokens(config: &Config, site: &SiteId, credentials: &Credentials, today: Date) -> Self {
        let mut own_is_expired = false;
        let mut other = None;
        for known in config.sites.values().filter(|_| !credentials.is_empty()) {
            for token in known.tokens.iter().filter(|token| credentials.shows(token)) {
                let is_expired = token.expires.is_some_and(|last| last < today);
                own_is_expired |= is_expired && known.id == *site;
                if !is_expired && known.id != *site && other.is_none() {
                    other = Some(&known.id);
                }
            }
        }
        let fault = match config.sites.contains_key(site) {
            false => CredentialFault::UnknownSite,
            true if credentials.is_empty() => CredentialFault::NoCredential,
            true if own_is_expired => CredentialFault::ExpiredToken,
            true if other.is_some() => CredentialFault::OtherSitesToken,
            true => CredentialFault::UnknownToken,
        };
        Self { fault, token_site: other.cloned() }
    }

    /// The same for a signature that no secret of the site has made.
    pub(in crate::accept) fn of_signature(config: &Config, site: &SiteId) -> Self {
        match config.sites.contains_key(site) {
            true => CredentialFault::BadSignature.into(),
            false => CredentialFault::UnknownSite.into(),
        }
    }
}
