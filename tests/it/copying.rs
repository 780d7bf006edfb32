//! `store copy`: everything of a store gets into another, once, and both are compared.

use std::sync::Arc;
use std::time::Duration;

use formgate::event::EventType;
use formgate::operate::{Copied, CopyProgress, CopyStep, NotCopied, copy, running_gateways};
use formgate::postgres_url::PostgresUrl;
use formgate::queue::carry::CarryingStore;
use formgate::queue::memory::MemoryStore;
use formgate::queue::postgres::{Options as PostgresOptions, PostgresStore, StoreClock};
use formgate::queue::sqlite::SqliteStore;
use formgate::queue::{
    Appended, CARRY_MAX, CarriedAs, Carry as _, DedupeKey, EVENTS_MAX, Emission, Key, Merge, NoteChange, NoteKind,
    Notes as _, NumbersMerge, Outbox as _, State, Store, TextMerge,
};
use tempfile::TempDir;

use crate::cli::{Place, Ran};
use crate::postgres::fresh_database;
use crate::store_contract::{
    add, again, at, claim_one, delivered, entry, entry_of, head_of, held, id, open, open_postgres, open_postgres_at,
};

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

/// Puts something of everything into a store: leads in each state, one of them leased; events and a reader; notes.
async fn fill(store: &dyn CarryingStore) {
    assert!(store.register(&key("ops")).await.expect("registered").is_some());
    for number in 1..=6 {
        add(store, entry(number, "acme")).await;
    }
    add(store, held(7, "other")).await;
    let lease = claim_one(store, 100).await;
    assert!(store.settle(&lease, delivered("lead-1"), at(101)).await.expect("settled").is_done());
    let lease = claim_one(store, 102).await;
    assert!(store.settle(&lease, again(600), at(103)).await.expect("settled").is_done());
    assert_eq!(claim_one(store, 104).await.head.id, id(3), "it stays leased");
    let emission = Emission::new(EventType::SitePaused);
    assert!(store.emit(&emission, &key("paused:acme"), at(105)).await.expect("emitted"));
    assert!(store.trim(&key("ops"), 4).await.expect("trimmed"));
    for kind in [NoteKind::Daily, NoteKind::Form, NoteKind::Gateway] {
        let text = if kind == NoteKind::Daily { TextMerge::Keep } else { TextMerge::Latest("seen".to_owned()) };
        let merge = Merge { text, numbers: NumbersMerge::Add(vec![1, 2]) };
        let change = NoteChange::new(kind, "acme/contact", merge).expect("within its bounds");
        store.note(&change, at(1)).await.expect("noted");
        store.note(&change, at(9)).await.expect("noted");
    }
}

async fn filled() -> MemoryStore {
    let store = MemoryStore::new(Duration::ZERO);
    fill(&store).await;
    store
}

fn target() -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    (folder, store)
}

async fn copied(from: &dyn CarryingStore, to: &dyn CarryingStore) -> Copied {
    copy(from, to, |_progress| {}).await.expect("copied")
}

#[tokio::test]
async fn everything_is_copied_there_and_back() {
    let source = filled().await;
    let (_folder, there) = target();
    let first = copied(&source, &there).await;
    assert_eq!((first.entries, first.new, first.unreadable), (7, 7, 0));
    assert_eq!(first.digest.len(), 64);
    let back = MemoryStore::new(Duration::ZERO);
    let second = copied(&there, &back).await;
    assert_eq!(second, first);
    for store in [&there as &dyn CarryingStore, &back] {
        assert_eq!(store.counts().await.expect("counted"), source.counts().await.expect("counted"));
        for number in [1, 2, 4, 5, 6, 7] {
            assert_eq!(entry_of(store, id(number)).await, entry_of(&source, id(number)).await, "{number}");
        }
        // What was on its way is due again.
        assert_eq!(claim_one(store, 200).await.head.id, id(3));
        let events = |page: formgate::queue::Events| (page.events, page.upto);
        assert_eq!(
            events(store.events(0, EVENTS_MAX).await.expect("read")),
            events(source.events(0, EVENTS_MAX).await.expect("read"))
        );
        assert_eq!(store.readers().await.expect("listed"), source.readers().await.expect("listed"));
        let emission = Emission::new(EventType::SitePaused);
        assert!(!store.emit(&emission, &key("paused:acme"), at(300)).await.expect("emitted"), "told before");
        for kind in [NoteKind::Daily, NoteKind::Form] {
            let notes = store.notes(kind, "", None, 9).await.expect("listed");
            assert_eq!(notes, source.notes(kind, "", None, 9).await.expect("listed"), "{kind:?}");
        }
        assert!(store.notes(NoteKind::Gateway, "", None, 9).await.expect("listed").is_empty());
    }
}

#[tokio::test]
async fn a_copy_in_postgresql_has_the_same_digest() {
    let source = filled().await;
    let (_folder, file) = target();
    let first = copied(&source, &file).await;
    let there = open_postgres().await;
    assert_eq!(copied(&file, &there).await, first);
    let (_folder, back) = target();
    assert_eq!(copied(&there, &back).await, first);
    let events = back.events(0, EVENTS_MAX).await.expect("read").events;
    assert_eq!(events, source.events(0, EVENTS_MAX).await.expect("read").events);
    assert_eq!(running_gateways(&there).await.expect("read"), []);
}

#[tokio::test]
async fn a_post_that_comes_again_after_the_copy_is_a_duplicate() {
    let post = Some(DedupeKey([7; 32]));
    let source = MemoryStore::new(Duration::from_secs(600));
    assert_eq!(source.append(entry(1, "acme"), post).await.expect("appended"), Appended::New(id(1)));
    let url = fresh_database().await.url;
    // The command knows nothing of the gateways' window.
    let options = PostgresOptions { dedupe_window: Duration::ZERO, max_size: None, clock: StoreClock::Server };
    let there = PostgresStore::open(&PostgresUrl::parse(&url).expect("a URL"), options).expect("opened");
    assert_eq!(copied(&source, &there).await.entries, 1);
    let gateway = open_postgres_at(&url);
    assert_eq!(gateway.append(entry(2, "acme"), post).await.expect("appended"), Appended::Duplicate(id(1)));
}

#[tokio::test]
async fn a_copy_goes_on_where_it_was_stopped() {
    let source = filled().await;
    let all = source.carry_out(None, CARRY_MAX).await.expect("read").entries;
    // With a gap: the source got the fifth after that.
    for there_already in [vec![0, 1], vec![0, 1, 2, 3, 5]] {
        let (_folder, there) = target();
        let part: Vec<_> = there_already.iter().map(|at| all[*at].clone()).collect();
        assert!(there.carry_in(&part, CarriedAs::Copy).await.is_ok());
        let mut done = Vec::new();
        let report = |progress: CopyProgress| {
            if progress.step == CopyStep::Entries {
                done.push(progress.done);
            }
        };
        let result = copy(&source, &there, report).await.expect("copied");
        assert_eq!((result.entries, result.new), (7, 7 - part.len() as u64));
        let passed_over = if there_already.len() == 2 { 2 } else { 4 };
        assert_eq!(done, [7 - passed_over], "what is there is not read again");
        assert_eq!(copied(&source, &there).await.new, 0);
    }
}

#[tokio::test]
async fn a_target_with_leads_of_its_own_is_refused_and_left_alone() {
    let source = filled().await;
    for number in [0, 100] {
        let (_folder, there) = target();
        add(&there, entry(number, "acme")).await;
        let refused = copy(&source, &there, |_progress| {}).await;
        assert!(matches!(refused, Err(NotCopied::OtherEntries(other)) if other == id(number)), "{refused:?}");
        let page = there.carry_out(None, CARRY_MAX).await.expect("read");
        assert_eq!(page.entries.len(), 1);
    }
}

#[tokio::test]
async fn a_target_on_which_a_gateway_has_run_is_refused() {
    let source = filled().await;
    for reader in ["ops", "mail"] {
        let (_folder, there) = target();
        assert!(there.register(&key(reader)).await.expect("registered").is_some());
        let refused = copy(&source, &there, |_progress| {}).await;
        assert!(matches!(refused, Err(NotCopied::OtherEvents)), "{refused:?}");
        assert!(there.carry_out(None, CARRY_MAX).await.expect("read").entries.is_empty());
    }
}

#[tokio::test]
async fn a_target_in_which_a_lead_went_on_differs() {
    let source = filled().await;
    let (_folder, there) = target();
    copied(&source, &there).await;
    let lease = claim_one(&there, 200).await;
    assert!(there.settle(&lease, again(60), at(201)).await.expect("settled").is_done());
    let refused = copy(&source, &there, |_progress| {}).await;
    // The change was an event of its own.
    assert!(matches!(refused, Err(NotCopied::OtherEvents)), "{refused:?}");
    let (_folder, there) = target();
    let quiet = MemoryStore::new(Duration::ZERO);
    add(&quiet, entry(1, "acme")).await;
    copied(&quiet, &there).await;
    let lease = claim_one(&there, 200).await;
    assert!(there.settle(&lease, again(60), at(201)).await.expect("settled").is_done());
    let refused = copy(&quiet, &there, |_progress| {}).await;
    assert!(matches!(refused, Err(NotCopied::Differs { missing: 0, differing: 1 })), "{refused:?}");
}

#[tokio::test]
async fn an_empty_store_is_copied_too() {
    let (_folder, there) = target();
    let result = copied(&MemoryStore::new(Duration::ZERO), &there).await;
    assert_eq!((result.entries, result.new, result.events, result.notes), (0, 0, 0, 0));
}

/// A place with a store in `data`.
async fn place() -> Place {
    let place = Place::of(&[("url", "sqlite:there/store.db\n")]);
    std::fs::create_dir(place.path("data")).expect("a folder");
    fill(&open(&place.path("data"))).await;
    place
}

async fn run(place: &Place, line: &[&str]) -> Ran {
    let mut command = place.command(line);
    command.env("SOURCE", "sqlite:data/store.db");
    Ran::of(tokio::process::Command::from(command).output().await.expect("it runs"))
}

#[tokio::test]
async fn the_command_copies_and_says_what_it_compared() {
    let place = place().await;
    let line = ["store", "copy", "--from", "sqlite:data/store.db", "--to", "sqlite:there/store.db"];
    let ran = run(&place, &line).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.data.starts_with("7 entries in the target, 7 of them copied now\n"), "{}", ran.data);
    assert!(ran.data.contains("every entry is the same in both stores: "), "{}", ran.data);
    let store = open(&place.path("there"));
    assert_eq!(head_of(&store, id(1)).await.state, State::Delivered);
    assert_eq!(head_of(&store, id(3)).await.attempts, 1);
    drop(store);
    let line = ["store", "copy", "--from", "env:SOURCE", "--to", "file:url", "--output", "json"];
    let ran = run(&place, &line).await;
    let again: Copied = serde_json::from_str(&ran.data).expect("JSON");
    assert_eq!((ran.code, again.entries, again.new), (0, 7, 0), "{}", ran.talk);
}

#[tokio::test]
async fn a_store_that_a_gateway_has_open_is_copied_only_by_force() {
    let place = place().await;
    let running = Arc::new(open(&place.path("data")));
    let line = ["store", "copy", "--from", "sqlite:data/store.db", "--to", "sqlite:there/store.db"];
    let ran = run(&place, &line).await;
    assert_eq!(ran.code, 74);
    assert!(ran.talk.contains("a gateway or another command has data/store.db open"), "{}", ran.talk);
    assert!(!place.path("there").exists(), "nothing was begun");
    let ran = run(&place, &[&line[..], &["--force"]].concat()).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    drop(running);
    let target = open(&place.path("there"));
    let ran = run(&place, &line).await;
    assert_eq!(ran.code, 74);
    assert!(ran.talk.contains("has there/store.db open"), "{}", ran.talk);
    drop(target);
}

#[tokio::test]
async fn what_cannot_be_copied_ends_with_its_own_code() {
    let place = place().await;
    for (from, to, code) in [
        ("sqlite:data/store.db", "sqlite:data/../data/store.db", 2),
        ("data/store.db", "sqlite:there/store.db", 2),
        ("env:NO_SUCH", "sqlite:there/store.db", 2),
        ("sqlite:gone.db", "sqlite:there/store.db", 74),
    ] {
        let ran = run(&place, &["store", "copy", "--from", from, "--to", to]).await;
        assert_eq!(ran.code, code, "{from} {to}: {}", ran.talk);
    }
    assert!(!place.path("gone.db").exists());
    add(&open(&place.path("there")), entry(99, "acme")).await;
    let ran = run(&place, &["store", "copy", "--from", "sqlite:data/store.db", "--to", "sqlite:there/store.db"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.talk.contains("the target has entries that the source doesn't have"), "{}", ran.talk);
}
