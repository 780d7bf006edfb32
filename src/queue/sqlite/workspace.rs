//! What the writer's jobs work on, and what it tells of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use rusqlite::Connection;

use super::Options;
use super::arrival::Waiting;
use super::check::Watch;
use super::failure::Failure;
use super::keys::Keys;
use super::names::Names;
use super::outbox::Recorder;
use super::recent::Recent;
use super::reserve::Reserve;
use super::tally::SiteTally;
use crate::lead::EntryId;
use crate::queue::standing::Clock;
use crate::queue::turns::LastSites;

/// What has been committed, for telemetry.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) commits: AtomicU64,
    pub(super) jobs: AtomicU64,
    /// Entries that wait to be entered in the books.
    pub(super) waiting: AtomicUsize,
}

/// What a job works on.
pub(super) struct Workspace {
    pub(super) connection: Connection,
    pub(super) options: Options,
    pub(super) memory: Memory,
    pub(super) damage: Arc<Watch>,
    pub(super) waiting: Waiting,
    /// The records that this transaction has appended since it last wrote a segment, and the number of the first.
    pub(super) segment: Vec<u8>,
    pub(super) segment_number: i64,
    /// The number that the next entry gets.
    pub(super) next_number: i64,
    /// The latest id of an entry.
    pub(super) newest: Option<EntryId>,
    /// Entries that are in the books and not listed under their site yet.
    pub(super) unlisted: usize,
    pub(super) keys: Keys,
    pub(super) names: Names,
    pub(super) tally: SiteTally,
    pub(super) outbox: Recorder,
    pub(super) recent: Recent,
    pub(super) reserve: Reserve,
    /// Whether the reserve was seen to be there in this transaction.
    pub(super) has_reserve: bool,
    /// Bytes of the pages in use when somebody last looked, and about how many were asked for in transactions since.
    pub(super) used: Option<(u64, u64)>,
    /// Bytes that the appends of this transaction ask for.
    pub(super) asked: usize,
    /// Bytes that appends asked for last and there was no room for; zero once an append went well.
    pub(super) missing: usize,
    /// Set by a job that met damage: SQLite then commits nothing of the transaction.
    pub(super) spoilt: bool,
    /// Set by a job that may have made something due.
    pub(super) woke: bool,
}

impl Workspace {
    pub(super) fn new(connection: Connection, options: Options, damage: Arc<Watch>, reserve: Reserve) -> Self {
        Self {
            connection,
            options,
            memory: Memory::default(),
            damage,
            waiting: Waiting::default(),
            segment: Vec::new(),
            segment_number: 0,
            next_number: 1,
            newest: None,
            unlisted: 0,
            keys: Keys::default(),
            names: Names::default(),
            tally: SiteTally::default(),
            outbox: Recorder::default(),
            recent: Recent::default(),
            reserve,
            has_reserve: false,
            used: None,
            asked: 0,
            missing: 0,
            spoilt: false,
            woke: false,
        }
    }

    /// Makes the reserve where it is gone: without it, what room there is belongs to those that it was kept for.
    pub(super) fn keep_reserve(&mut self) -> Result<(), Failure> {
        if !self.has_reserve {
            self.reserve.keep()?;
            self.has_reserve = true;
        }
        Ok(())
    }

    /// Goes without what can't be read; tells whether there is hope then.
    pub(super) fn give_up(&mut self) -> bool {
        self.outbox.gave_up_now() || self.keys.give_up()
    }

    /// Forgets what is true only of what was committed: a transaction was taken back.
    pub(super) fn distrust(&mut self) {
        self.segment.clear();
        self.recent.clear();
        self.waiting.distrust();
        self.keys.take_back();
    }
}

/// What jobs remember of those before them. It is true only of what was committed, so it is set back with a job that
/// failed and with a transaction that was rolled back: a claim that sees the clock go back must see it again.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) clock: Clock,
    pub(super) last_sites: LastSites,
}
