//! `[[combine]]`: fields whose keys share a stem.

use super::super::reader::{KnownKeys, Table, Value, all};
use crate::map::{CombineRule, Glob, KeyPattern};

pub(in super::super) const KEYS: KnownKeys =
    KnownKeys { table: "[[combine]]", keys: &["keys", "needs", "unless", "when", "with", "label", "type", "drop"] };

/// Compiles one `[[combine]]`.
pub(super) fn compile(table: &Table<'_>) -> Option<CombineRule> {
    let keys = table.need("keys", |value| value.list_of(pattern));
    let [needs, unless] = ["needs", "unless"].map(|key| table.or(key, Vec::new(), |value| value.list_of(pattern)));
    let when = table.or("when", Vec::new(), when);
    let with = table.read("with", |value| value.text().map(str::to_owned));
    let [label, kind] = ["label", "type"].map(|key| table.read(key, |value| value.filled().map(str::to_owned)));
    let drop = table.or("drop", false, |value| value.boolean());
    Some(CombineRule {
        keys: keys?,
        needs: needs?,
        unless: unless?,
        when: when?,
        with: with?,
        label: label?,
        kind: kind?,
        drop: drop?,
    })
}

fn pattern(value: &Value<'_>) -> Option<KeyPattern> {
    value.parse(KeyPattern::parse)
}

fn when(value: &Value<'_>) -> Option<Vec<(KeyPattern, Glob)>> {
    all(value.named()?.iter().map(|entry| {
        let pattern = KeyPattern::parse(entry.name);
        let pattern = pattern.map_err(|error| {
            entry.value.file().error(entry.key_span.clone(), &format!("`{}` {error}", entry.name));
        });
        Some((pattern.ok()?, Glob::new(entry.value.text()?)))
    }))
}
