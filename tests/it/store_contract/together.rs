//! What only a store in PostgreSQL promises: several gateways share it, a connection may be lost in the middle of anything, and
//! a server that may forget is refused.

mod pooler;

mod proxy;

use std::future::poll_fn;
use std::os::unix::fs::PermissionsExt as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use formgate::lead::EntryId;
use formgate::postgres_url::PostgresUrl;
use formgate::queue::postgres::{Options, PostgresStore, StoreClock};
use formgate::queue::{
    Appended, Claim, DedupeKey, Filter, Merge, NoteChange, NoteKind, Notes as _, NumbersMerge, Order, Store, StoreError,
};
use jiff::Timestamp;
use tokio::task::JoinSet;

use self::proxy::{Cut, Proxy};
use super::{WINDOW, add, entry, id};
use crate::faults::proofs::postgres::folder::Folder;
use crate::faults::proofs::postgres::programs::Programs;
use crate::faults::proofs::postgres::server::{Auth, Server};
use crate::postgres::{Database, fresh_database};

fn open(url: &str) -> PostgresStore {
    open_with(url, None)
}

fn open_with(url: &str, max_size: Option<u64>) -> PostgresStore {
    let url = PostgresUrl::parse(url).expect("a URL");
    let options = Options { dedupe_window: WINDOW, max_size, clock: StoreClock::Server };
    PostgresStore::open(&url, options).expect("the store opens")
}

async fn all_ids(store: &dyn Store) -> Vec<EntryId> {
    let page = store.scan(&Filter::default(), Order::Oldest, None, 1_000).await.expect("listed");
    page.heads.into_iter().map(|head| head.id).collect()
}

async fn unfit(store: &PostgresStore) -> String {
    match store.prepare().await {
        Err(StoreError::Unfit { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_known_by_its_id() {
    for cut in [Cut::Answer, Cut::Statement] {
        let database = fresh_database().await;
        let proxy = Proxy::to(database.server.port).await;
        let store = open(&proxy.url(&database.name));
        add(&store, entry(1, "acme")).await;
        let key = Some(DedupeKey([7; 32]));
        proxy.cut(cut);
        let appended = store.append(entry(2, "acme"), key).await.expect("appended");
        assert_eq!(appended, Appended::New(id(2)), "{cut:?}");
        assert_eq!(proxy.cuts(), 1, "{cut:?}: the append went another way");
        assert_eq!(all_ids(&store).await, [id(1), id(2)], "{cut:?}");
        assert_eq!(store.append(entry(3, "acme"), key).await.expect("appended"), Appended::Duplicate(id(2)), "{cut:?}");
    }
}

#[tokio::test]
async fn whoever_goes_away_in_the_middle_leaves_no_transaction_to_the_next() {
    let database = fresh_database().await;
    let store = open(&database.url);
    store.prepare().await.expect("prepared");
    // In two ways, so that it takes a transaction.
    let note = |merge| NoteChange::new(NoteKind::Daily, "2026-10-15/acme", merge).expect("within its bounds");
    let added = Merge { numbers: NumbersMerge::Add(vec![1]), ..Merge::default() };
    let greatest = Merge { numbers: NumbersMerge::Max(vec![1]), ..Merge::default() };
    let notes = [(note(added), Timestamp::now()), (note(greatest), Timestamp::now())];
    for number in 0..40 {
        gone_after(number.into(), store.note_all(&notes)).await;
        add(&store, entry(number, "acme")).await;
        // Seen by others.
        let there = database.server.sql(&database.name, "SELECT count(*) FROM formgate.entry").await.expect("counted");
        assert_eq!(there, (number + 1).to_string());
    }
}

/// Goes on with something until it has been woken so many times, and then drops it.
async fn gone_after<T>(times: u32, work: impl Future<Output = T>) {
    let mut work = pin!(work);
    let mut left = times;
    poll_fn(|context| match left.checked_sub(1) {
        Some(fewer) => {
            left = fewer;
            work.as_mut().poll(context).map(drop)
        }
        None => Poll::Ready(()),
    })
    .await;
}

#[tokio::test]
async fn what_one_gateway_takes_wakes_the_others() {
    let database = fresh_database().await;
    let one = open(&database.url);
    let other = open(&database.url);
    one.prepare().await.expect("prepared");
    let mut changed = other.changed();
    // A hint may be lost, as one is that is given before the other listens.
    for number in 1..=10 {
        add(&one, entry(number, "acme")).await;
        if tokio::time::timeout(Duration::from_secs(1), changed.changed()).await.is_ok() {
            return;
        }
    }
    panic!("no hint came");
}

#[tokio::test]
async fn no_entry_is_leased_to_two_gateways() {
    let database = fresh_database().await;
    let gateways: Vec<_> = (0..4).map(|_| Arc::new(open(&database.url))).collect();
    let appending =
        (0..200_u8).map(|number| add(&*gateways[0], entry(number, ["a", "b", "c"][usize::from(number) % 3])));
    for append in appending {
        append.await;
    }
    let mut claiming = JoinSet::new();
    for store in gateways {
        claiming.spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let claim = Claim::new(7, Duration::from_secs(60), Timestamp::now());
                let leases = store.claim(&claim).await.expect("claimed");
                // All may have gone to the others.
                if leases.is_empty() && store.counts().await.is_ok() {
                    return claimed;
                }
                claimed.extend(leases.into_iter().map(|lease| lease.head.id));
            }
        });
    }
    let mut claimed: Vec<_> = claiming.join_all().await.into_iter().flatten().collect();
    let leases = claimed.len();
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!((claimed.len(), leases), (200, 200));
}

#[tokio::test]
async fn of_many_that_start_together_one_makes_the_tables() {
    let database = fresh_database().await;
    let mut starting = JoinSet::new();
    for _ in 0..8 {
        let store = open(&database.url);
        starting.spawn(async move { store.prepare().await });
    }
    for prepared in starting.join_all().await {
        prepared.expect("prepared");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_in_words_unless_this_program_can_use_it() {
    let Database { url, name, server } = fresh_database().await;
    open(&url).prepare().await.expect("prepared");
    server.sql(&name, "UPDATE formgate.version SET number = 99").await.expect("changed");
    open(&url).prepare().await.expect("it can be used all the same");
    server.sql(&name, "UPDATE formgate.version SET usable_from = 99").await.expect("changed");
    let refused = open(&url).prepare().await.expect_err("it is newer");
    let words = refused.to_string();
    assert!(matches!(refused, StoreError::Newer { found: 99, .. }) && words.contains("99"), "{words}");
}

#[tokio::test]
async fn a_server_that_may_forget_is_refused() {
    let Database { url, .. } = fresh_database().await;
    let why = unfit(&open(&format!("{url}?options=-c%20synchronous_commit%3Doff"))).await;
    assert!(why.contains("synchronous_commit is off") && why.contains("set it to on"), "{why}");
    let programs = Programs::find().await.expect("PostgreSQL");
    let folder = Folder::new(&programs).expect("a folder");
    let server = Server::start_new(&programs, folder.path(), Auth::Password).await.expect("a server");
    server.create_database("leads").await.expect("a database");
    let mut refusals = Vec::new();
    for setting in ["fsync", "full_page_writes"] {
        server.set(setting, "off").await.expect("set");
        refusals.push(unfit(&open(&server.url("leads"))).await);
        server.set(setting, "on").await.expect("set");
    }
    assert!(
        refusals[0].starts_with("fsync is off") && refusals[1].starts_with("full_page_writes is off"),
        "{refusals:?}"
    );
    open(&server.url("leads")).prepare().await.expect("an honest one is taken");
}

#[tokio::test]
async fn an_encrypted_connection_is_one_to_a_server_whose_certificate_is_good() {
    let tls = |file: &str| format!("{}/tests/it/tls/{file}", env!("CARGO_MANIFEST_DIR"));
    let programs = Programs::find().await.expect("PostgreSQL");
    let folder = Folder::new(&programs).expect("a folder");
    let server = Server::start_new(&programs, folder.path(), Auth::Trust).await.expect("a server");
    server.create_database("leads").await.expect("a database");
    for (file, copy) in [("good.pem", "server.crt"), ("server.key", "server.key")] {
        let copy = folder.path().join(copy);
        std::fs::copy(tls(file), &copy).expect("copied");
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600)).expect("kept from others");
        programs.own(&copy).expect("given away");
    }
    let files = |name: &str| folder.path().join(name).display().to_string();
    server.stop().await.expect("stopped");
    let certificate = files("server.crt");
    let key = files("server.key");
    server.configure(&format!("ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'")).expect("set");
    server.start().await.expect("started");
    let url = |host: &str, more: &str| format!("postgres://formgate@{host}:{}/leads?{more}", server.port);
    let trusted = format!("sslmode=verify-full&sslrootcert={}", tls("ca.pem"));
    let store = open(&url("localhost", &trusted));
    store.prepare().await.expect("its authority is named");
    let encrypted =
        "SELECT count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND datname = 'leads'";
    assert_eq!(server.sql("postgres", encrypted).await.expect("asked"), "t");
    for refused in [url("127.0.0.1", &trusted), url("localhost", "sslmode=require")] {
        let error = open(&refused).prepare().await.expect_err("another name, or an authority that nobody knows");
        assert!(matches!(&error, StoreError::Unavailable(why) if why.to_string().contains("certificate")), "{error:?}");
    }
}

#[tokio::test]
async fn a_user_who_may_not_make_tables_is_told_what_to_grant() {
    let Database { server, .. } = fresh_database().await;
    let name = format!("foreign_{:016x}", rand::random::<u64>());
    server.sql("postgres", &format!("CREATE DATABASE {name}")).await.expect("made");
    let why = unfit(&open(&server.url(&name))).await;
    assert!(why.contains("GRANT CREATE"), "{why}");
    // An administrator may make the schema instead.
    server.sql(&name, "CREATE SCHEMA formgate AUTHORIZATION formgate").await.expect("made");
    open(&server.url(&name)).prepare().await.expect("prepared");
}

#[tokio::test]
async fn a_store_at_its_size_takes_nothing_more() {
    let database = fresh_database().await;
    let store = open_with(&database.url, Some(1));
    add(&store, entry(1, "acme")).await;
    assert!(matches!(store.ready().await, Err(StoreError::Full)));
    assert!(matches!(store.append(entry(2, "acme"), None).await, Err(StoreError::Full)));
    assert_eq!(all_ids(&store).await, [id(1)]);
    // What goes makes room.
    assert!(matches!(store.erase(&[id(1)]).await, Err(StoreError::Remains { .. })));
    store.ready().await.expect("there is room");
    add(&store, entry(2, "acme")).await;
}

#[tokio::test]
async fn what_was_erased_may_remain_where_no_client_reaches_and_that_is_said() {
    let database = fresh_database().await;
    let store = open(&database.url);
    add(&store, entry(1, "acme")).await;
    let Err(remains @ StoreError::Remains { erased: 1, .. }) = store.erase(&[id(1)]).await else { panic!("no word") };
    let words = remains.to_string();
    for place in ["free pages", "pg_wal", "standbys", "backups"] {
        assert!(words.contains(place), "{words}");
    }
    assert_eq!(all_ids(&store).await, []);
    assert_eq!(store.erase(&[id(1)]).await.expect("there is nothing"), 0);
    for table in ["entry", "content", "dedupe"] {
        let rows = database.server.sql(&database.name, &format!("SELECT count(*) FROM formgate.{table}")).await;
        assert_eq!(rows.expect("counted"), "0", "{table}");
    }
}
