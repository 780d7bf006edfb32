//! The connections to the servers.
//!
//! Every statement is sent with the types of its parameters, and is a transaction of its own wherever that is possible: one round
//! trip, no lock that is held across another, nothing that a connection remembers. So a pooler in transaction mode may stand
//! between.

use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client as PgClient, Config, NoTls, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{Failure, NoAnswer};
use super::schema;
use crate::postgres_url::{PostgresTls, PostgresUrl};

/// Most connections of a gateway, beside the one that listens.
const CONNECTIONS_MAX: usize = 12;
/// So many of them may read long.
const READING_MAX: usize = 4;
/// How long a statement waits for a connection, and how long it may take to open one.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);
/// How long the server may take to answer a statement.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The same for a command that goes through a whole table.
const LONG_MAX: Duration = Duration::from_secs(3_600);
/// From one try to take a step of the schema to the next, at least.
const STEP_PAUSE: Duration = Duration::from_secs(5);
/// How often a statement is tried again that another transaction was in the way of.
const TRIES_MAX: usize = 5;
/// The oldest server that it is tried with: 15.
const SERVER_MIN: i32 = 150_000;

/// A parameter and its type.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// Parameters that a statement is given, each with its type: mostly columns of rows, as arrays.
#[derive(Default)]
pub(super) struct Params<'a>(Vec<(Box<dyn ToSql + Sync + Send + 'a>, Type)>);

impl<'a> Params<'a> {
    /// Adds a parameter; the first is `$1`.
    pub(super) fn add(&mut self, kind: Type, value: impl ToSql + Sync + Send + 'a) {
        self.0.push((Box::new(value), kind));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn all(&self) -> Vec<Param<'_>> {
        self.0.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect()
    }
}

/// The servers, through connections that are opened as they are needed.
pub(super) struct Database {
    pool: Pool,
    prepared: OnceCell<()>,
    /// Why a step of the schema couldn't be taken, and until when nobody tries again.
    put_off: Mutex<Option<(Instant, Failure)>>,
    /// Places for what may read long.
    pub(super) reading: Semaphore,
    connector: Connector,
    config: Config,
}

/// Opens connections.
///
/// They belong to one runtime, whoever asks for them: they would end with that of a caller that ends.
#[derive(Clone)]
struct Connector {
    tls: Option<MakeRustlsConnect>,
    runtime: Handle,
}

impl Database {
    /// Makes ready to connect; nothing is opened yet.
    pub(super) fn new(url: &PostgresUrl, runtime: Handle) -> Result<Self, Failure> {
        let tls = match url.tls() {
            PostgresTls::Off => None,
            PostgresTls::Verified { authorities } => Some(MakeRustlsConnect::new(tls_config(authorities.as_deref())?)),
        };
        let connector = Connector { tls, runtime };
        let config = url.config().clone();
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(config.clone(), connector.clone(), recycling);
        let fit =
            Hook::async_fn(|client: &mut ClientWrapper, _metrics| Box::pin(async move { check_fit(client).await }));
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS_MAX)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECTION_WAIT))
            .create_timeout(Some(CONNECTION_WAIT))
            .post_create(fit)
            .build()
            .map_err(Failure::unavailable)?;
        Ok(Self {
            pool,
            prepared: OnceCell::new(),
            put_off: Mutex::default(),
            reading: Semaphore::new(READING_MAX),
            connector,
            config,
        })
    }

    /// Has a statement carried out, and returns its rows.
    ///
    /// `Lost` says that it may have been carried out or not.
    pub(super) async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        let mut tries = 1;
        loop {
            let lent = self.lend().await?;
            let answer = in_time(lent.client()?.query_typed(sql, params)).await;
            match self.take_back(lent, answer) {
                Err(Failure::Again(_)) if tries < TRIES_MAX => tries += 1,
                answer => return answer,
            }
        }
    }

    /// The same for what may read long: it leaves connections to whoever writes.
    pub(super) async fn read(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        let _place = self.reading.acquire().await.map_err(Failure::unavailable)?;
        self.query(sql, params).await
    }

    /// Carries out a command that has no parameters and can't be part of a transaction.
    pub(super) async fn command(&self, sql: &str) -> Result<(), Failure> {
        let lent = self.lend().await?;
        let done = in_time(lent.client()?.batch_execute(sql)).await;
        self.take_back(lent, done)
    }

    /// The same for a command that may take long; nothing waits for it.
    pub(super) async fn long_command(&self, sql: &str) -> Result<(), Failure> {
        let lent = self.lend().await?;
        let done = within(LONG_MAX, lent.client()?.batch_execute(sql)).await;
        self.take_back(lent, done)
    }

    /// Sees to it that the tables are there. Where a step had to wait for one of them, those that use it come first for a while:
    /// a backup may hold it for hours.
    async fn prepare(&self, client: &PgClient) -> Result<(), Failure> {
        if let Some((_, failure)) = self.put_off.lock().as_ref().filter(|(until, _)| Instant::now() < *until) {
            return Err(failure.clone());
        }
        let prepared = schema::prepare(client).await;
        if let Err(failure @ Failure::Locked(_)) = &prepared {
            let pause = STEP_PAUSE.mul_f64(rand::random_range(1.0..2.0));
            *self.put_off.lock() = Some((Instant::now() + pause, failure.clone()));
        }
        prepared
    }

    /// Lends a connection to a server whose tables are there.
    pub(super) async fn lend(&self) -> Result<Lent, Failure> {
        let lending = async {
            let lent = Lent(Some(self.pool.get().await.map_err(of_pool)?));
            self.prepared.get_or_try_init(|| async { self.prepare(lent.client()?).await }).await?;
            Ok(lent)
        };
        tokio::time::timeout(ANSWER_MAX, lending).await.unwrap_or_else(|_elapsed| Err(Failure::lost(NoAnswer)))
    }

    /// Takes a connection back. One that is of no use any more is closed, and so are the others that nobody uses: those are as bad,
    /// or lead to a server that takes no more writes.
    pub(super) fn take_back<T>(&self, lent: Lent, answer: Result<T, Failure>) -> Result<T, Failure> {
        if answer.as_ref().is_err_and(Failure::ends_connection) {
            drop(lent);
            self.pool.retain(|_client, _metrics| false);
        } else {
            lent.give_back();
        }
        answer
    }

    /// Opens a connection that nobody else uses; it ends when the client is dropped.
    pub(super) async fn connect(&self) -> Result<(PgClient, Unasked), Failure> {
        in_time(self.connector.open(&self.config)).await
    }
}

pub(super) async fn in_time<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
    within(ANSWER_MAX, answer).await
}

async fn within<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(time, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(Failure::lost(NoAnswer)),
    }
}

/// A connection of the pool that is in use.
///
/// Dropped before it is given back, it is closed: whoever asked something went away, and the answer, or a whole transaction, would be
/// met by the next one to use it.
pub(super) struct Lent(Option<Object>);

impl Lent {
    pub(super) fn client(&self) -> Result<&PgClient, Failure> {
        self.0.as_ref().map(|object| &***object).ok_or_else(|| Failure::lost(NoAnswer))
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// What a server says unasked.
pub(super) type Unasked = mpsc::Receiver<AsyncMessage>;

/// Messages that wait for whoever listens; what is more is left out, since each says the same.
const UNASKED_MAX: usize = 16;

impl Connector {
    /// Opens a connection, whose messages are read until it ends.
    async fn open(&self, config: &Config) -> Result<(PgClient, Unasked), tokio_postgres::Error> {
        match self.tls.clone() {
            Some(tls) => self.drive(config, tls).await,
            None => self.drive(config, NoTls).await,
        }
    }

    async fn drive<T>(&self, config: &Config, tls: T) -> Result<(PgClient, Unasked), tokio_postgres::Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let mut connecting = pin!(config.connect(tls));
        // The socket belongs to the runtime in which it is polled first.
        let (client, mut connection) = poll_fn(|context| {
            let _entered = self.runtime.enter();
            connecting.as_mut().poll(context)
        })
        .await?;
        let (unasked, messages) = mpsc::channel(UNASKED_MAX);
        self.runtime.spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                unasked.try_send(message).ok();
            }
        });
        Ok((client, messages))
    }
}

/// A connection that is being opened for the pool.
type Connecting<'c> =
    Pin<Box<dyn Future<Output = Result<(PgClient, JoinHandle<()>), tokio_postgres::Error>> + Send + 'c>>;

impl Connect for Connector {
    fn connect(&self, config: &Config) -> Connecting<'_> {
        let config = config.clone();
        Box::pin(async move {
            let (client, mut unasked) = self.open(&config).await?;
            let reading = self.runtime.spawn(async move { while unasked.recv().await.is_some() {} });
            Ok((client, reading))
        })
    }
}

fn tls_config(authorities: Option<&Path>) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Failure::unavailable)?;
    let Some(file) = authorities else {
        return Ok(builder.with_platform_verifier().map_err(Failure::unavailable)?.with_no_client_auth());
    };
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::Unfit(format!("the certificates of `sslrootcert` in {} can't be read: {why}", file.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))? {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    if roots.is_empty() {
        return Err(unreadable(&"there is none in it"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Refuses a server that may forget what it said it had written.
async fn check_fit(client: &PgClient) -> Result<(), HookError> {
    const SETTINGS: &str = "SELECT current_setting('fsync'), current_setting('synchronous_commit'),
        current_setting('full_page_writes'), current_setting('server_version_num')::int,
        current_setting('server_encoding')";
    let rows = client.query_typed(SETTINGS, &[]).await.map_err(HookError::Backend)?;
    let Some(row) = rows.first() else { return Ok(()) };
    let why = match (row.get(0), row.get(1), row.get(2), row.get::<_, i32>(3), row.get(4)) {
        ("off", ..) => {
            "fsync is off, so a power cut loses leads that were answered 200: set fsync = on in postgresql.conf"
        }
        (_, "off", ..) => {
            "synchronous_commit is off, so a crash loses leads that were answered 200: set it to on (or to local, \
             remote_write or remote_apply) for formgate's user, database or the server"
        }
        (_, _, "off", ..) => {
            "full_page_writes is off, so a power cut can damage the database: set full_page_writes = on"
        }
        (.., version, _) if version < SERVER_MIN => "the server is older than PostgreSQL 15: use a newer one",
        (.., "UTF8") => return Ok(()),
        _ => {
            "the database isn't in UTF8, so it can't hold what visitors write: make one WITH ENCODING 'UTF8' TEMPLATE template0"
        }
    };
    Err(HookError::message(why))
}

fn of_pool(error: PoolError) -> Failure {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
        PoolError::PostCreateHook(HookError::Message(why)) => Failure::Unfit(why.into_owned()),
        PoolError::Timeout(_) => Failure::lost(NoAnswer),
        error => Failure::unavailable(error),
    }
}
