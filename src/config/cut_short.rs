//! Whether `config.toml` is whole. An interrupted copy, or a full disk, leaves a file that is empty or ends too early;
//! both are TOML, and what they lack would silently be taken for its defaults.
//!
//! Only what a file lost at its end can have been cut off: what is missing while something follows was taken out. Of what
//! is missing at the end, one table is taken for an edit, unless another store, address or destination would come of it.
//! The number of `[[site]]` tables that may go at once is not judged here.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::civil::Date;
use toml::Value;

use super::diagnostic::Severity;
use super::last_good::{Texts, absolute};
use super::reader::Table;
use super::secret::Sources;
use super::sections::{self, Sections};
use super::source::SourceFile;

/// Names the tables of a document, each followed by its keys, in the order in which they stand: `server`,
/// `server.listen`; of a list of tables its ids: `site.acme`.
pub(super) fn outline(root: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in root {
        names.push(key.clone());
        match value {
            Value::Table(table) => names.extend(table.keys().map(|inner| format!("{key}.{inner}"))),
            Value::Array(items) => names.extend(items.iter().enumerate().map(|(at, item)| {
                let id = item.get("id").or_else(|| item.get("name")).and_then(Value::as_str);
                format!("{key}.{}", id.map_or_else(|| at.to_string(), str::to_owned))
            })),
            _ => {}
        }
    }
    names
}

/// Reports a file that is empty, or ends before what it had when it was last good; tells whether it is one.
pub(super) fn report(file: &SourceFile, last_good: Option<&Texts>, sources: &Sources, today: Date) -> bool {
    let Ok(root) = file.text().parse::<toml::Table>() else { return false };
    if file.is_unreadable() {
        return false;
    }
    if root.is_empty() {
        let hint = "restore it; if every default is meant, write `[server]`, and nothing below it";
        file.report_file(Severity::Error, "this file is empty, or holds nothing but comments", Some(hint));
        return true;
    }
    let Some(last_good) = last_good else { return false };
    let now = outline(&root);
    let lost = lost_at_end(&last_good.outline, &now);
    let moved: Vec<_> = if lost.is_empty() { Vec::new() } else { moved(file, last_good, lost, sources, today) };
    let tables: Vec<_> = lost.iter().filter(|name| !name.contains('.')).collect();
    let has_sites = lost.iter().any(|name| name.starts_with("site."));
    // What `[sites]` and `[mappings]` include stays by itself.
    let sections = tables.iter().filter(|name| !["site", "sites", "mappings"].contains(&name.as_str())).count();
    let (what, cure) = if !moved.is_empty() {
        (moved.join(", "), "to go back to a default on purpose, write the default out")
    } else if sections + usize::from(has_sites) > 1 {
        (
            tables.iter().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(", "),
            "to do without them on purpose, take them out one at a time",
        )
    } else {
        return false;
    };
    let message = format!("this file seems to be cut short: it ends before {what}, which it had when it was last good");
    file.report_file(Severity::Error, &message, Some(&format!("restore it; {cure}")));
    true
}

/// Returns what a document had after everything that is still there; nothing where it ends with something new.
fn lost_at_end<'a>(before: &'a [String], now: &[String]) -> &'a [String] {
    let names: BTreeSet<&String> = now.iter().collect();
    if now.last().is_none_or(|last| !before.contains(last)) {
        return &[];
    }
    let kept = before.iter().rposition(|name| names.contains(name)).map_or(0, |last| last + 1);
    before.get(kept..).unwrap_or_default()
}

/// Names those of the lost keys that say where something is, and whose default is another place.
fn moved(file: &SourceFile, last_good: &Texts, lost: &[String], sources: &Sources, today: Date) -> Vec<&'static str> {
    // Both beside the same file, so that relative paths compare.
    let path = absolute(file.path());
    let before = compile(&path, last_good.sections.values().map(String::as_str).collect(), sources, today);
    let now = compile(&path, file.text().to_owned(), sources, today);
    let (Some(before), Some(now)) = (before.into_config(), now.into_config()) else { return Vec::new() };
    let differing = [
        ("server.listen", "[server].listen", before.server.listen != now.server.listen),
        ("server.data", "[server].data", before.server.data != now.server.data),
        ("admin.listen", "[admin].listen", before.admin.listen != now.admin.listen),
        ("kaicalls.base_url", "[kaicalls].base_url", before.upstream.base_url != now.upstream.base_url),
        ("queue.url", "[queue].url", before.queue.url != now.queue.url),
    ];
    let moved = differing.into_iter().filter(|(name, _, differs)| *differs && lost.iter().any(|lost| lost == name));
    moved.map(|(_, shown, _)| shown).collect()
}

fn compile(path: &Path, text: String, sources: &Sources, today: Date) -> Sections {
    let file = SourceFile::kept(path, text);
    let entries = file.parse_leniently();
    Sections::compile(&Table::unchecked(&file, &entries, sections::KEYS), sources, today)
}
