//! Copies of a store that is in use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use formgate::queue::{Filter, Order, Store, StoreError};

use super::durability::{files, folder};
use super::{add, claim_one, delivered, entry, head_of, held, id, open, site, with_body};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_while_appends_go_on_opens_as_a_store() {
    let (folder, other) = (folder(), folder());
    let store = Arc::new(open(folder.path()));
    for number in 0..100 {
        let big = "x".repeat(20_000 + usize::from(number));
        add(&*store, with_body(&big, held(number, "acme"))).await;
    }
    add(&*store, entry(100, "acme")).await;
    let lease = claim_one(&*store, 200).await;
    let done = store.settle(&lease, delivered("lead"), super::at(201)).await;
    assert!(done.expect("settled").is_done());

    let (stop, appending) = (Arc::new(AtomicBool::new(false)), Arc::clone(&store));
    let stopped = Arc::clone(&stop);
    let appends = tokio::spawn(async move {
        let mut number = 101;
        while !stopped.load(Ordering::Relaxed) && number < 250 {
            add(&*appending, entry(number, "busy")).await;
            number += 1;
        }
        number
    });
    let copy = other.path().join("store.db");
    let copied = store.backup(&copy).await.expect("copied");
    stop.store(true, Ordering::Relaxed);
    assert!(appends.await.expect("appended") > 101, "appends go on meanwhile");
    assert_eq!(fs::metadata(&copy).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(files(other.path()), std::slice::from_ref(&copy));

    let restored = open(other.path());
    for number in 0..=100 {
        assert_eq!(head_of(&restored, id(number)).await, head_of(&*store, id(number)).await);
    }
    assert_eq!(
        restored.scan(&Filter::default(), Order::Oldest, None, 1_000).await.expect("scanned").heads.len() as u64,
        copied
    );
    let busy = Filter { site: Some(site("busy")), ..Filter::default() };
    assert_eq!(
        restored.scan(&busy, Order::Oldest, None, 1_000).await.expect("scanned").heads.len() as u64,
        copied - 101
    );
    add(&restored, entry(255, "acme")).await;
}

#[tokio::test]
async fn a_backup_overwrites_nothing() {
    let (folder, other) = (folder(), folder());
    let store = open(folder.path());
    add(&store, entry(1, "acme")).await;
    let there = other.path().join("there");
    fs::write(&there, "a letter").expect("written");
    let refused = store.backup(&there).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(fs::read_to_string(&there).expect("kept"), "a letter");
    assert!(store.backup(&other.path().join("no folder").join("copy")).await.is_err());
    assert_eq!(store.backup(&other.path().join("copy")).await.expect("copied"), 1);
    assert!(store.backup(&other.path().join("copy")).await.is_err());
    assert_eq!(files(other.path()).len(), 2);
}
