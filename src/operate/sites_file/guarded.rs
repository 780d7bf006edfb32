//! A change to a file, with no other command's change in between.
//!
//! The folder is locked from reading to renaming, so that of two commands at the same time neither's change is lost. A
//! lock on the file itself would not do: it goes with the old file when the new one takes its name.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::document::EditError;
use super::replace::{create, folder_of, replace};
use crate::config::{self, Diagnostic, Sources, WrittenSite};
use crate::lead::SiteId;

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    Changed,
    /// It was so already: not one byte was written.
    Unchanged,
}

/// Why a file was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum SiteFileError {
    #[error("can't lock the folder {}", folder.display())]
    Lock {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("can't read {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("can't edit {}", file.display())]
    Edit {
        file: PathBuf,
        #[source]
        source: EditError,
    },
    #[error("{} was left as it is", file.display())]
    Harm {
        file: PathBuf,
        #[source]
        source: Harm,
    },
    #[error("can't write {}", file.display())]
    Write {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("can't create {}", file.display())]
    Create {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A new site's file has a name that is taken.
    #[error("{} is there already, and isn't read as this site", .0.display())]
    InTheWay(PathBuf),
}

/// What a change would have done to a site that could be used.
#[derive(Debug, thiserror::Error)]
pub enum Harm {
    #[error("it has no site with this id")]
    Gone,
    /// By a problem's message.
    #[error("site `{site}` would be broken: {problem}")]
    Broken { site: SiteId, problem: String },
}

impl SiteFileError {
    /// What to do about it, where that is known.
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Edit { source, .. } => Some(source.cure()),
            Self::Harm { .. } => Some(
                "correct the value, or make the change by hand; `formgate schema config` shows the keys".to_owned(),
            ),
            Self::InTheWay(_) => Some("`formgate check` shows what is wrong with it; rename it, or fix it".to_owned()),
            Self::Lock { .. } | Self::Read { .. } | Self::Write { .. } | Self::Create { .. } => None,
        }
    }
}

/// The right to change the files of one folder; others who want it wait.
pub struct EditLock {
    file: PathBuf,
    /// Decides which tokens have expired, where the new text is tried.
    today: Date,
    /// Unlocked when it is closed.
    _folder: File,
}

impl EditLock {
    /// Waits for the right to change a file, or to make it.
    pub fn of(file: &Path, today: Date) -> Result<Self, SiteFileError> {
        // Where the file is a link, what is replaced lies in another folder.
        let file = fs::canonicalize(file).unwrap_or_else(|_not_there_yet| file.to_owned());
        let folder = folder_of(&file);
        let lock = || {
            let opened = File::open(folder)?;
            match opened.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => opened.lock()?,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            Ok(opened)
        };
        let locked = lock().map_err(|source| SiteFileError::Lock { folder: folder.to_owned(), source })?;
        Ok(Self { _folder: locked, file, today })
    }

    /// Changes a site in the file. The new text is written only where it is still that site.
    pub fn edit(
        &self,
        site: &SiteId,
        change: impl FnOnce(&str) -> Result<String, EditError>,
    ) -> Result<Edited, SiteFileError> {
        let text = self.read()?;
        let edited = change(&text).map_err(|source| SiteFileError::Edit { file: self.file.clone(), source })?;
        if edited == text {
            return Ok(Edited::Unchanged);
        }
        self.check(&text, &edited, site)?;
        self.write(&edited)?;
        Ok(Edited::Changed)
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the file.
    pub fn read(&self) -> Result<String, SiteFileError> {
        fs::read_to_string(&self.file).map_err(|source| SiteFileError::Read { file: self.file.clone(), source })
    }

    /// Puts a text in the place of the file's own.
    pub fn write(&self, text: &str) -> Result<(), SiteFileError> {
        let file = &self.file;
        replace(file, text.as_bytes()).map_err(|source| SiteFileError::Write { file: file.clone(), source })
    }

    /// Makes the file with a site in it, where there is none.
    pub fn create(&self, text: &str, site: &SiteId) -> Result<(), SiteFileError> {
        self.check("", text, site)?;
        create(&self.file, text.as_bytes()).map_err(|source| {
            let file = self.file.clone();
            match source.kind() {
                ErrorKind::AlreadyExists => SiteFileError::InTheWay(file),
                _ => SiteFileError::Create { file, source },
            }
        })
    }

    /// Refuses a text in which a site that could be used no longer can. One that was broken before may stay so: the change
    /// may be a part of its repair.
    fn check(&self, before: &str, after: &str, site: &SiteId) -> Result<(), SiteFileError> {
        let written = |text: &str| config::written_site(&self.file, text, site, &Sources::process(), self.today);
        let harm = match written(after) {
            None => Harm::Gone,
            Some(WrittenSite { site: Some(_), .. }) => return Ok(()),
            Some(WrittenSite { problems, .. }) => {
                if written(before).is_some_and(|before| before.site.is_none()) {
                    return Ok(());
                }
                let problem = problems.first().map_or("it has errors", |first: &Diagnostic| first.message.as_str());
                Harm::Broken { site: site.clone(), problem: problem.to_owned() }
            }
        };
        Err(SiteFileError::Harm { file: self.file.clone(), source: harm })
    }
}

/// Changes a site in a file as [`EditLock::edit`] does.
pub fn edit_file(
    file: &Path,
    site: &SiteId,
    today: Date,
    change: impl FnOnce(&str) -> Result<String, EditError>,
) -> Result<Edited, SiteFileError> {
    EditLock::of(file, today)?.edit(site, change)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use jiff::civil::date;

    use super::*;
    use crate::operate::sites_file::{paused, with_keys};

    fn acme() -> SiteId {
        SiteId::parse("acme").expect("an id")
    }

    fn edit(file: &Path, change: impl FnOnce(&str) -> Result<String, EditError>) -> Result<Edited, SiteFileError> {
        edit_file(file, &acme(), date(2026, 11, 30), change)
    }

    #[test]
    fn a_change_that_changes_nothing_writes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("acme.toml");
        fs::write(&file, "id = \"acme\"\n").expect("written");
        let pause = || edit(&file, |text| paused(text, "acme")).expect("edited");
        assert_eq!(pause(), Edited::Changed);
        let before = fs::metadata(&file).expect("there");
        assert_eq!(pause(), Edited::Unchanged);
        let after = fs::metadata(&file).expect("there");
        assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    }

    #[test]
    fn a_change_after_which_the_site_is_broken_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("acme.toml");
        let sound = "id = \"acme\"\nregion = \"US\"\n";
        fs::write(&file, sound).expect("written");
        for broken in ["id = \"acme\"\nregion = \"us\"\n", "id = \"acme\"\nregions = \"US\"\n", "id = \"other\"\n"] {
            let refused = edit(&file, |_| Ok(broken.to_owned())).expect_err("refused");
            assert!(matches!(refused, SiteFileError::Harm { .. }), "{refused}");
            assert_eq!(fs::read_to_string(&file).expect("read"), sound);
        }
        // Keys that aren't there yet are no error: the site takes submissions without them.
        let keyed = edit(&file, |text| with_keys(text, "acme", "wp_pk_1", "../secrets/none"));
        assert_eq!(keyed.expect("edited"), Edited::Changed);
        // The second change is a step of the repair.
        fs::write(&file, "id = \"acme\"\nregion = \"us\"\n").expect("written");
        assert_eq!(edit(&file, |text| paused(text, "acme")).expect("edited"), Edited::Changed);
    }

    #[test]
    fn of_many_changes_at_the_same_time_none_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("acme.toml");
        fs::write(&file, "id = \"acme\"\n").expect("written");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let file = &file;
                scope.spawn(move || {
                    for round in 0..8 {
                        let line = format!("# {thread} {round}\n");
                        edit(file, |text| Ok(format!("{text}{line}"))).expect("edited");
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&file).expect("read").lines().count(), 33);
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("acme.toml");
        let create = |text: &str| EditLock::of(&file, date(2026, 11, 30)).expect("locked").create(text, &acme());
        create("id = \"acme\"\n").expect("created");
        let taken = create("id = \"acme\"\nname = \"x\"\n");
        assert!(matches!(taken, Err(SiteFileError::InTheWay(_))), "{taken:?}");
        assert_eq!(fs::read_to_string(&file).expect("read"), "id = \"acme\"\n");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
