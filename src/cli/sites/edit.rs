//! Adds a token to a site where it is written, and leaves every other byte of the file as it is.

use jiff::civil::Date;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// A token to add. The token itself is nowhere in it.
pub(super) struct NewToken<'a> {
    /// In hexadecimal.
    pub(super) sha256: &'a str,
    pub(super) note: Option<&'a str>,
    pub(super) expires: Option<Date>,
}

/// Why a file can't be edited.
#[derive(Debug, thiserror::Error)]
pub(super) enum EditError {
    /// The reason is left out: it may repeat a line with a secret.
    #[error("it isn't valid TOML")]
    NotToml,
    #[error("it has no site with this id")]
    NoSite,
    #[error("its `tokens` isn't a list")]
    NotAList,
    #[error("the change would damage the file")]
    Harm,
}

/// Returns the file's text with the token added to its site.
pub(super) fn with_token(text: &str, site: &str, token: &NewToken<'_>) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse().map_err(|_may_hold_secrets| EditError::NotToml)?;
    let table = find_site(document.as_table_mut(), site).ok_or(EditError::NoSite)?;
    add(table, token)?;
    let edited = document.to_string();
    let edited = if text.contains("\r\n") { with_crlf(&edited) } else { edited };
    let again: DocumentMut = edited.parse().map_err(|_may_hold_secrets| EditError::Harm)?;
    (again.iter().count() >= 1 && edited.contains(token.sha256)).then_some(edited).ok_or(EditError::Harm)
}

/// Returns the text of `config.toml` without a site's table, and the remarks above it.
pub(super) fn without_site(text: &str, site: &str) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse().map_err(|_may_hold_secrets| EditError::NotToml)?;
    let is_empty = match document.get_mut("site") {
        Some(Item::ArrayOfTables(tables)) => {
            let at = tables.iter().position(|table| is_site(table, site)).ok_or(EditError::NoSite)?;
            tables.remove(at);
            tables.is_empty()
        }
        Some(Item::Value(Value::Array(sites))) => {
            let is_it = |value: &Value| value.as_inline_table().is_some_and(|table| is_site(table, site));
            let at = sites.iter().position(is_it).ok_or(EditError::NoSite)?;
            sites.remove(at);
            sites.is_empty()
        }
        _ => return Err(EditError::NoSite),
    };
    if is_empty {
        document.remove("site");
    }
    let edited = document.to_string();
    let edited = if text.contains("\r\n") { with_crlf(&edited) } else { edited };
    edited.parse::<DocumentMut>().map_err(|_may_hold_secrets| EditError::Harm)?;
    Ok(edited)
}

/// The writer ends lines in LF; a file of an editor that ends them in CRLF stays one.
fn with_crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

/// Finds a site: the whole file, or one of its `[[site]]` tables.
fn find_site<'a>(root: &'a mut Table, site: &str) -> Option<&'a mut dyn TableLike> {
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

fn is_site(table: &dyn TableLike, site: &str) -> bool {
    table.get("id").and_then(Item::as_str) == Some(site)
}

fn add(site: &mut dyn TableLike, token: &NewToken<'_>) -> Result<(), EditError> {
    match site.get_mut("tokens") {
        None => {
            let mut list = Array::new();
            list.push(token.inline());
            site.insert("tokens", Item::Value(Value::Array(list)));
        }
        Some(Item::Value(Value::Array(list))) => push(list, token.inline()),
        Some(Item::ArrayOfTables(tables)) => push_table(tables, token),
        Some(_) => return Err(EditError::NotAList),
    }
    Ok(())
}

/// Adds to a list as it is laid out: on one line, or each on its own, with the comments where they were.
fn push(list: &mut Array, token: InlineTable) {
    let mut token = Value::InlineTable(token);
    let before = list.iter().last().and_then(|last| last.decor().prefix()?.as_str()).unwrap_or_default();
    let Some((_, indent)) = before.rsplit_once('\n') else {
        if let Some(last) = list.len().checked_sub(1).and_then(|at| list.get_mut(at)) {
            last.decor_mut().set_suffix("");
        }
        let separator = if list.is_empty() { "" } else { " " };
        token.decor_mut().set_prefix(separator);
        list.push_formatted(token);
        list.set_trailing("");
        list.set_trailing_comma(false);
        return;
    };
    let indent = indent.to_owned();
    let last = list.len().checked_sub(1).and_then(|at| list.get_mut(at));
    let suffix = last.as_ref().and_then(|last| last.decor().suffix()?.as_str()).unwrap_or_default().to_owned();
    if let Some(last) = last {
        last.decor_mut().set_suffix("");
    }
    let behind = format!("{suffix}{}", list.trailing().as_str().unwrap_or_default());
    // What stands behind the last one, up to the bracket, are remarks on it: they stay there.
    let (remarks, close) = behind.rsplit_once('\n').unwrap_or((&behind, ""));
    token.decor_mut().set_prefix(format!("{}\n{indent}", remarks.trim_end()));
    let close = format!("\n{}", if close.trim().is_empty() { close } else { "" });
    list.push_formatted(token);
    list.set_trailing(close);
    list.set_trailing_comma(true);
}

fn push_table(tables: &mut ArrayOfTables, token: &NewToken<'_>) {
    let mut table = Table::new();
    for (key, value) in token.inline() {
        table.insert(&key, Item::Value(value));
    }
    table.decor_mut().set_prefix("\n");
    tables.push(table);
}

impl NewToken<'_> {
    fn inline(&self) -> InlineTable {
        let mut table = InlineTable::new();
        table.insert("sha256", self.sha256.into());
        if let Some(note) = self.note {
            table.insert("note", note.into());
        }
        // A date of any calendar parses: it is written as TOML writes it.
        if let Some(expires) = self.expires.and_then(|day| day.to_string().parse::<toml_edit::Datetime>().ok()) {
            table.insert("expires", expires.into());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn edited(text: &str) -> String {
        let token = NewToken { sha256: "ab", note: Some("CF7 \"x\""), expires: Some(date(2027, 6, 30)) };
        with_token(text, "acme", &token).expect("edited")
    }

    const NEW: &str = "{ sha256 = \"ab\", note = 'CF7 \"x\"', expires = 2027-06-30 }";

    fn check(before: &str, after: &str) {
        assert_eq!(edited(before), after.replace("NEW", NEW), "{before}");
    }

    #[test]
    fn a_token_is_added_where_there_was_none() {
        check(
            "# Acme\nid = \"acme\"   # its name\n\n# the contact form\n[forms.contact]\nmapping = \"x\"\n",
            "# Acme\nid = \"acme\"   # its name\ntokens = [NEW]\n\n# the contact form\n[forms.contact]\nmapping = \"x\"\n",
        );
        check("id = \"acme\"\ntokens = []\n", "id = \"acme\"\ntokens = [NEW]\n");
        check("id = \"acme\"\ntokens = [ ] # none\n", "id = \"acme\"\ntokens = [NEW] # none\n");
    }

    #[test]
    fn a_token_follows_the_others_in_their_layout() {
        check(
            "id = \"acme\"\ntokens = [{ sha256 = \"cd\" }] # all\n",
            "id = \"acme\"\ntokens = [{ sha256 = \"cd\" }, NEW] # all\n",
        );
        check(
            "id = \"acme\"\ntokens = [ { sha256 = \"cd\" }, ]\n",
            "id = \"acme\"\ntokens = [ { sha256 = \"cd\" }, NEW]\n",
        );
        check(
            "id = \"acme\"\ntokens = [\n  # first\n  { sha256 = \"cd\" }, # old\n  # the end\n]\nurl = \"x\"\n",
            "id = \"acme\"\ntokens = [\n  # first\n  { sha256 = \"cd\" }, # old\n  # the end\n  NEW,\n]\nurl = \"x\"\n",
        );
        check(
            "id = \"acme\"\ntokens = [\n\t{ sha256 = \"cd\" }\n]\n",
            "id = \"acme\"\ntokens = [\n\t{ sha256 = \"cd\" },\n\tNEW,\n]\n",
        );
    }

    #[test]
    fn a_remark_behind_a_last_token_without_a_comma_stays_readable() {
        let after = edited("id = \"acme\"\ntokens = [\n  { sha256 = \"cd\" } # old\n]\n");
        assert_eq!(after, format!("id = \"acme\"\ntokens = [\n  {{ sha256 = \"cd\" }}, # old\n  {NEW},\n]\n"));
    }

    #[test]
    fn only_the_right_site_of_several_is_changed() {
        check(
            "[server]\nlisten = \"x\"\n\n[[site]]\nid = \"other\"\ntokens = []\n\n# ours\n[[site]]\nid = \"acme\"\ntokens = [] # x\n[site.forms.a]\n",
            "[server]\nlisten = \"x\"\n\n[[site]]\nid = \"other\"\ntokens = []\n\n# ours\n[[site]]\nid = \"acme\"\ntokens = [NEW] # x\n[site.forms.a]\n",
        );
        check(
            "site = [{ id = \"other\" }, { id = \"acme\" }]\n",
            "site = [{ id = \"other\" }, { id = \"acme\" , tokens = [NEW] }]\n",
        );
    }

    #[test]
    fn tables_of_tokens_get_one_more() {
        let after = edited("id = \"acme\"\n\n[[tokens]]\nsha256 = \"cd\"\n\n[forms.a]\nregion = \"US\"\n");
        assert_eq!(
            after,
            "id = \"acme\"\n\n[[tokens]]\nsha256 = \"cd\"\n\n[[tokens]]\nsha256 = \"ab\"\nnote = 'CF7 \"x\"'\nexpires = 2027-06-30\n\n[forms.a]\nregion = \"US\"\n"
        );
    }

    #[test]
    fn line_ends_stay_what_they_are() {
        check("# a\r\nid = \"acme\"\r\nurl = \"x\"\r\n", "# a\r\nid = \"acme\"\r\nurl = \"x\"\r\ntokens = [NEW]\r\n");
    }

    #[test]
    fn what_cannot_be_edited_is_left_alone() {
        let token = NewToken { sha256: "ab", note: None, expires: None };
        for text in ["id = ", "id = \"other\"", "id = \"acme\"\ntokens = \"x\"", "site = 1"] {
            assert!(with_token(text, "acme", &token).is_err(), "{text}");
        }
    }
}
