//! A file's text, opened for one change: its site, its line ends.

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// Why a file can't be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The reason is left out: it may repeat a line with a secret.
    #[error("it isn't valid TOML")]
    NotToml,
    #[error("it has no site with this id")]
    NoSite,
    #[error("it has a site with this id already")]
    SiteThere,
    #[error("its `{0}` isn't a list")]
    NotAList(&'static str),
    #[error("the change would damage the file")]
    Harm,
}

impl EditError {
    /// What to do about it.
    pub fn cure(&self) -> String {
        match self {
            Self::NotToml | Self::NoSite | Self::SiteThere => "`formgate check` shows what is wrong".to_owned(),
            Self::NotAList(key) => format!("write {key} = [] in it, and run this again"),
            Self::Harm => "make the change by hand; `formgate schema config` shows the keys".to_owned(),
        }
    }
}

/// A byte order mark, which some editors write first.
const BOM: char = '\u{feff}';

/// Changes a site and leaves the rest of the text as it is. A change that tells that it changed nothing gives the text
/// back byte for byte.
pub(super) fn edit_site(
    text: &str,
    site: &str,
    change: impl FnOnce(&mut dyn TableLike) -> Result<Changed, EditError>,
) -> Result<String, EditError> {
    edit(text, |document| change(find_site(document.as_table_mut(), site).ok_or(EditError::NoSite)?))
}

/// Whether a change changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Yes,
    No,
}

/// Changes a document as [`edit_site`] does.
pub(super) fn edit(
    text: &str,
    change: impl FnOnce(&mut DocumentMut) -> Result<Changed, EditError>,
) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse().map_err(|_may_hold_secrets| EditError::NotToml)?;
    if change(&mut document)? == Changed::No {
        return Ok(text.to_owned());
    }
    let edited = document.to_string();
    let mut edited = if text.contains("\r\n") { with_line_ends_of(text, &edited) } else { edited };
    if text.starts_with(BOM) && !edited.starts_with(BOM) {
        edited.insert(0, BOM);
    }
    edited.parse::<DocumentMut>().map_err(|_may_hold_secrets| EditError::Harm)?;
    Ok(edited)
}

/// The writer ends lines in LF. Lines that were there keep their ends, and a new one ends as the line before it.
fn with_line_ends_of(before: &str, edited: &str) -> String {
    let mut old = before.split_inclusive('\n');
    let mut is_crlf = before.split_inclusive('\n').next().is_some_and(|first| first.ends_with("\r\n"));
    let mut text = String::new();
    for line in edited.split_inclusive('\n') {
        let (content, has_end) = bare(line);
        let mut rest = old.clone();
        if let Some(found) = rest.find(|old| bare(old).0 == content) {
            // An empty line is like any other: only the next one is meant.
            if !content.is_empty() || old.clone().next().is_some_and(|next| bare(next).0.is_empty()) {
                is_crlf = if found.ends_with('\n') { found.ends_with("\r\n") } else { is_crlf };
                old = rest;
            }
        }
        text.push_str(content);
        text.push_str(if !has_end {
            ""
        } else if is_crlf {
            "\r\n"
        } else {
            "\n"
        });
    }
    text
}

/// Returns a line without its end, and whether it has one.
fn bare(line: &str) -> (&str, bool) {
    let content = line.strip_suffix('\n');
    (content.map_or(line, |content| content.strip_suffix('\r').unwrap_or(content)), content.is_some())
}

/// Finds a site to look at.
pub(super) fn site_of<'a>(document: &'a DocumentMut, site: &str) -> Option<&'a dyn TableLike> {
    if is_site(document.as_table(), site) {
        return Some(document.as_table());
    }
    match document.get("site")? {
        Item::ArrayOfTables(tables) => {
            let found = tables.iter().find(|table| is_site(*table, site))?;
            Some(found)
        }
        Item::Value(Value::Array(sites)) => {
            let found = sites.iter().filter_map(Value::as_inline_table).find(|table| is_site(*table, site))?;
            Some(found)
        }
        _ => None,
    }
}

/// Finds a site: the whole file, or one of its `[[site]]` tables.
pub(super) fn find_site<'a>(root: &'a mut Table, site: &str) -> Option<&'a mut dyn TableLike> {
    if is_site(root, site) {
        return Some(root);
    }
    match root.get_mut("site")? {
        Item::ArrayOfTables(tables) => {
            let found = tables.iter_mut().find(|table| is_site(*table, site))?;
            Some(found)
        }
        Item::Value(Value::Array(sites)) => {
            let tables = sites.iter_mut().filter_map(Value::as_inline_table_mut);
            let found = tables.into_iter().find(|table| is_site(*table, site))?;
            Some(found)
        }
        _ => None,
    }
}

pub(super) fn is_site(table: &dyn TableLike, site: &str) -> bool {
    table.get("id").and_then(Item::as_str) == Some(site)
}

/// Puts a value in the place of the one that a key has, with the remarks beside it; where there is none, behind the
/// table's other values. Tells whether that changed anything.
pub(super) fn set(table: &mut dyn TableLike, key: &str, value: impl Into<Value>) -> Changed {
    let mut value = value.into();
    match table.get_mut(key) {
        Some(Item::Value(old)) if is_same(old, &value) => return Changed::No,
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        // A table with a heading of its own: it gives up its place, as a value can't stand behind a heading.
        Some(Item::Table(old)) if same_pairs(old, &value) => return Changed::No,
        _ => {
            table.remove(key);
            table.insert(key, Item::Value(value));
        }
    }
    Changed::Yes
}

fn is_same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::String(old), Value::String(new)) => old.value() == new.value(),
        (Value::Boolean(old), Value::Boolean(new)) => old.value() == new.value(),
        (Value::InlineTable(old), new) => same_pairs(old, new),
        _ => false,
    }
}

/// Tells whether a table has the texts of an inline one, and nothing else.
fn same_pairs(old: &dyn TableLike, new: &Value) -> bool {
    let same = |new: &InlineTable| {
        let texts = |key: &str| (old.get(key).and_then(Item::as_str), new.get(key).and_then(Value::as_str));
        old.len() == new.len() && new.iter().all(|(key, _)| matches!(texts(key), (Some(old), Some(new)) if old == new))
    };
    new.as_inline_table().is_some_and(same)
}
