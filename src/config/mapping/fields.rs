//! `[[fields]]`: where a plugin describes its fields.

use toml::de::DeValue;

use super::super::reader::{KnownKeys, Table, Value};
use super::selector;
use crate::map::{FieldsRule, LabelSource};

pub(in super::super) const KEYS: KnownKeys =
    KnownKeys { table: "[[fields]]", keys: &["each", "key", "label", "type", "value", "with", "role"] };
pub(in super::super) const FIXED: KnownKeys = KnownKeys { table: "a label or type", keys: &["is"] };

/// Compiles one `[[fields]]`.
pub(super) fn compile(table: &Table<'_>) -> Option<FieldsRule> {
    let each = table.need("each", selector::path);
    let key = table.read("key", |value| value.filled().map(str::to_owned));
    let [label, kind] = ["label", "type"].map(|key| table.read(key, told));
    let value = table.or("value", Vec::new(), |value| value.one_or_more(|item| item.filled().map(str::to_owned)));
    let with = table.read("with", |value| value.text().map(str::to_owned));
    let meta = table.or("role", false, |value| value.choice(&[("meta", true)]));
    Some(FieldsRule { each: each?, key: key?, label: label?, kind: kind?, value: value?, with: with?, meta: meta? })
}

/// Reads the name of a member, or `{ is = "…" }`.
fn told(value: &Value<'_>) -> Option<LabelSource> {
    match value.inner() {
        DeValue::Table(_) => {
            let text = value.table(FIXED)?.need("is", |value| value.filled().map(str::to_owned))?;
            Some(LabelSource::Fixed(text))
        }
        _ => value.filled().map(|name| LabelSource::Member(name.to_owned())),
    }
}
