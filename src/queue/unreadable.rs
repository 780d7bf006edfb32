//! What a table holds that this program does not write.

/// A column holds what this program does not write. Says nothing of the value: it may be a person's.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the column {column} cannot be read")]
pub(super) struct Unreadable {
    pub(super) column: &'static str,
}
