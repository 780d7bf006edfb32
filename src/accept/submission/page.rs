//! A submission from a page's own form: no credential, so less of everything.

use jiff::Timestamp;
use pingora::protocols::http::ServerSession;
use tokio::time::timeout;

use super::body::{BadBody, Body};
use super::keeping::BodyReader;
use super::{Address, STRANGERS_SHARE, receive};
use crate::accept::browser::{Audience, PageRequest, bytes_of, page_request};
use crate::accept::gateway::{Gateway, Request};
use crate::accept::outcome::{Outcome, PageRefusal, Refusal, Stored, StoredStatus, Trail};
use crate::config::Server;
use crate::lead::{FormId, SiteId};
use crate::pipeline::KeptBody;
use crate::received::PartContent;

/// Most bytes of a form that a page posts.
const FORM_MAX: u64 = 64 * 1024;

impl Gateway {
    /// Tells which page a request comes from, where pages may post what it is for. It names its form in the path: what a
    /// body says must not choose whose rules it gets.
    pub(super) fn page<'a>(request: &Request<'a>, site: &SiteId, form: Option<&'a FormId>) -> Option<PageRequest<'a>> {
        let head = request.head;
        page_request(&head.headers, request.config, site, form?).filter(|_| head.method == http::Method::POST)
    }

    /// Takes a submission from a page.
    ///
    /// An address uses up its own allowance first, then the form's, then what pages have of the site's and the gateway's.
    /// What plugins have of these is never spent.
    pub(super) async fn posted_by_page(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        page: PageRequest<'_>,
        trail: &mut Trail,
    ) -> Result<Outcome, Refusal> {
        let Request { config, client, .. } = request;
        trail.audience = Some(Audience::of(request, &page));
        trail.is_counted = true;
        client.map_or(Ok(()), |address| self.limiters.client(&config.limits, address))?;
        let key = (page.site.id.clone(), page.form.clone());
        self.limiters.page_form(&config.limits, &key)?;
        self.limiters.pages_of_site(&config.limits, &page.site.id)?;
        self.limiters.pages(&config.limits)?;
        let has_room = self.share.has_room(&*self.store, &key, &config.queue, Timestamp::now());
        // A store that is too slow for this will be for the entry.
        if timeout(self.options.append, has_room).await == Ok(false) {
            return Err(Refusal::Page(PageRefusal::Full));
        }
        let Body { taken, share } = self.form_body(session, request, &config.server).await.map_err(too_large)?;
        if has_files(&taken.kept) {
            return Err(Refusal::Page(PageRefusal::Files));
        }
        let address = Address { site: page.site, form: Some(page.form), is_ambiguous: false };
        let mut filed = self.filed(request, address, taken, false, trail).await?;
        let bytes = bytes_of(&filed.entry);
        let now = filed.entry.accepted_at;
        filed.entry.reading.page_bytes = bytes;
        let stored = self.store(filed).await;
        drop(share);
        // One that took too long is stored after all.
        let is_new = match &stored {
            Ok(Stored { status, .. }) => *status != StoredStatus::Duplicate,
            Err(refusal) => matches!(refusal, Refusal::StoreSlow),
        };
        if is_new {
            let added = self.share.add(&*self.store, &key, bytes, now);
            // It is stored: nothing of this may keep the answer back.
            drop(timeout(self.options.append, added).await);
        }
        stored.map(Outcome::Stored)
    }

    async fn form_body(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        server: &Server,
    ) -> Result<Body, Refusal> {
        let max = FORM_MAX.min(server.max_upload);
        let max_together = (server.max_reading / STRANGERS_SHARE).max(max);
        let room = receive::room(&request.query, max.min(server.max_body))?;
        let taking = BodyReader::new(receive::keeper(request.head, room, max), room, self.keeping);
        self.body(session, request, taking, max, max_together).await
    }
}

/// Such a form has a limit of its own, and an answer that names it.
fn too_large(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Body(BadBody::TooLarge | BadBody::TooMuchToKeep) => Refusal::Page(PageRefusal::TooLarge),
        other => other,
    }
}

/// Tells whether somebody chose a file. A field for files where nobody did still sends a part, with an empty name.
fn has_files(kept: &KeptBody) -> bool {
    let is_file = |content: &PartContent| matches!(content, PartContent::File { name, size, .. } if !name.is_empty() || *size > 0);
    kept.cut || kept.parts.iter().flat_map(|parts| parts.iter()).any(|part| is_file(&part.content))
}
