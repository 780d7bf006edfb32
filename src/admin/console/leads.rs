//! The list of leads: filtered by its URL, the newest first, some of them chosen to do something with.

use http::StatusCode;
use maud::{Markup, html};

use super::form::{Fields, with_query};
use super::layout::{Section, Shell, csrf_field};
use super::show::{moment, short, state};
use super::{PageResult, Request, bulk, words};
use crate::admin::fault::ApiError;
use crate::operate::{self, Cursor, FilterAsked, LeadPage, REASONS, Summary};
use crate::queue::{Order, State};

/// Leads of a page.
const PAGE: usize = 50;
/// How often a list without a search renews itself, in seconds.
const REFRESH: u16 = 15;
/// How far back a list may begin, as the filter writes it.
const AGES: [(&str, &str); 5] = [
    ("", words::ANY_TIME),
    ("1h", words::LAST_HOUR),
    ("24h", words::LAST_24H),
    ("7d", words::LAST_7D),
    ("30d", words::LAST_30D),
];

/// What the list shows.
struct LeadList<'a> {
    asked: &'a FilterAsked,
    page: LeadPage,
    /// Why the filter makes no sense.
    wrong: Option<String>,
    order: Order,
    is_first: bool,
    request: &'a Request<'a>,
}

/// Reads a filter as a URL or a form writes it; what is empty isn't asked for.
pub(super) fn filter_of(fields: &Fields) -> FilterAsked {
    let one = |name: &str| fields.one(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    FilterAsked {
        site: one("site"),
        form: one("form"),
        state: one("state"),
        reason: one("reason"),
        cause: one("cause"),
        since: one("since"),
        until: one("until"),
        text: one("text"),
    }
}

/// Writes a filter as the names and values of a URL.
pub(super) fn pairs_of(asked: &FilterAsked) -> [(&'static str, &str); 8] {
    let FilterAsked { site, form, state, reason, cause, since, until, text } = asked;
    [
        ("site", site.as_deref().unwrap_or_default()),
        ("form", form.as_deref().unwrap_or_default()),
        ("state", state.as_deref().unwrap_or_default()),
        ("reason", reason.as_deref().unwrap_or_default()),
        ("cause", cause.as_deref().unwrap_or_default()),
        ("since", since.as_deref().unwrap_or_default()),
        ("until", until.as_deref().unwrap_or_default()),
        ("text", text.as_deref().unwrap_or_default()),
    ]
}

impl Request<'_> {
    pub(super) async fn leads(&self, query: &str) -> PageResult {
        let fields = Fields::of_query(query);
        let asked = filter_of(&fields);
        let order = if fields.one("order") == Some("oldest") { Order::Oldest } else { Order::Newest };
        let cursor = fields.one("cursor").map(str::parse::<Cursor>).transpose();
        let cursor = cursor.map_err(|bad| ApiError::Request(format!("the link's cursor {bad}")))?;
        let (page, wrong) = match asked.read(self.now) {
            Ok(query) => {
                let situation = self.app.situation(self.now);
                let store = self.app.store.store();
                let page = operate::list(store, &query, order, cursor, PAGE, &situation).await?;
                (if self.app.masks() { page.masked() } else { page }, None)
            }
            Err(bad) => (LeadPage::default(), Some(bad.to_string())),
        };
        let is_first = cursor.is_none();
        let list = LeadList { asked: &asked, page, wrong, order, is_first, request: self };
        // A search goes through the store anew each time: the reader renews it.
        let refresh = if is_first && !list.is_slow() { REFRESH } else { 0 };
        let shell = Shell { refresh, ..self.shell(words::LEADS, Section::Leads) };
        Ok(shell.page(StatusCode::OK, &list.main()))
    }
}

impl LeadList<'_> {
    fn main(&self) -> Markup {
        html! {
            h1 { (words::LEADS) }
            (self.states())
            (self.filter())
            @if let Some(wrong) = &self.wrong { p.notice.bad role="alert" { (wrong) } }
            form #chosen method="post" action="/console/leads/preview" {
                (csrf_field(&self.request.logged_in.csrf))
                (bulk::filter_fields(self.asked))
                (self.actions())
                input type="hidden" name="back" value=(self.link(&[]));
                div #live data-live { (self.table()) (self.pages()) }
            }
        }
    }

    /// Links to the list of each state, with the rest of the filter kept.
    fn states(&self) -> Markup {
        let all = [None, Some(State::Queued), Some(State::Held), Some(State::Delivered), Some(State::Dead)];
        html! {
            nav.tabs aria-label=(words::STATE) {
                @for state in all {
                    @let word = state.map_or("", State::as_str);
                    @let is_here = self.asked.state.as_deref().unwrap_or_default() == word;
                    a href=(self.link(&[("state", word), ("reason", ""), ("cause", "")])) aria-current=[is_here.then_some("true")] {
                        @if state.is_some() { (word) } @else { (words::ALL) }
                    }
                }
            }
        }
    }

    /// Writes the list's URL with some of its parameters changed.
    fn link(&self, changed: &[(&str, &str)]) -> String {
        let mut pairs: Vec<(&str, &str)> = pairs_of(self.asked).to_vec();
        if self.order == Order::Oldest {
            pairs.push(("order", "oldest"));
        }
        for (name, value) in changed {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name, value));
        }
        with_query("/console/leads", &pairs)
    }

    fn filter(&self) -> Markup {
        let FilterAsked { site, form, state, reason, cause, since, until, text } = self.asked;
        html! {
            form.filter method="get" action="/console/leads" role="search" {
                input type="hidden" name="state" value=(state.as_deref().unwrap_or_default());
                @if self.order == Order::Oldest { input type="hidden" name="order" value="oldest"; }
                @if let Some(cause) = cause { (field(words::CAUSE, html! { input type="text" name="cause" value=(cause); })) }
                (field(words::SEARCH, html! {
                    input #search type="search" name="text" value=[text.as_deref()] placeholder=(words::SEARCH_HINT);
                }))
                (field(words::SITE, html! { input type="text" name="site" value=[site.as_deref()] size="12"; }))
                (field(words::FORM, html! { input type="text" name="form" value=[form.as_deref()] size="12"; }))
                (field(words::REASON, html! {
                    select name="reason" {
                        option value="" { (words::ANY) }
                        @for known in REASONS {
                            option value=(known.as_str()) selected[reason.as_deref() == Some(known.as_str())] {
                                (known.as_str().replace('_', " "))
                            }
                        }
                    }
                }))
                (field(words::SINCE_FIELD, since_field(since.as_deref())))
                (field(words::BEFORE, before_field(until.as_deref())))
                button type="submit" { (words::FILTER) }
                @if !self.asked.is_empty() { a.quiet href="/console/leads" { (words::CLEAR) } }
            }
        }
    }

    fn actions(&self) -> Markup {
        html! {
            div.actions {
                span.chosen data-one=(words::ONE_CHOSEN) data-many=(words::MANY_CHOSEN) aria-live="polite" {}
                @for verb in bulk::Verb::ALL {
                    button type="submit" name="verb" value=(verb.as_str()) { (verb.label()) }
                }
                label.all {
                    input type="checkbox" name="all" value="yes";
                    " " (if self.asked.is_empty() { words::EVERY_LEAD } else { words::ALL_MATCHING })
                }
            }
        }
    }

    fn table(&self) -> Markup {
        let LeadPage { leads, unreadable, .. } = &self.page;
        html! {
            @if self.is_part_of_search() { p.hint { (words::SEARCHED_PART) } }
            @if leads.is_empty() {
                p.empty { (if self.asked.is_empty() { words::NO_LEADS_YET } else { words::NO_LEADS_MATCH }) }
            } @else {
                table.list.leads {
                    thead {
                        tr {
                            th.pick { input type="checkbox" data-all aria-label=(words::CHOOSE_PAGE); }
                            th { (words::RECEIVED_AT) } th { (words::SITE_AND_FORM) } th { (words::WHO) } th { (words::STATE) }
                        }
                    }
                    tbody { @for lead in leads { (self.row(lead)) } }
                }
            }
            @if !unreadable.is_empty() { p.notice.bad { (words::unreadable(unreadable.len())) } }
        }
    }

    /// Tells whether the store has no list of what is asked for, so that all of its leads are looked at.
    fn is_slow(&self) -> bool {
        self.asked.text.is_some() || self.asked.cause.is_some()
    }

    /// Tells whether the search for this page ended before it was full: what is left is on the next.
    fn is_part_of_search(&self) -> bool {
        self.is_slow() && self.page.next.is_some() && self.page.leads.len() < PAGE
    }

    fn row(&self, summary: &Summary) -> Markup {
        let name = summary.lead.as_ref().map_or(words::NO_LEAD, |lead| lead.name());
        let id = summary.id.to_string();
        let email = summary.lead.as_ref().map(|lead| lead.email());
        html! {
            tr data-row {
                td.pick { input type="checkbox" name="id" value=(summary.id) aria-label=(words::choose(name, short(&id))); }
                td { (moment(summary.accepted_at, self.request.now)) }
                td { a.plain href=(format!("/console/sites/{}", summary.site)) { (summary.site) } span.hint.beside { " / " (summary.form) } }
                td.wide {
                    a.main href=(format!("/console/leads/{}", summary.id)) { bdi { (name) } }
                    span.hint { @match email { Some(email) => bdi { (email) }, None => code { "…" (short(&id)) } } }
                }
                td.why { (state(summary.state)) @if summary.state != State::Delivered { span.hint { (summary.cause) } } }
            }
        }
    }

    fn pages(&self) -> Markup {
        let next = self.page.next.map(|cursor| cursor.to_string()).unwrap_or_default();
        let is_newest = self.order == Order::Newest;
        let other = if is_newest { "oldest" } else { "" };
        html! {
            nav.pages aria-label=(words::PAGES) {
                @if !self.is_first { a href=(self.link(&[])) { (words::FIRST_PAGE) } }
                @if !next.is_empty() {
                    a rel="next" href=(self.link(&[("cursor", &next)])) {
                        (if is_newest { words::OLDER } else { words::NEWER })
                    }
                }
                a.quiet href=(self.link(&[("order", other)])) {
                    (if is_newest { words::OLDEST_FIRST } else { words::NEWEST_FIRST })
                }
            }
        }
    }
}

/// Puts a name above a field.
fn field(name: &str, input: Markup) -> Markup {
    html! { label { span { (name) } (input) } }
}

/// Times are chosen by their age; one that the URL says otherwise stays.
fn since_field(since: Option<&str>) -> Markup {
    let is_other = since.is_some_and(|since| !AGES.iter().any(|(age, _)| *age == since));
    html! {
        select name="since" {
            @for (age, name) in AGES { option value=(age) selected[since.unwrap_or_default() == age] { (name) } }
            @if let Some(since) = since.filter(|_| is_other) { option value=(since) selected { (since) } }
        }
    }
}

/// A day before which leads were received; a time that the URL says otherwise stays.
fn before_field(until: Option<&str>) -> Markup {
    let is_day = until.is_none_or(|until| until.parse::<jiff::civil::Date>().is_ok());
    html! { input type=(if is_day { "date" } else { "text" }) name="until" value=[until]; }
}
