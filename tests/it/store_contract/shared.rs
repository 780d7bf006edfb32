//! What only a store on disk promises of events, notes and holds: they outlive the process, and several share them.

use formgate::event::EventType;
use formgate::queue::sqlite::SqliteStore;
use formgate::queue::{
    Appended, Emission, Holds, Merge, NoteChange, NoteKind, Notes, NumbersMerge, Outbox, Reader, Store,
};
use std::time::Duration;

use super::durability::{as_killed, folder};
use super::outbox::events;
use super::{add, again, at, claim_one, entry, held, id, key, open};

async fn hold(store: &SqliteStore, holder: &str, seconds: i64) -> bool {
    let ttl = Duration::from_secs(1_000);
    store.hold(&key("acme"), &key(holder), ttl, at(seconds)).await.expect("asked")
}

#[tokio::test]
async fn events_and_their_readers_survive_a_kill() {
    let folder = folder();
    let store = open(folder.path());
    assert_eq!(store.register(&key("ops")).await.expect("registered"), Some(0));
    add(&store, entry(1, "acme")).await;
    let lease = claim_one(&store, 100).await;
    assert!(store.settle(&lease, again(30), at(100)).await.expect("settled").is_done());
    assert!(store.emit(&Emission::new(EventType::SitePaused), &key("once"), at(100)).await.expect("emitted"));
    let killed = as_killed(folder.path());
    let after = open(killed.path());
    assert_eq!(events(&after).await, events(&store).await);
    assert_eq!(events(&after).await.len(), 3);
    assert!(!after.emit(&Emission::new(EventType::SitePaused), &key("once"), at(101)).await.expect("emitted"));
    // And it goes on.
    add(&after, held(2, "acme")).await;
    let readers = after.readers().await.expect("listed");
    assert_eq!(readers, [Reader { name: key("ops"), upto: 0, behind: 4 }]);
}

#[tokio::test]
async fn a_number_is_not_given_again_after_all_were_trimmed_and_a_restart() {
    let folder = folder();
    let store = open(folder.path());
    assert_eq!(store.register(&key("ops")).await.expect("registered"), Some(0));
    add(&store, entry(1, "acme")).await;
    assert!(store.trim(&key("ops"), 1).await.expect("trimmed"));
    drop(store);
    let store = open(folder.path());
    add(&store, entry(2, "acme")).await;
    assert_eq!(events(&store).await.iter().map(|event| event.number).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_process_records_for_the_readers_of_another() {
    let folder = folder();
    let one = open(folder.path());
    let two = open(folder.path());
    add(&two, entry(1, "acme")).await;
    assert_eq!(one.register(&key("ops")).await.expect("registered"), Some(0));
    add(&two, entry(2, "acme")).await;
    add(&one, entry(3, "acme")).await;
    add(&two, entry(4, "acme")).await;
    assert_eq!(events(&one).await.iter().map(|event| event.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(two.unregister(&key("ops")).await.expect("removed"));
    add(&one, entry(5, "acme")).await;
    assert_eq!(events(&one).await, []);
}

#[tokio::test]
async fn an_append_that_is_refused_leaves_no_event() {
    let folder = folder();
    let store = open(folder.path());
    assert_eq!(store.register(&key("ops")).await.expect("registered"), Some(0));
    let (first, again) = tokio::join!(store.append(entry(1, "acme"), None), store.append(entry(1, "acme"), None));
    assert_eq!(first.expect("appended"), Appended::New(id(1)));
    assert!(again.is_err());
    assert_eq!(events(&store).await.len(), 1);
}

#[tokio::test]
async fn holds_of_a_dead_process_are_free_and_those_of_a_living_one_are_not() {
    let folder = folder();
    let store = open(folder.path());
    assert!(hold(&store, "one", 0).await);
    let beside = open(folder.path());
    assert!(!hold(&beside, "two", 1).await);
    let killed = as_killed(folder.path());
    assert!(hold(&open(killed.path()), "two", 1).await);
    drop((store, beside));
    assert!(hold(&open(folder.path()), "two", 1).await);
}

#[tokio::test]
async fn a_note_survives_a_kill_and_two_processes_add_to_it() {
    let folder = folder();
    let one = open(folder.path());
    let two = open(folder.path());
    let merge = Merge { numbers: NumbersMerge::Add(vec![1]), ..Merge::default() };
    let change = NoteChange::new(NoteKind::Daily, "2026-10-15/acme", merge).expect("within its bounds");
    for store in [&one, &two, &one] {
        store.note(&change, at(1)).await.expect("noted");
    }
    let killed = as_killed(folder.path());
    for store in [&one, &two, &open(killed.path())] {
        let notes = store.notes(NoteKind::Daily, "", None, 9).await.expect("listed");
        assert_eq!(notes.iter().map(|note| note.numbers.clone()).collect::<Vec<_>>(), [[3]]);
    }
}
