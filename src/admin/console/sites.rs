//! The fleet: a row a site, thousands of them; searched and sorted on the server.

use std::cmp::{Ordering, Reverse};

use http::StatusCode;
use maud::{Markup, html};

use super::form::{Fields, with_query};
use super::layout::{Section, Shell};
use super::show::{moment, number, or_dash, site_state};
use super::{PageResult, Request, words};
use crate::operate::{self, SiteState, SiteSummary};

/// Sites of a page.
const PAGE: usize = 200;
/// How often the page renews itself, in seconds.
const REFRESH: u16 = 30;

/// What the list is sorted by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Id,
    LastLead,
    Day,
    Week,
    Queued,
    Held,
    Dead,
    Refused,
}

/// What of the fleet is shown, as the URL says it.
struct SitesAsked {
    text: String,
    only_trouble: bool,
    column: Column,
    page: usize,
}

struct SitesPage<'a> {
    asked: &'a SitesAsked,
    rows: &'a [SiteSummary],
    found: usize,
    all: usize,
    request: &'a Request<'a>,
}

impl Column {
    const ALL: [Self; 8] =
        [Self::Id, Self::LastLead, Self::Day, Self::Week, Self::Queued, Self::Held, Self::Dead, Self::Refused];

    /// Its name in a URL, and above the column.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Id => ("id", words::SITE),
            Self::LastLead => ("last", words::LAST_LEAD),
            Self::Day => ("day", words::IN_24H),
            Self::Week => ("week", words::WEEK),
            Self::Queued => ("queued", words::QUEUED_SHORT),
            Self::Held => ("held", words::HELD_SHORT),
            Self::Dead => ("dead", words::DEAD_SHORT),
            Self::Refused => ("refused", words::REFUSED_SHORT),
        }
    }

    /// The most, and the newest, come first; ids by their letters.
    fn compare(self, one: &SiteSummary, other: &SiteSummary) -> Ordering {
        let most = |of: fn(&SiteSummary) -> u64| Reverse(of(one)).cmp(&Reverse(of(other)));
        let by_column = match self {
            Self::Id => Ordering::Equal,
            Self::LastLead => Reverse(one.last_lead_at).cmp(&Reverse(other.last_lead_at)),
            Self::Day => most(|site| site.last_24h.taken),
            Self::Week => most(|site| site.last_7d.taken),
            Self::Queued => most(|site| site.counts.queued),
            Self::Held => most(|site| site.counts.held),
            Self::Dead => most(|site| site.counts.dead),
            Self::Refused => most(|site| site.refused.last_24h),
        };
        by_column.then_with(|| one.id.cmp(&other.id))
    }
}

impl SitesAsked {
    fn read(fields: &Fields) -> Self {
        let column = Column::ALL.into_iter().find(|column| fields.one("sort") == Some(column.names().0));
        Self {
            text: fields.one("text").unwrap_or_default().trim().to_owned(),
            only_trouble: fields.one("trouble").is_some(),
            column: column.unwrap_or(Column::Id),
            page: fields.one("page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1),
        }
    }

    fn wants(&self, site: &SiteSummary) -> bool {
        let text = self.text.to_lowercase();
        let has = |value: &str| value.to_lowercase().contains(&text);
        let is_found = text.is_empty()
            || has(site.id.as_str())
            || site.name.as_deref().is_some_and(has)
            || site.url.as_deref().is_some_and(has);
        is_found && (!self.only_trouble || is_in_trouble(site))
    }

    fn link(&self, column: Column, page: usize) -> String {
        let sort = if column == Column::Id { "" } else { column.names().0 };
        let page = if page > 1 { page.to_string() } else { String::new() };
        let trouble = if self.only_trouble { "yes" } else { "" };
        with_query("/console/sites", &[("text", &self.text), ("trouble", trouble), ("sort", sort), ("page", &page)])
    }
}

/// Tells whether a person should look at a site.
fn is_in_trouble(site: &SiteSummary) -> bool {
    site.state != SiteState::Ok || site.refused.last_24h > 0 || site.counts.held > 0 || site.counts.dead > 0
}

impl Request<'_> {
    pub(super) async fn sites(&self, query: &str) -> PageResult {
        let asked = SitesAsked::read(&Fields::of_query(query));
        self.app.write_activity().await;
        let situation = self.app.situation(self.now);
        let mut sites = operate::sites(self.app.store.store(), &situation).await?.sites;
        let all = sites.len();
        sites.retain(|site| asked.wants(site));
        sites.sort_by(|one, other| asked.column.compare(one, other));
        let found = sites.len();
        let begin = ((asked.page - 1).saturating_mul(PAGE)).min(found);
        let rows = sites.get(begin..found.min(begin + PAGE)).unwrap_or_default();
        let page = SitesPage { asked: &asked, rows, found, all, request: self };
        let shell = Shell { refresh: REFRESH, ..self.shell(words::SITES, Section::Sites) };
        Ok(shell.page(StatusCode::OK, &page.main()))
    }
}

impl SitesPage<'_> {
    fn main(&self) -> Markup {
        html! {
            h1 { (words::SITES) }
            (self.filter())
            div #live data-live {
                p.hint { (number(self.found as u64)) " " (words::OF) " " (number(self.all as u64)) }
                @if self.rows.is_empty() { p.empty { (words::NO_SITES) } } @else { (self.table()) }
            }
            (self.pages())
        }
    }

    fn filter(&self) -> Markup {
        let SitesAsked { text, only_trouble, column, .. } = self.asked;
        html! {
            form.filter method="get" action="/console/sites" role="search" {
                label {
                    span { (words::SEARCH) }
                    input #search type="search" name="text" value=(text) placeholder=(words::FIND_SITE);
                }
                label.all {
                    input type="checkbox" name="trouble" value="yes" checked[*only_trouble];
                    " " (words::ONLY_TROUBLE)
                }
                // On a narrow screen the columns have no heads to sort by.
                label {
                    span { (words::SORT_BY) }
                    select name="sort" {
                        @for known in Column::ALL {
                            @let (value, name) = known.names();
                            option value=(value) selected[known == *column] { (name) }
                        }
                    }
                }
                button type="submit" { (words::FILTER) }
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            table.list {
                thead {
                    tr {
                        @for column in Column::ALL {
                            @let is_sorted = column == self.asked.column;
                            @let order = if column == Column::Id { "ascending" } else { "descending" };
                            th.number[!matches!(column, Column::Id | Column::LastLead)]
                                aria-sort=[is_sorted.then_some(order)] {
                                a href=(self.asked.link(column, 1)) { (column.names().1) }
                            }
                        }
                        th { (words::STATE) }
                    }
                }
                tbody { @for site in self.rows { (self.row(site)) } }
            }
        }
    }

    fn row(&self, site: &SiteSummary) -> Markup {
        let count = |name: &str, count: u64| html! { td.number.zero[count == 0] data-name=(name) { (number(count)) } };
        html! {
            tr data-row {
                td.wide {
                    a.main href=(format!("/console/sites/{}", site.id)) { (site.id) }
                    span.hint { bdi { (or_dash(site.name.as_deref().or(site.url.as_deref()))) } }
                }
                td data-name=(words::LAST_LEAD) {
                    @match site.last_lead_at {
                        Some(at) => (moment(at, self.request.now)),
                        None => (or_dash(None)),
                    }
                }
                (count(words::IN_24H, site.last_24h.taken))
                (count(words::WEEK, site.last_7d.taken))
                (count(words::QUEUED_SHORT, site.counts.queued))
                (count(words::HELD_SHORT, site.counts.held))
                (count(words::DEAD_SHORT, site.counts.dead))
                (count(words::REFUSED_SHORT, site.refused.last_24h))
                td { (site_state(site.state)) }
            }
        }
    }

    fn pages(&self) -> Markup {
        let SitesAsked { column, page, .. } = *self.asked;
        html! {
            @if self.found > PAGE {
                nav.pages aria-label=(words::PAGES) {
                    @if page > 1 { a rel="prev" href=(self.asked.link(column, page - 1)) { (words::PREVIOUS_PAGE) } }
                    span.hint { (page) " " (words::OF) " " (self.found.div_ceil(PAGE)) }
                    @if page.saturating_mul(PAGE) < self.found {
                        a rel="next" href=(self.asked.link(column, page + 1)) { (words::NEXT_PAGE) }
                    }
                }
            }
        }
    }
}
