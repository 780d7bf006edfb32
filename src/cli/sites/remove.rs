//! `formgate sites remove`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::edit::{EditError, without_site};
use super::replace::replace;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::rules::{ConfigArg, today};
use crate::config::{self, Part, Sources, Starting};
use crate::lead::{FormId, SiteId};

/// Removes a site for good: its file, or its table in config.toml, and its last good version.
///
/// A site whose file only vanishes goes on as it was. The running gateway follows by itself: posts to the site are
/// answered 401 then, and its queued leads wait a day for it to come back before they are held. Key files that it names
/// are kept.
#[derive(Args, Debug)]
pub(super) struct RemoveArgs {
    /// The site
    #[arg(value_parser = SiteId::parse, required_unless_present = "mapping")]
    site: Option<SiteId>,
    /// Forget a mapping whose file is gone, instead of a site
    #[arg(long, value_name = "NAME", value_parser = FormId::parse, conflicts_with = "site")]
    mapping: Option<FormId>,
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: &RemoveArgs, console: &mut Console) -> Result<Exit, Error> {
    let path = args.config.find()?;
    let part = match (&args.site, &args.mapping) {
        (Some(site), _) => Part::Site(site.clone()),
        (None, Some(mapping)) => Part::Mapping(mapping.to_string()),
        (None, None) => return Err(Error::usage(anyhow!("name a site, or a mapping with --mapping"))),
    };
    let starting = config::start(&path, &Sources::process(), today());
    let files = files_of(&part, &starting);
    if files.is_empty() && !is_remembered(&part, &starting) {
        console.say(format!("there is no {part}, or it is removed already{}", others(&part, &starting)));
        return Ok(Exit::Ok);
    }
    if files.len() > 1 {
        let error = Error::config(anyhow!("there is more than one {part}"));
        return Err(error.hint("`formgate check` shows where; remove all but one first"));
    }
    let record = || {
        let recorded = config::record_removed(&path, &part, &Sources::process(), today());
        recorded.context("the removal can't be recorded").map_err(Error::store)
    };
    let is_recorded = record()?;
    if let (Part::Site(site), Some(file)) = (&part, files.first()) {
        take_out(file, site, &path)?;
        // A reload in between took it for put back.
        record()?;
    }
    let kept = if is_recorded { "" } else { "; a gateway that runs goes on with it until it is started again" };
    let from = files.first().map_or_else(String::new, |file| format!(" from {}", file.display()));
    console.say(format!("{part} is removed{from}{kept}"));
    Ok(Exit::Ok)
}

/// Says which sites there are: the name may be mistyped.
fn others(part: &Part, starting: &Starting) -> String {
    let sites = starting.in_force.iter().flat_map(|(config, _)| config.sites.keys());
    let names: Vec<&str> = sites.map(SiteId::as_str).collect();
    match part {
        Part::Site(site) if !names.is_empty() => format!("; {}", config::known_names(site.as_str(), names)),
        _ => String::new(),
    }
}

/// Finds where a site is written, well or not.
fn files_of(part: &Part, starting: &Starting) -> Vec<PathBuf> {
    let Part::Site(id) = part else { return Vec::new() };
    let loaded = &starting.loaded;
    let sound = loaded.config.iter().flat_map(|config| config.sites.get(id)).map(|site| &site.file);
    let broken = loaded.broken_sites.iter().filter(|site| site.id.as_ref() == Some(id)).map(|site| &site.file);
    let mut files: Vec<PathBuf> = sound.chain(broken).cloned().collect();
    if files.is_empty() {
        // A file that can't even be read as TOML is known by what it was.
        let standing = starting.stand_ins.iter().filter(|stand_in| stand_in.part == *part);
        files.extend(standing.map(|stand_in| stand_in.file.clone()).filter(|file| file.is_file()));
    }
    files.dedup();
    files
}

fn is_remembered(part: &Part, starting: &Starting) -> bool {
    starting.stand_ins.iter().any(|stand_in| stand_in.part == *part)
}

/// Takes a site out of `config.toml`, or removes the file that is its own.
fn take_out(file: &Path, site: &SiteId, config: &Path) -> Result<(), Error> {
    let cant = |what: &str| format!("can't {what} {}", file.display());
    let is_config = fs::canonicalize(file).ok() == fs::canonicalize(config).ok();
    if !is_config {
        return fs::remove_file(file).with_context(|| cant("remove")).map_err(Error::store);
    }
    let text = fs::read_to_string(file).with_context(|| cant("read")).map_err(Error::config)?;
    match without_site(&text, site.as_str()) {
        Ok(edited) => replace(file, edited.as_bytes()).with_context(|| cant("write")).map_err(Error::store),
        // It was taken out by hand, together with others.
        Err(EditError::NoSite) => Ok(()),
        Err(error) => {
            let error = Error::config(error).context(cant("edit"));
            Err(error.hint("`formgate check` shows what is wrong with it"))
        }
    }
}
