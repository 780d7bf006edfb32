//! `formgate sites list`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use jiff::civil::Date;
use serde::Serialize;

use crate::cli::console::{Console, Format, Paint};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::rules::{ConfigArg, today};
use crate::cli::{shown, table};
use crate::config::{BrokenSite, Diagnostic, Diagnostics, Severity, Site};
use crate::lead::{FormId, SiteId};

/// Lists the sites with their forms, their tokens, and whether their leads are delivered.
#[derive(Args, Debug)]
pub(super) struct SiteListArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// How to write the list
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// One site in the list.
#[derive(Serialize)]
struct SiteRow<'a> {
    id: Option<&'a SiteId>,
    name: Option<&'a str>,
    url: Option<&'a str>,
    /// Where its forms post to.
    hook_url: Option<String>,
    forms: Vec<&'a FormId>,
    tokens: Tokens,
    /// Signed posts are taken too.
    signature: bool,
    deliver: bool,
    /// It can't be used as it is written.
    broken: bool,
    /// It is well written, but a file or a variable that it names is missing.
    #[serde(skip)]
    lacks_keys: bool,
    /// Where the first thing is that is wrong with it, as `file:line:column`; `formgate check` shows all.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    file: &'a Path,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Tokens {
    valid: usize,
    expired: usize,
}

pub(super) fn run(args: &SiteListArgs, console: &mut Console) -> Result<Exit, Error> {
    let (path, loaded) = args.config.load()?;
    if loaded.config.is_none() && loaded.sound_sites().next().is_none() && loaded.broken_sites.is_empty() {
        console.say(loaded.diagnostics.render(console.talk_paint().colour));
        return Err(Error::config(anyhow!("{} has errors", path.display())));
    }
    let server = loaded.server();
    let hook_url = |id| server.map(|server| server.hook_url(id));
    let mut rows: Vec<_> = loaded.sound_sites().map(|site| SiteRow::of(site, hook_url(&site.id), today())).collect();
    rows.extend(loaded.broken_sites.iter().map(|site| SiteRow::of_broken(site, &loaded.diagnostics)));
    rows.sort_by_key(|row| row.id);
    match args.output {
        Format::Json => console.json(&rows)?,
        Format::Text => show(&rows, console)?,
    }
    if let Some(server) = server.filter(|_| !rows.is_empty()) {
        console.say(format!("forms post to {}/hooks/SITE", server.base_url()));
    }
    if loaded.config.is_none() {
        console.say(format!("{} has errors; `formgate check` shows them", path.display()));
    }
    Ok(Exit::Ok)
}

fn show(rows: &[SiteRow<'_>], console: &mut Console) -> Result<(), Error> {
    if rows.is_empty() {
        console.say("there are no sites yet: write sites/NAME.toml, or a [[site]] table in config.toml");
        return Ok(());
    }
    let paint = console.paint();
    let head = ["SITE", "NAME", "FORMS", "TOKENS", "DELIVER", "STATUS", "FILE"].map(str::to_owned).to_vec();
    let cells: Vec<_> = std::iter::once(head).chain(rows.iter().map(SiteRow::cells)).collect();
    let lines = table::aligned(&cells);
    for (index, line) in lines.into_iter().enumerate() {
        let broken = index.checked_sub(1).and_then(|at| rows.get(at)).is_some_and(|row| row.broken);
        console.data(painted(&line, index == 0, broken, paint))?;
    }
    Ok(())
}

fn painted(line: &str, head: bool, broken: bool, paint: Paint) -> String {
    match (head, broken) {
        (true, _) => paint.bold(line),
        (_, true) => paint.red(line),
        _ => line.to_owned(),
    }
}

impl<'a> SiteRow<'a> {
    fn of(site: &'a Site, hook_url: Option<String>, today: Date) -> Self {
        let expired = site.tokens.iter().filter(|token| token.expires.is_some_and(|last| last < today)).count();
        Self {
            id: Some(&site.id),
            name: site.name.as_deref(),
            url: site.url.as_deref(),
            hook_url,
            forms: site.rules.forms.iter().map(|form| &form.id).collect(),
            tokens: Tokens { valid: site.tokens.len() - expired, expired },
            signature: !site.wpforms_secrets.is_empty(),
            deliver: site.deliver,
            broken: false,
            lacks_keys: false,
            problem: None,
            file: &site.file,
        }
    }

    fn of_broken(site: &'a BrokenSite, diagnostics: &Diagnostics) -> Self {
        let is_why = |found: &&Diagnostic| found.file == site.file && found.severity > Severity::Warning;
        let why = diagnostics.iter().find(is_why);
        let problem = why.map_or_else(|| site.file.display().to_string(), Diagnostic::location);
        let mut all = diagnostics.iter().filter(is_why);
        let lacks_keys = why.is_some() && all.all(|found| found.severity == Severity::Unresolved);
        Self {
            id: site.id.as_ref(),
            name: None,
            url: None,
            hook_url: None,
            forms: Vec::new(),
            tokens: Tokens::default(),
            signature: false,
            deliver: false,
            broken: true,
            lacks_keys,
            problem: Some(problem),
            file: &site.file,
        }
    }

    fn cells(&self) -> Vec<String> {
        let dash = || "-".to_owned();
        let id = self.id.map_or_else(|| "?".to_owned(), SiteId::to_string);
        let file: PathBuf = self.file.to_owned();
        if let Some(problem) = &self.problem {
            let status = if self.lacks_keys { "keys missing" } else { "broken" };
            let status = format!("{status} ({problem})");
            return vec![id, dash(), dash(), dash(), dash(), status, file.display().to_string()];
        }
        let forms: Vec<_> = self.forms.iter().map(|form| form.as_str()).collect();
        vec![
            id,
            self.name.map_or_else(dash, |name| shown::short(name, 32)),
            if forms.is_empty() { "any".to_owned() } else { shown::short(&forms.join(" "), 40) },
            self.tokens.words(self.signature),
            if self.deliver { "yes" } else { "no" }.to_owned(),
            "ok".to_owned(),
            file.display().to_string(),
        ]
    }
}

impl Tokens {
    fn words(self, signature: bool) -> String {
        let mut words = self.valid.to_string();
        if self.expired > 0 {
            words.push_str(&format!(" ({} expired)", self.expired));
        }
        if signature {
            words.push_str(" + signature");
        }
        words
    }
}
