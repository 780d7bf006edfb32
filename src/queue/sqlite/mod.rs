//! The store in one SQLite file: durable on one machine, without a service beside it. SQL only here.
//!
//! # Limits
//!
//! One entry's body is at most what SQLite puts into a row (1 GB); the gateway's `max_body` is far below. 1,024 writes
//! wait, further callers wait for a place. One transaction takes 512 of them. `max_size` counts the pages in use of the
//! database, not the log, which is usually below 16 MiB and grows only while a reader holds on to old pages (a backup
//! does). It holds back appends alone: with a full store everything else goes on, and what expires or is erased makes
//! room. After an append found no room, or met damage, `ready` fails until as much as that wanted can be written.
//!
//! # On disk
//!
//! | file | what |
//! |---|---|
//! | `formgate.db` | the tables of `schema`, in pages of 4 KiB |
//! | `formgate.db-wal` | the log: commits that are not yet copied into the database. It belongs to it: never copy or remove one alone |
//! | `formgate.db-shm` | an index of the log; made again when missing |
//! | `formgate.db.lock` | empty; every process that has the store open holds it shared |
//! | `formgate.db.reserve` | nothing but room, given back where the disk is full (see `reserve`) |
//! | `formgate.db.damaged` | empty; damage was met, so the next start looks at every page |
//! | `formgate.db.corrupt-<time>` | a store that was set aside, with a log of its own where it had one |
//! | `formgate.db.replaced-<time>` | a store in whose place a copy was restored |
//! | `formgate.db.former` | a copy of a store that a former version wrote, until a gateway has stopped once as it should |
//! | `formgate.db.salvaged-<time>` | the same after it was salvaged: to be kept or removed as you like |
//!
//! All are made 0600, a missing folder 0700. `content` has what visitors sent, in segments of several entries that lie on
//! pages of their own (see `segment`); `entry` what changes. A lone entry takes 5 KiB or more, one of many 2 KiB.
//!
//! # What is synced when
//!
//! One thread owns the connection that writes. It takes all that waits, does it in one transaction, and commits to the
//! log; the log is synced, and only then is each caller answered (see `syncing`). A claim is answered when it is in the
//! log: a kill keeps it, and the next sync puts it on the disk. An append adds a record to the segment of its
//! transaction; its row of `entry` and the indexes are written later, for many at once (see `arrival`). After the commit the
//! thread looks whether database and log still stand at their paths and look like what they are, because writing into a
//! file that was removed, emptied or overwritten gives no error. At 16 MiB the log is copied into the database, which is
//! synced before the log is written from its beginning again. A new file's name is made durable by fsyncing its folder. So
//! what was answered `Ok` survives a kill, and but for claims, notes and holds a power cut, as far as the disk keeps what it
//! said is synced.
//!
//! An error means that nothing is known to be written: after a failed fsync the entry may turn up after all. `Full`,
//! `DiskFull` and `Unavailable` pass by themselves when there is room or the disk answers again.
//!
//! On a full disk appends are refused. What frees room or records what became of an entry (settling, changing, erasing,
//! expiring) takes the reserve's: its file is removed, and nothing is appended or claimed until it fits again. The log is copied
//! into the database before it is longer than the reserve can make up for.
//!
//! # Recovery
//!
//! SQLite reads the log up to the last whole commit. If no other process has the store open, every lease is left from
//! a dead one: each is released, its attempt recorded as ambiguous, and the entry is due at once. Otherwise leases run
//! out in time. Two processes may share the file during an upgrade; when the new one has changed the schema, the old
//! one writes no more.
//!
//! # Damage
//!
//! A start looks for damage, as far as that is cheap: the header, the schema, the file's length, both ends of each table;
//! of a store up to 32 MiB, or where damage was met before, every page. A damaged store is set aside with its log and a
//! new one begun; `problems` says so until `salvage` has merged back every entry whose own pages are whole. Only a process
//! that is alone with the store does so. A whole database of another program is refused and left alone.
//!
//! Damage met while the store is in use gives `Corrupt` for what lies on it, and `problems` says so until the next start; all
//! other entries are served, and claims pass over what can't be read. SQLite commits no transaction that met damage.
//!
//! A store that is removed or replaced under the running program takes nothing more until the next start. What it held
//! can still be read, so it is copied beside it as a store that was set aside.
//!
//! # Erasing
//!
//! What a visitor sent is overwritten with zeros in the database where it lies (its segment goes with the last of its
//! entries, `secure_delete`), and the log is emptied before `erase` returns; after `expire` and `amend` within a minute or at
//! the next `expire`. Not so what is not the visitor's: ids, times and results of attempts may be left in unused parts of
//! pages, and names of sites and forms stay. Files that were set aside, and the copy of a former version, are not searched:
//! `erase` names one while there are any. The file system and the disk may keep old blocks that no file shows.

mod adopt;

mod append;

mod arrival;

mod aside;

mod backup;

mod change;

mod check;

mod claim;

mod codes;

mod connection;

mod copy_check;

mod failure;

mod files;

mod former;

mod history;

mod holds;

mod job;

mod keys;

mod list;

mod listed;

mod names;

mod notes;

mod opening;

mod outbox;

mod patient;

mod recent;

mod removal;

mod reserve;

mod restore;

mod row;

mod salvage;

mod schema;

mod segment;

mod syncing;

mod tally;

mod workspace;

mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use tokio::sync::{Mutex, watch};

use super::standing::whole_millisecond;
use super::{
    Appended, Change, Claim, Counts, DedupeKey, EXPIRE_MAX, Entry, Extent, Filter, HASTEN_MAX, Lease, NewEntry, Order,
    PAGE_MAX, Page, Set, Settlement, Store, StoreError,
};
use crate::lead::{EntryId, SiteId};
use crate::telemetry;
use append::Prepared;
use connection::Readers;
pub use copy_check::check_copy;
use failure::Failure;
use files::{Identity, Presence};
use removal::Lingering;
use reserve::Reserve;
pub use restore::{Restoration, RestoreError};
use schema::PAGE_SIZE;
use writer::{Tally, Workspace, Writer};

/// Room that `ready` wants to see: a small entry's.
const READY_ROOM: usize = 2 * PAGE_SIZE;

/// How a store is to behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// Within which the same key is a duplicate; zero turns that off.
    pub dedupe_window: Duration,
    /// Bytes of the database beyond which nothing is appended.
    pub max_size: Option<u64>,
    /// When it is opened: part of the name of a damaged file that is set aside.
    pub opened_at: Timestamp,
}

/// Keeps entries in one SQLite file. Dropping it finishes what was begun, which may take a moment.
#[derive(Debug)]
pub struct SqliteStore {
    // Dropped in this order: the lock goes last.
    writer: Writer,
    readers: Arc<Readers>,
    changed: Arc<watch::Sender<u64>>,
    tally: Arc<Tally>,
    damage: Arc<check::Watch>,
    path: PathBuf,
    lingering: Lingering,
    /// Held while files that were set aside are read: once is enough.
    salvaging: Mutex<()>,
    _presence: Presence,
}

impl SqliteStore {
    /// Opens the store, making it where there is none. Blocks: for the disk, and while another process recovers it.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        Ok(Self::open_files(path, options)?)
    }

    fn open_files(path: &Path, options: Options) -> Result<Self, Failure> {
        let path = files::create(path)?;
        let mut presence = Presence::announce(&path)?;
        if presence.is_alone()
            && let Err(error) = restore::remove_interrupted(&path)
        {
            tracing::warn!(%error, "queue.restore_left: remove the folders named `.<store>.restore-…` beside the store");
        }
        let reserve = Reserve::of(&path);
        let connection = opening::open(&path, presence.is_alone(), &reserve, options.opened_at)?;
        presence.share()?;
        let identity = Identity::of(&path)?;
        let damage = Arc::new(check::Watch::new(path.clone()));
        if let Err(error) = reserve.keep() {
            tracing::error!(%error, "queue.no_reserve: there is no room for the reserve, so nothing is appended");
        }
        let workspace = Workspace::new(connection, options, Arc::clone(&damage), reserve);
        let (changed, tally) = (Arc::new(watch::Sender::new(0)), Arc::new(Tally::default()));
        // Nobody knows what a former process left; the first transaction looks, and readers wait for it.
        tally.waiting.store(1, Ordering::Release);
        let writer = Writer::start(workspace, identity, Arc::clone(&changed), Arc::clone(&tally))?;
        let readers = Arc::new(Readers::new(path.clone(), Arc::clone(&damage)));
        Ok(Self {
            writer,
            readers,
            changed,
            tally,
            damage,
            path,
            lingering: Lingering::default(),
            salvaging: Mutex::default(),
            _presence: presence,
        })
    }

    /// Has everything that was appended entered in the books, where readers find it: on a full disk too, since nothing can
    /// be dropped or erased there that is not found.
    async fn enter(&self) -> Result<(), StoreError> {
        if self.tally.waiting.load(Ordering::Acquire) == 0 {
            Ok(())
        } else {
            self.writer.write_always(|_| Ok(())).await
        }
    }

    /// The same for readers that can do without the newest: one must still see what is stored.
    async fn enter_if_possible(&self) {
        if let Err(error) = self.enter().await {
            tracing::warn!(%error, "queue.not_entered: the newest entries are not shown");
        }
    }

    /// Returns how many transactions were committed since the store was opened.
    pub fn commits(&self) -> u64 {
        self.tally.commits.load(Ordering::Relaxed)
    }

    /// Returns how many operations these transactions held; divided by them, the mean batch.
    pub fn operations(&self) -> u64 {
        self.tally.jobs.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError> {
        let mut entry = Prepared::new(entry, dedupe)?;
        self.writer.append(move |workspace| append::append(workspace, &mut entry)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>, StoreError> {
        let claim = claim.cut();
        loop {
            let known = self.damage.rows();
            let within = claim.clone();
            let claimed = self.writer.claim(move |workspace| claim::claim(workspace, &within)).await;
            // SQLite takes back a transaction that met damage; without the damaged rows it may go well.
            if claimed.is_ok() || self.damage.rows() == known {
                return claimed;
            }
        }
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement, now: Timestamp) -> Result<Set, StoreError> {
        let id = lease.head.id;
        let token = lease.token;
        let now = whole_millisecond(now);
        self.writer.write_always_in_time(move |workspace| change::settle(workspace, id, token, &settlement, now)).await
    }

    async fn hasten(&self, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, StoreError> {
        let (site, max, now) = (site.clone(), max.min(HASTEN_MAX), whole_millisecond(now));
        self.writer.write(move |workspace| claim::hasten(workspace, &site, max, now)).await
    }

    async fn get(&self, id: EntryId) -> Result<Option<Entry>, StoreError> {
        let entered = self.enter().await;
        match self.readers.read(move |connection| list::get(connection, id)).await? {
            // Where the disk is full it may be there all the same.
            None => entered.map(|()| None),
            found => Ok(found),
        }
    }

    async fn scan(
        &self,
        filter: &Filter,
        order: Order,
        cursor: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (filter, limit) = (filter.clone(), limit.clamp(1, PAGE_MAX));
        self.enter_if_possible().await;
        let damage = Arc::clone(&self.damage);
        self.readers.read(move |connection| list::scan(connection, &damage, &filter, order, cursor, limit)).await
    }

    async fn amend(&self, id: EntryId, revision: u64, change: Change, now: Timestamp) -> Result<Set, StoreError> {
        let now = whole_millisecond(now);
        let set = self.writer.write_always(move |workspace| change::amend(workspace, id, revision, &change, now)).await;
        self.lingering.note();
        set
    }

    async fn erase(&self, ids: &[EntryId]) -> Result<usize, StoreError> {
        self.erase_all(ids).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.expire_some(whole_millisecond(now), limit.min(EXPIRE_MAX)).await
    }

    async fn counts(&self) -> Result<Vec<Counts>, StoreError> {
        // Asked every few seconds by whoever watches: not worth the reserve.
        if self.tally.waiting.load(Ordering::Acquire) > 0
            && let Err(error) = self.writer.write(|_| Ok(())).await
        {
            tracing::warn!(%error, "queue.not_counted: the newest entries are not counted");
        }
        self.readers.read(list::counts).await
    }

    async fn extent(&self) -> Result<Extent, StoreError> {
        self.readers.read(list::extent).await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let probe = |workspace: &mut Workspace| {
            let room = workspace.missing.max(READY_ROOM);
            append::check_room(workspace, room)?;
            change::probe(workspace)
        };
        // As an append does it: damage among what is entered keeps none from being stored.
        if self.writer.append(probe).await? > 0 {
            self.writer.append(change::end_probe).await?;
        }
        Ok(())
    }

    async fn problems(&self) -> Result<Vec<StoreError>, StoreError> {
        let path = self.path.clone();
        let listed = telemetry::blocking(move || aside::corrupt(&path)).await.map_err(Failure::unavailable)?;
        let aside = listed.map_err(Failure::from)?.into_iter().next();
        let aside = aside.map(|file| StoreError::SetAside { file });
        Ok(aside.into_iter().chain(self.damage.check().err().map(StoreError::from)).collect())
    }

    async fn ended(&self) {
        self.writer.ended().await;
    }
}

#[cfg(test)]
mod harm;

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

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
        let (dedupe_window, opened_at) = (Duration::from_secs(10), Timestamp::UNIX_EPOCH);
        let options = Options { dedupe_window, max_size: None, opened_at };
        let store = SqliteStore::open(&folder.path().join("store.db"), options).expect("opened");
        (folder, Arc::new(store))
    }

    /// Reads one number out of the tables.
    pub(super) async fn number(store: &SqliteStore, sql: &'static str) -> u32 {
        let read = move |workspace: &mut Workspace| Ok(workspace.connection.query_row(sql, [], |row| row.get(0))?);
        store.writer.write(read).await.expect("read")
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
            let (store, new) = (Arc::clone(&store), entry(number, if number % 4 == 3 { 200_000 } else { 100 }));
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
            let (busy, began) = (Arc::clone(&busy), began.clone());
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
                assert!(
                    matches!(store.append(entry(number, 10), None).await, Err(StoreError::Unavailable(_))),
                    "{name}"
                );
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
        let claim =
            Claim { max: 1, lease: Duration::from_secs(60), now, accepted_since: None, quota: Quota::default() };
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
        let page = "SELECT max(pageno) FROM dbstat WHERE name = 'entry' AND pagetype = 'leaf'";
        let page = number(&store, page).await;
        assert_eq!(store.writer.write_and_truncate(|_| Ok(1)).await.expect("done"), 1);
        let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("store.db")).expect("opened");
        let damage = vec![0x5a; PAGE_SIZE];
        std::os::unix::fs::FileExt::write_all_at(&file, &damage, u64::from(page - 1) * PAGE_SIZE as u64)
            .expect("written");
        let forget = |workspace: &mut Workspace| Ok(workspace.connection.execute_batch("PRAGMA shrink_memory")?);
        store.writer.write(forget).await.expect("done");
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
}
