//! The columns of an entry's row, read one by one: of a row that is not SQLite's to give any more.

use jiff::Timestamp;
use rusqlite::types::Value;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as NotOne, StrDeserializer};

use super::super::failure::Failure;
use super::super::row::from_millisecond;
use crate::lead::EntryId;
use crate::queue::codes::Code;
use crate::queue::unreadable::Unreadable;

/// The columns of an entry.
pub(in crate::queue::sqlite) struct Columns<'v>(pub(in crate::queue::sqlite) &'v [Value]);

impl Columns<'_> {
    /// Returns the id, which is the second in every version.
    pub(in crate::queue::sqlite) fn id(&self) -> Result<EntryId, Failure> {
        match self.0.get(1) {
            Some(Value::Blob(id)) => <[u8; 16]>::try_from(&**id).ok().map(EntryId::from_bytes),
            _ => None,
        }
        .ok_or_else(|| Unreadable { column: "id" }.into())
    }

    pub(in crate::queue::sqlite) fn blob(&self, at: usize, column: &'static str) -> Result<Option<&[u8]>, Failure> {
        match self.0.get(at) {
            Some(Value::Blob(bytes)) => Ok(Some(bytes)),
            Some(Value::Null) => Ok(None),
            _ => Err(Unreadable { column }.into()),
        }
    }

    pub(in crate::queue::sqlite) fn time(&self, at: usize, column: &'static str) -> Result<Timestamp, Failure> {
        from_millisecond(self.integer(at, column)?, column)
    }

    pub(in crate::queue::sqlite) fn optional_time(
        &self,
        at: usize,
        column: &'static str,
    ) -> Result<Option<Timestamp>, Failure> {
        self.optional(at, column)?.map(|millisecond| from_millisecond(millisecond, column)).transpose()
    }

    pub(in crate::queue::sqlite) fn optional(&self, at: usize, column: &'static str) -> Result<Option<i64>, Failure> {
        match self.0.get(at) {
            Some(Value::Integer(value)) => Ok(Some(*value)),
            Some(Value::Null) => Ok(None),
            _ => Err(Unreadable { column }.into()),
        }
    }

    pub(in crate::queue::sqlite) fn integer(&self, at: usize, column: &'static str) -> Result<i64, Failure> {
        self.optional(at, column)?.ok_or_else(|| Unreadable { column }.into())
    }

    pub(in crate::queue::sqlite) fn count(&self, at: usize, column: &'static str) -> Result<u32, Failure> {
        u32::try_from(self.integer(at, column)?).map_err(|_negative| Unreadable { column }.into())
    }

    pub(in crate::queue::sqlite) fn optional_text(
        &self,
        at: usize,
        column: &'static str,
    ) -> Result<Option<&str>, Failure> {
        match self.0.get(at) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(Unreadable { column }.into()),
        }
    }

    pub(in crate::queue::sqlite) fn text(&self, at: usize, column: &'static str) -> Result<&str, Failure> {
        self.optional_text(at, column)?.ok_or_else(|| Unreadable { column }.into())
    }

    /// Reads one word of a closed set, as former versions wrote it.
    pub(in crate::queue::sqlite) fn word<T: DeserializeOwned>(
        &self,
        at: usize,
        column: &'static str,
    ) -> Result<T, Failure> {
        let word = T::deserialize(StrDeserializer::<NotOne>::new(self.text(at, column)?));
        word.map_err(|_unknown| Unreadable { column }.into())
    }

    /// Reads one word of a closed set.
    pub(in crate::queue::sqlite) fn code<T: Code>(&self, at: usize, column: &'static str) -> Result<T, Failure> {
        let word = u8::try_from(self.integer(at, column)?).ok().and_then(T::from_code);
        word.ok_or_else(|| Unreadable { column }.into())
    }
}
