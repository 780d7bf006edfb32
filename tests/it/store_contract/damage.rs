//! Damaged files: set aside when the store is opened, salvaged on request; and damage that is met later.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use formgate::lead::EntryId;
use formgate::queue::sqlite::SqliteStore;
use formgate::queue::{
    Appended, AttemptResult, Change, DedupeKey, Entry, Filter, NewEntry, Order, Reason, Salvaged, State, Store,
    StoreError,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::durability::{as_killed, files, folder};
use super::{KEEP, add, again, at, claim, claim_one, delivered, entry, entry_of, head_of, held, id, open, with_body};

const PAGE: usize = 4_096;
/// What the tests' stores call a file that is set aside: they all open at the beginning of time.
const ASIDE: &str = "store.db.corrupt-20251009T085320Z";

/// Fills a store with entries in every state, large and small; the last is leased.
async fn fill(store: &SqliteStore, entries: u8) {
    for number in 0..entries {
        let text = format!("visitor {number} {}", "x".repeat(usize::from(number) % 5 * 2_200));
        let new = if number % 4 == 1 { held(number, "acme") } else { entry(number, "acme") };
        let key = (number % 3 == 0).then_some(DedupeKey([number; 32]));
        let appended = store.append(with_body(&text, new), key).await.expect("appended");
        assert_eq!(appended, Appended::New(id(number)));
    }
    for (number, lease) in claim(store, 6, 300).await.into_iter().enumerate() {
        let settlement = if number % 2 == 0 { delivered("lead") } else { again(1_000) };
        assert!(store.settle(&lease, settlement, at(301)).await.expect("settled").is_done());
    }
    assert!(store.amend(id(1), 1, Change::Drop { keep: KEEP }, at(302)).await.expect("amended").is_done());
    claim_one(store, 303).await;
}

async fn all(store: &dyn Store) -> BTreeMap<EntryId, Entry> {
    let page = store.scan(&Filter::default(), Order::Oldest, None, 1_000).await.expect("scanned");
    let mut entries = BTreeMap::new();
    for head in page.heads {
        entries.insert(head.id, entry_of(store, head.id).await);
    }
    entries
}

/// Returns a closed store's folder, and what it holds once it is opened: with no lease.
async fn filled(entries: u8) -> (TempDir, BTreeMap<EntryId, Entry>) {
    let folder = folder();
    fill(&open(folder.path()), entries).await;
    let expected = all(&open(folder.path())).await;
    (folder, expected)
}

fn overwrite(file: &Path, pages: std::ops::Range<usize>, with: u8) {
    let mut bytes = fs::read(file).expect("read");
    bytes[pages.start * PAGE..pages.end * PAGE].fill(with);
    fs::write(file, bytes).expect("written");
}

/// Tells whether a store says that this was set aside; it takes entries all the same.
async fn is_set_aside(store: &SqliteStore, name: &str) -> bool {
    assert!(store.ready().await.is_ok());
    let problems = store.problems().await.expect("read");
    matches!(&problems[..], [StoreError::SetAside { file }] if file.file_name().is_some_and(|file| file == name))
}

fn names(folder: &Path) -> Vec<String> {
    let name = |file: &PathBuf| file.file_name().expect("a name").to_string_lossy().into_owned();
    let mut names: Vec<_> = files(folder).iter().map(name).collect();
    names.sort();
    names
}

/// Puts a damaged store beside a new one, as if it had been set aside.
fn beside_a_new_store(damaged: &Path) -> (TempDir, SqliteStore) {
    let folder = folder();
    for part in ["", "-wal"] {
        let from = damaged.join(format!("store.db{part}"));
        if from.exists() {
            fs::copy(from, folder.path().join(format!("{ASIDE}{part}"))).expect("copied");
        }
    }
    let store = open(folder.path());
    (folder, store)
}

#[tokio::test]
async fn a_store_without_its_header_is_set_aside_and_salvaged_whole() {
    let (folder, expected) = filled(40).await;
    overwrite(&folder.path().join("store.db"), 0..1, 0xff);
    let store = open(folder.path());
    assert!(is_set_aside(&store, ASIDE).await);
    assert_eq!(all(&store).await, BTreeMap::new());

    // The new one is as good as any, and the state outlives a restart.
    add(&store, entry(200, "acme")).await;
    assert_eq!(claim_one(&store, 400).await.head.id, id(200));
    drop(store);
    let store = open(folder.path());
    assert!(is_set_aside(&store, ASIDE).await);

    let salvaged = store.salvage().await.expect("salvaged");
    assert_eq!((salvaged.recovered, salvaged.present, &*salvaged.unreadable), (40, 0, &[][..]));
    let aside = folder.path().canonicalize().expect("there").join("store.db.salvaged-20251009T085320Z");
    assert_eq!(salvaged.files, std::slice::from_ref(&aside));
    assert!(aside.exists());
    assert!(store.problems().await.expect("read").is_empty());
    let mut found = all(&store).await;
    assert!(found.remove(&id(200)).is_some());
    assert_eq!(found, expected);
    assert_eq!(store.salvage().await.expect("salvaged"), Salvaged::default());
    let counts: u64 = store.counts().await.expect("counted").iter().map(|counts| counts.entries).sum();
    assert_eq!(counts, 41);
}

/// Returns each page's number, what it belongs to, its kind, and how many rows or entries it has.
fn pages_of(file: &Path) -> Vec<(usize, String, String, usize)> {
    let connection = Connection::open(file).expect("opened");
    let mut pages =
        connection.prepare("SELECT pageno, name, pagetype, ncell FROM dbstat ORDER BY pageno").expect("measured");
    let number = |row: &rusqlite::Row<'_>, column| row.get::<_, u32>(column).map(|number| number as usize);
    let pages = pages.query_map([], |row| Ok((number(row, 0)?, row.get(1)?, row.get(2)?, number(row, 3)?)));
    pages.expect("measured").map(|row| row.expect("measured")).collect()
}

#[tokio::test]
async fn whatever_page_is_lost_every_entry_on_the_others_comes_back() {
    let (folder, expected) = filled(150).await;
    let file = folder.path().join("store.db");
    let pages = pages_of(&file);
    assert!(pages.iter().any(|(_, name, kind, _)| name == "entry" && kind == "internal"), "{pages:?}");
    let (mut tried, mut held) = (BTreeMap::<_, usize>::new(), 0);
    for (page, name, kind, cells) in pages {
        // Three of each kind say it all.
        let times = tried.entry((name.clone(), kind.clone())).or_default();
        *times += 1;
        if *times > 3 {
            continue;
        }
        let damaged = as_killed(folder.path());
        overwrite(&damaged.path().join("store.db"), page - 1..page, 0x5a);
        let (_folder, store) = beside_a_new_store(damaged.path());
        let salvaged = store.salvage().await.expect("salvaged");
        let found = all(&store).await;
        assert_eq!(found.len() as u64, salvaged.recovered, "page {page} of {name}, {kind}");
        let lost = if name == "content" && kind == "leaf" { cells } else { usize::from(kind == "overflow") };
        assert_eq!(expected.len() - found.len(), lost, "page {page} of {name}, {kind}");
        // Of what lost its own row, the content came back: held, or as it arrived.
        let changed: Vec<_> = found.values().filter(|entry| expected.get(&entry.head.id) != Some(entry)).collect();
        assert!(changed.len() <= if name == "entry" && kind == "leaf" { cells } else { 0 }, "page {page} of {name}");
        held += changed.iter().filter(|entry| entry.head.reason == Reason::Salvaged).count();
        for entry in changed {
            let arrived = entry.head.history.len() == 1 && entry.head.attempts == 0;
            assert!(entry.head.reason == Reason::Salvaged && entry.head.state == State::Held || arrived, "{entry:?}");
            assert_eq!(Some(&entry.head.reading), expected.get(&entry.head.id).map(|entry| &entry.head.reading));
            assert_eq!(Some(&entry.head.site), expected.get(&entry.head.id).map(|entry| &entry.head.site));
        }
        let told = &salvaged.unreadable;
        assert_eq!(told.is_empty(), page == 1, "{told:?}");
        assert!(!told.iter().any(|line| line.contains("visitor") || line.contains("jane")), "{told:?}");
    }
    assert!(held > 5, "{held}");
}

#[tokio::test]
async fn of_a_truncated_store_what_is_left_comes_back() {
    let (folder, expected) = filled(150).await;
    let file = folder.path().join("store.db");
    let len = fs::metadata(&file).expect("there").len();
    let mut recovered = Vec::new();
    for eighths in [7, 5, 3] {
        let damaged = as_killed(folder.path());
        let cut = fs::OpenOptions::new().write(true).open(damaged.path().join("store.db")).expect("opened");
        cut.set_len(len * eighths / 8 + 77).expect("cut");
        let store = open(damaged.path());
        assert!(is_set_aside(&store, ASIDE).await);
        let salvaged = store.salvage().await.expect("salvaged");
        let found = all(&store).await;
        let same =
            |(id, entry): (_, &Entry)| expected.get(id).is_some_and(|known| known.head.reading == entry.head.reading);
        assert!(found.iter().all(same));
        assert_eq!(found.len() as u64, salvaged.recovered);
        recovered.push(found.len());
    }
    assert!(recovered.is_sorted_by(|more, less| more > less), "{recovered:?}");
    assert!(recovered[2] >= 1, "{recovered:?}");
}

#[tokio::test]
async fn a_store_with_damaged_pages_in_its_middle_is_set_aside() {
    let (folder, expected) = filled(40).await;
    let file = folder.path().join("store.db");
    let pages = usize::try_from(fs::metadata(&file).expect("there").len()).expect("small") / PAGE;
    overwrite(&file, pages / 2..pages / 2 + 5, 0x5a);
    let store = open(folder.path());
    assert!(is_set_aside(&store, ASIDE).await);
    let salvaged = store.salvage().await.expect("salvaged");
    assert!((20..40).contains(&salvaged.recovered), "{salvaged:?}");
    assert!(all(&store).await.iter().all(|(id, entry)| expected.get(id) == Some(entry)));
}

#[tokio::test]
async fn a_log_is_salvaged_with_its_database_or_alone() {
    let folder = folder();
    let store = open(folder.path());
    fill(&store, 40).await;
    let killed = as_killed(folder.path());
    let expected = all(&open(as_killed(killed.path()).path())).await;
    let (_folder, whole) = beside_a_new_store(killed.path());
    assert_eq!(whole.salvage().await.expect("salvaged").unreadable, [""; 0]);
    assert_eq!(all(&whole).await, expected);

    // SQLite would remove a log that it finds alone.
    fs::remove_file(killed.path().join("store.db")).expect("removed");
    let store = open(killed.path());
    assert!(is_set_aside(&store, ASIDE).await);
    assert_eq!(store.salvage().await.expect("salvaged").recovered, 40);
    assert_eq!(all(&store).await, expected);
}

#[tokio::test]
async fn a_damaged_page_of_the_log_costs_what_is_on_it_alone() {
    let folder = folder();
    let store = open(folder.path());
    fill(&store, 40).await;
    let killed = as_killed(folder.path());
    let expected = all(&open(as_killed(killed.path()).path())).await;
    let log = killed.path().join("store.db-wal");
    let mut bytes = fs::read(&log).expect("read");
    // One that only the large content of one entry is on.
    let frames = bytes.len() / (PAGE + 24);
    let only_x = |frame: &usize| bytes[32 + frame * (PAGE + 24) + 24..][..PAGE][4..].iter().all(|byte| *byte == b'x');
    let frame = (0..frames).find(only_x).expect("a page of content");
    bytes[32 + frame * (PAGE + 24) + 24 + 100] = b'y';
    fs::write(&log, bytes).expect("written");
    let (_folder, store) = beside_a_new_store(killed.path());
    let salvaged = store.salvage().await.expect("salvaged");
    assert_eq!(salvaged.recovered, 39, "{salvaged:?}");
    assert!(salvaged.unreadable[0].ends_with(": 1 pages of the log"), "{salvaged:?}");
    assert!(all(&store).await.iter().all(|(id, entry)| expected.get(id) == Some(entry)));
}

#[tokio::test]
async fn a_file_of_nonsense_is_set_aside_as_it_was() {
    let folder = folder();
    let letter = "a letter to a friend, longer than a header".repeat(900);
    fs::write(folder.path().join("store.db"), &letter).expect("written");
    let store = open(folder.path());
    assert!(is_set_aside(&store, ASIDE).await);
    assert_eq!(fs::read_to_string(folder.path().join(ASIDE)).expect("kept"), letter);
    let salvaged = store.salvage().await.expect("salvaged");
    assert_eq!((salvaged.recovered, salvaged.unreadable.len()), (0, 1), "{salvaged:?}");
    assert!(store.problems().await.expect("read").is_empty());
    add(&store, entry(1, "acme")).await;
}

#[tokio::test]
async fn two_files_of_one_second_are_kept_apart_and_the_newer_state_stays() {
    let (folder, _) = filled(9).await;
    overwrite(&folder.path().join("store.db"), 0..1, 0);
    let store = open(folder.path());
    assert_eq!(store.salvage().await.expect("salvaged").recovered, 9);
    let lease = claim_one(&store, 400).await;
    assert!(store.settle(&lease, delivered("late"), at(401)).await.expect("settled").is_done());
    drop(store);
    let back = |name: &str| fs::rename(folder.path().join(name), folder.path().join(ASIDE)).expect("renamed");
    back("store.db.salvaged-20251009T085320Z");
    overwrite(&folder.path().join("store.db"), 0..1, 0);
    let store = open(folder.path());
    assert!(is_set_aside(&store, &format!("{ASIDE}-2")).await);
    let salvaged = store.salvage().await.expect("salvaged");
    assert_eq!((salvaged.files.len(), salvaged.recovered, salvaged.present), (2, 9, 9));
    let found = head_of(&store, lease.head.id).await;
    assert_eq!((found.state, found.lead_id.as_deref()), (State::Delivered, Some("late")));
}

#[tokio::test]
async fn what_was_leased_comes_back_due_and_keys_are_remembered() {
    let folder = folder();
    let store = open(folder.path());
    let key = DedupeKey([7; 32]);
    assert_eq!(store.append(entry(1, "acme"), Some(key)).await.expect("appended"), Appended::New(id(1)));
    assert_eq!(claim_one(&store, 100).await.head.id, id(1));
    let (_folder, store) = beside_a_new_store(as_killed(folder.path()).path());
    assert_eq!(store.salvage().await.expect("salvaged").recovered, 1);
    let found = head_of(&store, id(1)).await;
    assert_eq!((found.state, found.attempts, found.due_at), (State::Queued, 1, Some(at(100))));
    let last = found.history.last().and_then(|event| event.attempt.as_ref()).expect("an attempt");
    assert_eq!(last.result, AttemptResult::Ambiguous);
    let again = NewEntry { accepted_at: at(200), ..entry(2, "acme") };
    assert_eq!(store.append(again, Some(key)).await.expect("appended"), Appended::Duplicate(id(1)));
    assert_eq!(claim_one(&store, 300).await.head.attempts, 2);
}

#[tokio::test]
async fn an_entry_posted_since_keeps_its_key() {
    let folder = folder();
    let store = open(folder.path());
    let key = DedupeKey([7; 32]);
    assert!(store.append(entry(1, "acme"), Some(key)).await.is_ok());
    let (_folder, store) = beside_a_new_store(as_killed(folder.path()).path());
    assert_eq!(store.append(entry(2, "acme"), Some(key)).await.expect("appended"), Appended::New(id(2)));
    assert_eq!(store.salvage().await.expect("salvaged").recovered, 1);
    assert_eq!(store.append(entry(3, "acme"), Some(key)).await.expect("appended"), Appended::Duplicate(id(2)));
}

#[tokio::test]
async fn an_erasure_says_that_a_file_set_aside_may_hold_the_bytes() {
    let (folder, _) = filled(9).await;
    overwrite(&folder.path().join("store.db"), 0..1, 0);
    let store = open(folder.path());
    assert_eq!(store.salvage().await.expect("salvaged").recovered, 9);
    let refused = store.erase(&[id(3)]).await.expect_err("bytes remain");
    assert!(matches!(refused, StoreError::Remains { .. }), "{refused:?}");
    assert!(refused.to_string().contains("store.db.salvaged-"), "{refused}");
    assert_eq!(store.get(id(3)).await.expect("read"), None);
    fs::remove_file(folder.path().join("store.db.salvaged-20251009T085320Z")).expect("removed");
    assert_eq!(store.erase(&[id(4)]).await.expect("erased"), 1);
}

#[tokio::test]
async fn damage_met_later_costs_the_entries_on_it_and_is_set_aside_at_the_next_start() {
    let (folder, expected) = filled(150).await;
    let store = open(folder.path());
    let file = folder.path().join("store.db");
    let page: u32 = Connection::open(&file)
        .expect("opened")
        .query_row(
            "SELECT pageno FROM dbstat WHERE name = 'entry' AND pagetype = 'leaf' ORDER BY pageno DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .expect("measured");
    drop(store);
    let store = open(folder.path());
    overwrite(&file, page as usize - 1..page as usize, 0x5a);
    let mut readable = Vec::new();
    for id in expected.keys() {
        match store.get(*id).await {
            Ok(found) => readable.extend(found.map(|entry| entry.head.id)),
            Err(error) => assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}"),
        }
    }
    assert!((5..150).contains(&readable.len()), "{readable:?}");
    let problems = store.problems().await.expect("read");
    assert!(matches!(problems[..], [StoreError::Corrupt(_)]), "{problems:?}");
    assert!(names(folder.path()).contains(&"store.db.damaged".to_owned()));

    drop(store);

    let store = open(folder.path());
    assert!(is_set_aside(&store, ASIDE).await);
    assert!(!names(folder.path()).contains(&"store.db.damaged".to_owned()));
    assert_eq!(store.salvage().await.expect("salvaged").recovered, 150);
}
