//! KaiCalls' own endpoints, so that the official plugin, or any client of that API, can point here.
//!
//! They are answered from the configuration and the store: KaiCalls need not be up.

mod week;

use jiff::Timestamp;
use pingora::protocols::http::ServerSession;
use serde::{Deserialize, Serialize};

use self::week::{Week, WidgetLead};
use super::gateway::{Gateway, Request};
use super::guard::key_pairs::{self, KeyPairCheck};
use super::guard::{CredentialFault, Holder, SiteOwner, owner};
use super::outcome::{Outcome, Refusal, Trail, WrongKeys};
use super::submission::Address;
use crate::lead::{FormId, SiteId};

/// Most bytes of the body of `verify`: two keys.
const VERIFY_MAX: u64 = 16 * 1024;
/// The form of what comes by `intake`, where the keys are no form's own.
const FORM: &str = "kaicalls";

/// The answers of these endpoints when the keys are right. No `Debug`: it holds names.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum EndpointAnswer {
    Verified {
        success: bool,
        business_id: Option<SiteId>,
    },
    #[serde(rename_all = "camelCase")]
    Widget {
        success: bool,
        recent_leads: Vec<WidgetLead>,
        leads_this_week: usize,
    },
}

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
        let SiteOwner { holder, is_ambiguous } = Self::by_bearer(request, trail)?;
        let own = FormId::parse(FORM).expect("a constant that is a slug");
        let address = Address { site: holder.site, form: Some(holder.form.unwrap_or(&own)), is_ambiguous };
        self.submission(session, request, address, trail).await
    }

    /// `POST auth/verify`: whether a key pair is one of the configuration's, and KaiCalls takes it as far as is known.
    pub(super) async fn verify(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        trail: &mut Trail,
    ) -> Result<Outcome, Refusal> {
        let body = self.strangers_body(session, request, VERIFY_MAX).await?;
        let shown: VerifyRequest = serde_json::from_slice(&body.taken.kept.body).unwrap_or_default();
        if shown.public_key.is_empty() || shown.api_key.is_empty() {
            return Err(Refusal::Keys(WrongKeys::Missing));
        }
        match key_pairs::find(request.config, &shown.public_key, &shown.api_key) {
            KeyPairCheck::Fit(holders) => {
                let refused = |holder: &Holder<'_>| (self.refused_keys)(&holder.site.id, holder.keys);
                let owner = owner(&holders, request.head);
                trail.is_stranger = false;
                trail.site = owner.as_ref().map(|owner| owner.holder.site.id.clone());
                // One pair is one account, whichever of its sites was refused.
                if holders.iter().any(refused) {
                    return Err(Refusal::Keys(WrongKeys::Refused));
                }
                Ok(Outcome::Answered(EndpointAnswer::Verified { success: true, business_id: trail.site.clone() }))
            }
            wrong => {
                trail.note_wrong_keys(&wrong);
                Err(match wrong {
                    _ if request.config.missing.keys => Refusal::CredentialsUnknown,
                    KeyPairCheck::WrongSecret(_) => Refusal::Keys(WrongKeys::Secret),
                    KeyPairCheck::UnknownPublic | KeyPairCheck::Fit(_) => Refusal::Keys(WrongKeys::Public),
                })
            }
        }
    }

    /// `GET dashboard-widget`: the site's newest leads, and how many there were in a week, as far as [`Week`] counts.
    ///
    /// Where nobody knows which of several sites asks, it is shown no other's visitors.
    pub(super) async fn widget(&self, request: &Request<'_>, trail: &mut Trail) -> Result<Outcome, Refusal> {
        let SiteOwner { holder, is_ambiguous } = Self::by_bearer(request, trail)?;
        self.limiters.gateway(&request.config.limits)?;
        let week = match is_ambiguous {
            true => Week::default(),
            false => {
                let week = Week::read(&*self.store, &holder.site.id, Timestamp::now());
                let week = tokio::time::timeout(self.options.append, week).await;
                week.map_err(|_elapsed| Refusal::StoreSlow)?.map_err(Refusal::Store)?
            }
        };
        let Week { leads, recent } = week;
        Ok(Outcome::Answered(EndpointAnswer::Widget { success: true, recent_leads: recent, leads_this_week: leads }))
    }

    fn by_bearer<'a>(request: &Request<'a>, trail: &mut Trail) -> Result<SiteOwner<'a>, Refusal> {
        let shown = key_pairs::shown(&request.head.headers);
        let owner = match shown.map(|(public, secret)| key_pairs::find(request.config, &public, &secret)) {
            Some(KeyPairCheck::Fit(holders)) => owner(&holders, request.head),
            Some(wrong) => {
                trail.note_wrong_keys(&wrong);
                None
            }
            None => {
                trail.credential = Some(CredentialFault::NoCredential.into());
                None
            }
        };
        let owner = owner.ok_or(match request.config.missing.keys {
            true => Refusal::CredentialsUnknown,
            false => Refusal::Unauthorized,
        })?;
        trail.is_stranger = false;
        trail.site = Some(owner.holder.site.id.clone());
        Ok(owner)
    }
}
