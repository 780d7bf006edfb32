//! `[[fields]]`: where a plugin describes its fields.

use super::super::reader::{Keys, Table};
use super::selector;
use crate::map::FieldsRule;

pub(in super::super) const KEYS: Keys =
    Keys { table: "[[fields]]", keys: &["each", "key", "label", "type", "value", "role"] };

/// Compiles one `[[fields]]`.
pub(super) fn compile(table: &Table<'_>) -> Option<FieldsRule> {
    let each = table.need("each", selector::path);
    let [key, label, kind, value] =
        ["key", "label", "type", "value"].map(|key| table.read(key, |value| value.filled().map(str::to_owned)));
    let meta = table.or("role", false, |value| value.choice(&[("meta", true)]));
    Some(FieldsRule { each: each?, key: key?, label: label?, kind: kind?, value: value?, meta: meta? })
}
