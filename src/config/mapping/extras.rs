//! `[extras]`: what becomes of the fields that are none of the four.

use super::super::reader::{Keys, Table, Value, all};
use crate::map::{ExtrasRule, Glob};

pub(in super::super) const KEYS: Keys = Keys { table: "[extras]", keys: &["to", "drop", "labels", "strip"] };

/// Compiles `[extras]`.
pub(in super::super) fn compile(table: &Table<'_>) -> Option<ExtrasRule> {
    let drop_all = table.or("to", false, |value| value.choice(&[("message", false), ("drop", true)]));
    let drop = table.or("drop", Vec::new(), |value| value.list_of(|item| item.filled().map(Glob::new)));
    let labels = table.or("labels", Vec::new(), labels);
    let strip = table.or("strip", Vec::new(), |value| value.list_of(|item| item.filled().map(str::to_owned)));
    Some(ExtrasRule { drop_all: drop_all?, drop: drop?, labels: labels?, strip: strip? })
}

fn labels(value: &Value<'_>) -> Option<Vec<(Glob, String)>> {
    all(value.named()?.iter().map(|entry| Some((Glob::new(entry.name), entry.value.filled()?.to_owned()))))
}
