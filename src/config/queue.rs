//! `[queue]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::secret::{Sources, secret};
use super::snapshot::{Keep, Queue, Retry, StoreUrl};
use crate::postgres_url::{InvalidPostgresUrl, PostgresUrl};

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "[queue]",
    about: "Where submissions are stored, for how long, and when a lead is tried again.",
    keys: &[
        Key::new(
            "url",
            KeyShape::TextOr("string", "a secret"),
            "The store: `sqlite:PATH`, `postgres://USER:PASSWORD@HOST/DATABASE`, which several gateways can share, \
             or `memory:`, which loses everything at a stop.",
        )
        .text("sqlite:data/formgate.db"),
        Key::new("retry", KeyShape::Table("[queue] retry"), "When a failed delivery is tried again."),
        Key::new(
            "keep",
            KeyShape::Table("[queue] keep"),
            "How long leads are kept once they aren't queued any more. Queued leads are kept until they are sent.",
        ),
        Key::new(
            "dedupe",
            KeyShape::Duration,
            "The same submission counts once within this time; `0s` turns that off.",
        )
        .text("10m"),
        Key::new(
            "max_size",
            KeyShape::Size,
            "The largest that the store may become. Over it, submissions are answered 503; no queued lead is \
             removed.",
        )
        .text("10GiB"),
    ],
};
pub(super) const RETRY: KnownKeys = KnownKeys {
    table: "[queue] retry",
    about: "When a failed delivery is tried again: the wait grows from `first` to `max`.",
    keys: &[
        Key::new("first", KeyShape::Duration, "The wait after the first failed attempt.").text("5s"),
        Key::new("max", KeyShape::Duration, "The longest wait between two attempts. At least `first`.").text("1h"),
        Key::new(
            "give_up_after",
            KeyShape::Duration,
            "A lead that failed for this long is dead, after 12 attempts at the earliest. Time in which its site is \
             paused doesn't count.",
        )
        .text("14d"),
    ],
};
pub(super) const KEEP: KnownKeys = KnownKeys {
    table: "[queue] keep",
    about: "How long leads are kept, by state.",
    keys: &[
        Key::new("delivered", KeyShape::Duration, "Leads that KaiCalls took.").text("30d"),
        Key::new("held", KeyShape::Duration, "Leads that wait for a person.").text("90d"),
        Key::new("dead", KeyShape::Duration, "Leads that were given up.").text("90d"),
    ],
};

/// The data folder, beside the configuration, unless it is named.
pub(super) const DATA: &str = "data";
const STORES: &str =
    "write \"sqlite:data/formgate.db\", \"postgres://USER:PASSWORD@HOST/DATABASE\", or \"memory:\" for trials";
const POSTGRES: &str = "write postgres://USER:PASSWORD@HOST/DATABASE; several hosts are parted by commas, and characters \
                        such as @ and / in a password are written as %40 and %2F";

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Default for Queue {
    fn default() -> Self {
        Self {
            url: StoreUrl::Sqlite(PathBuf::from("data/formgate.db")),
            retry: Retry::default(),
            keep: Keep::default(),
            dedupe: Duration::from_secs(600),
            max_size: 10 << 30,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Duration::from_secs(5), max: HOUR, give_up_after: 14 * DAY }
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self { delivered: 30 * DAY, held: 90 * DAY, dead: 90 * DAY }
    }
}

/// Returns `[queue]` where the file at `config` doesn't have one: the store lies beside it.
pub(super) fn default_beside(config: &Path) -> Queue {
    let mut queue = Queue::default();
    if let StoreUrl::Sqlite(path) = &mut queue.url {
        *path = config.parent().unwrap_or(Path::new("")).join(&path);
    }
    queue
}

/// Compiles `[queue]`.
pub(super) fn compile(table: &Table<'_>, sources: &Sources) -> Option<Queue> {
    let default = default_beside(table.file().path());
    let url = table.or("url", default.url, |value| store_url(value, sources));
    let retry = table.section("retry", RETRY, compile_retry);
    let keep = table.section("keep", KEEP, compile_keep);
    let dedupe = table.or("dedupe", default.dedupe, Value::duration);
    let max_size = table.or("max_size", default.max_size, Value::size);
    Some(Queue { url: url?, retry: retry?, keep: keep?, dedupe: dedupe?, max_size: max_size? })
}

/// Reads where the store is. The URL of a PostgreSQL store may be a secret, since it may hold a password.
pub(super) fn store_url(value: &Value<'_>, sources: &Sources) -> Option<StoreUrl> {
    let DeValue::String(text) = value.inner() else {
        let text = secret(value, sources)?;
        // Whoever does without the secrets doesn't open the store.
        return if sources.is_stand_in(&text) { Some(StoreUrl::Memory) } else { read_url(value, text.expose()) };
    };
    let url = read_url(value, text)?;
    if url.has_password() {
        value.file().note_secret();
    }
    Some(url)
}

/// Reads a URL. What is said about it doesn't repeat it.
fn read_url(value: &Value<'_>, text: &str) -> Option<StoreUrl> {
    if text == "memory:" {
        return Some(StoreUrl::Memory);
    }
    if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
        return Some(StoreUrl::Sqlite(value.file().resolve(path)));
    }
    match PostgresUrl::parse(text) {
        Ok(url) => {
            let folder = value.file().path().parent().unwrap_or(Path::new(""));
            return Some(StoreUrl::Postgres(Box::new(url.relative_to(folder))));
        }
        Err(InvalidPostgresUrl::Scheme) => value.error("`url` isn't a store", Some(STORES)),
        Err(invalid) => value.error(&format!("`url` isn't the URL of a PostgreSQL store: {invalid}"), Some(POSTGRES)),
    }
    None
}

/// A key left out moves with the one given; both given must agree.
fn compile_retry(table: &Table<'_>) -> Option<Retry> {
    let default = Retry::default();
    let first = table.read("first", Value::some_time);
    let max = table.read("max", Value::some_time);
    let give_up_after = table.or("give_up_after", default.give_up_after, Value::some_time);
    let (first, max) = (first?, max?);
    if first.zip(max).is_some_and(|(first, max)| max < first) {
        table.error("`max` must not be below `first`", Some("it is the longest wait between two attempts"));
        return None;
    }
    Some(Retry {
        first: first.unwrap_or_else(|| max.map_or(default.first, |max| default.first.min(max))),
        max: max.unwrap_or_else(|| first.map_or(default.max, |first| default.max.max(first))),
        give_up_after: give_up_after?,
    })
}

/// What is held or dead waits for a person, so it is never kept for no time at all.
fn compile_keep(table: &Table<'_>) -> Option<Keep> {
    let default = Keep::default();
    let delivered = table.or("delivered", default.delivered, Value::duration);
    let held = table.or("held", default.held, Value::some_time);
    let dead = table.or("dead", default.dead, Value::some_time);
    Some(Keep { delivered: delivered?, held: held?, dead: dead? })
}
