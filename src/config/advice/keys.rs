//! Key pairs that two sites share, and keys that were cut or pasted twice.
//!
//! Pairs are compared by their SHA-256; no message shows a key or a part of one.

use std::collections::BTreeMap;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::config::diagnostic::Severity;
use crate::config::reader::Value;
use crate::config::recurring::{Recurring, RecurringKind};
use crate::config::site::CompiledSite;
use crate::destination::KeyPair;
use crate::lead::SiteId;

/// What follows a key's prefix. KaiCalls documents no length: its keys carry a secret, so a short one was cut, and a
/// long one holds more than itself.
const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;

/// A key pair of a site or a form, as far as it is needed to find it again elsewhere.
#[derive(Clone)]
pub(in crate::config) struct PlacedPair {
    digest: [u8; 32],
    span: Range<usize>,
}

impl PlacedPair {
    pub(in crate::config) fn new(pair: &KeyPair, span: Range<usize>) -> Self {
        Self { digest: Sha256::digest(pair.bearer().expose()).into(), span }
    }
}

/// Warns where a pair of one site, or of one of its forms, is also another site's.
pub(in crate::config) fn warn_of_shared_pairs(sites: &[CompiledSite<'_>]) {
    let mut seen: BTreeMap<[u8; 32], (&SiteId, String)> = BTreeMap::new();
    for site in sites {
        let Some((id, _)) = &site.id else { continue };
        for pair in &site.pairs {
            let (first, place) = seen.entry(pair.digest).or_insert_with(|| (id, site.file.location(&pair.span)));
            if *first != id {
                let recurring = Recurring { kind: RecurringKind::SharedKeys, subject: id.to_string() };
                let message = format!("site `{id}` has the same key pair as site `{first}`, at {place}");
                let hint = "KaiCalls can't tell their leads apart; generate a key pair for each site";
                let span = Some(pair.span.clone());
                site.file.report_recurring(Severity::Warning, span, recurring, &message, Some(hint));
            }
        }
    }
}

/// Warns of a key that has the right prefix and a length that no key has; `prefix` is the one it begins with.
pub(in crate::config) fn warn_of_odd_key(value: &Value<'_>, key: &str, prefix: &str) {
    let rest = key.strip_prefix(prefix).unwrap_or(key);
    let problem = match rest.len() {
        _ if ["wp_pk_", "wp_sk_"].iter().any(|begin| rest.contains(begin)) => "contains a second key",
        length if length < *KEY_LENGTHS.start() => "is too short for a complete key",
        length if length > *KEY_LENGTHS.end() => "is too long for a key",
        _ => return,
    };
    let recurring = Recurring { kind: RecurringKind::KeyLength, subject: value.file().path().display().to_string() };
    let message = format!("`{}` {problem}", value.key());
    let hint = "copy the complete key from KaiCalls again; KaiCalls refuses leads with a wrong key";
    value.file().report_recurring(Severity::Warning, Some(value.span()), recurring, &message, Some(hint));
}
