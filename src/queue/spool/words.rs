//! What a store said, in words.

use std::error::Error as _;
use std::fmt::Write as _;

use crate::queue::StoreError;

/// Longest text of an error that is remembered, in characters.
const ERROR_MAX: usize = 300;

/// Says what happened, with its causes.
pub(super) fn in_words(error: &StoreError) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string can't fail.
        write!(words, ": {error}").ok();
        cause = error.source();
    }
    words.chars().take(ERROR_MAX).collect()
}
