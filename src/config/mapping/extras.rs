//! `[extras]`: what becomes of the fields that are none of the four.

use super::super::reader::{KnownKeys, Table, Value, all};
use super::selector;
use crate::map::{DropRule, ExtrasRule, ExtrasTo, Glob, Globs};

pub(in super::super) const KEYS: KnownKeys =
    KnownKeys { table: "[extras]", keys: &["to", "drop", "drop_where", "labels", "strip"] };
pub(in super::super) const DROP_WHERE: KnownKeys =
    KnownKeys { table: "[[extras.drop_where]]", keys: &["exists", "missing", "fields", "except"] };

/// Compiles `[extras]`.
pub(in super::super) fn compile(table: &Table<'_>) -> Option<ExtrasRule> {
    let to = [("message", ExtrasTo::Message), ("drop", ExtrasTo::Drop)];
    let to = table.or("to", None, |value| value.choice(&to).map(Some));
    let drop = table.or("drop", Globs::default(), globs);
    let drop_where = table.sections("drop_where", DROP_WHERE, drop_rule);
    let labels = table.or("labels", Vec::new(), labels);
    let strip = table.or("strip", Vec::new(), |value| value.list_of(|item| item.filled().map(str::to_owned)));
    Some(ExtrasRule { to: to?, drop: drop?, drop_where: drop_where?, labels: labels?, strip: strip? })
}

fn drop_rule(table: &Table<'_>) -> Option<DropRule> {
    let exists = table.need("exists", |value| value.list_of(selector::path));
    let missing = table.or("missing", Vec::new(), |value| value.list_of(selector::path));
    let fields = table.need("fields", globs);
    let except = table.or("except", Globs::default(), globs);
    Some(DropRule { exists: exists?, missing: missing?, fields: fields?, except: except? })
}

fn globs(value: &Value<'_>) -> Option<Globs> {
    Some(value.list_of(|item| item.filled().map(Glob::new))?.into_iter().collect())
}

fn labels(value: &Value<'_>) -> Option<Vec<(Glob, String)>> {
    all(value.named()?.iter().map(|entry| Some((Glob::new(entry.name), entry.value.filled()?.to_owned()))))
}
