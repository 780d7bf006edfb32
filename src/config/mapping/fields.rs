//! `[[fields]]`: where a plugin describes its fields.

use toml::de::DeValue;

use super::super::reader::{Keys, Table, Value};
use super::selector;
use crate::map::{FieldsRule, Told};

pub(in super::super) const KEYS: Keys =
    Keys { table: "[[fields]]", keys: &["each", "key", "label", "type", "value", "with", "role"] };
pub(in super::super) const FIXED: Keys = Keys { table: "a label or type", keys: &["is"] };

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
fn told(value: &Value<'_>) -> Option<Told> {
    match value.inner() {
        DeValue::Table(_) => {
            let text = value.table(FIXED)?.need("is", |value| value.filled().map(str::to_owned))?;
            Some(Told::Fixed(text))
        }
        _ => value.filled().map(|name| Told::Member(name.to_owned())),
    }
}
