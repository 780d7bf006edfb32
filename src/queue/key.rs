//! The short names by which readers, notes and holds are told apart.

use std::fmt;

/// Longest key, in bytes: it is part of an index in every store.
pub const KEY_MAX: usize = 200;

/// A short name: never empty, and at most [`KEY_MAX`] bytes. Keys sort by their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

/// A text that is no [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {KEY_MAX} bytes, without a NUL")]
pub struct InvalidKey;

impl Key {
    /// Reads a key.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        // PostgreSQL has no text with a NUL in it.
        let fits = (1..=KEY_MAX).contains(&text.len()) && !text.contains('\0');
        if fits { Ok(Self(text.into())) } else { Err(InvalidKey) }
    }

    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_not_empty() {
        for good in ["a", "overdue:acme", "é", &"x".repeat(KEY_MAX)] {
            assert_eq!(Key::parse(good).map(|key| key.as_str().to_owned()).as_deref(), Ok(good));
        }
        for bad in ["", "a\0b", &"x".repeat(KEY_MAX + 1)] {
            assert_eq!(Key::parse(bad), Err(InvalidKey), "{bad:?}");
        }
    }
}
