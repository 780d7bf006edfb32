//! A field as a mapping sees it.

use crate::decode::Field;

/// A field and whether it is the plugin's own remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormField<'a> {
    pub field: Field<'a>,
    /// Never a lead field by auto, never an extra.
    pub meta: bool,
    /// The fields it was combined from: each can still be named.
    pub parts: &'a [Field<'a>],
}

impl<'a> FormField<'a> {
    pub(super) fn plain(field: Field<'a>) -> Self {
        Self { field, meta: false, parts: &[] }
    }

    /// The field itself, then its parts.
    pub(super) fn names(&self) -> impl Iterator<Item = &Field<'a>> {
        std::iter::once(&self.field).chain(self.parts)
    }
}
