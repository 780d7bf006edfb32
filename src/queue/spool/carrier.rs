//! Carrying what is spooled into the store.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::words::in_words;
use super::{ANSWER_TIME, PROBE_MAX, Shared, Silent};
use crate::lead::EntryId;
use crate::queue::{CARRY_MAX, Carried, CarriedAs, Carry as _, Store as _, StoreError};

/// The first wait before the store is asked again whether it is back.
const PROBE_FIRST: Duration = Duration::from_millis(50);
/// How long the store may take for a batch while no append waits for it, and while appends do.
const CARRY_TIME: Duration = Duration::from_secs(10);
const LAST_CARRY_TIME: Duration = Duration::from_secs(1);
/// How often it is looked whether something is in the spool: a process that shares it, or a caller that went away, tells
/// nobody.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// When an entry is tried again that the store refused although it was ready.
const REFUSED_TIME: Duration = Duration::from_secs(60);

/// What came of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Appends go to the store.
    Direct,
    /// There is more in the spool.
    More,
}

/// Which of the two failed.
enum Failed {
    Remote(StoreError),
    Spool(StoreError),
}

impl Shared {
    pub(super) async fn keep_carrying(&self, mut stopping: watch::Receiver<bool>) {
        let mut wait = PROBE_FIRST;
        let mut has_answered = false;
        loop {
            let round = tokio::select! {
                round = self.round(has_answered) => round,
                _ = stopping.wait_for(|stop| *stop) => return,
            };
            has_answered |= round.is_ok();
            let is_direct = matches!(round, Ok(Round::Direct));
            let pause = match round {
                Ok(Round::More) => Duration::ZERO,
                Ok(Round::Direct) => LOOK_EVERY,
                Err(failed) => {
                    self.tell(&failed);
                    wait
                }
            };
            wait = if pause == wait { (2 * wait).min(PROBE_MAX) } else { PROBE_FIRST };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // What is spooled while the store is away brings it back no earlier.
                () = self.wake.notified(), if is_direct => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn tell(&self, failed: &Failed) {
        match failed {
            Failed::Remote(error) => self.note_away(error),
            Failed::Spool(error) => tracing::error!(
                error = in_words(error),
                "spool.failed: the spool can't be read or emptied, so leads stay in it; look at its disk"
            ),
        }
    }

    /// Asks the store whether it is back, carries a batch over, and ends the spooling where that was the last one.
    async fn round(&self, has_answered: bool) -> Result<Round, Failed> {
        if !has_answered || self.is_away() {
            self.ask(self.remote.ready()).await.map_err(Failed::Remote)?;
            self.note_answer();
        }
        let carrying = self.carrying.lock().await;
        let (entries, is_last) = self.next_batch().await?;
        if entries.is_empty() && self.is_direct.load(Ordering::Acquire) && !self.is_away() {
            return Ok(Round::Direct);
        }
        self.carry(&entries).await?;
        drop(carrying);
        if is_last { self.close_gap().await } else { Ok(Round::More) }
    }

    /// Carries what came since, while appends wait, and makes them go to the store again.
    async fn close_gap(&self) -> Result<Round, Failed> {
        // In this order: an erasure may hold the one for as long as the store takes, and no append may wait for that.
        let _carrying = self.carrying.lock().await;
        let _closed = self.gate.write().await;
        let (entries, is_last) = self.next_batch().await?;
        if !is_last {
            return Ok(Round::More);
        }
        self.carry_in(&entries, LAST_CARRY_TIME).await?;
        let away = {
            let mut told = self.told.lock();
            self.is_direct.store(true, Ordering::Release);
            told.away.take()
        };
        if let Some(away) = away {
            tracing::info!(since = %away.since, "store.back: what was spooled is in the store");
        }
        Ok(Round::Direct)
    }

    /// Returns the next entries of the spool that the store may take, and whether they are the last.
    async fn next_batch(&self) -> Result<(Vec<Carried>, bool), Failed> {
        let mut after = None;
        loop {
            let mut page = self.spool.carry_out(after, CARRY_MAX).await.map_err(Failed::Spool)?;
            self.tell_unreadable(&page.unreadable);
            let told = self.told.lock();
            let waits = |id: EntryId| told.refused.get(&id).is_some_and(|again| *again > Instant::now());
            page.entries.retain(|carried| !waits(carried.id()));
            drop(told);
            after = page.next;
            if !page.entries.is_empty() || after.is_none() {
                return Ok((page.entries, after.is_none()));
            }
        }
    }

    /// Names entries of the spool that can't be read, each once.
    fn tell_unreadable(&self, ids: &[EntryId]) {
        for id in ids {
            if self.told.lock().unreadable.insert(*id) {
                tracing::error!(
                    %id,
                    "spool.unreadable: a lead in the spool can't be read; keep the file, and erase the lead by its id once it is given up"
                );
            }
        }
    }

    /// Carries entries into the store; one that it can't take keeps none of the others from it.
    async fn carry(&self, entries: &[Carried]) -> Result<(), Failed> {
        match self.carry_in(entries, CARRY_TIME).await {
            Err(Failed::Remote(error)) => self.check_is_ready(error).await?,
            done => return done,
        }
        for one in entries {
            let Err(failed) = self.carry_in(std::slice::from_ref(one), CARRY_TIME).await else { continue };
            let Failed::Remote(error) = failed else { return Err(failed) };
            let words = in_words(&error);
            self.check_is_ready(error).await?;
            tracing::error!(
                id = %one.id(),
                error = words,
                "spool.refused: the store refuses the lead; it stays in the spool, and is tried again in a minute"
            );
            let mut told = self.told.lock();
            told.refused.insert(one.id(), Instant::now() + REFUSED_TIME);
            told.refusal = Some(words);
        }
        Ok(())
    }

    /// Gives an error back where the store would take nothing else either.
    async fn check_is_ready(&self, error: StoreError) -> Result<(), Failed> {
        let is_full = matches!(error, StoreError::Full | StoreError::DiskFull);
        match timeout(ANSWER_TIME, self.remote.ready()).await {
            Ok(Ok(())) if !is_full => Ok(()),
            _ => Err(Failed::Remote(error)),
        }
    }

    /// Carries entries into the store, all or none, and erases them from the spool.
    async fn carry_in(&self, entries: &[Carried], time: Duration) -> Result<(), Failed> {
        if entries.is_empty() {
            return Ok(());
        }
        let silent = |_elapsed| Err(StoreError::Unavailable(Box::new(Silent)));
        let carried = timeout(time, self.remote.carry_in(entries, CarriedAs::Append)).await;
        carried.unwrap_or_else(silent).map_err(Failed::Remote)?;
        let ids: Vec<EntryId> = entries.iter().map(Carried::id).collect();
        match self.spool.erase(&ids).await {
            // What a spool that was set aside holds is found by its id when it is salvaged.
            Ok(_) | Err(StoreError::Remains { .. }) => {}
            Err(error) => return Err(Failed::Spool(error)),
        }
        self.forget_refused(&ids);
        Ok(())
    }
}
