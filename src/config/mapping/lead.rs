//! `[lead]`: how each of the four fields is made.

use toml::de::DeValue;

use super::super::reader::{KnownKeys, Table, Value};
use super::selector;
use crate::lead::{Email, LeadField};
use crate::map::{LeadRule, LeadRules, Source};

pub(in super::super) const KEYS: KnownKeys =
    KnownKeys { table: "[lead]", keys: &["name", "email", "phone", "message"] };
pub(in super::super) const RULE: KnownKeys =
    KnownKeys { table: "a lead field", keys: &["field", "join", "with", "first", "template", "auto", "default"] };

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
    let named: Vec<_> = SOURCES.into_iter().filter(|key| table.has(key)).collect();
    if named.len() > 1 {
        table
            .error(&format!("`{}` can't be used together", named.join("` and `")), Some("a lead field has one source"));
        return None;
    }
    if named.is_empty() && !table.has("default") && !table.has("auto") {
        table.error("this table is empty", Some("set one of join, first, template, field or default"));
        return None;
    }
    if table.has("with") && !table.has("join") {
        table.error("`with` needs `join`", None);
        return None;
    }
    let auto = table.or("auto", false, |value| value.boolean());
    let default = table.read("default", |value| default_text(value, field));
    let source = match named.first() {
        Some(&"field") => table.need("field", selector::named_field).map(|selector| Source::First(vec![selector])),
        Some(&"first") => table.need("first", selectors).map(Source::First),
        Some(&"template") => table.need("template", selector::template).map(Source::Template),
        Some(_) => join(table, field),
        None => Some(Source::Auto),
    };
    Some(LeadRule { source: source?, auto: auto?, default: default? })
}

fn join(table: &Table<'_>, field: LeadField) -> Option<Source> {
    let usual = if field == LeadField::Message { ", " } else { " " };
    let parts = table.need("join", selectors);
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
