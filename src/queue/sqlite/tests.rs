use tokio::task::JoinSet;

use super::schema::PAGE_SIZE;
use super::*;
use crate::lead::FormId;
use crate::queue::{Quota, Reading, Reason, State};
use crate::received::Received;

pub(super) fn entry(number: u8, body_len: usize) -> NewEntry {
    let received = Received { body: vec![number; body_len].into(), ..Received::default() };
    NewEntry {
        id: EntryId::new(u64::from(number), &[number; 10]),
        site: SiteId::parse("acme").expect("a slug"),
        form: FormId::parse("contact").expect("a slug"),
        state: State::Queued,
        reason: Reason::Accepted,
        accepted_at: Timestamp::UNIX_EPOCH,
        keep: None,
        reading: Reading::default(),
        received,
    }
}

pub(super) fn store() -> (tempfile::TempDir, Arc<SqliteStore>) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { dedupe_window: Duration::from_secs(10), max_size: None, opened_at: Timestamp::UNIX_EPOCH };
    let store = SqliteStore::open(&folder.path().join("store.db"), options).expect("opened");
    (folder, Arc::new(store))
}

/// Reads one number out of the tables.
pub(super) async fn number(store: &SqliteStore, sql: &'static str) -> u32 {
    let read = move |workspace: &mut Workspace| Ok(workspace.connection.query_row(sql, [], |row| row.get(0))?);
    store.writer.write(read).await.expect("read")
}

/// Writes over the last page of the table of entries.
pub(super) async fn damage_last_entries(folder: &Path, store: &SqliteStore) {
    let page = "SELECT max(pageno) FROM dbstat WHERE name = 'entry' AND pagetype = 'leaf'";
    let page = number(store, page).await;
    assert_eq!(store.writer.write_and_truncate(|_| Ok(1)).await.expect("done"), 1);
    let file = std::fs::OpenOptions::new().write(true).open(folder.join("store.db")).expect("opened");
    let damage = vec![0x5a; PAGE_SIZE];
    std::os::unix::fs::FileExt::write_all_at(&file, &damage, u64::from(page - 1) * PAGE_SIZE as u64).expect("written");
    let forget = |workspace: &mut Workspace| Ok(workspace.connection.execute_batch("PRAGMA shrink_memory")?);
    store.writer.write(forget).await.expect("done");
}

async fn set_pages_max(store: &SqliteStore, over: u32) {
    let set = move |workspace: &mut Workspace| {
        let connection = &workspace.connection;
        let pages: u32 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        connection.pragma_update_and_check(None, "max_page_count", pages + over, |_| Ok(()))?;
        Ok(())
    };
    store.writer.write(set).await.expect("set");
}

#[tokio::test]
async fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let (_folder, store) = store();
    set_pages_max(&store, 30).await;
    let mut appends = JoinSet::new();
    for number in 0..40 {
        let store = Arc::clone(&store);
        let new = entry(number, if number % 4 == 3 { 200_000 } else { 100 });
        appends.spawn(async move { (new.id, number, store.append(new, None).await) });
    }
    let mut stored = 0;
    for (id, number, appended) in appends.join_all().await {
        let found = store.get(id).await.expect("read").is_some();
        assert!(
            matches!(&appended, Ok(Appended::New(_)) if found)
                || matches!(&appended, Err(StoreError::DiskFull) if !found)
        );
        assert!(appended.is_err() || number % 4 != 3, "{number}");
        stored += usize::from(found);
    }
    assert!((10..30).contains(&stored), "{stored}");
    // A little still fits, but not what an append wanted.
    assert!(matches!(store.ready().await, Err(StoreError::DiskFull)));
    set_pages_max(&store, 1_000).await;
    assert!(store.ready().await.is_ok());
    assert_eq!(number(&store, "SELECT count(*) FROM content WHERE number < 0").await, 0);
    assert!(store.append(entry(99, 200_000), None).await.is_ok());
}

#[tokio::test]
async fn a_store_without_room_for_what_it_refused_is_not_ready() {
    let (_folder, store) = store();
    set_pages_max(&store, 30).await;
    assert!(store.ready().await.is_ok());
    assert!(matches!(store.append(entry(1, 200_000), None).await, Err(StoreError::DiskFull)));
    assert!(matches!(store.ready().await, Err(StoreError::DiskFull)));
    set_pages_max(&store, 1_000).await;
    assert!(store.ready().await.is_ok());
    assert_eq!(number(&store, "SELECT count(*) FROM content").await, 0);
    assert!(store.append(entry(1, 200_000), None).await.is_ok());
}

/// With SQLite's own wait, which grows to 100 ms, one of these appends took two seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_write_to_one_store_let_each_other_in() {
    const LONGEST: Duration = Duration::from_millis(800);
    let (folder, busy) = store();
    let options = Options { dedupe_window: Duration::ZERO, max_size: None, opened_at: Timestamp::UNIX_EPOCH };
    let other = SqliteStore::open(&folder.path().join("store.db"), options).expect("opened");
    let (began, mut writes) = watch::channel(());
    let mut flood = JoinSet::new();
    for task in 0..16_u64 {
        let busy = Arc::clone(&busy);
        let began = began.clone();
        flood.spawn(async move {
            for number in 0_u64.. {
                let random = (task << 32 | number).to_be_bytes();
                let id = EntryId::new(1_000, &[[0; 2].as_slice(), &random].concat().try_into().expect("10 bytes"));
                assert!(busy.append(NewEntry { id, ..entry(1, 300) }, None).await.is_ok());
                began.send_replace(());
            }
        });
    }
    writes.changed().await.expect("it writes");
    let mut longest = Duration::ZERO;
    for number in 0..100 {
        let asked_at = tokio::time::Instant::now();
        assert!(other.append(entry(number, 300), None).await.is_ok());
        longest = longest.max(asked_at.elapsed());
    }
    flood.shutdown().await;
    assert!(longest < LONGEST, "{longest:?}");
}

#[tokio::test]
async fn a_file_emptied_or_overwritten_in_place_is_noticed() {
    use std::os::unix::fs::FileExt as _;
    let write = |path| std::fs::OpenOptions::new().write(true).open(path).expect("opened");
    for (name, harm) in [
        ("store.db", (|file| file.set_len(0)) as fn(std::fs::File) -> std::io::Result<()>),
        ("store.db-wal", |file| file.write_all_at(&[0xA5; 64], 0)),
    ] {
        let (folder, store) = store();
        assert!(store.append(entry(1, 10), None).await.is_ok());
        harm(write(folder.path().join(name))).expect("harmed");
        for number in 2..4 {
            assert!(matches!(store.append(entry(number, 10), None).await, Err(StoreError::Unavailable(_))), "{name}");
        }
        assert!(store.ready().await.is_err());
    }
}

#[tokio::test]
async fn a_job_that_fails_halfway_is_undone_and_no_other() {
    let (_folder, store) = store();
    // Keeps the writer until the others wait; asked again, it goes on.
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let mut jobs = JoinSet::new();
    let first = Arc::clone(&store);
    let hold_up = move |_: &mut Workspace| Ok(wait.recv().is_err());
    jobs.spawn(async move { first.writer.write(hold_up).await.is_ok() });
    tokio::task::yield_now().await;
    for number in 0..9 {
        let store = Arc::clone(&store);
        let probe = move |workspace: &mut Workspace| {
            let _bytes = change::probe(workspace)?;
            if number == 4 { Err(Failure::Full) } else { Ok(()) }
        };
        jobs.spawn(async move { store.writer.write(probe).await.is_ok() });
    }
    tokio::task::yield_now().await;
    drop(go_on);
    assert_eq!(jobs.join_all().await.into_iter().filter(|ok| *ok).count(), 9);
    let probes = "SELECT value FROM meta WHERE key = 'probes'";
    assert_eq!(number(&store, probes).await, 8);
}

/// A claim at a time, and a commit that fails after it.
async fn claim_in_vain(store: &SqliteStore, now: Timestamp) {
    let claim = Claim { max: 1, lease: Duration::from_secs(60), now, accepted_since: None, quota: Quota::default() };
    let in_vain = move |workspace: &mut Workspace| {
        let leases = claim::claim(workspace, &claim)?;
        // Checked by the commit alone.
        workspace.connection.execute("INSERT INTO child (parent) VALUES (1)", [])?;
        Ok(leases)
    };
    assert!(store.writer.write(in_vain).await.is_err(), "the commit fails");
}

#[tokio::test]
async fn what_a_claim_remembers_is_set_back_with_its_transaction() {
    let (_folder, store) = store();
    let tables = |workspace: &mut Workspace| {
        Ok(workspace.connection.execute_batch(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        )?)
    };
    store.writer.write(tables).await.expect("made");
    let sites = ["acme", "beta", "gamma"].map(|site| SiteId::parse(site).expect("a slug"));
    for (number, site) in (1..).zip(&sites) {
        assert!(store.append(NewEntry { site: site.clone(), ..entry(number, 1) }, None).await.is_ok());
    }
    let at = |seconds| Timestamp::from_second(seconds).expect("a time");
    let claim = async |now| {
        let leases = store.claim(&Claim::new(1, Duration::from_secs(60), at(now))).await.expect("claimed");
        leases.into_iter().next().map(|lease| (lease.head.site.clone(), lease))
    };
    let (site, lease) = claim(10_000).await.expect("one is due");
    assert_eq!(site, sites[0]);
    // The turn of the next site is not lost with its claim.
    claim_in_vain(&store, at(10_001)).await;
    assert_eq!(claim(10_002).await.map(|(site, _)| site), Some(sites[1].clone()));
    // It waits until 10,100; the clock goes back by more than that, and the claim that notices fails.
    let again = Settlement::Postponed { after: Duration::from_secs(90), attempt: None };
    assert!(store.settle(&lease, again, at(10_010)).await.expect("settled").is_done());
    claim_in_vain(&store, at(500)).await;
    assert!(claim(501).await.is_none_or(|(site, _)| site != sites[0]));
    let entry = store.get(lease.head.id).await.expect("read").expect("it is there");
    assert_eq!(entry.head.due_at, Some(at(501 + 90)), "its wait begins anew");
    // One that fails before it has written leaves the transaction to others.
    let fails = move |workspace: &mut Workspace| {
        workspace.memory.clock.went_back(at(100));
        Ok(workspace.connection.execute("UPDATE nothing SET number = 1", [])?)
    };
    assert!(store.writer.write(fails).await.is_err());
    assert!(claim(101).await.is_none_or(|(site, _)| site != sites[0]));
    let entry = store.get(lease.head.id).await.expect("read").expect("it is there");
    assert_eq!(entry.head.due_at, Some(at(101 + 90)), "and again");
}

#[tokio::test]
async fn entries_that_cannot_be_read_keep_no_other_waiting() {
    let (_folder, store) = store();
    let entries = [1, 2, 3].map(|number| entry(number, 10));
    let [first, second, third] = entries.clone().map(|entry| entry.id);
    for entry in entries {
        assert!(store.append(entry, None).await.is_ok());
    }
    let spoil = |workspace: &mut Workspace| {
        let connection = &workspace.connection;
        workspace.recent.clear();
        let jane = b"jane@example.com";
        connection.execute("UPDATE content SET bytes = ?1 WHERE number = 1", [jane])?;
        Ok(connection.execute("UPDATE entry SET history = ?1 WHERE number = 2", [jane])?)
    };
    assert_eq!(store.writer.write(spoil).await.expect("spoilt"), 1);
    for expected in [vec![], vec![], vec![third]] {
        let leases =
            store.claim(&Claim::new(1, Duration::from_secs(60), Timestamp::UNIX_EPOCH)).await.expect("claimed");
        assert_eq!(leases.iter().map(|lease| lease.head.id).collect::<Vec<_>>(), expected);
    }
    let page = store.scan(&Filter::default(), Order::Oldest, None, 9).await.expect("scanned");
    assert_eq!(page.heads.iter().map(|entry| entry.id).collect::<Vec<_>>(), [third]);
    assert_eq!(page.unreadable, [first, second]);
    let page = store.scan(&Filter::default(), Order::Oldest, None, 1).await.expect("scanned");
    assert_eq!((page.heads.len(), &*page.unreadable, page.next), (0, &[first][..], Some(first)));
    let error = store.get(first).await.expect_err("unreadable");
    assert!(matches!(error, StoreError::Corrupt(_)) && !format!("{error:?}").contains("jane"), "{error:?}");
}

#[tokio::test]
async fn rows_on_damaged_pages_keep_no_other_waiting() {
    let (folder, store) = store();
    for number in 0..200 {
        assert!(store.append(entry(number, 10), None).await.is_ok());
    }
    damage_last_entries(folder.path(), &store).await;
    let mut claimed = 0;
    for _ in 0..200 {
        let leases =
            store.claim(&Claim::new(1, Duration::from_secs(60), Timestamp::UNIX_EPOCH)).await.expect("claimed");
        claimed += leases.len();
    }
    assert!((60..199).contains(&claimed), "{claimed}");
    let page = store.scan(&Filter::default(), Order::Oldest, None, 300).await.expect("scanned");
    // Beside a damaged page lie rows that can be read but not written.
    assert!(page.heads.len() >= claimed && page.heads.len() + page.unreadable.len() == 200);
    assert!(matches!(store.problems().await.expect("read")[..], [StoreError::Corrupt(_)]));
    assert!(store.ready().await.is_ok());
    assert!(store.append(entry(250, 10), None).await.is_ok());
}

#[tokio::test]
async fn a_writer_that_panics_ends_the_store_and_leaves_nobody_waiting() {
    let (_folder, store) = store();
    let waiting = (0..9).map(|number| {
        let store = Arc::clone(&store);
        async move {
            if number == 4 {
                store.writer.write(|_| -> Result<(), Failure> { panic!("jane@example.com") }).await.is_err()
            } else {
                // Before the panic or after it; never for ever.
                drop(store.append(entry(number, 10), None).await);
                true
            }
        }
    });
    assert!(JoinSet::from_iter(waiting).join_all().await.into_iter().all(|told| told));
    store.ended().await;
    assert!(matches!(store.append(entry(99, 10), None).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.ready().await, Err(StoreError::Unavailable(_))));
    // What reads goes on: nothing that is stored is out of sight.
    assert!(store.counts().await.is_ok());
}

#[tokio::test]
async fn settlements_of_a_moment_share_a_transaction() {
    const LEADS: u8 = 20;
    let (_folder, store) = store();
    for number in 1..=LEADS {
        assert!(matches!(store.append(entry(number, 10), None).await, Ok(Appended::New(_))));
    }
    let at = Timestamp::UNIX_EPOCH;
    let leases = store.claim(&Claim::new(64, Duration::from_secs(60), at)).await.expect("claimed");
    assert_eq!(leases.len(), usize::from(LEADS));
    let before = store.commits();
    let mut settling = JoinSet::new();
    for lease in leases {
        let store = Arc::clone(&store);
        let settlement = Settlement::Postponed { after: Duration::from_secs(1), attempt: None };
        settling.spawn(async move { store.settle(&lease, settlement, at).await.expect("settled").is_done() });
    }
    while let Some(settled) = settling.join_next().await {
        assert!(settled.expect("no panic"));
    }
    assert_eq!(store.commits(), before + 1);
}

#[tokio::test]
async fn a_settlement_that_waits_is_written_with_what_somebody_waits_for() {
    let (_folder, store) = store();
    assert!(matches!(store.append(entry(1, 10), None).await, Ok(Appended::New(_))));
    let at = Timestamp::UNIX_EPOCH;
    let leases = store.claim(&Claim::new(1, Duration::from_secs(60), at)).await.expect("claimed");
    let lease = leases.into_iter().next().expect("one");
    let before = store.commits();
    let settling = Arc::clone(&store);
    let postponed = Settlement::Postponed { after: Duration::from_secs(1), attempt: None };
    let settled = tokio::spawn(async move { settling.settle(&lease, postponed, at).await });
    tokio::task::yield_now().await;
    assert!(matches!(store.append(entry(2, 10), None).await, Ok(Appended::New(_))));
    assert!(settled.await.expect("no panic").expect("settled").is_done());
    assert_eq!(store.commits(), before + 1);
}

#[test]
fn a_settlement_whose_caller_goes_away_is_written_before_the_store_is_closed() {
    let (folder, store) = store();
    let at = Timestamp::UNIX_EPOCH;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        assert!(matches!(store.append(entry(1, 10), None).await, Ok(Appended::New(_))));
        let leases = store.claim(&Claim::new(1, Duration::from_secs(600), at)).await.expect("claimed");
        let settling = Arc::clone(&store);
        let postponed = Settlement::Postponed { after: Duration::ZERO, attempt: None };
        let task = tokio::spawn(async move { settling.settle(&leases[0], postponed, at).await });
        tokio::task::yield_now().await;
        task.abort();
    });
    drop(runtime);
    drop(Arc::into_inner(store).expect("the only one"));
    let options = Options { dedupe_window: Duration::from_secs(10), max_size: None, opened_at: at };
    let store = SqliteStore::open(&folder.path().join("store.db"), options).expect("opened");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let head = runtime.block_on(store.get(EntryId::new(1, &[1; 10]))).expect("read").expect("there").head;
    assert_eq!((head.attempts, head.history.len()), (0, 1), "it was given back, and no attempt is missed");
}

#[tokio::test]
async fn a_settlement_that_waits_is_told_when_the_writer_panics() {
    let (_folder, store) = store();
    assert!(store.append(entry(1, 10), None).await.is_ok());
    let claim = Claim::new(1, Duration::from_secs(60), Timestamp::UNIX_EPOCH);
    let lease = store.claim(&claim).await.expect("claimed").pop().expect("a lease");
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let busy = Arc::clone(&store);
    let busy = tokio::spawn(async move {
        let work = move |_: &mut Workspace| -> Result<(), Failure> {
            gone.recv().ok();
            panic!("a bug");
        };
        busy.writer.write(work).await.is_err()
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let settling = Arc::clone(&store);
    let settling = tokio::spawn(async move {
        let again = Settlement::Postponed { after: Duration::ZERO, attempt: None };
        settling.settle(&lease, again, Timestamp::UNIX_EPOCH).await.is_err()
    });
    // It has pushed its work, and asked that it be done.
    tokio::time::sleep(Duration::from_millis(50)).await;
    go.send(()).expect("it waits");
    assert!(busy.await.expect("ended"));
    let told = tokio::time::timeout(Duration::from_secs(5), settling).await;
    assert!(told.is_ok_and(|told| told.expect("ended")), "it waits for ever");
}
