//! A site that isn't written yet: its text, and where it goes.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use crate::cli::error::Error;
use crate::cli::keys::relative_to;
use crate::cli::rules::today;
use crate::config::{self, Loaded, NewSitePlace, Site, Sources, WrittenSite};
use crate::lead::{Region, SiteId};
use crate::operate::keys::ReadyPair;
use crate::operate::sites_file::{EditLock, SiteFileError, probe_folder, with_site};
use crate::queue::private_file;

/// What is to be written. The token itself is nowhere in it.
pub(super) struct NewSite<'a> {
    pub(super) id: &'a SiteId,
    pub(super) name: Option<&'a str>,
    pub(super) url: &'a str,
    pub(super) region: Option<AssumedRegion>,
    pub(super) pair: Option<&'a ReadyPair>,
    /// In hexadecimal.
    pub(super) sha256: &'a str,
    /// The command that writes it.
    pub(super) by: &'static str,
}

/// The country of a site, and whether that was said or only its URL says it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct AssumedRegion {
    pub(super) region: Region,
    pub(super) is_assumed: bool,
}

impl AssumedRegion {
    /// Takes what was said, else what the URL says.
    pub(super) fn of(said: Option<Region>, url: &str) -> Option<Self> {
        let said = said.map(|region| Self { region, is_assumed: false });
        let assumed = || crate::operate::onboard::region_of_url(url).map(|region| Self { region, is_assumed: true });
        said.or_else(assumed)
    }
}

/// Finds the place for a new site.
pub(super) fn place(loaded: &Loaded, site: &SiteId) -> Result<NewSitePlace, Error> {
    loaded.new_site_place(site).ok_or_else(|| {
        let error = Error::config(anyhow!("no pattern of [sites].include would find a new file"));
        error.hint("write include = [\"sites/*.toml\"] under [sites] in config.toml")
    })
}

/// Returns the file of a place.
pub(super) fn file_of(place: &NewSitePlace) -> &Path {
    let (NewSitePlace::File(file) | NewSitePlace::Table(file)) = place;
    file
}

/// The place of a new site, and the right to write there: no other command writes to it meanwhile.
pub(super) struct HeldPlace<'a> {
    place: &'a NewSitePlace,
    lock: EditLock,
}

impl<'a> HeldPlace<'a> {
    /// Waits for the right to write, and makes the folder where there is none.
    pub(super) fn hold(place: &'a NewSitePlace) -> Result<Self, Error> {
        let file = file_of(place);
        if matches!(place, NewSitePlace::File(_)) {
            make_folder(file)?;
        }
        Ok(Self { place, lock: EditLock::of(file, today())? })
    }

    /// Tells whether the site can be written here, before anybody is asked for keys.
    pub(super) fn probe(&self, site: &SiteId) -> Result<Option<Site>, Error> {
        let file = self.lock.file();
        probe_folder(file).with_context(|| format!("can't write to {}", file.display())).map_err(Error::store)?;
        self.found(site)
    }

    /// Returns the site where another command has written it since the configuration was loaded.
    pub(super) fn found(&self, site: &SiteId) -> Result<Option<Site>, Error> {
        let file = file_of(self.place);
        if file.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(None);
        }
        let written = config::written_site(file, &self.lock.read()?, site, &Sources::command_line(), today());
        match (written, self.place) {
            (Some(WrittenSite { site: Some(found), .. }), _) => Ok(Some(found)),
            (None, NewSitePlace::Table(_)) => Ok(None),
            _ => Err(SiteFileError::InTheWay(file.to_owned()).into()),
        }
    }

    /// Writes the site, and returns the file that has it now.
    pub(super) fn write(&self, site: &NewSite<'_>, secrets: &Path) -> Result<PathBuf, Error> {
        let file = file_of(self.place);
        let text = site.text(file, secrets);
        match self.place {
            NewSitePlace::File(_) => self.lock.create(&text, site.id)?,
            NewSitePlace::Table(_) => {
                self.lock.edit(site.id, |before| with_site(before, site.id.as_str(), &text))?;
            }
        }
        Ok(file.to_owned())
    }
}

impl NewSite<'_> {
    fn text(&self, file: &Path, secrets: &Path) -> String {
        let mut lines = vec![format!("id = {}", quoted(self.id.as_str()))];
        lines.extend(self.name.map(|name| format!("name = {}", quoted(name))));
        lines.push(format!("url = {}", quoted(self.url)));
        lines.push(match &self.region {
            Some(AssumedRegion { region, is_assumed }) => {
                let from = if *is_assumed { "   # from the URL: the country of phone numbers without +" } else { "" };
                format!("region = {}{from}", quoted(&region.to_string()))
            }
            None => "# region = \"US\"   # the country of phone numbers without +; unset: sent as typed".to_owned(),
        });
        let path = |target: &Path| quoted(&relative_to(file, target).to_string_lossy());
        match self.pair {
            Some(pair) => {
                lines.push(format!("public_key = {}", quoted(&pair.public_key)));
                lines.push(format!("secret_key = {{ file = {} }}", path(&pair.secret_file)));
            }
            None => {
                lines.push(format!(
                    "# Its leads wait in the queue until it has keys: `formgate keys mint {}`.",
                    self.id
                ));
                let [public, secret] = key_files(secrets, self.id);
                lines.push(format!("public_key = {{ file = {} }}", path(&public)));
                lines.push(format!("secret_key = {{ file = {} }}", path(&secret)));
            }
        }
        let note = quoted(&format!("made by formgate {}", self.by));
        lines.push(format!("tokens = [{{ sha256 = {}, note = {note} }}]", quoted(self.sha256)));
        format!("{}\n", lines.join("\n"))
    }
}

/// Returns where the keys of a site are expected that has none yet.
pub(super) fn key_files(secrets: &Path, site: &SiteId) -> [PathBuf; 2] {
    ["public_key", "secret_key"].map(|key| secrets.join(format!("{site}_{key}")))
}

fn make_folder(file: &Path) -> Result<(), Error> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) else {
        return Ok(());
    };
    let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
    made.and_then(|()| private_file::adopt_folder(folder))
        .with_context(|| format!("can't create the folder {}", folder.display()))
        .map_err(Error::store)
}

/// TOML's basic strings take every escape that JSON writes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_written_with_what_is_known_of_it() {
        let id = SiteId::parse("acme").expect("an id");
        let pair = ReadyPair {
            public_key: "wp_pk_1".to_owned(),
            secret_file: "/etc/formgate/secrets/acme_sk".into(),
            business_id: None,
            connection_id: None,
            replaces: None,
            was_resumed: false,
        };
        let url = "https://acme.de";
        let region = AssumedRegion::of(None, url);
        let name = Some("Acme \"Dental\"");
        let mut site = NewSite { id: &id, name, url, region, pair: Some(&pair), sha256: "ab", by: "sites add" };
        let text = |site: &NewSite<'_>| {
            site.text(Path::new("/etc/formgate/sites/acme.toml"), Path::new("/etc/formgate/secrets"))
        };
        assert_eq!(
            text(&site),
            "id = \"acme\"\nname = \"Acme \\\"Dental\\\"\"\nurl = \"https://acme.de\"\n\
             region = \"DE\"   # from the URL: the country of phone numbers without +\n\
             public_key = \"wp_pk_1\"\nsecret_key = { file = \"../secrets/acme_sk\" }\n\
             tokens = [{ sha256 = \"ab\", note = \"made by formgate sites add\" }]\n"
        );
        (site.pair, site.region) = (None, None);
        let without = text(&site);
        assert!(without.contains("secret_key = { file = \"../secrets/acme_secret_key\" }"), "{without}");
        assert!(without.contains("# region = \"US\""), "{without}");
    }
}
