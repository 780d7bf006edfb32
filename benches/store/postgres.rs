//! What keeping entries in PostgreSQL costs: beside SQLite, and beside the least that PostgreSQL itself can do, an `INSERT` of
//! as many bytes in batches through one connection.

use std::sync::Arc;
use std::time::Duration;

use formgate::postgres_url::PostgresUrl;
use formgate::queue::postgres::{Options, PostgresStore, StoreClock};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

use crate::life::{append_all, whole_lives};
use crate::proofs::postgres::folder::Folder;
use crate::proofs::postgres::pair::Pair;
use crate::proofs::postgres::programs::Programs;
use crate::proofs::postgres::server::{Auth, Server};
use crate::{ENTRIES, Outcome, PRODUCERS, ROUNDS, as_f64, entries, folder, large, median, open, per_second, work};

/// Most bodies in one statement, as the store has it.
const BATCH_MAX: usize = 256;
/// Entries of the large store, unless `FORMGATE_BENCH_ENTRIES` says otherwise.
const LARGE: u64 = 10_000_000;
/// Bytes that each takes, with the log that is written meanwhile.
const BYTES_EACH: u64 = 2_700;
/// As a server with a gigabyte of memory has them.
const SETTINGS: &str = "shared_buffers = '256MB'\nmax_wal_size = '2GB'\n";

/// A server alone, and a primary whose commits wait for a standby.
struct Servers {
    alone: Server,
    pair: Pair,
    _folder: Folder,
}

impl Servers {
    async fn start() -> Outcome<Self> {
        let programs = Programs::find().await?;
        let folder = Folder::new(&programs)?;
        let alone = Server::start_new(&programs, folder.path(), Auth::Password).await?;
        alone.configure(SETTINGS)?;
        alone.stop().await?;
        alone.start().await?;
        Ok(Self { alone, pair: Pair::start().await?, _folder: folder })
    }
}

/// Prints all, or what takes many entries alone.
pub(crate) async fn all(only_lists: bool) -> Outcome<()> {
    let servers = Servers::start().await?;
    if !only_lists {
        appends(&servers).await?;
        lives(&servers).await?;
    }
    lists(&servers.alone).await
}

/// Opens a store in a database of its own, whose name it returns.
async fn open_new(server: &Server) -> Outcome<(Arc<PostgresStore>, String)> {
    let name = format!("bench_{:016x}", rand::random::<u64>());
    server.create_database(&name).await?;
    let options = Options { dedupe_window: Duration::from_secs(600), max_size: None, clock: StoreClock::Caller };
    let store = PostgresStore::open(&PostgresUrl::parse(&server.url(&name))?, options)?;
    store.prepare().await?;
    Ok((Arc::new(store), name))
}

async fn remove(server: &Server, name: &str) -> Outcome<()> {
    server.sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    Ok(())
}

/// Prints how many entries become durable in a second.
async fn appends(servers: &Servers) -> Outcome<()> {
    println!("\n### PostgreSQL: durable appends, beside SQLite and a bare batched INSERT\n");
    println!(
        "| at once | SQLite store /s | bare INSERT /s | store /s | ÷ SQLite | ÷ bare | with a standby /s | ÷ alone |"
    );
    println!(
        "|--------:|----------------:|---------------:|---------:|---------:|-------:|------------------:|--------:|"
    );
    for (producers, count) in [(1, ENTRIES / 20), (PRODUCERS, ENTRIES)] {
        let [mut sqlite, mut bare, mut alone, mut with_standby] = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            sqlite.push(sqlite_appends(count, producers).await?);
            bare.push(bare_appends(&servers.alone, count, producers).await?);
            alone.push(appends_to(&servers.alone, count, producers).await?);
            with_standby.push(appends_to(&servers.pair.primary, count, producers).await?);
        }
        let of = |rates: &[f64], floors: &[f64]| median(rates.iter().zip(floors).map(|(rate, of)| rate / of).collect());
        let ratios = [of(&alone, &sqlite), of(&alone, &bare), of(&with_standby, &alone)];
        let [sqlite, bare, alone, with_standby] = [sqlite, bare, alone, with_standby].map(median);
        let [of_sqlite, of_bare, of_alone] = ratios;
        println!(
            "| {producers:>7} | {sqlite:>15.0} | {bare:>14.0} | {alone:>8.0} | {of_sqlite:>8.2} | {of_bare:>6.2} | \
             {with_standby:>17.0} | {of_alone:>7.2} |"
        );
    }
    Ok(())
}

async fn sqlite_appends(count: u64, producers: usize) -> Outcome<f64> {
    let folder = folder()?;
    let store = open(&folder.path().join("store.db"))?;
    let new = entries::some(0, count)?;
    let begun = Instant::now();
    append_all(&store, new, producers).await?;
    Ok(per_second(count, begun))
}

async fn appends_to(server: &Server, count: u64, producers: usize) -> Outcome<f64> {
    let (store, name) = open_new(server).await?;
    let new = entries::some(0, count)?;
    let begun = Instant::now();
    append_all(&store, new, producers).await?;
    let rate = per_second(count, begun);
    remove(server, &name).await?;
    Ok(rate)
}

/// Writes bodies as the store does, and nothing else of them: what comes during a statement goes into the next one.
#[expect(
    clippy::too_many_lines,
    reason = "the floor, as it would be written by hand: a statement, its columns, a loop"
)]
async fn bare_appends(server: &Server, count: u64, producers: usize) -> Outcome<f64> {
    let name = format!("bench_{:016x}", rand::random::<u64>());
    server.create_database(&name).await?;
    let (client, connection) = tokio_postgres::connect(&server.url(&name), NoTls).await?;
    let connected = tokio::spawn(connection);
    client.batch_execute("CREATE SCHEMA bare; CREATE TABLE bare.body (body bytea NOT NULL)").await?;
    let (jobs, mut waiting) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>(BATCH_MAX);
    let writing = tokio::spawn(async move {
        while let Some(first) = waiting.recv().await {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX {
                let Ok(next) = waiting.try_recv() else { break };
                batch.push(next);
            }
            let (bodies, written): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let insert = "INSERT INTO bare.body SELECT unnest($1::bytea[])";
            let _rows = client.execute_typed(insert, &[(&bodies, Type::BYTEA_ARRAY)]).await?;
            written.into_iter().for_each(|written| written.send(()).unwrap_or_default());
        }
        Ok::<(), tokio_postgres::Error>(())
    });
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for producer in 0..producers as u64 {
        let jobs = jobs.clone();
        tasks.spawn(async move {
            for number in (producer..count).step_by(producers) {
                let (written, answer) = oneshot::channel();
                jobs.send((entries::body(number), written)).await?;
                answer.await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let rate = per_second(count, begun);
    drop(jobs);
    writing.await??;
    connected.await??;
    remove(server, &name).await?;
    Ok(rate)
}

/// What one entry's way costs the processor, in microseconds.
#[derive(Default)]
struct Costs {
    gateway: Vec<f64>,
    server: Vec<f64>,
}

/// Prints what an entry's whole way costs the processor, on the gateway's side and on the server's.
async fn lives(servers: &Servers) -> Outcome<()> {
    let mut sqlite = Vec::new();
    let [mut alone, mut with_standby] = [const { Costs { gateway: Vec::new(), server: Vec::new() } }; 2];
    for _ in 0..ROUNDS {
        let folder = folder()?;
        sqlite.push(whole_lives(&open(&folder.path().join("store.db"))?, 0, ENTRIES).await?);
        alone.measure(&servers.alone, &[&servers.alone]).await?;
        with_standby.measure(&servers.pair.primary, &[&servers.pair.primary, &servers.pair.standby]).await?;
    }
    println!(
        "\n### PostgreSQL: an entry's whole way, appended, claimed and settled; the processor's time, {PRODUCERS} at once\n"
    );
    println!("|                        | gateway µs | server µs | both µs | ÷ SQLite |");
    println!("|------------------------|-----------:|----------:|--------:|---------:|");
    let sqlite = median(sqlite);
    println!("| SQLite                 | {sqlite:>10.1} |         – | {sqlite:>7.1} |     1.00 |");
    for (what, costs) in [("PostgreSQL", alone), ("with a standby", with_standby)] {
        let [gateway, server] = [costs.gateway, costs.server].map(median);
        let both = gateway + server;
        println!("| {what:<22} | {gateway:>10.1} | {server:>9.1} | {both:>7.1} | {:>8.2} |", both / sqlite);
    }
    Ok(())
}

impl Costs {
    /// Takes entries their whole way in a server; what it and its standby take counts.
    async fn measure(&mut self, server: &Server, all: &[&Server]) -> Outcome<()> {
        let (store, name) = open_new(server).await?;
        let before = processor_time(all)?;
        self.gateway.push(whole_lives(&store, 0, ENTRIES).await?);
        self.server.push((processor_time(all)? - before) / as_f64(ENTRIES));
        remove(server, &name).await
    }
}

fn processor_time(servers: &[&Server]) -> Outcome<f64> {
    let times = servers.iter().map(|server| server.processor_time());
    Ok(times.sum::<anyhow::Result<Duration>>()?.as_secs_f64() * 1e6)
}

/// Prints how long lists take in a large store, how large it is, and how long it took to fill.
async fn lists(server: &Server) -> Outcome<()> {
    const SIZE: &str = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class
        WHERE relnamespace = 'formgate'::regnamespace AND relkind = 'r'";
    let count = match std::env::var("FORMGATE_BENCH_ENTRIES") {
        Ok(count) => count.parse()?,
        Err(_unset) => as_many_as_fit(server)?,
    };
    // A day after the first have expired.
    let first_expired = Timestamp::from_second(1_760_000_000 + 31 * 86_400)?;
    let (store, name) = open_new(server).await?;
    append_all(&store, entries::some(0, 1)?, 1).await?;
    server.sql(&name, &include_str!("fill.sql").replace("$ENTRIES", &count.to_string())).await?;
    server.sql(&name, "VACUUM ANALYZE").await?;
    let bytes: u64 = server.sql(&name, SIZE).await?.parse()?;
    println!(
        "\n### PostgreSQL: lists and counts with {count} entries, {:.0} bytes each\n",
        as_f64(bytes) / as_f64(count)
    );
    println!("`FORMGATE_BENCH_ENTRIES` says how many; {LARGE} take {} GB.", LARGE * BYTES_EACH / 1_000_000_000);
    large::lists(&*store, &format!("{count}, 97 % delivered")).await?;
    work::all(&*store, &format!("{count}, 97 % delivered"), first_expired).await?;
    remove(server, &name).await
}

/// Says how many entries the disk takes, so that a third of what is free stays free.
fn as_many_as_fit(server: &Server) -> Outcome<u64> {
    let disk = rustix::fs::statvfs(server.data())?;
    let fit = disk.f_bavail * disk.f_frsize / 3 * 2 / BYTES_EACH;
    if fit < LARGE {
        println!("\nOf {LARGE} entries {fit} are measured: the disk has no room for more.");
    }
    Ok(LARGE.min(fit))
}
