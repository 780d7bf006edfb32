//! Files for their owner alone, in a folder of the gateway's: whoever makes them, they belong to the folder's owner.
//!
//! An operator may run a verb as root. What that makes must stay writable for the user whose gateway it is.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown, lchown};
use std::path::Path;

/// Opens a file, making it (0600) where there is none. One that exists keeps its owner and mode.
pub fn open(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    match how.clone().create_new(true).mode(0o600).open(path) {
        Ok(file) => adopt(&file, path).map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => how.open(path),
        Err(error) => Err(error),
    }
}

/// Gives a file that was just made to the owner of the folder it is made for.
pub fn adopt(file: &File, path: &Path) -> io::Result<()> {
    match owner_for(path, file.metadata()?.uid())? {
        Some((user, group)) => done(fchown(file, Some(user), Some(group))),
        None => Ok(()),
    }
}

/// The same for a folder. Its owner could put a link in its place: links are not followed.
pub fn adopt_folder(folder: &Path) -> io::Result<()> {
    match owner_for(folder, folder.symlink_metadata()?.uid())? {
        Some((user, group)) => done(lchown(folder, Some(user), Some(group))),
        None => Ok(()),
    }
}

/// Returns to whom it is given; none where it is theirs already.
fn owner_for(path: &Path, owner: u32) -> io::Result<Option<(u32, u32)>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.metadata()?;
    Ok((folder.uid() != owner).then_some((folder.uid(), folder.gid())))
}

/// Only root can give files away; what another user makes in somebody's folder stays theirs.
fn done(given: io::Result<()>) -> io::Result<()> {
    match given {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}
