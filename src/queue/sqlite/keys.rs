//! Which keys were seen within the window, and the entries that had them first.
//!
//! They are kept in memory: on disk their index has its pages all over, and each page that changes is written whole at
//! every commit. The rows of `entry` hold them too, so that they outlive the process, and so that another process that
//! shares the store during an upgrade finds them.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::failure::Failure;
use crate::lead::EntryId;
use crate::queue::DedupePrefix;
use crate::queue::standing::{forget_until, is_duplicate};

/// Most keys that are remembered: some 200 MB. Of more, the oldest are forgotten within the window.
pub(super) const REMEMBERED_MAX: usize = 4_000_000;
/// Below this many, none is ever looked through for being old.
const SWEPT_MIN: usize = 4_096;

/// The keys. True only of what was committed.
#[derive(Debug)]
pub(super) struct Keys {
    seen: HashMap<DedupePrefix, (EntryId, i64), foldhash::fast::RandomState>,
    /// The entry that was looked at last; those of other processes come after it.
    upto: i64,
    /// The same as of the last commit.
    committed_upto: i64,
    /// How many there may be before old ones are looked for.
    sweep_at: usize,
    /// Whether damage was met where they lie: what came before this process is then not known.
    given_up: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self { seen: HashMap::default(), upto: 0, committed_upto: 0, sweep_at: SWEPT_MIN, given_up: false }
    }
}

impl Keys {
    /// Returns the entry that had a key first, if that is within the window of `now`.
    pub(super) fn first(&self, key: DedupePrefix, now: Timestamp, window: Duration) -> Option<EntryId> {
        let (id, seen_at) = self.seen.get(&key)?;
        let first = Timestamp::from_millisecond(*seen_at).ok()?;
        is_duplicate(first, now, window).then_some(*id)
    }

    /// Remembers the key of an entry that is entered.
    pub(super) fn add(
        &mut self,
        number: i64,
        id: EntryId,
        accepted_at: i64,
        key: Option<DedupePrefix>,
        window: Duration,
    ) {
        self.upto = self.upto.max(number);
        let Some(key) = key else { return };
        self.seen.insert(key, (id, accepted_at));
        if self.seen.len() >= self.sweep_at {
            self.sweep(accepted_at, window);
        }
    }

    /// Remembers the key of an entry that was salvaged; one that came again since stays with what came since.
    pub(super) fn add_if_newer(&mut self, id: EntryId, accepted_at: i64, key: Option<DedupePrefix>) {
        let Some(key) = key else { return };
        let known = self.seen.entry(key).or_insert((id, accepted_at));
        if known.1 < accepted_at {
            *known = (id, accepted_at);
        }
    }

    /// Reads no keys of other processes any more; tells whether it did until now.
    pub(super) fn give_up(&mut self) -> bool {
        !std::mem::replace(&mut self.given_up, true)
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.given_up
    }

    /// Says that what was added is committed.
    pub(super) fn commit(&mut self) {
        self.committed_upto = self.upto;
    }

    /// Says that what was added since the last commit may be of other entries. Keys of entries that are not there harm
    /// nobody: whoever finds one looks for its entry.
    pub(super) fn take_back(&mut self) {
        self.upto = self.committed_upto;
    }

    /// Forgets keys that no append can meet any more. Each is looked at a few times at most: there are twice as many before
    /// the next time.
    fn sweep(&mut self, now: i64, window: Duration) {
        let until = Timestamp::from_millisecond(now).map_or(i64::MIN, |now| forget_until(now, window).as_millisecond());
        self.seen.retain(|_, (_, seen_at)| *seen_at > until);
        if self.seen.len() >= REMEMBERED_MAX {
            let mut times: Vec<_> = self.seen.values().map(|(_, seen_at)| *seen_at).collect();
            let middle = times.len() / 2;
            let (_, middle, _) = times.select_nth_unstable(middle);
            let middle = *middle;
            self.seen.retain(|_, (_, seen_at)| *seen_at > middle);
        }
        self.sweep_at = (2 * self.seen.len()).clamp(SWEPT_MIN, REMEMBERED_MAX);
    }

    /// Reads the keys of entries that this process didn't enter, the newest first, as far back as they count. Among them may
    /// be old ones that were salvaged.
    pub(super) fn refresh(&mut self, connection: &Connection, window: Duration) -> Result<(), Failure> {
        if self.given_up {
            return Ok(());
        }
        let mut newer = connection.prepare_cached(
            "SELECT number, id, accepted_at, dedupe_key FROM entry WHERE number > ?1 ORDER BY number DESC",
        )?;
        let adopted = adopted(connection)?;
        let mut rows = newer.query([self.upto])?;
        let mut until = None;
        let mut upto = self.upto;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let accepted_at: i64 = row.get(2)?;
            upto = upto.max(number);
            if self.seen.len() >= REMEMBERED_MAX {
                break;
            }
            if !adopted.contains(&number) {
                let newest = Timestamp::from_millisecond(accepted_at).ok();
                let until = *until.get_or_insert_with(|| {
                    newest.map_or(i64::MIN, |newest| forget_until(newest, window).as_millisecond())
                });
                if accepted_at <= until {
                    break;
                }
            }
            // There it is now, whoever had the key before.
            let key = row.get::<_, Option<[u8; 16]>>(3)?.map(DedupePrefix);
            if let Some(key) = key {
                let id = EntryId::from_bytes(row.get(1)?);
                let known = self.seen.entry(key).or_insert((id, accepted_at));
                if known.1 <= accepted_at {
                    *known = (id, accepted_at);
                }
            }
        }
        self.upto = upto;
        self.sweep_at = (2 * self.seen.len()).clamp(SWEPT_MIN, REMEMBERED_MAX);
        Ok(())
    }
}

/// Returns the numbers between which entries were salvaged: their times say nothing of when those before them came.
fn adopted(connection: &Connection) -> Result<RangeInclusive<i64>, Failure> {
    let mut find = connection.prepare_cached("SELECT coalesce(max(value), ?2) FROM meta WHERE key = ?1")?;
    let mut number = |key: &str, otherwise: i64| find.query_row(params![key, otherwise], |row| row.get(0));
    Ok(number("adopted_from", 1)?..=number("adopted_upto", 0)?)
}

/// Remembers between which numbers entries were salvaged.
pub(super) fn note_adopted(connection: &Connection, from: i64, upto: i64) -> Result<(), Failure> {
    let mut note = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES ('adopted_from', ?1), ('adopted_upto', ?2)
            ON CONFLICT DO UPDATE SET value = iif(key = 'adopted_from', min(value, excluded.value), excluded.value)",
    )?;
    note.execute([from, upto])?;
    Ok(())
}
