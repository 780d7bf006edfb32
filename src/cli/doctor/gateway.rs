//! The running gateway, asked through its admin API: is it there, does it store, is something degraded?

use std::future::Future;
use std::time::Duration;

use anyhow::anyhow;
use serde::Deserialize;
use tokio::time::timeout;

use super::DoctorArgs;
use super::finding::{Check, Finding};
use crate::cli::error::Error;
use crate::cli::how_to_start::how_to_start;
use crate::cli::leads::{Remote, find_gateway};
use crate::cli::status::size;
use crate::config::{Config, StoreUrl};
use crate::operate::Status;
use crate::telemetry::{Arrival, OpenFiles};

/// A store this full, in percent, needs somebody soon.
const NEARLY_FULL: u64 = 80;

/// For one question to the gateway.
const ASK_TIME: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
struct Process {
    open_files: OpenFiles,
}

#[derive(Deserialize)]
struct Arrivals {
    arrivals: Vec<Arrival>,
}

/// Finds the gateway. That there is none is a finding, and the other checks go on.
pub(super) async fn find(args: &DoctorArgs, config: &Config) -> Result<Remote, Finding> {
    match find_gateway(config, args.admin.as_deref()).await {
        Ok(Some(remote)) => Ok(remote),
        Ok(None) => Err(Finding::bad(
            Check::Gateway,
            "no gateway answers",
            format!(
                "start it with `{}`; if it runs elsewhere or with another configuration, use --config or --admin",
                how_to_start(&args.config)
            ),
        )),
        Err(error) => Err(unusable(&error)),
    }
}

fn unusable(error: &Error) -> Finding {
    let told = error.render();
    let mut lines = told.lines().map(str::trim);
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let cure = lines.find_map(|line| line.strip_prefix("help: ")).unwrap_or("is this the gateway's configuration?");
    Finding::bad(Check::Gateway, what, cure)
}

/// Asks the gateway how it is.
pub(super) async fn look(remote: &Remote) -> Vec<Finding> {
    match in_time(remote.get::<Status>("/status", &vec![("brief", true)])).await {
        Ok(status) => judge(&status, env!("CARGO_PKG_VERSION")),
        Err(error) => vec![unusable(&error)],
    }
}

/// Asks for what the process may open; none where it doesn't say.
pub(super) async fn open_files(remote: &Remote) -> Option<OpenFiles> {
    in_time(remote.get::<Process>("/process", &())).await.ok().map(|process| process.open_files)
}

/// Tells the gateway to remember requests under a name; tells whether it does.
pub(super) async fn announce(remote: &Remote, name: &str) -> bool {
    in_time(remote.post::<serde_json::Value>("/pings", &serde_json::json!({ "name": name }))).await.is_ok()
}

/// Asks how the requests of a name arrived; none where the gateway can't say.
pub(super) async fn arrivals(remote: &Remote, name: &str) -> Option<Vec<Arrival>> {
    in_time(remote.get::<Arrivals>(&format!("/pings/{name}"), &())).await.ok().map(|known| known.arrivals)
}

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = || Error::admin(anyhow!("the gateway's admin API doesn't answer")).hint("look at the gateway's log");
    timeout(ASK_TIME, call).await.unwrap_or_else(|_elapsed| Err(late()))
}

/// Says what can be seen of a store that no gateway has open, without opening it.
pub(super) fn look_offline(config: &Config) -> Finding {
    match &config.queue.url {
        StoreUrl::Memory => Finding::skipped(Check::Store, "the store is in memory", "start the gateway"),
        StoreUrl::Postgres(url) => Finding::skipped(
            Check::Store,
            format!("{url} was not opened"),
            "`formgate leads list --offline` reads it without a gateway",
        ),
        StoreUrl::Sqlite(path) if path.exists() => Finding::skipped(
            Check::Store,
            format!("{} was not opened", path.display()),
            "`formgate leads list --offline` reads it without a gateway",
        ),
        StoreUrl::Sqlite(path) => Finding::skipped(
            Check::Store,
            format!("{} doesn't exist yet", path.display()),
            "`formgate serve` creates it at its first start",
        ),
    }
}

fn judge(status: &Status, own_version: &str) -> Vec<Finding> {
    let mut findings = vec![judge_version(&status.version, own_version, status.sites)];
    findings.push(judge_store(status));
    findings.extend(
        status.degraded.iter().map(|degraded| Finding::warn(Check::Degraded, &degraded.reason, &degraded.cure)),
    );
    findings
}

fn judge_version(version: &str, own: &str, sites: usize) -> Finding {
    if version == own {
        return Finding::ok(Check::Gateway, format!("formgate {version} runs; sites: {sites}"));
    }
    let what = format!("formgate {version} runs, and this program is {own}");
    Finding::warn(Check::Gateway, what, "restart or upgrade the gateway, so that both are the same")
}

fn judge_store(status: &Status) -> Finding {
    let store = &status.store;
    let what = format!("{} of at most {} used", size(store.bytes), size(store.max_bytes));
    if let Some(why) = &status.unready {
        return Finding::bad(
            Check::Store,
            format!("submissions are answered 503: {why}"),
            unready_cure(status.unready_reason.as_deref().unwrap_or_default()),
        );
    }
    if store.bytes.saturating_mul(100) >= store.max_bytes.saturating_mul(NEARLY_FULL) {
        let cure = "at [queue].max_size submissions are answered 503: raise it, or keep leads for a shorter time \
                    ([queue].keep)";
        return Finding::warn(Check::Store, what, cure);
    }
    Finding::ok(Check::Store, format!("takes submissions; {what}"))
}

/// Returns what helps, by the reason that `/readyz` gives too.
fn unready_cure(reason: &str) -> &'static str {
    match reason {
        "store_full" => {
            "the disk has room: raise [queue].max_size and restart the gateway, or erase leads with `formgate leads erase`. \
             A shorter [queue].keep keeps it from filling up again"
        }
        "disk_full" => "free space on the disk of [queue].url, or erase leads with `formgate leads erase`",
        "store_set_aside" => "run `formgate store salvage`",
        "store_corrupt" => "part of the store can't be read: restart the gateway, so that it is checked",
        "store_newer" => "start the version of formgate that wrote the store, or a newer one",
        "stopping" => "it is being stopped: start it again, or wait for the service manager to do so",
        "listener_ended" | "store_ended" => "restart the gateway, and report what its log says",
        _ => "look at the disk and its mount; `formgate status` shows more",
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;
    use crate::operate::{Degradation, LeadCounts, StoreStatus};
    use jiff::Timestamp;

    fn status() -> Status {
        Status {
            version: "1.0.0".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            now: Timestamp::UNIX_EPOCH,
            url: String::new(),
            is_public: true,
            ready: true,
            unready: None,
            unready_reason: None,
            degraded: Vec::new(),
            store: StoreStatus { kind: "sqlite".to_owned(), file: None, bytes: 1, max_bytes: 100, schema: None },
            spool: None,
            sites: 1,
            leads: LeadCounts::default(),
            waits: Vec::new(),
            causes: Vec::new(),
            more_causes: 0,
            needs_person: 0,
            incomplete: false,
            errors: Vec::new(),
            refused: Vec::new(),
            gateways: Vec::new(),
        }
    }

    fn grades(status: &Status) -> Vec<Grade> {
        judge(status, "1.0.0").iter().map(|finding| finding.grade).collect()
    }

    #[test]
    fn a_gateway_that_takes_submissions_is_fine() {
        assert_eq!(grades(&status()), [Grade::Ok, Grade::Ok]);
    }

    #[test]
    fn what_needs_a_person_is_told() {
        let degraded = vec![Degradation { reason: "backup_failed".to_owned(), cure: "fix it".to_owned() }];
        let mut troubled = Status { degraded, version: "0.9.0".to_owned(), ..status() };
        troubled.store.bytes = 80;
        assert_eq!(grades(&troubled), [Grade::Warn, Grade::Warn, Grade::Warn]);
        let unready = Status { unready: Some("disk full".to_owned()), ..status() };
        assert_eq!(grades(&unready), [Grade::Ok, Grade::Bad]);
    }

    #[test]
    fn a_store_that_takes_nothing_has_the_cure_of_its_reason() {
        let cure = |reason: Option<&str>| {
            let unready = Some("the store is full".to_owned());
            let unready_reason = reason.map(str::to_owned);
            judge_store(&Status { unready, unready_reason, ..status() }).cure.unwrap_or_default()
        };
        assert!(cure(Some("store_full")).contains("raise [queue].max_size"), "not the disk");
        assert!(cure(Some("disk_full")).contains("free space on the disk"));
        assert!(cure(Some("store_set_aside")).contains("formgate store salvage"));
        for other in [Some("store_away"), Some("store_slow"), None] {
            assert!(cure(other).contains("the disk and its mount"), "{other:?}");
        }
    }
}
