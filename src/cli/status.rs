//! `formgate status`.

mod gateways;

use anyhow::anyhow;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::console::{Console, Format, Paint};
use super::error::Error;
use super::exit::Exit;
use super::how_to_start::how_to_start;
use super::leads::{Remote, duration, gateway, plural};
use super::rules::ConfigArg;
use super::runtime::block_on;
use super::shown;
use crate::operate::{DeliveryWait, Status, WaitsFor};
use crate::queue::{Reason, SpoolStatus};

/// Longest cause or error that is shown, in characters.
const WORDS_MAX: usize = 100;
/// Sites that are listed; the rest is counted.
const WAITS_MAX: usize = 10;

/// Shows the state of the running gateway on one screen.
///
/// Shows what it stores, what is queued, held or dead and why, and what needs attention. Exits with 69 if no gateway
/// answers.
#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The running gateway's admin API [default: from the configuration]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// For health checks: print one line; exit with 0 if a submission posted now would be stored, else with 1
    ///
    /// What is degraded is named, but doesn't fail the check: a restart wouldn't help.
    #[arg(long)]
    check: bool,
    /// How to write the status
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// The parameters of the request.
#[derive(Serialize)]
struct StatusQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    brief: Option<bool>,
}

pub(super) fn run(args: &StatusArgs, console: &mut Console) -> Result<Exit, Error> {
    let status = block_on(async { ask(args, console).await });
    if args.check {
        return check(args, status, console);
    }
    let status = status?;
    match args.output {
        Format::Json => console.json(&status)?,
        Format::Text => {
            for line in lines(&status, console.paint()) {
                console.data(line)?;
            }
        }
    }
    Ok(Exit::Ok)
}

async fn ask(args: &StatusArgs, console: &mut Console) -> Result<Status, Error> {
    let remote: Option<Remote> = gateway(&args.config, args.admin.as_deref(), console).await?;
    let remote = remote.ok_or_else(|| no_gateway(&args.config))?;
    remote.get("/status", &StatusQuery { brief: args.check.then_some(true) }).await
}

/// The failure of a command that only a running gateway can answer.
pub(super) fn no_gateway(config: &ConfigArg) -> Error {
    let start = how_to_start(config);
    Error::admin(anyhow!("no gateway answers")).hint(format!(
        "is it running with this configuration? `{start}` starts it; `formgate leads list` works without it"
    ))
}

fn check(args: &StatusArgs, status: Result<Status, Error>, console: &mut Console) -> Result<Exit, Error> {
    let (ready, line) = match &status {
        Ok(status) if status.ready => (true, summary(status)),
        Ok(status) => (false, format!("not ready: {}", status.unready.as_deref().unwrap_or("the store"))),
        Err(error) => (false, error.render().lines().next().unwrap_or_default().to_owned()),
    };
    match (args.output, &status) {
        (Format::Json, Ok(status)) => console.json(status)?,
        _ => console.data(line)?,
    }
    Ok(if ready { Exit::Ok } else { Exit::Findings })
}

fn summary(status: &Status) -> String {
    let reasons: Vec<_> = status.degraded.iter().map(|it| it.reason.as_str()).collect();
    let degraded = if reasons.is_empty() { String::new() } else { format!("; degraded: {}", reasons.join(", ")) };
    format!("ready{degraded}")
}

/// Writes the screen: short where all is well.
fn lines(status: &Status, paint: Paint) -> Vec<String> {
    let mut lines = head(status, paint);
    lines.extend(gateways::lines(status, paint));
    lines.extend(degraded(status, paint));
    lines.extend(waits(status));
    lines.extend(causes(status));
    lines.extend(spam(status));
    lines.extend(errors(status));
    lines.extend(refused(status));
    let is_well =
        status.ready && status.degraded.is_empty() && status.waits.is_empty() && work(status).next().is_none();
    if is_well {
        lines.push(format!("\n{}", paint.green("nothing needs attention")));
    }
    lines
}

fn head(status: &Status, paint: Paint) -> Vec<String> {
    let ready = match &status.unready {
        None => paint.green("ready"),
        Some(why) => paint.red(&format!("not ready: {}", shown::line(why))),
    };
    let up = ago(status.since, status.now);
    let local = if status.is_public { "" } else { "  (this machine only: [server].public_url is not set)" };
    vec![
        format!("formgate {}  up {up}  {ready}", status.version),
        format!("url     {}{local}", shown::line(&status.url)),
        format!("store   {}", store(status)),
        format!("sites   {}", status.sites),
        format!("leads   {}", leads(status)),
    ]
    .into_iter()
    .chain(status.spool.as_ref().map(|it| format!("spool   {}", spool(it, status.now))))
    .collect()
}

fn spool(spool: &SpoolStatus, now: Timestamp) -> String {
    let SpoolStatus { away_since, error, entries, bytes, oldest, refused } = spool;
    let oldest = oldest.map(|oldest| format!(" (oldest {})", ago(oldest, now))).unwrap_or_default();
    let holds = format!("{}{oldest}, {}", plural(*entries, "lead"), size(*bytes));
    let error = error.as_deref().map(|error| format!(": {}", shown::short(error, WORDS_MAX))).unwrap_or_default();
    let refused = if *refused > 0 { format!("; {refused} of them refused by the store") } else { String::new() };
    match away_since {
        Some(since) => format!("{holds}{refused}; the store is away for {}{error}", ago(*since, now)),
        None => format!("{holds}{refused}; moving into the store{error}"),
    }
}

fn store(status: &Status) -> String {
    let store = &status.store;
    let schema = store.schema.map(|schema| format!(", schema {schema}")).unwrap_or_default();
    match &store.file {
        Some(file) => {
            let room = format!("{} of {}", size(store.bytes), size(store.max_bytes));
            format!("{}, {room}{schema}", shown::line(file))
        }
        None => "in memory; lost when the process ends".to_owned(),
    }
}

fn leads(status: &Status) -> String {
    let leads = &status.leads;
    let oldest = leads.oldest_queued.map(|oldest| format!(" (oldest {})", ago(oldest, status.now)));
    let queued = format!("{} queued{}", leads.queued, oldest.unwrap_or_default());
    format!("{queued}, {} held, {} dead, {} delivered", leads.held, leads.dead, leads.delivered)
}

fn degraded(status: &Status, paint: Paint) -> Vec<String> {
    let line = |it: &crate::operate::Degradation| format!("  {}  {}", paint.yellow(&it.reason), it.cure);
    titled("degraded", status.degraded.iter().map(line).collect())
}

fn waits(status: &Status) -> Vec<String> {
    let mut lines: Vec<_> = status.waits.iter().take(WAITS_MAX).map(|wait| waiting(wait, status.now)).collect();
    if let Some(more) = status.waits.len().checked_sub(WAITS_MAX).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more: --output json"));
    }
    titled("waiting", lines)
}

fn waiting(wait: &DeliveryWait, now: Timestamp) -> String {
    let site = wait.site.as_ref().map(|site| site.as_str()).unwrap_or("all sites");
    let what = match wait.waits_for {
        WaitsFor::Upstream | WaitsFor::Site => "KaiCalls has failed",
        WaitsFor::Keys => "KaiCalls has refused its keys",
        _ => "held back",
    };
    let why = shown::short(&wait.why, WORDS_MAX);
    let queued = plural(wait.queued, "lead");
    let since = ago(wait.since, now);
    format!("  {site}: {what} for {since}: {why}; {queued} queued, next attempt {}", until(wait.next_try, now))
}

/// What is held or dead and a person must see to.
fn work(status: &Status) -> impl Iterator<Item = &crate::operate::Group> {
    status.causes.iter().filter(|group| group.reason != Reason::Spam)
}

/// Says what honeypots caught: nobody has to do anything about it.
fn spam(status: &Status) -> Vec<String> {
    let caught = status.causes.iter().filter(|group| group.reason == Reason::Spam);
    let leads: u64 = caught.map(|group| group.leads).sum();
    let line = || format!("\nspam    {} held: formgate leads list --reason spam", plural(leads, "lead"));
    (leads > 0).then(line).into_iter().collect()
}

fn causes(status: &Status) -> Vec<String> {
    let line = |group: &crate::operate::Group| {
        let sites = plural(u64::try_from(group.sites).unwrap_or(u64::MAX), "site");
        let cause = shown::short(&group.cause, WORDS_MAX);
        format!("  {} {}, {sites}: {cause}", plural(group.leads, "lead"), group.state.as_str())
    };
    let mut lines: Vec<_> = work(status).map(line).collect();
    if !lines.is_empty() {
        lines.push("  formgate leads list --group reason".to_owned());
    }
    titled("needs attention", lines)
}

fn errors(status: &Status) -> Vec<String> {
    let line = |error: &crate::operate::LastError| {
        format!("  {} ago  {}: {}", ago(error.at, status.now), error.site, shown::short(&error.words, WORDS_MAX))
    };
    titled("last errors", status.errors.iter().map(line).collect())
}

fn refused(status: &Status) -> Vec<String> {
    let of_site = |refused: &crate::operate::SiteRefusals| {
        let site = refused.site.as_ref().map_or("sites that don't exist", |site| site.as_str());
        let last = refused.posts.last_at.map_or_else(String::new, |at| format!(", last {} ago", ago(at, status.now)));
        let reason = shown::short(refused.posts.last_reason.as_deref().unwrap_or("-"), WORDS_MAX);
        let newest = refused.mistakes.first();
        let host = newest.and_then(|mistake| mistake.host.as_deref());
        let from = host.map_or_else(String::new, |host| format!(", from {}", shown::short(host, WORDS_MAX)));
        let line = format!("  {site}: {}{last}: {reason}{from}", plural(refused.posts.last_24h, "post"));
        let cure = newest.map(|mistake| format!("    {}", shown::line(&mistake.cure)));
        std::iter::once(line).chain(cure)
    };
    titled("refused posts (24 h)", status.refused.iter().flat_map(of_site).collect())
}

fn titled(title: &str, lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() {
        return lines;
    }
    std::iter::once(format!("\n{title}")).chain(lines).collect()
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    duration(now.as_millisecond().saturating_sub(then.as_millisecond()).max(0))
}

fn until(then: Timestamp, now: Timestamp) -> String {
    if then.duration_since(now) <= SignedDuration::ZERO { "now".to_owned() } else { format!("in {}", ago(now, then)) }
}

/// Writes bytes in the unit that says it best.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = (bytes, "B");
    for unit in UNITS {
        if shown.0 < 1024 {
            break;
        }
        shown = (shown.0.div_ceil(1024), unit);
    }
    format!("{} {}", shown.0, shown.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lead::SiteId;
    use crate::operate::{
        Degradation, Group, LastError, LeadCounts, RefusedMistake, RefusedPosts, SiteRefusals, StoreStatus,
    };
    use crate::queue::activity::cure;
    use crate::queue::{Reason, State};

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(NOW + seconds).expect("a time")
    }

    fn site(name: &str) -> SiteId {
        SiteId::parse(name).expect("a slug")
    }

    pub(super) fn healthy() -> Status {
        Status {
            version: "1.2.3".to_owned(),
            since: at(-3 * 86_400),
            now: at(0),
            url: "https://gate.agency.example".to_owned(),
            is_public: true,
            ready: true,
            unready: None,
            unready_reason: None,
            degraded: Vec::new(),
            store: StoreStatus {
                kind: "sqlite".to_owned(),
                file: Some("data/formgate.db".to_owned()),
                bytes: 12 << 20,
                max_bytes: 10 << 30,
                schema: Some(3),
            },
            spool: None,
            sites: 300,
            leads: LeadCounts { queued: 2, held: 0, dead: 0, delivered: 1_203, oldest_queued: Some(at(-3)) },
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

    fn screen(status: &Status) -> String {
        lines(status, Paint::default()).join("\n")
    }

    #[test]
    fn the_screen_is_short_where_all_is_well() {
        insta::assert_snapshot!("healthy", screen(&healthy()));
    }

    fn group(leads: u64, sites: usize, cause: &str, state: State, reason: Reason) -> Group {
        Group {
            cause: cause.to_owned(),
            state,
            reason,
            waits_for: None,
            leads,
            sites,
            site_names: vec![site("acme")],
            oldest: at(-90_000),
            example: crate::lead::EntryId::from_bytes([1; 16]),
        }
    }

    fn mistake(word: &str, count: u64) -> RefusedMistake {
        RefusedMistake {
            mistake: word.to_owned(),
            status: Some(401),
            count,
            first_at: at(-900),
            last_at: at(-200),
            host: Some("www.acme\u{1b}.example".to_owned()),
            agent: None,
            cure: cure(word).to_owned(),
        }
    }

    #[test]
    fn the_screen_says_what_waits_and_what_needs_a_person() {
        let wait = |waits_for, name: Option<&str>, why: &str, queued| DeliveryWait {
            waits_for,
            site: name.map(site),
            since: at(-7_300),
            why: why.to_owned(),
            next_try: at(45),
            queued,
        };
        let status = Status {
            is_public: false,
            url: "http://127.0.0.1:8080".to_owned(),
            ready: false,
            unready: Some("the store is full: no space is left on the disk".to_owned()),
            degraded: vec![Degradation {
                reason: "backup_failed".to_owned(),
                cure: "the last backup failed: see `backup.failed` in the log".to_owned(),
            }],
            leads: LeadCounts { queued: 40, held: 37, dead: 4, delivered: 9, oldest_queued: Some(at(-7_300)) },
            waits: vec![
                wait(WaitsFor::Upstream, None, "503 Service Unavailable", 40),
                wait(WaitsFor::Keys, Some("acme"), "401 Invalid \u{1b}[31mkey", 12),
            ],
            causes: vec![
                group(37, 4, "no valid lead: email missing", State::Held, Reason::Invalid),
                group(1, 1, "KaiCalls refused the lead: 400 Bad phone", State::Dead, Reason::Refused),
            ],
            errors: vec![LastError { at: at(-30), site: site("acme"), words: "503 Service Unavailable".to_owned() }],
            refused: [(Some(site("acme")), 12, "unknown_token"), (None, 1, "unknown_site")]
                .map(|(site, last_24h, reason)| SiteRefusals {
                    site,
                    posts: RefusedPosts { last_24h, last_at: Some(at(-200)), last_reason: Some(reason.to_owned()) },
                    mistakes: vec![mistake(reason, last_24h)],
                })
                .into(),
            ..healthy()
        };
        insta::assert_snapshot!("troubled", screen(&status));
    }

    #[test]
    fn spam_is_told_and_needs_nobody() {
        let caught = group(12, 1, "spam: the form's honeypot is filled in", State::Held, Reason::Spam);
        let status = Status { causes: vec![caught], ..healthy() };
        let shown = screen(&status);
        assert!(shown.contains("\nspam    12 leads held: formgate leads list --reason spam\n"), "{shown}");
        assert!(shown.contains("nothing needs attention") && !shown.contains("honeypot"), "{shown}");
    }

    #[test]
    fn sizes_are_said_as_people_say_them() {
        assert_eq!([0, 1_023, 1_024, 10 << 30].map(size), ["0 B", "1023 B", "1 KiB", "10 GiB"]);
    }
}
