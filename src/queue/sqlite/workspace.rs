//! What the writer's jobs work on, and what it tells of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use rusqlite::Connection;

use super::Options;
use super::arrival::Waiting;
use super::check::Watch;
use super::reserve::Reserve;
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
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) connection: Connection,
    pub(super) options: Options,
    pub(super) memory: Memory,
    pub(super) damage: Arc<Watch>,
    pub(super) waiting: Waiting,
    pub(super) reserve: Reserve,
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
            reserve,
            asked: 0,
            missing: 0,
            spoilt: false,
            woke: false,
        }
    }
}

/// What jobs remember of those before them. It is true only of what was committed, so it is set back with a job that
/// failed and with a transaction that was rolled back: a claim that sees the clock go back must see it again.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) clock: Clock,
    pub(super) last_sites: LastSites,
}
