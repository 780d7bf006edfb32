//! `formgate sites pause` and `formgate sites resume`.

use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::find::{FoundSite, find_site};
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::leads::{Remote, gateway, plural};
use crate::cli::rules::{ConfigArg, today};
use crate::cli::runtime::block_on;
use crate::lead::SiteId;
use crate::operate::sites_file::{Edited, edit_file, paused, resumed};
use crate::operate::{EntryOutcome, FilterAsked, RATE_MAX, RetryAsked, SiteState, Tried};
use crate::queue::{Reason, State};

/// How long the gateway may take to pick up the file; it looks every second.
const RELOAD_TIME: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Leads that one call releases.
const PAGE: usize = 100;

/// Pauses a site: its leads are taken and held, and nothing is sent to KaiCalls.
///
/// Sets `deliver = false` in the site's file. The running gateway picks it up within seconds. Forms go on posting and are
/// answered as always; `formgate sites resume` sends what was held meanwhile.
#[derive(Args)]
pub(super) struct PauseArgs {
    /// The site
    #[arg(value_parser = SiteId::parse)]
    site: SiteId,
    #[command(flatten)]
    config: ConfigArg,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Resumes a site: its leads are sent again, also those that were held meanwhile.
///
/// Takes `deliver = false` back in the site's file, waits until the running gateway has picked it up, and queues the
/// leads that were held because of it. Leads that are held for another reason stay held.
#[derive(Args)]
pub(super) struct ResumeArgs {
    /// The site
    #[arg(value_parser = SiteId::parse)]
    site: SiteId,
    /// Leave the leads held that came meanwhile
    #[arg(long)]
    keep_held: bool,
    #[command(flatten)]
    config: ConfigArg,
    /// The running gateway's admin API [default: its socket in the data folder, else [admin].listen]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct PauseOutput<'a> {
    site: &'a SiteId,
    deliver: bool,
    /// False: it was so already.
    changed: bool,
    file: String,
    /// Held leads that are queued now; none where no gateway was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<u64>,
}

pub(super) fn pause(args: &PauseArgs, console: &mut Console) -> Result<Exit, Error> {
    let FoundSite { file, .. } = find_site(&args.config, &args.site)?;
    let changed = edit_file(&file, &args.site, today(), |text| paused(text, args.site.as_str()))? == Edited::Changed;
    let shown =
        PauseOutput { site: &args.site, deliver: false, changed, file: file.display().to_string(), released: None };
    shown.show(args.output, console)?;
    let reason = Reason::DeliverOff.as_str();
    console.say(format!(
        "its leads are taken and held with the reason {reason}, also those that are queued now; `formgate sites resume {}` \
         sends them",
        args.site
    ));
    Ok(Exit::Ok)
}

pub(super) fn resume(args: &ResumeArgs, console: &mut Console) -> Result<Exit, Error> {
    let FoundSite { file, .. } = find_site(&args.config, &args.site)?;
    let changed = edit_file(&file, &args.site, today(), |text| resumed(text, args.site.as_str()))? == Edited::Changed;
    let released = if args.keep_held { None } else { block_on(async { release(args, console).await })? };
    let file = file.display().to_string();
    PauseOutput { site: &args.site, deliver: true, changed, file, released }.show(args.output, console)?;
    let later = format!("`formgate leads retry --site {} --reason {}`", args.site, Reason::DeliverOff.as_str());
    match released {
        Some(count) => console.say(format!("{} queued", plural(count, "held lead"))),
        None if args.keep_held => console.say(format!("leads that were held stay held; {later} sends them")),
        None => console.say(format!("no gateway answers: once one runs, {later} sends what was held")),
    }
    Ok(Exit::Ok)
}

impl PauseOutput<'_> {
    fn show(&self, output: Format, console: &mut Console) -> Result<(), Error> {
        let Self { site, file, .. } = self;
        match (output, self.deliver, self.changed) {
            (Format::Json, ..) => console.json(self),
            (_, false, true) => console.data(format!("deliveries of {site} are off now: deliver = false is in {file}")),
            (_, false, false) => console.data(format!("deliveries of {site} are off already, in {file}")),
            (_, true, true) => console.data(format!("deliveries of {site} are on again, in {file}")),
            (_, true, false) => console.data(format!("deliveries of {site} are on already, in {file}")),
        }
    }
}

/// What is read of a site, as the admin API tells it.
#[derive(Deserialize)]
struct SiteTold {
    state: SiteState,
}

/// Has the gateway queue what was held; none where no gateway answers.
async fn release(args: &ResumeArgs, console: &mut Console) -> Result<Option<u64>, Error> {
    let Some(remote) = gateway(&args.config, args.admin.as_deref(), console).await? else { return Ok(None) };
    let deadline = Instant::now() + RELOAD_TIME;
    while is_paused_still(&remote, &args.site).await? {
        if Instant::now() >= deadline {
            let error = Error::admin(anyhow!("the gateway has not picked up the change of {}", args.site));
            return Err(error.hint(format!(
                "`formgate status` says what is wrong with its configuration; then run `formgate sites resume {}` again",
                args.site
            )));
        }
        console.progress("waiting for the gateway to pick up the change");
        sleep(ASK_EVERY).await;
    }
    let mut asked = held(&args.site);
    let mut queued = 0;
    loop {
        let tried: Tried = remote.post("/leads/retry", &asked).await?;
        queued += tried.results.iter().filter(|done| done.outcome == EntryOutcome::Queued).count() as u64;
        console.progress(&format!("{} queued", plural(queued, "held lead")));
        let Some(next) = tried.next else { break };
        asked.cursor = Some(next);
    }
    console.progress("");
    Ok(Some(queued))
}

/// Tells whether the gateway still holds what comes for the site.
async fn is_paused_still(remote: &Remote, site: &SiteId) -> Result<bool, Error> {
    let told = remote.get::<SiteTold>(&format!("/sites/{site}"), &()).await;
    if told.is_ok_and(|site| site.state == SiteState::DeliveriesOff) {
        return Ok(true);
    }
    // The state may be another one that counts for more. A lead that is held for the pause, and would stay so, says it too.
    let asked = RetryAsked { dry_run: true, limit: Some(1), ..held(site) };
    let tried: Tried = remote.post("/leads/retry", &asked).await?;
    Ok(tried.results.iter().any(|done| done.outcome == EntryOutcome::Unchanged))
}

/// The leads that are held for the pause.
fn held(site: &SiteId) -> RetryAsked {
    let filter = FilterAsked {
        site: Some(site.to_string()),
        state: Some(State::Held.as_str().to_owned()),
        reason: Some(Reason::DeliverOff.as_str().to_owned()),
        ..FilterAsked::default()
    };
    RetryAsked { filter: Some(filter), rate: Some(RATE_MAX), limit: Some(PAGE), ..RetryAsked::default() }
}
