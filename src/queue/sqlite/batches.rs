//! What the thread that writes does: batches of jobs, each in one transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot, watch};

use super::append::BESIDE;
use super::arrival;
use super::aside;
use super::connection::truncate_log;
use super::copying::Copying;
use super::failure::{BytesRemain, Failure, NotSynced, Removed};
use super::files::Identity;
use super::job::{Job, Kind, Task};
use super::listed;
use super::log::Log;
use super::patient::Patient;
use super::segment::PADDING_MAX;
use super::workspace::{Tally, Workspace};
use super::writer::Message;

/// Most jobs in one transaction.
const BATCH_MAX: usize = 512;

/// Why a batch was rolled back.
enum Spoilt {
    /// By one of its jobs: the others may do better on their own.
    ByJob,
    /// As a whole.
    Whole(Failure),
}

/// The thread's end of the [`Writer`](super::writer::Writer).
pub(super) struct Batches {
    pub(super) workspace: Workspace,
    pub(super) identity: Identity,
    pub(super) changed: Arc<watch::Sender<u64>>,
    pub(super) tally: Arc<Tally>,
    pub(super) patient: Arc<Patient>,
    /// Whether what a removed file held was copied, or could not be.
    pub(super) rescued: bool,
    pub(super) log: Log,
    pub(super) copying: Copying,
    /// After listing entries under their sites failed: the entry's number from which it is tried again.
    pub(super) lists_from: i64,
}

impl Drop for Batches {
    fn drop(&mut self) {
        // By a panic too.
        self.patient.close();
    }
}

impl Batches {
    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Message>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut jobs = Vec::new();
            let mut next = Some(first);
            let mut truncate = None;
            while let Some(message) = next {
                match message {
                    Message::Do(job) => jobs.push(job),
                    Message::Flush => {}
                    Message::Truncate(reply) => truncate = Some(reply),
                }
                let full = jobs.len() >= BATCH_MAX || truncate.is_some();
                next = if full { None } else { waiting.try_recv().ok() };
            }
            jobs.extend(self.patient.take());
            if !jobs.is_empty() {
                self.commit(jobs);
            }
            match truncate {
                Some(reply) => drop(reply.send(self.truncate())),
                None => self.tend(waiting.is_empty()),
            }
        }
        let left = self.patient.take();
        if !left.is_empty() {
            self.commit(left);
        }
        if self.truncate().is_err() {
            tracing::warn!("the store's log was not emptied at the end; the next start reads it");
        }
    }

    fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        match self.run_together(&mut jobs) {
            Ok(()) => self.sync(jobs),
            Err(Spoilt::Whole(failure)) => jobs.into_iter().for_each(|job| self.end(job, Some(failure.clone()))),
            Err(Spoilt::ByJob) => {
                for mut job in jobs {
                    let failure = self.run_alone(&mut job);
                    self.end(job, failure);
                }
            }
        }
        if std::mem::take(&mut self.workspace.woke) {
            self.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Answers jobs that are committed: once the log is on the disk, where one of them must last. So nobody gets to send what
    /// the visitor is told was not taken.
    fn sync(&mut self, jobs: Vec<Box<dyn Job>>) {
        let must_last = jobs.iter().any(|job| job.must_last());
        let failure = if must_last { self.log.sync().err() } else { None };
        if failure.is_some() {
            // At once: another process must not write behind it either. What fails now is tried again before the next.
            self.mend_log().ok();
        }
        jobs.into_iter().for_each(|job| job.answer(failure.clone()));
    }

    /// Brings what is in the log into the database where it could not be synced: nothing behind it may count before.
    fn mend_log(&mut self) -> Result<(), Failure> {
        if !self.log.has_failed() {
            return Ok(());
        }
        if self.empty_log()? {
            return Err(Failure::unavailable(NotSynced));
        }
        self.log.forget_failure();
        Ok(())
    }

    /// Answers a job; one that must be written on a full disk too gets the reserve's room first, and the log's.
    fn end(&mut self, mut job: Box<dyn Job>, mut failure: Option<Failure>) {
        if job.wants_reserve(failure.as_ref()) {
            self.workspace.reserve.release();
            failure = self.run_alone(&mut job);
        }
        if job.wants_reserve(failure.as_ref()) && self.empty_log().is_ok() {
            failure = self.run_alone(&mut job);
        }
        match failure {
            None => self.sync(vec![job]),
            failure => job.answer(failure),
        }
    }

    fn run_alone(&mut self, job: &mut Box<dyn Job>) -> Option<Failure> {
        match self.run_together(std::slice::from_mut(job)) {
            Err(Spoilt::Whole(failure)) => Some(failure),
            Ok(()) | Err(Spoilt::ByJob) => None,
        }
    }

    /// Runs jobs in one transaction; nothing is left of it unless it returns `Ok`.
    fn run_together(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Spoilt> {
        let before = self.workspace.connection.total_changes();
        let remembered = self.workspace.memory.clone();
        let before_this = (self.workspace.asked + BESIDE) as u64;
        self.workspace.asked = 0;
        self.workspace.used = self.workspace.used.map(|(used, since)| (used, since + before_this));
        self.workspace.has_reserve = false;
        let done = self.mend_log().map_err(Spoilt::Whole).and_then(|()| self.attempt(jobs));
        match &done {
            // With the pages that a segment fills beside its records.
            Err(Spoilt::Whole(Failure::DiskFull)) if self.workspace.asked > 0 => {
                self.workspace.missing = self.workspace.asked + PADDING_MAX;
            }
            // An append met damage: `ready` tries whether others fare better.
            Err(_) if self.workspace.spoilt && self.workspace.asked > 0 => {
                self.workspace.missing = self.workspace.asked;
            }
            Ok(()) if self.workspace.asked > 0 => self.workspace.missing = 0,
            _ => {}
        }
        if done.is_err() && !self.workspace.connection.is_autocommit() {
            // Cannot fail in a way that matters: a transaction that stays open makes the next one fail.
            self.workspace.connection.execute_batch("ROLLBACK").ok();
        }
        if done.is_ok() {
            self.workspace.keys.commit();
            self.tally.waiting.store(self.workspace.waiting.len(), Ordering::Release);
        } else {
            self.workspace.distrust();
            self.workspace.memory = remembered;
        }
        if done.is_ok() && self.workspace.connection.total_changes() != before {
            self.tally.commits.fetch_add(1, Ordering::Relaxed);
            self.tally.jobs.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        }
        done
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Spoilt> {
        match self.begin() {
            // Events or keys that can't be read keep nobody from sending or storing.
            Err(Spoilt::Whole(failure)) if failure.is_damage() && self.workspace.give_up() => {
                self.workspace.damage.note(&failure);
                self.execute("ROLLBACK")?;
                self.workspace.distrust();
                self.begin()?;
            }
            begun => begun?,
        }
        for job in jobs {
            let before = self.workspace.connection.total_changes();
            let remembered = self.workspace.memory.clone();
            let worked = job.run(&mut self.workspace);
            if !worked {
                self.workspace.memory = remembered;
            }
            let connection = &self.workspace.connection;
            // A job that failed before it wrote leaves the transaction as it was. On some errors (a full disk)
            // SQLite rolls everything back by itself.
            let spoilt = connection.total_changes() != before || connection.is_autocommit() || self.workspace.spoilt;
            if !worked && spoilt {
                return Err(Spoilt::ByJob);
            }
        }
        self.finish().map_err(Spoilt::Whole)?;
        self.execute("COMMIT")?;
        if self.identity.holds() {
            return Ok(());
        }
        self.rescue();
        Err(Spoilt::Whole(Failure::unavailable(Removed)))
    }

    fn begin(&mut self) -> Result<(), Spoilt> {
        self.execute("BEGIN IMMEDIATE")?;
        self.workspace.spoilt = false;
        arrival::refresh(&mut self.workspace).map_err(Spoilt::Whole)
    }

    /// Writes what the jobs have gathered.
    fn finish(&mut self) -> Result<(), Failure> {
        arrival::write_segment(&mut self.workspace)?;
        let Workspace { connection, tally, .. } = &mut self.workspace;
        tally.write(connection)
    }

    /// Copies the store out of files that nobody can open any more, once: what was answered `Ok` is still in them.
    fn rescue(&mut self) {
        if !std::mem::replace(&mut self.rescued, true) {
            let Workspace { connection, options, .. } = &self.workspace;
            aside::rescue(connection, self.identity.database(), options.opened_at);
        }
    }

    fn execute(&self, sql: &str) -> Result<(), Spoilt> {
        let done = self.workspace.connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        done.map(drop).map_err(|error| Spoilt::Whole(error.into()))
    }

    /// Does what nobody waits for, after everybody was answered.
    fn tend(&mut self, nobody_waits: bool) {
        let behind = self.workspace.unlisted;
        let is_time = behind >= listed::BEHIND_MAX || behind >= listed::BEHIND && nobody_waits;
        if is_time && self.workspace.next_number >= self.lists_from {
            self.catch_up();
        }
        // What failed is brought into the database first.
        if self.log.has_failed() {
            return;
        }
        self.copying.tend(&self.workspace.connection, self.log.pages(), nobody_waits);
        // Only where there is room for it and for the reserve.
        if self.workspace.has_reserve && self.log.is_short() {
            self.lengthen_log();
        }
    }

    /// Lists what is behind under its site. Where that fails, lists are slower, and it is tried again when as many have come.
    fn catch_up(&mut self) {
        let (reply, _nobody_waits) = oneshot::channel();
        self.commit(vec![Box::new(Task::new(Kind::Aside, listed::catch_up, reply))]);
        if self.workspace.unlisted > 0 || self.workspace.waiting.is_distrusted() {
            self.lists_from = self.workspace.next_number + listed::BEHIND as i64;
        }
    }

    /// Keeps room behind the last commit, while no other process can write there.
    fn lengthen_log(&mut self) {
        if self.execute("BEGIN IMMEDIATE").is_err() {
            return;
        }
        if let Err(error) = self.log.lengthen() {
            tracing::debug!(%error, "the store's log has no room kept behind it");
        }
        // Cannot fail in a way that matters: a transaction that stays open makes the next one fail.
        self.execute("ROLLBACK").ok();
    }

    /// Copies the log into the database and cuts it to nothing; true where somebody who reads it kept it from that.
    fn empty_log(&mut self) -> Result<bool, Failure> {
        let is_held = truncate_log(&mut self.workspace.connection)?;
        if !is_held {
            self.log.emptied();
        }
        Ok(is_held)
    }

    fn truncate(&mut self) -> Result<(), Failure> {
        let is_held = match self.empty_log() {
            Err(Failure::DiskFull) if self.workspace.reserve.release() => self.empty_log()?,
            truncated => truncated?,
        };
        if is_held {
            return Err(Failure::unavailable(BytesRemain));
        }
        // The log's room is free by now. If it is not enough, the next append says so.
        self.workspace.reserve.keep().ok();
        Ok(())
    }
}
