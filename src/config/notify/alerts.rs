//! `[alerts]`, and `silence` wherever it stands.

use std::time::Duration;

use super::{Alerts, Silence};
use crate::config::reader::{Key, KeyShape, KnownKeys, Table, Value};

pub(in crate::config) const KEYS: KnownKeys = KnownKeys {
    table: "[alerts]",
    about: "When overdue leads and silent forms are told of.",
    keys: &[
        Key::new(
            "overdue",
            KeyShape::DurationOr(&["off"]),
            "A lead that isn't delivered after this time is told as `lead.overdue`: at least `1m`, or `off`.",
        )
        .text("30m"),
        Key::new(
            "silence",
            KeyShape::DurationOr(&["auto", "off"]),
            "When a form that stopped posting is told as `form.silent`: after at least `1h`, `auto` (by how often \
             it usually posts), or `off`.",
        )
        .text("auto"),
    ],
};

/// A delivery alone may take half a minute, and the first attempts follow within seconds: earlier a lead isn't late.
const OVERDUE_MIN: Duration = Duration::from_secs(60);
/// What may be written, in words.
const OVERDUE: &str = "\"off\" or a duration such as \"30m\"";
const SILENCE: &str = "\"auto\", \"off\" or a duration such as \"3d\"";

/// What forms get is counted by the hour.
const SILENCE_MIN: Duration = Duration::from_secs(3600);

/// Compiles `[alerts]`.
pub(in crate::config) fn compile(table: &Table<'_>) -> Option<Alerts> {
    let default = Alerts::default();
    let overdue = table.or("overdue", default.overdue, |value| match value.inner().as_str() {
        Some("off") => Some(None),
        _ => at_least(value, OVERDUE_MIN, "a minute", OVERDUE).map(Some),
    });
    let silence = table.or("silence", default.silence, silence);
    Some(Alerts { overdue: overdue?, silence: silence? })
}

/// Reads `silence`.
pub(in crate::config) fn silence(value: &Value<'_>) -> Option<Silence> {
    match value.inner().as_str() {
        Some("auto") => Some(Silence::Auto),
        Some("off") => Some(Silence::Off),
        _ => at_least(value, SILENCE_MIN, "an hour", SILENCE).map(Silence::After),
    }
}

fn at_least(value: &Value<'_>, min: Duration, words: &str, choices: &str) -> Option<Duration> {
    let duration = value.duration_or(choices)?;
    if duration < min {
        value.error(&format!("`{}` is shorter than {words}", value.key()), Some(&format!("write {choices}")));
        return None;
    }
    Some(duration)
}
