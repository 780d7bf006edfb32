//! What the verbs have in common on the command line.

use clap::{Args, ValueEnum};

use crate::cli::error::Error;
use crate::cli::rules::ConfigArg;
use crate::operate::FilterAsked;

/// Where the leads are.
#[derive(Args, Debug)]
pub(super) struct Where {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The running gateway's admin API [default: its socket in the data folder, else [admin].listen]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "offline")]
    pub(super) admin: Option<String>,
    /// Work on the store itself, without looking for a running gateway
    #[arg(long)]
    pub(super) offline: bool,
}

/// Which leads are meant. No `Debug`: the text may be somebody's name.
#[derive(Args)]
pub(super) struct FilterArgs {
    /// Only this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only this form
    #[arg(long, value_name = "FORM")]
    form: Option<String>,
    /// Only this state: queued, held, delivered or dead
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only this reason, such as invalid, hold_rule or gave_up
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only what is held or dead for this cause, in the words of `leads list --group reason`
    #[arg(long, value_name = "CAUSE")]
    cause: Option<String>,
    /// Only accepted since this time: 2h, 7d, 2026-11-20 or 2026-11-20T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only accepted before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only with this text in the lead or in what was posted; finds phone numbers in any notation
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

impl FilterArgs {
    pub(super) fn asked(&self) -> FilterAsked {
        FilterAsked {
            site: self.site.clone(),
            form: self.form.clone(),
            state: self.state.clone(),
            reason: self.reason.clone(),
            cause: self.cause.clone(),
            since: self.since.clone(),
            until: self.until.clone(),
            text: self.text.clone(),
        }
    }
}

/// Which leads a change is for: some by their ids, or all that a filter finds. No `Debug`, as above.
#[derive(Args)]
pub(super) struct Chosen {
    /// Ids, or unique prefixes
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All leads; otherwise name ids or a filter
    #[arg(long)]
    all: bool,
}

impl Chosen {
    /// Returns the filter; none where ids are named.
    pub(super) fn filter(&self) -> Result<Option<FilterAsked>, Error> {
        let filter = self.filter.asked();
        match (self.ids.is_empty(), filter.is_empty() && !self.all) {
            (false, true) => Ok(None),
            (true, false) => Ok(Some(filter)),
            (true, true) => Err(Error::usage(anyhow::anyhow!("which leads?"))
                .hint("name ids, or a filter such as --site acme --reason invalid, or --all")),
            (false, false) => Err(Error::usage(anyhow::anyhow!("name either ids or a filter, not both"))),
        }
    }
}

/// The formats of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// For people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// One document.
    Json,
    /// One document a line.
    Ndjson,
    /// For spreadsheets.
    Csv,
}

/// The formats of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ResultFormat {
    /// For people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// One document.
    Json,
    /// One document a line.
    Ndjson,
}

/// The formats of a single thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum DetailFormat {
    /// For people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// For programs.
    Json,
}
