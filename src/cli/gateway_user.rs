//! The user whose gateway it is. Root can read everything, so what root checks says nothing of what the gateway can read.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Uid, User};

use super::console::Console;
use crate::config::{Sources, data_folder};

/// Reads files as the gateway does that the configuration is of: where root asks, as the owner of its data folder.
pub(super) fn as_gateway_user<T: Send>(config: &Path, console: &mut Console, read: impl FnOnce() -> T + Send) -> T {
    let Some((user, folder)) = other_user(config) else { return read() };
    let name = &user.name;
    std::thread::scope(|scope| {
        // On Linux each thread has credentials of its own; this one ends with them.
        let reading = scope.spawn(|| (become_user(&user), read()));
        let (became, read) = reading.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked));
        match became {
            Ok(()) => console.say(format!("reading as the user {name}, who owns {folder}")),
            Err(error) => console.say(format!("reading as root: this process can't become the user {name} ({error})")),
        }
        read
    })
}

/// Returns whose gateway it is, and by which folder; none where this process isn't root's, or the gateway is root's too.
fn other_user(config: &Path) -> Option<(User, String)> {
    if !Uid::effective().is_root() {
        return None;
    }
    let folder = data_folder(config, &Sources::process())?;
    let owner = Uid::from_raw(folder.metadata().ok()?.uid());
    let user = User::from_uid(owner).ok().flatten().filter(|user| !user.uid.is_root())?;
    Some((user, folder.display().to_string()))
}

/// Gives this thread the user's credentials. What it could do as root ends with the last step.
#[cfg(target_os = "linux")]
fn become_user(user: &User) -> io::Result<()> {
    use rustix::fs::Gid;
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

    let name = std::ffi::CString::new(user.name.as_str())?;
    let groups = nix::unistd::getgrouplist(&name, user.gid)?;
    set_thread_groups(&groups.into_iter().map(|group| Gid::from_raw(group.as_raw())).collect::<Vec<_>>())?;
    let group = Gid::from_raw(user.gid.as_raw());
    set_thread_res_gid(group, group, group)?;
    let user = rustix::fs::Uid::from_raw(user.uid.as_raw());
    Ok(set_thread_res_uid(user, user, user)?)
}

/// Elsewhere the credentials are the whole process'.
#[cfg(not(target_os = "linux"))]
fn become_user(_user: &User) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
