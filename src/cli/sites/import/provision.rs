//! Pairs for the sites that need one, several at once; what is ready is written at once.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::JoinSet;

use super::plan::{PairNeed, Plan};
use super::progress::Progress;
use super::report::Report;
use super::writer::Writer;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::keys::{AT_ONCE, failure};
use crate::destination::KeyPair;
use crate::lead::SiteId;
use crate::operate::keys::{MintRequest, ProvisionError, Provisioner, ReadyPair};

/// How often the line of progress is written anew while nothing happens.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Why rows were not done.
pub(super) const STOPPED: &str = "not done: a file couldn't be written";
const REFUSED: &str = "not asked for: KaiCalls refuses [kaicalls].api_key";

/// What came of a pair, and of which plan it is.
type Provisioned = (usize, Result<ReadyPair, ProvisionError>);

/// Goes through all plans. An error means that a file can't be written; what was under way is waited for even so, since an
/// answer that is lost leaves a connection behind.
pub(super) async fn all(
    plans: Vec<Plan<'_>>,
    provisioner: Option<&Provisioner>,
    writer: &mut Writer<'_>,
    report: &mut Report,
    console: &mut Console,
) -> Result<(), Error> {
    let (simple, with_pair): (Vec<_>, Vec<_>) = plans.into_iter().partition(|plan| plan.pair == PairNeed::None);
    let mut progress = Progress::new(simple.len() + with_pair.len());
    let mut left = simple.iter();
    while let Some(plan) = left.next() {
        if let Err(error) = report.add(plan, writer.write(plan, None)) {
            report.add_undone(left.chain(&with_pair), STOPPED);
            return Err(error);
        }
        progress.add();
        console.progress(&progress.line(None));
    }
    match provisioner {
        Some(provisioner) => with_pairs(&with_pair, provisioner, writer, report, (&mut progress, console)).await,
        None => Ok(()),
    }
}

async fn with_pairs(
    plans: &[Plan<'_>],
    provisioner: &Provisioner,
    writer: &mut Writer<'_>,
    report: &mut Report,
    (progress, console): (&mut Progress, &mut Console),
) -> Result<(), Error> {
    let mut waiting: VecDeque<(usize, &Plan<'_>)> = plans.iter().enumerate().collect();
    let mut under_way: JoinSet<Provisioned> = JoinSet::new();
    let mut stopped: Option<Error> = None;
    loop {
        while under_way.len() < AT_ONCE
            && let Some((at, plan)) = waiting.pop_front()
        {
            under_way.spawn(provision(at, Wanted::of(plan), provisioner.clone()));
        }
        console.progress(&progress.line(provisioner.waits_until()));
        let joined = match tokio::time::timeout(SHOW_EVERY, under_way.join_next()).await {
            Err(_elapsed) => continue,
            Ok(None) => break,
            Ok(Some(joined)) => joined.map_err(Error::failed),
        };
        let settled = joined.and_then(|(at, ready)| match plans.get(at) {
            Some(plan) => settle(plan, ready, writer, report),
            None => Ok(true),
        });
        progress.add();
        match settled {
            Ok(true) => {}
            Ok(false) => report.add_undone(waiting.drain(..).map(|(_, plan)| plan), REFUSED),
            Err(error) => {
                report.add_undone(waiting.drain(..).map(|(_, plan)| plan), STOPPED);
                stopped.get_or_insert(error);
            }
        }
    }
    stopped.map_or(Ok(()), Err)
}

/// Writes what is ready, or notes why it isn't. False: whatever is asked for next would fail alike.
fn settle(
    plan: &Plan<'_>,
    ready: Result<ReadyPair, ProvisionError>,
    writer: &mut Writer<'_>,
    report: &mut Report,
) -> Result<bool, Error> {
    let pair = match ready {
        Ok(pair) => pair,
        Err(error) => {
            let is_for_all = matches!(error, ProvisionError::OperatorKeyRefused(_) | ProvisionError::NoOperatorKey);
            report.add(plan, Err(failure(error)))?;
            return Ok(!is_for_all);
        }
    };
    report.add(plan, writer.write(plan, Some(&pair)))?;
    Ok(true)
}

/// What a task needs of a plan.
struct Wanted {
    site: SiteId,
    url: String,
    business_id: Option<String>,
    keys: Option<KeyPair>,
}

impl Wanted {
    fn of(plan: &Plan<'_>) -> Self {
        let row = plan.row;
        let keys = row.keys.clone().filter(|_| plan.pair == PairNeed::Adopt);
        Self { site: row.id.clone(), url: row.url.clone(), business_id: row.business_id.clone(), keys }
    }
}

async fn provision(at: usize, wanted: Wanted, provisioner: Provisioner) -> Provisioned {
    let Wanted { site, url, business_id, keys } = &wanted;
    let ready = match keys {
        Some(keys) => provisioner.adopt(site, keys).await,
        None => {
            let request = MintRequest { url: Some(url), business_id: business_id.as_deref(), replaces: None };
            provisioner.mint(site, &request).await
        }
    };
    (at, ready)
}
