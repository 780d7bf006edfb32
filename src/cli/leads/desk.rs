//! Where an operator's verbs are done: by the running gateway, or, where none runs, on the store itself.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use jiff::Timestamp;
use serde::Serialize;

use super::args::Where;
use super::gateway::{find_gateway, read_config};
use super::list::name_unreadable;
use super::remote::Remote;
use crate::app;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::config::{Config, StoreUrl};
use crate::operate::{
    self, Actor, AmendAsked, Audit, BackedUp, Captured, Choice, Cursor, Done, DropAsked, EraseAsked, Erased, Export,
    ExportFormat, FilterAsked, Groups, LeadPage, Life, NotFound, OperateError, RetryAsked, Situation, Trace, Tried,
};
use crate::queue::{OpenStore, Order, Salvaged};

/// What helps where a copy was not made.
const GATEWAY_WRITES: &str = "the running gateway writes the copy: name a file that doesn't exist yet, in a folder that the gateway's user \
                              and its unit may write to; or add --offline";

/// Does the verbs.
pub(super) enum Desk {
    Gateway(Remote),
    Store(Local),
}

/// The store itself, opened by this process.
pub(super) struct Local {
    store: OpenStore,
    config: Arc<Config>,
    audit: Audit,
}

/// The parameters of a list, as sent to the admin API.
#[derive(Serialize)]
struct ListParameters<'a> {
    #[serde(flatten)]
    filter: &'a FilterAsked,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Order>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
}

impl<'a> ListParameters<'a> {
    fn of(filter: &'a FilterAsked) -> Self {
        Self { filter, order: None, cursor: None, limit: None, format: None }
    }
}

impl Desk {
    /// Finds the gateway, or opens the store.
    pub(super) async fn open(place: &Where, console: &mut Console) -> Result<Self, Error> {
        let config = read_config(&place.config, console)?;
        if !place.offline
            && let Some(remote) = find_gateway(&config, place.admin.as_deref()).await?
        {
            return Ok(Self::Gateway(remote));
        }
        let local = Local::open(config)?;
        if !place.offline {
            console.say("no gateway answers; working on the store itself");
        }
        // Opening it may have been what set it aside; an empty list would say that there is nothing.
        for problem in local.store.store().problems().await.unwrap_or_default() {
            console.say(problem.to_string());
        }
        Ok(Self::Store(local))
    }

    /// Says of an act on a full disk where its lines of the audit are.
    pub(super) async fn say_audit_waits(&self, waits: bool, console: &mut Console) {
        match self {
            _ if !waits => {}
            Self::Gateway(_) => console.say(
                "the disk is full: the audit log is written when there is room; until then its lines are in the \
                 gateway's log",
            ),
            Self::Store(local) => {
                for line in local.audit.waiting().await {
                    console.say(format!(
                        "the disk is full, so this line is missing from the audit log; add it: \
                                         {line}"
                    ));
                }
            }
        }
    }

    /// Tells whether no gateway runs that would send what is queued.
    pub(super) fn is_offline(&self) -> bool {
        matches!(self, Self::Store(_))
    }

    pub(super) async fn list(
        &self,
        filter: &FilterAsked,
        order: Order,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<LeadPage, Error> {
        match self {
            Self::Gateway(remote) => {
                let (cursor, limit) = (cursor.map(String::from), Some(limit));
                remote
                    .get("/leads", &ListParameters { order: Some(order), cursor, limit, ..ListParameters::of(filter) })
                    .await
            }
            Self::Store(local) => {
                let query = filter.read(now()).map_err(operate_error)?;
                let listed = operate::list(local.store.store(), &query, order, cursor, limit, &local.situation()).await;
                listed.map_err(operate_error)
            }
        }
    }

    pub(super) async fn groups(&self, filter: &FilterAsked) -> Result<Groups, Error> {
        match self {
            Self::Gateway(remote) => remote.get("/leads/groups", &ListParameters::of(filter)).await,
            Self::Store(local) => {
                let query = filter.read(now()).map_err(operate_error)?;
                operate::groups(local.store.store(), &query, &local.situation()).await.map_err(operate_error)
            }
        }
    }

    pub(super) async fn show(&self, id: &str) -> Result<Life, Error> {
        check_id(id)?;
        match self {
            Self::Gateway(remote) => remote.get(&format!("/leads/{id}"), &()).await,
            Self::Store(local) => {
                operate::show(local.store.store(), &local.situation(), id).await.map_err(operate_error)
            }
        }
    }

    pub(super) async fn trace(&self, id: &str) -> Result<Trace, Error> {
        check_id(id)?;
        match self {
            Self::Gateway(remote) => remote.get(&format!("/leads/{id}/trace"), &()).await,
            Self::Store(local) => {
                operate::trace(local.store.store(), &local.situation(), id).await.map_err(operate_error)
            }
        }
    }

    pub(super) async fn retry(&self, asked: &RetryAsked) -> Result<Tried, Error> {
        match self {
            Self::Gateway(remote) => remote.post("/leads/retry", asked).await,
            Self::Store(Local { store, config, audit }) => {
                operate::retry(store.store(), config, audit, asked, Actor::Cli, now()).await.map_err(operate_error)
            }
        }
    }

    pub(super) async fn amend(&self, asked: &AmendAsked) -> Result<Done, Error> {
        match self {
            Self::Gateway(remote) => remote.post("/leads/amend", asked).await,
            Self::Store(Local { store, config, audit }) => {
                operate::amend(store.store(), config, audit, asked, Actor::Cli, now()).await.map_err(operate_error)
            }
        }
    }

    pub(super) async fn drop(&self, asked: &DropAsked) -> Result<Tried, Error> {
        match self {
            Self::Gateway(remote) => remote.post("/leads/drop", asked).await,
            Self::Store(Local { store, config, audit }) => {
                let keep = config.queue.keep.dead;
                operate::drop_entries(store.store(), audit, asked, keep, Actor::Cli, now()).await.map_err(operate_error)
            }
        }
    }

    pub(super) async fn erase(&self, asked: &EraseAsked) -> Result<Erased, Error> {
        match self {
            Self::Gateway(remote) => remote.post("/leads/erase", asked).await,
            Self::Store(Local { store, audit, .. }) => {
                operate::erase(store.store(), audit, asked, Actor::Cli, now()).await.map_err(operate_error)
            }
        }
    }

    pub(super) async fn export(
        &self,
        filter: &FilterAsked,
        format: (ExportFormat, &'static str),
        console: &mut Console,
    ) -> Result<(), Error> {
        match self {
            Self::Gateway(remote) => {
                let parameters = ListParameters { format: Some(format.1), ..ListParameters::of(filter) };
                remote.copy("/leads/export", &parameters, console).await
            }
            Self::Store(local) => {
                let Local { store, audit, .. } = local;
                let query = filter.read(now()).map_err(operate_error)?;
                let export = Export::begin(audit, Choice::Query(query), format.0, Actor::Cli, local.situation()).await;
                let mut export = export.map_err(operate_error)?;
                while let Some(piece) = export.next(store.store(), now()).await.map_err(operate_error)? {
                    console.foreign(&piece)?;
                }
                name_unreadable(export.unreadable(), console);
                Ok(())
            }
        }
    }

    pub(super) async fn capture(&self, id: &str) -> Result<Captured, Error> {
        match self {
            Self::Gateway(remote) => remote.post("/leads/capture", &serde_json::json!({ "id": id })).await,
            Self::Store(Local { store, config, audit }) => {
                operate::capture(store.store(), config, audit, id, Actor::Cli, now()).await.map_err(operate_error)
            }
        }
    }

    pub(super) async fn salvage(&self) -> Result<Salvaged, Error> {
        match self {
            Self::Gateway(remote) => remote.post("/store/salvage", &serde_json::json!({})).await,
            Self::Store(Local { store, audit, .. }) => {
                operate::salvage(store, audit, Actor::Cli, now()).await.map_err(operate_error)
            }
        }
    }

    pub(super) async fn backup(&self, file: &Path) -> Result<BackedUp, Error> {
        match self {
            Self::Gateway(remote) => {
                let made = remote.post("/store/backup", &serde_json::json!({ "file": file })).await;
                made.map_err(|error: Error| match error.exit() {
                    Exit::Store => error.hint(GATEWAY_WRITES),
                    _ => error,
                })
            }
            Self::Store(Local { store, audit, .. }) => {
                operate::backup(store, audit, file, Actor::Cli, now()).await.map_err(operate_error)
            }
        }
    }
}

impl Local {
    /// No gateway runs, so nothing is sent.
    fn situation(&self) -> Situation {
        Situation { config: Arc::clone(&self.config), sending: None, now: now() }
    }

    fn open(config: Config) -> Result<Self, Error> {
        match &config.queue.url {
            StoreUrl::Memory => {
                let error = Error::admin(anyhow!("no gateway answers, and its store is in memory"));
                return Err(error.hint("a store in memory is lost when the gateway stops; see [queue].url"));
            }
            // One that this user may not see is told of when it is opened.
            StoreUrl::Sqlite(path) if matches!(path.try_exists(), Ok(false)) => {
                let error = Error::store(anyhow!("no gateway answers, and the store {} doesn't exist", path.display()));
                return Err(error.hint("`formgate serve` creates it. Is this the gateway's configuration?"));
            }
            StoreUrl::Sqlite(_) | StoreUrl::Postgres(_) => {}
        }
        let failed =
            |error| Error::store(error).context("the store can't be opened").hint("run this as the gateway's user");
        let (store, audit) = (app::open_store(&config).map_err(failed)?, Audit::of(&config));
        Ok(Self { store, config: Arc::new(config), audit })
    }
}

/// An id goes into a path.
fn check_id(id: &str) -> Result<(), Error> {
    let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if plain { Ok(()) } else { Err(operate_error(NotFound::NoId)) }
}

/// What kind of failure it is.
pub(super) fn operate_error(error: impl Into<OperateError>) -> Error {
    match error.into() {
        OperateError::Store(error) => Error::store(error),
        OperateError::Audit(error) => Error::store(error),
        OperateError::NotFound(error @ NotFound::Gone(_)) => Error::missing(error),
        error => Error::usage(error),
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
