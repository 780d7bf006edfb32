//! What the running gateway knows of sites, where one runs.

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::leads::{duration, gateway};
use crate::cli::rules::ConfigArg;
use crate::cli::runtime::block_on;
use crate::operate::{KeyState, KeyStatus, RefusedPosts, SiteState};
use jiff::Timestamp;

/// Which gateway is asked.
#[derive(Args, Debug)]
pub(super) struct RunningArgs {
    /// The running gateway's admin API [default: its socket in the data folder, else [admin].listen]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "offline")]
    admin: Option<String>,
    /// Show only what the files say, without looking for a running gateway
    #[arg(long)]
    offline: bool,
}

/// Asks the gateway; none where none runs, which is said. Unless an address is named, what the files say is worth showing
/// also where the gateway can't be asked.
pub(super) fn ask<T: DeserializeOwned>(
    config: &ConfigArg,
    args: &RunningArgs,
    (path, query): (&str, &impl Serialize),
    console: &mut Console,
) -> Result<Option<T>, Error> {
    if args.offline {
        return Ok(None);
    }
    let asked = block_on(async {
        match gateway(config, args.admin.as_deref(), console).await? {
            Some(remote) => remote.get(path, query).await.map(Some),
            None => Ok(None),
        }
    });
    match asked {
        Ok(Some(told)) => Ok(Some(told)),
        Ok(None) => {
            console.say("no gateway answers: only what the files say is shown");
            Ok(None)
        }
        Err(error) if args.admin.is_none() && error.exit() != Exit::Findings => {
            console.say(error.render());
            console.say("the gateway can't be asked: only what the files say is shown");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Writes how long ago something was; none: never.
pub(super) fn ago(then: Option<Timestamp>, now: Timestamp) -> String {
    let ago = |then: Timestamp| duration(now.as_millisecond().saturating_sub(then.as_millisecond()).max(0));
    then.map_or_else(|| "-".to_owned(), |then| format!("{} ago", ago(then)))
}

pub(super) fn state(state: SiteState) -> &'static str {
    match state {
        SiteState::Ok => "ok",
        SiteState::Paused => "paused",
        SiteState::DeliveriesOff => "deliveries off",
        SiteState::NoKeys => "keys missing",
        SiteState::Gone => "gone",
        SiteState::Broken => "broken",
    }
}

pub(super) fn key(key: &KeyStatus) -> &'static str {
    match key.state {
        KeyState::Ok => "ok",
        KeyState::Refused => "refused",
        KeyState::Unknown => "unknown",
        KeyState::Missing => "missing",
    }
}

/// Writes how many posts were refused in 24 hours, and why the last.
pub(super) fn refused(refused: &RefusedPosts) -> String {
    match (refused.last_24h, refused.last_reason.as_deref()) {
        (0, _) => "-".to_owned(),
        (count, Some(reason)) => format!("{count} ({reason})"),
        (count, None) => count.to_string(),
    }
}
