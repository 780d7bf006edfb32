//! One site: how it does, its forms and tokens, what was refused and why, and what to paste in a plugin.

use std::borrow::Cow;

use http::StatusCode;
use maud::{Markup, html};

use super::chart;
use super::layout::{Section, Shell, csrf_field};
use super::show::{fact, moment, number, or_dash, prose, site_state};
use super::{PageResult, Request, words};
use crate::admin::sites::site_of;
use crate::operate::{self, FormSeen, History, KeyStatus, RefusedMistake, SiteDetail, SiteError, TokenSeen};
use crate::queue::State;

/// How often the page renews itself, in seconds.
const REFRESH: u16 = 30;
/// Most forms and mistakes that a page shows.
const ROWS_MAX: usize = 100;

/// What the page shows.
pub(super) struct SitePage<'a> {
    pub(super) site: SiteDetail,
    history: Option<History>,
    /// What the last act did: a new token, or what KaiCalls said.
    pub(super) notice: Option<Markup>,
    pub(super) request: &'a Request<'a>,
}

impl Request<'_> {
    pub(super) async fn site(&self, id: &str) -> PageResult {
        self.site_page(id, None).await
    }

    /// Shows a site, with what an act did above it; then the page doesn't renew itself.
    pub(super) async fn site_page(&self, id: &str, notice: Option<Markup>) -> PageResult {
        let app = self.app;
        let store = app.store.store();
        let id = site_of(id)?;
        app.write_activity().await;
        let site = operate::site(store, &app.situation(self.now), &id, None).await?;
        let history = operate::history_of(store, &id, self.now).await.ok();
        let refresh = if notice.is_none() { REFRESH } else { 0 };
        let page = SitePage { site, history, notice, request: self };
        let shell = Shell { refresh, ..self.shell(id.as_str(), Section::Sites) };
        Ok(shell.page(StatusCode::OK, &page.main()))
    }
}

impl SitePage<'_> {
    fn main(&self) -> Markup {
        html! {
            @if let Some(notice) = &self.notice { (notice) }
            div #live data-live {
                (self.head())
                div.columns {
                    div {
                        @if let Some(history) = &self.history {
                            section { h2 { (words::LAST_14D) } (chart::days(&history.days)) }
                        }
                        (self.refused())
                        (self.forms())
                        (self.tokens())
                    }
                    div { (self.facts()) (self.keys()) }
                }
            }
            (self.new_token())
            (self.paste())
        }
    }

    fn head(&self) -> Markup {
        let summary = &self.site.summary;
        let leads = |state: State| format!("/console/leads?site={}&state={}", summary.id, state.as_str());
        let counts = [
            (State::Queued, summary.counts.queued),
            (State::Held, summary.counts.held),
            (State::Dead, summary.counts.dead),
            (State::Delivered, summary.counts.delivered),
        ];
        html! {
            p.crumbs { a href="/console/sites" { (words::SITES) } " / " (summary.id) }
            div.headline {
                h1 { bdi { (summary.name.as_deref().unwrap_or(summary.id.as_str())) } " " (site_state(summary.state)) }
            }
            ul.figures {
                @for (state, count) in counts {
                    li { a href=(leads(state)) { span.figure { (number(count)) } span { (state.as_str()) } } }
                }
            }
        }
    }

    /// Hides what may be somebody's address in KaiCalls' words, where leads are masked.
    fn masked<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.request.app.masks() { operate::mask_text(text) } else { text.into() }
    }

    fn facts(&self) -> Markup {
        let summary = &self.site.summary;
        let now = self.request.now;
        let error = summary
            .last_error
            .as_ref()
            .map(|SiteError { at, words }| html! { bdi { (self.masked(words)) } " " span.hint { (moment(*at, now)) } });
        html! {
            section {
                h2 { (words::FACTS) }
                dl.facts {
                    (fact(words::WEBSITE, summary.url.as_ref().map(|url| html! { bdi { (url) } }).as_ref()))
                    (fact(words::WEBHOOK_URL, Some(&html! {
                        code #hook { (summary.hook_url) } " "
                        button.small type="button" data-copy="#hook" hidden { (words::COPY) }
                    })))
                    (fact(words::LAST_LEAD, summary.last_lead_at.map(|at| moment(at, now)).as_ref()))
                    (fact(words::LAST_ERROR, error.as_ref()))
                }
            }
        }
    }

    fn keys(&self) -> Markup {
        let KeyStatus { public_key, state, since } = &self.site.summary.key;
        html! {
            section {
                h2 { (words::KEY_PAIR) }
                dl.facts {
                    dt { (words::STATE) }
                    dd {
                        (words::key_state(*state))
                        @if let Some(since) = since { " " (words::SINCE) " " (moment(*since, self.request.now)) }
                    }
                    (fact(words::PUBLIC_KEY, public_key.as_ref().map(|key| html! { code { (key) } }).as_ref()))
                }
                form.buttons method="post" action=(format!("/console/sites/{}/verify", self.site.summary.id)) {
                    (csrf_field(&self.request.logged_in.csrf))
                    button type="submit" { (words::VERIFY_NOW) }
                }
            }
        }
    }

    fn tokens(&self) -> Markup {
        let last = |token: &TokenSeen| match token.last_used {
            Some(at) => moment(at, self.request.now),
            None => html! { (words::NEVER) },
        };
        html! {
            section {
                h2 { (words::TOKENS) }
                @if self.site.tokens.is_empty() { p.empty { (words::NO_TOKENS) } }
                @else {
                    table.list {
                        thead {
                            tr {
                                th { (words::NOTE) } th { (words::TOKEN_HASH) } th { (words::LAST_USED) }
                                th.number { (words::POSTS) } th { (words::EXPIRES_ON) }
                            }
                        }
                        tbody {
                            @for token in &self.site.tokens {
                                tr {
                                    td.wide { bdi { (or_dash(token.note.as_deref())) } }
                                    td data-name=(words::TOKEN_HASH) { code { (token.sha256) } }
                                    td data-name=(words::LAST_USED) { (last(token)) }
                                    td.number data-name=(words::POSTS) { (number(token.count)) }
                                    td data-name=(words::EXPIRES_ON) {
                                        (or_dash(token.expires.map(|day| day.to_string()).as_deref()))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn forms(&self) -> Markup {
        html! {
            section {
                h2 { (words::FORMS_SEEN) }
                @if self.site.forms.is_empty() { p.empty { (words::NO_FORMS) } }
                @else {
                    table.list {
                        thead {
                            tr {
                                th { (words::FORM) } th { (words::MAPPING) } th.number { (words::POSTS) }
                                th { (words::FIRST_SEEN) } th { (words::LAST) }
                            }
                        }
                        tbody { @for form in self.site.forms.iter().take(ROWS_MAX) { (self.form(form)) } }
                    }
                }
            }
        }
    }

    fn form(&self, FormSeen { id, first_at, last_at, count, mapping }: &FormSeen) -> Markup {
        let href = format!("/console/leads?site={}&form={id}", self.site.summary.id);
        html! {
            tr {
                td.wide { a href=(href) { (id) } }
                td data-name=(words::MAPPING) { (or_dash(mapping.as_deref())) }
                td.number data-name=(words::POSTS) { (number(*count)) }
                td data-name=(words::FIRST_SEEN) { (moment(*first_at, self.request.now)) }
                td data-name=(words::LAST) { (moment(*last_at, self.request.now)) }
            }
        }
    }

    fn refused(&self) -> Markup {
        html! {
            @if !self.site.refused_posts.is_empty() {
                section #refused {
                    h2 { (words::REFUSED_POSTS) }
                    p.hint { (words::REFUSED_HINT) }
                    table.list {
                        thead {
                            tr {
                                th { (words::MISTAKE) } th.number { (words::COUNT) } th { (words::LAST) }
                                th { (words::SENDER) } th { (words::CURE) }
                            }
                        }
                        tbody { @for mistake in self.site.refused_posts.iter().take(ROWS_MAX) { (self.mistake(mistake)) } }
                    }
                }
            }
        }
    }

    fn mistake(&self, mistake: &RefusedMistake) -> Markup {
        html! {
            tr {
                td { code { (mistake.mistake) } @if let Some(status) = mistake.status { span.hint { (status) } } }
                td.number data-name=(words::COUNT) { (number(mistake.count)) }
                td data-name=(words::LAST) { (moment(mistake.last_at, self.request.now)) }
                td.value data-name=(words::SENDER) {
                    bdi { (or_dash(mistake.host.as_deref())) }
                    @if let Some(agent) = &mistake.agent { span.hint { bdi { (agent) } } }
                }
                td.wide { (prose(&mistake.cure)) }
            }
        }
    }

    fn new_token(&self) -> Markup {
        html! {
            section {
                h2 { (words::NEW_TOKEN) }
                form.filter method="post" action=(format!("/console/sites/{}/token", self.site.summary.id)) {
                    (csrf_field(&self.request.logged_in.csrf))
                    label {
                        span { (words::NOTE) }
                        input type="text" name="note" maxlength="100" placeholder=(words::TOKEN_NOTE_HINT);
                    }
                    button type="submit" { (words::NEW_TOKEN) }
                }
            }
        }
    }
}
