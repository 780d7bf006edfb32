//! docs/reference/configuration.md: every table and key.

use std::collections::BTreeSet;

use formgate::config::{CONFIG_KEYS, KeyDefault, KeyShape, KnownKeys, MAPPING_KEYS};

use super::markdown::{Page, anchor, choices, code};

const ROOT: &str = "the configuration";
const SITE: &str = "a site";
const MAPPING: &str = "a mapping";

pub(super) fn page() -> String {
    let mut page = Page::new("Configuration reference");
    page.paragraph(
        "Every table and key of `config.toml`, of a site's file and of a mapping: what it takes, what counts without it, and what \
         it does. [Configuration](../configuration.md) and [mappings](../mappings.md) explain how they work together. \
         `formgate schema` writes the same for editors, and `formgate check` finds what is wrong.",
    );
    values(&mut page);
    let in_config = reach(ROOT, SITE);
    let in_site = reach(SITE, "");
    let in_mapping = reach(MAPPING, "");
    page.heading(2, "config.toml");
    tables(&mut page, &CONFIG_KEYS, |table| in_config.contains(table));
    page.heading(2, "A site's file");
    page.paragraph(
        "One site in each file that `[sites].include` finds. `[[notify]]`, `[lead]` and `[extras]` are described with the other \
         files.",
    );
    let is_of_site = |table: &str| in_site.contains(table) && !in_config.contains(table) && !in_mapping.contains(table);
    tables(&mut page, &CONFIG_KEYS, is_of_site);
    page.heading(2, "A mapping's file");
    page.paragraph("One mapping in each file that `[mappings].include` finds.");
    tables(&mut page, &MAPPING_KEYS, |table| in_mapping.contains(table) && !in_config.contains(table));
    page.finish()
}

fn values(page: &mut Page) {
    page.heading(2, "How values are written");
    let kinds = [
        "**duration**: a whole number and `ms`, `s`, `m` (minutes), `h` or `d`, such as `\"30s\"`; more than 0 unless the key says what 0 means, at most ten years.",
        "**size**: a whole number and `B`, `KiB`, `MiB`, `GiB` or `TiB`, such as `\"1MiB\"`; more than 0.",
        "**rate**: a whole number, `/`, and `s`, `min` or `h`, such as `\"120/min\"`; more than 0.",
        "**date**: `2027-06-30`, without quotes.",
        "**path**: relative to the file that names it, or absolute.",
        "**glob**: text in which `*` is any text; case doesn't matter.",
        "**JSONPath**: a path that begins with `$` (RFC 9535).",
        "**selector**: a JSONPath, or a field's key or label; see [mappings](../mappings.md#name-a-value-selectors).",
    ];
    page.list(&kinds.map(str::to_owned));
    page.paragraph("Unknown keys are errors. A key without a default can be left out; what it is for isn't done then.");
}

/// Returns the tables that a table leads to, itself included, but for those below another.
fn reach(from: &'static str, without: &str) -> BTreeSet<&'static str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(name) = next.pop() {
        if name != without && reached.insert(name) {
            let known = CONFIG_KEYS.iter().chain(&MAPPING_KEYS).filter(|known| known.table == name);
            next.extend(known.flat_map(|known| known.keys).flat_map(|key| leads_to(key.shape)));
        }
    }
    reached
}

fn leads_to(shape: KeyShape) -> Vec<&'static str> {
    match shape {
        KeyShape::Table(table)
        | KeyShape::Tables(table)
        | KeyShape::Named(table)
        | KeyShape::TableOrTables(table)
        | KeyShape::TextOr(_, table)
        | KeyShape::TextsOr(_, table) => vec![table],
        KeyShape::TextsOrTable(_, item, table) => vec![item, table],
        _ => Vec::new(),
    }
}

fn tables(page: &mut Page, known: &[KnownKeys], is_wanted: impl Fn(&str) -> bool) {
    for table in known.iter().filter(|table| is_wanted(table.table)) {
        page.heading(3, &heading(table.table));
        page.paragraph(table.about);
        let rows =
            table.keys.iter().map(|key| [code(key.name), shape(key.shape), default(key.default), key.about.to_owned()]);
        page.table(["key", "type", "default", "what it does"], &rows.collect::<Vec<_>>());
    }
}

/// Returns what a table is called above its keys: `[server]` as it is written, `a site` as `A site`.
fn heading(table: &str) -> String {
    match table {
        ROOT => "Tables of config.toml".to_owned(),
        _ if table.starts_with('[') || !table.contains(' ') => code(table),
        _ => {
            let mut chars = table.chars();
            chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
        }
    }
}

fn link(table: &str) -> String {
    let words = match table {
        "a listen address" | "a selector" | "a lead field" | "a label or type" => "a table".to_owned(),
        _ if table.starts_with('[') || !table.contains(' ') => code(table),
        _ => table.to_owned(),
    };
    format!("[{words}](#{})", anchor(&heading(table)))
}

fn shape(shape: KeyShape) -> String {
    let quoted = |words: &[&str]| words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>();
    match shape {
        KeyShape::Text(kind) => kind.to_owned(),
        KeyShape::Flag => "`true` or `false`".to_owned(),
        KeyShape::Number(min, u32::MAX) => format!("whole number, at least {min}"),
        KeyShape::Number(min, max) => format!("whole number, {min} to {max}"),
        KeyShape::Share => "number, 0 to 1".to_owned(),
        KeyShape::Choice(words) => choices(&quoted(words)),
        KeyShape::Duration => "duration".to_owned(),
        KeyShape::DurationOr(words) => {
            let mut all = vec!["duration".to_owned()];
            all.extend(quoted(words));
            choices(&all)
        }
        KeyShape::Size => "size".to_owned(),
        KeyShape::Rate => "rate".to_owned(),
        KeyShape::Date => "date".to_owned(),
        KeyShape::Table(table) => format!("table: {}", link(table)),
        KeyShape::Tables(table) => format!("list of tables: {}", link(table)),
        KeyShape::Named(table) => format!("tables by name: {}", link(table)),
        KeyShape::TableOrTables(table) => format!("table, or a list: {}", link(table)),
        KeyShape::TextOr(kind, table) => format!("{kind}, or {}", link(table)),
        KeyShape::TextsOr(kind, table) => format!("{kind}, {}, or a list", link(table)),
        KeyShape::TextsOrTable(kind, _, table) => format!("{kind}, a list, or {}", link(table)),
        KeyShape::Texts(kind) => format!("list of {kind}"),
        KeyShape::TextOrTexts(kind, _) => format!("{kind}, or a list"),
        KeyShape::TextByName(kind) | KeyShape::ValueByName(kind) => format!("table of {kind}"),
    }
}

fn default(default: KeyDefault) -> String {
    match default {
        KeyDefault::None => String::new(),
        KeyDefault::Required => "**required**".to_owned(),
        KeyDefault::Words(words) => words.to_owned(),
        KeyDefault::Texts([]) | KeyDefault::Members([]) => "none".to_owned(),
        _ => code(&toml(default)),
    }
}

/// Writes a default as it would be written in a file.
fn toml(default: KeyDefault) -> String {
    match default {
        KeyDefault::None | KeyDefault::Required | KeyDefault::Words(_) => String::new(),
        KeyDefault::Text(text) => format!("\"{text}\""),
        KeyDefault::Number(number) => number.to_string(),
        KeyDefault::Flag(flag) => flag.to_string(),
        KeyDefault::Texts(texts) => {
            format!("[{}]", texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", "))
        }
        KeyDefault::Members(members) => {
            let members = members.iter().map(|(name, value)| format!("{name} = {}", toml(*value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
    }
}
