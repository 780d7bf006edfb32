//! Replaces or creates a file whole or not at all: whoever reads it meanwhile sees the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::queue::private_file;

/// New contents of a file, on disk beside it: all that is left to do can hardly fail.
pub struct Replacement {
    /// A link stays a link.
    path: PathBuf,
    draft: TemporaryFile,
}

/// A file that is deleted unless it replaced another.
struct TemporaryFile(PathBuf);

impl Replacement {
    /// Writes new contents beside the file, with its permissions and owner.
    pub fn prepare(path: &Path, contents: &[u8]) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let before = fs::metadata(&path)?;
        let draft = TemporaryFile(beside(&path));
        write(&draft.0, contents, &before)?;
        Ok(Self { path, draft })
    }

    /// Puts the new contents in the place of the old.
    pub fn finish(self) -> io::Result<()> {
        fs::rename(&self.draft.0, &self.path)?;
        sync_folder(&self.path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // It was only ours; that it is gone already is as good.
        drop(fs::remove_file(&self.0));
    }
}

/// Writes new contents, keeping the file's permissions and owner; a link stays a link.
pub(super) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    Replacement::prepare(path, contents)?.finish()
}

/// Creates a file, whole from the moment that it is there; never in the place of another. It belongs to the folder's owner,
/// whose gateway reads it.
pub(super) fn create(path: &Path, contents: &[u8]) -> io::Result<()> {
    let draft = TemporaryFile(beside(path));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&draft.0)?;
    private_file::adopt(&file, path)?;
    file.write_all(contents)?;
    file.sync_all()?;
    match fs::hard_link(&draft.0, path) {
        // Some file systems have no links. Other commands wait for the folder's lock meanwhile.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => fs::rename(&draft.0, path)?,
        linked => linked?,
    }
    drop(draft);
    sync_folder(path)
}

/// A new name is durable only with its folder.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Returns the folder that a file lies in.
pub fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Tells whether the folder of a file can be changed, as removing the file does.
pub fn probe_folder(path: &Path) -> io::Result<()> {
    let probe = TemporaryFile(beside(path));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe.0).map(drop)
}

/// Names a file that no pattern of an `include` finds.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{:016x}.new", rand::random::<u64>()))
}

fn write(path: &Path, contents: &[u8], like: &fs::Metadata) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (like.uid(), like.gid()) {
        // The gateway may run as another user, who must still be able to read it.
        std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(like.permissions())?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn permissions_and_links_survive_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
        fs::write(&file, "old").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("permissions");
        symlink(&file, &link).expect("a link");
        replace(&link, b"new").expect("replaced");
        assert_eq!(fs::read_to_string(&file).expect("read"), "new");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
        assert!(replace(&folder.path().join("none"), b"x").is_err());
    }
}
