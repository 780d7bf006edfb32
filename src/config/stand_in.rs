//! What of the configuration is broken or gone, and what is in force in its place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostics;
use crate::lead::SiteId;

/// Something that can't be used as it is written now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StandIn {
    pub part: Part,
    /// Where it stands, or stood.
    pub file: PathBuf,
    pub fault: Fault,
    pub by: By,
}

/// A part of the configuration that is sound or broken by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A table of `config.toml`.
    Section(&'static str),
    Mapping(String),
    Site(SiteId),
    /// None of these, or not even that can be told.
    File,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Broken,
    /// Its file isn't there, or isn't included any more.
    Gone,
    /// It is written well, but a key, a secret or a mapping that it names can't be had.
    Incomplete,
    /// It was taken out of a file together with many others.
    TakenOut,
}

/// What is in force instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// The version that was in force before.
    LastGood,
    /// The same without what can't be had: a site without its keys takes submissions, and its leads wait.
    Itself,
    Default,
    Nothing,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section(name) => write!(f, "[{name}]"),
            Self::Mapping(name) => write!(f, "mapping `{name}`"),
            Self::Site(id) => write!(f, "site `{id}`"),
            Self::File => f.write_str("the file"),
        }
    }
}

impl Fault {
    /// Returns the word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Gone => "gone",
            Self::Incomplete => "incomplete",
            Self::TakenOut => "taken_out",
        }
    }
}

impl By {
    /// Says what is in force.
    pub fn words(self) -> &'static str {
        match self {
            Self::LastGood => "its last good version is in force",
            Self::Itself => "what can be read of it is in force",
            Self::Default => "its defaults are in force",
            Self::Nothing => "nothing stands in for it",
        }
    }
}

/// Most names that are listed in one message.
const NAMES_SHOWN: usize = 5;

/// Reports what is gone, once a folder: a folder that isn't mounted is one problem, not three hundred.
pub(super) fn report_gone(stand_ins: &[StandIn], diagnostics: &mut Diagnostics) {
    let mut groups: BTreeMap<(&Path, Fault, bool), Vec<&StandIn>> = BTreeMap::new();
    for gone in stand_ins.iter().filter(|stand_in| matches!(stand_in.fault, Fault::Gone | Fault::TakenOut)) {
        let folder = gone.file.parent().unwrap_or(&gone.file);
        let is_site = matches!(gone.part, Part::Site(_));
        groups.entry((folder, gone.fault, is_site)).or_default().push(gone);
    }
    for ((_, fault, is_site), gone) in groups {
        let Some(first) = gone.first() else { continue };
        let names: Vec<_> = gone.iter().take(NAMES_SHOWN).map(|gone| gone.part.to_string()).collect();
        let more = gone.len().saturating_sub(NAMES_SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let (verb, names) = (if gone.len() == 1 { "was" } else { "were" }, names.join(", "));
        let how = match fault {
            Fault::TakenOut => "taken out of this file, too many at once",
            _ => "read from here, and can't be found any more",
        };
        let remove = if is_site { "`formgate sites remove SITE`" } else { "`formgate sites remove --mapping NAME`" };
        let message = format!("{names}{more} {verb} {how}; the last good version stays in force");
        let hint = format!("put back what is missing, or say that it is meant: {remove}");
        diagnostics.add_error_with_hint(&first.file, &message, &hint);
    }
}
