//! Something done with many leads: first what would happen, then, page by page, what does.
//!
//! One request does a bounded part and shows how far it is; the next one goes on from there. What is left to do, and what was
//! done, stands in the page's form, so that nothing is kept between requests and a closed window stops it.

use http::{StatusCode, header};
use jiff::Timestamp;
use maud::{Markup, html};

use super::form::Fields;
use super::layout::{Section, csrf_field, with_security_headers};
use super::leads::{filter_of, pairs_of};
use super::login::local;
use super::results::{self, SHOWN_MAX};
use super::show::{counted, number};
use super::{PageResult, Request, words};
use crate::admin::fault::ApiError;
use crate::admin::reply::ApiReply;
use crate::operate::{
    self, Actor, Choice, Cursor, Done, DropAsked, EntryOutcome, Export, ExportFormat, FilterAsked, IDS_MAX, RetryAsked,
    Tried,
};
use crate::queue::State;

/// Leads that are done by their ids in one request: at the usual rate that takes two seconds.
const IDS_AT_ONCE: usize = 40;
/// Leads that are done by a filter in one request.
const FILTERED_AT_ONCE: usize = 40;

/// What can be done with leads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Retry,
    Release,
    Drop,
    Export,
}

/// What is asked for: with which leads what.
struct BulkAsked {
    verb: Verb,
    ids: Vec<String>,
    /// Instead of ids.
    filter: Option<FilterAsked>,
    /// The reader named no filter.
    is_everything: bool,
    cursor: Option<Cursor>,
    so_far: Tally,
    /// How many leads there were in all, as far as they were counted.
    total: Option<u64>,
    /// The list that the reader came from.
    back: String,
}

/// How many leads were dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    changed: u64,
    held: u64,
    left: u64,
}

impl Verb {
    pub(super) const ALL: [Self; 4] = [Self::Retry, Self::Release, Self::Drop, Self::Export];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Release => "release",
            Self::Drop => "drop",
            Self::Export => "export",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Retry => words::RETRY,
            Self::Release => words::RELEASE,
            Self::Drop => words::DROP,
            Self::Export => words::EXPORT,
        }
    }

    /// The states that it goes through where a filter names none.
    fn stages(self) -> &'static [Option<State>] {
        match self {
            Self::Retry | Self::Release => operate::RETRIED_STATES,
            Self::Drop => operate::DROPPED_STATES,
            Self::Export => &[None],
        }
    }

    /// Says in a sentence what it does.
    fn explained(self) -> &'static str {
        match self {
            Self::Retry => words::RETRY_MEANS,
            Self::Release => words::RELEASE_MEANS,
            Self::Drop => words::DROP_MEANS,
            Self::Export => words::EXPORT_MEANS,
        }
    }
}

impl BulkAsked {
    fn read(fields: &Fields, now: Timestamp) -> Result<Self, ApiError> {
        let verb = Verb::ALL.into_iter().find(|verb| Some(verb.as_str()) == fields.one("verb"));
        let verb = verb.ok_or_else(|| ApiError::Request(words::NO_VERB.to_owned()))?;
        let is_all = fields.one("all").is_some();
        let ids: Vec<String> = if is_all { Vec::new() } else { fields.all("id").map(str::to_owned).collect() };
        if !is_all && ids.is_empty() {
            return Err(ApiError::Request(words::NOTHING_CHOSEN.to_owned()));
        }
        if ids.len() > IDS_MAX {
            return Err(ApiError::Request(words::TOO_MANY_CHOSEN.to_owned()));
        }
        let count = |name| fields.one(name).and_then(|text| text.parse().ok());
        let so_far = |name| count(name).unwrap_or_default();
        let filter = filter_of(fields);
        let is_everything = is_all && filter.is_empty();
        let filter = if is_all { Some(fixed(&filter, now)?) } else { None };
        Ok(Self {
            verb,
            is_everything,
            total: count("total").or(if is_all { None } else { u64::try_from(ids.len()).ok() }),
            ids,
            filter,
            cursor: fields.one("cursor").and_then(|cursor| cursor.parse().ok()),
            so_far: Tally { changed: so_far("changed"), held: so_far("held"), left: so_far("left") },
            back: local(fields.one("back").unwrap_or("/console/leads")).to_owned(),
        })
    }

    /// The fields by which a form says the same once more.
    fn fields(&self, csrf: &str) -> Markup {
        html! {
            (csrf_field(csrf))
            input type="hidden" name="verb" value=(self.verb.as_str());
            @if let Some(filter) = &self.filter {
                input type="hidden" name="all" value="yes";
                (filter_fields(filter))
            }
            @for id in &self.ids { input type="hidden" name="id" value=(id); }
            @if let Some(total) = self.total { input type="hidden" name="total" value=(total); }
            input type="hidden" name="back" value=(self.back);
        }
    }
}

/// Writes the times of a filter as moments, none of which is later than now: what comes while somebody looks at a preview
/// isn't meant by it.
fn fixed(asked: &FilterAsked, now: Timestamp) -> Result<FilterAsked, ApiError> {
    let filter = asked.read(now)?.filter;
    let until = filter.until.map_or(now, |until| until.min(now));
    let since = filter.since.map(|since| since.to_string());
    Ok(FilterAsked { since, until: Some(until.to_string()), ..asked.clone() })
}

/// The fields that write a filter in a form.
pub(super) fn filter_fields(filter: &FilterAsked) -> Markup {
    html! {
        @for (name, value) in pairs_of(filter) {
            @if !value.is_empty() { input type="hidden" name=(name) value=(value); }
        }
    }
}

impl Request<'_> {
    /// Shows what would become of the chosen leads.
    pub(super) async fn preview(&self, fields: &Fields) -> PageResult {
        let mut asked = BulkAsked::read(fields, self.now)?;
        if let Some(filter) = &asked.filter {
            asked.total = operate::count(self.app.store.store(), &filter.read(self.now)?, asked.verb.stages()).await?;
        }
        if asked.verb == Verb::Export {
            return Ok(self.bulk_page(&asked.export_form(&self.logged_in.csrf, self.app.masks())));
        }
        let tried = self.run(&asked, asked.ids.clone(), true).await?;
        let tried = if self.app.masks() { tried.masked() } else { tried };
        Ok(self.bulk_page(&asked.previewed(&tried, &self.logged_in.csrf)))
    }

    /// Does a part, and shows how far it is.
    pub(super) async fn apply(&self, fields: &Fields) -> PageResult {
        let mut asked = BulkAsked::read(fields, self.now)?;
        let later = asked.ids.split_off(asked.ids.len().min(IDS_AT_ONCE));
        let now = std::mem::replace(&mut asked.ids, later);
        let tried = self.run(&asked, now, false).await?;
        // The overview tells of it at once.
        *self.app.console.gathered.lock().await = None;
        asked.so_far.add(&tried.results);
        asked.cursor = tried.next;
        Ok(self.bulk_page(&asked.applied(&tried, &self.logged_in.csrf)))
    }

    async fn run(&self, asked: &BulkAsked, ids: Vec<String>, dry_run: bool) -> Result<Tried, ApiError> {
        let app = self.app;
        let store = app.store.store();
        let filter = asked.filter.clone();
        let cursor = asked.cursor;
        let limit = Some(if dry_run { SHOWN_MAX } else { FILTERED_AT_ONCE });
        if asked.verb == Verb::Drop {
            let drop = DropAsked { ids, filter, dry_run, cursor, limit };
            let keep = app.config.load().queue.keep.dead;
            return Ok(operate::drop_entries(store, &app.audit, &drop, keep, Actor::Console, self.now).await?);
        }
        let release = asked.verb == Verb::Release;
        let retry = RetryAsked { ids, filter, dry_run, release, cursor, limit, ..RetryAsked::default() };
        let config = app.config.load_full();
        Ok(operate::retry(store, &config, &app.audit, &retry, Actor::Console, self.now).await?)
    }

    /// Sends the chosen leads as a file.
    pub(super) async fn export(&self, fields: &Fields) -> PageResult {
        let asked = BulkAsked::read(fields, self.now)?;
        let format = ExportFormat::parse(fields.one("format").unwrap_or("csv"));
        let format = format.ok_or_else(|| ApiError::Request(words::NO_FORMAT.to_owned()))?;
        let choice = Choice::read(&asked.ids, asked.filter.as_ref(), self.now)?;
        let situation = self.app.situation(self.now);
        let reveal = fields.one("reveal").is_some();
        let hides = self.app.hides(reveal, &choice, Actor::Console, self.now).await?;
        let export = Export::begin(&self.app.audit, choice, format, Actor::Console, situation).await?;
        let disposition = match format {
            ExportFormat::Csv => "attachment; filename=\"leads.csv\"",
            ExportFormat::Ndjson => "attachment; filename=\"leads.ndjson\"",
            ExportFormat::Json => "attachment; filename=\"leads.json\"",
        };
        let reply = ApiReply::export(export.masking(hides), format.media_type());
        Ok(with_security_headers(reply).with(header::CONTENT_DISPOSITION, disposition))
    }

    fn bulk_page(&self, main: &Markup) -> ApiReply {
        self.shell(words::LEADS, Section::Leads).page(StatusCode::OK, main)
    }
}

impl Tally {
    fn add(&mut self, results: &[Done]) {
        for done in results {
            match done.outcome {
                EntryOutcome::Queued | EntryOutcome::Dropped => self.changed += 1,
                EntryOutcome::Held => self.held += 1,
                _ => self.left += 1,
            }
        }
    }

    fn of(results: &[Done]) -> Self {
        let mut tally = Self::default();
        tally.add(results);
        tally
    }

    fn list(self, verb: Verb) -> Markup {
        let changed = if verb == Verb::Drop { words::DROPPED } else { words::QUEUED };
        html! {
            ul.tally {
                li { strong { (number(self.changed)) } " " (changed) }
                @if verb != Verb::Drop { li { strong { (number(self.held)) } " " (words::HELD_AGAIN) } }
                li { strong { (number(self.left)) } " " (words::LEFT_AS_IS) }
            }
        }
    }
}

impl BulkAsked {
    fn previewed(&self, tried: &Tried, csrf: &str) -> Markup {
        let tally = Tally::of(&tried.results);
        let changes_nothing = tally.changed + tally.held == 0 && tried.next.is_none();
        let is_drop = self.verb == Verb::Drop;
        html! {
            h1 { (words::preview(self.verb.label())) }
            p { (self.verb.explained()) }
            @if tried.next.is_some() { p.notice.warn { (self.in_all()) ": " (words::first_of_more(tried.results.len())) } }
            (tally.list(self.verb))
            form.buttons method="post" action="/console/leads/apply" {
                (self.fields(csrf))
                @if !changes_nothing {
                    // Who holds Enter down must not drop leads unread.
                    button.primary.danger[is_drop] type="submit" autofocus[!is_drop] {
                        (self.verb.label()) " " (self.in_all())
                    }
                }
                a.quiet href=(self.back()) { (if changes_nothing { words::BACK_TO_LIST } else { words::CANCEL }) }
            }
            (results::table(&tried.results))
        }
    }

    /// Says how many leads are meant, as far as they were counted.
    fn in_all(&self) -> String {
        match self.total {
            Some(total) => counted(total, words::LEAD, words::LEADS_MANY),
            None if self.is_everything => words::EVERY_LEAD.to_owned(),
            None => words::NOT_COUNTED.to_owned(),
        }
    }

    fn applied(&self, tried: &Tried, csrf: &str) -> Markup {
        let goes_on = self.cursor.is_some() || !self.ids.is_empty();
        html! {
            h1 { (if goes_on { words::IN_PROGRESS } else { words::FINISHED }) }
            div role="status" { (self.so_far.list(self.verb)) }
            @if goes_on { (self.rest(csrf)) } @else { p { a href=(self.back()) { (words::BACK_TO_LIST) } } }
            (results::table(&tried.results))
        }
    }

    /// The form that goes on with what is left.
    fn rest(&self, csrf: &str) -> Markup {
        let Tally { changed, held, left } = self.so_far;
        let done = changed + held + left;
        html! {
            p.hint { (words::GOES_ON) }
            progress aria-label=(words::IN_PROGRESS) max=[self.total] value=[self.total.map(|total| done.min(total))] {}
            form.buttons method="post" action="/console/leads/apply" data-continue {
                (self.fields(csrf))
                @if let Some(cursor) = self.cursor { input type="hidden" name="cursor" value=(cursor); }
                input type="hidden" name="changed" value=(changed);
                input type="hidden" name="held" value=(held);
                input type="hidden" name="left" value=(left);
                button.primary type="submit" { (words::CONTINUE) }
                a.quiet href=(self.back()) { (words::STOP_HERE) }
            }
        }
    }

    fn export_form(&self, csrf: &str, masks: bool) -> Markup {
        html! {
            h1 { (words::EXPORT_LEADS) }
            p { (self.verb.explained()) }
            p { strong { (self.in_all()) } }
            form.buttons method="post" action="/console/leads/export" {
                (self.fields(csrf))
                label {
                    span { (words::FORMAT) }
                    select name="format" {
                        option value="csv" { "CSV" }
                        option value="ndjson" { "NDJSON" }
                        option value="json" { "JSON" }
                    }
                }
                @if masks {
                    label.all { input type="checkbox" name="reveal" value="yes"; " " (words::SHOW_MASKED) }
                }
                button.primary type="submit" { (words::DOWNLOAD) }
                a.quiet href=(self.back()) { (words::BACK_TO_LIST) }
            }
        }
    }

    /// Where the reader came from.
    fn back(&self) -> &str {
        &self.back
    }
}
