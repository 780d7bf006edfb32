//! From a queued entry to a delivered one: claim, deliver, settle.
//!
//! The claim is written before its POST leaves, so that a kill between the two is known afterwards. A lease outlives the
//! longest POST, so that no entry is ever in two hands.

mod pause;

mod retry;

mod verdict;

mod worker;

pub use pause::{PROBE_AFTER, Pauses};
pub use retry::{ATTEMPTS_MIN, delay, is_over};
pub use verdict::{RETRY_AFTER_MAX, Verdict, judge};
pub use worker::{Sender, Stopped};
