//! KaiCalls' own endpoints, so that the official plugin, or any client of that API, can point here.
//!
//! They are answered from the configuration and the store: KaiCalls need not be up.

use std::time::Duration;

use jiff::Timestamp;
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use serde_json::json;

use super::guard::{self, Keys};
use super::outcome::{Outcome, Refusal, WrongKeys};
use super::{Address, Gateway, Request, Trail};
use crate::config::Site;
use crate::lead::{EntryId, FormId};
use crate::queue::{Entry, Filter};

/// Most bytes of the body of `verify`: two keys.
const VERIFY_MAX: u64 = 16 * 1024;
/// The form of what comes by `intake`, where the keys are no form's own.
const FORM: &str = "kaicalls";
/// How far the widget looks back.
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Entries fetched at once for the widget; each may be as large as `max_body`.
const WIDGET_PAGE: usize = 20;
/// Most pages read for the widget: more leads than that in a week are counted as that many.
const WIDGET_PAGES_MAX: usize = 50;
/// Leads that the widget lists.
const WIDGET_RECENT: usize = 5;

/// What `verify` is sent. No `Debug`: it holds a secret.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VerifyRequest {
    public_key: String,
    api_key: String,
}

/// What the widget shows.
#[derive(Default)]
struct Week {
    leads: usize,
    recent: Vec<serde_json::Value>,
}

impl Gateway {
    /// `POST intake`: a submission whose site is known by its keys.
    pub(super) async fn intake(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        trail: &mut Trail,
    ) -> Result<Outcome, Refusal> {
        let (site, form) = self.by_bearer(request, trail)?;
        let own = FormId::parse(FORM).expect("a constant that is a slug");
        let address = Address { site, form: Some(form.unwrap_or(&own)) };
        self.submission(session, request, address, trail).await
    }

    /// `POST auth/verify`: whether a key pair is one of the configuration's.
    pub(super) async fn verify(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        trail: &mut Trail,
    ) -> Result<Outcome, Refusal> {
        let body = self.strangers_body(session, request, VERIFY_MAX).await?;
        let shown: VerifyRequest = serde_json::from_slice(&body.kept.body).unwrap_or_default();
        if shown.public_key.is_empty() || shown.api_key.is_empty() {
            return Err(Refusal::Keys(WrongKeys::Missing));
        }
        match guard::keys(request.config, &shown.public_key, &shown.api_key) {
            Keys::Fit(site, _) => {
                trail.site = Some(site.id.clone());
                Ok(Outcome::Answered(json!({ "success": true, "business_id": site.id })))
            }
            Keys::UnknownPublic => Err(self.stranger(request, Refusal::Keys(WrongKeys::Public))),
            Keys::WrongSecret => Err(self.stranger(request, Refusal::Keys(WrongKeys::Secret))),
        }
    }

    /// `GET dashboard-widget`: the site's leads of the last week.
    pub(super) async fn widget(&self, request: &Request<'_>, trail: &mut Trail) -> Result<Outcome, Refusal> {
        let (site, _) = self.by_bearer(request, trail)?;
        self.limiters.gateway(&request.config.limits)?;
        let since = Timestamp::now().checked_sub(WEEK).unwrap_or(Timestamp::MIN);
        let filter = Filter { site: Some(site.id.clone()), since: Some(since), ..Filter::default() };
        let week = tokio::time::timeout(self.options.append, self.week(&filter)).await;
        let week = week.map_err(|_elapsed| Refusal::StoreSlow)??;
        Ok(Outcome::Answered(json!({
            "success": true,
            "recentLeads": week.recent.into_iter().rev().collect::<Vec<_>>(),
            "leadsThisWeek": week.leads,
        })))
    }

    async fn week(&self, filter: &Filter) -> Result<Week, Refusal> {
        let (mut week, mut cursor): (Week, Option<EntryId>) = Default::default();
        for _ in 0..WIDGET_PAGES_MAX {
            let page = self.store.scan(filter, cursor, WIDGET_PAGE).await.map_err(Refusal::Store)?;
            page.entries.iter().for_each(|entry| week.add(entry));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(week)
    }

    fn by_bearer<'a>(
        &self,
        request: &Request<'a>,
        trail: &mut Trail,
    ) -> Result<(&'a Site, Option<&'a FormId>), Refusal> {
        let shown = guard::bearer_keys(&request.head.headers);
        match shown.map(|(public, secret)| guard::keys(request.config, &public, &secret)) {
            Some(Keys::Fit(site, form)) => {
                trail.site = Some(site.id.clone());
                Ok((site, form))
            }
            _ => Err(self.stranger(request, Refusal::Unauthorized)),
        }
    }
}

impl Week {
    /// Counts what is a lead; what is held for want of one is none.
    fn add(&mut self, entry: &Entry) {
        let Some(lead) = &entry.content.lead else { return };
        self.leads += 1;
        if self.recent.len() == WIDGET_RECENT {
            self.recent.remove(0);
        }
        self.recent.push(json!({ "name": lead.name(), "created_at": entry.accepted_at.to_string() }));
    }
}
