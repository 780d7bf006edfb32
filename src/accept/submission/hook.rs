//! A submission to `/hooks/{site}[/{form}]`: by a token, which stands in the head, by a signature, which is over what is
//! sent, or from a page that may post the form.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use pingora::protocols::http::ServerSession;

use super::Address;
use super::body::BadBody;
use super::keeping::keep_whole;
use super::offload::Undone;
use super::receive;
use crate::accept::browser::{Audience, is_other_page};
use crate::accept::gateway::{Gateway, Request};
use crate::accept::guard::{self, Credentials, RefusedCredential, Signature};
use crate::accept::outcome::{Outcome, Refusal, Trail};
use crate::config::Site;
use crate::lead::{FormId, SiteId};

impl Gateway {
    pub(in crate::accept) async fn hook(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        site: &SiteId,
        form: Option<&FormId>,
        trail: &mut Trail,
    ) -> Result<Outcome, Refusal> {
        trail.site = request.config.sites.contains_key(site).then(|| site.clone());
        trail.form = form.cloned();
        let credentials = Credentials::collect(&request.head.headers, &request.query);
        let today = today();
        if let Some(site) = guard::site(request.config, site, &credentials, today) {
            trail.is_stranger = false;
            trail.token = credentials.token_of(site, today);
            let address = Address { site, form, is_ambiguous: false };
            return self.submission(session, request, address, trail).await;
        }
        if let Some(signature) = Signature::of(&request.head.headers, Timestamp::now()) {
            return self.signed(session, request, (site, form), signature, trail).await;
        }
        // A credential that doesn't fit is a mistake that somebody has to see, whatever page it comes from.
        let page = Self::page(request, site, form).filter(|_| credentials.is_empty());
        match page {
            Some(page) => self.posted_by_page(session, request, page, trail).await,
            None => {
                // Whoever reloads the page that said thanks, and so asks for it again, sent nothing.
                if request.head.method == http::Method::GET && credentials.is_empty() {
                    trail.audience = Audience::passing_by(request);
                }
                let tokens =
                    RefusedCredential::of_tokens(request.config, &self.token_owners, site, &credentials, today);
                let is_signed = Signature::is_shown(&request.head.headers);
                let is_from_page = is_other_page(&request.head.headers, request.config, site, form);
                trail.credential = Some(tokens.or_signature(is_signed).or_origin(is_from_page));
                Err(guard::unauthorized(request.config))
            }
        }
    }

    /// Takes a submission that is signed: whether its sender may post is known only when it has been read, which is
    /// done, and takes as long, for a site that doesn't exist too.
    async fn signed(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        (site, form): (&SiteId, Option<&FormId>),
        signature: Signature,
        trail: &mut Trail,
    ) -> Result<Outcome, Refusal> {
        let Request { head, query, config, client } = request;
        client.map_or(Ok(()), |address| self.limiters.barred(&config.limits, address))?;
        let body = self.strangers_body(session, request, config.server.max_body).await?;
        let credential = RefusedCredential::of_signature(config, site);
        let site = config.sites.get(site);
        let whole = body.taken.kept.body.clone();
        let fits = self.is_signed(site, signature, &whole, query.kept.as_deref()).await?;
        let Some(site) = site.filter(|_| fits) else {
            trail.credential = Some(credential);
            return Err(guard::unauthorized(config));
        };
        trail.is_stranger = false;
        let over_limit = self.limit(config, site)?;
        let room = receive::room(query, config.server.max_body)?;
        let keeper = receive::keeper(head, room, config.server.max_upload);
        let taken = keep_whole(whole, keeper, room, self.keeping, &self.offload).await?;
        let address = Address { site, form, is_ambiguous: false };
        self.file(request, address, taken, over_limit, trail).await
    }

    /// Tells whether a secret of the site has signed what came; no site has none.
    async fn is_signed(
        &self,
        site: Option<&Arc<Site>>,
        signature: Signature,
        body: &Bytes,
        query: Option<&str>,
    ) -> Result<bool, Refusal> {
        let site = site.cloned();
        let body = body.clone();
        let query = query.map(str::to_owned);
        let bytes = body.len();
        let check = move || {
            let secrets = site.as_ref().map_or(&[][..], |site| site.wpforms_secrets.as_slice());
            signature.fits(secrets, &body, query.as_deref())
        };
        match self.offload.run(bytes, check).await {
            Ok(fits) => Ok(fits),
            Err(Undone::Busy) => Err(BadBody::Busy.into()),
            Err(Undone::Panicked(panicked)) => panicked.resume(),
        }
    }
}

/// A token's last day is one of UTC.
fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}
