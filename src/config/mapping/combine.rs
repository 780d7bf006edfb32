//! `[[combine]]`: fields whose keys share a stem.

use super::super::reader::{Key, KeyShape, KnownKeys, Table, Value, all};
use crate::map::{CombineRule, Glob, KeyPattern};

pub(in super::super) const KEYS: KnownKeys = KnownKeys {
    table: "[[combine]]",
    about: "Joins the parts of one field that arrive under separate keys. `{n}` in a key is the part that the keys share.",
    keys: &[
        Key::new("keys", KeyShape::Texts("key patterns"), "The parts, in the order in which they are joined.")
            .required(),
        Key::new("needs", KeyShape::Texts("key patterns"), "Each of these keys must be present, filled or not."),
        Key::new("unless", KeyShape::Texts("key patterns"), "None of these keys may be present."),
        Key::new(
            "when",
            KeyShape::TextByName("globs by key pattern"),
            "The value under each of these keys must match its glob.",
        ),
        Key::new(
            "with",
            KeyShape::Text("string"),
            "What stands between the parts. Without it each is a value of its own.",
        ),
        Key::new("label", KeyShape::Text("string"), "The label of the joined field. Without it its key counts."),
        Key::new("type", KeyShape::Text("string"), "The type of the joined field."),
        Key::new("drop", KeyShape::Flag, "Leaves the parts out.").flag(false),
    ],
};

/// Compiles one `[[combine]]`.
pub(super) fn compile(table: &Table<'_>) -> Option<CombineRule> {
    let keys = table.need("keys", |value| value.list_of(pattern));
    let [needs, unless] = ["needs", "unless"].map(|key| table.or_empty(key, |value| value.list_of(pattern)));
    let when = table.or_empty("when", when);
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
