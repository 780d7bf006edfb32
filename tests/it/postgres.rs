//! Fresh databases on one PostgreSQL server for all tests of a run, which is shared by their processes.
//!
//! Whoever comes first starts it. It ends some seconds after the last process that used it, and takes its folder along.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::faults::proofs::postgres::folder::Folder;
use crate::faults::proofs::postgres::pair::Pair;
use crate::faults::proofs::postgres::programs::Programs;
use crate::faults::proofs::postgres::server::{Auth, Server};

/// What the processes of a run know of each other.
const RUN: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/postgres");
/// Waits until no process has used the folder `$1` for some seconds.
///
/// A user registers itself and then looks at `$2` once more; here it is the other way round. So one of the two always
/// sees the other.
const UNTIL_UNUSED: &str = r#"
used() {
    for user in "$1"/users/*; do
        kill -0 "${user##*/}" 2>/dev/null && return 0
    done
    return 1
}
unused=0
while [ "$unused" -lt 20 ]; do
    sleep 1
    unused=$((unused + 1))
    used "$1" && unused=0
done
case $(cat "$2") in "$1 "*) rm -f "$2" ;; esac
while used "$1"; do sleep 1; done
"#;

/// A database without any table, of the role that owns it.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) server: &'static Server,
}

/// Returns a database that no other test uses.
pub(crate) async fn fresh_database() -> Database {
    static SERVER: OnceCell<Server> = OnceCell::const_new();

    let server = SERVER.get_or_try_init(shared_server).await.expect("a PostgreSQL server");
    let name = format!("test_{:016x}", rand::random::<u64>());
    server.create_database(&name).await.expect("a database");
    Database { url: server.url(&name), name, server }
}

/// Finds the server of this run, or starts it.
async fn shared_server() -> anyhow::Result<Server> {
    let run = Path::new(RUN);
    std::fs::create_dir_all(run)?;
    let lock = File::create(run.join("lock"))?;
    let _alone = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    let programs = Programs::find().await?;
    let current = run.join("current");
    if let Some(server) = running(&programs, &current).await {
        return Ok(server);
    }
    let folder = Folder::until(UNTIL_UNUSED, &[&current], &programs)?;
    register(&folder)?;
    let server = Server::start_new(&programs, &folder, Auth::Trust).await?;
    std::fs::write(&current, format!("{} {}", folder.display(), server.port))?;
    Ok(server)
}

/// Registers this process as a user of the server that is named there, if there is one and it runs.
async fn running(programs: &Programs, current: &Path) -> Option<Server> {
    let named = std::fs::read_to_string(current).ok()?;
    let (folder, port) = named.rsplit_once(' ')?;
    let folder = PathBuf::from(folder);
    let port = port.parse().ok()?;
    register(&folder).ok()?;
    let is_still_named = std::fs::read_to_string(current).is_ok_and(|now| now == named);
    let answers = TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    (is_still_named && answers).then(|| Server::running(programs, &folder, port))
}

fn register(folder: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(folder.exists(), "it is gone");
    let users = folder.join("users");
    std::fs::create_dir_all(&users)?;
    std::fs::write(users.join(std::process::id().to_string()), "").context("the server can't be used")
}

#[tokio::test]
async fn each_database_is_empty_and_belongs_to_the_role_of_its_url() {
    let (one, other) = tokio::join!(fresh_database(), fresh_database());
    assert_ne!(one.url, other.url);
    for database in [one, other] {
        let Database { name, server, url } = database;
        assert!(url.ends_with(&name), "{url}");
        let of_database = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()";
        assert_eq!(server.sql(&name, of_database).await.expect("asked"), "formgate");
        let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        assert_eq!(server.sql(&name, tables).await.expect("asked"), "0");
    }
}

#[tokio::test]
async fn the_server_of_the_tests_is_honest() {
    let Database { name, server, .. } = fresh_database().await;
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(server.sql(&name, &format!("SHOW {setting}")).await.expect("asked"), "on", "{setting}");
    }
}

#[tokio::test]
async fn a_standby_has_what_its_primary_committed_and_takes_over() {
    let pair = Pair::start().await.expect("a primary and a standby");
    pair.primary.create_database("leads").await.expect("a database");
    pair.primary.sql("leads", "CREATE TABLE lead AS SELECT 1 AS number").await.expect("committed");
    pair.primary.kill().await.expect("killed");
    assert!(pair.primary.sql("leads", "SELECT 1").await.is_err(), "it still answers");
    assert!(pair.standby.sql("leads", "INSERT INTO lead VALUES (2)").await.is_err(), "a standby took a write");
    pair.standby.promote().await.expect("promoted");
    pair.standby.sql("leads", "INSERT INTO lead VALUES (2)").await.expect("committed");
    assert_eq!(pair.standby.sql("leads", "SELECT count(*) FROM lead").await.expect("asked"), "2");
    let ports = format!("@127.0.0.1:{},127.0.0.1:{}/leads?", pair.primary.port, pair.standby.port);
    assert!(pair.url("leads").contains(&ports), "{}", pair.url("leads"));
}

#[tokio::test]
async fn a_frozen_server_answers_once_it_goes_on() {
    let pair = Pair::start().await.expect("a primary and a standby");
    pair.primary.freeze().expect("frozen");
    let mut asked = std::pin::pin!(pair.primary.sql("postgres", "SELECT 7"));
    let waited = tokio::time::timeout(std::time::Duration::from_millis(300), &mut asked).await;
    assert!(waited.is_err(), "it answered: {waited:?}");
    pair.primary.thaw().expect("thawed");
    assert_eq!(asked.await.expect("asked"), "7");
}

#[tokio::test]
async fn no_server_outlives_its_folder() {
    let programs = Programs::find().await.expect("PostgreSQL");
    let folder = Folder::new(&programs).expect("a folder");
    let server = Server::start_new(&programs, folder.path(), Auth::Trust).await.expect("a server");
    server.freeze().expect("frozen");
    let path = folder.path().to_owned();
    let port = server.port;
    drop(folder);
    assert!(!path.exists(), "{} is there", path.display());
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "it still listens");
}
