//! What of the configuration is broken or gone, and what is in force in its place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostics;
use crate::lead::SiteId;

/// Something that can't be used as it is written now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StandIn {
    pub part: ConfigPart,
    /// Where it stands, or stood.
    pub file: PathBuf,
    pub fault: PartFault,
    pub by: StandInSource,
}

impl StandIn {
    /// Tells whether it only waits for keys, as a new site does whose keys nobody has made yet.
    pub fn waits_for_keys(&self) -> bool {
        self.fault == PartFault::NoKeys && self.by != StandInSource::LastGood
    }
}

/// A part of the configuration that is sound or broken by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigPart {
    /// A table of `config.toml`.
    Section(&'static str),
    Mapping(String),
    Site(SiteId),
    /// None of these, or not even that can be told.
    File,
}

/// What is wrong with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartFault {
    Broken,
    /// Its file isn't there, or isn't included any more.
    Gone,
    /// It is written well, but a secret or a mapping that it names can't be had.
    Incomplete,
    /// It is written well, but files that it names for the site's keys are not there: its leads wait for them.
    NoKeys,
    /// It was taken out of a file together with many others.
    TakenOut,
}

/// What is used instead of a faulty part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StandInSource {
    /// The version that was in force before.
    LastGood,
    /// The same without what can't be had: a site without its keys takes submissions, and its leads wait.
    Itself,
    Default,
    Nothing,
}

impl fmt::Display for ConfigPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section(name) => write!(f, "[{name}]"),
            Self::Mapping(name) => write!(f, "mapping `{name}`"),
            Self::Site(id) => write!(f, "site `{id}`"),
            Self::File => f.write_str("the file"),
        }
    }
}

impl PartFault {
    /// Tells whether it is written well, and only lacks what it names.
    pub fn is_lack(self) -> bool {
        matches!(self, Self::Incomplete | Self::NoKeys)
    }

    /// Says what a part is.
    pub fn words(self) -> &'static str {
        match self {
            Self::Broken => "is broken",
            Self::Gone => "is gone",
            Self::Incomplete => "is incomplete",
            Self::NoKeys => "has no keys",
            Self::TakenOut => "was taken out",
        }
    }

    /// Returns the word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Gone => "gone",
            Self::Incomplete => "incomplete",
            Self::NoKeys => "no_keys",
            Self::TakenOut => "taken_out",
        }
    }
}

impl StandInSource {
    /// Says what is in force.
    pub fn words(self) -> &'static str {
        match self {
            Self::LastGood => "its last-good version is in use",
            Self::Itself => "the part of it that can be read is in use",
            Self::Default => "its defaults are in use",
            Self::Nothing => "there is no last-good version",
        }
    }
}

/// Most names that are listed in one message.
const NAMES_SHOWN: usize = 5;

/// Stand-ins that one message reports together: an unmounted folder is one problem, not three hundred.
pub struct StandInGroup<'a> {
    pub first: &'a StandIn,
    /// The first few by name, the rest by number.
    pub parts: String,
    pub count: usize,
}

/// Puts together what is of one folder and one kind, has the same fault and the same in its place.
pub fn gather<'a>(stand_ins: impl IntoIterator<Item = &'a StandIn>) -> Vec<StandInGroup<'a>> {
    let mut groups: BTreeMap<(&Path, PartFault, StandInSource, bool), Vec<&StandIn>> = BTreeMap::new();
    for stand_in in stand_ins {
        let is_site = matches!(stand_in.part, ConfigPart::Site(_));
        // A file has no other name than its path.
        let folder = stand_in.file.parent().filter(|_| stand_in.part != ConfigPart::File);
        groups
            .entry((folder.unwrap_or(&stand_in.file), stand_in.fault, stand_in.by, is_site))
            .or_default()
            .push(stand_in);
    }
    groups.into_values().filter_map(|members| StandInGroup::of(&members)).collect()
}

impl<'a> StandInGroup<'a> {
    fn of(members: &[&'a StandIn]) -> Option<Self> {
        let names: Vec<_> = members.iter().take(NAMES_SHOWN).map(|stand_in| stand_in.part.to_string()).collect();
        let mut parts = names.join(", ");
        if let more @ 1.. = members.len().saturating_sub(NAMES_SHOWN) {
            parts.push_str(&format!(" and {more} more"));
        }
        Some(Self { first: members.first()?, parts, count: members.len() })
    }
}

/// Reports what is gone.
pub(super) fn report_gone(stand_ins: &[StandIn], diagnostics: &mut Diagnostics) {
    let gone = stand_ins.iter().filter(|stand_in| matches!(stand_in.fault, PartFault::Gone | PartFault::TakenOut));
    for StandInGroup { first, parts, count } in gather(gone) {
        let verb = if count == 1 { "was" } else { "were" };
        let how = match first.fault {
            PartFault::TakenOut => "removed from this file, too many at once",
            _ => "last read from here and can't be found",
        };
        let is_site = matches!(first.part, ConfigPart::Site(_));
        let remove = if is_site { "`formgate sites remove SITE`" } else { "`formgate sites remove --mapping NAME`" };
        let message = format!("{parts} {verb} {how}; the last-good version stays in use");
        let hint = format!("restore what is missing, or remove it for good: {remove}");
        diagnostics.add_error_with_hint(&first.file, &message, &hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(id: &str, fault: PartFault, by: StandInSource) -> StandIn {
        let id = SiteId::parse(id).expect("a slug");
        StandIn { file: format!("sites/{id}.toml").into(), part: ConfigPart::Site(id), fault, by }
    }

    #[test]
    fn a_folder_that_is_gone_is_told_in_one_line() {
        let mut all: Vec<_> =
            (0..300).map(|number| site(&format!("s{number:03}"), PartFault::Gone, StandInSource::LastGood)).collect();
        all.push(site("typo", PartFault::Broken, StandInSource::LastGood));
        let told: Vec<_> = gather(&all).into_iter().map(|group| (group.parts, group.count)).collect();
        let sites = "site `s000`, site `s001`, site `s002`, site `s003`, site `s004` and 295 more";
        assert_eq!(told, [("site `typo`".to_owned(), 1), (sites.to_owned(), 300)]);
    }
}
