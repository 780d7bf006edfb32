//! Whether `config.toml` and the sites are whole. An interrupted copy, or a full disk, leaves a file that is empty or ends
//! too early; both are TOML, and what they lack would silently be taken for its defaults.
//!
//! Only what a file lost at its end can have been cut off: what is missing while something follows was taken out. Of what
//! is missing at the end of `config.toml`, what is commented out there is taken for an edit, and so is one table, unless
//! another store, address or destination would come of it; at the end of a site one key or form, unless its posts would be
//! refused, or be sent where they were not before. The number of `[[site]]` tables that may go at once is not judged here.

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
use crate::lead::SiteId;

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
        let hint = "restore it; if you want every default, write only `[server]`";
        file.report_file(Severity::Error, "this file is empty, or has only comments", Some(hint));
        return true;
    }
    let Some(last_good) = last_good else { return false };
    let now = outline(&root);
    let taken_out = CommentedOut::at_the_end(file.text(), &root);
    let lost = lost_at_end(&last_good.outline, &now).iter().filter(|name| !taken_out.has(name, last_good));
    let lost: Vec<&String> = lost.collect();
    let moved: Vec<_> = if lost.is_empty() { Vec::new() } else { moved(file, last_good, &lost, sources, today) };
    let tables: Vec<_> = lost.iter().filter(|name| !name.contains('.')).collect();
    let has_sites = lost.iter().any(|name| name.starts_with("site."));
    // What `[sites]` and `[mappings]` include stays by itself.
    let sections = tables.iter().filter(|name| !["site", "sites", "mappings"].contains(&name.as_str())).count();
    let (what, cure) = if !moved.is_empty() {
        (moved.join(", "), "to go back to a default, write the default out or comment the old value out")
    } else if sections + usize::from(has_sites) > 1 {
        (
            tables.iter().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(", "),
            "to remove them, take them out one at a time, or comment them out",
        )
    } else {
        return false;
    };
    let message = format!("this file seems to be cut short: it ends before {what}, which its last-good version has");
    file.report_file(Severity::Error, &message, Some(&format!("restore it; {cure}")));
    true
}

/// Names the keys of a site, in the order in which they stand, also those of its forms: `tokens`, `forms.contact`,
/// `forms.contact.mapping`.
pub(super) fn site_outline(site: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    add_names("", 0, site, &mut names);
    names
}

/// How deep the keys are that are named: `forms.contact.lead.name`. What is in one of them is its value.
const DEPTH_MAX: usize = 4;

fn add_names(prefix: &str, depth: usize, table: &toml::Table, names: &mut Vec<String>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        let inside = format!("{name}.");
        names.push(name);
        // Other values are written in one piece, or are lists, which whoever revokes a token shortens.
        if let Value::Table(table) = value
            && inside.starts_with("forms.")
            && depth + 1 < DEPTH_MAX
        {
            add_names(&inside, depth + 1, table, names);
        }
    }
}

/// Reports a site at the end of a file that ends before what the site had when it was last good; tells whether it does.
pub(super) fn report_site(file: &SourceFile, id: &SiteId, site: &toml::Table, last_good: &Texts) -> bool {
    let Some(kept) = last_good.sites.get(id) else { return false };
    let now = site_outline(site);
    let lost = lost_at_end(&kept.outline, &now);
    if lost.is_empty() {
        return false;
    }
    let Ok(before) = kept.text.parse::<toml::Table>() else { return false };
    let is_missed = |name: &&String| is_topmost(name, lost) && !is_commented_out(name, file.text());
    let missed: Vec<_> = lost.iter().filter(is_missed).collect();
    if missed.len() < 2 && !missed.iter().any(|name| is_grave(name, &before)) {
        return false;
    }
    let names = missed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let message = format!("site `{id}` seems to be cut short: it ends before {names}, which its last-good version has");
    let hint = "restore it; to remove keys or forms, take them out one at a time, comment them out, or write the \
                value you want: `tokens = []`, `deliver = true`";
    file.report_file(Severity::Error, &message, Some(hint));
    true
}

/// Tells whether a lost name stands for what is in it: a form, or a key outside of the forms that are lost. A site's own
/// name is only shown.
fn is_topmost(name: &str, lost: &[String]) -> bool {
    let holds =
        |parent: &String| parent != "forms" && name.strip_prefix(parent.as_str()).is_some_and(|it| it.starts_with('.'));
    !matches!(name, "forms" | "name") && !lost.iter().any(holds)
}

/// What the comments at the end of `config.toml` say, read as if they were none: somebody may have commented tables out.
struct CommentedOut(toml::Table);

impl CommentedOut {
    fn at_the_end(text: &str, root: &toml::Table) -> Self {
        let lines: Vec<&str> = text.lines().rev().take_while(|line| is_comment(line)).collect();
        let plain = lines.into_iter().rev().map(|line| line.trim_start().trim_start_matches('#').trim_start());
        // Words may stand before it. What stands before a table's name is of the table that is still there.
        let within = root.iter().next_back().filter(|(_, last)| last.is_table()).map(|(name, _)| format!("[{name}]"));
        let lines: Vec<String> = within.into_iter().chain(plain.map(str::to_owned)).collect();
        let from_a_table = |at: usize| lines.get(at..).unwrap_or_default().join("\n").parse::<toml::Table>().ok();
        let tables = lines.iter().enumerate().filter(|(_, line)| line.starts_with('['));
        Self(tables.map(|(at, _)| at).find_map(from_a_table).unwrap_or_default())
    }

    /// Tells whether a table, or a key with the value that it had, is among them: what else a comment says is no sign that
    /// somebody took something out.
    fn has(&self, name: &str, last_good: &Texts) -> bool {
        let Some((table, key)) = name.split_once('.') else { return self.0.contains_key(name) };
        let before = last_good.sections.get(table).and_then(|text| text.parse::<toml::Table>().ok());
        let value = |root: &toml::Table| root.get(table)?.get(key).cloned();
        before.as_ref().and_then(value).is_some_and(|before| value(&self.0) == Some(before))
    }
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// Tells whether the comments at the end of a file show that somebody has commented a key or a form out.
fn is_commented_out(name: &str, text: &str) -> bool {
    let key = name.rsplit('.').next().unwrap_or(name);
    let table = format!("{name}]");
    let comments = text.lines().rev().take_while(|line| is_comment(line)).map(str::trim_start);
    comments.map(|line| line.trim_start_matches('#').trim_start()).any(|line| {
        let is_key = line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
        is_key || line.starts_with('[') && line.contains(&table)
    })
}

/// Tells whether without it posts are refused, or leads sent that were not, or by another's keys.
fn is_grave(name: &str, before: &toml::Table) -> bool {
    match name.split_once('.') {
        None => match name {
            "tokens" => before.get(name).and_then(Value::as_array).is_some_and(|tokens| !tokens.is_empty()),
            "deliver" => before.get(name).and_then(Value::as_bool) == Some(false),
            _ => name == "wpforms_secret",
        },
        Some((forms, form)) => {
            let form = before.get(forms).and_then(|forms| forms.get(form)).and_then(Value::as_table);
            form.is_some_and(|form| form.contains_key("public_key"))
        }
    }
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
fn moved(file: &SourceFile, last_good: &Texts, lost: &[&String], sources: &Sources, today: Date) -> Vec<&'static str> {
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
    let moved = differing.into_iter().filter(|(name, _, differs)| *differs && lost.iter().any(|lost| *lost == name));
    moved.map(|(_, shown, _)| shown).collect()
}

fn compile(path: &Path, text: String, sources: &Sources, today: Date) -> Sections {
    let file = SourceFile::kept(path, text);
    let entries = file.parse_leniently();
    Sections::compile(&Table::unchecked(&file, &entries, sections::KEYS), sources, today)
}
