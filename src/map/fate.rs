//! What became of each field: known while it is decided, never guessed from its value afterwards.

use crate::lead::LeadField;

/// What became of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// These fields of the lead were made of it; at least one.
    Lead(Vec<LeadField>),
    /// It is the extra at this index, or a part of it.
    Extra(usize),
    /// The lead says it already.
    Repeated,
    /// A rule leaves it out.
    Dropped,
    /// It is the plugin's own remark.
    Meta,
    /// The visitor left it empty.
    Empty,
}
