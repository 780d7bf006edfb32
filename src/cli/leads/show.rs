//! `formgate leads show`.

use clap::Args;

use super::args::{DetailFormat, Where};
use super::desk::Desk;
use super::trace::step_line;
use super::view::{field, second};
use crate::cli::console::{Console, Paint};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::{shown, table};
use crate::lead::LeadField;
use crate::operate::{LeadView, Life, ReceivedView, Trace};
use crate::queue::{Reason, State};

/// How much of a body that can't be decoded, of a value and of a rule is shown, in characters.
const BODY_SHOWN: usize = 2_000;
const VALUE_MAX: usize = 100;
const RULE_MAX: usize = 80;

/// Shows everything about one lead.
///
/// Shows what was received, which field became what and why, each delivery attempt, and what happens next.
#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// The lead's id, or a unique prefix
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    place: Where,
    /// How to write the lead
    #[arg(long, value_enum, default_value_t)]
    output: DetailFormat,
}

pub(super) async fn run(args: &ShowArgs, console: &mut Console) -> Result<Exit, Error> {
    let desk = Desk::open(&args.place, console).await?;
    let life = desk.show(&args.id).await?;
    match args.output {
        DetailFormat::Json => console.json(&life)?,
        DetailFormat::Table => {
            let trace = desk.trace(&life.entry.id.to_string()).await?;
            let text = text(&life, &trace, console.paint());
            console.data(text)?;
        }
    }
    Ok(Exit::Ok)
}

fn text(life: &Life, trace: &Trace, paint: Paint) -> String {
    let mut sections = vec![head(life, paint), received(&life.received, paint), fields(life, paint), made(life, paint)];
    if !life.oddities.is_empty() {
        sections.push(format!("{}\n  {}", paint.bold("Oddities"), shown::line(&life.oddities.join(", "))));
    }
    let history: Vec<String> = trace.steps.iter().map(|step| format!("  {}", step_line(step, paint))).collect();
    sections.push(format!("{}\n{}", paint.bold("History (UTC)"), history.join("\n")));
    sections.retain(|section| !section.is_empty());
    sections.join("\n\n")
}

fn head(life: &Life, paint: Paint) -> String {
    let entry = &life.entry;
    let state = match entry.state {
        State::Dead => paint.red("dead"),
        State::Held => paint.yellow("held"),
        State::Delivered => paint.green("delivered"),
        State::Queued => "queued".to_owned(),
    };
    let mut lines = vec![
        format!("{}  {}/{}", paint.bold(&entry.id.to_string()), entry.site, entry.form),
        format!("{state}: {}", shown::line(&entry.cause)),
        format!("accepted {} UTC", second(entry.accepted_at)),
    ];
    let told = |what: &str, at: Option<_>| at.map(|at| format!("{what} {} UTC", second(at)));
    lines.extend(told("next attempt", entry.due_at));
    lines.extend(told("will be removed", entry.expires_at));
    lines.extend(entry.lead_id.as_ref().map(|id| format!("at KaiCalls: {}", shown::line(id))));
    lines.extend((entry.seen > 0).then(|| format!("posted {} more times within [queue].dedupe", entry.seen)));
    lines.join("\n")
}

fn received(received: &ReceivedView, paint: Paint) -> String {
    let kind = received.headers.get("content-type").map_or_else(|| "no type".to_owned(), |kind| shown::short(kind, 80));
    let cut = if received.cut { ", without the contents of files" } else { "" };
    let mut rows = vec![format!("  {} {kind}, {} bytes{cut}", shown::line(&received.method), received.body_bytes)];
    rows.extend(received.query.as_ref().map(|query| format!("  query        {}", shown::short(query, VALUE_MAX))));
    let others = received.headers.iter().filter(|(name, _)| *name != "content-type");
    rows.extend(others.map(|(name, value)| format!("  {name:<12} {}", shown::short(value, VALUE_MAX))));
    format!("{}\n{}", paint.bold("Received"), rows.join("\n"))
}

fn fields(life: &Life, paint: Paint) -> String {
    if life.fields.is_empty() {
        let body = life.received.body.as_deref().filter(|body| !body.is_empty());
        return body.map_or_else(String::new, |body| {
            let body: String = body.chars().take(BODY_SHOWN).collect();
            let lines: Vec<String> = shown::lines(&body).map(|line| format!("  {line}")).collect();
            format!("{}\n{}", paint.bold("Body"), lines.join("\n"))
        });
    }
    let rows = life.fields.iter().map(|field| {
        let label = field.label.as_deref().map(|label| shown::short(label, 32)).unwrap_or_default();
        let dropped = if life.dropped.contains(&field.key) { "dropped" } else { "" };
        let value = shown::short(&field.values.join(" | "), VALUE_MAX);
        vec![format!("  {}", shown::short(&field.key, 32)), label, value, dropped.to_owned()]
    });
    format!("{}\n{}", paint.bold("Fields"), table::aligned(&rows.collect::<Vec<_>>()).join("\n"))
}

fn made(life: &Life, paint: Paint) -> String {
    let mapping = life.entry.mapping.as_deref().map_or_else(String::new, |name| format!(", mapped by {name}"));
    let mut lines = match &life.entry.lead {
        Some(lead) => {
            let mut lines = vec![paint.bold(&format!("Lead{mapping}"))];
            lines.extend(LeadField::ALL.into_iter().filter_map(|of| lead_field(life, lead, of, paint)));
            lines
        }
        None => vec![paint.bold(&paint.red(&format!("No lead{mapping}")))],
    };
    for it in &life.amended {
        let was = it.received.as_deref().map_or("nothing".to_owned(), |was| shown::short(was, VALUE_MAX));
        let field = it.field.as_str();
        let value = shown::short(&it.value, VALUE_MAX);
        lines.push(format!("  amended  {field}: {was} → {value} (by {}, {} UTC)", it.by, second(it.at)));
    }
    for error in &life.errors {
        let field = error.field.map_or("", LeadField::as_str);
        lines.push(format!("  {field:<8} {}: {}", error.code.as_str(), shown::line(&error.detail)));
    }
    lines.extend(
        life.hold_rule.as_ref().map(|words| format!("  held by a rule of the mapping: {}", shown::line(words))),
    );
    lines.extend(next_step(life).map(|step| format!("  {}", paint.dim(&step))));
    lines.join("\n")
}

fn lead_field(life: &Life, lead: &LeadView, of: LeadField, paint: Paint) -> Option<String> {
    let rule = life.rules.get(&of).filter(|_| life.today.same);
    let rule = rule.map(|rule| paint.dim(&format!("  ← {}", shown::short(rule, RULE_MAX)))).unwrap_or_default();
    let mut lines = shown::lines(field(lead, of)?);
    let first = format!("  {:<8} {}{rule}", of.as_str(), lines.next().unwrap_or_default());
    let rest = lines.map(|line| format!("           {line}").trim_end().to_owned());
    Some(std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n"))
}

/// Says what an operator can do about it.
fn next_step(life: &Life) -> Option<String> {
    let id = life.entry.id;
    match (life.entry.state, life.today.same) {
        (State::Held, _) if life.entry.reason == Reason::Ambiguous => {
            Some(format!("`formgate leads retry {id} --assign SITE` moves it to a site and sends it"))
        }
        _ if !life.today.site_known => Some("its site is no longer in the configuration".to_owned()),
        (State::Delivered, _) | (_, true) if life.entry.state != State::Held => None,
        (_, false) => Some(format!(
            "the current configuration maps it differently: `formgate leads retry {id} --dry-run` shows how"
        )),
        _ if matches!(life.entry.reason, Reason::Salvaged | Reason::Restored) => Some(format!(
            "look for it in KaiCalls; `formgate leads retry {id}` sends it, `formgate leads drop {id}` gives it up"
        )),
        (_, true) if life.entry.lead.is_none() => Some(format!(
            "fix the mapping or the form, then `formgate leads retry {id}`; or correct this lead with `formgate leads \
             amend {id}`"
        )),
        (_, true) => Some(format!("`formgate leads retry {id}` sends it, `formgate leads drop {id}` gives it up")),
    }
}
