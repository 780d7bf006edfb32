//! The gateways that share a store, as each tells of itself: one note a gateway, written every second while it runs.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    InvalidNote, Merge, NOTES_MAX, Note, NoteChange, NoteKind, Notes, NumbersMerge, Partitions, StoreError, TextMerge,
};

/// Longest name of a gateway, in bytes: with a process' number behind it, it is a [`Key`](super::Key) still.
pub const GATEWAY_NAME_MAX: usize = 80;

/// What a gateway is called among those that share its store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayName(Box<str>);

/// A text that is no [`GatewayName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a gateway's name is 1 to {GATEWAY_NAME_MAX} letters, digits, dots and hyphens")]
pub struct InvalidGatewayName;

impl GatewayName {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, InvalidGatewayName> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let fits = (1..=GATEWAY_NAME_MAX).contains(&text.len()) && text.bytes().all(is_known);
        if fits { Ok(Self(text.into())) } else { Err(InvalidGatewayName) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GatewayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a gateway tells of itself: the text of its note, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayNote {
    /// Of the program.
    pub version: String,
    /// When it was started.
    pub since: Timestamp,
    /// The machine it runs on.
    pub host: String,
    /// Tells its process from another of its name: an upgrade's, or a copy of its data folder.
    pub process: String,
    /// A digest of its sites, to be compared with that of others of its version.
    pub config: String,
    /// What it holds.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub partitions: Partitions,
    /// How many of its sites are in them.
    pub sites: usize,
    /// It can send, and takes part of the partitions.
    pub sends: bool,
}

/// A gateway of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenGateway {
    pub name: GatewayName,
    pub note: GatewayNote,
    /// When its note was last written.
    pub last_seen: Timestamp,
    /// It runs, as far as can be told.
    pub is_live: bool,
    /// It is the one that tells this.
    pub is_this: bool,
}

impl SeenGateway {
    /// Tells whether its sites are others than those of another: of two versions nothing can be told.
    pub fn differs_from(&self, other: &Self) -> bool {
        self.note.version == other.note.version && self.note.config != other.note.config
    }
}

impl GatewayNote {
    /// Makes the change that keeps it.
    pub fn change(&self, name: &GatewayName) -> Result<NoteChange, InvalidNote> {
        change(name, serde_json::to_string(self).unwrap_or_default())
    }

    /// Makes the change that tells that a gateway has stopped: a note can't be removed, so it is left empty.
    pub fn stopped(name: &GatewayName) -> Result<NoteChange, InvalidNote> {
        change(name, String::new())
    }

    /// Reads a gateway's note; none where it has stopped, or a program that isn't known wrote it.
    pub fn read(note: &Note) -> Option<(GatewayName, Self)> {
        let name = GatewayName::parse(note.key.as_str()).ok()?;
        Some((name, serde_json::from_str(note.text.as_deref()?).ok()?))
    }
}

fn change(name: &GatewayName, text: String) -> Result<NoteChange, InvalidNote> {
    let merge = Merge { text: TextMerge::Latest(text), numbers: NumbersMerge::Keep };
    NoteChange::new(NoteKind::Gateway, name.as_str(), merge)
}

/// Lists the notes of the gateways of a store: of all that ran within a day, at most [`NOTES_MAX`].
pub async fn gateway_notes(store: &(impl Notes + ?Sized)) -> Result<Vec<Note>, StoreError> {
    store.notes(NoteKind::Gateway, "", None, NOTES_MAX).await
}

// Not as a number: not every reader of JSON has 64 bits for one.
fn to_hex<S: Serializer>(partitions: &Partitions, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{:016x}", partitions.bits()))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Partitions, D::Error> {
    let text = String::deserialize(deserializer)?;
    u64::from_str_radix(&text, 16).map(Partitions::from_bits).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Key, Partition};

    fn note(text: &str) -> Note {
        let at = Timestamp::UNIX_EPOCH;
        let key = Key::parse("web-1-4f2a").expect("a key");
        Note { key, first_at: at, last_at: at, text: Some(text.to_owned()), numbers: Vec::new() }
    }

    #[test]
    fn a_gateway_is_read_as_it_was_written() {
        let written = GatewayNote {
            version: "0.1.0".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            host: "web-1".to_owned(),
            process: "1f".to_owned(),
            config: "ab".to_owned(),
            partitions: Partition::all().skip(60).collect(),
            sites: 3,
            sends: true,
        };
        let text = serde_json::to_string(&written).expect("JSON");
        assert!(text.contains(r#""partitions":"f000000000000000""#), "{text}");
        let name = GatewayName::parse("web-1-4f2a").expect("a name");
        assert_eq!(GatewayNote::read(&note(&text)), Some((name.clone(), written.clone())));
        assert!(written.change(&name).is_ok());
        // A later version may tell more.
        let more = text.replacen('{', r#"{"zone":"b","#, 1);
        assert_eq!(GatewayNote::read(&note(&more)).map(|(_, note)| note), Some(written));
        for no_gateway in ["", "{", &text.replace("f000", "g000")] {
            assert_eq!(GatewayNote::read(&note(no_gateway)), None, "{no_gateway}");
        }
    }

    #[test]
    fn a_name_fits_into_a_note_and_a_log_line() {
        assert!(GatewayName::parse(&"x".repeat(GATEWAY_NAME_MAX)).is_ok());
        for bad in ["", "web 1", "web/1", "wéb", &"x".repeat(GATEWAY_NAME_MAX + 1)] {
            assert_eq!(GatewayName::parse(bad), Err(InvalidGatewayName), "{bad}");
        }
    }
}
