//! A pooler in transaction mode stands between gateways and server: PgBouncer, as administrators set it up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::Instant;

use super::super::{carry, notes, open_postgres_at, outbox, promises};
use super::open;
use crate::faults::proofs::gateway::free_address;
use crate::faults::proofs::postgres::folder::Folder;
use crate::faults::proofs::postgres::programs::Programs;
use crate::postgres::{Database, fresh_database};

/// How long it takes to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns where PgBouncer is: Debian puts it where only administrators look.
fn program() -> PathBuf {
    let debian = PathBuf::from("/usr/sbin/pgbouncer");
    if debian.exists() { debian } else { PathBuf::from("pgbouncer") }
}

/// A pooler; it ends with its folder's test.
struct Pooler {
    _process: Child,
    _folder: Folder,
    port: u16,
}

impl Pooler {
    /// Starts one that gives each transaction whichever of a few sessions is free, and remembers nothing between them.
    async fn to(database: &Database) -> Self {
        let programs = Programs::find().await.expect("PostgreSQL");
        let folder = Folder::new(&programs).expect("a folder");
        let port = free_address().expect("a port").port();
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=formgate\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n\
             unix_socket_dir =\nserver_reset_query_always = 1\n",
            database.server.port
        );
        std::fs::write(&settings, text).expect("written");
        programs.own(&settings).expect("given away");
        let process = programs.command_of(&program(), folder.path()).arg(&settings).spawn().expect("PgBouncer starts");
        let pooler = Self { _process: process, _folder: folder, port };
        pooler.wait().await;
        pooler
    }

    async fn wait(&self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "PgBouncer doesn't start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

macro_rules! through_a_pooler {
    ($($promises:ident::$promise:ident)*) => {
        $(#[tokio::test]
        async fn $promise() {
            let database = fresh_database().await;
            let pooler = Pooler::to(&database).await;
            let url = format!("postgres://formgate@127.0.0.1:{}/{}", pooler.port, database.name);
            $promises::$promise(Arc::new(open_postgres_at(&url))).await;
        })*
    };
}

through_a_pooler! {
    promises::of_many_appends_with_one_key_one_is_new
    promises::a_claim_takes_sites_in_turn_and_the_oldest_first
    promises::a_late_delivery_is_recorded_and_the_first_lead_id_stays
    promises::amend_queues_what_is_held_or_dead_and_keeps_the_overlay
    promises::scan_goes_either_way
    promises::counts_follow_each_change
    promises::erased_entries_are_gone
    promises::only_what_has_expired_is_removed
    outbox::each_transition_is_an_event
    outbox::an_event_is_kept_until_every_reader_has_it
    notes::what_many_add_at_once_adds_up
    notes::several_notes_are_written_each_as_of_its_own_time
    notes::of_many_who_ask_at_once_one_holds
    carry::an_append_that_comes_late_is_a_duplicate_within_the_window
}

#[tokio::test]
async fn only_hints_need_a_session_of_their_own() {
    let database = fresh_database().await;
    let pooler = Pooler::to(&database).await;
    let store = open(&format!("postgres://formgate@127.0.0.1:{}/{}", pooler.port, database.name));
    store.prepare().await.expect("the tables are made through it");
}
