//! Values: text, numbers, dates, and what is written as text with a unit.

use std::ops::Range;

use toml::de::DeValue;
use toml::{Spanned, value::Date};

use super::super::diagnostic::Severity;
use super::super::source::SourceFile;
use super::super::suggest::nearest;
use super::super::{snapshot, values};
use super::known::KnownKeys;
use super::table::Table;

/// A value, and under which key it stands.
#[derive(Clone)]
pub(in crate::config) struct Value<'a> {
    file: &'a SourceFile,
    key: &'a str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub(super) fn new(file: &'a SourceFile, key: &'a str, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { file, key, value }
    }

    pub(in crate::config) fn file(&self) -> &'a SourceFile {
        self.file
    }

    pub(in crate::config) fn key(&self) -> &'a str {
        self.key
    }

    pub(in crate::config) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    pub(in crate::config) fn inner(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    pub(in crate::config) fn error(&self, message: &str, hint: Option<&str>) {
        self.file.report(Severity::Error, self.span(), message, hint);
    }

    pub(in crate::config) fn warn(&self, message: &str, hint: Option<&str>) {
        self.file.report(Severity::Warning, self.span(), message, hint);
    }

    fn must_be(&self, wanted: &str, hint: Option<&str>) {
        let found = type_name(self.inner());
        self.error(&format!("`{}` must be {wanted}, not {found}", self.key), hint);
    }

    /// Reads text.
    pub(in crate::config) fn text(&self) -> Option<&'a str> {
        let text = self.inner().as_str();
        if text.is_none() {
            let dotted = matches!(self.inner(), DeValue::Table(_)).then_some("quote a key that contains a dot");
            self.must_be("a string", dotted);
        }
        text
    }

    /// Reads text that says something.
    pub(in crate::config) fn filled(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.error(&format!("`{}` is empty", self.key), None);
            return None;
        }
        Some(text)
    }

    /// Reads text that `parse` takes; its error is a fragment that follows the key.
    pub(in crate::config) fn parse<T, E: std::fmt::Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let read = parse(self.text()?);
        read.map_err(|error| self.error(&format!("`{}` {error}", self.key), None)).ok()
    }

    /// Reads a value with a unit; a bare number is told that it lacks one.
    fn with_unit<T>(&self, parse: impl FnOnce(&str) -> Result<T, values::InvalidValue>, sample: &str) -> Option<T> {
        if let DeValue::Integer(number) = self.inner() {
            self.must_be("a string", Some(&format!("write it with its unit: \"{}{sample}\"", number.as_str())));
            return None;
        }
        self.parse(parse)
    }

    pub(in crate::config) fn duration(&self) -> Option<std::time::Duration> {
        self.with_unit(values::duration, "s")
    }

    /// Reads a duration where a few words may stand, too; `choices` names all that may be written.
    pub(in crate::config) fn duration_or(&self, choices: &str) -> Option<std::time::Duration> {
        let is_text = |text: &str| values::duration(text) == Err(values::InvalidValue::Duration);
        if self.inner().as_str().is_some_and(is_text) {
            self.error(&format!("`{}` must be {choices}", self.key), None);
            return None;
        }
        self.duration()
    }

    /// Reads a duration above zero.
    pub(in crate::config) fn some_time(&self) -> Option<std::time::Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            self.error(&format!("`{}` must be longer than zero", self.key), None);
            return None;
        }
        Some(duration)
    }

    /// Reads a size above zero.
    pub(in crate::config) fn size(&self) -> Option<u64> {
        let size = self.with_unit(values::size, "B")?;
        if size == 0 {
            self.error(&format!("`{}` must be more than zero", self.key), None);
            return None;
        }
        Some(size)
    }

    pub(in crate::config) fn rate(&self) -> Option<snapshot::Rate> {
        self.with_unit(values::rate, "/min")
    }

    /// Reads a whole number from 1 to `max`.
    pub(in crate::config) fn count(&self, max: u32) -> Option<std::num::NonZeroU32> {
        let DeValue::Integer(number) = self.inner() else {
            self.must_be("a whole number", None);
            return None;
        };
        let count = u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|count| *count <= max);
        let count = count.and_then(std::num::NonZeroU32::new);
        if count.is_none() {
            self.error(&format!("`{}` must be a whole number from 1 to {max}", self.key), None);
        }
        count
    }

    /// Reads a whole number from 0 to `max`.
    pub(in crate::config) fn number(&self, max: u32) -> Option<usize> {
        let DeValue::Integer(number) = self.inner() else {
            self.must_be("a whole number", None);
            return None;
        };
        let count = u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|count| *count <= max);
        if count.is_none() {
            self.error(&format!("`{}` must be a whole number from 0 to {max}", self.key), None);
        }
        count.and_then(|count| usize::try_from(count).ok())
    }

    /// Reads a number from 0 to 1.
    pub(in crate::config) fn share(&self) -> Option<f64> {
        let written = match self.inner() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let share = written.filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            self.error(&format!("`{}` must be a number from 0 to 1, such as 0.8", self.key), None);
        }
        share
    }

    pub(in crate::config) fn boolean(&self) -> Option<bool> {
        let flag = self.inner().as_bool();
        if flag.is_none() {
            self.must_be("true or false", None);
        }
        flag
    }

    /// Reads a date without time.
    pub(in crate::config) fn date(&self) -> Option<Date> {
        match self.inner() {
            DeValue::Datetime(toml::value::Datetime { date: Some(date), time: None, offset: None }) => Some(*date),
            DeValue::String(_) => {
                self.must_be("a date", Some("write it without quotes, such as 2027-06-30"));
                None
            }
            _ => {
                self.must_be("a date such as 2027-06-30", None);
                None
            }
        }
    }

    /// Reads one of a few words.
    pub(in crate::config) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let hint =
                nearest(text, choices.iter().map(|(word, _)| *word)).map(|word| format!("did you mean \"{word}\"?"));
            self.error(&format!("`{}` must be {}", self.key, words.join(" or ")), hint.as_deref());
        }
        found
    }

    pub(in crate::config) fn table(&self, keys: KnownKeys) -> Option<Table<'a>> {
        let DeValue::Table(entries) = self.inner() else {
            self.must_be("a table", None);
            return None;
        };
        Some(Table::open(self.file, entries, self.span(), keys))
    }

    /// Reads a table whose keys are names chosen by its writer, in the order they stand in the file.
    pub(in crate::config) fn named(&self) -> Option<Vec<NamedValue<'a>>> {
        let DeValue::Table(entries) = self.inner() else {
            self.must_be("a table", None);
            return None;
        };
        let named = |(key, value): (&'a Spanned<_>, &'a Spanned<_>)| {
            let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
            NamedValue {
                name: name.as_ref(),
                key_span: key.span(),
                value: Value { file: self.file, key: name.as_ref(), value },
            }
        };
        let mut list: Vec<NamedValue<'a>> = entries.iter().map(named).collect();
        list.sort_by_key(|entry| entry.key_span.start);
        Some(list)
    }

    /// Reads a list, each item by `read`; all items are read before one that failed counts.
    pub(in crate::config) fn list_of<T>(&self, mut read: impl FnMut(&Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        let Some(items) = self.items() else {
            self.must_be("a list", None);
            return None;
        };
        all(items.iter().map(&mut read))
    }

    /// Reads a list, or one value as a list of one.
    pub(in crate::config) fn one_or_more<T>(&self, mut read: impl FnMut(&Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        match self.items() {
            Some(items) => all(items.iter().map(&mut read)),
            None => read(self).map(|one| vec![one]),
        }
    }

    /// Returns the items of a list.
    pub(in crate::config) fn items(&self) -> Option<Vec<Value<'a>>> {
        let items = self.inner().as_array()?;
        Some(items.iter().map(|value| Value { file: self.file, key: self.key, value }).collect())
    }

    /// Returns the span of a byte of this string: exact where it is written without escapes, else the whole string's.
    pub(in crate::config) fn span_at(&self, offset: Option<usize>) -> Range<usize> {
        let span = self.span();
        let raw = self.file.raw(span.clone());
        let opening =
            ["\"\"\"\n", "'''\n", "\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| raw.starts_with(quote));
        let as_written = !raw.contains('\r') && (raw.starts_with('\'') || !raw.contains('\\'));
        match (offset, opening) {
            (Some(offset), Some(quote)) if as_written => {
                let at = span.start + quote.len() + offset;
                at..at + 1
            }
            _ => span,
        }
    }
}

/// One entry of a table whose keys are names.
pub(in crate::config) struct NamedValue<'a> {
    pub(in crate::config) name: &'a str,
    pub(in crate::config) key_span: Range<usize>,
    pub(in crate::config) value: Value<'a>,
}

/// Collects what was read, if all of it could be; reads on after a failure.
pub(in crate::config) fn all<T>(read: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let read: Vec<Option<T>> = read.collect();
    read.into_iter().collect()
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
