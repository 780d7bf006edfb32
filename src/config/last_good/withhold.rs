//! What is kept of a table: everything but its secrets and comments.

use toml::{Table, Value};

use super::super::mask::{OPEN_KEYS, SINKS, is_secret_key, without_credentials};

/// What stands in the place of a secret.
#[derive(Clone, Copy)]
pub(super) enum Withheld {
    /// A reference that resolves to nothing: what needs it knows that it lacks it.
    Unresolved,
    LeftOut,
}

/// Writes a table without its secrets.
pub(super) fn text_of(mut table: Table, withheld: Withheld) -> String {
    clear_table(&mut table, "", withheld);
    toml::to_string(&table).unwrap_or_default()
}

/// Clears a table that stands under the key `holder`.
fn clear_table(table: &mut Table, holder: &str, withheld: Withheld) {
    let keys: Vec<String> = table.keys().cloned().collect();
    for key in keys {
        let Some(value) = table.get_mut(&key) else { continue };
        if is_database(holder, &key, value) {
            // Left out, it would name the default store, which is another.
            *value = Value::Table(Table::new());
            continue;
        }
        if !is_secret_key(&key) && !is_secret_of(holder, &key) {
            clear(value, &key, withheld);
        } else if matches!(value, Value::String(_)) {
            match withheld {
                Withheld::Unresolved => *value = Value::Table(Table::new()),
                Withheld::LeftOut => drop(table.remove(&key)),
            }
        } else {
            clear_secret(value);
        }
    }
}

/// Tells whether a key holds a secret because of the table that it stands in: a webhook's URL often is one in itself.
fn is_secret_of(holder: &str, key: &str) -> bool {
    holder == SINKS && key == "url"
}

/// Tells whether a value is the URL of a PostgreSQL store, which holds a password, most of the time.
fn is_database(holder: &str, key: &str, value: &Value) -> bool {
    holder == "queue" && key == "url" && value.as_str().is_some_and(|url| url.starts_with("postgres"))
}

/// Clears what stands under a key for secrets: only what says where a secret is, or is public, stays.
fn clear_secret(value: &mut Value) {
    match value {
        Value::String(_) => *value = Value::Table(Table::new()),
        Value::Array(items) => items.iter_mut().for_each(clear_secret),
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                if OPEN_KEYS.contains(&key.as_str()) {
                    clear(value, key, Withheld::Unresolved);
                } else if !matches!(value, Value::Datetime(_)) {
                    clear_secret(value);
                }
            }
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

/// Masks what looks like a credential wherever it stands.
fn clear(value: &mut Value, key: &str, withheld: Withheld) {
    match value {
        Value::String(text) => *text = without_credentials(text),
        Value::Array(items) => items.iter_mut().for_each(|item| clear(item, key, withheld)),
        Value::Table(table) => clear_table(table, key, withheld),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, withheld: Withheld) -> String {
        text_of(text.parse().expect("TOML"), withheld)
    }

    #[test]
    fn secrets_and_comments_are_withheld_and_references_stay() {
        let text = "id = \"acme\" # hush\nname = \"wp_sk_hush\"\nsecret_key = \"wp_sk_hush\"\n\
                    wpforms_secret = [\"hush\", { env = \"E\" }]\n\
                    tokens = [{ sha256 = \"ab\", note = \"n\", expires = 2027-06-30 }]\n\
                    [forms.b]\nsecret_key = { file = \"f\" }\n[forms.a]\nsecret_key = 'hush'\n";
        let kept = kept(text, Withheld::Unresolved);
        assert!(!kept.contains("hush"), "{kept}");
        for part in ["env = \"E\"", "sha256 = \"ab\"", "expires = 2027-06-30", "file = \"f\"", "note = \"n\""] {
            assert!(kept.contains(part), "{part} in {kept}");
        }
        let again: Table = kept.parse().expect("TOML");
        assert_eq!(again.get("secret_key"), Some(&Value::Table(Table::new())));
        // The order of forms decides which is asked first.
        assert!(kept.find("[forms.b") < kept.find("[forms.a"), "{kept}");
    }

    #[test]
    fn a_webhook_keeps_neither_url_nor_secret_and_a_mailbox_its_address() {
        let text = "url = \"https://site.example\"\n[[notify]]\nurl = \"https://hooks.example/hush\"\nsecret = \"whsec_hush\"\n\
                    [[notify]]\nemail = \"a@b.example\"\n[[notify]]\nurl = { env = \"E\" }\nsecret = [{ file = \"f\" }, \"hush\"]\n";
        let kept = kept(text, Withheld::Unresolved);
        assert!(!kept.contains("hush"), "{kept}");
        for part in ["https://site.example", "a@b.example", "env = \"E\"", "file = \"f\""] {
            assert!(kept.contains(part), "{part} in {kept}");
        }
    }

    #[test]
    fn a_database_keeps_no_url_and_is_not_another_store_for_that() {
        for withheld in [Withheld::Unresolved, Withheld::LeftOut] {
            let text = kept("[queue]\nurl = \"postgres://u:hush@db.example/leads\"\n", withheld);
            let queue: Table = text.parse().expect("TOML");
            assert_eq!(queue.get("queue").and_then(|queue| queue.get("url")), Some(&Value::Table(Table::new())));
            let text = "[queue]\nurl = { env = \"DATABASE_URL\" }\n";
            assert!(kept(text, withheld).contains("env = \"DATABASE_URL\""));
            assert!(kept("[queue]\nurl = \"sqlite:a.db\"\n", withheld).contains("sqlite:a.db"));
        }
    }

    #[test]
    fn a_section_does_without_its_secret() {
        let text = "[admin]\nlisten = \"x\"\ntoken = \"hush\"\n[mail]\npassword = { file = \"f\" }\n";
        let kept = kept(text, Withheld::LeftOut);
        assert!(!kept.contains("hush") && !kept.contains("token"), "{kept}");
        assert!(kept.contains("listen = \"x\"") && kept.contains("file = \"f\""), "{kept}");
    }
}
