//! `formgate schema`.

use clap::{Args, ValueEnum};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::console::Console;
use super::error::Error;
use super::exit::Exit;
use crate::config::{CONFIG_KEYS, Key, KeyDefault, KeyShape, KnownKeys, MAPPING_KEYS};

/// Writes a JSON Schema of the configuration, for editors.
///
/// Editors use it to complete and check TOML, and to show what a key does. For editors with Taplo, make
/// `#:schema formgate-site.json` the first line of a file. `formgate check` finds more than a schema can.
#[derive(Args, Debug)]
pub(super) struct SchemaArgs {
    /// The file to describe
    #[arg(value_enum, default_value_t)]
    kind: SchemaOf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SchemaOf {
    /// config.toml
    #[default]
    Config,
    /// sites/NAME.toml
    Site,
    /// mappings/NAME.toml
    Mapping,
}

/// How a duration is written.
const DURATION: &str = "^[0-9]+(ms|s|m|h|d)$";
/// What is written otherwise in a JSON pointer that is a URI fragment.
const NOT_IN_POINTER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'*').remove(b'\'');

pub(super) fn run(args: &SchemaArgs, console: &mut Console) -> Result<Exit, Error> {
    console.json(&schema(args.kind))?;
    Ok(Exit::Ok)
}

/// Builds a schema of draft 4, which every editor knows.
fn schema(kind: SchemaOf) -> Value {
    let (tables, root, title): (&[KnownKeys], _, _) = match kind {
        SchemaOf::Config => (&CONFIG_KEYS, "the configuration", "formgate: config.toml"),
        SchemaOf::Site => (&CONFIG_KEYS, "a site", "formgate: sites/NAME.toml"),
        SchemaOf::Mapping => (&MAPPING_KEYS, "a mapping", "formgate: mappings/NAME.toml"),
    };
    let definitions: Map<String, Value> = tables.iter().map(|keys| (keys.table.to_owned(), definition(keys))).collect();
    json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": title,
        "allOf": [reference(root)],
        "definitions": definitions,
    })
}

fn definition(keys: &KnownKeys) -> Value {
    let properties: Map<String, Value> = keys.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = keys.keys.iter().filter(|key| is_required(key)).map(|key| key.name).collect();
    let mut definition = Map::from_iter([
        ("type".to_owned(), json!("object")),
        ("description".to_owned(), json!(keys.about)),
        ("additionalProperties".to_owned(), json!(false)),
        ("properties".to_owned(), Value::Object(properties)),
    ]);
    // Draft 4 knows no empty list here.
    if !required.is_empty() {
        definition.insert("required".to_owned(), json!(required));
    }
    Value::Object(definition)
}

fn is_required(key: &Key) -> bool {
    matches!(key.default, KeyDefault::Required)
}

/// Editors show the description and the default while a key is written.
fn property(key: &Key) -> Value {
    let mut property = match shape(key.shape) {
        Value::Object(shape) if !shape.contains_key("$ref") => shape,
        // Draft 4 reads nothing that stands beside a reference.
        reference => Map::from_iter([("allOf".to_owned(), json!([reference]))]),
    };
    let description = match key.default {
        KeyDefault::Words(words) => format!("{} Default: {words}.", key.about),
        _ => key.about.to_owned(),
    };
    property.insert("description".to_owned(), description.into());
    if let Some(default) = default(key.default) {
        property.insert("default".to_owned(), default);
    }
    Value::Object(property)
}

fn default(default: KeyDefault) -> Option<Value> {
    Some(match default {
        KeyDefault::None | KeyDefault::Required | KeyDefault::Words(_) => return None,
        KeyDefault::Text(text) => text.into(),
        KeyDefault::Number(number) => number.into(),
        KeyDefault::Flag(flag) => flag.into(),
        KeyDefault::Texts(texts) => json!(texts),
        KeyDefault::Members(members) => {
            let members = members.iter().filter_map(|(name, value)| Some(((*name).to_owned(), self::default(*value)?)));
            Value::Object(members.collect())
        }
    })
}

fn reference(table: &str) -> Value {
    let pointer = utf8_percent_encode(table, NOT_IN_POINTER);
    json!({ "$ref": format!("#/definitions/{pointer}") })
}

fn shape(shape: KeyShape) -> Value {
    let text = || json!({ "type": "string" });
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let list = |items: Value| json!({ "type": "array", "items": items });
    let text_or = |table: &str| json!({ "anyOf": [text(), reference(table)] });
    match shape {
        KeyShape::Text(_) => text(),
        KeyShape::Flag => json!({ "type": "boolean" }),
        KeyShape::Number(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        KeyShape::Share => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        KeyShape::Choice(words) => json!({ "enum": words }),
        KeyShape::Duration => pattern(DURATION),
        KeyShape::DurationOr(words) => json!({ "anyOf": [pattern(DURATION), { "enum": words }] }),
        KeyShape::Size => pattern("^[0-9]+(B|KiB|MiB|GiB|TiB)$"),
        KeyShape::Rate => pattern("^[0-9]+/(s|min|h)$"),
        // Editors of TOML read a date as a string of this format.
        KeyShape::Date => pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
        KeyShape::Table(name) => reference(name),
        KeyShape::Tables(name) => list(reference(name)),
        KeyShape::Named(name) => json!({ "type": "object", "additionalProperties": reference(name) }),
        KeyShape::TableOrTables(name) => json!({ "anyOf": [reference(name), list(reference(name))] }),
        KeyShape::TextOr(_, name) => text_or(name),
        KeyShape::TextsOr(_, name) => json!({ "anyOf": [text(), reference(name), list(text_or(name))] }),
        KeyShape::TextsOrTable(_, item, name) => json!({ "anyOf": [text(), reference(name), list(text_or(item))] }),
        KeyShape::Texts(_) => list(text()),
        KeyShape::TextOrTexts(..) => json!({ "anyOf": [text(), list(text())] }),
        KeyShape::TextByName(_) => json!({ "type": "object", "additionalProperties": text() }),
        KeyShape::ValueByName(_) => {
            json!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        for kind in [SchemaOf::Config, SchemaOf::Site, SchemaOf::Mapping] {
            let schema = schema(kind);
            let definitions = schema["definitions"].as_object().expect("definitions");
            let pointers: Vec<Value> = definitions.keys().map(|table| reference(table)["$ref"].clone()).collect();
            for text in references(&schema) {
                assert!(pointers.contains(&text), "{text} leads nowhere");
            }
        }
    }

    #[test]
    fn an_editor_is_told_what_a_key_does_and_what_counts_without_it() {
        let schema = schema(SchemaOf::Config);
        let timeout = &schema["definitions"]["[kaicalls]"]["properties"]["timeout"];
        assert_eq!(timeout["default"], "30s");
        assert!(timeout["description"].as_str().is_some_and(|words| words.starts_with("How long")), "{timeout}");
        let gateway = &schema["definitions"]["[limits]"]["properties"]["gateway"];
        assert_eq!(gateway["default"], json!({ "rate": "6000/min", "burst": 2000 }), "beside a reference, too");
        assert_eq!(gateway["allOf"], json!([reference("a limit")]));
        assert_eq!(schema["definitions"]["[backup]"]["required"], json!(["to"]));
    }

    fn references(value: &Value) -> Vec<Value> {
        match value {
            Value::Object(members) => {
                let own = members.get("$ref").cloned();
                own.into_iter().chain(members.values().flat_map(references)).collect()
            }
            Value::Array(items) => items.iter().flat_map(references).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn unknown_keys_are_errors_in_the_schema_too() {
        let schema = schema(SchemaOf::Config);
        let server = &schema["definitions"]["[server]"];
        assert_eq!(server["additionalProperties"], false);
        assert!(server["properties"].get("listen").is_some());
    }
}
