//! The operator's verbs, one function each.

mod held;

pub use held::{Recheck, recheck_held};
