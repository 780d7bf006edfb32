//! The user whose gateway it is. Root can read everything, so what root checks says nothing of what the gateway can read.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Uid, User};

use super::console::Console;
use crate::admin;
use crate::config::{Sources, data_folder};

/// Reads files as the gateway does that the configuration is of: where root asks, as the user of the gateway that runs, else
/// as the owner of its data folder.
pub(super) fn as_gateway_user<T: Send>(config: &Path, console: &mut Console, read: impl FnOnce() -> T + Send) -> T {
    let Some((user, why)) = other_user(config) else { return read() };
    let user = &user;
    let read_as_user = std::thread::scope(|scope| {
        // On Linux each thread has credentials of its own; this one ends with them.
        let reading = scope.spawn(move || match become_user(user) {
            Ok(()) => Ok(read()),
            Err(error) => Err((error, read)),
        });
        reading.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    });
    match read_as_user {
        Ok(found) => {
            console.say(format!("reading as the user {}, who {why}", user.name));
            found
        }
        Err((error, read)) => {
            console.say(format!("reading as root: this process can't become the user {} ({error})", user.name));
            read()
        }
    }
}

/// Returns whose gateway it is, and what shows it; none where this process isn't root's, or the gateway is root's too.
fn other_user(config: &Path) -> Option<(User, String)> {
    if !Uid::effective().is_root() {
        return None;
    }
    let folder = data_folder(config, &Sources::command_line())?;
    let (user, why) = match running_user(&folder) {
        Some(user) => (user, "runs the gateway".to_owned()),
        None => (folder.metadata().ok()?.uid(), format!("owns {}", folder.display())),
    };
    let user = User::from_uid(Uid::from_raw(user)).ok().flatten()?;
    (!user.uid.is_root()).then_some((user, why))
}

/// Returns the user of the gateway that listens on the admin socket.
#[cfg(target_os = "linux")]
fn running_user(data: &Path) -> Option<u32> {
    let socket = std::os::unix::net::UnixStream::connect(admin::socket_in(data)).ok()?;
    Some(rustix::net::sockopt::socket_peercred(&socket).ok()?.uid.as_raw())
}

#[cfg(not(target_os = "linux"))]
fn running_user(_data: &Path) -> Option<u32> {
    None
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
