//! The proofs, one a file, and what they share.

pub(crate) mod backlog;

pub(crate) mod balancer;

pub(crate) mod client;

pub(crate) mod corrupt;

pub(crate) mod disk;

pub(crate) mod gateway;

pub(crate) mod gone;

pub(crate) mod hostile;

pub(crate) mod keyed_api;

pub(crate) mod kill;

pub(crate) mod load;

#[allow(dead_code, reason = "some of it only the tests need")]
pub(crate) mod postgres;

pub(crate) mod reload;

pub(crate) mod row;

pub(crate) mod sending;

pub(crate) mod shared_store;

pub(crate) mod sick_sites;

pub(crate) mod soak;

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

type Running<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Row>>> + 'a>>;

/// One proof gives one row, most of them.
fn one<'a>(proof: impl Future<Output = anyhow::Result<Row>> + 'a) -> Running<'a> {
    Box::pin(async { Ok(vec![proof.await?]) })
}

/// A proof, by the name it is asked for.
pub(crate) struct Proof {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Plan) -> Running<'a>,
}

/// Takes as many seconds as it is given rounds; it is run when asked for by name.
pub(crate) const SOAK: Proof = Proof { name: "soak", run: |plan| one(soak::soak(plan)) };

/// All others, in the order in which they are run.
pub(crate) const PROOFS: &[Proof] = &[
    Proof { name: "kill", run: |plan| one(kill::kill(plan)) },
    Proof { name: "drop", run: |plan| one(kill::commit_and_drop(plan)) },
    Proof { name: "disk-full", run: |plan| one(disk::full(plan)) },
    Proof { name: "read-only", run: |plan| one(disk::read_only(plan)) },
    Proof { name: "max-size", run: |plan| one(disk::max_size(plan)) },
    Proof { name: "store-gone", run: |plan| one(gone::gone(plan)) },
    Proof { name: "store-corrupt", run: |plan| one(corrupt::corrupt(plan)) },
    Proof { name: "fsync", run: |plan| one(sync::sync(plan)) },
    Proof { name: "stop", run: |plan| one(stop::term(plan)) },
    Proof { name: "stop-silent", run: |plan| one(stop::term_while_silent(plan)) },
    Proof { name: "upgrade", run: |plan| one(upgrade::upgrade(plan)) },
    Proof { name: "upgrade-nobody", run: |plan| one(upgrade::nobody_waits(plan)) },
    Proof { name: "reload", run: |plan| one(reload::reload(plan)) },
    Proof { name: "sick-sites", run: |_plan| one(sick_sites::sick_sites()) },
    Proof { name: "backlog", run: |_plan| one(backlog::backlog()) },
    Proof { name: "pg-kill-gateway", run: |plan| one(shared_store::kill_gateway(plan)) },
    Proof { name: "pg-failover", run: |plan| one(shared_store::failover(plan)) },
    Proof { name: "pg-pause", run: |plan| one(shared_store::pause(plan)) },
    Proof { name: "pg-full", run: |plan| one(shared_store::full(plan)) },
    Proof { name: "pg-upgrade", run: |plan| one(shared_store::upgrade(plan)) },
    Proof { name: "hostile", run: |plan| Box::pin(hostile::hostile(plan)) },
];
