//! What an operator takes out on purpose, recorded so that its last good version stands in no more.

use std::io;
use std::path::Path;

use jiff::civil::Date;

use super::last_good::{Folder, RemovedParts};
use super::load::load;
use super::secret::Sources;
use super::stand_in::ConfigPart;
use super::start::copy_folder;

/// The record of what was taken out.
pub struct Removals {
    /// None where there is no data folder.
    folder: Option<Folder>,
}

/// What came of recording a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    Now,
    /// It was recorded already.
    Before,
    /// There is no data folder to record it in.
    Nowhere,
}

impl Removals {
    /// Finds the record of the gateway that is configured at `path`.
    pub fn of(path: &Path, sources: &Sources, today: Date) -> Self {
        Self { folder: copy_folder(path, &load(path, sources, today).parts.sections, sources) }
    }

    /// Tells whether a part is recorded. A record that can't be read knows nothing.
    pub fn contains(&self, part: &ConfigPart) -> bool {
        let removed = self.folder.as_ref().and_then(|folder| folder.removed().ok()).unwrap_or_default();
        match part {
            ConfigPart::Site(id) => removed.sites.contains(id),
            ConfigPart::Mapping(name) => removed.mappings.contains(name),
            ConfigPart::Section(_) | ConfigPart::File => false,
        }
    }

    /// Records that a part is taken out. Call it before that is done, so that a gateway that runs never misses it, and
    /// again afterwards: what is recorded while it is still written counts as put back.
    pub fn record(&self, part: &ConfigPart) -> io::Result<Recorded> {
        let Some(folder) = &self.folder else { return Ok(Recorded::Nowhere) };
        let (mut removed, is_readable) = folder.removed_or(RemovedParts::default())?;
        let is_new = match part {
            ConfigPart::Site(id) => removed.sites.insert(id.clone()),
            ConfigPart::Mapping(name) => removed.mappings.insert(name.clone()),
            ConfigPart::Section(_) | ConfigPart::File => return Ok(Recorded::Nowhere),
        };
        if is_new || !is_readable {
            folder.write_removed(&removed)?;
        }
        Ok(if is_new { Recorded::Now } else { Recorded::Before })
    }

    /// Takes a part off the record, because it couldn't be taken out after all.
    pub fn take_back(&self, part: &ConfigPart) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut removed = folder.removed()?;
        let is_changed = match part {
            ConfigPart::Site(id) => removed.sites.remove(id),
            ConfigPart::Mapping(name) => removed.mappings.remove(name),
            ConfigPart::Section(_) | ConfigPart::File => false,
        };
        if is_changed { folder.write_removed(&removed) } else { Ok(()) }
    }
}
