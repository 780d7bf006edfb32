//! The store in one SQLite file: durable on one machine, without a service beside it. SQL only here.
//!
//! # Limits
//!
//! One entry's body is at most what SQLite puts into a row (1 GB); the gateway's `max_body` is far below. 1,024 writes
//! wait, further callers wait for a place. One transaction takes 512 of them. `max_size` counts the pages in use of the
//! database, not the log, which is usually below 16 MiB and grows while somebody reads old pages (a backup does) or it can't
//! be copied. It holds back appends alone: with a full store everything else goes on, and what expires or is erased makes
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
//! All are made 0600, a missing folder 0700. `content` has what visitors sent, in segments on pages of their own (see
//! `segment`); `entry` what changes. A lone entry takes 5 KiB or more, one of many 2 KiB.
//!
//! # What is synced when
//!
//! One thread owns the connection that writes. It takes all that waits, does it in one transaction, and commits to the
//! log; the log is synced, and only then is each caller answered (see `log`). A claim is answered when it is in the
//! log: a kill keeps it, and the next sync puts it on the disk. An append adds a record to the segment of its
//! transaction; its row of `entry` and the indexes are written later, for many at once (see `entering`). After the commit the
//! thread looks whether database and log still stand at their paths and look like what they are, because writing into a
//! file that was removed, emptied or overwritten gives no error. Before the log has 16 MiB it is copied into the database
//! (see `copying`), and that is synced before the log is written from its beginning again. A new file's name is made durable by fsyncing its folder. So what was answered `Ok` survives a kill, and but for claims, notes and holds a power cut, as far as
//! the disk keeps what it said is synced.
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

mod batches;

mod carry;

mod causes;

mod change;

mod check;

mod claim;

mod connection;

mod copy_check;

mod copying;

mod entering;

mod failure;

mod files;

mod former;

mod holds;

mod job;

mod keys;

mod list;

mod listed;

mod log;

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

use super::cause;
use super::standing::whole_millisecond;
use super::{
    Appended, CauseQuery, Causes, Change, Claim, Counts, DedupeKey, EXPIRE_MAX, Entry, Extent, Filter, Lease,
    MAKE_DUE_MAX, NewEntry, Order, PAGE_MAX, Page, Set, Settlement, Store, StoreError,
};
use crate::lead::{EntryId, SiteId};
use append::Prepared;
use connection::Readers;
pub use copy_check::check_copy;
use failure::Failure;
use files::{Identity, Presence};
use opening::Company;
use removal::Lingering;
use reserve::Reserve;
pub use restore::{Restoration, RestoreError};
use writer::{Tally, Workspace, Writer};

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
    /// Opens the store, or makes one. Blocks: for the disk, and while another process recovers it.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        Ok(Self::open_files(path, options)?)
    }

    fn open_files(path: &Path, options: Options) -> Result<Self, Failure> {
        let path = files::create(path)?;
        let presence = Presence::announce(&path)?;
        Self::open_as(path, options, presence, Company::Welcome)
    }

    fn open_as(path: PathBuf, options: Options, mut presence: Presence, company: Company) -> Result<Self, Failure> {
        if presence.is_alone()
            && let Err(error) = restore::remove_interrupted(&path)
        {
            tracing::warn!(%error, "queue.restore_left: remove the folders named `.<store>.restore-…` beside the store");
        }
        let reserve = Reserve::of(&path);
        let connection = opening::open(&path, presence.is_alone(), &reserve, options.opened_at)?;
        if company == Company::Welcome {
            presence.share()?;
        }
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

    /// Enters what was appended in the books, where readers find it; on a full disk too, or it could not be erased.
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

    /// Returns how many operations those transactions held.
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

    async fn make_due(&self, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, StoreError> {
        let site = site.clone();
        let max = max.min(MAKE_DUE_MAX);
        let now = whole_millisecond(now);
        self.writer.write(move |workspace| claim::make_due(workspace, &site, max, now)).await
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

    async fn causes(&self, query: CauseQuery<'_>) -> Result<Causes, StoreError> {
        self.enter_if_possible().await;
        match self.readers.read(causes::counting(query, &self.damage)).await {
            // A page that can't be read ends the walk; entries that are looked up one by one keep no other back.
            Err(StoreError::Corrupt(_)) => cause::count_heads(self, query).await,
            counted => counted,
        }
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
        // Asked again and again: not worth the reserve.
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
        // As an append does it: damage among what is entered keeps none from being stored.
        if self.writer.append(append::probe).await? > 0 {
            self.writer.append(change::end_probe).await?;
        }
        Ok(())
    }

    async fn problems(&self) -> Result<Vec<StoreError>, StoreError> {
        let aside = aside::told(self.path.clone()).await?;
        Ok(aside.into_iter().chain(self.damage.check().err().map(StoreError::from)).collect())
    }

    async fn ended(&self) {
        self.writer.ended().await;
    }
}

#[cfg(test)]
mod harm;

#[cfg(test)]
mod tests;
