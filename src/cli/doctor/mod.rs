//! `formgate doctor`: looks at everything between a plugin and KaiCalls, from outside where that is possible.
//!
//! ```text
//! machine    room on the disk, how fast it writes, open files
//! gateway    the running one: does it store, is something degraded?
//! address    the public URL: scheme, port, name, connections
//! ping       a POST of our own through it, which stores nothing
//!   route    what came back: certificate, redirect, who answered, how large a body may be
//!   client   what the gateway saw of it: whom it counts the request for
//!   shown    which of the credentials in it arrived
//! upstream   KaiCalls: base_url, the clock, each site's keys
//! ```
//!
//! Each file gathers facts in `look` (or a verb of its own) and judges them in functions without I/O.

mod address;
mod client;
mod finding;
mod gateway;
mod machine;
mod ping;
mod route;
mod shown;
mod upstream;

use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use self::address::PublicAddress;
use self::finding::{Check, Finding, Grade};
use self::ping::Pinger;
use self::route::Seen;
use super::console::{Console, Format};
use super::error::Error;
use super::exit::Exit;
use super::leads::{Remote, plural, read_config_as_gateway};
use super::rules::ConfigArg;
use super::runtime::block_on;
use crate::config::{Config, Site, known_names};
use crate::kaicalls::Client;
use crate::lead::SiteId;
use crate::telemetry::OpenFiles;

/// A body that nginx refuses unless it is told otherwise.
const LARGE_BODY: usize = 1_200_000;
/// A larger body isn't sent, whatever `max_body` is.
const LARGEST_BODY: u64 = 64 << 20;

/// Checks everything between a form plugin and KaiCalls, and says how to fix what it finds.
///
/// Checks the disk, the running gateway, the public address (port, DNS, TLS, redirects, body limit, client address,
/// credentials), KaiCalls and each site's keys. It sends requests without a valid token through the public address, so
/// nothing is stored. Exits with 1 if a finding is bad.
#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Check the keys of these sites only [default: all]
    #[arg(value_name = "SITE", value_parser = SiteId::parse)]
    sites: Vec<SiteId>,
    #[command(flatten)]
    config: ConfigArg,
    /// Where plugins reach the gateway [default: [server].public_url]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The running gateway's admin API [default: from the configuration]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// How to write the findings
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct DoctorOutput<'a> {
    findings: &'a [Finding],
}

pub(super) fn run(args: &DoctorArgs, console: &mut Console) -> Result<Exit, Error> {
    let config = read_config_as_gateway(&args.config, console)?;
    let sites = chosen(args, &config)?;
    let public = args.public_url.as_ref().or(config.server.public_url.as_ref());
    let public = public.map(|url| {
        let wrong = || Error::usage(anyhow!("{url} is not a URL without a path"));
        PublicAddress::parse(url).ok_or_else(|| wrong().hint("write --public-url https://gate.agency.example"))
    });
    let public = public.transpose()?;
    let findings = block_on(async { examine(args, &config, &sites, public.as_ref(), console).await })?;
    match args.output {
        Format::Json => console.json(&DoctorOutput { findings: &findings })?,
        Format::Text => {
            for line in finding::lines(&findings, console.paint()) {
                console.data(line)?;
            }
        }
    }
    console.say(finding::summary(&findings));
    let is_bad = findings.iter().any(|finding| finding.grade == Grade::Bad);
    Ok(if is_bad { Exit::Findings } else { Exit::Ok })
}

fn chosen<'a>(args: &DoctorArgs, config: &'a Config) -> Result<Vec<&'a Arc<Site>>, Error> {
    if args.sites.is_empty() {
        return Ok(config.sites.values().collect());
    }
    let find = |id: &SiteId| {
        let unknown = || {
            let known = known_names(id.as_str(), config.sites.keys().map(SiteId::as_str));
            Error::usage(anyhow!("there is no site `{id}`")).hint(known)
        };
        config.sites.get(id).ok_or_else(unknown)
    };
    args.sites.iter().map(find).collect()
}

/// Looks at everything: what doesn't depend on each other at the same time, and the keys last, since there may be many.
async fn examine(
    args: &DoctorArgs,
    config: &Config,
    sites: &[&Arc<Site>],
    public: Option<&PublicAddress>,
    console: &mut Console,
) -> Result<Vec<Finding>, Error> {
    console.progress("looking for the gateway");
    let found = gateway::find(args, config).await;
    let remote = found.as_ref().ok();
    let kaicalls = upstream::client(config);
    console.progress("looking at this machine, the public address and KaiCalls");
    let (machine, gateway, public, upstream) = tokio::join!(
        look_at_machine(args, config, remote),
        look_at_gateway(config, &found),
        look_at_public(config, public, remote),
        look_at_kaicalls(config, &kaicalls),
    );
    let mut findings = [machine, gateway, public, upstream].concat();
    let (pairs, missing) = upstream::pairs(sites.iter().copied());
    findings.extend(missing);
    // Refused keys are told from a KaiCalls that is away by this alone.
    let answers = findings.iter().any(|finding| finding.check == Check::BaseUrl && finding.grade != Grade::Bad);
    if let (Ok(client), true) = (&kaicalls, answers) {
        let total = plural(u64::try_from(pairs.len()).unwrap_or(u64::MAX), "key pair");
        let progress = |done| console.progress(&format!("asking KaiCalls about the keys: {done} of {total}"));
        findings.extend(upstream::verify(client, config, pairs, progress).await);
    } else if !pairs.is_empty() {
        findings.push(Finding::skipped(Check::Keys, "KaiCalls can't be asked", "fix base_url first"));
    }
    console.progress("");
    Ok(findings)
}

async fn look_at_kaicalls(config: &Config, client: &Result<Client, Finding>) -> Vec<Finding> {
    match client {
        Ok(client) => upstream::look(client, &config.upstream.base_url).await,
        Err(none) => vec![none.clone()],
    }
}

async fn open_files(remote: Option<&Remote>) -> OpenFiles {
    let of_gateway = match remote {
        Some(remote) => gateway::open_files(remote).await,
        None => None,
    };
    of_gateway.unwrap_or_else(OpenFiles::of_this_process)
}

async fn look_at_machine(args: &DoctorArgs, config: &Config, remote: Option<&Remote>) -> Vec<Finding> {
    // Over plain HTTP the admin API answers only on its own machine.
    if args.admin.as_ref().is_some_and(|admin| admin.starts_with("https://")) {
        let cure = "run the doctor on the gateway's machine too";
        return vec![Finding::skipped(Check::DiskSpace, "the gateway is on another machine", cure)];
    }
    machine::look(config, open_files(remote).await, remote.is_some()).await
}

async fn look_at_gateway(config: &Config, found: &Result<Remote, Finding>) -> Vec<Finding> {
    match found {
        Ok(remote) => gateway::look(remote).await,
        Err(absent) => vec![absent.clone(), gateway::look_offline(config)],
    }
}

async fn look_at_public(config: &Config, public: Option<&PublicAddress>, remote: Option<&Remote>) -> Vec<Finding> {
    let Some(public) = public else {
        return vec![Finding::skipped(
            Check::Url,
            "the public address isn't known: port, DNS, TLS, redirects, a POST of our own, client address and body \
             limit were not checked",
            "set [server].public_url, or add --public-url https://gate.agency.example",
        )];
    };
    let mut findings = public.judge();
    let (answers, reached) = public.look().await;
    findings.extend(reached);
    if !answers {
        findings.push(Finding::skipped(Check::Route, "nothing was sent", "fix the connection first"));
        return findings;
    }
    match Pinger::new(public) {
        Ok(pinger) => findings.extend(send_pings(config, public, &pinger, remote).await),
        Err(_unusable) => findings.push(Finding::bad(
            Check::Tls,
            "no certificate authorities are installed",
            "install ca-certificates, or set SSL_CERT_FILE",
        )),
    }
    findings
}

async fn send_pings(config: &Config, public: &PublicAddress, pinger: &Pinger, remote: Option<&Remote>) -> Vec<Finding> {
    let is_expected = match remote {
        Some(remote) => gateway::announce(remote, &pinger.name).await,
        None => false,
    };
    let pinged = pinger.post().await;
    let arrivals = match remote.filter(|_| is_expected) {
        Some(remote) => gateway::arrivals(remote, &pinger.name).await,
        None => None,
    };
    let seen = match &arrivals {
        None => Seen::Unknown,
        Some(arrivals) if arrivals.is_empty() => Seen::NotHere,
        Some(_) => Seen::Here,
    };
    let mut findings = Vec::new();
    findings.extend(route::judge_tls(&pinged, Timestamp::now()));
    findings.extend(route::judge_route(&pinged, seen));
    match arrivals.iter().flatten().next() {
        Some(arrival) => {
            findings.push(client::judge(arrival, public.is_local()));
            findings.extend(shown::judge(arrival));
        }
        None => {
            let unseen = |check| Finding::skipped(check, "this gateway saw no request of ours", "fix the route first");
            findings.extend([Check::ClientAddress, Check::Credentials].map(unseen));
        }
    }
    let passes = pinged.is_ok_and(|answer| answer.is_formgate);
    for bytes in body_sizes(config.server.max_body).into_iter().filter(|_| passes) {
        findings.push(route::judge_body(bytes, config.server.max_upload, &pinger.post_bytes(bytes).await));
    }
    if !passes {
        findings.push(Finding::skipped(Check::BodyLimit, "no large body was sent", "fix the route first"));
    }
    findings
}

/// What a proxy's default refuses, and what the gateway would take where that is more.
fn body_sizes(max_body: u64) -> Vec<usize> {
    let largest = usize::try_from(max_body.min(LARGEST_BODY)).unwrap_or(LARGE_BODY);
    let mut sizes = vec![LARGE_BODY];
    sizes.extend((largest > LARGE_BODY).then_some(largest));
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_as_large_as_the_gateway_takes_is_sent_within_reason() {
        assert_eq!(body_sizes(1 << 20), [LARGE_BODY]);
        assert_eq!(body_sizes(8 << 20), [LARGE_BODY, 8 << 20]);
        assert_eq!(body_sizes(1 << 40), [LARGE_BODY, 64 << 20]);
    }
}
