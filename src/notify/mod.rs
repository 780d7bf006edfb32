//! What formgate tells others: events, by webhook and by mail.
//!
//! An event begins where something happened: the store records what became of a lead in the transaction that changed it,
//! and [`watch`] emits what no change of a lead tells. Both lie in the store's outbox as ids. [`lanes`] takes them from
//! there, in order, to each sink that wants them; [`content`] reads what an event tells when it is sent, so that what was
//! erased is told to nobody; [`sink`] sends it.

pub mod notice;

pub mod sink;

pub mod words;
