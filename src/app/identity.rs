//! How this gateway is known to those that share its store: by the name of its machine, and a few digits that it keeps.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::Config;
use crate::queue::{GatewayName, private_file};
use crate::send::GatewayIdentity;

const FILE: &str = "gateway.name";
/// Largest file that holds a name, in bytes.
const FILE_MAX: u64 = 1_024;
/// Longest part of a name that is the machine's, in bytes.
const HOST_MAX: usize = 60;

/// Returns who this gateway is. The name is kept in the data folder, so that it is the same after a restart.
pub(super) fn identity(config: &Config) -> GatewayIdentity {
    let host = host();
    let name = match config.data_folder().map(|folder| kept(folder, &host)) {
        Some(Ok(name)) => name,
        Some(Err((file, error))) => {
            tracing::warn!(
                file = %file.display(),
                %error,
                "gateway.unnamed: the gateway's name can't be kept, so it has another after a restart; delete the file, \
                 or let the gateway write its data folder"
            );
            new_name(&host)
        }
        None => new_name(&host),
    };
    GatewayIdentity { name, host, version: env!("CARGO_PKG_VERSION"), since: Timestamp::now() }
}

/// Returns the name in a folder, making it where there is none.
fn kept(folder: &Path, host: &str) -> Result<GatewayName, (PathBuf, io::Error)> {
    let file = folder.join(FILE);
    read_or_make(&file, host).map_err(|error| (file, error))
}

fn read_or_make(file: &Path, host: &str) -> io::Result<GatewayName> {
    if !file.try_exists()? {
        let folder = file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        writeln!(draft, "{}", new_name(host))?;
        draft.as_file().sync_all()?;
        private_file::adopt(draft.as_file(), file)?;
        // One that another process has written meanwhile stays.
        match draft.persist_noclobber(file) {
            Err(failed) if failed.error.kind() != io::ErrorKind::AlreadyExists => return Err(failed.error),
            _ => std::fs::File::open(folder)?.sync_all()?,
        }
    }
    if std::fs::metadata(file)?.len() > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large to be a name"));
    }
    let text = std::fs::read_to_string(file)?;
    GatewayName::parse(text.trim()).map_err(|invalid| io::Error::new(io::ErrorKind::InvalidData, invalid))
}

fn new_name(host: &str) -> GatewayName {
    let name = format!("{host}-{:06x}", rand::random::<u32>() & 0xff_ffff);
    GatewayName::parse(&name).expect("the host is cut to what a name may have")
}

/// Returns the machine's name, as far as a gateway's may have it.
fn host() -> String {
    let host = hostname::get().unwrap_or_default();
    cut(&host.to_string_lossy())
}

fn cut(host: &str) -> String {
    let known = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' };
    let host: String = host.chars().map(known).take(HOST_MAX).collect();
    if host.is_empty() { "gateway".to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_keeps_its_name_and_another_folder_has_another() {
        let [one, two] = [0, 1].map(|_| tempfile::tempdir().expect("a folder"));
        let kept = |folder: &Path, host| kept(folder, host).expect("it is kept");
        let name = kept(&one.path().join("data"), "web-1");
        assert!(name.as_str().starts_with("web-1-"), "{name}");
        assert_eq!(kept(&one.path().join("data"), "renamed"), name);
        assert_ne!(kept(&two.path().join("data"), "web-1"), name);
    }

    #[test]
    fn a_file_without_a_name_is_told_and_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        for text in ["", "two words", &"x".repeat(2_000)] {
            std::fs::write(&file, text).expect("written");
            assert!(kept(folder.path(), "web-1").is_err(), "{text}");
            assert_eq!(std::fs::read_to_string(&file).expect("read"), text);
        }
    }

    #[test]
    fn any_host_gives_a_name() {
        for host in ["", "wéb 1", &"x".repeat(300), "web-1.agency.example"] {
            assert!(new_name(&cut(host)).as_str().len() > 6, "{host}");
        }
    }
}
