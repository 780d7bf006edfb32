//! `formgate sites remove`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::rules::{ConfigArg, today};
use crate::config::{self, ConfigPart, PartFault, Recorded, Removals, Sources, Starting};
use crate::lead::{FormId, SiteId};
use crate::operate::sites_file::{EditError, EditLock, Replacement, probe_folder, without_site};

/// Removes a site for good: its file or its table in config.toml, and its last-good version.
///
/// A site whose file is merely missing keeps running. The running gateway picks the removal up by itself: posts to the
/// site are then answered 401, and its queued leads wait a day for it to come back before they are held. Its key files
/// stay.
#[derive(Args, Debug)]
pub(super) struct RemoveArgs {
    /// The site
    #[arg(value_parser = SiteId::parse, required_unless_present = "mapping")]
    site: Option<SiteId>,
    /// Instead of a site, remove a mapping whose file is gone
    #[arg(long, value_name = "NAME", value_parser = FormId::parse, conflicts_with = "site")]
    mapping: Option<FormId>,
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: &RemoveArgs, console: &mut Console) -> Result<Exit, Error> {
    let path = args.config.find()?;
    let part = match (&args.site, &args.mapping) {
        (Some(site), _) => ConfigPart::Site(site.clone()),
        (None, Some(mapping)) => ConfigPart::Mapping(mapping.to_string()),
        (None, None) => return Err(Error::usage(anyhow!("name a site, or use --mapping NAME"))),
    };
    let starting = config::start(&path, &Sources::command_line(), today());
    let removals = Removals::of(&path, &Sources::command_line(), today());
    let files = files_of(&part, &starting);
    if files.is_empty() && !is_remembered(&part, &starting) {
        return say_unknown(&part, &starting, &removals, console);
    }
    if files.len() > 1 {
        let error = Error::config(anyhow!("there is more than one {part}"));
        return Err(error.hint("`formgate check` shows where; remove the others first"));
    }
    // From reading to renaming, so that a change of another command isn't lost.
    let _lock = files.first().map(|file| EditLock::of(file, today())).transpose()?;
    let taking = files.first().map(|file| PreparedRemoval::prepare(file, &part, &path)).transpose()?;
    let record = || removals.record(&part).context("the removal can't be recorded").map_err(Error::store);
    let recorded = record()?;
    let Some(taking) = taking else {
        console.say(format!("{part} was removed{}", kept(recorded)));
        return Ok(Exit::Ok);
    };
    let words = taking.words();
    if let Err(error) = taking.finish() {
        return Err(taken_back(error, recorded, &part, &removals));
    }
    // A reload in between took it for put back.
    record()?;
    console.say(format!("{part} was removed{words}{}", kept(recorded)));
    Ok(Exit::Ok)
}

fn kept(recorded: Recorded) -> &'static str {
    match recorded {
        Recorded::Now | Recorded::Before => "",
        Recorded::Nowhere => "; a running gateway keeps it until it restarts",
    }
}

/// Leaves everything as it was after a failure: a gateway that runs would lose a site that is still written.
fn taken_back(error: Error, recorded: Recorded, part: &ConfigPart, removals: &Removals) -> Error {
    if recorded != Recorded::Now {
        return error;
    }
    match removals.take_back(part) {
        Ok(()) => error,
        Err(failed) => error.hint(format!(
            "{part} is still recorded as removed ({failed}). Fix the cause and run this again, or a running gateway \
             may lose it"
        )),
    }
}

/// Says that there is no such part. That it was removed before is success; any other name is mistyped.
fn say_unknown(
    part: &ConfigPart,
    starting: &Starting,
    removals: &Removals,
    console: &mut Console,
) -> Result<Exit, Error> {
    if removals.contains(part) {
        console.say(format!("{part} was already removed"));
        return Ok(Exit::Ok);
    }
    let ConfigPart::Site(site) = part else {
        return Err(Error::usage(anyhow!("there is no {part} whose file is gone")));
    };
    let sites = starting.in_force.iter().flat_map(|(config, _)| config.sites.keys());
    let names: Vec<&str> = sites.map(SiteId::as_str).collect();
    let error = Error::usage(anyhow!("there is no {part}"));
    Err(if names.is_empty() { error } else { error.hint(config::known_names(site.as_str(), names)) })
}

/// Finds where a site is written, well or not.
fn files_of(part: &ConfigPart, starting: &Starting) -> Vec<PathBuf> {
    let ConfigPart::Site(id) = part else { return Vec::new() };
    let loaded = &starting.loaded;
    let sound = loaded.sound_sites().map(|site| (Some(&site.id), &site.file));
    let broken = loaded.broken_sites.iter().map(|site| (site.id.as_ref(), &site.file));
    let written: Vec<_> = sound.chain(broken).collect();
    let of_site = written.iter().filter(|(written, _)| *written == Some(id));
    let mut files: Vec<PathBuf> = of_site.map(|(_, file)| PathBuf::clone(file)).collect();
    if files.is_empty() {
        // A file that can't even be read as TOML is known by what it was, unless it is another site's by now.
        let is_anothers = |file: &Path| written.iter().any(|(id, of)| id.is_some() && is_same(of, file));
        let standing = starting.stand_ins.iter().filter(|stand_in| stand_in.part == *part);
        let standing = standing.filter(|it| it.fault == PartFault::Broken).map(|stand_in| &stand_in.file);
        files.extend(standing.filter(|file| file.is_file() && !is_anothers(file)).cloned());
        files.dedup();
    }
    files
}

fn is_same(file: &Path, other: &Path) -> bool {
    fs::canonicalize(file).ok() == fs::canonicalize(other).ok()
}

fn is_remembered(part: &ConfigPart, starting: &Starting) -> bool {
    starting.stand_ins.iter().any(|stand_in| stand_in.part == *part)
}

/// A removal that is ready to be done: everything that can fail has been done.
enum PreparedRemoval {
    /// Its own file is removed.
    File(PathBuf),
    /// `config.toml` without its table.
    Table(PathBuf, Replacement),
    /// `config.toml` has no such table: it was taken out by hand, or the file is cut short.
    Nothing(PathBuf),
}

impl PreparedRemoval {
    fn prepare(file: &Path, part: &ConfigPart, config: &Path) -> Result<Self, Error> {
        let cant = |what: &str| format!("can't {what} {}", file.display());
        let own = file.to_owned();
        let is_config = is_same(file, config);
        let ConfigPart::Site(site) = part else { return Ok(Self::Nothing(own)) };
        if !is_config {
            probe_folder(file).with_context(|| cant("remove")).map_err(Error::store)?;
            return Ok(Self::File(own));
        }
        let text = fs::read_to_string(file).with_context(|| cant("read")).map_err(Error::config)?;
        match without_site(&text, site.as_str()) {
            Ok(edited) => {
                let prepared = Replacement::prepare(file, edited.as_bytes());
                Ok(Self::Table(own, prepared.with_context(|| cant("write")).map_err(Error::store)?))
            }
            Err(EditError::NoSite) => Ok(Self::Nothing(own)),
            Err(error) => {
                let error = Error::config(error).context(cant("edit"));
                Err(error.hint("`formgate check` shows what is wrong"))
            }
        }
    }

    /// Says from where it is removed.
    fn words(&self) -> String {
        match self {
            Self::File(file) | Self::Table(file, _) => format!(" from {}", file.display()),
            Self::Nothing(file) => {
                format!(
                    "; {} doesn't have it now, but would bring it back if an older version of the file is restored",
                    file.display()
                )
            }
        }
    }

    fn finish(self) -> Result<(), Error> {
        let cant = |what: &str, file: &Path| format!("can't {what} {}", file.display());
        match self {
            Self::File(file) => fs::remove_file(&file).with_context(|| cant("remove", &file)).map_err(Error::store),
            Self::Table(file, replacement) => {
                replacement.finish().with_context(|| cant("write", &file)).map_err(Error::store)
            }
            Self::Nothing(_) => Ok(()),
        }
    }
}
