//! What the store is measured against: a bare file, and SQLite with nothing of ours around it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::thread::JoinHandle;

use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::{BODY, Outcome, per_second};

/// Most operations in one transaction, as the store has it.
const BATCH_MAX: usize = 512;

/// Appends as many bytes in batches as large, each synced, and returns how many entries that is in a second.
pub(crate) fn bare_file(path: &Path, entries: u64, batch: usize) -> io::Result<f64> {
    let mut file = File::create(path)?;
    let bytes = vec![b'x'; BODY * batch.max(1)];
    let begun = Instant::now();
    let mut written = 0;
    while written < entries {
        file.write_all(&bytes)?;
        file.sync_data()?;
        written += batch.max(1) as u64;
    }
    Ok(per_second(written, begun))
}

/// One table, one index of what waits, one thread that writes, one commit a batch: the least that keeps a queue in SQLite.
pub(crate) struct Prototype {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<rusqlite::Result<()>>>,
}

enum Job {
    Append(Vec<u8>, oneshot::Sender<i64>),
    /// Up to so many, with their bodies.
    Claim(u32, oneshot::Sender<Vec<(i64, Vec<u8>)>>),
    Settle(i64, oneshot::Sender<()>),
}

impl Prototype {
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4096;
             CREATE TABLE entry (number INTEGER PRIMARY KEY, state INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
             CREATE INDEX waiting ON entry (number) WHERE state = 0;",
        )?;
        let (jobs, waiting) = mpsc::channel(1_024);
        let thread = std::thread::spawn(move || write(&connection, waiting));
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub(crate) async fn append(&self, body: Vec<u8>) -> Outcome<i64> {
        self.ask(|reply| Job::Append(body, reply)).await
    }

    pub(crate) async fn claim(&self, max: u32) -> Outcome<Vec<(i64, Vec<u8>)>> {
        self.ask(|reply| Job::Claim(max, reply)).await
    }

    pub(crate) async fn settle(&self, number: i64) -> Outcome<()> {
        self.ask(|reply| Job::Settle(number, reply)).await
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Outcome<T> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or("it is closed")?;
        jobs.send(job(reply)).await.map_err(|_closed| "it is closed")?;
        Ok(answer.await?)
    }
}

impl Drop for Prototype {
    fn drop(&mut self) {
        self.jobs.take();
        self.thread.take().map(JoinHandle::join);
    }
}

fn write(connection: &Connection, mut waiting: mpsc::Receiver<Job>) -> rusqlite::Result<()> {
    let mut begin = connection.prepare("BEGIN IMMEDIATE")?;
    let mut commit = connection.prepare("COMMIT")?;
    let mut insert = connection.prepare("INSERT INTO entry (state, body) VALUES (0, ?1)")?;
    let mut find = connection.prepare("SELECT number, body FROM entry WHERE state = 0 ORDER BY number LIMIT ?1")?;
    let mut update = connection.prepare("UPDATE entry SET state = ?2 WHERE number = ?1")?;
    while let Some(first) = waiting.blocking_recv() {
        let mut replies: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        let mut next = Some(first);
        begin.execute([])?;
        while let Some(job) = next {
            match job {
                Job::Append(body, reply) => {
                    insert.execute([body])?;
                    let number = connection.last_insert_rowid();
                    replies.push(Box::new(move || {
                        reply.send(number).ok();
                    }));
                }
                Job::Claim(max, reply) => {
                    let found = find.query_map([max], |row| Ok((row.get(0)?, row.get(1)?)))?;
                    let found: Vec<(i64, Vec<u8>)> = found.collect::<Result<_, _>>()?;
                    for (number, _) in &found {
                        update.execute(params![number, 1])?;
                    }
                    replies.push(Box::new(move || drop(reply.send(found))));
                }
                Job::Settle(number, reply) => {
                    update.execute(params![number, 2])?;
                    replies.push(Box::new(move || {
                        reply.send(()).ok();
                    }));
                }
            }
            next = if replies.len() < BATCH_MAX { waiting.try_recv().ok() } else { None };
        }
        commit.execute([])?;
        replies.into_iter().for_each(|reply| reply());
    }
    Ok(())
}
