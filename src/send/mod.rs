//! From a queued entry to a delivered one: claim, deliver, settle.
//!
//! The claim is written before its POST leaves, so that a kill between the two is known afterwards. A lease outlives the
//! longest POST, so that no entry is ever in two hands.
//!
//! Who has to wait waits in the store, not in hand: a site whose keys are refused ([`Pauses`]), one whose leads fail
//! ([`Circuits`]), one over its rate. While the upstream's circuit is open, or its rate is used up, nothing is claimed; nor
//! of a site that has as many leads under way as its share allows.
//!
//! A lead of a site that has left the configuration waits a day for it to come back. With `[kaicalls].confirm` a lead that
//! may have arrived already is asked for before it is posted again.

mod circuit;

mod clock;

mod confirm;

mod deliver;

mod gone;

mod manners;

mod pace;

mod pause;

mod poison;

mod publish;

mod retry;

mod share;

mod slots;

mod verdict;

mod worker;

pub use circuit::{Circuits, OPENS_AFTER, PROBE_EVERY};
pub use clock::Clock;
pub use confirm::{CONFIRM_AFTER, Finding};
pub use pause::{PROBE_AFTER, Pauses};
pub use poison::PANICS_MAX;
pub use retry::{ATTEMPTS_MIN, delay, is_over};
pub use verdict::{RETRY_AFTER_MAX, Verdict, judge};
pub use worker::{Sender, Stopped};
