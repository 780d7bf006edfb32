//! A site's key pair.

use toml_edit::{DocumentMut, InlineTable, Item, TableLike, Value};

use super::document::{Changed, EditError, edit_site, set, site_of};

/// Returns the file's text with its site's key pair: the public key itself, and the file that holds the secret one, as
/// it is to be written (relative to the file's folder). They take the places of what stood there.
pub fn with_keys(text: &str, site: &str, public_key: &str, secret_file: &str) -> Result<String, EditError> {
    edit_site(text, site, |table| {
        let mut secret = InlineTable::new();
        secret.insert("file", secret_file.into());
        let changed = [set(table, "public_key", public_key), set(table, "secret_key", secret)];
        Ok(if changed.contains(&Changed::Yes) { Changed::Yes } else { Changed::No })
    })
}

/// Where a key is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenKey {
    Nowhere,
    /// In the file itself.
    Here,
    Variable(String),
    /// As it is written.
    File(String),
}

/// Tells where a site's keys are written, the public and the secret one.
pub fn written_keys(text: &str, site: &str) -> Option<[WrittenKey; 2]> {
    let document = text.parse().ok()?;
    let table = site_of(&document, site)?;
    Some(["public_key", "secret_key"].map(|key| {
        let Some(item) = table.get(key) else { return WrittenKey::Nowhere };
        let named = |name| item.as_table_like()?.get(name)?.as_str().map(str::to_owned);
        let file = named("file").map(WrittenKey::File);
        file.or_else(|| named("env").map(WrittenKey::Variable)).unwrap_or(WrittenKey::Here)
    }))
}

/// Returns every file that a text names by `file = "…"`, wherever that stands; none where it can't be read.
pub fn named_files(text: &str) -> Option<Vec<String>> {
    let document: DocumentMut = text.parse().ok()?;
    let mut found = Vec::new();
    in_table(document.as_table(), &mut found);
    Some(found)
}

fn in_table(table: &dyn TableLike, found: &mut Vec<String>) {
    for (key, item) in table.iter() {
        match item {
            Item::ArrayOfTables(tables) => tables.iter().for_each(|table| in_table(table, found)),
            Item::Value(Value::Array(values)) => {
                values.iter().filter_map(Value::as_inline_table).for_each(|table| in_table(table, found));
            }
            _ => match (item.as_table_like(), item.as_str()) {
                (Some(table), _) => in_table(table, found),
                (None, Some(file)) if key == "file" => found.push(file.to_owned()),
                _ => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_where_they_are_written() {
        let text = "[[site]]\nid = \"a\"\npublic_key = \"wp_pk_a\"\nsecret_key = { file = \"x\" }\n\
                    [site.forms.b]\nsecret_key.file = \"y\"\n\n[[site]]\nid = \"c\"\npublic_key = { env = \"E\" }\n";
        let file = WrittenKey::File("x".to_owned());
        assert_eq!(written_keys(text, "a"), Some([WrittenKey::Here, file]));
        assert_eq!(written_keys(text, "c"), Some([WrittenKey::Variable("E".to_owned()), WrittenKey::Nowhere]));
        assert_eq!(written_keys(text, "d"), None);
        assert_eq!(named_files(text), Some(vec!["x".to_owned(), "y".to_owned()]));
    }

    const PUBLIC: &str = "public_key = \"wp_pk_2\"";
    const SECRET: &str = "secret_key = { file = \"../secrets/acme.sk\" }";

    fn check(before: &str, after: &str) {
        let edit = |text: &str| with_keys(text, "acme", "wp_pk_2", "../secrets/acme.sk").expect("edited");
        let after = after.replace("PUBLIC", PUBLIC).replace("SECRET", SECRET);
        assert_eq!(edit(before), after, "{before}");
        assert_eq!(edit(&after), after, "again: {after}");
    }

    #[test]
    fn a_pair_takes_the_place_of_the_old_one_with_its_remarks() {
        check(
            "id = \"acme\"\n# ours\npublic_key = \"wp_pk_1\" # since May\nsecret_key = { env = \"ACME_SK\" }\t# secret\nurl = \"https://acme.example\"\n",
            "id = \"acme\"\n# ours\nPUBLIC # since May\nSECRET\t# secret\nurl = \"https://acme.example\"\n",
        );
        check(
            "secret_key={file=\"../secrets/acme_sk\"}\r\nid=\"acme\"\r\npublic_key={file=\"x\"}\r\n",
            "secret_key={ file = \"../secrets/acme.sk\" }\r\nid=\"acme\"\r\npublic_key=\"wp_pk_2\"\r\n",
        );
    }

    #[test]
    fn a_first_pair_stands_behind_the_other_values() {
        check(
            "# Acme\nid = \"acme\"\n\n[forms.contact]\nregion = \"US\"\n",
            "# Acme\nid = \"acme\"\nPUBLIC\nSECRET\n\n[forms.contact]\nregion = \"US\"\n",
        );
    }

    #[test]
    fn the_keys_of_a_form_and_of_other_sites_stay() {
        check(
            "[[site]]\nid = \"other\"\npublic_key = \"wp_pk_0\"\n\n[[site]]\nid = \"acme\"\npublic_key = \"wp_pk_1\"\nsecret_key = \"wp_sk_1\"\n[site.forms.a]\npublic_key = \"wp_pk_9\"\n",
            "[[site]]\nid = \"other\"\npublic_key = \"wp_pk_0\"\n\n[[site]]\nid = \"acme\"\nPUBLIC\nSECRET\n[site.forms.a]\npublic_key = \"wp_pk_9\"\n",
        );
    }

    #[test]
    fn a_key_in_a_table_of_its_own_is_replaced_too() {
        check(
            "id = \"acme\"\nsecret_key.env = \"ACME_SK\"\npublic_key = \"wp_pk_1\"\n",
            "id = \"acme\"\nPUBLIC\nSECRET\n",
        );
        check(
            "id = \"acme\"\npublic_key = \"wp_pk_1\"\n\n[secret_key]\nenv = \"ACME_SK\"\n\n[forms.a]\nregion = \"US\"\n",
            "id = \"acme\"\nPUBLIC\nSECRET\n\n[forms.a]\nregion = \"US\"\n",
        );
        let own = "id = \"acme\"\npublic_key = \"wp_pk_2\"\n\n[secret_key]\nfile = \"../secrets/acme.sk\"\n";
        check(own, own);
    }

    #[test]
    fn a_byte_order_mark_stays() {
        check("\u{feff}id = \"acme\"\n", "\u{feff}id = \"acme\"\nPUBLIC\nSECRET\n");
    }
}
