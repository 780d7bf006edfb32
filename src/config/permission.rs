//! Who may read a file: as whom this process does, and in whose way what stands.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Uid, User};

/// Says why a file can't be read, and what helps.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> (String, Option<String>) {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return (format!("can't be read: {error}"), None);
    }
    let user = name_of(Uid::effective());
    let path = std::path::absolute(path).unwrap_or_else(|_no_folder| path.to_owned());
    let owner = path.metadata().ok().map(|file| name_of(Uid::from_raw(file.uid())));
    let cure = match (closed_folder(&path), owner) {
        // Whose folder it is, and who else relies on that, is not known here.
        (Some(folder), _) => format!("let it into {} or move the file", folder.display()),
        (None, Some(owner)) if owner == user => format!("run `chmod u+r {}`", path.display()),
        (None, _) => format!("run `chown {user} {}`", path.display()),
    };
    let hint = format!("if the gateway runs as {user}, {cure}; otherwise run this command as the gateway's user");
    (format!("can't be read by the user {user}"), Some(hint))
}

/// Returns the folder on the way to a file that lets this user no further.
fn closed_folder(path: &Path) -> Option<&Path> {
    let mut closed = None;
    for inside in path.ancestors() {
        match inside.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => closed = inside.parent(),
            _ => break,
        }
    }
    closed
}

/// Returns a user's name; one that the system doesn't know, as in most containers, goes by its number.
fn name_of(user: Uid) -> String {
    User::from_uid(user).ok().flatten().map_or_else(|| user.to_string(), |user| user.name)
}
