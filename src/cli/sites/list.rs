//! `formgate sites list`.

use std::collections::BTreeMap;

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;

use super::row::{Figures, SiteRow, rows};
use super::running::{self, RunningArgs};
use crate::cli::console::{Console, Format, Paint};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::leads::plural;
use crate::cli::rules::{ConfigArg, today};
use crate::cli::{shown, table};
use crate::lead::SiteId;
use crate::operate::{SiteList, SiteState, SiteSummary};

/// Longest error in the table, in characters.
const ERROR_MAX: usize = 60;

/// Lists the sites and how each is doing: its last lead, what waits, its keys, refused posts.
///
/// What the running gateway knows comes from its admin API; the figures of 24 hours and seven days are to the hour. Where no
/// gateway runs, the list shows what the files say.
#[derive(Args, Debug)]
pub(super) struct SiteListArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    running: RunningArgs,
    /// How to write the list
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(args: &SiteListArgs, console: &mut Console) -> Result<Exit, Error> {
    let (path, loaded) = args.config.load()?;
    if loaded.config.is_none() && loaded.sound_sites().next().is_none() && loaded.broken_sites.is_empty() {
        console.say(loaded.diagnostics.render(console.talk_paint().colour));
        return Err(Error::config(anyhow!("{} has errors", path.display())));
    }
    let mut rows = rows(&loaded, today());
    let told: Option<SiteList> = running::ask(&args.config, &args.running, ("/sites", &()), console)?;
    if let Some(told) = &told {
        add_figures(&mut rows, told);
    }
    match args.output {
        Format::Json => console.json(&rows)?,
        Format::Text => show(&rows, told.as_ref().map(|told| told.now), console)?,
    }
    if let Some(server) = loaded.server().filter(|_| !rows.is_empty()) {
        console.say(format!("forms post to {}/hooks/SITE", server.base_url()));
    }
    if let Some(unknown) = told.as_ref().map(|told| &told.unknown_sites).filter(|unknown| unknown.last_24h > 0) {
        let posts = plural(unknown.last_24h, "post");
        console.say(format!("{posts} in 24 h named a site that doesn't exist, or keys of none"));
    }
    if loaded.config.is_none() {
        console.say(format!("{} has errors; `formgate check` shows them", path.display()));
    }
    Ok(Exit::Ok)
}

/// Puts beside each site what the gateway knows of it, and adds those that only the gateway knows.
fn add_figures<'a>(rows: &mut Vec<SiteRow<'a>>, told: &'a SiteList) {
    let known: BTreeMap<SiteId, usize> =
        rows.iter().enumerate().filter_map(|(at, row)| Some((row.id?.clone(), at))).collect();
    for summary in &told.sites {
        let figures = Some(Figures::Summary(summary));
        match known.get(&summary.id).and_then(|at| rows.get_mut(*at)) {
            Some(row) => row.figures = figures,
            None => rows.push(SiteRow { figures, ..SiteRow::nothing(Some(&summary.id)) }),
        }
    }
    rows.sort_by_key(|row| row.id);
}

fn show(rows: &[SiteRow<'_>], now: Option<Timestamp>, console: &mut Console) -> Result<(), Error> {
    if rows.is_empty() {
        console.say("there are no sites yet: `formgate sites add ID --url URL` adds one");
        return Ok(());
    }
    let paint = console.paint();
    for (index, line) in lines(rows, now, console.width()).into_iter().enumerate() {
        let row = index.checked_sub(1).and_then(|at| rows.get(at));
        console.data(painted(&line, row, paint))?;
    }
    Ok(())
}

fn lines(rows: &[SiteRow<'_>], now: Option<Timestamp>, width: Option<usize>) -> Vec<String> {
    let Some(now) = now else {
        let head = ["SITE", "NAME", "FORMS", "TOKENS", "DELIVER", "STATUS", "FILE"].map(str::to_owned).to_vec();
        let cells: Vec<_> = std::iter::once(head).chain(rows.iter().map(file_cells)).collect();
        return table::aligned(&cells);
    };
    let head = ["SITE", "STATE", "LAST LEAD", "24 H", "7 D", "QUEUED", "HELD", "DEAD", "KEY", "REFUSED", "LAST ERROR"];
    let cells = rows.iter().map(|row| running_cells(row, now));
    let cells: Vec<_> = std::iter::once(head.map(str::to_owned).to_vec()).chain(cells).collect();
    table::fitted(&cells, width, &[1, 9, 10])
}

fn painted(line: &str, row: Option<&SiteRow<'_>>, paint: Paint) -> String {
    let Some(row) = row else { return paint.bold(line) };
    let state = row.summary().map(|summary| summary.state);
    match state {
        _ if row.broken => paint.red(line),
        Some(SiteState::Paused | SiteState::NoKeys | SiteState::Broken) => paint.red(line),
        Some(SiteState::DeliveriesOff | SiteState::Gone) => paint.yellow(line),
        Some(SiteState::Ok) | None => line.to_owned(),
    }
}

fn id(row: &SiteRow<'_>) -> String {
    row.id.map_or_else(|| "?".to_owned(), SiteId::to_string)
}

/// What the files say.
fn file_cells(row: &SiteRow<'_>) -> Vec<String> {
    let dash = || "-".to_owned();
    if let Some(status) = row.trouble() {
        return vec![id(row), dash(), dash(), dash(), dash(), status, row.file_name()];
    }
    let forms: Vec<_> = row.forms.iter().map(|form| form.as_str()).collect();
    vec![
        id(row),
        row.name.map_or_else(dash, |name| shown::short(name, 32)),
        if forms.is_empty() { "any".to_owned() } else { shown::short(&forms.join(" "), 40) },
        row.tokens.words(row.signature),
        if row.deliver { "yes" } else { "no" }.to_owned(),
        "ok".to_owned(),
        row.file_name(),
    ]
}

/// What the gateway knows. Of a site with a broken file, that is of its last-good version.
fn running_cells(row: &SiteRow<'_>, now: Timestamp) -> Vec<String> {
    let Some(site) = row.summary() else {
        let state = row.trouble().unwrap_or_else(|| "not loaded".to_owned());
        return [id(row), state].into_iter().chain(std::iter::repeat_n("-".to_owned(), 9)).collect();
    };
    let error = site.last_error.as_ref().map_or_else(
        || "-".to_owned(),
        |error| format!("{}: {}", running::ago(Some(error.at), now), shown::short(&error.words, ERROR_MAX)),
    );
    vec![
        id(row),
        row.trouble().unwrap_or_else(|| running::state(site.state).to_owned()),
        running::ago(site.last_lead_at, now),
        site.last_24h.taken.to_string(),
        site.last_7d.taken.to_string(),
        site.counts.queued.to_string(),
        site.counts.held.to_string(),
        site.counts.dead.to_string(),
        running::key(&site.key).to_owned(),
        running::refused(&site.refused),
        error,
    ]
}

impl SiteRow<'_> {
    fn summary(&self) -> Option<&SiteSummary> {
        match self.figures.as_ref()? {
            Figures::Summary(summary) => Some(summary),
            Figures::Detail(detail) => Some(&detail.summary),
        }
    }
}
