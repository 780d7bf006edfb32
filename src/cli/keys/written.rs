//! A site and its pair as they are written in the files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::anyhow;

use crate::cli::error::Error;
use crate::cli::rules::today;
use crate::config::{ConfigPart, PartFault, Site, StandIn, StandInSource, Starting, known_names};
use crate::destination::KeyPair;
use crate::lead::SiteId;
use crate::operate::keys::{ReadyPair, Replaced};
use crate::operate::sites_file::{WrittenKey, edit_file, folder_of, named_files, with_keys, written_keys};

/// Finds a site that can be used as it is written, with keys or without. One of which the gateway uses an older version is
/// refused: what is added to a file that lost its end would be taken for all there is.
pub(super) fn find<'a>(id: &SiteId, starting: &'a Starting) -> Result<&'a Site, Error> {
    let loaded = &starting.loaded;
    let is_it = |it: &&StandIn| it.part == ConfigPart::Site(id.clone()) && !it.fault.is_lack();
    if let Some(stand_in) = starting.stand_ins.iter().find(is_it) {
        let error = Error::config(anyhow!("site `{id}` uses its last-good version: {}", fault_of(stand_in)));
        return Err(error.hint("`formgate check` shows what is wrong; fix that first"));
    }
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

fn fault_of(stand_in: &StandIn) -> String {
    let file = stand_in.file.display();
    match stand_in.fault {
        PartFault::Gone | PartFault::TakenOut => format!("it isn't in {file} any more"),
        PartFault::Broken | PartFault::Incomplete | PartFault::NoKeys => format!("{file} is broken"),
    }
}

/// The failure of a command that would have to know such a pair.
pub(in crate::cli) fn unreadable(site: &SiteId, why: &str) -> Error {
    let error = Error::config(anyhow!("{why}")).context(format!("site `{site}` has keys that can't be read here"));
    error.hint("run this as the gateway's user, with its environment")
}

/// Writes a pair into its site's file.
pub(super) fn write_pair(site: &Site, pair: &ReadyPair) -> Result<(), Error> {
    let secret = relative_to(&site.file, &pair.secret_file);
    let secret = secret.to_string_lossy();
    edit_file(&site.file, &site.id, today(), |text| with_keys(text, site.id.as_str(), &pair.public_key, &secret))?;
    Ok(())
}

/// Returns a pair that is in use, and in which file of the secrets folder its secret is.
pub(super) fn in_use(site: &Site, keys: &KeyPair, secrets: &Path) -> Replaced {
    let text = fs::read_to_string(&site.file).unwrap_or_default();
    let secret_file = match written_keys(&text, site.id.as_str()) {
        Some([_, WrittenKey::File(written)]) => {
            let path = folder_of(&site.file).join(written);
            let is_inside = is_same(path.parent().unwrap_or(Path::new("")), secrets);
            path.file_name().filter(|_| is_inside).map(|name| name.to_string_lossy().into_owned())
        }
        _ => None,
    };
    Replaced { public_key: keys.public().to_owned(), secret_file }
}

/// Names the forms of a site that have the site's own pair.
pub(super) fn forms_with(site: &Site, keys: &KeyPair) -> Vec<String> {
    let own = site.form_keys.iter().filter(|(_, own)| own.as_ref().is_some_and(|own| own.public() == keys.public()));
    own.map(|(form, _)| form.to_string()).collect()
}

/// Names the other sites in force that have a pair, or a form that has it.
pub(super) fn others_with(starting: &Starting, site: &SiteId, public_key: &str) -> Vec<SiteId> {
    let in_force = starting.in_force.iter().flat_map(|(config, _)| config.sites.values().map(AsRef::as_ref));
    let all = starting.loaded.usable_sites().chain(in_force);
    let has_it = |other: &&Site| other.key_pairs().any(|(_, pair)| pair.public() == public_key);
    let found: BTreeSet<_> = all.filter(|other| other.id != *site).filter(has_it).map(|it| it.id.clone()).collect();
    found.into_iter().collect()
}

/// Tells whether anything that is written, or that stands in for what is broken, may name a file of the secrets folder.
pub(super) fn is_named(starting: &Starting, config: &Path, secret: &Path) -> bool {
    let loaded = &starting.loaded;
    let files = loaded.usable_sites().map(|site| site.file.as_path());
    let broken = loaded.broken_sites.iter().map(|site| site.file.as_path());
    // What can't be read may name it; so may an older version, of which there is only a copy.
    let names_it = |file: &Path| {
        let named = fs::read_to_string(file).ok().and_then(|text| named_files(&text));
        named.is_none_or(|named| named.iter().any(|path| is_same(&folder_of(file).join(path), secret)))
    };
    starting.stand_ins.iter().any(|it| it.by == StandInSource::LastGood)
        || files.chain(broken).chain([config]).any(names_it)
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
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
    let relative: PathBuf = up.chain(target.components().skip(shared)).collect();
    // Where a folder on the way is a link, `..` leads elsewhere.
    let leads_there = is_same(folder_of(&folder.join(&relative)), folder_of(&target));
    if leads_there || !folder.exists() || !folder_of(&target).exists() { relative } else { target }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_on_the_way_is_no_way_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for made in ["deep/sites", "secrets"] {
            fs::create_dir_all(path(made)).expect("a folder");
        }
        std::os::unix::fs::symlink(path("deep/sites"), path("sites")).expect("a link");
        let secret = path("secrets/acme_sk");
        assert_eq!(relative_to(&path("sites/acme.toml"), &secret), secret);
        assert_eq!(relative_to(&path("config.toml"), &secret), Path::new("secrets/acme_sk"));
    }

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
