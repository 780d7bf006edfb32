//! `<data>/last-good`: the copy on disk, and the sites that an operator has removed. In the data folder that is the
//! default: where the copy is, if the configuration names another.
//!
//! Each file is written whole or not at all, for its owner alone, and is on disk when the call returns.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Texts, absolute};
use crate::lead::SiteId;

/// Changes when what is written can't be read by the programs before.
const VERSION: u32 = 1;
const COPY: &str = "configuration.json";
const REMOVED: &str = "removed.json";
const ELSEWHERE: &str = "elsewhere.json";
/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 256 * 1024 * 1024;

/// Where the copy lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Folder(PathBuf);

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    content: T,
}

/// The parts that an operator removed for good and hasn't written again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RemovedParts {
    pub(in crate::config) sites: BTreeSet<SiteId>,
    pub(in crate::config) mappings: BTreeSet<String>,
}

impl RemovedParts {
    /// Returns what of it is written again.
    pub(in crate::config) fn put_back(&self, written: &Texts) -> Self {
        let sites = self.sites.iter().filter(|id| written.sites.contains_key(*id));
        let mappings = self.mappings.iter().filter(|name| written.mappings.contains_key(*name));
        Self { sites: sites.cloned().collect(), mappings: mappings.cloned().collect() }
    }

    /// Forgets what has been put back; tells whether there was any.
    pub(in crate::config) fn forget(&mut self, put_back: &Self) -> bool {
        let before = self.sites.len() + self.mappings.len();
        self.sites.retain(|id| !put_back.sites.contains(id));
        self.mappings.retain(|name| !put_back.mappings.contains(name));
        before != self.sites.len() + self.mappings.len()
    }
}

impl Folder {
    pub(in crate::config) fn in_data(data: &Path) -> Self {
        Self(data.join("last-good"))
    }

    /// Returns the copy; none where there is none, or it was written by a later version.
    pub(in crate::config) fn read(&self) -> io::Result<Option<Texts>> {
        read(&self.0.join(COPY))
    }

    pub(in crate::config) fn write(&self, texts: &Texts) -> io::Result<()> {
        self.replace(COPY, texts)
    }

    pub(in crate::config) fn removed(&self) -> io::Result<RemovedParts> {
        Ok(read(&self.removed_file())?.unwrap_or_default())
    }

    /// Returns what was removed and whether it can be read; what can't be understood any more is what is `known` of it.
    pub(in crate::config) fn removed_or(&self, known: RemovedParts) -> io::Result<(RemovedParts, bool)> {
        match self.removed() {
            // Cut off, or no JSON of ours: reading it again won't help.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                Ok((known, false))
            }
            read => Ok((read?, true)),
        }
    }

    pub(in crate::config) fn write_removed(&self, removed: &RemovedParts) -> io::Result<()> {
        self.replace(REMOVED, removed)
    }

    /// Returns where the copy of the configuration at `config` was left, if this folder says that it is another.
    pub(in crate::config) fn elsewhere(&self, config: &Path) -> Option<Self> {
        let known = self.known_elsewhere();
        known.get(&absolute(config)).cloned().map(Self)
    }

    /// Leaves word in this folder of where the copy of the configuration at `config` is.
    pub(in crate::config) fn refer(&self, config: &Path, to: &Self) -> io::Result<()> {
        let mut known = self.known_elsewhere();
        let config = absolute(config);
        let to = absolute(&to.0);
        let here = absolute(&self.0);
        let is_new = if to == here {
            known.remove(&config).is_some()
        } else {
            known.insert(config, to.clone()).is_none_or(|before| before != to)
        };
        if is_new { self.replace(ELSEWHERE, &known) } else { Ok(()) }
    }

    /// What can't be read is written anew.
    fn known_elsewhere(&self) -> BTreeMap<PathBuf, PathBuf> {
        read(&self.0.join(ELSEWHERE)).ok().flatten().unwrap_or_default()
    }

    pub(in crate::config) fn path(&self) -> &Path {
        &self.0
    }

    pub(in crate::config) fn removed_file(&self) -> PathBuf {
        self.0.join(REMOVED)
    }

    fn replace(&self, name: &str, content: &impl Serialize) -> io::Result<()> {
        make_folder(&self.0)?;
        let mut draft = tempfile::NamedTempFile::new_in(&self.0)?;
        let text = serde_json::to_vec(&Versioned { version: VERSION, content })?;
        draft.write_all(&text)?;
        keep_owner(draft.as_file(), &self.0)?;
        draft.as_file().sync_all()?;
        draft.persist(self.0.join(name)).map_err(|failed| failed.error)?;
        // The new name is durable only with its folder.
        File::open(&self.0)?.sync_all()
    }
}

fn read<T: DeserializeOwned>(file: &Path) -> io::Result<Option<T>> {
    let size = match fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found?.len(),
    };
    if size > FILE_MAX {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("larger than {FILE_MAX} bytes")));
    }
    let read: Versioned<T> = serde_json::from_slice(&fs::read(file)?)?;
    Ok(Some(read.content).filter(|_| read.version == VERSION))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)?;
    let parent = folder.parent().unwrap_or(Path::new("."));
    keep_owner(&File::open(folder)?, parent)
}

/// A command run as root leaves nothing that the gateway's own user can't read.
#[cfg(unix)]
fn keep_owner(made: &File, folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let of_file = made.metadata()?;
    let of_folder = fs::metadata(folder)?;
    if of_file.uid() == of_folder.uid() {
        return Ok(());
    }
    fchown(made, Some(of_folder.uid()), Some(of_folder.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_made: &File, _folder: &Path) -> io::Result<()> {
    Ok(())
}
