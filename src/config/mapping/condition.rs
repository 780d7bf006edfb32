//! Conditions on a request: `[[detect]]`, a form's `match`, `[[hold]]`.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use toml::de::DeValue;

use super::super::reader::{Key, KeyShape, KnownKeys, NamedValue, Table, Value, all};
use super::super::suggest::nearest;
use super::selector;
use crate::map::{Condition, Glob, HoldRule, Path};
use crate::received::KEPT_HEADERS;

// Keys that every condition has.
const HEADER: Key = Key::new(
    "header",
    KeyShape::TextByName("globs by header"),
    "Each header matches its glob, without regard to case. Only headers that are stored: `content-type`, \
             `user-agent`, `origin`, `referer`, `x-wpforms-webhook-id`.",
);
const KEYS_OF_FIELDS: Key = Key::new("keys", KeyShape::Texts("globs"), "Each glob matches the key of some field.");
const EXISTS: Key = Key::new("exists", KeyShape::Texts("JSONPaths"), "Each path has a value.");
const EQUALS: Key = Key::new(
    "equals",
    KeyShape::ValueByName("values by JSONPath"),
    "The value at each path is this string, number, `true` or `false`.",
);
const ONLY: Key = Key::new("only", KeyShape::Texts("keys"), "There are no fields besides these.");

pub(in super::super) const KEYS: KnownKeys = KnownKeys {
    table: "[[detect]]",
    about: "How a form is recognised. All conditions of a table must hold; the tables are alternatives.",
    keys: &[HEADER, KEYS_OF_FIELDS, EXISTS, EQUALS, ONLY],
};
pub(in super::super) const HOLD_KEYS: KnownKeys = KnownKeys {
    table: "[[hold]]",
    about: "Submissions that are stored and not sent. All conditions of a table must hold.",
    keys: &[
        HEADER,
        KEYS_OF_FIELDS,
        EXISTS,
        EQUALS,
        ONLY,
        Key::new("reason", KeyShape::Text("string"), "Why, for people.").required(),
    ],
};
pub(in super::super) const MATCH_KEYS: KnownKeys = KnownKeys {
    table: "match",
    about: "Conditions by which a form is recognised; all must hold.",
    keys: &[
        HEADER,
        KEYS_OF_FIELDS,
        EXISTS,
        EQUALS,
        ONLY,
        Key::new("form_name", KeyShape::Text("glob"), "The form's name, as the body says it."),
        Key::new("page", KeyShape::Text("glob"), "The page that the form is on, as the body or the referer says it."),
    ],
};

/// Compiles one condition; a table without any would hold for everything.
pub(in super::super) fn compile(table: &Table<'_>) -> Option<Condition> {
    if !MATCH_KEYS.names().any(|key| table.has(key)) {
        if table.has_unknown() {
            return None;
        }
        let hint = format!("a condition is one of {}", KEYS.names().collect::<Vec<_>>().join(", "));
        table.error("there is no condition here, so it would match every request", Some(&hint));
        return None;
    }
    let header = table.or_empty("header", headers);
    let keys = table.or_empty("keys", |value| value.list_of(glob));
    let exists = table.or_empty("exists", |value| value.list_of(selector::path));
    let equals = table.or_empty("equals", equals);
    let only = table.read("only", |value| value.list_of(|item| item.text().map(str::to_owned)));
    let (form_name, page) = match table.knows("form_name") {
        true => (table.read("form_name", glob), table.read("page", glob)),
        false => (Some(None), Some(None)),
    };
    Some(Condition {
        header: header?,
        keys: keys?,
        exists: exists?,
        equals: equals?,
        only: only?,
        form_name: form_name?,
        page: page?,
    })
}

/// Compiles one `[[hold]]`.
pub(super) fn compile_hold(table: &Table<'_>) -> Option<HoldRule> {
    let condition = compile(table);
    let reason = table.need("reason", |value| value.filled().map(str::to_owned));
    Some(HoldRule { condition: condition?, reason: reason? })
}

fn glob(value: &Value<'_>) -> Option<Glob> {
    value.filled().map(Glob::new)
}

fn headers(value: &Value<'_>) -> Option<BTreeMap<String, Glob>> {
    let read = all(value.named()?.iter().map(|entry| Some((kept_header(entry)?, glob(&entry.value)?))))?;
    Some(read.into_iter().collect())
}

/// Reads the name of a header that is stored; no other can be looked at again when a held entry is retried.
pub(super) fn kept_header(entry: &NamedValue<'_>) -> Option<String> {
    let name = entry.name.to_lowercase();
    if KEPT_HEADERS.contains(&name.as_str()) {
        return Some(name);
    }
    let hint = nearest(&name, KEPT_HEADERS).map_or_else(
        || format!("stored headers: {}", KEPT_HEADERS.join(", ")),
        |known| format!("did you mean \"{known}\"?"),
    );
    let message = format!("the header `{name}` isn't stored, so a condition can't use it");
    entry.value.file().report(super::super::Severity::Error, entry.key_span.clone(), &message, Some(&hint));
    None
}

fn equals(value: &Value<'_>) -> Option<Vec<(Path, Json)>> {
    all(value.named()?.iter().map(|entry| {
        let path = selector::path_key(entry);
        let wanted = json(&entry.value);
        Some((path?, wanted?))
    }))
}

/// Reads the value a node must equal: text, a number or a truth.
fn json(value: &Value<'_>) -> Option<Json> {
    let number = |text: &str| serde_json::from_str::<Json>(text).ok();
    let read = match value.inner() {
        DeValue::String(text) => Some(Json::String(text.to_string())),
        DeValue::Boolean(flag) => Some(Json::Bool(*flag)),
        DeValue::Integer(integer) if integer.radix() == 10 => number(integer.as_str().trim_start_matches('+')),
        DeValue::Float(float) => number(float.as_str().trim_start_matches('+')),
        _ => None,
    };
    if read.is_none() {
        value.error(&format!("`{}` can only be compared with a string, a number, true or false", value.key()), None);
    }
    read
}
