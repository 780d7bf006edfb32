//! What a site's file says of its pair.

use std::path::Path;
use std::{fs, io};

use crate::config::Site;
use crate::destination::{InvalidKaiCallsKey, KeyPair, Secret};
use crate::operate::sites_file::{WrittenKey, folder_of, written_keys};

/// What a site's file says of its pair.
pub enum WrittenPair<'a> {
    Read(&'a KeyPair),
    /// Nothing, or files that nobody has made yet.
    None,
    /// It is written, and can't be read here; why, in words.
    Unreadable(String),
}

/// Tells what a site has: a pair that this program can't read is a pair all the same.
pub fn pair_of(site: &Site) -> WrittenPair<'_> {
    if let Some(keys) = &site.keys {
        return WrittenPair::Read(keys);
    }
    let text = fs::read_to_string(&site.file).unwrap_or_default();
    let written: Vec<_> = written_keys(&text, site.id.as_str()).into_iter().flatten().zip(KINDS).collect();
    let missing =
        |key: &WrittenKey| matches!(key, WrittenKey::File(path) if is_missing(&folder_of(&site.file).join(path)));
    // Files that nobody has made yet, as `init` and `sites add` name them. One that is gone beside a key that is there was
    // made, and may come back.
    if written.iter().all(|(key, _)| *key == WrittenKey::Nowhere || missing(key)) {
        return WrittenPair::None;
    }
    let why: Vec<String> = written.iter().filter_map(|(key, kind)| why_unreadable(key, kind, &site.file)).collect();
    match why.is_empty() {
        true => WrittenPair::Unreadable("one of the two keys is missing".to_owned()),
        false => WrittenPair::Unreadable(why.join(", and ")),
    }
}

/// What one of the two keys must be.
struct KeyKind {
    name: &'static str,
    check: fn(&str) -> Result<(), InvalidKaiCallsKey>,
}

/// In the order in which they are written.
const KINDS: [KeyKind; 2] = [
    KeyKind { name: "public key", check: KeyPair::check_public },
    KeyKind { name: "secret key", check: |key| KeyPair::check_secret(&Secret::new(key.to_owned())) },
];

fn why_unreadable(key: &WrittenKey, kind: &KeyKind, file: &Path) -> Option<String> {
    match key {
        WrittenKey::Nowhere | WrittenKey::Here => None,
        WrittenKey::Variable(name) => Some(format!("the variable `{name}` isn't set in this environment")),
        WrittenKey::File(path) => {
            let path = folder_of(file).join(path);
            let what = match fs::read_to_string(&path) {
                Ok(text) if text.trim().is_empty() => "is empty".to_owned(),
                Ok(text) => format!("holds no {}: it {}", kind.name, (kind.check)(text.trim_end()).err()?),
                Err(_) if is_missing(&path) => "doesn't exist".to_owned(),
                Err(_) => "can't be read".to_owned(),
            };
            Some(format!("{} {what}", path.display()))
        }
    }
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
