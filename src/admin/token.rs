//! The admin token: the configuration's, or one that is made at the first start and kept in a file beside the store.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::Config;
use crate::destination::Secret;
use crate::http::bearer;
use crate::queue::private_file;

const FILE: &str = "admin.token";
const PREFIX: &str = "fga_";
/// Largest file that holds the token, in bytes.
const FILE_MAX: u64 = 4_096;
/// A file with less holds no token that was made here.
const TOKEN_MIN: usize = 16;

/// Returns where a made token is kept; none where the store is in memory.
pub fn token_file(config: &Config) -> Option<PathBuf> {
    Some(config.data_folder()?.join(FILE))
}

/// Returns the token by which the API is reached: the configuration's, else the one in the file.
pub fn read_token(config: &Config) -> io::Result<Option<Secret>> {
    match (&config.admin.token, token_file(config)) {
        (Some(token), _) => Ok(Some(token.clone())),
        (None, Some(file)) if file.try_exists()? => read(&file).map(Some),
        (None, _) => Ok(None),
    }
}

/// Returns the made token, making it where there is none; none where the configuration has one, or there is no folder
/// to keep it in.
pub fn make_token(config: &Config) -> io::Result<Option<Secret>> {
    let Some(file) = token_file(config).filter(|_| config.admin.token.is_none()) else { return Ok(None) };
    if !file.try_exists()? {
        write(&file)?;
    }
    read(&file).map(Some)
}

/// Writes a new token whole or not at all; one that another process has written meanwhile stays.
fn write(file: &Path) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    // It is its owner's alone from the beginning.
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    writeln!(draft, "{token}")?;
    draft.as_file().sync_all()?;
    private_file::adopt(draft.as_file(), file)?;
    match draft.persist_noclobber(file) {
        Err(failed) if failed.error.kind() != io::ErrorKind::AlreadyExists => Err(failed.error),
        _ => std::fs::File::open(folder)?.sync_all(),
    }
}

fn read(file: &Path) -> io::Result<Secret> {
    if std::fs::metadata(file)?.len() > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large to be a token"));
    }
    let token = std::fs::read_to_string(file)?.trim().to_owned();
    if token.len() < TOKEN_MIN {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file has no token; delete it and start again"));
    }
    Ok(Secret::new(token))
}

/// Tells whether a request shows the token. It takes the same time whether it fits or not.
pub(super) fn is_shown(headers: &HeaderMap, token: Option<&Secret>) -> bool {
    fits(headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer), token)
}

/// Tells whether what is shown is the token, in the same time either way.
pub(super) fn fits(shown: Option<&str>, token: Option<&Secret>) -> bool {
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    let fits = digest(shown.unwrap_or_default()).ct_eq(&digest(token.map_or("", Secret::expose)));
    let is_there = |text: Option<&str>| Choice::from(u8::from(text.is_some_and(|text| !text.is_empty())));
    bool::from(fits & is_there(shown) & is_there(token.map(Secret::expose)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        write(&file).expect("written");
        let token = read(&file).expect("a token");
        assert_eq!(token.expose().len(), PREFIX.len() + 43);
        assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
        write(&file).expect("another process was first");
        assert!(read(&file).expect("a token") == token);
        std::fs::write(&file, "\n").expect("emptied");
        assert!(read(&file).is_err());
    }

    #[test]
    fn only_the_token_itself_is_let_in() {
        let shown = |value: &str, token: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
            is_shown(&headers, token.map(|token| Secret::new(token.to_owned())).as_ref())
        };
        assert!(shown("Bearer fga_x", Some("fga_x")) && shown("bearer  fga_x ", Some("fga_x")));
        for (value, token) in [
            ("Bearer fga_y", Some("fga_x")),
            ("fga_x", Some("fga_x")),
            ("Basic fga_x", Some("fga_x")),
            ("Bearer ", Some("")),
            ("Bearer ", None),
            ("Bearer x", None),
        ] {
            assert!(!shown(value, token), "{value}");
        }
        assert!(!is_shown(&HeaderMap::new(), None));
    }
}
