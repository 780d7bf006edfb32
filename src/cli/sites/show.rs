//! `formgate sites show`.

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;

use super::row::{Figures, SiteRow, rows};
use super::running::{self, RunningArgs, ago};
use crate::cli::console::{Console, Format, Paint};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::leads::plural;
use crate::cli::rules::{ConfigArg, today};
use crate::cli::{shown, table};
use crate::config::{self, Loaded};
use crate::lead::SiteId;
use crate::operate::{KaiCallsWeek, KeyState, SiteDetail, SiteSummary};
use crate::queue::activity::TokenPrefix;

/// Longest name and note, and longest error, in characters.
const NOTE_MAX: usize = 60;
const ERROR_MAX: usize = 200;
/// Longest host and agent of a refused post, in characters.
const SENDER_MAX: usize = 60;

/// Shows everything about one site: what its file says, what the running gateway knows, what KaiCalls tells.
///
/// KaiCalls is asked for its list of recent leads at most once an hour for each key pair. The list shows visitors' names.
#[derive(Args, Debug)]
pub(super) struct SiteShowArgs {
    /// The site
    #[arg(value_parser = SiteId::parse)]
    site: SiteId,
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    running: RunningArgs,
    /// Don't ask KaiCalls
    #[arg(long)]
    without_kaicalls: bool,
    /// How to write the site
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(args: &SiteShowArgs, console: &mut Console) -> Result<Exit, Error> {
    let (_, loaded) = args.config.load()?;
    let path = format!("/sites/{}", args.site);
    let query = [("kaicalls", !args.without_kaicalls)];
    let of_file = rows(&loaded, today()).into_iter().find(|row| row.id == Some(&args.site));
    let told: Option<SiteDetail> = match running::ask(&args.config, &args.running, (&path, &query), console) {
        Err(error) if error.exit() == Exit::Findings => {
            if of_file.is_some() {
                console.say("the running gateway doesn't have this site: `formgate status` shows whether it reloads");
            }
            None
        }
        told => told?,
    };
    let mut row = match (of_file, &told) {
        (Some(row), _) => row,
        (None, Some(_)) => SiteRow::nothing(Some(&args.site)),
        (None, None) => return Err(unknown(&loaded, &args.site)),
    };
    row.figures = told.as_ref().map(Figures::Detail);
    match args.output {
        Format::Json => console.json(&row)?,
        Format::Text => console.data(text(&row, told.as_ref(), &loaded, Timestamp::now(), console.paint()))?,
    }
    Ok(Exit::Ok)
}

fn unknown(loaded: &Loaded, site: &SiteId) -> Error {
    let names: Vec<&str> = loaded.sound_sites().map(|known| known.id.as_str()).collect();
    let error = Error::usage(anyhow!("there is no site `{site}`"));
    if names.is_empty() { error } else { error.hint(config::known_names(site.as_str(), names)) }
}

fn text(row: &SiteRow<'_>, told: Option<&SiteDetail>, loaded: &Loaded, now: Timestamp, paint: Paint) -> String {
    let mut sections = vec![head(row, told.map(|told| &told.summary), now, paint)];
    match told {
        Some(told) => {
            sections.push(section("Forms that posted", forms(told, now), paint));
            sections.push(section("Tokens", tokens(told, now), paint));
            sections.push(section("Refused posts", refused(told, now), paint));
            sections.extend(told.kaicalls.as_ref().map(|week| section("KaiCalls", kaicalls(week, now), paint)));
        }
        None => sections.push(section("Tokens", tokens_of_file(row, loaded), paint)),
    }
    sections.retain(|section| !section.is_empty());
    sections.join("\n\n")
}

fn section(title: &str, lines: Vec<String>, paint: Paint) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<_> = lines.iter().map(|line| format!("  {line}")).collect();
    format!("{}\n{}", paint.bold(title), lines.join("\n"))
}

fn head(row: &SiteRow<'_>, told: Option<&SiteSummary>, now: Timestamp, paint: Paint) -> String {
    let id = row.id.map(SiteId::as_str).unwrap_or_default();
    let name = row.name.or_else(|| told?.name.as_deref()).map(|name| shown::short(name, NOTE_MAX));
    let url = row.url.or_else(|| told?.url.as_deref()).map(shown::line);
    let title: Vec<String> = [Some(paint.bold(id)), name, url].into_iter().flatten().collect();
    let mut lines = vec![title.join("  ")];
    let state = row.trouble().or_else(|| told.map(|told| running::state(told.state).to_owned()));
    lines.extend(state.map(|state| format!("state    {state}")));
    lines.extend(row.hook_url.as_ref().map(|url| format!("posts to {url}")));
    lines.extend(row.file.map(|file| format!("file     {}", file.display())));
    let forms: Vec<_> = row.forms.iter().map(|form| form.as_str()).collect();
    lines.extend((!forms.is_empty()).then(|| format!("forms    {} (in the file)", shown::line(&forms.join(" ")))));
    lines.extend(told.map(|told| figures(told, now)).unwrap_or_default());
    lines.join("\n")
}

fn figures(told: &SiteSummary, now: Timestamp) -> Vec<String> {
    let key = told.key.public_key.as_deref().map(|key| format!("{}: ", shown::line(key))).unwrap_or_default();
    let since = told.key.since.map(|since| format!(" since {}", ago(Some(since), now))).unwrap_or_default();
    let why = match told.key.state {
        KeyState::Unknown => " (nothing was delivered in 7 days)",
        _ => "",
    };
    let counts = &told.counts;
    let of = |window: &crate::operate::Window| {
        format!("{} taken, {} delivered, {} refused", window.taken, window.delivered, window.refused)
    };
    let mut lines = vec![
        format!("key      {key}{}{since}{why}", running::key(&told.key)),
        format!(
            "leads    {} queued, {} held, {} dead, {} delivered; last {}",
            counts.queued,
            counts.held,
            counts.dead,
            counts.delivered,
            ago(told.last_lead_at, now)
        ),
        format!("24 h     {}", of(&told.last_24h)),
        format!("7 days   {}", of(&told.last_7d)),
    ];
    let refused = &told.refused;
    let reason = refused.last_reason.as_deref().unwrap_or("-");
    lines.extend(refused.last_at.map(|at| format!("refused  last {}: {}", ago(Some(at), now), shown::line(reason))));
    let error = told.last_error.as_ref();
    lines.extend(
        error.map(|error| format!("error    {}: {}", ago(Some(error.at), now), shown::short(&error.words, ERROR_MAX))),
    );
    lines
}

fn forms(told: &SiteDetail, now: Timestamp) -> Vec<String> {
    let row = |form: &crate::operate::FormSeen| {
        let mapping = form.mapping.as_deref().map(|mapping| format!("mapping {}", shown::line(mapping)));
        let posts = plural(form.count, "post");
        vec![form.id.to_string(), format!("last {}", ago(Some(form.last_at), now)), posts, mapping.unwrap_or_default()]
    };
    table::aligned(&told.forms.iter().map(row).collect::<Vec<_>>())
}

fn tokens(told: &SiteDetail, now: Timestamp) -> Vec<String> {
    let row = |token: &crate::operate::TokenSeen| {
        let used = match token.last_used {
            Some(at) => format!("last used {}", ago(Some(at), now)),
            None => "never used".to_owned(),
        };
        vec![
            token.sha256.clone(),
            token.note.as_deref().map_or_else(|| "-".to_owned(), |note| shown::short(note, NOTE_MAX)),
            token.expires.map_or_else(|| "never expires".to_owned(), |day| format!("expires {day}")),
            used,
            plural(token.count, "post"),
        ]
    };
    table::aligned(&told.tokens.iter().map(row).collect::<Vec<_>>())
}

/// Writes a line for each mistake, with its cure below it.
fn refused(told: &SiteDetail, now: Timestamp) -> Vec<String> {
    let row = |refused: &crate::operate::RefusedMistake| {
        let foreign = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), |text| shown::short(text, SENDER_MAX));
        vec![
            shown::short(&refused.mistake, NOTE_MAX),
            refused.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            plural(refused.count, "post"),
            format!("first {}", ago(Some(refused.first_at), now)),
            format!("last {}", ago(Some(refused.last_at), now)),
            foreign(refused.host.as_deref()),
            foreign(refused.agent.as_deref()),
        ]
    };
    let rows = table::aligned(&told.refused_posts.iter().map(row).collect::<Vec<_>>()).into_iter();
    let cures = told.refused_posts.iter().map(|refused| format!("  {}", shown::line(&refused.cure)));
    rows.zip(cures).flat_map(|(row, cure)| [row, cure]).collect()
}

fn tokens_of_file(row: &SiteRow<'_>, loaded: &Loaded) -> Vec<String> {
    let site = loaded.sound_sites().find(|site| Some(&site.id) == row.id);
    let tokens = site.map(|site| site.tokens.as_slice()).unwrap_or_default();
    let row = |token: &config::Token| {
        vec![
            TokenPrefix::of(&token.sha256).to_string(),
            token.note.as_deref().map_or_else(|| "-".to_owned(), |note| shown::short(note, NOTE_MAX)),
            token.expires.map_or_else(|| "never expires".to_owned(), |day| format!("expires {day}")),
        ]
    };
    table::aligned(&tokens.iter().map(row).collect::<Vec<_>>())
}

fn kaicalls(week: &KaiCallsWeek, now: Timestamp) -> Vec<String> {
    let delivered = plural(week.delivered_7d, "lead");
    let shared: Vec<_> = week.shared_with.iter().map(SiteId::as_str).collect();
    let shared = match shared.is_empty() {
        true => String::new(),
        false => format!(", of this site and those that share its key: {}", shared.join(" ")),
    };
    let own = format!("formgate had delivered {delivered} in the 7 days before{shared}");
    if let Some(why) = &week.failed {
        return vec![shown::short(why, ERROR_MAX), own];
    }
    let asked = ago(Some(week.asked_at), now);
    let leads = week.leads_this_week.unwrap_or_default();
    let mut lines = vec![format!("{} this week (asked {asked})", plural(leads, "lead")), own];
    lines.extend(disagreement(week.delivered_7d, leads).map(str::to_owned));
    let recent = week
        .recent_leads
        .iter()
        .map(|lead| format!("{}  {}", shown::short(&lead.created_at, NOTE_MAX), shown::short(&lead.name, NOTE_MAX)));
    lines.extend(recent);
    lines
}

/// Says what it may mean that KaiCalls counts otherwise.
fn disagreement(delivered: u64, leads: u64) -> Option<&'static str> {
    match leads.cmp(&delivered) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(
            "They disagree: KaiCalls has more. The business may get leads from elsewhere, such as another connection; \
             or formgate has not counted for a week yet.",
        ),
        std::cmp::Ordering::Less => Some(
            "They disagree: KaiCalls has fewer. Its week may begin later than 7 days ago, it may count a repeated \
             lead once, or leads were deleted there; if the newest leads are missing below, ask KaiCalls.",
        ),
    }
}
