//! Whether a site's leads are sent: `deliver = false`, or nothing.

use toml_edit::Item;

use super::document::{Changed, EditError, edit_site, set};

const DELIVER: &str = "deliver";

/// Returns the file's text with its site's deliveries off.
pub fn paused(text: &str, site: &str) -> Result<String, EditError> {
    edit_site(text, site, |table| Ok(set(table, DELIVER, false)))
}

/// Returns the file's text with its site's deliveries on: the line goes. It stays and says `true` where it has a remark, and
/// at the end of the site: a file that only lost its end must not start to send.
pub fn resumed(text: &str, site: &str) -> Result<String, EditError> {
    edit_site(text, site, |table| {
        let Some(value) = table.get(DELIVER) else { return Ok(Changed::No) };
        if value.as_bool() == Some(true) {
            return Ok(Changed::No);
        }
        let has_remark = |text: Option<&str>| text.is_some_and(|text| text.contains('#'));
        let behind = value.as_value().and_then(|value| value.decor().suffix()?.as_str());
        let above = table.key(DELIVER).and_then(|key| key.leaf_decor().prefix()?.as_str());
        let is_last = table.iter().last().is_some_and(|(key, _)| key == DELIVER);
        if is_last || has_remark(behind) || has_remark(above) {
            return Ok(set(table, DELIVER, true));
        }
        let gone: Option<Item> = table.remove(DELIVER);
        Ok(if gone.is_some() { Changed::Yes } else { Changed::No })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(running: &str, stopped: &str) {
        assert_eq!(paused(running, "acme").expect("paused"), stopped, "{running}");
        assert_eq!(paused(stopped, "acme").expect("paused"), stopped, "{stopped}");
        assert_eq!(resumed(stopped, "acme").expect("resumed"), running, "{stopped}");
        assert_eq!(resumed(running, "acme").expect("resumed"), running, "{running}");
    }

    #[test]
    fn a_site_is_paused_and_resumed_and_its_file_is_as_before() {
        check(
            "# Acme\nid = \"acme\" # its name\n\n# the form\n[forms.a]\nregion = \"US\"\n",
            "# Acme\nid = \"acme\" # its name\ndeliver = false\n\n# the form\n[forms.a]\nregion = \"US\"\n",
        );
    }

    #[test]
    fn a_remark_on_the_line_stays() {
        check(
            "id = \"acme\"\n# until June\ndeliver = true\nurl = \"x\"\n",
            "id = \"acme\"\n# until June\ndeliver = false\nurl = \"x\"\n",
        );
        check(
            "id = \"acme\"\ndeliver = true  # a trial\nurl = \"x\"\n",
            "id = \"acme\"\ndeliver = false  # a trial\nurl = \"x\"\n",
        );
    }

    #[test]
    fn at_the_end_of_a_site_the_line_stays() {
        for (before, after) in [
            ("id = \"acme\"\r\n", "id = \"acme\"\r\ndeliver = true\r\n"),
            (
                "[[site]]\nid = \"acme\"\n\n[[site]]\nid = \"b\"\ndeliver = false\n",
                "[[site]]\nid = \"acme\"\ndeliver = true\n\n[[site]]\nid = \"b\"\ndeliver = false\n",
            ),
        ] {
            let stopped = paused(before, "acme").expect("paused");
            assert_eq!(stopped, after.replace("true", "false"));
            assert_eq!(resumed(&stopped, "acme").expect("resumed"), after);
        }
    }
}
