//! `store restore`: a copy takes the store's place, and no lead is lost or sent twice unasked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use formgate::queue::sqlite::check_copy;
use formgate::queue::{Reason, State, Store as _};

use crate::cli::{Place, Ran};
use crate::store_contract::{add, again, at, claim_one, delivered, entry, head_of, held, id, open};

/// A place with a store, a copy of it, and what came after the copy.
///
/// In the copy: 1 delivered, 2 queued, 3 queued and tried again in an hour, 4 held. Since then 2 was delivered, and 5 came.
async fn place_with_copy() -> Place {
    let place = Place::of(&[("config.toml", "[queue]\nurl = \"sqlite:data/store.db\"\n")]);
    fs::create_dir(place.path("data")).expect("a folder");
    let store = open(&place.path("data"));
    add(&store, entry(1, "acme")).await;
    let lease = claim_one(&store, 200).await;
    assert!(store.settle(&lease, delivered("lead"), at(200)).await.is_ok());
    add(&store, entry(3, "acme")).await;
    let lease = claim_one(&store, 200).await;
    assert!(store.settle(&lease, again(3600), at(200)).await.is_ok());
    add(&store, entry(2, "acme")).await;
    add(&store, held(4, "acme")).await;
    assert_eq!(store.backup(&place.path("copy.db")).await.expect("copied"), 4);
    let lease = claim_one(&store, 200).await;
    assert_eq!(lease.head.id, id(2));
    assert!(store.settle(&lease, delivered("lead"), at(200)).await.is_ok());
    add(&store, entry(5, "beta")).await;
    place
}

async fn run(place: &Place, line: &[&str]) -> Ran {
    let mut command = tokio::process::Command::from(place.command(line));
    Ran::of(command.output().await.expect("it runs"))
}

fn former(place: &Place) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(place.path("data")).expect("a folder").filter_map(Result::ok).map(|file| file.path());
    files.filter(|file| file.to_string_lossy().contains(".replaced-")).collect()
}

#[tokio::test]
async fn a_restored_copy_holds_what_was_queued_and_keeps_the_former_store() {
    let place = place_with_copy().await;
    let ran = run(&place, &["store", "restore", "copy.db"]).await;
    assert_eq!(ran.code, 1, "the store at hand has leads of its own: {}", ran.data);
    assert!(ran.talk.contains("queued or held leads of the current store would be lost: 3"), "{}", ran.talk);

    let ran = run(&place, &["store", "restore", "copy.db", "--force"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.data.contains("restored 4 entries from copy.db\n2 leads that were queued"), "{}", ran.data);
    let mode = fs::metadata(place.path("data/store.db")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let store = open(&place.path("data"));
    for number in [2, 3] {
        let entry = head_of(&store, id(number)).await;
        assert_eq!((entry.state, entry.reason), (State::Held, Reason::Restored), "{number}");
        assert!(entry.expires_at.is_some());
    }
    assert_eq!(head_of(&store, id(3)).await.attempts, 1);
    assert_eq!(head_of(&store, id(1)).await.state, State::Delivered);
    assert_eq!(head_of(&store, id(4)).await.reason, held(4, "acme").reason);
    assert_eq!(store.get(id(5)).await.expect("read"), None);

    let [former] = &former(&place)[..] else { panic!("the former store is one file: {:?}", former(&place)) };
    assert_eq!(check_copy(former).expect("whole"), 5);
    let audit = fs::read_to_string(place.path("data/audit.ndjson")).expect("the audit");
    assert!(audit.lines().count() == 2 && audit.contains(r#""verb":"restore""#), "{audit}");
    let left = fs::read_dir(place.path("data")).expect("a folder").filter_map(Result::ok);
    let left: Vec<_> = left.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.starts_with(".formgate")), "{left:?}");
}

#[tokio::test]
async fn a_restored_lead_is_sent_only_when_it_is_named() {
    let place = place_with_copy().await;
    assert_eq!(run(&place, &["store", "restore", "copy.db", "--force"]).await.code, 0);
    let acme = "id = \"acme\"\npublic_key = \"wp_pk_a\"\nsecret_key = \"wp_sk_a\"\n";
    fs::create_dir(place.path("sites")).expect("a folder");
    fs::write(place.path("sites/acme.toml"), acme).expect("written");
    let ran = run(&place, &["leads", "retry", "--site", "acme", "--output", "json", "--dry-run"]).await;
    assert!(ran.data.contains("use its id or --reason restored"), "{}{}", ran.data, ran.talk);
}

#[tokio::test]
async fn send_leaves_queued_what_was_queued() {
    let place = place_with_copy().await;
    let ran = run(&place, &["store", "restore", "copy.db", "--force", "--send", "--output", "json"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let json = ran.json();
    assert_eq!((&json["entries"], &json["held"], &json["queued"]), (&4.into(), &0.into(), &2.into()));
    let store = open(&place.path("data"));
    for number in [2, 3] {
        assert_eq!(head_of(&store, id(number)).await.state, State::Queued, "{number}");
    }
}

#[tokio::test]
async fn nothing_is_restored_while_a_process_has_the_store_open() {
    let place = place_with_copy().await;
    let store = open(&place.path("data"));
    let ran = run(&place, &["store", "restore", "copy.db", "--force"]).await;
    assert_eq!(ran.code, 74, "{}", ran.data);
    assert!(ran.talk.contains("has the store") && ran.talk.contains("stop the gateway"), "{}", ran.talk);
    assert_eq!(head_of(&store, id(5)).await.state, State::Queued);
}

#[tokio::test]
async fn a_copy_that_is_damaged_or_foreign_changes_nothing() {
    let place = place_with_copy().await;
    let whole = fs::read(place.path("copy.db")).expect("read");
    let mut damaged = whole.clone();
    for byte in damaged.iter_mut().skip(4096 * 3).take(4096 * 20) {
        *byte = 0x5a;
    }
    for (name, bytes) in
        [("damaged", &damaged[..]), ("cut", &whole[..4096 * 3]), ("foreign", b"a letter"), ("empty", b"")]
    {
        fs::write(place.path(name), bytes).expect("written");
        let ran = run(&place, &["store", "restore", name, "--force"]).await;
        assert_eq!(ran.code, 74, "{name}: {}{}", ran.data, ran.talk);
        assert!(former(&place).is_empty(), "{name}");
    }
    assert_eq!(run(&place, &["store", "restore", "data/store.db", "--force"]).await.code, 2);
    let store = open(&place.path("data"));
    assert_eq!(head_of(&store, id(5)).await.state, State::Queued);
}

#[tokio::test]
async fn a_copy_is_restored_where_there_is_no_store_or_a_damaged_one() {
    for damage in [None, Some(&b"no database"[..])] {
        let place = place_with_copy().await;
        for part in ["", "-wal", "-shm"] {
            drop(fs::remove_file(place.path(&format!("data/store.db{part}"))));
        }
        if let Some(bytes) = damage {
            fs::write(place.path("data/store.db"), bytes).expect("written");
        }
        let ran = run(&place, &["store", "restore", "copy.db"]).await;
        assert_eq!((ran.code, former(&place).len()), (0, usize::from(damage.is_some())), "{}", ran.talk);
        assert_eq!(head_of(&open(&place.path("data")), id(2)).await.state, State::Held);
    }
}

#[tokio::test]
async fn what_a_killed_restore_left_is_removed_by_who_next_has_the_store_alone() {
    let place = place_with_copy().await;
    let leave = || {
        for folder in [".store.db.restore-k1LLed", ".other.db.restore-goesOn"] {
            fs::create_dir_all(place.path("data").join(folder)).expect("a folder");
            fs::write(place.path("data").join(folder).join("store.db"), "visitors' data").expect("written");
        }
    };
    let left = |folder: &str| place.path("data").join(folder).exists();
    leave();
    drop(open(&place.path("data")));
    assert!(!left(".store.db.restore-k1LLed"), "opening the store removes it");
    assert!(left(".other.db.restore-goesOn"), "another store's is not ours to remove");
    leave();
    let ran = run(&place, &["store", "restore", "copy.db", "--force"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(!left(".store.db.restore-k1LLed"));
}

#[tokio::test]
async fn what_is_no_file_is_refused_by_its_name() {
    let place = place_with_copy().await;
    let ran = run(&place, &["store", "restore", "data", "--force"]).await;
    assert_eq!((ran.code, ran.talk.as_str()), (2, "error: data is not a file\n"));
}
