//! Tables: every key known, each read once with its default.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::diagnostic::Severity;
use super::super::source::SourceFile;
use super::super::suggest::nearest;
use super::known::{KeyDefault, KnownKeys};
use super::value::Value;

/// A table whose keys are all known.
#[derive(Clone)]
pub(in crate::config) struct Table<'a> {
    file: &'a SourceFile,
    keys: KnownKeys,
    entries: &'a DeTable<'a>,
    /// Where the table begins; a missing key is reported there.
    span: Range<usize>,
    has_unknown: bool,
}

impl<'a> Table<'a> {
    /// Opens a file's root; keys not among `keys` are reported.
    pub(in crate::config) fn root(file: &'a SourceFile, entries: &'a DeTable<'a>, keys: KnownKeys) -> Self {
        Self::open(file, entries, 0..0, keys)
    }

    /// Opens a root of which only some keys are to be looked at.
    pub(in crate::config) fn unchecked(file: &'a SourceFile, entries: &'a DeTable<'a>, keys: KnownKeys) -> Self {
        Self { file, keys, entries, span: 0..0, has_unknown: false }
    }

    pub(super) fn open(file: &'a SourceFile, entries: &'a DeTable<'a>, span: Range<usize>, keys: KnownKeys) -> Self {
        let mut has_unknown = false;
        for (key, _) in entries.iter() {
            let name = key.get_ref().as_ref();
            if keys.get(name).is_some() {
                continue;
            }
            has_unknown = true;
            let hint = nearest(name, keys.names()).map_or_else(
                || format!("known keys: {}", keys.names().collect::<Vec<_>>().join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            file.report(Severity::Error, key.span(), &format!("unknown key `{name}` in {}", keys.table), Some(&hint));
        }
        Self { file, keys, entries, span, has_unknown }
    }

    pub(in crate::config) fn file(&self) -> &'a SourceFile {
        self.file
    }

    pub(in crate::config) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Tells whether a key was reported as unknown: what seems to be missing may only be misspelt.
    pub(in crate::config) fn has_unknown(&self) -> bool {
        self.has_unknown
    }

    /// Tells whether a key isn't there, but one is that nobody knows and that looks like it.
    pub(in crate::config) fn is_misspelt(&self, key: &'static str) -> bool {
        let looks_like_it = |(name, _): (&Spanned<_>, _)| {
            let name: &std::borrow::Cow<'_, str> = name.get_ref();
            !self.knows(name) && nearest(name, [key]).is_some()
        };
        !self.has(key) && self.entries.iter().any(looks_like_it)
    }

    /// Reports a problem of the table as a whole.
    pub(in crate::config) fn error(&self, message: &str, hint: Option<&str>) {
        self.file.report(Severity::Error, self.span(), message, hint);
    }

    pub(in crate::config) fn has(&self, key: &'static str) -> bool {
        self.entries.contains_key(key)
    }

    /// Tells whether a key may stand here at all.
    pub(in crate::config) fn knows(&self, key: &str) -> bool {
        self.keys.get(key).is_some()
    }

    pub(in crate::config) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.knows(key), "{key} is read but not known in {}", self.keys.table);
        Some(Value::new(self.file, key, self.entries.get(key)?))
    }

    /// Returns what is said to count where a key isn't written.
    fn stated(&self, key: &str) -> KeyDefault {
        self.keys.get(key).map_or(KeyDefault::None, |known| known.default)
    }

    /// Reads a key that may be absent: `Some(None)` then.
    pub(in crate::config) fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        debug_assert!(!self.stated(key).is_required(), "{key} is said to be required in {}", self.keys.table);
        match self.get(key) {
            None => Some(None),
            Some(value) => read(&value).map(Some),
        }
    }

    /// Reads a key that has a default.
    pub(in crate::config) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        debug_assert!(self.stated(key).is_stated(), "the default of {key} isn't stated in {}", self.keys.table);
        self.get(key).map_or(Some(default), |value| read(&value))
    }

    /// Reads a key that gives several of something, or of which each is a matter of its own; absent gives none.
    pub(in crate::config) fn or_empty<T: Default>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        debug_assert!(!self.stated(key).is_required(), "{key} is said to be required in {}", self.keys.table);
        self.get(key).map_or_else(|| Some(T::default()), |value| read(&value))
    }

    /// Reads a key that must be there.
    pub(in crate::config) fn need<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        let is_said = matches!(self.stated(key), KeyDefault::Required | KeyDefault::Words(_));
        debug_assert!(is_said, "{key} isn't said to be required in {}", self.keys.table);
        let Some(value) = self.get(key) else {
            if self.is_misspelt(key) {
                return None;
            }
            self.error(&format!("`{key}` is missing in {}", self.keys.table), None);
            return None;
        };
        read(&value)
    }

    /// Reads a table under a key; absent gives the default.
    pub(in crate::config) fn section<T: Default>(
        &self,
        key: &'static str,
        keys: KnownKeys,
        read: impl FnOnce(&Table<'a>) -> Option<T>,
    ) -> Option<T> {
        self.or_empty(key, |value| read(&value.table(keys)?))
    }

    /// Reads `[[key]]` tables; absent gives none.
    pub(in crate::config) fn sections<T>(
        &self,
        key: &'static str,
        keys: KnownKeys,
        mut read: impl FnMut(&Table<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.or_empty(key, |value| {
            if matches!(value.inner(), DeValue::Table(_)) {
                value.error(&format!("`{key}` must be a list of tables"), Some(&format!("write [[{key}]]")));
                return None;
            }
            value.list_of(|item| read(&item.table(keys)?))
        })
    }
}
