//! From a queued entry to a delivered one: claim, deliver, settle.
//!
//! The claim is written before its POST leaves, so that a kill between the two is known afterwards. A lease outlives the
//! longest POST, so that no entry is ever in two hands.
//!
//! Who has to wait waits in the store, not in hand: a site whose keys are refused ([`Pauses`]), one whose leads fail
//! ([`Circuits`]), one over its rate. While the upstream's circuit is open, or its rate is used up, nothing is claimed.

mod circuit;

mod clock;

mod deliver;

mod manners;

mod pace;

mod pause;

mod retry;

mod slots;

mod verdict;

mod worker;

pub use circuit::{Circuits, Fault, OPENS_AFTER, PROBE_EVERY};
pub use clock::Clock;
pub use pause::{PROBE_AFTER, Pauses};
pub use retry::{ATTEMPTS_MIN, delay, is_over};
pub use verdict::{RETRY_AFTER_MAX, Verdict, judge};
pub use worker::{Sender, Stopped};
