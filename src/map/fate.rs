//! What became of each field: known while it is decided, never guessed from its value afterwards.

use crate::lead::LeadField;

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// These fields of the lead were made of it; at least one.
    Lead(LeadFields),
    /// It is the extra at this index, or a part of it.
    Extra(usize),
    /// The lead says it already.
    Repeated,
    /// A rule leaves it out.
    Dropped,
    /// It is the plugin's own remark, or a program added it.
    Meta,
    /// A key or password: never sent, never shown.
    Secret,
    /// The visitor left it empty.
    Empty,
}

/// Some of the fields of a lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeadFields {
    /// In the order of [`LeadField::ALL`].
    has: [bool; LeadField::ALL.len()],
}

impl LeadFields {
    pub fn iter(self) -> impl Iterator<Item = LeadField> {
        LeadField::ALL.into_iter().zip(self.has).filter(|(_, has)| *has).map(|(field, _)| field)
    }

    /// Returns these and one more.
    pub(super) fn with(self, field: LeadField) -> Self {
        self.set(field, true)
    }

    /// Returns these but for one.
    pub(super) fn without(self, field: LeadField) -> Self {
        self.set(field, false)
    }

    fn set(mut self, field: LeadField, is_in: bool) -> Self {
        let place = LeadField::ALL.into_iter().zip(&mut self.has).find(|(other, _)| *other == field);
        place.into_iter().for_each(|(_, has)| *has = is_in);
        self
    }

    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}
