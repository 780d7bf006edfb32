//! `formgate store copy`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;

use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::leads::{DetailFormat, plural};
use crate::cli::shown;
use crate::operate::{self, Copied, CopyProgress, CopyStep, NotCopied};
use crate::postgres_url::PostgresUrl;
use crate::queue::StoreError;
use crate::queue::carry::CarryingStore;
use crate::queue::postgres::{self, PostgresStore, StoreClock};
use crate::queue::sqlite::{Options, SqliteStore};

/// A copy is no append, so no window counts.
const DEDUPE_WINDOW: Duration = Duration::ZERO;
/// Progress is written anew after so many of a kind.
const REPORT_EVERY: u64 = 256;
const URLS: &str = "write sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE; env:NAME reads it from an environment \
                    variable, file:PATH from a file";

/// Copies everything from one store into another, such as from a file into PostgreSQL or back.
///
/// Stop every gateway that uses the source first: leads that are on their way there are queued again in the target.
/// Run it again after it was interrupted: it continues, and changes nothing that is there. At the end it compares every
/// lead of both stores. The target must be empty, or hold nothing but an earlier copy of the source.
#[derive(Args, Debug)]
pub(super) struct CopyArgs {
    /// The store to copy: sqlite:PATH or postgres://…, or where to find that: env:NAME or file:PATH
    #[arg(long, value_name = "URL")]
    from: String,
    /// The store to copy to, written like --from
    #[arg(long, value_name = "URL")]
    to: String,
    /// Copy even if a gateway uses the source; what it takes or sends meanwhile is missed or sent twice
    #[arg(long)]
    force: bool,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: DetailFormat,
}

/// Where a store is. No `Debug` of the text that it was read from: it may hold a password.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Sqlite(PathBuf),
    Postgres(Box<PostgresUrl>),
}

pub(super) async fn run(args: &CopyArgs, console: &mut Console) -> Result<Exit, Error> {
    let from = Place::read(&args.from).map_err(|error| error.context("--from isn't a store"))?;
    let to = Place::read(&args.to).map_err(|error| error.context("--to isn't a store"))?;
    if from.is_same(&to) {
        return Err(Error::usage(anyhow!("--from and --to are the same store")));
    }
    let source = from.open_source(args.force).await?;
    refuse_damaged(&*source).await?;
    let target = to.open_target().await?;
    let report = |progress: CopyProgress| {
        if progress.done.is_multiple_of(REPORT_EVERY) {
            console.progress(&in_words(progress));
        }
    };
    let copied = operate::copy(&*source, &*target, report).await;
    console.progress("");
    let copied = copied.map_err(not_copied)?;
    if matches!(from, Place::Postgres(_)) {
        console.say("the gateways' spools aren't copied: make sure that `formgate status` showed none on any machine");
    }
    match args.output {
        DetailFormat::Json => console.json(&copied)?,
        DetailFormat::Table => show(&copied, console)?,
    }
    Ok(if copied.unreadable == 0 { Exit::Ok } else { Exit::Findings })
}

/// A file that is damaged is set aside when it is opened, and a new one begun: a copy of that would be whole and hold nothing.
async fn refuse_damaged(source: &dyn CarryingStore) -> Result<(), Error> {
    let problems = source.problems().await.map_err(|error| Error::store(error).context("the source can't be read"))?;
    match problems.into_iter().find(|problem| matches!(problem, StoreError::SetAside { .. })) {
        Some(set_aside) => {
            Err(Error::store(set_aside).hint("salvage it, then copy again: what lies there isn't copied"))
        }
        None => Ok(()),
    }
}

impl Place {
    /// Reads where a store is. An argument can be seen by everyone on the machine, so a URL with a password may stand
    /// elsewhere.
    fn read(text: &str) -> Result<Self, Error> {
        if let Some(name) = text.strip_prefix("env:") {
            let found = std::env::var(name);
            let text = found.map_err(|_unset| Error::usage(anyhow!("the environment variable {name} isn't set")))?;
            return Self::parse(text.trim());
        }
        if let Some(path) = text.strip_prefix("file:") {
            let found = std::fs::read_to_string(path);
            let text = found.map_err(|error| Error::usage(error).context(format!("can't read {path}")))?;
            return Self::parse(text.trim());
        }
        Self::parse(text)
    }

    fn parse(url: &str) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(path.into()));
        }
        match PostgresUrl::parse(url) {
            Ok(url) => Ok(Self::Postgres(Box::new(url))),
            Err(error) if url.starts_with("postgres") => Err(Error::usage(error).hint(URLS)),
            Err(_other) => Err(Error::usage(anyhow!("it is no store's URL")).hint(URLS)),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(one), Self::Sqlite(other)) => {
                one == other || one.canonicalize().ok().is_some_and(|one| other.canonicalize().ok() == Some(one))
            }
            (one, other) => one == other,
        }
    }

    async fn open_source(&self, force: bool) -> Result<Arc<dyn CarryingStore>, Error> {
        match self {
            Self::Sqlite(path) if !path.exists() => Err(Error::store(anyhow!("{} doesn't exist", path.display()))),
            Self::Sqlite(path) if force => {
                let opened = SqliteStore::open(path, options());
                Ok(Arc::new(opened.map_err(|error| Error::store(error).context("the source can't be opened"))?))
            }
            Self::Sqlite(path) => {
                Ok(Arc::new(open_alone(path, "stop it (SIGTERM) and copy again, or copy with --force")?))
            }
            Self::Postgres(url) => {
                open_postgres(url, force, "stop it (SIGTERM) and copy again, or copy with --force").await
            }
        }
    }

    async fn open_target(&self) -> Result<Arc<dyn CarryingStore>, Error> {
        match self {
            Self::Sqlite(path) => Ok(Arc::new(open_alone(path, "stop it (SIGTERM): a copy needs a store at rest")?)),
            Self::Postgres(url) => open_postgres(url, false, "stop it (SIGTERM): a copy needs a store at rest").await,
        }
    }
}

async fn open_postgres(url: &PostgresUrl, force: bool, cure: &str) -> Result<Arc<dyn CarryingStore>, Error> {
    let failed = |error| Error::store(error).context(format!("{url} can't be opened"));
    let options = postgres::Options { dedupe_window: DEDUPE_WINDOW, max_size: None, clock: StoreClock::Server };
    let store = PostgresStore::open(url, options).map_err(failed)?;
    store.prepare().await.map_err(failed)?;
    if !force && let Some(gateway) = operate::running_gateways(&store).await.map_err(failed)?.first() {
        return Err(Error::store(anyhow!("the gateway {gateway} uses {url}")).hint(cure));
    }
    Ok(Arc::new(store))
}

fn options() -> Options {
    Options { dedupe_window: DEDUPE_WINDOW, max_size: None, opened_at: Timestamp::now() }
}

fn open_alone(path: &Path, cure: &str) -> Result<SqliteStore, Error> {
    let opened = SqliteStore::open_alone(path, options());
    let opened = opened.map_err(|error| Error::store(error).context(format!("{} can't be opened", path.display())))?;
    opened.ok_or_else(|| Error::store(anyhow!("a gateway or another command has {} open", path.display())).hint(cure))
}

fn in_words(CopyProgress { step, done, of }: CopyProgress) -> String {
    let doing = match step {
        CopyStep::Entries => "copying leads",
        CopyStep::Events => "copying events",
        CopyStep::Notes => "copying figures",
        CopyStep::Verify => "comparing leads",
    };
    match of {
        Some(of) => format!("{doing}: {done} of {of}, {} to go", of.saturating_sub(done)),
        None => format!("{doing}: {done}"),
    }
}

fn show(copied: &Copied, console: &mut Console) -> Result<(), Error> {
    let Copied { entries, new, events, notes, digest, unreadable, unreadable_ids } = copied;
    console.data(format!("{} in the target, {new} of them copied now", plural(*entries, "entry")))?;
    console.data(format!("{} and {} copied", plural(*events, "event"), plural(*notes, "figure")))?;
    console.data(format!("every entry is the same in both stores: {digest}"))?;
    if *unreadable > 0 {
        console.data(format!("{} of the source can't be read and wasn't copied:", plural(*unreadable, "entry")))?;
        for id in unreadable_ids {
            console.data(format!("  {}", shown::line(&id.to_string())))?;
        }
    }
    console.say("don't start a gateway on the source again: it would send leads that the target sends too");
    Ok(())
}

fn not_copied(error: NotCopied) -> Error {
    match error {
        NotCopied::OtherEntries(_) | NotCopied::OtherEvents => {
            Error::missing(error).hint("nothing was changed; name an empty target")
        }
        NotCopied::Differs { .. } | NotCopied::Counts => Error::missing(error).hint(
            "a gateway has changed one of them since the copy began, or one is damaged; keep the source, stop all \
             gateways, and copy into an empty target",
        ),
        NotCopied::Source(_) | NotCopied::Target(_) => {
            Error::store(error).hint("run the same command again: it continues where it stopped")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_the_argument_a_variable_or_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("url");
        std::fs::write(&file, "sqlite:a.db\n").expect("written");
        for text in ["sqlite:a.db".to_owned(), format!("file:{}", file.display())] {
            assert_eq!(Place::read(&text).expect("a store"), Place::Sqlite("a.db".into()));
        }
        let error = Place::read("env:FORMGATE_TEST_NO_SUCH_NAME").expect_err("unset");
        assert_eq!(error.exit(), Exit::Usage);
    }

    #[test]
    fn what_is_no_store_is_told_without_what_was_written() {
        for text in ["sqlite:", "memory:", "postgres://u:hush@", "postgres://u:hush@h/d?sslmode=prefer", "hush"] {
            let error = Place::read(text).expect_err("no store");
            assert_eq!(error.exit(), Exit::Usage, "{text}");
            assert!(!error.render().contains("hush"), "{}", error.render());
        }
    }
}
