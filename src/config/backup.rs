//! `[backup]`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::snapshot::{Backup, Queue, StoreUrl};

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "[backup]",
    about: "Copies of a SQLite store, made while it is in use.",
    keys: &[
        Key::new("every", KeyShape::Duration, "The time from one copy to the next; at least `1m`.").text("1d"),
        Key::new("to", KeyShape::Text("path"), "The folder that copies are written to, best on another disk.")
            .required(),
        Key::new("keep", KeyShape::Number(1, KEEP_MAX), "How many copies are kept; the oldest is removed first.")
            .number(14),
    ],
};

const EVERY: Duration = Duration::from_secs(24 * 3600);
/// More often, one copy would begin while the last is still being checked.
const EVERY_MIN: Duration = Duration::from_secs(60);
const KEEP: NonZeroU32 = NonZeroU32::new(14).expect("14 is not zero");
const KEEP_MAX: u32 = 10_000;

/// Compiles `[backup]`.
pub(super) fn compile(table: &Table<'_>) -> Option<Backup> {
    let every = table.or("every", EVERY, |value| {
        let every = value.some_time()?;
        if every < EVERY_MIN {
            value.error("`every` is shorter than a minute", Some("\"1d\" makes one copy a day"));
            return None;
        }
        Some(every)
    });
    let to = table.need("to", |value| value.filled().map(|path| value.file().resolve(path)));
    let keep = table.or("keep", KEEP, |value| value.count(KEEP_MAX));
    Some(Backup { every: every?, to: to?, keep: keep? })
}

/// Tells whether copies can be made of a store, and says why not.
pub(super) fn check_store(place: &Value<'_>, queue: &Queue) -> bool {
    match queue.url {
        StoreUrl::Sqlite(_) => true,
        StoreUrl::Memory => {
            let hint = "set [queue].url to a file, such as \"sqlite:data/formgate.db\", or remove [backup]";
            place.warn("[backup] makes no copies: the store is in memory", Some(hint));
            true
        }
        StoreUrl::Postgres(_) => {
            let hint = "back up the database with its own tools, such as pg_basebackup, pg_dump or your provider's backups, \
                        and remove [backup]";
            place.error("[backup] copies a SQLite store; this one is in PostgreSQL", Some(hint));
            false
        }
    }
}
