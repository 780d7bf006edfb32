//! Stores that former versions wrote are opened for ever: see `fixtures/store`.

use std::fs;
use std::path::{Path, PathBuf};

use formgate::queue::sqlite::SqliteStore;
use formgate::queue::{Appended, Claim, DedupeKey, Entry, Filter, NewEntry, Order, Reason, Store, StoreError};
use serde_json::{Value, json};

use tempfile::TempDir;

use super::durability::{files, folder};
use super::{add, at, entry, entry_of, open};

fn former() -> Vec<PathBuf> {
    let stores = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/store");
    let mut folders: Vec<_> =
        fs::read_dir(stores).expect("listed").map(|entry| entry.expect("listed").path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

fn shown(Entry { head, received }: &Entry) -> Value {
    // The files were written when all of this was one thing.
    let mut content = json!(head.reading);
    content["received"] = json!(received);
    json!({
        "id": head.id, "site": head.site, "form": head.form, "state": head.state, "reason": head.reason,
        "revision": head.revision, "accepted_at": head.accepted_at, "due_at": head.due_at,
        "expires_at": head.expires_at, "attempts": head.attempts, "seen": head.seen, "lead_id": head.lead_id,
        "body": String::from_utf8_lossy(&received.body), "content": content,
        "history": head.history,
    })
}

/// Tells whether all that is expected is there; more may have come with a later version.
fn covers(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(key, expected)| covers(found.get(key).unwrap_or(&Value::Null), expected))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(found, expected)| covers(found, expected))
        }
        _ => found == expected,
    }
}

#[tokio::test]
async fn every_former_version_is_read_with_all_it_holds() {
    let mut versions = Vec::new();
    for former in former() {
        let folder = folder();
        // Never opened where it lies: that would bring it up to date.
        fs::copy(former.join("store.db"), folder.path().join("store.db")).expect("copied");
        let expected = fs::read_to_string(former.join("expected.json")).expect("read");
        let expected: Vec<Value> = serde_json::from_str(&expected).expect("JSON");
        let store = open(folder.path());
        let page = store.scan(&Filter::default(), Order::Oldest, None, 1_000).await.expect("scanned");
        assert_eq!(page.heads.len(), expected.len());
        for (head, expected) in page.heads.iter().zip(&expected) {
            let found = shown(&entry_of(&store, head.id).await);
            assert!(covers(&found, expected), "{}\n{found:#}\n{expected:#}", former.display());
        }
        // And it is as good as a new one.
        add(&store, entry(200, "acme")).await;
        let claimed = store.claim(&Claim::new(99, super::LEASE, at(60_000_000))).await.expect("claimed");
        let queued = expected.iter().filter(|entry| entry["state"] == "queued").count();
        assert_eq!(claimed.len(), queued + 1);
        assert!(store.ready().await.is_ok());
        versions.push(former.file_name().expect("a name").to_string_lossy().into_owned());
    }
    assert_eq!(versions, ["v1", "v2", "v3"]);
}

/// Returns the folder of an open store that version 3 wrote.
fn opened() -> (TempDir, SqliteStore) {
    let folder = folder();
    let former = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/store/v3/store.db");
    fs::copy(former, folder.path().join("store.db")).expect("copied");
    let store = open(folder.path());
    (folder, store)
}

fn has(folder: &Path, bytes: &str) -> bool {
    files(folder)
        .iter()
        .any(|file| fs::read(file).expect("read").windows(bytes.len()).any(|some| some == bytes.as_bytes()))
}

#[tokio::test]
async fn a_copy_is_kept_until_the_first_clean_stop_and_an_erasure_names_it() {
    let (folder, store) = opened();
    let copy = folder.path().join("store.db.former");
    assert!(copy.exists());
    assert_eq!(formgate::queue::sqlite::check_copy(&copy).expect("a store"), 6);
    let page = store.scan(&Filter::default(), Order::Oldest, None, 9).await.expect("scanned");
    let erased = page.heads.first().expect("an entry").id;
    let refused = store.erase(&[erased]).await.expect_err("its bytes remain");
    assert!(refused.to_string().contains("store.db.former"), "{refused}");
    assert!(has(folder.path(), "ana@example.com") || has(folder.path(), "ana%40example.com"));
    // Closing it is no stop of a gateway.
    drop(store);
    assert!(copy.exists());
    let store = open(folder.path());
    store.forget_former();
    drop(store);
    assert!(!copy.exists());
    // What the former layout held is gone with it.
    assert!(!has(folder.path(), "ana@example.com") && !has(folder.path(), "ana%40example.com"));
    assert!(has(folder.path(), "joerg@example.org"));
    let store = open(folder.path());
    assert!(!copy.exists());
    assert_eq!(store.erase(&[page.heads[1].id]).await.expect("erased"), 1);
}

#[tokio::test]
async fn a_copy_that_an_interrupted_start_left_is_made_anew() {
    let folder = folder();
    fs::write(folder.path().join("store.db.former"), "half a copy").expect("written");
    let former = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/store/v3/store.db");
    fs::copy(former, folder.path().join("store.db")).expect("copied");
    let store = open(folder.path());
    let copy = folder.path().join("store.db.former");
    assert_eq!(formgate::queue::sqlite::check_copy(&copy).expect("a store"), 6);
    drop(store);
}

#[tokio::test]
async fn what_cannot_be_brought_over_stays_in_the_copy() {
    let folder = folder();
    let former = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/store/v3/store.db");
    fs::copy(former, folder.path().join("store.db")).expect("copied");
    let connection = rusqlite::Connection::open(folder.path().join("store.db")).expect("opened");
    connection.execute("UPDATE entry SET history = 'no history' WHERE number = 2", []).expect("spoilt");
    drop(connection);
    let store = open(folder.path());
    let heads = store.scan(&Filter::default(), Order::Oldest, None, 9).await.expect("scanned").heads;
    assert_eq!(heads.len(), 5);
    let problems = store.problems().await.expect("read");
    assert!(matches!(&problems[..], [StoreError::SetAside { .. }]), "{problems:?}");
    let salvaged = store.salvage().await.expect("salvaged");
    assert_eq!((salvaged.present, salvaged.recovered, salvaged.unreadable.len()), (5, 1, 1), "{salvaged:?}");
    let held = Filter { reason: Some(Reason::Salvaged), ..Filter::default() };
    // Nobody knows what had become of it.
    assert_eq!(store.scan(&held, Order::Oldest, None, 9).await.expect("scanned").heads.len(), 1);
    drop(store);
    assert!(has(folder.path(), "joerg@example.org"), "nothing is thrown away");
}

#[tokio::test]
async fn keys_of_a_former_version_are_remembered() {
    let (_folder, store) = opened();
    let accepted_at = "2026-11-02T10:07:00Z".parse().expect("a time");
    for (number, key) in [(1, 1), (2, 6)] {
        let again = NewEntry { accepted_at, ..entry(200 + number, "acme") };
        let appended = store.append(again, Some(DedupeKey([key; 32]))).await.expect("appended");
        assert!(matches!(appended, Appended::Duplicate(_)), "{appended:?}");
    }
}
