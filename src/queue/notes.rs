//! Small facts that gateways share, and the [`Notes`] that keep them within bounds.
//!
//! No personal data: whoever erases a lead has nothing to look for here.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use super::key::{InvalidKey, Key};
use super::standing::later;

/// Most notes that one [`Notes::notes`] gives.
pub const NOTES_MAX: usize = 1_000;
/// Most changes that one [`Notes::note_all`] is given; what is more is left out.
pub const CHANGES_MAX: usize = 1_000;
/// Most that a number of a note grows to.
pub const NUMBER_MAX: u64 = i64::MAX.unsigned_abs();

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoteKind {
    /// When a token was last used: by site and token.
    Token,
    /// Which forms post, and when they last did: by site and form.
    Form,
    /// What the posts of a form look like: by site, form and digest of the shape.
    Shape,
    /// What became of a day's posts: by day, site and form.
    Daily,
    /// A gateway that uses the store: by its name.
    Gateway,
    /// Which posts to a site were refused, why and how often: by site.
    Refused,
    /// What the posts of a form that came from pages took of the store: by site, form and day.
    PageForm,
    /// How far a sink has got with events, and how it does: by sink.
    Sink,
    /// What was told to sinks and isn't over yet: by what it is.
    Alarm,
}

/// How much is kept of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteLimits {
    /// Most notes. One more, and the one that was written to the longest ago falls out.
    pub notes_max: u64,
    /// Longest key, in bytes.
    pub key_max: usize,
    /// Longest text, in bytes.
    pub text_max: usize,
    /// Most numbers.
    pub numbers_max: usize,
    /// How long it is kept after it was last written to.
    pub keep: Duration,
}

impl NoteKind {
    pub const ALL: [Self; 9] = [
        Self::Token,
        Self::Form,
        Self::Shape,
        Self::Daily,
        Self::Gateway,
        Self::Refused,
        Self::PageForm,
        Self::Sink,
        Self::Alarm,
    ];

    /// Returns how much is kept of it.
    pub const fn limits(self) -> NoteLimits {
        // Enough that of 5,000 sites nothing falls out before its time: a form a site that posts every day, 40 forms and 20
        // tokens that posted in the time, a page form a site that takes something every day. A day's note has 280 bytes on
        // the disk.
        let (notes_max, key_max, text_max, numbers_max, days) = match self {
            Self::Token => (100_000, 160, 0, 4, 400),
            Self::Form => (200_000, 160, 200, 8, 400),
            Self::Shape => (20_000, 200, 8 * 1_024, 4, 400),
            // 25 months.
            Self::Daily => (4_000_000, 160, 0, 128, 775),
            Self::Gateway => (1_000, 100, 4 * 1_024, 8, 1),
            Self::Refused => (20_001, 160, 8 * 1_024, 4, 400),
            Self::PageForm => (2_000_000, 160, 0, 4, 400),
            Self::Sink => (100_000, 160, 1_024, 0, 400),
            Self::Alarm => (50_000, 160, 1_024, 0, 400),
        };
        NoteLimits { notes_max, key_max, text_max, numbers_max, keep: DAY.saturating_mul(days) }
    }
}

/// How a note is changed: data, so that any database can do it at once, without reading the note first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    pub text: TextMerge,
    pub numbers: NumbersMerge,
}

/// What becomes of a note's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TextMerge {
    #[default]
    Keep,
    /// It is set to this, whatever it was.
    Latest(String),
    /// It is set to this, unless the note has a text.
    First(String),
}

/// What becomes of a note's numbers, each by its place. One that isn't there counts as zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NumbersMerge {
    #[default]
    Keep,
    /// Each is added, up to [`NUMBER_MAX`].
    Add(Vec<u64>),
    /// The greater of each stays.
    Max(Vec<u64>),
}

impl NumbersMerge {
    pub(super) fn numbers(&self) -> &[u64] {
        match self {
            Self::Keep => &[],
            Self::Add(numbers) | Self::Max(numbers) => numbers,
        }
    }
}

/// A change of one note, within the bounds of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteChange {
    pub(super) kind: NoteKind,
    pub(super) key: Key,
    pub(super) merge: Merge,
}

/// Why a note can't be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNote {
    #[error("the key of a note {0}")]
    Key(#[from] InvalidKey),
    #[error("a note of this kind has a key of at most {max} bytes, not {len}")]
    KeyTooLong { len: usize, max: usize },
    #[error("a note of this kind has a text of at most {max} bytes, not {len}")]
    TextTooLong { len: usize, max: usize },
    #[error("a note of this kind has at most {max} numbers, not {len}")]
    TooManyNumbers { len: usize, max: usize },
}

impl NoteChange {
    /// Checks a change against the bounds of its kind.
    pub fn new(kind: NoteKind, key: &str, merge: Merge) -> Result<Self, InvalidNote> {
        let NoteLimits { key_max, text_max, numbers_max, .. } = kind.limits();
        let text_len = match &merge.text {
            TextMerge::Keep => 0,
            TextMerge::Latest(text) | TextMerge::First(text) => text.len(),
        };
        let numbers_len = merge.numbers.numbers().len();
        if key.len() > key_max {
            return Err(InvalidNote::KeyTooLong { len: key.len(), max: key_max });
        }
        if text_len > text_max {
            return Err(InvalidNote::TextTooLong { len: text_len, max: text_max });
        }
        if numbers_len > numbers_max {
            return Err(InvalidNote::TooManyNumbers { len: numbers_len, max: numbers_max });
        }
        Ok(Self { kind, key: Key::parse(key)?, merge })
    }
}

/// A note as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub key: Key,
    pub first_at: Timestamp,
    /// When it was last written to.
    pub last_at: Timestamp,
    pub text: Option<String>,
    pub numbers: Vec<u64>,
}

impl Note {
    /// A note to which nothing was written yet.
    pub(super) fn begin(key: Key, now: Timestamp) -> Self {
        Self { key, first_at: now, last_at: now, text: None, numbers: Vec::new() }
    }

    /// Writes to it. The last to write is the latest, whatever its clock says: a clock that was wrong once must not keep
    /// a note from being written to until its time has come.
    pub(super) fn merge(&mut self, merge: &Merge, now: Timestamp) {
        self.last_at = now;
        match &merge.text {
            TextMerge::Latest(text) => self.text = Some(text.clone()),
            TextMerge::First(text) if self.text.is_none() => self.text = Some(text.clone()),
            TextMerge::First(_) | TextMerge::Keep => {}
        }
        let others = merge.numbers.numbers();
        if self.numbers.len() < others.len() {
            self.numbers.resize(others.len(), 0);
        }
        for (number, other) in self.numbers.iter_mut().zip(others) {
            let merged = match merge.numbers {
                NumbersMerge::Max(_) => (*number).max(*other),
                NumbersMerge::Add(_) | NumbersMerge::Keep => number.saturating_add(*other),
            };
            *number = merged.min(NUMBER_MAX);
        }
    }

    /// Tells whether its time is over.
    pub(super) fn is_over(&self, kind: NoteKind, now: Timestamp) -> bool {
        later(self.last_at, kind.limits().keep) <= now
    }
}

/// The part of a store that keeps notes.
#[async_trait]
pub trait Notes: Send + Sync + 'static {
    /// Writes to a note, making it where there is none. Atomic; a power cut may take back the last ones.
    ///
    /// Of a kind that has as many as it may, the one that was written to the longest ago makes room. A note whose time is over
    /// stays until [`Store::expire`](super::Store::expire) removes it.
    async fn note(&self, change: &NoteChange, now: Timestamp) -> Result<(), StoreError>;

    /// Writes to several notes, each as of its own time: to all, or with an error to none. Up to [`CHANGES_MAX`] at once.
    async fn note_all(&self, changes: &[(NoteChange, Timestamp)]) -> Result<(), StoreError>;

    /// Lists up to `limit` notes of a kind whose keys begin with a text, in the order of their keys, from behind `after` on.
    async fn notes(
        &self,
        kind: NoteKind,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Note>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_checked_against_its_kind() {
        let text = |len| Merge { text: TextMerge::Latest("x".repeat(len)), ..Merge::default() };
        let numbers = |len| Merge { numbers: NumbersMerge::Add(vec![1; len]), ..Merge::default() };
        for kind in NoteKind::ALL {
            let NoteLimits { key_max, text_max, numbers_max, notes_max, keep } = kind.limits();
            assert!(notes_max > 0 && !keep.is_zero());
            let key = "k".repeat(key_max);
            assert!(NoteChange::new(kind, &key, text(text_max)).is_ok(), "{kind:?}");
            assert!(NoteChange::new(kind, &key, numbers(numbers_max)).is_ok(), "{kind:?}");
            let max = text_max;
            let too_long = InvalidNote::TextTooLong { len: text_max + 1, max };
            assert_eq!(NoteChange::new(kind, &key, text(text_max + 1)), Err(too_long));
            let too_many = InvalidNote::TooManyNumbers { len: numbers_max + 1, max: numbers_max };
            assert_eq!(NoteChange::new(kind, &key, numbers(numbers_max + 1)), Err(too_many));
            let too_long = InvalidNote::KeyTooLong { len: key_max + 1, max: key_max };
            assert_eq!(NoteChange::new(kind, &format!("{key}k"), Merge::default()), Err(too_long));
        }
        assert_eq!(NoteChange::new(NoteKind::Form, "", Merge::default()), Err(InvalidNote::Key(InvalidKey)));
    }

    #[test]
    fn what_five_thousand_sites_write_is_kept_for_its_whole_time() {
        for (kind, of_site, is_by_day) in [
            (NoteKind::Daily, 1, true),
            (NoteKind::PageForm, 1, true),
            (NoteKind::Form, 40, false),
            (NoteKind::Token, 20, false),
        ] {
            let NoteLimits { notes_max, keep, .. } = kind.limits();
            let days = if is_by_day { keep.as_secs() / DAY.as_secs() } else { 1 };
            assert!(notes_max >= 5_000 * of_site * days, "{kind:?}");
        }
    }

    #[test]
    fn numbers_stop_at_the_end() {
        let key = Key::parse("a").expect("a key");
        let mut note = Note::begin(key, Timestamp::UNIX_EPOCH);
        for numbers in [NumbersMerge::Add(vec![1, u64::MAX]), NumbersMerge::Add(vec![1, 1])] {
            note.merge(&Merge { numbers, ..Merge::default() }, Timestamp::UNIX_EPOCH);
        }
        assert_eq!(note.numbers, [2, NUMBER_MAX]);
    }
}
