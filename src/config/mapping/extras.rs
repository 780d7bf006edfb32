//! `[extras]`: what becomes of the fields that are none of the four.

use super::super::reader::{Key, KeyShape, KnownKeys, Table, Value, all};
use super::selector;
use crate::map::{DropRule, ExtrasRule, ExtrasTo, Glob, Globs};

pub(in super::super) const KEYS: KnownKeys = KnownKeys {
    table: "[extras]",
    about: "What is done with the fields that the lead isn't made of.",
    keys: &[
        Key::new(
            "to",
            KeyShape::Choice(&["message", "drop"]),
            "`message` adds a line to the message for each, `drop` leaves all of them out. A form's setting goes \
             before its mapping's.",
        )
        .text("message"),
        Key::new("drop", KeyShape::Texts("globs"), "Keys or labels of fields to leave out."),
        Key::new(
            "drop_where",
            KeyShape::Tables("[[extras.drop_where]]"),
            "Fields to leave out of some submissions only.",
        ),
        Key::new(
            "labels",
            KeyShape::TextByName("labels by key glob"),
            "Labels by key. Fields under one label are joined.",
        ),
        Key::new("strip", KeyShape::Texts("strings"), "Prefixes that are removed from labels."),
    ],
};
pub(in super::super) const DROP_WHERE: KnownKeys = KnownKeys {
    table: "[[extras.drop_where]]",
    about: "Fields to leave out of submissions that have some paths.",
    keys: &[
        Key::new("exists", KeyShape::Texts("JSONPaths"), "The submission has a value at each of these paths.")
            .required(),
        Key::new("missing", KeyShape::Texts("JSONPaths"), "The submission has no value at any of these paths."),
        Key::new("fields", KeyShape::Texts("globs"), "Keys or labels of the fields to leave out.").required(),
        Key::new("except", KeyShape::Texts("globs"), "Keys or labels of fields to keep all the same."),
    ],
};

/// Compiles `[extras]`.
pub(in super::super) fn compile(table: &Table<'_>) -> Option<ExtrasRule> {
    let to = [("message", ExtrasTo::Message), ("drop", ExtrasTo::Drop)];
    let to = table.or("to", None, |value| value.choice(&to).map(Some));
    let drop = table.or_empty("drop", globs);
    let drop_where = table.sections("drop_where", DROP_WHERE, drop_rule);
    let labels = table.or_empty("labels", labels);
    let strip = table.or_empty("strip", |value| value.list_of(|item| item.filled().map(str::to_owned)));
    Some(ExtrasRule { to: to?, drop: drop?, drop_where: drop_where?, labels: labels?, strip: strip? })
}

fn drop_rule(table: &Table<'_>) -> Option<DropRule> {
    let exists = table.need("exists", |value| value.list_of(selector::path));
    let missing = table.or_empty("missing", |value| value.list_of(selector::path));
    let fields = table.need("fields", globs);
    let except = table.or_empty("except", globs);
    Some(DropRule { exists: exists?, missing: missing?, fields: fields?, except: except? })
}

fn globs(value: &Value<'_>) -> Option<Globs> {
    Some(value.list_of(|item| item.filled().map(Glob::new))?.into_iter().collect())
}

fn labels(value: &Value<'_>) -> Option<Vec<(Glob, String)>> {
    all(value.named()?.iter().map(|entry| Some((Glob::new(entry.name), entry.value.filled()?.to_owned()))))
}
