//! The first page: is all well, and if not, what needs a person?

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use tokio::time::Instant;

use super::chart;
use super::form::with_query;
use super::layout::{Section, Shell};
use super::show::{clock, counted, moment, number, prose, sentence, span, state};
use super::{PageResult, Request, words};
use crate::lead::SiteId;
use crate::operate::{
    Degradation, DeliveryWait, GatewayStatus, Group, History, Period, SinkState, SinkStatus, SiteRefusals, Status,
    mask_text,
};
use crate::queue::Reason;
use crate::telemetry::Degraded;

/// How often the page renews itself, in seconds.
const REFRESH: u16 = 10;
/// The same without scripts.
const RELOAD: u16 = 30;
/// How long a status is shown again: of a store with many held leads it takes a while to gather.
const FRESH: Duration = Duration::from_secs(2);
/// And so many times as long as that took, up to a bound.
const COST_FACTOR: u32 = 20;
const FRESH_MAX: Duration = Duration::from_secs(30);
/// Most sites whose broken files are named.
const BROKEN_MAX: usize = 10;

/// A status that was gathered lately.
pub(super) struct Gathered {
    status: Status,
    history: Option<History>,
    at: Instant,
    took: Duration,
}

/// What the page shows.
struct Overview<'a> {
    status: &'a Status,
    history: Option<&'a History>,
    failing_sinks: Vec<SinkStatus>,
    /// Those whose files can't be read.
    broken_sites: Vec<SiteId>,
    is_masked: bool,
    now: Timestamp,
}

impl Request<'_> {
    pub(super) async fn overview(&self) -> PageResult {
        let app = self.app;
        let mut last = app.console.gathered.lock().await;
        let lasts = |last: &Gathered| FRESH.max(last.took * COST_FACTOR).min(FRESH_MAX);
        let gathered = match last.take().filter(|last| last.at.elapsed() < lasts(last)) {
            Some(fresh) => last.insert(fresh),
            None => last.insert(self.gather().await),
        };
        let failing_sinks = app.sinks.borrow().iter().filter(|sink| sink.state != SinkState::Ok).cloned().collect();
        let broken_sites = app.config.load().broken_sites.iter().take(BROKEN_MAX).cloned().collect();
        let Gathered { status, history, .. } = gathered;
        let is_masked = app.masks();
        let overview =
            Overview { status, history: history.as_ref(), failing_sinks, broken_sites, is_masked, now: self.now };
        let shell = Shell { refresh: REFRESH, reload: RELOAD, ..self.shell(words::OVERVIEW, Section::Overview) };
        Ok(shell.page(StatusCode::OK, &overview.main()))
    }

    async fn gather(&self) -> Gathered {
        let begun = Instant::now();
        let status = self.app.status(false).await;
        let history = self.app.console.history.read(self.app.store.store(), self.now).await.ok();
        Gathered { status, history, at: begun, took: begun.elapsed() }
    }
}

impl Overview<'_> {
    fn main(&self) -> Markup {
        html! {
            div #live data-live {
                (self.headline())
                (self.notices())
                (self.figures())
                (self.charts())
                (self.work())
                (self.sites())
                (self.gateway())
            }
        }
    }

    /// Causes that a person must look at: what waits for its turn is none, nor what honeypots caught.
    fn causes(&self) -> impl Iterator<Item = &Group> {
        self.status.causes.iter().filter(|group| group.reason != Reason::Spam)
    }

    fn refused(&self) -> u64 {
        let listed = || self.status.refused.iter().map(|refusals| refusals.posts.last_24h).sum();
        self.history.map_or_else(listed, |history| history.hours.iter().map(|hour| hour.refused).sum())
    }

    fn is_well(&self) -> bool {
        let Status { ready, degraded, waits, needs_person, incomplete, .. } = self.status;
        let is_sound = *ready && !incomplete && degraded.is_empty() && waits.is_empty();
        is_sound && *needs_person == 0 && self.refused() == 0 && self.failing_sinks.is_empty()
    }

    fn headline(&self) -> Markup {
        let Status { ready, unready, needs_person, now, .. } = self.status;
        html! {
            div.headline {
                @if self.is_well() {
                    h1.well { (words::ALL_WELL) }
                } @else if !ready {
                    h1.bad { (words::NOT_READY) }
                    p { (unready.as_deref().unwrap_or_default()) }
                } @else if *needs_person > 0 {
                    h1.warn { (counted(*needs_person, words::LEAD_NEEDS, words::LEADS_NEED)) }
                } @else {
                    h1.warn { (words::NEEDS_LOOK) }
                }
                p {
                    (words::AS_OF) " " (moment(*now, self.now))
                    @if self.refused() > 0 {
                        "; " a href="#refused" { (counted(self.refused(), words::POST_REFUSED, words::POSTS_REFUSED)) }
                    }
                }
            }
        }
    }

    fn notices(&self) -> Markup {
        let Status { degraded, waits, .. } = self.status;
        html! {
            // What the waits below tell by name isn't told twice.
            @for Degradation { cure, .. } in degraded.iter().filter(|it| !is_told_by_waits(&it.reason)) {
                p.notice.warn { (prose(&sentence(cure))) }
            }
            @if self.status.incomplete {
                div.notice.warn { strong { (words::INCOMPLETE) } p { (words::INCOMPLETE_CURE) } }
            }
            @for site in &self.broken_sites {
                div.notice.warn {
                    strong { (words::SITE_FILE_BROKEN) " " a href=(format!("/console/sites/{site}")) { (site) } }
                    p { (prose(words::SITE_FILE_CURE)) }
                }
            }
            @for wait in waits { (self.wait(wait)) }
            @for SinkStatus { name, error, .. } in &self.failing_sinks {
                div.notice.warn {
                    strong { (words::SINK_FAILS) " " (name) }
                    p { (error.as_deref().unwrap_or(words::GONE_410)) }
                }
            }
        }
    }

    /// Hides what may be somebody's address in KaiCalls' words, where leads are masked.
    fn masked<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.is_masked { mask_text(text) } else { text.into() }
    }

    fn wait(&self, DeliveryWait { site, since, why, next_try, queued, .. }: &DeliveryWait) -> Markup {
        html! {
            div.notice.warn {
                strong {
                    @match site {
                        Some(site) => { (words::SITE_WAITS) " " a href=(format!("/console/sites/{site}")) { (site) } }
                        None => (words::UPSTREAM_DOWN),
                    }
                }
                p {
                    (self.masked(why)) ", " (words::SINCE) " " (clock(*since)) ". "
                    (counted(*queued, words::LEAD_WAITS, words::LEADS_WAIT)) ", "
                    (words::NEXT_TRY) " " (moment(*next_try, self.now)) "."
                    @if site.is_some() { " " (words::KEYS_REFUSED_CURE) }
                }
            }
        }
    }

    fn figures(&self) -> Markup {
        let day = |of: fn(&Period) -> u64| self.history.map(|history| history.hours.iter().map(of).sum::<u64>());
        let figure = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), number);
        let leads = &self.status.leads;
        let oldest = leads.oldest_queued.map(|oldest| span(self.now.duration_since(oldest)));
        html! {
            ul.figures {
                li { span.figure { (figure(day(|period| period.received))) } span { (words::RECEIVED_24H) } }
                li { span.figure { (figure(day(|period| period.delivered))) } span { (words::DELIVERED_24H) } }
                li {
                    a href="/console/leads?state=queued" {
                        span.figure { (number(leads.queued)) }
                        span {
                            (words::WAITING)
                            @if let Some(oldest) = oldest { ", " (words::OLDEST) " " (oldest) }
                        }
                    }
                }
                li { a href="/console/leads?state=held" { span.figure { (number(leads.held)) } span { (words::HELD) } } }
                li { a href="/console/leads?state=dead" { span.figure { (number(leads.dead)) } span { (words::DEAD) } } }
            }
        }
    }

    fn charts(&self) -> Markup {
        html! {
            @if let Some(history) = self.history {
                div.charts {
                    section { h2 { (words::LAST_24H) } (chart::hours(&history.hours)) }
                    section { h2 { (words::LAST_14D) } (chart::days(&history.days)) }
                }
            }
        }
    }

    fn work(&self) -> Markup {
        html! {
            section {
                h2 { (words::NEEDS_PERSON) }
                @if self.causes().next().is_none() { p.empty { (words::NOTHING_NEEDS) } }
                @else {
                    table.list {
                        thead {
                            tr {
                                th { (words::STATE) } th { (words::CAUSE) } th.number { (words::LEADS) }
                                th.number { (words::SITES) } th { (words::OLDEST_LEAD) }
                            }
                        }
                        tbody { @for group in self.causes() { (self.cause(group)) } }
                    }
                    @if self.status.more_causes > 0 {
                        p { a href="/console/leads" { (words::more_causes(self.status.more_causes)) } }
                    }
                }
            }
        }
    }

    fn cause(&self, group: &Group) -> Markup {
        let cause = self.masked(&group.cause);
        // What is hidden must not stand in the link either.
        let whole = if self.is_masked { "" } else { group.cause.as_str() };
        let href = with_query(
            "/console/leads",
            &[("state", group.state.as_str()), ("reason", group.reason.as_str()), ("cause", whole)],
        );
        html! {
            tr {
                td { (state(group.state)) }
                td.wide { a href=(href) { (cause) } }
                td.number data-name=(words::LEADS) { (number(group.leads)) }
                td.number data-name=(words::SITES) { (group.sites) }
                td data-name=(words::OLDEST_LEAD) { (moment(group.oldest, self.now)) }
            }
        }
    }

    fn sites(&self) -> Markup {
        let refused = &self.status.refused;
        html! {
            @if !refused.is_empty() {
                section #refused {
                    h2 { (words::REFUSED_POSTS) }
                    p.hint { (words::REFUSED_HINT) }
                    table.list {
                        thead {
                            tr { th { (words::SITE) } th.number { (words::IN_24H) } th { (words::MISTAKE) } th { (words::LAST) } }
                        }
                        tbody { @for refusals in refused { (self.refusals(refusals)) } }
                    }
                }
            }
        }
    }

    fn refusals(&self, SiteRefusals { site, posts, mistakes }: &SiteRefusals) -> Markup {
        html! {
            tr {
                td {
                    @match site {
                        Some(site) => a href=(format!("/console/sites/{site}#refused")) { (site) },
                        None => (words::UNKNOWN_SITES),
                    }
                }
                td.number data-name=(words::IN_24H) { (number(posts.last_24h)) }
                td.wide {
                    @if let Some(mistake) = mistakes.first() {
                        code { (mistake.mistake) } " " span.hint { (prose(&mistake.cure)) }
                    } @else { (posts.last_reason.as_deref().unwrap_or_default()) }
                }
                td data-name=(words::LAST) { @if let Some(at) = posts.last_at { (moment(at, self.now)) } }
            }
        }
    }

    fn gateway(&self) -> Markup {
        let Status { version, since, url, sites, store, .. } = self.status;
        let mebibytes = |bytes: u64| number(bytes.div_ceil(1024 * 1024));
        html! {
            section {
                h2 { (words::GATEWAY) }
                dl.facts {
                    dt { (words::VERSION) } dd { (version) ", " (words::RUNNING_SINCE) " " (moment(*since, self.now)) }
                    dt { (words::LISTENS) } dd { code { (url) } }
                    dt { (words::SITES) } dd { a href="/console/sites" { (number(*sites as u64)) } }
                    dt { (words::UPSTREAM) } dd { (self.upstream()) }
                    dt { (words::CONFIGURATION) } dd { (self.configuration()) }
                    dt { (words::STORE) }
                    dd {
                        (store.kind) ", " (mebibytes(store.bytes)) " " (words::OF) " " (mebibytes(store.max_bytes)) " MiB"
                    }
                    @if !self.status.gateways.is_empty() {
                        dt { (words::GATEWAYS) }
                        dd { @for gateway in &self.status.gateways { div { (self.sharing(gateway)) } } }
                    }
                }
            }
        }
    }

    /// One of the gateways that share the store.
    fn sharing(&self, gateway: &GatewayStatus) -> Markup {
        html! {
            code { (gateway.name) } " "
            @if gateway.live {
                (gateway.version) ", " (words::SENDS_FOR) " " (number(gateway.sites as u64))
                @if gateway.this { ", " (words::THIS_GATEWAY) }
                @if gateway.config_differs { ", " strong { (words::OTHER_CONFIGURATION) } }
            } @else {
                (words::NOT_SEEN_SINCE) " " (moment(gateway.last_seen, self.now))
            }
        }
    }

    fn configuration(&self) -> &'static str {
        let is_of_it = |it: &Degradation| OF_CONFIGURATION.iter().any(|known| known.as_str() == it.reason);
        let is_broken = !self.broken_sites.is_empty() || self.status.degraded.iter().any(is_of_it);
        if is_broken { words::CONFIG_BROKEN } else { words::CONFIG_OK }
    }

    fn upstream(&self) -> &'static str {
        let is_down = self.status.waits.iter().any(|wait| wait.site.is_none());
        if is_down { words::UPSTREAM_DOWN } else { words::UPSTREAM_UP }
    }
}

/// What of `/readyz` is about the configuration.
const OF_CONFIGURATION: [Degraded; 4] =
    [Degraded::ConfigBroken, Degraded::ReloadRefused, Degraded::DeliveryOff, Degraded::AdminBroken];

/// Tells whether a reason of `/readyz` is why deliveries wait, which is shown site by site.
fn is_told_by_waits(reason: &str) -> bool {
    [Degraded::SitesPaused, Degraded::UpstreamFailing].iter().any(|known| known.as_str() == reason)
}
