//! The `[[site]]` tables of `config.toml`: one more, or one less.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

use super::document::{Changed, EditError, edit, find_site, is_site};

/// Returns the text of `config.toml` with one more site, whose keys are those of `site`, the text of a site's file.
pub fn with_site(text: &str, id: &str, site: &str) -> Result<String, EditError> {
    let site: DocumentMut = site.parse().map_err(|_may_hold_secrets| EditError::NotToml)?;
    let mut table: Table = site.as_table().clone();
    table.decor_mut().set_prefix(if text.trim().is_empty() { "" } else { "\n" });
    edit(text, |document| {
        if find_site(document.as_table_mut(), id).is_some() {
            return Err(EditError::SiteThere);
        }
        match document.entry("site").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new())) {
            Item::ArrayOfTables(tables) => tables.push(table),
            Item::Value(Value::Array(sites)) => sites.push(table.into_inline_table()),
            _ => return Err(EditError::NotAList("site")),
        }
        Ok(Changed::Yes)
    })
}

/// Returns the text of `config.toml` without a site's table, and the remarks above it.
pub fn without_site(text: &str, site: &str) -> Result<String, EditError> {
    edit(text, |document| {
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
        Ok(Changed::Yes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_added_behind_the_others_and_taken_out_again() {
        let before = "[server]\nlisten = \"x\" # here\n\n[[site]]\nid = \"a\"\n[site.forms.c]\nregion = \"US\"\n";
        let after = with_site(before, "acme", "id = \"acme\"\nurl = \"https://acme.example\"\n").expect("added");
        assert_eq!(after, format!("{before}\n[[site]]\nid = \"acme\"\nurl = \"https://acme.example\"\n"));
        assert_eq!(without_site(&after, "acme").expect("removed"), before);
    }

    #[test]
    fn a_first_site_stands_at_the_end() {
        let after = with_site("[server]\r\nlisten = \"x\"\r\n", "acme", "id = \"acme\"\n").expect("added");
        assert_eq!(after, "[server]\r\nlisten = \"x\"\r\n\r\n[[site]]\r\nid = \"acme\"\r\n");
        assert!(with_site("site = 1", "acme", "id = \"acme\"").is_err());
        assert!(matches!(with_site(&after, "acme", "id = \"acme\""), Err(EditError::SiteThere)));
    }
}
