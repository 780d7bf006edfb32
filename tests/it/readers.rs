//! What the gateway's user can't read: checks that root runs look as that user, and words that name who may not.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use crate::cli::{Place, Ran};

/// The user `nobody`.
const NOBODY: u32 = 65_534;

const SITE: &str = "id = \"acme\"\nregion = \"US\"\npublic_key = \"wp_pk_0123456789abcdef\"\n\
                    secret_key = { file = \"../secrets/acme\" }\ntokens = []\n[forms.contact]\n";

/// A gateway that runs as `nobody`, set up by root; none where these tests are not root's.
#[expect(clippy::print_stderr, reason = "what was not tried is said")]
fn of_nobody() -> Option<Place> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT RUN: only root can look as another user");
        return None;
    }
    let place = Place::of(&[
        ("config.toml", "[server]\n[kaicalls]\nbase_url = \"http://127.0.0.1:1\"\n"),
        ("sites/acme.toml", SITE),
        ("secrets/acme", "wp_sk_hush0123456789abcdef"),
        ("data/.keep", ""),
    ]);
    fs::set_permissions(place.path("."), fs::Permissions::from_mode(0o755)).expect("opened");
    for given in ["data", "config.toml", "sites/acme.toml", "secrets/acme"] {
        give(&place.path(given));
    }
    Some(place)
}

fn give(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).expect("given");
}

fn take_back(path: &Path) {
    chown(path, Some(0), Some(0)).expect("taken back");
}

fn talk(ran: &Ran) -> String {
    format!("{}{}", ran.data, ran.talk)
}

#[test]
fn a_check_by_root_sees_what_the_gateways_user_sees() {
    let Some(place) = of_nobody() else { return };
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 0, "{}", talk(&ran));
    let folder = place.path("data");
    assert!(ran.talk.contains("reading as the user nobody, who owns data"), "{} {folder:?}", ran.talk);
    for kept in ["secrets/acme", "sites/acme.toml", "config.toml"] {
        take_back(&place.path(kept));
        let ran = place.run(&["check"]);
        assert_eq!(ran.code, 78, "{kept}: {}", talk(&ran));
        let said = talk(&ran);
        assert!(said.contains("can't be read by the user nobody"), "{kept}: {said}");
        assert!(said.contains(&format!("chown nobody {}", place.path(kept).display())), "{kept}: {said}");
        give(&place.path(kept));
    }
    assert_eq!(place.run(&["check"]).code, 0);
}

#[test]
fn a_folder_that_lets_nobody_through_is_the_one_to_open() {
    let Some(place) = of_nobody() else { return };
    fs::set_permissions(place.path("secrets"), fs::Permissions::from_mode(0o700)).expect("closed");
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 78, "{}", talk(&ran));
    let cure =
        format!("if the gateway runs as nobody, let it into {} or move the file", place.path("secrets").display());
    assert!(talk(&ran).contains(&cure), "{}", talk(&ran));
}

#[test]
fn keys_that_only_root_can_read_are_no_keys_of_the_gateways() {
    let Some(place) = of_nobody() else { return };
    take_back(&place.path("secrets/acme"));
    let ran = place.run(&["keys", "verify", "acme"]);
    assert_eq!(ran.code, 78, "{}", talk(&ran));
    assert!(ran.data.contains("unreadable") && ran.data.contains("secrets/acme can't be read"), "{}", ran.data);
}

#[test]
fn a_gateway_of_roots_own_is_read_as_root() {
    let Some(place) = of_nobody() else { return };
    take_back(&place.path("data"));
    take_back(&place.path("secrets/acme"));
    let ran = place.run(&["check"]);
    assert_eq!((ran.code, ran.talk.contains("reading as")), (0, false), "{}", talk(&ran));
}
