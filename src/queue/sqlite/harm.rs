//! What damage that no checksum of SQLite's tells may cost: the entry it lies on, and no other.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use super::adopt::Kept;
use super::arrival::Arrival;
use super::salvage::merge;
use super::segment::record_of;
use super::writer::Workspace;
use super::{Options, SqliteStore};
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::standing::Standing;
use crate::queue::{Appended, Claim, DedupeKey, Filter, NewEntry, Order, Reading, Reason, State, Store, StoreError};
use crate::received::Received;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn id(number: u8) -> EntryId {
    EntryId::new(u64::from(number), &[number; 10])
}

fn new(number: u8, site: &str, len: usize) -> NewEntry {
    NewEntry {
        id: id(number),
        site: SiteId::parse(site).expect("a slug"),
        form: FormId::parse("contact").expect("a slug"),
        state: State::Queued,
        reason: Reason::Accepted,
        accepted_at: at(0),
        keep: None,
        reading: Reading::default(),
        received: Received { body: vec![number; len].into(), ..Received::default() },
    }
}

fn kept(new: NewEntry) -> Kept {
    let standing = Standing::new(&new);
    let arrival = Arrival::new(&new, &standing, None);
    let record = record_of(&arrival, &new.reading, &new.received).expect("a record");
    let NewEntry { id, site, form, .. } = new;
    Kept { id, site, form, accepted_at: new.accepted_at.as_millisecond(), seen: 0, key: None, standing, record }
}

fn open(folder: &Path) -> SqliteStore {
    let options = Options { dedupe_window: Duration::from_secs(600), max_size: None, opened_at: at(0) };
    SqliteStore::open(&folder.join("store.db"), options).expect("opened")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

async fn append(store: &SqliteStore, entries: impl IntoIterator<Item = NewEntry>) {
    for entry in entries {
        assert!(matches!(store.append(entry, None).await, Ok(Appended::New(_))));
    }
}

async fn run(store: &SqliteStore, sql: &'static str) {
    let run = move |workspace: &mut Workspace| {
        workspace.recent.clear();
        Ok(workspace.connection.execute(sql, [])?)
    };
    assert!(store.writer.write(run).await.expect("changed") > 0);
}

async fn salvage(store: &SqliteStore, entries: Vec<Kept>) -> u64 {
    store.writer.write(move |workspace| merge(workspace, &entries)).await.expect("merged").recovered
}

async fn body(store: &SqliteStore, number: u8) -> Option<Vec<u8>> {
    store.get(id(number)).await.expect("read").map(|entry| entry.received.body.to_vec())
}

async fn claim(store: &SqliteStore) -> Vec<EntryId> {
    let leases = store.claim(&Claim::new(256, Duration::from_secs(60), at(0))).await.expect("claimed");
    leases.into_iter().map(|lease| lease.head.id).collect()
}

#[tokio::test]
async fn a_row_that_is_refused_takes_nothing_of_others_along() {
    let folder = folder();
    let store = open(folder.path());
    append(&store, [new(1, "acme", 10)]).await;
    // As one flipped bit makes it; its segment has no room beside the one before, nor has the store its site.
    let mut bad = kept(new(3, "beta", 40_000));
    bad.standing.due_at = None;
    let batch = vec![kept(new(2, "acme", 40_000)), bad, kept(new(4, "beta", 10))];
    assert_eq!(salvage(&store, batch).await, 2);
    for (number, len) in [(1, 10), (2, 40_000), (4, 10)] {
        assert_eq!(body(&store, number).await, Some(vec![number; len]));
    }
    append(&store, [new(5, "other", 10)]).await;
    assert_eq!(store.get(id(4)).await.expect("read").expect("there").head.site.as_str(), "beta");
}

#[tokio::test]
async fn a_lost_segment_gives_nobody_another_s_record() {
    let folder = folder();
    let store = open(folder.path());
    append(&store, (1..4).map(|number| new(number, "acme", 10))).await;
    run(&store, "DELETE FROM content WHERE number = 2").await;
    assert!(matches!(store.get(id(2)).await, Err(StoreError::Corrupt(_))));
    assert_eq!(claim(&store).await, [id(1), id(3)]);
    // It goes, and that its bytes could not be found is said.
    assert!(matches!(store.erase(&[id(2)]).await, Err(StoreError::Remains { .. })));
    assert_eq!(store.get(id(2)).await.expect("read"), None);
    assert_eq!(body(&store, 1).await, Some(vec![1; 10]));
}

#[tokio::test]
async fn a_lost_segment_keeps_nobody_from_expiring() {
    let folder = folder();
    let store = open(folder.path());
    let held = |number: u8| NewEntry {
        state: State::Held,
        reason: Reason::HoldRule,
        keep: Some(Duration::from_secs(number.into())),
        ..new(number, "acme", 10)
    };
    append(&store, (1..4).map(held)).await;
    run(&store, "DELETE FROM content WHERE number = 1").await;
    assert_eq!(store.expire(at(100), 10).await.expect("expired"), 3);
}

#[tokio::test]
async fn a_damaged_record_that_is_not_entered_yet_stops_no_other() {
    let times = "CAST(substr(bytes, 1, 33) || x'40' || substr(bytes, 35) AS BLOB) WHERE number = 2";
    let ids = "(SELECT CAST(substr(c.bytes, 1, 17) || substr(d.bytes, 18, 16) || substr(c.bytes, 34) AS BLOB)
        FROM content c, content d WHERE c.number = 2 AND d.number = 1) WHERE number = 2";
    for harm in [times, ids] {
        let folder = folder();
        let killed = self::folder();
        let store = open(folder.path());
        append(&store, (1..4).map(|number| new(number, "acme", 10))).await;
        for name in ["store.db", "store.db-wal"] {
            std::fs::copy(folder.path().join(name), killed.path().join(name)).expect("copied");
        }
        let connection = Connection::open(killed.path().join("store.db")).expect("opened");
        assert_eq!(connection.execute(&format!("UPDATE content SET bytes = {harm}"), []).expect("harmed"), 1);
        drop(connection);
        let store = open(killed.path());
        append(&store, [new(5, "acme", 10)]).await;
        assert_eq!(claim(&store).await, [id(1), id(3), id(5)]);
    }
}

#[tokio::test]
async fn a_row_that_is_not_as_it_was_written_is_salvaged_by_its_record() {
    let folder = folder();
    let store = open(folder.path());
    append(&store, (1..4).map(|number| new(number, "acme", 10))).await;
    run(&store, "UPDATE entry SET history = x'0105ff' WHERE number = 2").await;
    drop(store);
    let aside = folder.path().join("store.db.corrupt-20200101T000000Z");
    std::fs::rename(folder.path().join("store.db"), aside).expect("renamed");
    let store = open(folder.path());
    assert_eq!(store.salvage().await.expect("salvaged").recovered, 3);
    let entry = store.get(id(2)).await.expect("read").expect("there");
    assert_eq!((entry.head.state, entry.head.reason), (State::Held, Reason::Salvaged));
}

#[tokio::test]
async fn keys_are_remembered_behind_what_was_salvaged() {
    let folder = folder();
    let store = open(folder.path());
    let key = Some(DedupeKey([7; 32]));
    let first = NewEntry { accepted_at: at(1_000_000), ..new(1, "acme", 10) };
    assert!(matches!(store.append(first, key).await, Ok(Appended::New(_))));
    let old = |number, second| kept(NewEntry { accepted_at: at(second), ..new(number, "acme", 10) });
    assert_eq!(salvage(&store, vec![old(2, 100_000), old(3, 200_000)]).await, 2);
    drop(store);
    let store = open(folder.path());
    let again = NewEntry { accepted_at: at(1_000_001), ..new(4, "acme", 10) };
    assert_eq!(store.append(again, key).await.expect("appended"), Appended::Duplicate(id(1)));
}

#[tokio::test]
async fn a_name_or_a_count_that_is_wrong_hides_no_other_site() {
    let folder = folder();
    let store = open(folder.path());
    append(&store, [new(1, "acme", 10), new(2, "beta", 10), new(3, "gamma", 10)]).await;
    run(&store, "UPDATE name SET text = '!!' WHERE text = 'acme'").await;
    drop(store);
    let store = open(folder.path());
    // Else the writer's own counts would be written over it.
    run(&store, "DELETE FROM tally").await;
    drop(store);
    let store = open(folder.path());
    assert_eq!(claim(&store).await, [id(2), id(3)]);
    run(&store, "DELETE FROM name WHERE text = 'beta'").await;
    let page = store.scan(&Filter::default(), Order::Oldest, None, 9).await.expect("scanned");
    assert_eq!((page.heads.len(), page.unreadable), (1, vec![id(1), id(2)]));
}

#[tokio::test]
async fn many_rows_that_cannot_be_leased_keep_no_other_of_the_site_waiting() {
    let folder = folder();
    let store = open(folder.path());
    let many = |number: u64| {
        let random = [&[0; 2][..], &number.to_be_bytes()].concat();
        kept(NewEntry { id: EntryId::new(number, random.first_chunk().expect("10 bytes")), ..new(1, "acme", 10) })
    };
    assert_eq!(salvage(&store, (1..=257).map(many).collect()).await, 257);
    (1..=256).for_each(|number| store.damage.note_row(number));
    assert_eq!(claim(&store).await.len(), 1);
}

#[tokio::test]
async fn what_expired_is_not_left_in_the_log() {
    let folder = folder();
    let store = open(folder.path());
    let received = Received { body: "jane@example.com".into(), ..Received::default() };
    let keep = Some(Duration::from_secs(1));
    let held = NewEntry { state: State::Held, reason: Reason::HoldRule, keep, received, ..new(1, "acme", 0) };
    append(&store, [held]).await;
    assert_eq!(store.expire(at(100), 10).await.expect("expired"), 1);
    for name in ["store.db", "store.db-wal"] {
        let bytes = std::fs::read(folder.path().join(name)).expect("read");
        assert!(!bytes.windows(16).any(|some| some == b"jane@example.com"), "{name}");
    }
}

#[tokio::test]
async fn damage_where_entries_are_entered_stops_no_append() {
    for table in ["entry", "entry_id", "entry_due"] {
        let folder = folder();
        let store = open(folder.path());
        append(&store, (0..200).map(|number| new(number, "acme", 10))).await;
        assert_eq!(store.counts().await.expect("counted").len(), 1);
        let find = move |workspace: &mut Workspace| {
            let last = "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path DESC LIMIT 1";
            Ok(workspace.connection.query_row(last, [table], |row| row.get::<_, u32>(0))?)
        };
        let page = store.writer.write_and_truncate(find).await.expect("found");
        let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("store.db")).expect("opened");
        let place = u64::from(page - 1) * 4_096;
        std::os::unix::fs::FileExt::write_all_at(&file, &[0x5a; 4_096], place).expect("written");
        let forget = |workspace: &mut Workspace| Ok(workspace.connection.execute_batch("PRAGMA shrink_memory")?);
        store.writer.write(forget).await.expect("done");
        append(&store, [new(210, "acme", 10)]).await;
        drop(store.claim(&Claim::new(9, Duration::from_secs(60), at(0))).await);
        for number in 211..215 {
            let appended = store.append(new(number, "acme", 10), None).await;
            assert!(matches!(appended, Ok(Appended::New(_))), "{table}: {appended:?}");
        }
        assert!(store.ready().await.is_ok(), "{table}");
    }
}
