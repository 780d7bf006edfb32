//! A field as a mapping sees it.

use crate::decode::Field;

/// A field and whether it is the plugin's own remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormField {
    pub field: Field,
    /// Never a lead field by auto, never an extra.
    pub meta: bool,
    /// The fields it was combined from: each can still be named.
    pub parts: Vec<Field>,
}

impl FormField {
    pub(super) fn plain(field: Field) -> Self {
        Self { field, meta: false, parts: Vec::new() }
    }

    /// The field itself, then its parts.
    pub(super) fn names(&self) -> impl Iterator<Item = &Field> {
        std::iter::once(&self.field).chain(&self.parts)
    }
}
