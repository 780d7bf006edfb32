//! A change to a file, with no other command's change in between.
//!
//! The folder is locked from reading to renaming, so that of two commands at the same time neither's change is lost. A
//! lock on the file itself would not do: it goes with the old file when the new one takes its name.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::document::EditError;
use crate::cli::error::Error;
use crate::cli::rules::today;
use crate::cli::sites::replace::{create, replace};
use crate::config::{self, Diagnostic, Sources, WrittenSite};
use crate::lead::SiteId;

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Edited {
    Changed,
    /// It was so already: not one byte was written.
    Unchanged,
}

/// The right to change the files of one folder; other commands wait for it.
pub(in crate::cli) struct EditLock {
    file: PathBuf,
    /// Unlocked when it is closed.
    _folder: File,
}

impl EditLock {
    /// Waits for the right to change a file, or to make it.
    pub(in crate::cli) fn of(file: &Path) -> Result<Self, Error> {
        // Where the file is a link, what is replaced lies in another folder.
        let file = fs::canonicalize(file).unwrap_or_else(|_not_there_yet| file.to_owned());
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let lock = || {
            let opened = File::open(folder)?;
            match opened.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => opened.lock()?,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            Ok(opened)
        };
        let locked = lock().with_context(|| format!("can't lock the folder {}", folder.display()));
        Ok(Self { _folder: locked.map_err(Error::store)?, file })
    }

    /// Changes a site in the file. The new text is written only where it is still that site.
    pub(in crate::cli) fn edit(
        &self,
        site: &SiteId,
        change: impl FnOnce(&str) -> Result<String, EditError>,
    ) -> Result<Edited, Error> {
        let file = &self.file;
        let text = self.read()?;
        let edited = change(&text).map_err(|error| {
            let cure = error.cure();
            Error::config(error).context(format!("can't edit {}", file.display())).hint(cure)
        })?;
        if edited == text {
            return Ok(Edited::Unchanged);
        }
        check(file, &text, &edited, site)?;
        self.write(&edited)?;
        Ok(Edited::Changed)
    }

    pub(in crate::cli) fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the file.
    pub(in crate::cli) fn read(&self) -> Result<String, Error> {
        let file = &self.file;
        fs::read_to_string(file).with_context(|| format!("can't read {}", file.display())).map_err(Error::config)
    }

    /// Puts a text in the place of the file's own.
    pub(in crate::cli) fn write(&self, text: &str) -> Result<(), Error> {
        let file = &self.file;
        replace(file, text.as_bytes()).with_context(|| format!("can't write {}", file.display())).map_err(Error::store)
    }

    /// Makes the file with a site in it, where there is none.
    pub(in crate::cli) fn create(&self, text: &str, site: &SiteId) -> Result<(), Error> {
        let file = &self.file;
        check(file, "", text, site)?;
        create(file, text.as_bytes()).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => in_the_way(file),
            _ => Error::store(error).context(format!("can't create {}", file.display())),
        })
    }
}

/// Says that a new site's file has a name that is taken.
pub(in crate::cli) fn in_the_way(file: &Path) -> Error {
    let error = Error::config(anyhow!("{} is there already, and isn't read as this site", file.display()));
    error.hint("`formgate check` shows what is wrong with it; rename it, or fix it")
}

/// Changes a site in a file as [`EditLock::edit`] does.
pub(in crate::cli) fn edit_file(
    file: &Path,
    site: &SiteId,
    change: impl FnOnce(&str) -> Result<String, EditError>,
) -> Result<Edited, Error> {
    EditLock::of(file)?.edit(site, change)
}

/// Refuses a text in which a site that could be used no longer can. One that was broken before may stay so: the change
/// may be a part of its repair.
fn check(file: &Path, before: &str, after: &str, site: &SiteId) -> Result<(), Error> {
    let written = |text: &str| config::written_site(file, text, site, &Sources::process(), today());
    let harm = match written(after) {
        None => anyhow!(EditError::NoSite),
        Some(WrittenSite { site: Some(_), .. }) => return Ok(()),
        Some(WrittenSite { problems, .. }) => {
            if written(before).is_some_and(|before| before.site.is_none()) {
                return Ok(());
            }
            let problem = problems.first().map_or("it has errors", |first: &Diagnostic| first.message.as_str());
            anyhow!("site `{site}` would be broken: {problem}")
        }
    };
    let error = Error::config(harm).context(format!("{} was left as it is", file.display()));
    Err(error.hint("correct the value, or make the change by hand; `formgate schema config` shows the keys"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::cli::sites::edit::{paused, with_keys};

    fn acme() -> SiteId {
        SiteId::parse("acme").expect("an id")
    }

    #[test]
    fn a_change_that_changes_nothing_writes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("acme.toml");
        fs::write(&file, "id = \"acme\"\n").expect("written");
        let pause = || edit_file(&file, &acme(), |text| paused(text, "acme")).expect("edited");
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
            let refused = edit_file(&file, &acme(), |_| Ok(broken.to_owned())).expect_err("refused");
            assert!(refused.render().contains("was left as it is"), "{}", refused.render());
            assert_eq!(fs::read_to_string(&file).expect("read"), sound);
        }
        // Keys that aren't there yet are no error: the site takes submissions without them.
        let keyed = edit_file(&file, &acme(), |text| with_keys(text, "acme", "wp_pk_1", "../secrets/none"));
        assert_eq!(keyed.expect("edited"), Edited::Changed);
        // The second change is a step of the repair.
        fs::write(&file, "id = \"acme\"\nregion = \"us\"\n").expect("written");
        assert_eq!(edit_file(&file, &acme(), |text| paused(text, "acme")).expect("edited"), Edited::Changed);
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
                        edit_file(file, &acme(), |text| Ok(format!("{text}{line}"))).expect("edited");
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
        let create = |text: &str| EditLock::of(&file).expect("locked").create(text, &acme());
        create("id = \"acme\"\n").expect("created");
        assert!(create("id = \"acme\"\nname = \"x\"\n").is_err());
        assert_eq!(fs::read_to_string(&file).expect("read"), "id = \"acme\"\n");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
