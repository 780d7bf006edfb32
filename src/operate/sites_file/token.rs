//! A site's tokens: one more, or one less.

use jiff::civil::Date;
use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Table, TableLike, Value};

use super::document::{Changed, EditError, edit_site};

const TOKENS: &str = "tokens";

/// A token to add. The token itself is nowhere in it.
pub struct WrittenToken<'a> {
    /// In hexadecimal.
    pub sha256: &'a str,
    pub note: Option<&'a str>,
    pub expires: Option<Date>,
}

/// Returns the file's text with the token added to its site.
pub fn with_token(text: &str, site: &str, token: &WrittenToken<'_>) -> Result<String, EditError> {
    edit_site(text, site, |table| add(table, token).map(|()| Changed::Yes))
}

/// Returns the file's text without a token of its site, and without the remarks that stand on lines above it.
pub fn without_token(text: &str, site: &str, sha256: &str) -> Result<String, EditError> {
    let is_it = |found: Option<&str>| found.is_some_and(|found| found.eq_ignore_ascii_case(sha256));
    edit_site(text, site, |table| match table.get_mut(TOKENS) {
        None => Ok(Changed::No),
        Some(Item::Value(Value::Array(list))) => {
            let sha256_of = |token: &Value| is_it(token.as_inline_table()?.get("sha256")?.as_str()).then_some(());
            let Some(at) = list.iter().position(|token| sha256_of(token).is_some()) else { return Ok(Changed::No) };
            take_out(list, at);
            Ok(Changed::Yes)
        }
        Some(Item::ArrayOfTables(tables)) => {
            let found = tables.iter().position(|token| is_it(token.get("sha256").and_then(Item::as_str)));
            let Some(at) = found else { return Ok(Changed::No) };
            tables.remove(at);
            if tables.is_empty() {
                // Said, not left out: a file that only lost its end must not refuse every post.
                table.insert(TOKENS, Item::Value(Value::Array(Array::new())));
            }
            Ok(Changed::Yes)
        }
        Some(_) => Err(EditError::NotAList(TOKENS)),
    })
}

/// Takes one out of a list. What stands behind the comma of the one before, on its line, is a remark on that one.
fn take_out(list: &mut Array, at: usize) {
    let gone = list.remove(at);
    let before = gone.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let kept = before.split_once('\n').map(|(remark, _)| remark).filter(|remark| remark.contains('#'));
    let Some(next) = list.get_mut(at) else {
        // It was the last: its remark goes with it, and that of the one before stays.
        let trailing = list.trailing().as_str().unwrap_or_default();
        let own_lines = trailing.find('\n').map_or(trailing, |at| trailing.get(at..).unwrap_or_default());
        let trailing = format!("{}{own_lines}", kept.unwrap_or_default());
        list.set_trailing(trailing);
        list.set_trailing_comma(list.trailing_comma() && !list.is_empty());
        return;
    };
    let follows = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    // The first line of what stands before the next one is the remark on the one that goes.
    let prefix = match (follows.split_once('\n'), before.contains('\n')) {
        (Some((_, lines)), true) => format!("{}\n{lines}", kept.unwrap_or_default()),
        _ => before.to_owned(),
    };
    next.decor_mut().set_prefix(prefix);
}

fn add(site: &mut dyn TableLike, token: &WrittenToken<'_>) -> Result<(), EditError> {
    match site.get_mut(TOKENS) {
        None => {
            let mut list = Array::new();
            list.push(token.inline());
            site.insert(TOKENS, Item::Value(Value::Array(list)));
        }
        Some(Item::Value(Value::Array(list))) => push(list, token.inline()),
        Some(Item::ArrayOfTables(tables)) => push_table(tables, token),
        Some(_) => return Err(EditError::NotAList(TOKENS)),
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

fn push_table(tables: &mut ArrayOfTables, token: &WrittenToken<'_>) {
    let mut table = Table::new();
    for (key, value) in token.inline() {
        table.insert(&key, Item::Value(value));
    }
    table.decor_mut().set_prefix("\n");
    tables.push(table);
}

impl WrittenToken<'_> {
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
        let token = WrittenToken { sha256: "ab", note: Some("CF7 \"x\""), expires: Some(date(2027, 6, 30)) };
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
        // Also where two editors have written to it.
        check(
            "# a\r\n\nid = \"acme\"\n\r\nurl = \"x\"\r\n# b\n[forms.a]\r\n",
            "# a\r\n\nid = \"acme\"\n\r\nurl = \"x\"\r\ntokens = [NEW]\r\n# b\n[forms.a]\r\n",
        );
    }

    #[test]
    fn what_cannot_be_edited_is_left_alone() {
        let token = WrittenToken { sha256: "ab", note: None, expires: None };
        for text in ["id = ", "id = \"other\"", "id = \"acme\"\ntokens = \"x\"", "site = 1"] {
            assert!(with_token(text, "acme", &token).is_err(), "{text}");
        }
    }

    fn taken(before: &str, after: &str) {
        assert_eq!(without_token(before, "acme", "cd").expect("edited"), after, "{before}");
    }

    #[test]
    fn a_token_is_taken_out_with_its_remarks_and_the_others_stay() {
        taken("id = \"acme\"\ntokens = [{ sha256 = \"CD\" }] # all\n", "id = \"acme\"\ntokens = [] # all\n");
        taken(
            "id = \"acme\"\ntokens = [{ sha256 = \"ab\" }, { sha256 = \"cd\" }]\n",
            "id = \"acme\"\ntokens = [{ sha256 = \"ab\" }]\n",
        );
        taken(
            "id = \"acme\"\ntokens = [{ sha256 = \"cd\" }, { sha256 = \"ef\" }]\n",
            "id = \"acme\"\ntokens = [{ sha256 = \"ef\" }]\n",
        );
        taken(
            "id = \"acme\"\ntokens = [\n  { sha256 = \"ab\" }, # one\n  # of two\n  { sha256 = \"cd\" }, # two\n  # of three\n  { sha256 = \"ef\" }, # three\n]\n",
            "id = \"acme\"\ntokens = [\n  { sha256 = \"ab\" }, # one\n  # of three\n  { sha256 = \"ef\" }, # three\n]\n",
        );
        taken(
            "id = \"acme\"\ntokens = [\n  { sha256 = \"ab\" }, # one\n  { sha256 = \"cd\" }, # two\n  # the end\n]\n",
            "id = \"acme\"\ntokens = [\n  { sha256 = \"ab\" }, # one\n  # the end\n]\n",
        );
        taken(
            "id = \"acme\"\n\n[[tokens]]\nsha256 = \"cd\"\n\n[[tokens]]\nsha256 = \"ab\"\n",
            "id = \"acme\"\n\n[[tokens]]\nsha256 = \"ab\"\n",
        );
    }

    #[test]
    fn that_there_is_none_any_more_is_written() {
        taken("id = \"acme\"\n\n[[tokens]]\nsha256 = \"cd\"\n", "id = \"acme\"\ntokens = []\n");
    }

    #[test]
    fn a_token_that_is_not_there_changes_nothing() {
        for text in ["id = \"acme\"\n", "id = 'acme'\r\ntokens=[{sha256='ab'}]", "id = \"acme\"\ntokens = []"] {
            taken(text, text);
        }
    }
}
