//! `[lead]`: how each of the four fields is made.

use toml::de::DeValue;

use super::super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::selector;
use crate::lead::{Email, LeadField};
use crate::map::{LeadRule, LeadRules, Source};

pub(in super::super) const KEYS: KnownKeys = KnownKeys {
    table: "[lead]",
    about: "How each of the lead's four fields is made. What isn't named is found automatically.",
    keys: &[
        Key::new(
            "name",
            KeyShape::TextsOrTable("selector", "a selector", "a lead field"),
            "The name: a selector, a list of which the first with a value counts, or a table.",
        ),
        Key::new(
            "email",
            KeyShape::TextsOrTable("selector", "a selector", "a lead field"),
            "The e-mail address: a selector, a list of which the first with a valid address counts, or a table.",
        ),
        Key::new(
            "phone",
            KeyShape::TextsOrTable("selector", "a selector", "a lead field"),
            "The phone number: a selector, a list of which the first with a valid number counts, or a table.",
        ),
        Key::new(
            "message",
            KeyShape::TextsOrTable("selector", "a selector", "a lead field"),
            "The message: a selector, a list of which the first with a value counts, or a table.",
        ),
    ],
};
pub(in super::super) const RULE: KnownKeys = KnownKeys {
    table: "a lead field",
    about: "A lead field that is written as a table: one of `field`, `join`, `first` and `template`, or only a `default`.",
    keys: &[
        Key::new("field", KeyShape::Text("field name"), "The name of a field, also if it begins with `$`."),
        Key::new("join", KeyShape::TextsOr("selector", "a selector"), "Selectors whose values are joined."),
        Key::new("with", KeyShape::Text("string"), "What stands between joined values.")
            .words("a space; for the message a comma and a space"),
        Key::new(
            "first",
            KeyShape::TextsOr("selector", "a selector"),
            "Selectors of which the first with a value counts; for e-mail and phone the first with a valid one.",
        ),
        Key::new(
            "template",
            KeyShape::Text("template"),
            "Text with selectors in `{{ }}`. A line whose placeholders are all empty is left out.",
        ),
        Key::new("auto", KeyShape::Flag, "If the rule gives nothing, looks for the field as if there were no rule.")
            .flag(false),
        Key::new("default", KeyShape::Text("string"), "What is taken if nothing is found."),
    ],
};

/// The keys of [`RULE`] that say where the value comes from.
const SOURCES: [&str; 4] = ["field", "join", "first", "template"];

/// Compiles `[lead]`.
pub(in super::super) fn compile(table: &Table<'_>) -> Option<LeadRules> {
    let mut rules = LeadRules::default();
    let mut sound = true;
    for field in LeadField::ALL {
        match table.read(field.as_str(), |value| compile_rule(value, field)) {
            Some(Some(rule)) => rules.set(field, rule),
            Some(None) => {}
            None => sound = false,
        }
    }
    sound.then_some(rules)
}

fn compile_rule(value: &Value<'_>, field: LeadField) -> Option<LeadRule> {
    let source = match value.inner() {
        DeValue::Table(_) => return from_table(&value.table(RULE)?, field),
        DeValue::Array(_) => Source::First(selectors(value)?),
        _ => Source::First(vec![selector::compile(value)?]),
    };
    Some(LeadRule { source, auto: false, default: None })
}

fn from_table(table: &Table<'_>, field: LeadField) -> Option<LeadRule> {
    let sources: Vec<_> = SOURCES.into_iter().filter(|key| table.has(key)).collect();
    if sources.len() > 1 {
        table.error(
            &format!("`{}` can't be used together", sources.join("` and `")),
            Some("a lead field has one source"),
        );
        return None;
    }
    if sources.is_empty() && !table.has("default") && !table.has("auto") {
        table.error("this table is empty", Some("set one of join, first, template, field or default"));
        return None;
    }
    if table.has("with") && !table.has("join") {
        table.error("`with` needs `join`", None);
        return None;
    }
    let auto = table.or("auto", false, |value| value.boolean());
    let default = table.read("default", |value| default_text(value, field));
    let source = match sources.first() {
        Some(&"field") => named(table, "field", selector::named_field).map(|selector| Source::First(vec![selector])),
        Some(&"first") => named(table, "first", selectors).map(Source::First),
        Some(&"template") => named(table, "template", selector::template).map(Source::Template),
        Some(_) => join(table, field),
        None => Some(Source::Auto),
    };
    Some(LeadRule { source: source?, auto: auto?, default: default? })
}

/// Reads the key that is known to be there.
fn named<T>(table: &Table<'_>, key: &'static str, read: impl FnOnce(&Value<'_>) -> Option<T>) -> Option<T> {
    table.get(key).and_then(|value| read(&value))
}

fn join(table: &Table<'_>, field: LeadField) -> Option<Source> {
    let usual = if field == LeadField::Message { ", " } else { " " };
    let parts = named(table, "join", selectors);
    let with = table.or("with", usual.to_owned(), |value| value.text().map(str::to_owned));
    Some(Source::Join { parts: parts?, with: with? })
}

fn selectors(value: &Value<'_>) -> Option<Vec<crate::map::Selector>> {
    let list = value.one_or_more(selector::compile)?;
    if list.is_empty() {
        value.error(&format!("`{}` is an empty list", value.key()), None);
        return None;
    }
    Some(list)
}

/// Reads a default; one for the e-mail must be an address, or every lead it serves would be refused.
fn default_text(value: &Value<'_>, field: LeadField) -> Option<String> {
    let text = value.filled()?;
    if field == LeadField::Email {
        value.parse(Email::parse)?;
    }
    Some(text.to_owned())
}
