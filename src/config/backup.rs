//! `[backup]`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::reader::{KnownKeys, Table, Value};
use super::snapshot::{Backup, Queue, StoreUrl};

pub(super) const KEYS: KnownKeys = KnownKeys { table: "[backup]", keys: &["every", "to", "keep"] };

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

/// Warns where copies are wanted of a store that is no file.
pub(super) fn warn_of_no_file(place: &Value<'_>, queue: &Queue) {
    if queue.url == StoreUrl::Memory {
        let message = "[backup] makes no copies: the store is in memory";
        place.warn(message, Some("set [queue].url to a file, such as \"sqlite:data/formgate.db\", or remove [backup]"));
    }
}
