//! What is known of each key: what it takes, what counts without it, and what it does.
//!
//! One list for all who need it: reading refuses other keys, `formgate schema` tells editors, and
//! `docs/reference/configuration.md` is written from it.

/// The keys that a table may have, and the table's name in messages.
#[derive(Clone, Copy, Debug)]
pub struct KnownKeys {
    /// As a person would name it: `[server]`, `[queue] retry`, `a site`.
    pub table: &'static str,
    /// What the table is.
    pub about: &'static str,
    pub keys: &'static [Key],
}

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub shape: KeyShape,
    pub default: KeyDefault,
    /// What it does, in a sentence or two.
    pub about: &'static str,
}

/// What a key's value may be. Tables go by the names that they have in messages.
#[derive(Clone, Copy, Debug)]
pub enum KeyShape {
    /// A string; the noun says of what kind.
    Text(&'static str),
    Flag,
    /// A whole number from the first to the second.
    Number(u32, u32),
    /// A number from 0 to 1.
    Share,
    Choice(&'static [&'static str]),
    Duration,
    /// A duration, or one of a few words.
    DurationOr(&'static [&'static str]),
    Size,
    Rate,
    Date,
    Table(&'static str),
    Tables(&'static str),
    /// Tables by names of the user's.
    Named(&'static str),
    TableOrTables(&'static str),
    /// A string of a kind, or a table.
    TextOr(&'static str, &'static str),
    /// The same, or a list of such.
    TextsOr(&'static str, &'static str),
    /// As `TextsOr`, or another table in place of the list.
    TextsOrTable(&'static str, &'static str, &'static str),
    /// Strings of a kind, in the plural.
    Texts(&'static str),
    /// A string of a kind, or several: the kind in the singular and in the plural.
    TextOrTexts(&'static str, &'static str),
    /// A table of strings; what they are, and by what.
    TextByName(&'static str),
    /// A table of strings, numbers and truths.
    ValueByName(&'static str),
}

/// What counts where a key isn't written.
#[derive(Clone, Copy, Debug)]
pub enum KeyDefault {
    /// Nothing.
    None,
    /// It must be written.
    Required,
    Text(&'static str),
    Number(u32),
    Flag(bool),
    Texts(&'static [&'static str]),
    /// A table with these members.
    Members(&'static [(&'static str, KeyDefault)]),
    /// What depends on something else, in words.
    Words(&'static str),
}

impl KnownKeys {
    /// Returns a key by its name.
    pub fn get(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub(in crate::config) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.keys.iter().map(|key| key.name)
    }
}

impl Key {
    /// A key without which nothing counts.
    pub(in crate::config) const fn new(name: &'static str, shape: KeyShape, about: &'static str) -> Self {
        Self { name, shape, default: KeyDefault::None, about }
    }

    pub(in crate::config) const fn required(self) -> Self {
        self.with(KeyDefault::Required)
    }

    pub(in crate::config) const fn text(self, default: &'static str) -> Self {
        self.with(KeyDefault::Text(default))
    }

    pub(in crate::config) const fn number(self, default: u32) -> Self {
        self.with(KeyDefault::Number(default))
    }

    pub(in crate::config) const fn flag(self, default: bool) -> Self {
        self.with(KeyDefault::Flag(default))
    }

    pub(in crate::config) const fn texts(self, default: &'static [&'static str]) -> Self {
        self.with(KeyDefault::Texts(default))
    }

    pub(in crate::config) const fn members(self, default: &'static [(&'static str, KeyDefault)]) -> Self {
        self.with(KeyDefault::Members(default))
    }

    pub(in crate::config) const fn words(self, default: &'static str) -> Self {
        self.with(KeyDefault::Words(default))
    }

    const fn with(self, default: KeyDefault) -> Self {
        Self { name: self.name, shape: self.shape, default, about: self.about }
    }
}

impl KeyDefault {
    pub(super) fn is_required(self) -> bool {
        matches!(self, Self::Required)
    }

    /// Tells whether something counts where the key isn't written.
    pub(super) fn is_stated(self) -> bool {
        !matches!(self, Self::None | Self::Required)
    }
}
