//! `formgate schema`.

use clap::{Args, ValueEnum};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::console::Console;
use super::error::Error;
use super::exit::Exit;
use crate::config::{CONFIG_KEYS, KnownKeys, MAPPING_KEYS};

/// Writes a JSON Schema of the configuration, for editors.
///
/// Editors use it to complete and check TOML. For editors with Taplo, make `#:schema formgate-site.json` the first line
/// of a file. `formgate check` finds more than a schema can.
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

/// What a key's value may be.
#[derive(Clone, Copy)]
enum KeyShape {
    Text,
    Flag,
    Number,
    /// A number from 0 to 1.
    Share,
    Choice(&'static [&'static str]),
    Duration,
    Size,
    Rate,
    Date,
    /// A table, by the name it has in messages.
    Table(&'static str),
    Tables(&'static str),
    /// Tables by names of the user's.
    Named(&'static str),
    TableOrTables(&'static str),
    TextOr(&'static str),
    TextsOr(&'static str),
    TextOrTexts,
    /// A duration, or one of a few words.
    DurationOr(&'static [&'static str]),
    Texts,
    TextByName,
}

use KeyShape::{
    Choice, Date, Duration, DurationOr, Flag, Named, Number, Rate, Share, Size, Table, TableOrTables, Tables, Text,
    TextByName, TextOr, TextOrTexts, Texts, TextsOr,
};

const OVER: KeyShape = Choice(&["slow", "hold", "reject"]);
const ON_INVALID: KeyShape = Choice(&["hold", "reject"]);
const CODES: KeyShape = Choice(&["missing", "invalid", "too_long", "no_fields", "uncertain"]);
const FIELDS: KeyShape = Choice(&["name", "email", "phone", "message"]);

/// Keys whose shape is known, by table; others may hold anything. `*` is every table.
const SHAPES: &[(&str, &str, KeyShape)] = &[
    ("the configuration", "server", Table("[server]")),
    ("the configuration", "admin", Table("[admin]")),
    ("the configuration", "kaicalls", Table("[kaicalls]")),
    ("the configuration", "queue", Table("[queue]")),
    ("the configuration", "limits", Table("[limits]")),
    ("the configuration", "backup", Table("[backup]")),
    ("the configuration", "mail", Table("[mail]")),
    ("the configuration", "alerts", Table("[alerts]")),
    ("the configuration", "sites", Table("[sites]")),
    ("the configuration", "mappings", Table("[mappings]")),
    ("the configuration", "site", Tables("a site")),
    ("[server]", "tls", Table("tls")),
    ("[server]", "public_url", Text),
    ("[server]", "data", Text),
    ("[server]", "max_body", Size),
    ("[server]", "max_upload", Size),
    ("[server]", "max_reading", Size),
    ("[server]", "trusted_proxies", Texts),
    ("[server]", "client_address", Text),
    ("[admin]", "listen", Text),
    ("[admin]", "token", TextOr("a secret")),
    ("[admin]", "site_metrics", Number),
    ("[admin]", "mask", Flag),
    ("[kaicalls]", "base_url", Text),
    ("[kaicalls]", "timeout", Duration),
    ("[kaicalls]", "max_in_flight", Number),
    ("[kaicalls]", "rate", Rate),
    ("[kaicalls]", "api_key", TextOr("a secret")),
    ("[kaicalls]", "confirm", Flag),
    ("[queue]", "url", TextOr("a secret")),
    ("[queue]", "retry", Table("[queue] retry")),
    ("[queue]", "keep", Table("[queue] keep")),
    ("[queue]", "dedupe", Duration),
    ("[queue]", "max_size", Size),
    ("[queue] retry", "first", Duration),
    ("[queue] retry", "max", Duration),
    ("[queue] retry", "give_up_after", Duration),
    ("[queue] keep", "delivered", Duration),
    ("[queue] keep", "held", Duration),
    ("[queue] keep", "dead", Duration),
    ("[limits]", "gateway", Table("a limit")),
    ("[limits]", "client", Table("a limit")),
    ("[limits]", "site", Table("[limits] site")),
    ("[limits]", "browser", Table("a limit")),
    ("[backup]", "every", Duration),
    ("[backup]", "to", Text),
    ("[backup]", "keep", Number),
    ("*", "notify", Tables("[[notify]]")),
    ("[[notify]]", "name", Text),
    ("[[notify]]", "url", TextOr("a secret")),
    ("[[notify]]", "secret", TextsOr("a secret")),
    ("[[notify]]", "format", Choice(&["standard", "slack"])),
    ("[[notify]]", "email", TextOrTexts),
    ("[[notify]]", "events", Texts),
    ("[[notify]]", "sites", Texts),
    ("[[notify]]", "leads", Flag),
    ("[[notify]]", "allow_private", Flag),
    ("[mail]", "smtp", Text),
    ("[mail]", "password", TextOr("a secret")),
    ("[mail]", "from", Text),
    ("[alerts]", "overdue", DurationOr(&["off"])),
    ("*", "silence", DurationOr(&["auto", "off"])),
    ("*", "burst", Number),
    ("*", "rate", Rate),
    ("*", "over", OVER),
    ("*", "include", Texts),
    ("[sites]", "secrets", Text),
    ("*", "hosts", Texts),
    ("a site", "id", Text),
    ("a site", "name", Text),
    ("a site", "url", Text),
    ("a site", "tokens", Tables("a token")),
    ("a site", "wpforms_secret", TextsOr("a secret")),
    ("a site", "deliver", Flag),
    ("a site", "unknown_forms", Choice(&["auto", "hold"])),
    ("a site", "forms", Named("[forms.*]")),
    ("*", "region", Text),
    ("*", "public_key", TextOr("a secret")),
    ("*", "secret_key", TextOr("a secret")),
    ("*", "sha256", Text),
    ("*", "note", Text),
    ("*", "expires", Date),
    ("[forms.*]", "match", TableOrTables("match")),
    ("[forms.*]", "mapping", Text),
    ("*", "on_invalid", ON_INVALID),
    ("[forms.*]", "lead", Table("[lead]")),
    ("[forms.*]", "auto", Table("[forms.*.auto]")),
    ("[forms.*.auto]", "min", Share),
    ("[forms.*]", "browser", Table("[forms.*.browser]")),
    ("[forms.*.browser]", "origins", Texts),
    ("[forms.*.browser]", "thanks", Text),
    ("[forms.*.browser]", "honeypot", Text),
    ("*", "extras", Table("[extras]")),
    ("[extras]", "to", Choice(&["message", "drop"])),
    ("[extras]", "drop", Texts),
    ("[extras]", "drop_where", Tables("[[extras.drop_where]]")),
    ("[[extras.drop_where]]", "fields", Texts),
    ("*", "missing", Texts),
    ("*", "except", Texts),
    ("a mapping", "combine", Tables("[[combine]]")),
    ("[[combine]]", "drop", Flag),
    ("[[combine]]", "with", Text),
    ("[[combine]]", "label", Text),
    ("[[combine]]", "type", Text),
    ("*", "needs", Texts),
    ("*", "unless", Texts),
    ("*", "when", TextByName),
    ("*", "labels", TextByName),
    ("*", "strip", Texts),
    ("*", "header", TextByName),
    ("*", "keys", Texts),
    ("*", "exists", Texts),
    ("*", "only", Texts),
    ("*", "reason", Text),
    ("a mapping", "title", Text),
    ("a mapping", "setup", Texts),
    ("a mapping", "detect", Tables("[[detect]]")),
    ("a mapping", "fields", Tables("[[fields]]")),
    ("a mapping", "values", Table("[values]")),
    ("a mapping", "form", Table("[form]")),
    ("a mapping", "lead", Table("[lead]")),
    ("a mapping", "hold", Tables("[[hold]]")),
    ("a mapping", "example", Tables("[[example]]")),
    ("[[fields]]", "role", Choice(&["meta"])),
    ("[[fields]]", "each", Text),
    ("a lead field", "auto", Flag),
    ("a lead field", "with", Text),
    ("a lead field", "template", Text),
    ("a lead field", "default", Text),
    ("[[example]]", "body", Text),
    ("[[example]]", "type", Text),
    ("*", "headers", TextByName),
    ("[[example]]", "lead", Table("an example's lead")),
    ("[[example]]", "reject", Tables("an example's reject")),
    ("an example's reject", "field", FIELDS),
    ("an example's reject", "code", CODES),
];

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
    let properties: Map<String, Value> =
        keys.keys.iter().map(|key| ((*key).to_owned(), shape(keys.table, key))).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn shape(table: &str, key: &str) -> Value {
    let of = |wanted: &str| SHAPES.iter().find(|(of, name, _)| *of == wanted && *name == key);
    of(table).or_else(|| of("*")).map_or_else(|| json!({}), |(_, _, shape)| shape.to_json())
}

fn reference(table: &str) -> Value {
    let pointer = utf8_percent_encode(table, NOT_IN_POINTER);
    json!({ "$ref": format!("#/definitions/{pointer}") })
}

impl KeyShape {
    fn to_json(self) -> Value {
        let text = || json!({ "type": "string" });
        let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
        let list = |items: Value| json!({ "type": "array", "items": items });
        match self {
            Text => text(),
            Flag => json!({ "type": "boolean" }),
            Number => json!({ "type": "integer", "minimum": 1 }),
            Share => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            Choice(words) => json!({ "enum": words }),
            Duration => pattern("^[0-9]+(ms|s|m|h|d)$"),
            Size => pattern("^[0-9]+(B|KiB|MiB|GiB|TiB)$"),
            Rate => pattern("^[0-9]+/(s|min|h)$"),
            Date => pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
            Table(name) => reference(name),
            Tables(name) => list(reference(name)),
            Named(name) => json!({ "type": "object", "additionalProperties": reference(name) }),
            TableOrTables(name) => json!({ "anyOf": [reference(name), list(reference(name))] }),
            TextOr(name) => json!({ "anyOf": [text(), reference(name)] }),
            TextsOr(name) => {
                let one = json!({ "anyOf": [text(), reference(name)] });
                json!({ "anyOf": [one, list(one)] })
            }
            TextOrTexts => json!({ "anyOf": [text(), list(text())] }),
            DurationOr(words) => json!({ "anyOf": [Duration.to_json(), { "enum": words }] }),
            Texts => list(text()),
            TextByName => json!({ "type": "object", "additionalProperties": text() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_of_a_key_there_is_and_every_reference_leads_somewhere() {
        let tables: Vec<&KnownKeys> = CONFIG_KEYS.iter().chain(&MAPPING_KEYS).collect();
        for (table, key, _) in SHAPES {
            let known = tables.iter().any(|keys| (*table == "*" || keys.table == *table) && keys.keys.contains(key));
            assert!(known, "there is no `{key}` in {table}");
        }
        for kind in [SchemaOf::Config, SchemaOf::Site, SchemaOf::Mapping] {
            let schema = schema(kind);
            let definitions = schema["definitions"].as_object().expect("definitions");
            let pointers: Vec<Value> = definitions.keys().map(|table| reference(table)["$ref"].clone()).collect();
            for text in references(&schema) {
                assert!(pointers.contains(&text), "{text} leads nowhere");
            }
        }
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
