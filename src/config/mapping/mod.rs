//! Mapping files: the language of `mappings/<name>.toml`, table by table, compiled to [`crate::map::Mapping`].

pub(super) mod combine;

pub(super) mod condition;

pub(super) mod example;

pub(super) mod extras;

pub(super) mod fields;

pub(super) mod lead;

pub(super) mod selector;

mod setup;

use super::reader::{KnownKeys, Table, Value};
use crate::map::{FormRule, Mapping, OnInvalid, ValuesRule};

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "a mapping",
    keys: &[
        "title",
        "setup",
        "on_invalid",
        "detect",
        "fields",
        "combine",
        "values",
        "form",
        "lead",
        "extras",
        "hold",
        "example",
    ],
};
pub(super) const VALUES: KnownKeys = KnownKeys { table: "[values]", keys: &["split"] };
pub(super) const FORM: KnownKeys = KnownKeys { table: "[form]", keys: &["id", "name", "entry", "page"] };

/// Compiles a mapping, and gives its examples with their places.
pub(super) fn compile(table: &Table<'_>, name: &str, own: bool) -> Option<(Mapping, Vec<example::PlacedExample>)> {
    let title = table.read("title", |value| value.filled().map(str::to_owned));
    let setup = table.or("setup", Vec::new(), setup::compile);
    let on_invalid = table.read("on_invalid", on_invalid);
    let detect = table.sections("detect", condition::KEYS, condition::compile);
    let fields = table.sections("fields", fields::KEYS, fields::compile);
    let combine = table.sections("combine", combine::KEYS, combine::compile);
    let values = table.section("values", VALUES, values);
    let form = table.section("form", FORM, form);
    let lead = table.section("lead", lead::KEYS, lead::compile);
    let extras = table.section("extras", extras::KEYS, extras::compile);
    let hold = table.sections("hold", condition::HOLD_KEYS, condition::compile_hold);
    let examples = table.sections("example", example::KEYS, example::compile);
    let examples = examples?;
    let mapping = Mapping {
        name: name.to_owned(),
        title: title?,
        setup: setup?,
        own,
        on_invalid: on_invalid?,
        detect: detect?,
        fields: fields?,
        combine: combine?.into_iter().collect(),
        values: values?,
        form: form?,
        lead: lead?,
        extras: extras?,
        hold: hold?,
        examples: examples.iter().map(|placed| placed.example.clone()).collect(),
    };
    Some((mapping, examples))
}

/// Reads what is answered where no lead can be made.
pub(super) fn on_invalid(value: &Value<'_>) -> Option<OnInvalid> {
    value.choice(&[("hold", OnInvalid::Hold), ("reject", OnInvalid::Reject)])
}

fn values(table: &Table<'_>) -> Option<ValuesRule> {
    // Not `filled`: a list may be split at white space.
    let split = table.read("split", |value| {
        let text = value.text()?;
        if text.is_empty() {
            value.error("`split` is empty", None);
            return None;
        }
        Some(text.to_owned())
    });
    Some(ValuesRule { split: split? })
}

fn form(table: &Table<'_>) -> Option<FormRule> {
    let [id, name, entry, page] = ["id", "name", "entry", "page"]
        .map(|key| table.or(key, Vec::new(), |value| value.one_or_more(selector::compile)));
    Some(FormRule { id: id?, name: name?, entry: entry?, page: page? })
}
