//! A pair of keys in two files, where a configuration can name them: `{ file = "…/secret_key" }`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::keyring::{NewKeyPair, Randomness};

/// Longest key file, in bytes.
const FILE_MAX: u64 = 1024;

/// Why the key files can't be used. Their content is not repeated.
#[derive(Debug, thiserror::Error)]
pub enum KeyFilesError {
    #[error("{} can't be read or written", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} has no key that begins with {prefix}", path.display())]
    NoKey { path: PathBuf, prefix: &'static str },
    #[error("{} exists, but its other half doesn't", path.display())]
    Half { path: PathBuf },
}

/// Reads the pair in a directory, or writes a fresh one where there is none.
pub(super) fn read_or_write(directory: &Path, random: &Randomness) -> Result<NewKeyPair, KeyFilesError> {
    let (public_path, secret_path) = (directory.join("public_key"), directory.join("secret_key"));
    let mut keys = NewKeyPair::fresh(random);
    match (read(&public_path, "wp_pk_")?, read(&secret_path, "wp_sk_")?) {
        (Some(public_key), Some(secret_key)) => {
            keys.public_key = public_key;
            keys.secret_key = secret_key;
        }
        (None, None) => {
            let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            created.map_err(|source| KeyFilesError::File { path: directory.to_owned(), source })?;
            write(&public_path, &keys.public_key)?;
            write(&secret_path, &keys.secret_key)?;
        }
        (Some(_), None) => return Err(KeyFilesError::Half { path: public_path }),
        (None, Some(_)) => return Err(KeyFilesError::Half { path: secret_path }),
    }
    Ok(keys)
}

fn read(path: &Path, prefix: &'static str) -> Result<Option<String>, KeyFilesError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KeyFilesError::File { path: path.to_owned(), source }),
    };
    let mut text = String::new();
    let read = file.take(FILE_MAX).read_to_string(&mut text);
    read.map_err(|source| KeyFilesError::File { path: path.to_owned(), source })?;
    let key = text.trim();
    let is_key = key.len() > prefix.len() && key.starts_with(prefix) && key.bytes().all(|byte| byte.is_ascii_graphic());
    is_key.then(|| Some(key.to_owned())).ok_or_else(|| KeyFilesError::NoKey { path: path.to_owned(), prefix })
}

/// Writes without a line end, for readers that take a file as it is.
fn write(path: &Path, key: &str) -> Result<(), KeyFilesError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(key.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|source| KeyFilesError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_pair_is_written_for_its_owner_only_and_read_again() {
        let parent = tempfile::tempdir().expect("a directory");
        let directory = parent.path().join("a/keys");
        let written = read_or_write(&directory, &[1; 56]).expect("written");
        assert_eq!(mode(&directory), 0o700);
        assert_eq!((mode(&directory.join("public_key")), mode(&directory.join("secret_key"))), (0o600, 0o600));
        let read = read_or_write(&directory, &[2; 56]).expect("read");
        assert_eq!((&read.public_key, &read.secret_key), (&written.public_key, &written.secret_key));
        assert_eq!(fs::read_to_string(directory.join("secret_key")).expect("text"), written.secret_key);
    }

    #[test]
    fn a_file_that_is_no_key_is_neither_used_nor_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let public = directory.path().join("public_key");
        fs::write(&public, "wp_pk_mine\n").expect("written");
        let error = read_or_write(directory.path(), &[1; 56]).expect_err("half");
        assert!(matches!(error, KeyFilesError::Half { path } if path == public));
        fs::write(directory.path().join("secret_key"), "hunter2").expect("written");
        let error = read_or_write(directory.path(), &[1; 56]).expect_err("no key");
        assert!(!error.to_string().contains("hunter2"));
        assert!(matches!(error, KeyFilesError::NoKey { prefix: "wp_sk_", .. }));
    }
}
