//! The names of things: sites, forms and entries. Each can only be built well formed.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest site or form name, in bytes.
const SLUG_MAX: usize = 64;

/// A name that is not `[a-z0-9][a-z0-9_-]{0,63}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters of a-z, 0-9, - and _, the first a letter or digit")]
pub struct InvalidSlug;

fn check_slug(text: &str) -> Result<(), InvalidSlug> {
    let first = text.bytes().next().ok_or(InvalidSlug)?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits =
        text.len() <= SLUG_MAX && plain(first) && text.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'_');
    fits.then_some(()).ok_or(InvalidSlug)
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Reads a name of the form `[a-z0-9][a-z0-9_-]{0,63}`.
            pub fn parse(text: &str) -> Result<Self, InvalidSlug> {
                check_slug(text).map(|()| Self(text.to_owned()))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidSlug;

            fn try_from(text: String) -> Result<Self, InvalidSlug> {
                check_slug(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

slug!(
    /// A client's site, as it is named in the configuration and in the webhook's URL.
    SiteId
);
slug!(
    /// A form of a site, as it is named in the configuration, in the URL, or by the body.
    FormId
);

impl FormId {
    /// The form whose rules serve every form that has none of its own.
    pub const FALLBACK: &'static str = "default";

    /// Returns the name of a form that nothing names.
    pub fn fallback() -> Self {
        Self(Self::FALLBACK.to_owned())
    }

    /// Makes a form's name out of what a plugin calls it: lower case, everything else becomes `-`.
    ///
    /// Text without a single letter or digit of ASCII gives `None`.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut slug = String::new();
        for c in text.chars() {
            match c.to_ascii_lowercase() {
                c @ ('a'..='z' | '0'..='9') => slug.push(c),
                '_' if !slug.is_empty() => slug.push('_'),
                _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
                _ => {}
            }
            if slug.len() == SLUG_MAX {
                break;
            }
        }
        Self::parse(slug.trim_end_matches('-')).ok()
    }
}

/// An entry of the store: a UUIDv7 made when the request came, so that ids sort by time.
///
/// It goes out as `Idempotency-Key` and is what the plugin is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(Uuid);

impl EntryId {
    /// Makes an id from the time of arrival and ten bytes of randomness.
    pub fn new(unix_ms: u64, random: &[u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid())
    }

    /// Reads an id as it is printed.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// Returns the sixteen bytes of the id; they sort as the ids do.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads the sixteen bytes of an id.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_named_as_the_url_allows() {
        for good in ["a", "acme", "9lives", "acme-dental_2", &"x".repeat(64)] {
            assert!(SiteId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "Acme", "a b", "é", "a/b", &"x".repeat(65)] {
            assert!(SiteId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_form_is_called_after_what_the_body_says() {
        let named = |text| FormId::from_text(text).map(String::from);
        assert_eq!(named("New Form").as_deref(), Some("new-form"));
        assert_eq!(named(" Quote / form! ").as_deref(), Some("quote-form"));
        assert_eq!(named("联系").as_deref(), None);
        assert_eq!(named(&"é12".repeat(200)).map(|name| name.len()), Some(64));
    }

    #[test]
    fn ids_sort_by_time() {
        let early = EntryId::new(1_000, &[0xff; 10]);
        let late = EntryId::new(1_001, &[0; 10]);
        assert!(early < late && early.as_bytes() < late.as_bytes());
        assert_eq!(EntryId::parse(&early.to_string()), Some(early));
    }
}
