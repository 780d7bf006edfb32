//! PostgreSQL servers of a test's own: on free ports, in temporary folders, gone with the process that started them.
//!
//! They are set up as an administrator would: `fsync` on, commits synchronous, passwords asked for. A test that needs it
//! otherwise says so.

pub(crate) mod folder;

pub(crate) mod pair;

pub(crate) mod programs;

pub(crate) mod server;
