//! What only a store on disk promises: kills, full disks, other processes, removed files, erased bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use formgate::lead::EntryId;
use formgate::queue::sqlite::{Options, SqliteStore};
use formgate::queue::{
    Appended, AttemptResult, Change, DedupeKey, Filter, NewEntry, Order, Reason, Set, Store, StoreError,
};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{
    KEEP, WINDOW, add, again, at, claim, claim_one, delivered, entry, entry_of, head_of, held, id, open, reading,
    with_body,
};

pub(super) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Returns what a kill at this moment would leave.
pub(super) fn as_killed(folder: &Path) -> TempDir {
    let copy = self::folder();
    for file in files(folder) {
        fs::copy(&file, copy.path().join(file.file_name().expect("a name"))).expect("copied");
    }
    copy
}

pub(super) fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder).expect("listed").map(|file| file.expect("listed").path()).collect()
}

fn open_with(folder: &Path, max_size: Option<u64>) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(&folder.join("store.db"), Options { dedupe_window: WINDOW, max_size, opened_at: at(0) })
}

/// Returns another program's connection to the store.
fn other(folder: &Path) -> Connection {
    Connection::open(folder.join("store.db")).expect("opened")
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let folder = folder();
    let store = open(folder.path());
    for number in 0..20 {
        add(&store, entry(number, "acme")).await;
        let killed = as_killed(folder.path());
        assert_eq!(head_of(&open(killed.path()), id(number)).await, head_of(&store, id(number)).await);
    }
}

#[tokio::test]
async fn a_closed_store_is_opened_as_it_was() {
    let folder = folder();
    let store = open(folder.path());
    add(&store, entry(1, "acme")).await;
    add(&store, held(2, "acme")).await;
    let before = (head_of(&store, id(1)).await, head_of(&store, id(2)).await, store.counts().await.expect("counted"));
    drop(store);
    assert!(!folder.path().join("store.db-wal").exists());
    let store = open(folder.path());
    let after = (head_of(&store, id(1)).await, head_of(&store, id(2)).await, store.counts().await.expect("counted"));
    assert_eq!(before, after);
}

#[tokio::test]
async fn files_are_their_owners_alone() {
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("set");
    let data = folder.path().join("deep").join("data");
    let store = open_with(&data, None).expect("opened");
    add(&store, entry(1, "acme")).await;
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!([folder.path(), &folder.path().join("deep"), &data].map(mode), [0o755, 0o700, 0o700]);
    let mut modes: Vec<_> = files(&data).iter().map(|file| (file.clone(), mode(file))).collect();
    modes.sort();
    let names = ["store.db", "store.db-shm", "store.db-wal", "store.db.lock", "store.db.reserve"];
    assert_eq!(modes, names.map(|name| (data.join(name), 0o600)));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = folder();
    let store = open(folder.path());
    other(folder.path()).pragma_update(None, "user_version", 99).expect("set");
    let refused = store.append(entry(1, "acme"), None).await;
    assert!(matches!(refused, Err(StoreError::Newer { found: 99, known: 4 })), "{refused:?}");
    drop(store);
    let refused = open_with(folder.path(), None);
    assert!(matches!(refused, Err(StoreError::Newer { found: 99, known: 4 })), "{refused:?}");
}

#[test]
fn a_file_of_another_program_is_refused_and_left_alone() {
    let folder = folder();
    other(folder.path()).execute_batch("CREATE TABLE theirs (a)").expect("created");
    let refused = open_with(folder.path(), None);
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    assert!(other(folder.path()).prepare("SELECT a FROM theirs").is_ok());
}

#[tokio::test]
async fn a_full_store_takes_nothing_new_and_recovers() {
    let folder = folder();
    let store = open_with(folder.path(), Some(400 * 1_024)).expect("opened");
    let big = |number| with_body(&"x".repeat(20_000), held(number, "acme"));
    add(&store, entry(0, "acme")).await;
    let mut stored = 0;
    let refused = loop {
        match store.append(big(stored + 1), None).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full), "{refused:?}");
    assert!((3..20).contains(&stored), "{stored}");
    assert_eq!(store.get(id(stored + 1)).await.expect("read"), None);
    // Smaller ones fit for a while.
    while store.append(entry(stored + 100, "acme"), None).await.is_ok() {
        stored += 1;
    }
    assert!(matches!(store.ready().await, Err(StoreError::Full)));

    // What is stored goes its way.
    let lease = claim_one(&store, 100).await;
    assert!(store.settle(&lease, delivered("lead-1"), at(101)).await.expect("settled").is_done());
    assert_eq!(store.erase(&[id(1), id(2)]).await.expect("erased"), 2);
    assert!(store.ready().await.is_ok());
    add(&store, big(99)).await;
}

/// Runs appends that all wait while another process writes, so that they are done together.
async fn append_together(folder: &Path, store: &Arc<SqliteStore>, entries: Vec<NewEntry>) -> Vec<bool> {
    let mut blocker = other(folder);
    let transaction = blocker.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).expect("begun");
    let (mut appends, begun) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for (number, entry) in entries.into_iter().enumerate() {
        let (store, begun) = (Arc::clone(store), Arc::clone(&begun));
        appends.spawn(async move {
            begun.fetch_add(1, Ordering::Relaxed);
            (number, store.append(entry, None).await.is_ok())
        });
    }
    // On one thread: a task that has begun has handed its entry to the writer before another runs.
    while begun.load(Ordering::Relaxed) < appends.len() {
        tokio::task::yield_now().await;
    }
    drop(transaction);
    let mut done = appends.join_all().await;
    done.sort_unstable();
    done.into_iter().map(|(_, ok)| ok).collect()
}

#[tokio::test]
async fn many_appends_share_one_transaction() {
    let folder = folder();
    let store = Arc::new(open(folder.path()));
    let done = append_together(folder.path(), &store, (0..100).map(|number| entry(number, "acme")).collect()).await;
    assert_eq!(done, [true; 100]);
    // The first may have been taken on its own.
    assert!(store.commits() <= 2, "{}", store.commits());
    assert_eq!(store.operations(), 100);
}

#[tokio::test]
async fn one_bad_append_does_not_spoil_the_others() {
    let folder = folder();
    let store = Arc::new(open(folder.path()));
    let entries = [1, 2, 3, 2, 4, 5].map(|number| entry(number, "acme")).into();
    assert_eq!(append_together(folder.path(), &store, entries).await, [true, true, true, false, true, true]);
    for number in 1..=5 {
        assert_eq!(head_of(&*store, id(number)).await.revision, 1);
    }
    assert_eq!(claim(&*store, 9, 100).await.len(), 5);
}

#[tokio::test]
async fn an_append_whose_caller_went_away_is_written() {
    let folder = folder();
    let store = open(folder.path());
    let mut blocker = other(folder.path());
    let transaction = blocker.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).expect("begun");
    let mut append = store.append(entry(1, "acme"), None);
    tokio::select! {
        biased;
        done = &mut append => unreachable!("another process writes: {done:?}"),
        () = std::future::ready(()) => {}
    }
    drop(append);
    drop(transaction);
    add(&store, entry(2, "acme")).await;
    assert_eq!(head_of(&store, id(1)).await.reason, Reason::Accepted);
}

#[tokio::test]
async fn leases_of_a_killed_process_are_due_at_once() {
    let folder = folder();
    let store = open(folder.path());
    add(&store, entry(1, "acme")).await;
    add(&store, entry(2, "acme")).await;
    let lease = claim_one(&store, 100).await;
    assert_eq!(lease.head.id, id(1));

    let killed = as_killed(folder.path());
    let after = open(killed.path());
    let found = head_of(&after, id(1)).await;
    assert_eq!((found.attempts, found.due_at), (1, Some(at(100))));
    let last = found.history.last().expect("an event");
    assert_eq!(last.attempt.as_ref().map(|attempt| attempt.result), Some(AttemptResult::Ambiguous));
    assert_eq!(head_of(&after, id(2)).await.history.len(), 1);
    assert_eq!(claim(&after, 9, 100).await.iter().map(|lease| lease.head.attempts).collect::<Vec<_>>(), [2, 1]);
    // The dead process' answer may still come, from a proxy that outlived it; and no new claim has its token.
    assert_eq!(after.settle(&lease, again(0), at(101)).await.expect("settled"), Set::Lost);
}

#[tokio::test]
async fn leases_of_a_living_process_are_left_alone() {
    let folder = folder();
    let (old, new) = (open(folder.path()), open(folder.path()));
    add(&old, entry(1, "acme")).await;
    let lease = claim_one(&old, 100).await;
    let newer = open(folder.path());
    assert_eq!(claim(&newer, 9, 101).await, []);
    drop((new, newer));
    assert!(old.settle(&lease, delivered("lead-1"), at(102)).await.expect("settled").is_done());
}

#[tokio::test]
async fn two_processes_share_a_store() {
    let folder = folder();
    let stores = [Arc::new(open(folder.path())), Arc::new(open(folder.path()))];
    let mut appends = JoinSet::new();
    for number in 0..60 {
        for (store, mine) in stores.iter().zip([0, 100]) {
            let store = Arc::clone(store);
            let key = DedupeKey([number; 32]);
            let new = NewEntry { accepted_at: at(0), ..entry(number + mine, "acme") };
            appends.spawn(async move { store.append(new, Some(key)).await.expect("appended") });
        }
    }
    let appended = appends.join_all().await;
    assert_eq!(appended.iter().filter(|appended| matches!(appended, Appended::New(_))).count(), 60);
    let [one, two] = stores;
    let claimed = [claim(&*one, 40, 100).await, claim(&*two, 40, 100).await];
    assert_eq!(claimed.map(|leases| leases.len()), [40, 20]);
}

#[tokio::test]
async fn nothing_is_written_into_a_removed_file() {
    for file in ["store.db", "store.db-wal"] {
        let folder = folder();
        let store = open(folder.path());
        add(&store, entry(1, "acme")).await;
        let (here, away) = (folder.path().join(file), folder.path().join("away"));
        fs::rename(&here, &away).expect("moved");
        let refused = store.append(entry(2, "acme"), None).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{file}: {refused:?}");
        assert!(store.ready().await.is_err(), "{file}");
        fs::copy(&away, &here).expect("replaced");
        assert!(store.append(entry(3, "acme"), None).await.is_err(), "{file}");
        fs::rename(&away, &here).expect("moved back");
        add(&store, entry(4, "acme")).await;
    }
}

#[tokio::test]
async fn what_a_removed_store_held_comes_back_at_the_next_start() {
    for gone in [&["store.db", "store.db-wal", "store.db-shm"][..], &["store.db"], &["store.db-wal"]] {
        let folder = folder();
        let store = open(folder.path());
        for number in 1..20 {
            add(&store, entry(number, "acme")).await;
        }
        gone.iter().for_each(|file| fs::remove_file(folder.path().join(file)).expect("removed"));
        let refused = store.append(entry(30, "acme"), None).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{gone:?}: {refused:?}");
        assert!(matches!(store.ready().await, Err(StoreError::Unavailable(_))), "{gone:?}");
        drop(store);
        let store = open(folder.path());
        let problems = store.problems().await.expect("read");
        assert!(matches!(problems[..], [StoreError::SetAside { .. }]) && store.ready().await.is_ok(), "{gone:?}");
        add(&store, entry(40, "acme")).await;
        let salvaged = store.salvage().await.expect("salvaged");
        assert_eq!(salvaged.unreadable, [""; 0], "{gone:?}");
        for number in 1..20 {
            assert_eq!(head_of(&store, id(number)).await.history.len(), 1, "{gone:?}");
        }
        assert!(store.problems().await.expect("read").is_empty());
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_told() {
    let folder = folder();
    let data = folder.path().join("data");
    drop(open(&data));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    mode(&data.join("store.db"), 0o400);
    mode(&data, 0o500);
    if fs::write(data.join("probe"), "").is_ok() {
        println!("SKIPPED: this user writes where nobody may (root)");
        return;
    }
    let refused = open_with(&data, None).map(drop);
    mode(&data, 0o700);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(files(&data).iter().filter(|file| file.to_string_lossy().contains("corrupt")).count(), 0);
    mode(&data.join("store.db"), 0o600);
    add(&open(&data), entry(1, "acme")).await;
}

#[tokio::test]
async fn erased_bytes_are_in_no_file() {
    let folder = folder();
    let store = open(folder.path());
    let mark = |number: u8, version: u8| format!("visitor-{number:03}-{version}.");
    let text = |number: u8, version: u8, times: usize| mark(number, version).repeat(1 + times * 37 % 400);
    for number in 0..200 {
        let new = held(number, "acme");
        add(&store, NewEntry { reading: reading(&text(number, 0, usize::from(number))), ..new }).await;
    }
    // Rows that grow and shrink move their neighbours about.
    for number in (0_u8..200).step_by(3) {
        let mended = text(number, 1, usize::from(number) * 7);
        let change = Change::Hold { reason: Reason::Invalid, reading: Box::new(reading(&mended)) };
        assert!(store.amend(id(number), 1, change, at(1_000)).await.expect("amended").is_done());
    }
    let (erased, kept): (Vec<u8>, Vec<u8>) = (0..200).partition(|number| number % 5 != 0);
    for some in erased.chunks(7) {
        let ids: Vec<_> = some.iter().map(|number| id(*number)).collect();
        assert_eq!(store.erase(&ids).await.expect("erased"), ids.len());
    }
    let bytes: Vec<u8> = files(folder.path()).iter().flat_map(|file| fs::read(file).expect("read")).collect();
    let bytes = String::from_utf8_lossy(&bytes);
    let found = |mark: &str| bytes.contains(mark);
    for number in erased {
        assert!(!found(&format!("visitor-{number:03}")), "{number}");
    }
    for number in kept {
        let version = u8::from(number % 3 == 0);
        assert!(found(&mark(number, version)), "{number}");
        assert_eq!(version == 1, !found(&mark(number, 0)), "{number}");
    }
    assert_eq!(store.scan(&Filter::default(), Order::Oldest, None, 100).await.expect("scanned").heads.len(), 40);
}

/// Appends entries at once, so that they share segments.
async fn append_at_once(store: &Arc<SqliteStore>, entries: Vec<NewEntry>) {
    let mut tasks = JoinSet::new();
    for entry in entries {
        let store = Arc::clone(store);
        tasks.spawn(async move { store.append(entry, None).await });
    }
    while let Some(appended) = tasks.join_next().await {
        assert!(matches!(appended.expect("no panic"), Ok(Appended::New(_))));
    }
}

fn sent(number: u8) -> String {
    format!("sent-{number:03}.").repeat(1 + usize::from(number) * 31 % 700)
}

fn said(number: u8, version: u8) -> String {
    format!("visitor-{number:03}-{version}.").repeat(1 + usize::from(number) % 50)
}

/// Tells whether something is in the database or its log.
fn holds(folder: &Path, mark: &str) -> bool {
    let holds = |name: &str| String::from_utf8_lossy(&fs::read(folder.join(name)).expect("read")).contains(mark);
    holds("store.db") || holds("store.db-wal")
}

/// Removes entries, by erasing them or by letting their time end; what is left in the log goes with the next erasure.
async fn remove(store: &SqliteStore, ids: &[EntryId], expires: bool) {
    if !expires {
        assert_eq!(store.erase(ids).await.expect("erased"), ids.len());
        return;
    }
    for id in ids {
        let revision = head_of(store, *id).await.revision;
        let drop = Change::Drop { keep: Duration::ZERO };
        assert!(store.amend(*id, revision, drop, at(2_000)).await.expect("amended").is_done());
    }
    assert_eq!(store.expire(at(2_000), 1_000).await.expect("expired"), ids.len());
}

#[tokio::test]
async fn what_is_removed_from_among_others_is_in_no_file_and_the_others_stay_whole() {
    let folder = folder();
    let store = Arc::new(open(folder.path()));
    let new = |number: u8| {
        let new = with_body(&sent(number), held(number, "acme"));
        NewEntry { reading: reading(&said(number, 0)), keep: Some(KEEP), ..new }
    };
    append_at_once(&store, (0..200).map(new).collect()).await;
    let count = |table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        other(folder.path()).query_row(&count, [], |row| row.get::<_, u32>(0)).expect("counted")
    };
    assert!(count("content") < 60, "{}", count("content"));
    let mut left: Vec<u8> = (0..200).collect();
    let mut amended = Vec::new();
    // From all over, down to the last of each segment.
    for round in 0..20 {
        let (gone, stays): (Vec<u8>, _) = left.iter().partition(|number| usize::from(**number) * 7 % 20 == round);
        left = stays;
        remove(&store, &gone.iter().copied().map(id).collect::<Vec<_>>(), round % 3 == 2).await;
        // An erasure empties the log, also of what expired before.
        if round % 3 == 0 {
            for number in gone {
                let sent = format!("sent-{number:03}");
                let said = format!("visitor-{number:03}");
                assert!(!holds(folder.path(), &sent) && !holds(folder.path(), &said), "{number} in round {round}");
            }
        }
        if let Some(number) = left.get(round).filter(|number| !amended.contains(*number)).copied() {
            let change = Change::Hold { reason: Reason::Invalid, reading: Box::new(reading(&said(number, 1))) };
            assert!(store.amend(id(number), 1, change, at(1_000)).await.expect("amended").is_done());
            amended.push(number);
        }
        for number in left.iter().step_by(5) {
            let entry = entry_of(&*store, id(*number)).await;
            let version = u8::from(amended.contains(number));
            assert_eq!(entry.head.reading, reading(&said(*number, version)), "{number} in round {round}");
            assert_eq!(entry.received.body, sent(*number), "{number} in round {round}");
        }
    }
    assert_eq!((left.len(), count("content"), count("reading")), (0, 0, 0));
    assert_eq!(store.erase(&[id(1)]).await.expect("emptied"), 0);
    assert!(!holds(folder.path(), "sent-") && !holds(folder.path(), "visitor-"));
}
