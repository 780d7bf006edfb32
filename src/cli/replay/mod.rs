//! `formgate replay`.

pub(super) mod compare;

pub(super) mod post;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use reqwest::Client;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cases::{self, Case};
use super::check::counted;
use super::console::{Console, Format, Paint};
use super::diff::{self, Sides};
use super::error::Error;
use super::exit::Exit;
use super::expectation::Difference;
use super::runtime::block_on;
use compare::SentLeads;
use post::{GatewayAnswer, Hook, PostError};

/// Most requests at once.
const CONCURRENCY_MAX: usize = 256;

/// Posts captured requests to a webhook URL and compares the results.
///
/// Posts each request as its plugin did. The answer says whether a lead was queued or the submission is held. With
/// --sandbox, the leads that the sandbox received are compared too. Exits with 1 if anything differs, with 75 if the
/// gateway can't be reached.
#[derive(Args)]
pub(super) struct ReplayArgs {
    /// The webhook URL, such as https://gateway.example/hooks/acme
    #[arg(long, value_name = "URL")]
    to: String,
    /// The site's token, unless it is in the URL
    #[arg(long, value_name = "TOKEN", env = "FORMGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The sandbox that the gateway delivers to, such as http://127.0.0.1:9090
    #[arg(long, value_name = "URL")]
    sandbox: Option<String>,
    /// How long to wait for leads to reach the sandbox, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// Number of requests in parallel
    #[arg(long, value_name = "N", default_value = "1")]
    concurrency: NonZeroUsize,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// Captured requests (.http), or folders of them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

/// What came of one case.
#[derive(Serialize)]
struct Replayed {
    case: PathBuf,
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Whether there was something to compare with.
    compared: Compared,
    differences: Vec<Difference>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Compared {
    Nothing,
    Answer,
    Lead,
}

pub(super) fn run(args: &ReplayArgs, console: &mut Console) -> Result<Exit, Error> {
    let hook = Hook::new(&args.to, args.token.as_deref()).map_err(Error::usage)?;
    let cases = cases::find(&args.paths)?.iter().map(|path| cases::read(path)).collect::<Result<Vec<_>, _>>();
    let cases: Arc<[Case]> = cases.map_err(Error::usage)?.into();
    let replayed = block_on(replay(args, hook, cases, console))?;
    match args.output {
        Format::Json => console.json(&replayed)?,
        Format::Text => show(&replayed, args.sandbox.is_some(), console)?,
    }
    let is_good = replayed.iter().all(|replayed| replayed.differences.is_empty());
    Ok(if is_good { Exit::Ok } else { Exit::Findings })
}

async fn replay(
    args: &ReplayArgs,
    hook: Hook,
    cases: Arc<[Case]>,
    console: &mut Console,
) -> Result<Vec<Replayed>, Error> {
    let needs_tls = hook.is_https() || args.sandbox.as_ref().is_some_and(|url| url.starts_with("https:"));
    let client = post::client(needs_tls).map_err(Error::upstream)?;
    let answers = post_all(&client, &hook, Arc::clone(&cases), args.concurrency, console).await?;
    let sent = match &args.sandbox {
        Some(sandbox) => Some(received(&client, sandbox, &answers, Duration::from_secs(args.wait)).await?),
        None => None,
    };
    let pairs = cases.iter().zip(answers);
    Ok(pairs.map(|(case, answer)| judge(case, answer, sent.as_ref())).collect())
}

async fn received(
    client: &Client,
    sandbox: &str,
    answers: &[GatewayAnswer],
    wait: Duration,
) -> Result<SentLeads, Error> {
    let on_their_way = answers.iter().filter(|answer| compare::is_on_its_way(answer));
    let ids: Vec<&str> = on_their_way.filter_map(|answer| answer.id.as_deref()).collect();
    compare::sent_leads(client, sandbox, &ids, wait).await.map_err(|error| {
        Error::upstream(error)
            .context("the sandbox can't be reached")
            .hint("--sandbox is the address of `formgate sandbox`")
    })
}

type Posted = (usize, Result<GatewayAnswer, PostError>);

/// Starts workers that take case after case; they end when they are dropped.
fn start_posting(
    client: &Client,
    hook: &Hook,
    cases: &Arc<[Case]>,
    concurrency: NonZeroUsize,
) -> (mpsc::Receiver<Posted>, JoinSet<()>) {
    let (sender, results) = mpsc::channel(CONCURRENCY_MAX);
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency.get().min(CONCURRENCY_MAX).min(cases.len()) {
        let (client, hook, cases) = (client.clone(), hook.clone(), Arc::clone(cases));
        let (next, sender) = (Arc::clone(&next), sender.clone());
        workers.spawn(async move {
            while let Some((index, case)) = take(&next, &cases) {
                let answer = post::post(&client, &hook, &case.capture).await;
                if sender.send((index, answer)).await.is_err() {
                    break;
                }
            }
        });
    }
    (results, workers)
}

fn take<'a>(next: &AtomicUsize, cases: &'a [Case]) -> Option<(usize, &'a Case)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, cases.get(index)?))
}

/// Posts every case; the answers come in the order of the cases. The first that finds nobody ends all.
pub(super) async fn post_all(
    client: &Client,
    hook: &Hook,
    cases: Arc<[Case]>,
    concurrency: NonZeroUsize,
    console: &mut Console,
) -> Result<Vec<GatewayAnswer>, Error> {
    let (mut results, _workers) = start_posting(client, hook, &cases, concurrency);
    let mut answers = vec![GatewayAnswer::default(); cases.len()];
    let mut done = 0;
    while let Some((index, answer)) = results.recv().await {
        let case = cases.get(index).map(|case| case.path.display().to_string()).unwrap_or_default();
        let answer = usable(answer).map_err(|error| {
            console.progress("");
            error.context(format!("can't replay {case}"))
        })?;
        done += 1;
        console.progress(&format!("{done}/{} {case}", cases.len()));
        if let Some(place) = answers.get_mut(index) {
            *place = answer;
        }
    }
    console.progress("");
    Ok(answers)
}

/// Tells apart an answer, and what makes all others useless too.
fn usable(answer: Result<GatewayAnswer, PostError>) -> Result<GatewayAnswer, Error> {
    match answer {
        Ok(GatewayAnswer { code: 401, .. }) => {
            let error = Error::keys(anyhow!("the gateway refused the token (401)"));
            Err(error
                .hint("pass the site's token with --token or FORMGATE_TOKEN; `formgate sites token SITE` makes one"))
        }
        Ok(answer) => Ok(answer),
        Err(error @ PostError::NotSendable) => Err(Error::usage(error)),
        Err(error @ PostError::Unreachable(_)) => {
            Err(Error::upstream(error).hint("is it running? --to is a URL such as http://127.0.0.1:8080/hooks/SITE"))
        }
    }
}

fn judge(case: &Case, answer: GatewayAnswer, sent: Option<&SentLeads>) -> Replayed {
    let mut differences = Vec::new();
    let mut compared = Compared::Nothing;
    if let Some(expected) = &case.expectation {
        compared = Compared::Answer;
        differences = compare::answer(expected, &answer);
        if let (true, Some(sent)) = (differences.is_empty(), sent) {
            compared = Compared::Lead;
            differences = compare::lead(expected, answer.id.as_ref().and_then(|id| sent.get(id)));
        }
    }
    Replayed { case: case.path.clone(), code: answer.code, status: answer.status, id: answer.id, compared, differences }
}

fn show(replayed: &[Replayed], with_leads: bool, console: &mut Console) -> Result<(), Error> {
    let paint = console.paint();
    for one in replayed {
        for line in one.lines(paint) {
            console.data(line)?;
        }
    }
    let count = |wanted: fn(&Replayed) -> bool| replayed.iter().filter(|one| wanted(one)).count();
    let failed = count(|one| !one.differences.is_empty());
    let without = count(|one| one.compared == Compared::Nothing);
    console.say(format!(
        "{} posted, {} compared, {failed} failed",
        counted(replayed.len(), "case"),
        replayed.len() - without
    ));
    if !with_leads && without < replayed.len() {
        console.say("only the state (queued or held) was compared; --sandbox URL compares the leads too");
    }
    Ok(())
}

impl Replayed {
    fn lines(&self, paint: Paint) -> Vec<String> {
        let head = match (self.compared, self.differences.is_empty()) {
            (_, false) => paint.red("FAIL"),
            (Compared::Nothing, true) => paint.dim("sent"),
            (_, true) => paint.green("ok  "),
        };
        let answer = GatewayAnswer { code: self.code, status: self.status.clone(), id: None };
        let id = self.id.as_deref().unwrap_or_default();
        let line = format!("{head} {}  {}  {id}", self.case.display(), compare::words(&answer));
        let mut lines = vec![line.trim_end().to_owned()];
        lines.extend(diff::render(&self.differences, Sides::Expectation, paint));
        lines
    }
}
