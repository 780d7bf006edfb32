//! A site's key pair.

use toml_edit::InlineTable;

use super::document::{Changed, EditError, edit_site, set, site_of};

/// Returns the file's text with its site's key pair: the public key itself, and the file that holds the secret one, as
/// it is to be written (relative to the file's folder). They take the places of what stood there.
pub(in crate::cli) fn with_keys(
    text: &str,
    site: &str,
    public_key: &str,
    secret_file: &str,
) -> Result<String, EditError> {
    edit_site(text, site, |table| {
        let mut secret = InlineTable::new();
        secret.insert("file", secret_file.into());
        let changed = [set(table, "public_key", public_key), set(table, "secret_key", secret)];
        Ok(if changed.contains(&Changed::Yes) { Changed::Yes } else { Changed::No })
    })
}

/// Returns the file that holds a site's secret key, as it is written; none where the secret stands elsewhere.
pub(in crate::cli) fn secret_file(text: &str, site: &str) -> Option<String> {
    let document = text.parse().ok()?;
    let file = site_of(&document, site)?.get("secret_key")?.as_table_like()?.get("file")?.as_str();
    file.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

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
