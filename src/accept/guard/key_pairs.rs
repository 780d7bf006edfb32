//! Who may post to KaiCalls' own endpoints: whoever has the key pair of a site, or of one of its forms.

use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

use super::credentials::digest;
use super::refused::CredentialFault;
use super::shared_keys::Holder;
use crate::config::Config;
use crate::destination::KeyPair;
use crate::http::bearer;
use crate::lead::SiteId;

/// The result of checking a key pair, in the order in which KaiCalls' endpoints report it.
pub(in crate::accept) enum KeyPairCheck<'a> {
    /// They are these sites', or those of one of their forms; never empty, in the order of the sites' ids.
    Fit(Vec<Holder<'a>>),
    UnknownPublic,
    /// Of the public key; the site that has it, where that is one.
    WrongSecret(Option<&'a SiteId>),
}

impl KeyPairCheck<'_> {
    /// Returns what was wrong; none where nothing was.
    pub(in crate::accept) fn fault(&self) -> Option<CredentialFault> {
        match self {
            Self::Fit(_) => None,
            Self::UnknownPublic => Some(CredentialFault::UnknownKeys),
            Self::WrongSecret(_) => Some(CredentialFault::WrongSecretKey),
        }
    }
}

/// Finds the sites that have this key pair. The public key is no secret: only the other is compared in constant time.
pub(in crate::accept) fn find<'a>(config: &'a Config, public: &str, secret: &str) -> KeyPairCheck<'a> {
    let shown = digest(secret);
    let mut holders = Vec::new();
    let mut known = Vec::new();
    for site in config.sites.values() {
        let mut held: Option<Holder<'_>> = None;
        for (form, pair) in site.key_pairs().filter(|(_, pair)| pair.public() == public) {
            known.push(&site.id);
            let fits = bool::from(digest(pair.secret().expose()).ct_eq(&shown));
            if fits && held.is_none() {
                held = Some(Holder { site, form, keys: pair });
            }
        }
        holders.extend(held);
    }
    known.dedup();
    match (holders.is_empty(), known.as_slice()) {
        (false, _) => KeyPairCheck::Fit(holders),
        (true, []) => KeyPairCheck::UnknownPublic,
        (true, [site]) => KeyPairCheck::WrongSecret(Some(site)),
        (true, _) => KeyPairCheck::WrongSecret(None),
    }
}

/// Reads `Authorization: Bearer pk:sk`.
pub(in crate::accept) fn shown(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (public, secret) = bearer(value)?.split_once(':')?;
    let named = KeyPair::check_public(public).is_ok();
    named.then(|| (public.to_owned(), secret.to_owned()))
}
