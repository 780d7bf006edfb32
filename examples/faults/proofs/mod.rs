//! The proofs, one a file, and what they share.

pub(crate) mod client;

pub(crate) mod disk;

pub(crate) mod gateway;

pub(crate) mod gone;

pub(crate) mod kill;

pub(crate) mod load;

pub(crate) mod reload;

pub(crate) mod row;

pub(crate) mod stop;

pub(crate) mod submission;

pub(crate) mod sync;

pub(crate) mod upgrade;

pub(crate) mod upstream;

use std::path::PathBuf;
use std::pin::Pin;

use row::Row;

/// What is run, and how often.
pub(crate) struct Plan {
    /// The program under test.
    pub(crate) program: PathBuf,
    /// Rounds of the proofs that kill; others take their part of it.
    pub(crate) rounds: usize,
}

type Running<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Row>> + 'a>>;

/// A proof, by the name it is asked for.
pub(crate) struct Proof {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Plan) -> Running<'a>,
}

/// All of them, in the order in which they are run.
pub(crate) const PROOFS: &[Proof] = &[
    Proof { name: "kill", run: |plan| Box::pin(kill::kill(plan)) },
    Proof { name: "drop", run: |plan| Box::pin(kill::commit_and_drop(plan)) },
    Proof { name: "disk-full", run: |plan| Box::pin(disk::full(plan)) },
    Proof { name: "read-only", run: |plan| Box::pin(disk::read_only(plan)) },
    Proof { name: "max-size", run: |plan| Box::pin(disk::max_size(plan)) },
    Proof { name: "store-gone", run: |plan| Box::pin(gone::gone(plan)) },
    Proof { name: "fsync", run: |plan| Box::pin(sync::sync(plan)) },
    Proof { name: "stop", run: |plan| Box::pin(stop::term(plan)) },
    Proof { name: "stop-silent", run: |plan| Box::pin(stop::term_while_silent(plan)) },
    Proof { name: "upgrade", run: |plan| Box::pin(upgrade::upgrade(plan)) },
    Proof { name: "upgrade-nobody", run: |plan| Box::pin(upgrade::nobody_waits(plan)) },
    Proof { name: "reload", run: |plan| Box::pin(reload::reload(plan)) },
];
