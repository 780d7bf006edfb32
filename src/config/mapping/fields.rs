//! `[[fields]]`: where a plugin describes its fields.

use toml::de::DeValue;

use super::super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::selector;
use crate::map::{FieldsRule, LabelSource};

pub(in super::super) const KEYS: KnownKeys = KnownKeys {
    table: "[[fields]]",
    about: "Where the plugin describes its fields: each match of `each` is a field, and the other keys name its members.",
    keys: &[
        Key::new("each", KeyShape::Text("JSONPath"), "The nodes that are fields.").required(),
        Key::new("key", KeyShape::Text("member"), "The member that holds the field's key.")
            .words("the node's own name"),
        Key::new(
            "label",
            KeyShape::TextOr("member", "a label or type"),
            "The member that holds the label, or a fixed label.",
        ),
        Key::new(
            "type",
            KeyShape::TextOr("member", "a label or type"),
            "The member that holds the type, or a fixed type.",
        ),
        Key::new("value", KeyShape::TextOrTexts("member", "members"), "The member that holds the value, or several.")
            .words("the node itself, or its member `value`"),
        Key::new(
            "with",
            KeyShape::Text("string"),
            "Joins the values of several members. Without it each is a value of its own.",
        ),
        Key::new(
            "role",
            KeyShape::Choice(&["meta"]),
            "`meta`: the fields are facts about the submission, never a lead field nor an extra.",
        )
        .words("fields that the visitor filled in"),
    ],
};
pub(in super::super) const FIXED: KnownKeys = KnownKeys {
    table: "a label or type",
    about: "A label or a type that is the same for every field.",
    keys: &[Key::new("is", KeyShape::Text("string"), "The label or the type.").required()],
};

/// Compiles one `[[fields]]`.
pub(super) fn compile(table: &Table<'_>) -> Option<FieldsRule> {
    let each = table.need("each", selector::path);
    let key = table.read("key", |value| value.filled().map(str::to_owned));
    let [label, kind] = ["label", "type"].map(|key| table.read(key, told));
    let value = table.or_empty("value", |value| value.one_or_more(|item| item.filled().map(str::to_owned)));
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
