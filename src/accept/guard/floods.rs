//! What comes in floods: told once a minute, in place of a line each.
//!
//! Whoever may not post can still send requests without end, and the log must not become as long as they like. A few of
//! each address, and a few more of all, have their line; the rest are counted, and summed up. Metrics count every one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use tokio::time::{Instant, timeout};

use crate::http::subscriber;

/// How long is counted before it is summed up.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Lines that one address gets in that time; IPv6: a /64.
const LINES_OF_ADDRESS: u32 = 10;
/// Lines that all of them get together.
const LINES: usize = 300;

/// Counts what has no line of its own. Clones count together.
#[derive(Clone, Default)]
pub(in crate::accept) struct Floods(Arc<Mutex<FloodCounts>>);

/// What is counted within one window.
#[derive(Default)]
struct FloodCounts {
    /// Set by the first that is counted.
    began: Option<Instant>,
    lines: HashMap<Option<IpAddr>, u32>,
    written: usize,
    sums: Sums,
}

/// What is told at the end of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    requests: u64,
    evicted_same_address: u64,
    evicted_full: u64,
    refused: u64,
}

impl Floods {
    /// Tells whether a request of a stranger gets its line in the log; counts it where it does not.
    pub(in crate::accept) fn has_line(&self, address: Option<IpAddr>) -> bool {
        let mut counted = self.counted();
        // At most as many addresses are held as lines are written.
        if counted.written < LINES {
            let lines = counted.lines.entry(address.map(subscriber)).or_default();
            if *lines < LINES_OF_ADDRESS {
                *lines += 1;
                counted.written += 1;
                return true;
            }
        }
        counted.sums.requests += 1;
        false
    }

    /// Counts a connection that had to leave for another of its own address.
    pub(in crate::accept) fn evicted_same_address(&self) {
        self.counted().sums.evicted_same_address += 1;
    }

    /// Counts a connection that had to leave since all places were taken.
    pub(in crate::accept) fn evicted_full(&self) {
        self.counted().sums.evicted_full += 1;
    }

    /// Counts a connection that found no place.
    pub(in crate::accept) fn refused(&self) {
        self.counted().sums.refused += 1;
    }

    /// Sums up each window, and what is left when the gateway stops.
    pub(in crate::accept) async fn report(&self, mut stopping: ShutdownWatch) {
        while timeout(WINDOW, stopping.wait_for(|stop| *stop)).await.is_err() {
            self.end_window();
        }
        self.end_window();
    }

    /// Begins a window where none is open, and ends one that is over: nobody may be there to report.
    fn counted(&self) -> parking_lot::MutexGuard<'_, FloodCounts> {
        let mut counted = self.0.lock();
        let now = Instant::now();
        if counted.began.is_some_and(|began| now.duration_since(began) >= WINDOW) {
            counted.end(now);
        }
        counted.began.get_or_insert(now);
        counted
    }

    fn end_window(&self) {
        self.0.lock().end(Instant::now());
    }
}

impl FloodCounts {
    fn end(&mut self, now: Instant) {
        let ended = std::mem::take(self);
        let Some(began) = ended.began else { return };
        ended.sums.tell(now.duration_since(began).as_secs().max(1));
    }
}

impl Sums {
    fn tell(self, seconds: u64) {
        let Self { requests, evicted_same_address, evicted_full, refused } = self;
        if requests > 0 {
            tracing::info!(
                requests,
                seconds,
                "requests.summed_up: more requests without a valid credential were refused"
            );
        }
        if evicted_same_address + evicted_full + refused > 0 {
            tracing::warn!(
                evicted_same_address,
                evicted_full,
                refused,
                seconds,
                "connections.closed: too many connections, from one address or in all; idle ones were closed, and new \
                 ones refused if none was idle"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u16) -> Option<IpAddr> {
        Some(IpAddr::from([0x2001, 0xdb8, 0, number, 0, 0, 0, 1]))
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_gets_a_few_lines_a_minute_and_the_rest_are_summed_up() {
        let floods = Floods::default();
        let lines = (0..100).filter(|_| floods.has_line(ip(1))).count();
        assert_eq!(lines, 10);
        assert_eq!(floods.0.lock().sums.requests, 90);
        assert!(floods.has_line(ip(2)), "another address has its own");
        tokio::time::advance(WINDOW).await;
        assert!(floods.has_line(ip(1)));
        assert_eq!(floods.0.lock().sums, Sums::default());
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_together_fill_no_log_and_no_memory() {
        let floods = Floods::default();
        let lines = (0..5_000).filter(|number| floods.has_line(ip(*number))).count();
        assert_eq!(lines, LINES);
        assert_eq!(floods.0.lock().lines.len(), LINES);
    }
}
