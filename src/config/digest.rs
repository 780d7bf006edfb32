//! A digest of what the sites are: gateways that share a store tell by it whether their configurations differ.

use sha2::{Digest as _, Sha256};

use super::snapshot::{Config, Site};

impl Config {
    /// Returns a digest of the sites and of what decides how their leads are read and sent, as hex digits.
    ///
    /// To be compared only between gateways of one version: it takes the compiled rules as their `Debug` shows them. No value of a
    /// secret goes into it, so none can be tried against it; nor does what may differ by machine: files, listeners, folders.
    pub fn sites_digest(&self) -> String {
        let mut digest = Sha256::new();
        let rules = format!("{:?}", (&self.upstream.base_url, self.limits.site, self.limits.over_site));
        digest.update(rules);
        for mapping in self.mappings.iter().filter(|mapping| mapping.own) {
            digest.update(format!("\n{mapping:?}"));
        }
        for site in self.sites.values() {
            digest.update(format!("\n{}", shown(site)));
        }
        hex::encode(digest.finalize().get(..16).unwrap_or_default())
    }
}

fn shown(site: &Site) -> String {
    let Site { id, name, url, keys, form_keys, tokens, page_forms, deliver, hosts, rules, notify, .. } = site;
    let public_key = keys.as_ref().map(|keys| keys.public());
    let form_keys: Vec<_> =
        form_keys.iter().map(|(form, keys)| (form, keys.as_ref().map(|keys| keys.public()))).collect();
    let signature_secrets = site.wpforms_secrets.len();
    let posted = (tokens, page_forms, hosts, signature_secrets);
    format!(
        "{:?}",
        (id, name, url, public_key, form_keys, posted, deliver, rules, (notify.silence, &notify.form_silence))
    )
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    const SITE: &str = "[[site]]\nid = \"acme\"\nurl = \"https://acme.example\"\npublic_key = \"wp_pk_a\"\n\
                        secret_key = \"wp_sk_a\"\nwpforms_secret = \"hush\"\n[site.forms.contact]\nmapping = \"elementor\"\n\
                        [site.forms.contact.lead]\nphone = \"$.fields.tel.value\"\n";

    fn digest(text: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text).expect("written");
        let loaded = load(&file, &Sources::with_environment([]), jiff::civil::date(2026, 11, 30));
        loaded.config.expect("sound").sites_digest()
    }

    #[test]
    fn it_is_the_same_in_another_folder_and_another_process() {
        assert_eq!(digest(SITE), digest(SITE));
        assert_eq!(digest(SITE), digest(&format!("[admin]\nlisten = \"127.0.0.1:9\"\n{SITE}")));
    }

    #[test]
    fn it_tells_whether_a_site_or_what_decides_on_its_leads_differs() {
        for (from, to) in [
            ("acme\"", "beta\""),
            ("https://acme", "https://acne"),
            ("wp_pk_a", "wp_pk_b"),
            ("elementor", "cf7"),
            ("tel.value", "phone.value"),
            ("[[site]]", "[limits]\nsite = { rate = \"6/min\", burst = 6, over = \"slow\" }\n[[site]]"),
            ("[site.forms.contact]", "[site.forms.order]\n[site.forms.contact]"),
        ] {
            assert!(SITE.contains(from), "{from}");
            assert_ne!(digest(SITE), digest(&SITE.replace(from, to)), "{to}");
        }
    }

    #[test]
    fn no_secret_can_be_tried_against_it() {
        for (secret, other) in [("wp_sk_a", "wp_sk_b"), ("hush", "whisper")] {
            assert_eq!(digest(SITE), digest(&SITE.replace(secret, other)));
        }
    }
}
