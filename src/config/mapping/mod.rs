//! Mapping files: the language of `mappings/<name>.toml`, table by table, compiled to [`crate::map::Mapping`].

pub(super) mod combine;

pub(super) mod condition;

pub(super) mod example;

pub(super) mod extras;

pub(super) mod fields;

pub(super) mod lead;

pub(super) mod selector;

mod setup;

use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use crate::map::{FormRule, Mapping, OnInvalid, ValuesRule};

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "a mapping",
    about: "A mapping: a file that `[mappings].include` finds. Every table is optional; what isn't named is found automatically.",
    keys: &[
        Key::new("title", KeyShape::Text("string"), "The name that people see, such as the plugin's.")
            .words("the file's name without `.toml`"),
        Key::new(
            "setup",
            KeyShape::Texts("steps"),
            "How to connect the plugin: up to 12 steps of 300 characters. A step may contain `{url}`, \
             `{plain_url}`, `{token}` and `{gateway}`.",
        ),
        Key::new(
            "on_invalid",
            KeyShape::Choice(&["hold", "reject"]),
            "The answer if there is no valid lead: `hold` is 200, `reject` is 422. The submission is held either \
             way.",
        )
        .text("hold"),
        Key::new(
            "detect",
            KeyShape::Tables("[[detect]]"),
            "How a form is recognised. Without it the mapping is used by name only.",
        ),
        Key::new("fields", KeyShape::Tables("[[fields]]"), "Where the plugin describes its fields.")
            .words("each top-level member is a field"),
        Key::new("combine", KeyShape::Tables("[[combine]]"), "Parts of one field that arrive under separate keys."),
        Key::new("values", KeyShape::Table("[values]"), "How values are read."),
        Key::new(
            "form",
            KeyShape::Table("[form]"),
            "Where the form's id and name are, and what makes a submission the same as another.",
        ),
        Key::new("lead", KeyShape::Table("[lead]"), "How each of the lead's four fields is made."),
        Key::new("extras", KeyShape::Table("[extras]"), "What is done with the other fields."),
        Key::new("hold", KeyShape::Tables("[[hold]]"), "Submissions that are stored and not sent."),
        Key::new(
            "example",
            KeyShape::Tables("[[example]]"),
            "Submissions, and the lead that each must become. They are run whenever the mapping is loaded.",
        ),
    ],
};
pub(super) const VALUES: KnownKeys = KnownKeys {
    table: "[values]",
    about: "How values are read.",
    keys: &[Key::new("split", KeyShape::Text("string"), "A separator: text that contains it is a list.")],
};
pub(super) const FORM: KnownKeys = KnownKeys {
    table: "[form]",
    about: "Where the form's id and name are. Each key takes a selector, or a list of which the first with a value counts.",
    keys: &[
        Key::new("id", KeyShape::TextsOr("selector", "a selector"), "The form's id."),
        Key::new("name", KeyShape::TextsOr("selector", "a selector"), "The form's name."),
        Key::new(
            "entry",
            KeyShape::TextsOr("selector", "a selector"),
            "What the plugin calls this submission: two with the same content and different entries count as two.",
        ),
        Key::new("page", KeyShape::TextsOr("selector", "a selector"), "The page that the form is on."),
    ],
};

/// Compiles a mapping, and gives its examples with their places.
pub(super) fn compile(table: &Table<'_>, name: &str, own: bool) -> Option<(Mapping, Vec<example::PlacedExample>)> {
    let title = table.read("title", |value| value.filled().map(str::to_owned));
    let setup = table.or_empty("setup", setup::compile);
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
    let [id, name, entry, page] =
        ["id", "name", "entry", "page"].map(|key| table.or_empty(key, |value| value.one_or_more(selector::compile)));
    Some(FormRule { id: id?, name: name?, entry: entry?, page: page? })
}
