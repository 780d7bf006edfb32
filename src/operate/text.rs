//! Everything in an entry that a person may have written, for those who search it.

use serde_json::Value;

use super::again::guarded;
use crate::pipeline::{Mappings, SiteRules, explain};
use crate::queue::Entry;

/// Tells whether a text in lower case stands in an entry: in its lead, or in what was posted, decoded.
pub(super) fn holds(entry: &Entry, text: &str) -> bool {
    any(entry, &mut |found| found.to_lowercase().contains(text))
}

/// Asks of each text in an entry until one is found: its lead's, each value and key of what was posted as decoded, its
/// query, its headers; where it can't be decoded, the body's bytes as text.
pub(super) fn any(entry: &Entry, found: &mut dyn FnMut(&str) -> bool) -> bool {
    let content = &entry.content;
    let lead = content.lead.iter().flat_map(|lead| {
        [Some(lead.name()), Some(lead.email()), lead.phone(), Some(lead.message())].into_iter().flatten()
    });
    let received = &content.received;
    let around = received.query.iter().chain(received.headers.values()).map(String::as_str);
    if lead.chain(around).any(&mut *found) {
        return true;
    }
    // Without mappings: only the decoding is wanted.
    let rules = SiteRules::default();
    let explained = guarded(entry.id, &rules, None, || explain(&Mappings::default(), &rules, None, received));
    match &explained.submission {
        Some(submission) => {
            any_of(&submission.document, found)
                || submission.query.iter().any(|(name, value)| found(name) || found(value))
        }
        None => found(&String::from_utf8_lossy(&received.body)),
    }
}

/// Trees are at most as deep as decoding lets them be.
fn any_of(tree: &Value, found: &mut dyn FnMut(&str) -> bool) -> bool {
    match tree {
        Value::String(text) => found(text),
        Value::Number(number) => found(&number.to_string()),
        Value::Array(items) => items.iter().any(|item| any_of(item, found)),
        Value::Object(members) => members.iter().any(|(name, member)| found(name) || any_of(member, found)),
        Value::Null | Value::Bool(_) => false,
    }
}
