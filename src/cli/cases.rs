//! Cases on disk: captured requests, each with its expectation beside it where there is one.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::capture::{CAPTURE_MAX, Capture};
use super::error::Error;
use super::expectation::Expectation;

/// Most cases of one run.
const CASES_MAX: usize = 100_000;
/// Largest expectation, in bytes.
const EXPECTATION_MAX: u64 = 4 << 20;

/// One captured request on disk.
pub(super) struct Case {
    pub(super) path: PathBuf,
    pub(super) capture: Capture,
    /// None where there is no file beside it.
    pub(super) expectation: Option<Expectation>,
}

/// Finds every `.http` file among the paths and below them, each once, in the order of their names.
pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        let is_folder = fs::metadata(path).with_context(|| cant_read(path)).map_err(Error::usage)?.is_dir();
        if is_folder {
            walk(path, &mut found).with_context(|| cant_read(path)).map_err(Error::usage)?;
        } else {
            found.push(path.clone());
        }
        if found.len() == before {
            return Err(Error::usage(anyhow!("no .http file in {}", path.display())));
        }
        if found.len() > CASES_MAX {
            return Err(Error::usage(anyhow!("more than {CASES_MAX} files")));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Finds every `.http` file below a folder that need not be there.
pub(super) fn below(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    if folder.is_dir() {
        walk(folder, &mut found).with_context(|| cant_read(folder)).map_err(Error::usage)?;
    }
    found.sort();
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        // What a link points to is not followed: it could lead round in a circle.
        if entry.file_type()?.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "http") {
            found.push(path);
        }
    }
    Ok(())
}

/// Reads a case. An error belongs to this case alone.
pub(super) fn read(path: &Path) -> Result<Case, anyhow::Error> {
    let bytes = read_file(path, CAPTURE_MAX)?;
    let capture = Capture::parse(&bytes).with_context(|| format!("{} is not a captured request", path.display()))?;
    let beside = expectation_path(path);
    let expectation = match read_file(&beside, EXPECTATION_MAX) {
        Ok(text) => std::str::from_utf8(&text)
            .map_err(anyhow::Error::new)
            .and_then(|text| Ok(Expectation::parse(text)?))
            .with_context(|| format!("{} has no usable expectation", beside.display()))?,
        Err(error) if is_missing(&error) => None,
        Err(error) => return Err(error),
    };
    Ok(Case { path: path.to_owned(), capture, expectation })
}

/// Returns where a case's expectation stands.
pub(super) fn expectation_path(capture: &Path) -> PathBuf {
    capture.with_extension("json")
}

/// Reads a file that is not larger than `max` bytes.
pub(super) fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, anyhow::Error> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).with_context(|| cant_read(path))?;
    file.take(max + 1).read_to_end(&mut bytes).with_context(|| cant_read(path))?;
    if bytes.len() as u64 > max {
        return Err(anyhow!("{} is larger than {max} bytes", path.display()));
    }
    Ok(bytes)
}

fn cant_read(path: &Path) -> String {
    format!("can't read {}", path.display())
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_found_below_folders_once_and_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("b/deep")).expect("folders");
        for name in ["b/deep/2.http", "b/1.http", "b/1.json", "a.txt"] {
            fs::write(path(name), "x").expect("written");
        }
        let found = find(&[path("b"), path("b/1.http"), path("a.txt")]).expect("found");
        assert_eq!(found, [path("a.txt"), path("b/1.http"), path("b/deep/2.http")]);
        fs::create_dir(path("empty")).expect("a folder");
        for none in ["empty", "nowhere"] {
            assert!(find(&[path(none)]).is_err(), "{none}");
        }
    }

    #[test]
    fn a_case_without_an_expectation_is_no_error_and_a_broken_one_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.http");
        fs::write(&path, "POST / HTTP/1.1\r\n\r\na=1").expect("written");
        assert!(read(&path).expect("a case").expectation.is_none());
        fs::write(expectation_path(&path), "{}").expect("written");
        assert!(read(&path).is_err());
        fs::write(expectation_path(&path), r#"{"reject": [{"code": "no_fields"}]}"#).expect("written");
        assert!(read(&path).expect("a case").expectation.is_some());
        assert!(read_file(&path, 3).is_err());
    }
}
