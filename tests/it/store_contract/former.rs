//! Stores that former versions wrote are opened for ever: see `fixtures/store`.

use std::fs;
use std::path::{Path, PathBuf};

use formgate::queue::{Claim, Entry, Filter, Order, Store};
use serde_json::{Value, json};

use super::durability::folder;
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
        let claimed = store.claim(&Claim::new(99, super::LEASE, at(20_000_000))).await.expect("claimed");
        let queued = expected.iter().filter(|entry| entry["state"] == "queued").count();
        assert_eq!(claimed.len(), queued + 1);
        assert!(store.ready().await.is_ok());
        versions.push(former.file_name().expect("a name").to_string_lossy().into_owned());
    }
    assert_eq!(versions, ["v1", "v2"]);
}
