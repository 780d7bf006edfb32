//! One lead: what was received, what was made of it, what was sent; and what can be done with it.

use std::borrow::Cow;

use http::{HeaderValue, StatusCode, header};
use maud::{Markup, html};

use super::amend::{digest, shown_name};
use super::bulk::Verb;
use super::form::Fields;
use super::layout::{Section, Shell, csrf_field, with_security_headers};
use super::show::{exactly, fact, moment, state};
use super::{PageResult, Request, received, redirect, timeline, words};
use crate::admin::fault::ApiError;
use crate::admin::reply::ApiReply;
use crate::lead::LeadField;
use crate::operate::{self, Actor, Choice, FieldEvidence, Life, Trace};
use crate::queue::{Reason, State, StoreError};
use crate::telemetry;

/// How often the page of a queued lead renews itself, in seconds.
const REFRESH: u16 = 2;
/// What a correction did, in the page's URL.
pub(super) const AMENDED: &str = "amended";
pub(super) const AMENDED_HELD: &str = "held";

/// What the page shows.
pub(super) struct LeadPage<'a> {
    pub(super) life: Life,
    trace: Trace,
    notice: Notice<'a>,
    /// Addresses and telephone numbers are hidden.
    is_masked: bool,
    pub(super) request: &'a Request<'a>,
}

/// What there is to say of the last act.
pub(super) enum Notice<'a> {
    None,
    Done(&'static str),
    /// Why it was not done, and what the reader typed.
    Wrong(String, &'a Fields),
}

impl Request<'_> {
    pub(super) async fn lead(&self, id: &str, query: &str) -> PageResult {
        let notice = match Fields::of_query(query).one("done") {
            Some(AMENDED) => Notice::Done(words::AMENDED),
            Some(AMENDED_HELD) => Notice::Done(words::AMENDED_HELD),
            _ => Notice::None,
        };
        self.lead_page(id, notice).await
    }

    pub(super) async fn lead_page(&self, id: &str, notice: Notice<'_>) -> PageResult {
        let store = self.app.store.store();
        let situation = self.app.situation(self.now);
        let life = operate::show(store, &situation, id).await?;
        let trace = operate::trace(store, &situation, &life.entry.id.to_string()).await?;
        let is_masked = self.app.masks() && !self.app.console.sessions.is_revealed(self.logged_in.key, life.entry.id);
        let (life, trace) = if is_masked { masked(life, trace).await? } else { (life, trace) };
        let status = match notice {
            Notice::Wrong(..) => StatusCode::UNPROCESSABLE_ENTITY,
            Notice::None | Notice::Done(_) => StatusCode::OK,
        };
        // While it waits for its turn, what becomes of it is soon known.
        let refresh = if life.entry.state == State::Queued && status == StatusCode::OK { REFRESH } else { 0 };
        let page = LeadPage { life, trace, notice, is_masked, request: self };
        let title = page.title();
        let shell = Shell { refresh, ..self.shell(&title, Section::Leads) };
        Ok(shell.page(status, &page.main()))
    }

    /// Shows a lead unmasked from now on, in this session; the audit says so.
    pub(super) async fn reveal(&self, id: &str) -> PageResult {
        let app = self.app;
        let life = operate::show(app.store.store(), &app.situation(self.now), id).await?;
        let id = life.entry.id;
        app.hides(true, &Choice::Ids(vec![id.to_string()]), Actor::Console, self.now).await?;
        app.console.sessions.reveal(self.logged_in.key, id);
        Ok(redirect(&format!("/console/leads/{id}")))
    }

    /// Sends the stored request, or the lead it must become, as a file for a folder of fixtures.
    pub(super) async fn capture(&self, id: &str, fields: &Fields) -> PageResult {
        let app = self.app;
        let config = app.config.load_full();
        let captured = operate::capture(app.store.store(), &config, &app.audit, id, Actor::Console, self.now).await?;
        let (bytes, media_type, extension) = match fields.one("file") {
            Some("lead") => (captured.expectation(), "application/json", "json"),
            _ => (captured.request().unwrap_or_default(), "application/octet-stream", "http"),
        };
        let name = format!("attachment; filename=\"{}.{extension}\"", captured.case);
        let reply = with_security_headers(ApiReply::whole(StatusCode::OK, media_type, bytes));
        match HeaderValue::try_from(name) {
            Ok(name) => Ok(reply.with_value(header::CONTENT_DISPOSITION, name)),
            Err(_never) => Err(ApiError::NoSuchPath),
        }
    }
}

/// Hides addresses and numbers. Requests must not wait for a large body.
async fn masked(life: Life, trace: Trace) -> Result<(Life, Trace), ApiError> {
    let masked = telemetry::blocking(move || (life.masked(), trace.masked())).await;
    Ok(masked.map_err(|panicked| StoreError::Corrupt(panicked.into()))?)
}

/// Returns what is found for a field of what is no lead.
fn found(life: &Life, field: LeadField) -> &str {
    life.found.get(&field).map_or("", String::as_str)
}

impl LeadPage<'_> {
    fn title(&self) -> String {
        match self.life.entry.lead.as_ref().map_or_else(|| found(&self.life, LeadField::Name), |lead| lead.name()) {
            "" => words::NO_LEAD.to_owned(),
            name => name.to_owned(),
        }
    }

    fn main(&self) -> Markup {
        html! {
            div #head data-live { (self.head()) }
            @match &self.notice {
                Notice::None => {},
                Notice::Done(done) => p.notice.good role="status" { (done) },
                Notice::Wrong(wrong, _) => p.notice.bad role="alert" { (wrong) },
            }
            div.columns {
                div {
                    (self.lead())
                    (self.evidence())
                    (received::section(self))
                }
                div {
                    div #timeline data-live { (timeline::section(&self.trace, &self.life)) }
                    (self.facts())
                    @if !self.is_masked { (self.fixture()) }
                }
            }
        }
    }

    fn head(&self) -> Markup {
        let entry = &self.life.entry;
        html! {
            p.crumbs { a href="/console/leads" { (words::LEADS) } " / " code { (entry.id) } }
            div.headline {
                h1 { bdi { (self.title()) } " " (state(entry.state)) }
                p {
                    @if entry.state != State::Delivered { (entry.cause) "; " }
                    (words::RECEIVED) " " (moment(entry.accepted_at, self.request.now)) " " (words::FROM) " "
                    a href=(format!("/console/sites/{}", entry.site)) { (entry.site) } " / " (entry.form)
                }
            }
            @if self.is_masked {
                form.notice method="post" action=(format!("/console/leads/{}/reveal", entry.id)) {
                    (csrf_field(&self.request.logged_in.csrf))
                    p { (words::MASKED_HINT) }
                    button type="submit" { (words::SHOW_MASKED) }
                }
            }
            (self.actions())
        }
    }

    /// What can be done with it as it stands. Each leads to a preview first.
    fn actions(&self) -> Markup {
        let entry = &self.life.entry;
        let is_release = matches!(
            entry.reason,
            Reason::HoldRule
                | Reason::UnknownForm
                | Reason::Uncertain
                | Reason::Test
                | Reason::Spam
                | Reason::OtherHost
        );
        let verbs = match entry.state {
            State::Held if is_release => &[Verb::Release, Verb::Retry, Verb::Drop][..],
            State::Held => &[Verb::Retry, Verb::Drop],
            State::Dead => &[Verb::Retry],
            State::Queued => &[Verb::Drop],
            State::Delivered => &[],
        };
        html! {
            @if !verbs.is_empty() {
                form.buttons method="post" action="/console/leads/preview" {
                    (csrf_field(&self.request.logged_in.csrf))
                    input type="hidden" name="id" value=(entry.id);
                    input type="hidden" name="back" value=(format!("/console/leads/{}", entry.id));
                    @for verb in verbs { button type="submit" name="verb" value=(verb.as_str()) { (verb.label()) } }
                }
            }
        }
    }

    fn lead(&self) -> Markup {
        let is_open = !self.is_masked
            && matches!(self.life.entry.state, State::Held | State::Dead)
            && self.life.entry.reason != Reason::Ambiguous;
        html! {
            section {
                h2 { (words::LEAD_MADE) }
                @if !self.life.errors.is_empty() {
                    ul.errors {
                        @for error in &self.life.errors {
                            li {
                                @if let Some(field) = error.field { strong { (words::lead_field(field)) } ": " }
                                (error.detail)
                            }
                        }
                    }
                }
                @if is_open { (self.correction()) } @else { (self.values()) }
            }
        }
    }

    /// Returns what stands in a field of the form: what was typed, else what was found.
    fn value(&self, field: LeadField) -> &str {
        match &self.notice {
            Notice::Wrong(_, typed) => typed.raw(field.as_str()).unwrap_or_else(|| self.shown(field)),
            Notice::None | Notice::Done(_) => self.shown(field),
        }
    }

    fn shown(&self, field: LeadField) -> &str {
        let lead = self.life.entry.lead.as_ref();
        lead.map_or_else(|| found(&self.life, field), |lead| lead.field(field))
    }

    /// Returns the digest of what was shown first, however often the form comes back.
    fn digest(&self, field: LeadField) -> String {
        let kept = match &self.notice {
            Notice::Wrong(_, typed) => typed.one(&shown_name(field)).map(str::to_owned),
            Notice::None | Notice::Done(_) => None,
        };
        kept.unwrap_or_else(|| match field {
            LeadField::Message => digest(self.shown(field)),
            LeadField::Name | LeadField::Email | LeadField::Phone => digest(&one_line(self.shown(field))),
        })
    }

    fn values(&self) -> Markup {
        html! {
            dl.facts.lead {
                @for field in LeadField::ALL {
                    dt { (words::lead_field(field)) }
                    dd.value { bdi { (self.shown(field)) } (self.rule(field)) }
                }
            }
        }
    }

    fn correction(&self) -> Markup {
        let id = self.life.entry.id;
        html! {
            form.correction method="post" action=(format!("/console/leads/{id}/amend")) {
                (csrf_field(&self.request.logged_in.csrf))
                @for field in LeadField::ALL { input type="hidden" name=(shown_name(field)) value=(self.digest(field)); }
                @for field in [LeadField::Name, LeadField::Email, LeadField::Phone] {
                    label {
                        span { (words::lead_field(field)) }
                        input type="text" name=(field.as_str()) value=(one_line(self.value(field))) dir="auto" autocomplete="off";
                        (self.rule(field))
                    }
                }
                label {
                    span { (words::MESSAGE) }
                    textarea name="message" rows="8" dir="auto" { "\n" (self.value(LeadField::Message)) }
                    (self.rule(LeadField::Message))
                }
                div.buttons { button.primary type="submit" { (words::CORRECT_AND_SEND) } }
                p.hint { (words::CORRECTION_HINT) }
            }
        }
    }

    /// Says by which rule a field is found, and what an operator corrected.
    fn rule(&self, field: LeadField) -> Markup {
        let corrected = self.life.amended.iter().find(|correction| correction.field == field);
        html! {
            @if let Some(correction) = corrected {
                span.hint { (words::CORRECTED_BY) " " (correction.by) ", " (exactly(correction.at)) }
            } @else if let Some(rule) = self.life.rules.get(&field) {
                span.hint { (words::BY_RULE) " " (rule) }
            }
        }
    }

    fn evidence(&self) -> Markup {
        html! {
            @if !self.life.evidence.is_empty() {
                details.panel {
                    summary { (words::EVIDENCE) }
                    p.hint { (words::EVIDENCE_HINT) }
                    @for (field, evidence) in &self.life.evidence { (candidates(*field, evidence)) }
                }
            }
        }
    }

    fn facts(&self) -> Markup {
        let entry = &self.life.entry;
        let today = &self.life.today;
        let mapping = today.mapping.as_deref().map(|mapping| html! { (mapping) });
        let oddities = (!self.life.oddities.is_empty()).then(|| html! { (self.life.oddities.join(", ")) });
        let dropped = (!self.life.dropped.is_empty()).then(|| html! { (self.life.dropped.join(", ")) });
        let changed = (!today.same).then(|| html! { (words::WOULD_DIFFER) });
        let seen = (entry.seen > 1).then(|| html! { (entry.seen) " " (words::TIMES) });
        html! {
            section {
                h2 { (words::FACTS) }
                dl.facts {
                    (fact(words::LEAD_ID, Some(&html! { code { (entry.id) } })))
                    (fact(words::KAICALLS_ID, entry.lead_id.as_ref().map(|id| html! { code { (id) } }).as_ref()))
                    (fact(words::MAPPING, mapping.as_ref()))
                    (fact(words::TODAY, changed.as_ref()))
                    (fact(words::POSTED, seen.as_ref()))
                    (fact(words::ODDITIES, oddities.as_ref()))
                    (fact(words::LEFT_OUT, dropped.as_ref()))
                    (fact(words::EXPIRES, entry.expires_at.map(exactly).as_ref()))
                }
            }
        }
    }

    fn fixture(&self) -> Markup {
        let action = format!("/console/leads/{}/capture", self.life.entry.id);
        html! {
            section {
                h2 { (words::FIXTURE) }
                p.hint { (words::FIXTURE_HINT) }
                form.buttons method="post" action=(action) {
                    (csrf_field(&self.request.logged_in.csrf))
                    button type="submit" name="file" value="request" { (words::FIXTURE_REQUEST) }
                    button type="submit" name="file" value="lead" { (words::FIXTURE_LEAD) }
                }
            }
        }
    }
}

/// Writes a text in one line, as it stands in an input: a browser would take the ends of lines away and join words.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\r', '\n']) { text.replace("\r\n", " ").replace(['\r', '\n'], " ").into() } else { text.into() }
}

/// What could be a lead field, the heaviest first, with what spoke for each and against it.
fn candidates(field: LeadField, FieldEvidence { confidence, candidates }: &FieldEvidence) -> Markup {
    html! {
        h3 {
            (words::lead_field(field))
            @if let Some(sure) = confidence { " " span.hint { (words::CONFIDENCE) " " (format!("{sure:.2}")) } }
        }
        table.list {
            thead { tr { th.number { (words::SCORE) } th { (words::VALUE) } th { (words::WHY) } } }
            tbody {
                @for candidate in candidates {
                    tr {
                        td.number { (candidate.score) }
                        td.wide { bdi { (candidate.value) } span.hint { code { (candidate.keys.join(" + ")) } } }
                        td.wide {
                            @for (reason, weight) in &candidate.evidence {
                                span.weight { (reason.replace('_', " ")) " " (format!("{weight:+}")) } " "
                            }
                        }
                    }
                }
            }
        }
    }
}
