//! Finds where a site is written, to change it there.

use std::path::PathBuf;

use anyhow::anyhow;

use crate::cli::error::Error;
use crate::cli::rules::{ConfigArg, today};
use crate::config::{self, ConfigPart, Loaded, Sources, StandIn, StandInSource, known_names};
use crate::lead::SiteId;

/// Where a site is written, and the configuration around it.
pub(in crate::cli) struct FoundSite {
    pub(in crate::cli) loaded: Loaded,
    /// Its own file, or `config.toml`.
    pub(in crate::cli) file: PathBuf,
}

/// Finds a site's file. It is refused where the gateway uses an older version of it: what is added to a file that lost its
/// end would be taken for all there is, and what it had before would be gone.
pub(in crate::cli) fn find_site(config: &ConfigArg, site: &SiteId) -> Result<FoundSite, Error> {
    let (path, loaded) = config.load()?;
    let file = file_of(site, &loaded)?;
    let starting = config::start(&path, &Sources::process(), today());
    let is_it = |part: &StandIn| part.part == ConfigPart::Site(site.clone()) && part.by == StandInSource::LastGood;
    if starting.stand_ins.iter().any(is_it) {
        let error = Error::config(anyhow!("site `{site}` uses its last-good version, because its file is broken"));
        return Err(error.hint(format!("fix {} first; `formgate check` shows what is wrong", file.display())));
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
