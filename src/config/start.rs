//! What a start begins with: the files, and the last good copy for what of them is broken or gone.

use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::diagnostic::Diagnostics;
use super::last_good::{Fallback, Folder, RemovedParts, Texts};
use super::load::{Loaded, load_with};
use super::merge::merge;
use super::reader::Table;
use super::secret::Sources;
use super::sections::{KEYS, Sections};
use super::snapshot::{Config, StoreUrl};
use super::source::SourceFile;
use super::stand_in::{ConfigPart, StandIn};
use super::watched::{Stamp, Watched};
use super::{queue, server};
use crate::lead::SiteId;

/// Where a configuration in force came from, so that it can follow its files.
pub struct Origin {
    pub(super) path: PathBuf,
    pub(super) sources: Sources,
    pub(super) watched: Watched,
    pub(super) is_unreadable: bool,
    pub(super) texts: Texts,
    /// The copy as it was found.
    pub(super) copied: Option<Texts>,
    /// False: it was found in another folder than the one where it is kept from now on.
    pub(super) is_copy_in_place: bool,
    pub(super) removed: RemovedParts,
    pub(super) put_back: RemovedParts,
    /// What of the files is broken or gone.
    pub stand_ins: Vec<StandIn>,
    /// Many sites would have vanished at once.
    pub is_refused: bool,
}

impl Origin {
    /// Tells whether all of it is in force as it is written.
    pub fn is_sound(&self) -> bool {
        self.stand_ins.is_empty()
    }

    /// Tells whether `[admin]` can't be used as it is written.
    pub fn admin_is_broken(&self) -> bool {
        self.stand_ins.iter().any(|stand_in| stand_in.part == ConfigPart::Section("admin"))
    }

    /// Returns the data folder of a store in PostgreSQL where the file names none.
    pub fn default_data_folder(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(queue::DATA)
    }

    /// Tells whether a site was taken out on purpose.
    pub fn is_removed(&self, site: &SiteId) -> bool {
        self.removed.sites.contains(site)
    }

    /// Tells whether the copy knows sites that were not taken out on purpose.
    pub fn copy_has_sites(&self) -> bool {
        self.copied.iter().flat_map(|copied| copied.sites.keys()).any(|site| !self.is_removed(site))
    }
}

/// What a start finds.
pub struct Starting {
    /// The files, with every problem; also with what is gone.
    pub loaded: Loaded,
    /// None where nothing can be served.
    pub in_force: Option<(Config, Origin)>,
    /// What of the files is broken or gone; known also where nothing can be served.
    pub stand_ins: Vec<StandIn>,
}

/// Loads the configuration to start with. The last good copy stands in for what is broken or gone, but never for
/// `[server]`, `[queue]` and `[limits]` of a `config.toml` that can be read.
pub fn start(path: &Path, sources: &Sources, today: Date) -> Starting {
    // The copy is needed to load: it shows what the files lost.
    let folder = copy_folder(path, &Sections::default(), sources);
    let mut removed_watched = Watched::default();
    folder.iter().for_each(|folder| watch_removed(&mut removed_watched, folder));
    let mut of_copy = Diagnostics::default();
    let (copied, removed) = read(folder.as_ref(), &mut of_copy, path);
    let mut loaded = load_with(path, copied.as_ref(), sources, today);
    let names_no_folder = !loaded.parts.is_config_read && !is_denied(path);
    if let Some(folder) = folder.as_ref().filter(|_| copied.is_none() && of_copy.is_empty() && names_no_folder) {
        tell_of_no_copy(folder, &mut of_copy, path);
    }
    loaded.diagnostics.extend(of_copy.iter().cloned());
    let mut fallback = copied.clone().map(|texts| Fallback::compile(texts, sources, today)).unwrap_or_default();
    if loaded.parts.is_config_read {
        fallback.sections = Sections { server: None, queue: None, limits: None, ..fallback.sections };
    }
    let merged = merge(&loaded.parts, &fallback, &removed, &mut loaded.diagnostics);
    let mut watched = loaded.watched.clone();
    watched.extend(removed_watched);
    let in_force = merged.in_force.map(|(config, texts)| {
        let is_copy_in_place = config.data_folder().map(Folder::in_data) == folder;
        let origin = Origin {
            path: path.to_owned(),
            sources: sources.clone(),
            watched,
            is_unreadable: loaded.parts.is_unreadable,
            texts,
            copied,
            is_copy_in_place,
            put_back: removed.put_back(&loaded.parts.texts),
            removed,
            stand_ins: merged.stand_ins.clone(),
            is_refused: merged.is_refused,
        };
        (config, origin)
    });
    Starting { loaded, in_force, stand_ins: merged.stand_ins }
}

pub(super) fn watch_removed(watched: &mut Watched, folder: &Folder) {
    let file = folder.removed_file();
    let stamp = Stamp::of(&file);
    watched.add_file(file, stamp);
}

/// Reads the copy and what was removed. A copy that can't be read is none, and that is said.
fn read(folder: Option<&Folder>, diagnostics: &mut Diagnostics, path: &Path) -> (Option<Texts>, RemovedParts) {
    let Some(folder) = folder else { return (None, RemovedParts::default()) };
    let copied = folder.read();
    let removed = folder.removed();
    let mut errors: Vec<&io::Error> = copied.as_ref().err().into_iter().chain(removed.as_ref().err()).collect();
    let mut told = "the last-good copy of the configuration can't be read".to_owned();
    let folder = folder.path().display();
    let mut hint = format!("broken parts have no last-good version now; a new copy is written to {folder}");
    if errors.iter().any(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        // Neither file is the matter then.
        errors.truncate(1);
        told.push_str(" by this user");
        hint = "run this as the gateway's user, who has it".to_owned();
    }
    errors.into_iter().for_each(|error| diagnostics.add_warning(path, &format!("{told}: {error}"), &hint));
    (copied.unwrap_or_default(), removed.unwrap_or_default())
}

/// Tells whether this user may not read a file: where its copy is would be no cure.
fn is_denied(path: &Path) -> bool {
    std::fs::File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Says where a copy was looked for. A file that can't be read names no data folder: the copy may lie in another.
fn tell_of_no_copy(folder: &Folder, diagnostics: &mut Diagnostics, path: &Path) {
    let folder = folder.path().display();
    let message = format!("this file has no last-good version: there is no copy in {folder}");
    let hint = "if [server].data or [queue].url named another folder, the copy is in `last-good` there; name that \
                folder in the file again";
    diagnostics.add_error_with_hint(path, &message, hint);
}

/// Returns the folder of the copy: where a file that lost the name of its data folder leads to the default one, that one
/// knows where the copy is.
pub(super) fn copy_folder(path: &Path, sections: &Sections, sources: &Sources) -> Option<Folder> {
    let named = Folder::in_data(&data_folder_of(path, sections, sources)?);
    Some(named.elsewhere(path).unwrap_or(named))
}

/// Leaves word of where the copy is in the data folder that `config.toml` leads to once it names none.
pub(super) fn refer_to(folder: &Folder, path: &Path) -> io::Result<()> {
    let beside = queue::default_beside(path).url;
    let Some(default) = StoreUrl::folder(&beside) else { return Ok(()) };
    Folder::in_data(default).refer(path, folder)
}

/// Returns the data folder that a file names, also where it is broken; none where the store is in memory.
pub fn data_folder(path: &Path, sources: &Sources) -> Option<PathBuf> {
    data_folder_of(path, &Sections::default(), sources)
}

/// Returns the data folder, also where the tables that name it are broken.
fn data_folder_of(path: &Path, sections: &Sections, sources: &Sources) -> Option<PathBuf> {
    // A file of its own: its problems are told when it is loaded.
    let file = SourceFile::read(path);
    let entries = file.parse_leniently();
    let root = Table::unchecked(&file, &entries, KEYS);
    let named = || {
        let table = root.get("server")?.table(server::KEYS)?;
        Some(file.resolve(table.get("data")?.filled()?))
    };
    let url = || queue::store_url(&root.get("queue")?.table(queue::KEYS)?.get("url")?, sources);
    let data = sections.server.as_ref().map_or_else(named, |server| server.data.clone());
    let store = || match &sections.queue {
        Some(queue) => queue.url.clone(),
        None => url().unwrap_or_else(|| queue::default_beside(path).url),
    };
    data.or_else(|| match store() {
        StoreUrl::Postgres(_) => Some(file.resolve(queue::DATA)),
        url => url.folder().map(Path::to_owned),
    })
}
