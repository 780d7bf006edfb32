//! Finds where a site is written, to change it there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::rules::{ConfigArg, today};
use crate::config::{
    self, ConfigPart, Loaded, PartFault, Site, Sources, StandIn, StandInSource, Starting, known_names,
};
use crate::lead::SiteId;

/// Where a site is written, and the configuration around it.
pub(in crate::cli) struct FoundSite {
    pub(in crate::cli) loaded: Loaded,
    /// Its own file, or `config.toml`.
    pub(in crate::cli) file: PathBuf,
}

/// The sites as they are written, and those of which the gateway uses an older version.
pub(in crate::cli) struct WrittenSites {
    pub(in crate::cli) loaded: Loaded,
    on_last_good: BTreeMap<SiteId, StandIn>,
    /// The files of sites that can't take submissions as they are written.
    broken: BTreeMap<SiteId, PathBuf>,
}

impl WrittenSites {
    /// Loads them; a `config.toml` with errors is refused.
    pub(in crate::cli) fn load(config: &ConfigArg, console: &mut Console) -> Result<Self, Error> {
        let path = config.find()?;
        Self::of(&path, config::start(&path, &Sources::command_line(), today()), console)
    }

    /// Takes them from what a gateway that starts now would find.
    pub(in crate::cli) fn of(path: &Path, starting: Starting, console: &mut Console) -> Result<Self, Error> {
        let Starting { loaded, stand_ins, .. } = starting;
        if loaded.config.is_none() {
            console.say(loaded.diagnostics.render(console.talk_paint().colour));
            return Err(Error::config(anyhow!("{} has errors; fix them first", path.display())));
        }
        // One that only lacks keys is broken for those who send, and takes submissions.
        let usable: BTreeSet<&SiteId> = loaded.usable_sites().map(|site| &site.id).collect();
        let broken = loaded.broken_sites.iter().filter_map(|site| Some((site.id.clone()?, site.file.clone())));
        let broken = broken.filter(|(id, _)| !usable.contains(id)).collect();
        Ok(Self { on_last_good: on_last_good(stand_ins), broken, loaded })
    }

    /// Finds a site that can take submissions as it is written.
    pub(in crate::cli) fn usable(&self, site: &SiteId) -> Option<&Site> {
        self.loaded.usable_sites().find(|usable| usable.id == *site)
    }

    /// Says why a site can't be written or changed. What is added to a file that lost its end would be taken for all there
    /// is, and what it had before would be gone; a new file in the place of one that is gone as well.
    pub(in crate::cli) fn refusal(&self, site: &SiteId) -> Option<Error> {
        if let Some(stand_in) = self.on_last_good.get(site) {
            return Some(uses_last_good(site, stand_in));
        }
        let file = self.broken.get(site)?;
        let error = Error::config(anyhow!("site `{site}` is there already, with errors"));
        Some(error.hint(format!("`formgate check` shows what is wrong with {}", file.display())))
    }
}

/// Gives the sites of which the gateway uses an older version.
fn on_last_good(stand_ins: Vec<StandIn>) -> BTreeMap<SiteId, StandIn> {
    let older = stand_ins.into_iter().filter(|part| part.by == StandInSource::LastGood);
    let of_site = |part: StandIn| match &part.part {
        ConfigPart::Site(id) => Some((id.clone(), part)),
        _ => None,
    };
    older.filter_map(of_site).collect()
}

fn uses_last_good(site: &SiteId, stand_in: &StandIn) -> Error {
    let file = stand_in.file.display();
    let (why, cure) = match stand_in.fault {
        PartFault::Broken => ("its file is broken", format!("fix {file} first; `formgate check` shows what is wrong")),
        PartFault::Incomplete | PartFault::NoKeys => {
            ("what its file names can't be read", format!("`formgate check` shows what {file} lacks"))
        }
        PartFault::Gone | PartFault::TakenOut => (
            "it is gone from its file",
            format!("restore it in {file}, or take it out for good: `formgate sites remove {site}`"),
        ),
    };
    Error::config(anyhow!("site `{site}` uses its last-good version, because {why}")).hint(cure)
}

/// Finds a site's file. It is refused where the gateway uses an older version of it.
pub(in crate::cli) fn find_site(config: &ConfigArg, site: &SiteId) -> Result<FoundSite, Error> {
    let (path, loaded) = config.load()?;
    let file = file_of(site, &loaded)?;
    let stand_ins = config::start(&path, &Sources::command_line(), today()).stand_ins;
    if let Some(stand_in) = on_last_good(stand_ins).get(site) {
        return Err(uses_last_good(site, stand_in));
    }
    Ok(FoundSite { loaded, file })
}

/// Finds the file in which a site is written, also where it can't be used yet because its keys are missing.
pub(in crate::cli) fn file_of(site: &SiteId, loaded: &Loaded) -> Result<PathBuf, Error> {
    let sound = loaded.sound_sites().map(|site| (&site.id, &site.file));
    let broken = loaded.broken_sites.iter().filter_map(|site| Some((site.id.as_ref()?, &site.file)));
    let all: Vec<_> = sound.chain(broken).collect();
    let mut files = all.iter().filter(|(id, _)| *id == site).map(|(_, file)| *file);
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file.clone()),
        (Some(_), Some(_)) => {
            let error = Error::config(anyhow!("more than one site has the id `{site}`"));
            Err(error.hint("`formgate check` shows where"))
        }
        (None, _) => {
            let hint = match all.is_empty() {
                true => format!(
                    "`formgate sites add {site} --url URL` adds it; `formgate check` shows what is wrong with existing \
                     files"
                ),
                false => known_names(site.as_str(), all.iter().map(|(id, _)| id.as_str())),
            };
            Err(Error::usage(anyhow!("there is no site `{site}`")).hint(hint))
        }
    }
}
