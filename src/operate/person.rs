//! Finding a person by the e-mail address, however what was posted wrote it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::text;
use crate::lead::Email;
use crate::queue::{Entry, Head};

/// How often something may be percent-encoded over and over.
const ENCODED_MAX: usize = 3;

/// Somebody's address. No `Debug`.
#[derive(Clone)]
pub(super) struct Person {
    /// In lower case: as it is kept in a lead, and as it was given.
    addresses: Vec<String>,
}

impl Person {
    /// Reads an address; a domain in another script is looked for in both.
    pub(super) fn parse(email: &str) -> Option<Self> {
        let kept = Email::parse(email).ok()?.as_str().to_lowercase();
        let given = email.trim().to_lowercase();
        let domain = given.rsplit_once('@').map_or("", |(_, domain)| domain);
        let (unicode, _) = idna::domain_to_unicode(domain);
        let local = given.rsplit_once('@').map_or("", |(local, _)| local);
        let mut addresses = vec![kept, format!("{local}@{unicode}"), given.clone()];
        addresses.sort_unstable();
        addresses.dedup();
        Some(Self { addresses })
    }

    /// Tells whether an entry holds the address: in its lead, in what was posted as decoded, or anywhere in the bytes,
    /// be they percent-encoded, escaped as in JSON, or both.
    pub(super) fn is_in(&self, entry: &Entry) -> bool {
        if text::any(entry, &mut |found| self.stands_in(found)) {
            return true;
        }
        self.stands_in(&String::from_utf8_lossy(&entry.received.body)) || self.is_in_head(&entry.head)
    }

    /// Tells whether an entry's head alone holds the address: then nobody has to read what was received.
    pub(super) fn is_in_head(&self, head: &Head) -> bool {
        let mut words = head.history.iter().filter_map(|event| event.attempt.as_ref()?.words.as_deref());
        text::any_in_reading(&head.reading, &mut |found| self.stands_in(found))
            || words.any(|words| self.stands_in(words))
    }

    fn stands_in(&self, written: &str) -> bool {
        let mut written = Cow::Borrowed(written);
        for _ in 0..ENCODED_MAX {
            let lower = written.to_lowercase();
            let unescaped = unescaped(&lower);
            if self.addresses.iter().any(|address| is_whole_in(address, &lower) || is_whole_in(address, &unescaped)) {
                return true;
            }
            let decoded = percent_decode_str(&unescaped).decode_utf8_lossy().into_owned();
            if decoded == unescaped {
                return false;
            }
            written = Cow::Owned(decoded);
        }
        false
    }
}

/// Tells whether an address stands in a text and is not the end or the beginning of a longer one.
fn is_whole_in(address: &str, text: &str) -> bool {
    text.match_indices(address).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let behind = text.get(at + address.len()..).unwrap_or_default();
        let mut behind = behind.chars();
        let (next, after) = (behind.next(), behind.next());
        let is_name = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        // A dot goes on with a label, or ends a sentence.
        let goes_on = is_name(next) || next == Some('-') || (next == Some('.') && is_name(after));
        let is_longer = is_name(before) || before.is_some_and(|c| "._%+-".contains(c));
        !goes_on && !is_longer
    })
}

/// Undoes the escapes of JSON in any text: `\u0040`, `\/`, `\n`.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = escaped.strip_prefix('u').and_then(|hex| u32::from_str_radix(hex.get(..4)?, 16).ok());
        let (c, length) = match (code.and_then(char::from_u32), escaped.chars().next()) {
            (Some(c), _) => (c, 5),
            (None, Some('n' | 'r' | 't' | 'b' | 'f')) => (' ', 1),
            (None, Some(c)) => (c, c.len_utf8()),
            (None, None) => ('\\', 0),
        };
        plain.push(c);
        rest = escaped.get(length..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands(email: &str, text: &str) -> bool {
        Person::parse(email).expect("an address").stands_in(text)
    }

    #[test]
    fn an_address_is_found_however_it_is_written() {
        for text in [
            "Ann@Example.com",
            "mailto:ann@example.com.",
            "<ann@example.com>",
            "email=ann%40example.com&x=1",
            "email=ann%40EXAMPLE%2Ecom",
            "a=%22ann%2540example.com%22",
            r#"{"email":"ann\u0040example.com"}"#,
            r#"{"a":"{\"email\":\"\u0061nn@example.com\"}"}"#,
            r#"{"a":"Hello,\nann@example.com"}"#,
            "%5Cu0061nn@example.com",
        ] {
            assert!(stands("ann@example.com", text), "{text}");
        }
        assert!(stands("ann+x@example.com", "ann%2Bx@example.com"));
        assert!(stands("ann@bücher.example", "ann@xn--bcher-kva.example"));
        assert!(stands("ann@xn--bcher-kva.example", "Ann@Bücher.example"));
    }

    #[test]
    fn a_longer_address_is_another_persons() {
        for text in [
            "joann@example.com",
            "jo.ann@example.com",
            "jo-ann@example.com",
            "jo%2Bann@example.com",
            "ann@example.com.au",
            "ann@example.community",
            "ann@example.com-pany.de",
            "ann@example",
            "",
        ] {
            assert!(!stands("ann@example.com", text), "{text}");
        }
    }
}
