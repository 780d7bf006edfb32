//! How far it is, on one line.

use tokio::time::Instant;

use crate::cli::leads::duration;

/// Counts what is done, and says how long the rest may take.
pub(super) struct Progress {
    begun: Instant,
    done: usize,
    all: usize,
}

impl Progress {
    pub(super) fn new(all: usize) -> Self {
        Self { begun: Instant::now(), done: 0, all }
    }

    pub(super) fn add(&mut self) {
        self.done += 1;
    }

    /// The line; `waits_until` is when KaiCalls may be asked again.
    pub(super) fn line(&self, waits_until: Option<Instant>) -> String {
        let left = self.all.saturating_sub(self.done);
        let so_far = self.begun.elapsed().as_millis();
        let estimate = so_far.checked_div(self.done as u128).map(|each| each.saturating_mul(left as u128));
        let words = |milliseconds: u128| duration(i64::try_from(milliseconds).unwrap_or(i64::MAX));
        let left = estimate.filter(|_| left > 0).map(|left| format!(", {} left", words(left))).unwrap_or_default();
        let now = Instant::now();
        let wait = waits_until.map(|until| (until - now).as_millis());
        let wait = wait.map(|wait| format!("; KaiCalls asks to wait {}", words(wait))).unwrap_or_default();
        format!("{} of {} sites{left}{wait}", self.done, self.all)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_left_is_told_from_the_time_it_took() {
        let mut progress = Progress::new(4);
        assert_eq!(progress.line(None), "0 of 4 sites");
        tokio::time::advance(Duration::from_secs(10)).await;
        progress.add();
        assert_eq!(progress.line(None), "1 of 4 sites, 30 s left");
        let until = Instant::now() + Duration::from_secs(20);
        assert_eq!(progress.line(Some(until)), "1 of 4 sites, 30 s left; KaiCalls asks to wait 20 s");
        for _ in 0..3 {
            progress.add();
        }
        assert_eq!(progress.line(None), "4 of 4 sites");
    }
}
