//! A site and its pair as they are written in the files.

use std::path::{Component, Path, PathBuf};

use anyhow::anyhow;

use crate::cli::error::Error;
use crate::cli::sites::edit::{edit_file, secret_file, with_keys};
use crate::config::{Loaded, Site, known_names};
use crate::lead::SiteId;
use crate::operate::keys::{ReadyPair, Replaced};

/// Finds a site that can be used as it is written, with keys or without.
pub(super) fn find<'a>(id: &SiteId, loaded: &'a Loaded) -> Result<&'a Site, Error> {
    if let Some(site) = loaded.usable_sites().find(|site| site.id == *id) {
        return Ok(site);
    }
    if let Some(broken) = loaded.broken_sites.iter().find(|site| site.id.as_ref() == Some(id)) {
        let error = Error::config(anyhow!("site `{id}` has errors"));
        return Err(error.hint(format!("`formgate check` shows what is wrong with {}", broken.file.display())));
    }
    let hint = match loaded.usable_sites().next() {
        None => format!("there are no sites yet: `formgate sites add {id} --url URL` writes the first"),
        Some(_) => known_names(id.as_str(), loaded.usable_sites().map(|site| site.id.as_str())),
    };
    Err(Error::usage(anyhow!("there is no site `{id}`")).hint(hint))
}

/// Writes a pair into its site's file.
pub(super) fn write_pair(site: &Site, pair: &ReadyPair) -> Result<(), Error> {
    let secret = relative_to(&site.file, &pair.secret_file);
    let secret = secret.to_string_lossy();
    edit_file(&site.file, &site.id, |text| with_keys(text, site.id.as_str(), &pair.public_key, &secret)).map(drop)
}

/// Tells which pair a site has, and in which file of the secrets folder its secret is.
pub(super) fn pair_in_use(site: &Site, secrets: &Path) -> Option<Replaced> {
    let keys = site.keys.as_ref()?;
    let text = std::fs::read_to_string(&site.file).ok();
    let written = text.and_then(|text| secret_file(&text, site.id.as_str()));
    let in_folder = written.and_then(|written| {
        let path = site.file.parent().unwrap_or(Path::new("")).join(written);
        let is_inside = path.parent()?.canonicalize().ok()? == secrets.canonicalize().ok()?;
        is_inside.then(|| path.file_name().map(|name| name.to_string_lossy().into_owned()))?
    });
    Some(Replaced { public_key: keys.public().to_owned(), secret_file: in_folder })
}

/// Names the other sites that have a pair, or a form that has it.
pub(super) fn others_with(loaded: &Loaded, site: &SiteId, public_key: &str) -> Vec<SiteId> {
    let has_it = |other: &&Site| other.key_pairs().any(|(_, pair)| pair.public() == public_key);
    loaded.usable_sites().filter(|other| other.id != *site).filter(has_it).map(|other| other.id.clone()).collect()
}

/// Tells whether any site's file names a file of the secrets folder.
pub(super) fn is_named(loaded: &Loaded, config: &Path, secret_file: &str) -> bool {
    let files = loaded.usable_sites().map(|site| site.file.as_path());
    let broken = loaded.broken_sites.iter().map(|site| site.file.as_path());
    // One that can't be read may name it.
    let names_it = |file: &Path| std::fs::read_to_string(file).map_or(true, |text| text.contains(secret_file));
    files.chain(broken).chain([config]).any(names_it)
}

/// Writes a path as a file that names it has to: relative to that file's folder, where the way there is plain.
pub(in crate::cli) fn relative_to(file: &Path, target: &Path) -> PathBuf {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_no_folder| path.to_owned());
    let target = absolute(target);
    let file = absolute(file);
    let folder = file.parent().unwrap_or(Path::new("/"));
    let is_plain = |path: &Path| path.components().all(|part| part != Component::ParentDir);
    if !is_plain(folder) || !is_plain(&target) {
        return target;
    }
    let shared = folder.components().zip(target.components()).take_while(|(one, other)| one == other).count();
    // Only the root is shared: a way up through all of it says less than the path itself.
    if shared <= 1 {
        return target;
    }
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(target.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_from_the_folder_of_the_file_that_names_it() {
        for (file, target, written) in [
            ("/etc/formgate/sites/acme.toml", "/etc/formgate/secrets/acme_sk", "../secrets/acme_sk"),
            ("/etc/formgate/config.toml", "/etc/formgate/secrets/acme_sk", "secrets/acme_sk"),
            ("/etc/formgate/a/b/c.toml", "/etc/formgate/secrets/acme_sk", "../../secrets/acme_sk"),
            ("/etc/formgate/sites/acme.toml", "/var/lib/secrets/acme_sk", "/var/lib/secrets/acme_sk"),
            ("/etc/x/../formgate/acme.toml", "/etc/formgate/acme_sk", "/etc/formgate/acme_sk"),
        ] {
            assert_eq!(relative_to(Path::new(file), Path::new(target)), Path::new(written), "{file}");
        }
    }
}
