//! KaiCalls' own endpoints, so that the official plugin, or any client of that API, can point here.
//!
//! They are answered from the configuration and the store: KaiCalls need not be up.

use std::sync::Arc;

use jiff::Timestamp;
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use serde_json::json;

use super::guard::{self, Keys};
use super::outcome::{Outcome, Refusal, WrongKeys};
use super::week::Week;
use super::{Address, Gateway, Request, Trail};
use crate::config::Site;
use crate::lead::FormId;

/// Most bytes of the body of `verify`: two keys.
const VERIFY_MAX: u64 = 16 * 1024;
/// The form of what comes by `intake`, where the keys are no form's own.
const FORM: &str = "kaicalls";
/// What `verify` is sent. No `Debug`: it holds a secret.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VerifyRequest {
    public_key: String,
    api_key: String,
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

    /// `GET dashboard-widget`: the site's newest leads, and how many there were in a week, as far as [`Week`] counts.
    pub(super) async fn widget(&self, request: &Request<'_>, trail: &mut Trail) -> Result<Outcome, Refusal> {
        let (site, _) = self.by_bearer(request, trail)?;
        self.limiters.gateway(&request.config.limits)?;
        let week = Week::read(&*self.store, &site.id, Timestamp::now());
        let week = tokio::time::timeout(self.options.append, week).await.map_err(|_elapsed| Refusal::StoreSlow)?;
        let week = week.map_err(Refusal::Store)?;
        let recent = week.recent.into_iter().map(|(name, at)| json!({ "name": name, "created_at": at.to_string() }));
        Ok(Outcome::Answered(json!({
            "success": true,
            "recentLeads": recent.collect::<Vec<_>>(),
            "leadsThisWeek": week.leads,
        })))
    }

    fn by_bearer<'a>(
        &self,
        request: &Request<'a>,
        trail: &mut Trail,
    ) -> Result<(&'a Arc<Site>, Option<&'a FormId>), Refusal> {
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
