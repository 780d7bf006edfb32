//! The secrets folder: one file a secret, for its owner alone, and beside them how far each new pair has come.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use super::in_vain::{self, InVain};
use super::progress::{MintProgress, Minted};
use crate::destination::{KeyPair, Secret};
use crate::lead::SiteId;
use crate::queue::private_file;

/// What may have been minted in vain, for a person.
const IN_VAIN: &str = "minted-in-vain.csv";
/// Locked while somebody writes to the folder.
const LOCK: &str = ".lock";
/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 64 * 1024;

/// The folder, and the right to write to it: nobody else has it until the last clone is dropped.
#[derive(Clone)]
pub struct SecretsFolder(Arc<Opened>);

struct Opened {
    folder: PathBuf,
    /// What this run wrote down as minted in vain.
    in_vain: Mutex<Vec<InVain>>,
    _lock: File,
}

/// Why the folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsFolderError {
    #[error("another formgate command is writing to {}", .0.display())]
    Busy(PathBuf),
    #[error("other users can write to {}", .0.display())]
    Open(PathBuf),
    #[error("the folder {} can't be used", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

impl SecretsFolder {
    /// Opens the folder, making it (0700) where there is none.
    pub fn open(folder: &Path) -> Result<Self, SecretsFolderError> {
        let failed = |error| SecretsFolderError::Io(folder.to_owned(), error);
        make(folder).map_err(failed)?;
        // Whoever may write there could put a file of theirs in the place of a secret.
        if fs::metadata(folder).map_err(failed)?.permissions().mode() & 0o022 != 0 {
            return Err(SecretsFolderError::Open(folder.to_owned()));
        }
        let lock = private_file::open(&folder.join(LOCK), OpenOptions::new().write(true)).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SecretsFolderError::Busy(folder.to_owned())),
            Err(error) => return Err(failed(error.into())),
        }
        let opened = Opened { folder: folder.to_owned(), in_vain: Mutex::default(), _lock: lock };
        Ok(Self(Arc::new(opened)))
    }

    pub fn path(&self) -> &Path {
        &self.0.folder
    }

    /// Returns where a file of the folder is.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.0.folder.join(name)
    }

    /// Returns the file that names what may have been minted in vain.
    pub fn in_vain_file(&self) -> PathBuf {
        self.path_of(IN_VAIN)
    }

    /// Returns what this run found to be minted in vain, its own mints and an earlier run's.
    pub fn in_vain(&self) -> Vec<InVain> {
        self.0.in_vain.lock().clone()
    }

    /// Writes one down. It is told by this run also where the disk is full.
    pub(super) fn add_in_vain(&self, in_vain: &InVain) -> io::Result<()> {
        let mut found = self.0.in_vain.lock();
        let added = in_vain::add(&self.in_vain_file(), in_vain).and_then(|is_new| self.sync().map(|()| is_new));
        if !matches!(added, Ok(false)) && !found.contains(in_vain) {
            found.push(in_vain.clone());
        }
        added.map(drop)
    }

    /// Writes a pair's secret into a file.
    pub(super) fn write_secret(&self, name: &str, keys: &KeyPair) -> io::Result<()> {
        self.write(name, format!("{}\n", keys.secret().expose()).as_bytes())
    }

    /// Writes the secret of a pair that may have been written before; returns the file's name.
    pub(super) fn adopt_secret(&self, site: &SiteId, keys: &KeyPair) -> io::Result<String> {
        let usual = usual_name(site);
        if self.read(&usual)?.is_some_and(|text| text.trim_end() == keys.secret().expose()) {
            return Ok(usual);
        }
        let name = self.free_name(site, keys);
        self.write_secret(&name, keys)?;
        Ok(name)
    }

    /// Names a secret's file: a site's first simply, those after it apart, so that the one in use stays what it is.
    pub(super) fn free_name(&self, site: &SiteId, keys: &KeyPair) -> String {
        let usual = usual_name(site);
        if !self.path_of(&usual).exists() {
            return usual;
        }
        let digest = hex::encode(Sha256::digest(keys.public()));
        format!("{site}_{}_sk", digest.get(..12).unwrap_or_default())
    }

    /// Reads a pair again; none where its secret is not there.
    pub(super) fn pair(&self, minted: &Minted) -> io::Result<Option<KeyPair>> {
        let Some(text) = self.read(&minted.secret_file)? else { return Ok(None) };
        let secret = Secret::new(text.trim_end().to_owned());
        KeyPair::new(&minted.public_key, &secret).map(Some).map_err(|invalid| {
            let path = self.path_of(&minted.secret_file);
            io::Error::other(format!("the secret of a pair that was minted, {}, {invalid}", path.display()))
        })
    }

    /// Removes a secret that nothing names any more, and what a kill left of it. That it is gone already is as good.
    pub fn remove_secret(&self, name: &str) -> io::Result<()> {
        self.remove(&draft_name(name))?;
        self.remove(name)
    }

    pub(super) fn progress(&self, site: &SiteId) -> io::Result<Option<MintProgress>> {
        let name = progress_name(site);
        let Some(text) = self.read(&name)? else { return Ok(None) };
        let broken = |error| {
            let path = self.path_of(&name);
            io::Error::other(format!("{} can't be read ({error}); look at it, then delete it", path.display()))
        };
        serde_json::from_str(&text).map(Some).map_err(broken)
    }

    pub(super) fn write_progress(&self, site: &SiteId, progress: &MintProgress) -> io::Result<()> {
        self.write(&progress_name(site), serde_json::to_string(progress)?.as_bytes())
    }

    pub(super) fn clear_progress(&self, site: &SiteId) -> io::Result<()> {
        self.remove(&progress_name(site))
    }

    fn read(&self, name: &str) -> io::Result<Option<String>> {
        let path = self.path_of(name);
        let len = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?.len(),
        };
        if len > FILE_MAX {
            return Err(io::Error::other(format!("{} is too large", path.display())));
        }
        fs::read_to_string(&path).map(Some)
    }

    /// Writes a file whole or not at all, durably.
    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let draft = self.path_of(&draft_name(name));
        // One that a kill left is of no use.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private_file::open(&draft, OpenOptions::new().write(true))?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&draft, self.path_of(name))?;
        self.sync()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path_of(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| self.sync()),
        }
    }

    /// A name is durable only with its folder.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.0.folder)?.sync_all()
    }
}

/// Makes a folder and those above it, each for the owner of the one it is made in.
fn make(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.exists() {
        return Ok(());
    }
    folder.parent().map_or(Ok(()), make)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| private_file::adopt_folder(folder)),
    }
}

fn usual_name(site: &SiteId) -> String {
    format!("{site}_sk")
}

fn progress_name(site: &SiteId) -> String {
    format!(".{site}.mint")
}

fn draft_name(name: &str) -> String {
    format!(".{name}.new")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::progress::MintStep;
    use super::*;

    fn opened() -> (tempfile::TempDir, SecretsFolder) {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = SecretsFolder::open(&folder.path().join("secrets")).expect("opened");
        (folder, opened)
    }

    fn acme() -> SiteId {
        SiteId::parse("acme").expect("an id")
    }

    fn pair(name: &str) -> KeyPair {
        KeyPair::new(&format!("wp_pk_{name}"), &Secret::new(format!("wp_sk_{name}"))).expect("keys")
    }

    #[test]
    fn secrets_are_for_their_owner_and_never_overwritten() {
        let (_folder, secrets) = opened();
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(secrets.path()), 0o700);
        let first = secrets.adopt_secret(&acme(), &pair("a")).expect("written");
        let second = secrets.adopt_secret(&acme(), &pair("b")).expect("written");
        assert_eq!(first, "acme_sk");
        assert_ne!(second, first);
        assert_eq!(mode(&secrets.path_of(&second)), 0o600);
        let text = |name: &str| fs::read_to_string(secrets.path_of(name)).expect("read");
        assert_eq!((text(&first).as_str(), text(&second).as_str()), ("wp_sk_a\n", "wp_sk_b\n"));
        assert_eq!(secrets.adopt_secret(&acme(), &pair("a")).expect("known"), first);
        secrets.remove_secret(&second).expect("removed");
        secrets.remove_secret(&second).expect("gone already");
    }

    #[test]
    fn one_command_at_a_time_writes_to_a_folder_that_others_cannot_write_to() {
        let (folder, secrets) = opened();
        let path = secrets.path().to_owned();
        assert!(matches!(SecretsFolder::open(&path), Err(SecretsFolderError::Busy(_))));
        drop(secrets);
        assert!(SecretsFolder::open(&path).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("permissions");
        assert!(matches!(SecretsFolder::open(&path), Err(SecretsFolderError::Open(_))));
        drop(folder);
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let (_folder, secrets) = opened();
        assert_eq!(secrets.progress(&acme()).expect("read"), None);
        let secret_file = secrets.adopt_secret(&acme(), &pair("a")).expect("written");
        let public_key = "wp_pk_a".to_owned();
        let minted = Minted { public_key, secret_file, business_id: None, connection_id: Some("conn_1".to_owned()) };
        let progress = MintProgress {
            step: MintStep::Minted(minted.clone()),
            url: None,
            asked_at: Timestamp::UNIX_EPOCH,
            replaces: None,
        };
        secrets.write_progress(&acme(), &progress).expect("written");
        assert_eq!(secrets.progress(&acme()).expect("read"), Some(progress));
        assert!(secrets.pair(&minted).expect("read") == Some(pair("a")));
        fs::write(secrets.path_of(".acme.mint"), "{").expect("written");
        assert!(secrets.progress(&acme()).expect_err("broken").to_string().contains(".acme.mint"));
        secrets.clear_progress(&acme()).expect("cleared");
        assert_eq!(secrets.progress(&acme()).expect("read"), None);
    }
}
