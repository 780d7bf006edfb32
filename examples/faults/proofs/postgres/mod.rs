//! PostgreSQL servers of a test's own: on free ports, in temporary folders, gone with the process that started them.
//!
//! They are set up as an administrator would: `fsync` on, commits synchronous, passwords asked for. A test that needs it
//! otherwise says so.

mod folder;

mod pair;

mod programs;

mod server;

pub(crate) use folder::Folder;

pub(crate) use pair::Pair;

pub(crate) use programs::Programs;

pub(crate) use server::{Auth, Server};
