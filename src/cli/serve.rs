//! `formgate serve`.

use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::pin::{Pin, pin};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::console::Console;
use super::error::Error;
use super::exit::Exit;
use super::rules::{ConfigArg, today};
use super::runtime::{Signals, block_on, stop_signal};
use super::say_in_time;
use crate::app::{self, Fatal, Invocation, RunResult, Running, StartError};
use crate::config::{self, Config, Diagnostics, Origin, Sources, Starting};
use crate::queue::StoreError;
use crate::telemetry::{self, LogFormat};

/// Most problems that are shown at a start, the worst of them.
const PROBLEMS_MAX: usize = 50;

/// Runs the gateway: accepts submissions, stores them, and delivers them to KaiCalls as leads.
///
/// SIGTERM stops it; SIGHUP makes it read its configuration again; SIGUSR2 makes it start the program that has been
/// installed in its place, and hand over to it without refusing a connection.
#[derive(Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Format of the log; auto: text on a terminal, else JSON
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    log_format: LogFormatArg,
    /// Replace the running gateway: take over its sockets when it receives SIGQUIT
    #[arg(long)]
    upgrade: bool,
    /// Refuse to start unless the whole configuration is usable
    #[arg(long)]
    strict: bool,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum LogFormatArg {
    #[default]
    Auto,
    Text,
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(log: LogFormatArg) -> Self {
        match log {
            LogFormatArg::Auto => Self::Auto,
            LogFormatArg::Text => Self::Text,
            LogFormatArg::Json => Self::Json,
        }
    }
}

pub(super) fn run(args: &ServeArgs, console: &mut Console) -> Result<Exit, Error> {
    let (config, origin) = read_config(args, console)?;
    // Kept to the end, however that comes: what waits is written then.
    let _logging = telemetry::log_to_stderr(args.log_format.into()).map_err(Error::store)?;
    block_on(serve(config, origin, args.upgrade))?;
    Ok(Exit::Ok)
}

/// What signals ask a running gateway for.
struct ControlSignals {
    hangups: Signals,
    quits: Signals,
    replacements: Signals,
}

async fn serve(config: Config, origin: Origin, upgrade: bool) -> Result<(), Error> {
    let invocation =
        Invocation::of_this_process().context("can't find out which program this is").map_err(Error::store)?;
    let sites = config.sites.len();
    if sites == 0 {
        find_lost_sites(&config, &origin).await?;
        tracing::warn!("config.no_sites: nobody can post yet; add a site, then check with `formgate sites list`");
    }
    app::check_store(&config, &origin).await.map_err(|error| start_error(error.into()))?;
    // Heard from here on, so that none ends the process.
    let mut signals =
        ControlSignals { hangups: Signals::hangup(), quits: Signals::quit(), replacements: Signals::replacement() };
    let mut stop = pin!(stop_signal());
    let running = if upgrade {
        tracing::info!(
            "upgrade.waiting: the running gateway hands its sockets over if it started this one, or at SIGQUIT"
        );
        tokio::select! {
            running = app::upgrade(config, origin) => running,
            () = &mut stop => return Ok(()),
        }
    } else {
        app::start(config, origin)
    };
    let running = running.map_err(start_error)?;
    for address in running.gateway() {
        tracing::info!(%address, sites, "gateway.listening");
    }
    let admin = running.admin();
    tracing::info!(address = %admin, console = format!("http://{admin}/console/"), "admin.listening");
    let successor = until_stop(&running, stop, &mut signals, &invocation).await;
    tracing::info!("gateway.stopping: accepting no new requests; finishing those in progress");
    let ended = tokio::select! {
        ended = running.stop() => ended,
        never = pass_on(signals.hangups, successor) => match never {},
    };
    tracing::info!(unanswered = ended.unanswered, attempts_cut = ended.attempts_cut, "gateway.stopped");
    judge(&ended)
}

/// A stop after something died, or panicked, is no success: a service manager must see it.
fn judge(ended: &RunResult) -> Result<(), Error> {
    match ended.fatal {
        Some(Fatal::Store) => {
            let error = Error::store(anyhow!("the store's writer died, so the gateway stopped"));
            Err(error.hint("start it again, and report the location of the panic that the log shows"))
        }
        Some(Fatal::Listener) => Err(Error::failed(anyhow!("a listener died, so the gateway stopped"))),
        None if ended.has_panicked => {
            let error = Error::failed(anyhow!("a background task panicked while the gateway ran"));
            Err(error.hint("it was restarted; please report the location of the panic that the log shows"))
        }
        None => Ok(()),
    }
}

/// Passes on what a service manager asks the former process for and waits for, until this process ends.
async fn pass_on(mut hangups: Signals, successor: Option<u32>) -> Infallible {
    loop {
        hangups.next().await;
        successor.iter().for_each(|process| app::ask_to_reload(*process));
    }
}

/// Does what signals ask for, until one asks to stop or another process has taken over; gives that where it is known.
async fn until_stop(
    running: &Running,
    mut stop: Pin<&mut impl Future<Output = ()>>,
    signals: &mut ControlSignals,
    invocation: &Invocation,
) -> Option<u32> {
    loop {
        let handed_over = tokio::select! {
            () = stop.as_mut() => return None,
            // Logged already, with its cause.
            _fatal = running.failed() => return None,
            () = signals.hangups.next() => {
                running.reload();
                continue;
            }
            () = signals.quits.next() => tokio::select! {
                handed_over = running.hand_over() => handed_over.map(|()| None),
                () = stop.as_mut() => return None,
            },
            () = signals.replacements.next() => tokio::select! {
                handed_over = running.replace(invocation) => handed_over.map(Some),
                () = stop.as_mut() => return None,
            },
        };
        match handed_over {
            Ok(successor) => {
                tracing::info!("upgrade.handed_over: the new process serves now");
                return successor;
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "upgrade.failed: this process continues to serve");
            }
        }
    }
}

/// Reads the configuration with what stands in for what is broken, and says everything that is wrong with it.
fn read_config(args: &ServeArgs, console: &mut Console) -> Result<(Config, Origin), Error> {
    let path = args.config.find()?;
    let Starting { loaded, in_force, .. } = config::start(&path, &Sources::process(), today());
    let problems = loaded.diagnostics;
    if !problems.is_empty() {
        say_in_time(told(&problems, console.talk_paint().colour));
    }
    let is_refused = args.strict && problems.prevent_serving();
    in_force.filter(|_| !is_refused).ok_or_else(|| unusable(&path))
}

/// A container that was started without its configuration meets this first.
fn unusable(path: &Path) -> Error {
    let shown = path.display();
    if !matches!(path.try_exists(), Ok(false)) {
        let error = Error::config(anyhow!("{shown} has errors"));
        return error.hint("fix the errors above; `formgate check` shows them without starting the gateway");
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.display();
    Error::config(anyhow!("{shown} doesn't exist")).hint(format!(
        "write a first configuration by `formgate init {folder}`; in a container, mount the folder that has it at {folder}"
    ))
}

/// Writes what is wrong for people: the worst of it, and how much more there is.
fn told(problems: &Diagnostics, colour: bool) -> String {
    let shown = problems.worst(PROBLEMS_MAX);
    let more = problems.iter().count() - shown.iter().count();
    let more = if more > 0 { format!("\nand {more} more; `formgate check` shows all\n") } else { String::new() };
    format!("{}{more}", shown.render(colour))
}

/// Refuses to serve no site where there were some: plugins would be told that their credentials are wrong.
async fn find_lost_sites(config: &Config, origin: &Origin) -> Result<(), Error> {
    let store = app::open_store(config).map_err(|error| start_error(error.into()))?;
    let counts = store.store().counts().await.map_err(Error::store)?;
    let is_lost = counts.iter().any(|count| !origin.is_removed(&count.site)) || origin.copy_has_sites();
    if !is_lost {
        return Ok(());
    }
    let error = Error::upstream(anyhow!(
        "there were sites before, but now neither the files nor their last-good copy have any"
    ));
    Err(error.hint("check that [sites].include matches their files and that the folder is mounted, then start again"))
}

fn start_error(error: StartError) -> Error {
    match error {
        // What has the port may go, and the address may come: a service manager tries again.
        StartError::Listen { address, ref source }
            if matches!(source.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable) =>
        {
            let hint = format!("find out what listens on {address} (ss -ltnp), or choose another address");
            Error::upstream(error).hint(hint)
        }
        StartError::Listen { address, .. } => {
            let hint = format!("this user may not listen on {address}; choose another address, or allow it");
            Error::config(error).hint(hint)
        }
        StartError::Store(StoreError::Unused { .. }) => {
            Error::store(error).hint("start once with the former [queue].url, until `formgate status` shows no spool")
        }
        // It says itself what to do.
        StartError::Store(StoreError::Unfit { .. }) => Error::store(error),
        StartError::Store(StoreError::Newer { .. }) => {
            Error::store(error).hint("start the version of formgate that used the store last, or a newer one")
        }
        StartError::Store(_) => Error::store(error).hint("check [queue].url, and that its folder is writable"),
        StartError::Tls(_) => Error::config(error),
        StartError::Upgrade(_) => {
            Error::store(error).hint("within a minute, send SIGQUIT to the running gateway that uses the same store")
        }
        StartError::Client(_) | StartError::Metrics(_) | StartError::Thread(_) => Error::store(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;

    #[test]
    fn no_panic_and_no_death_ends_in_success() {
        let ended = RunResult { unanswered: 3, attempts_cut: 1, fatal: None, has_panicked: false };
        assert!(judge(&ended).is_ok());
        for (ended, exit) in [
            (RunResult { has_panicked: true, ..ended }, Exit::Findings),
            (RunResult { fatal: Some(Fatal::Listener), ..ended }, Exit::Findings),
            (RunResult { fatal: Some(Fatal::Store), has_panicked: true, ..ended }, Exit::Store),
        ] {
            assert_eq!(judge(&ended).expect_err("a failure").exit(), exit);
        }
    }
}
