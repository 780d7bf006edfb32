//! A submission whose sender may post: its body is read, what is kept of it goes through the pipeline and into the
//! store, and only then is it answered.

mod body;
mod entry;
mod hook;
mod keeping;
mod offload;
mod page;
mod receive;

use std::sync::Arc;

use jiff::Timestamp;
use pingora::protocols::http::ServerSession;
use tokio::time::Instant;

pub(super) use self::body::{BadBody, BytesInMemory};
use self::body::{Body, BodyLimits};
use self::entry::{Filed, FilingRules};
pub use self::keeping::BodyKeeping;
pub(super) use self::keeping::NoBody;
use self::keeping::{BodyReader, StoredBody};
pub(super) use self::offload::Offload;
use self::offload::Undone;
use super::gateway::{Gateway, Request};
use super::outcome::{Outcome, Refusal, Stored, StoredStatus, Trail};
use super::route;
use super::wire::RequestHead;
use crate::config::{Config, OverLimit, Site};
use crate::lead::overlay::Overlay;
use crate::lead::{EntryId, FormId};
use crate::pipeline::{self, Keeper, Processed};
use crate::queue::Appended;
use crate::received::Received;
use crate::telemetry::Panicked;

/// Bodies of senders that have shown no credential yet are read as long as all together hold this part of `max_reading`.
const STRANGERS_SHARE: u64 = 4;

/// Where a submission belongs, once that is proved.
pub(super) struct Address<'a> {
    pub(super) site: &'a Arc<Site>,
    pub(super) form: Option<&'a FormId>,
    /// It may belong to another site with the same key pair.
    pub(super) is_ambiguous: bool,
}

impl Gateway {
    /// Takes a submission whose sender has shown that it may post.
    pub(super) async fn submission(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        address: Address<'_>,
        trail: &mut Trail,
    ) -> Result<Outcome, Refusal> {
        let Request { head, query, config, .. } = request;
        let over_limit = self.limit(config, address.site)?;
        let server = &config.server;
        let room = receive::room(query, server.max_body)?;
        let taking = BodyReader::new(receive::keeper(head, room, server.max_upload), room, self.keeping);
        let Body { taken, share } = self.body(session, request, taking, server.max_upload, server.max_reading).await?;
        let filed = self.file(request, address, taken, over_limit, trail).await;
        drop(share);
        filed
    }

    /// Runs what is kept through the pipeline and into the store.
    async fn file(
        &self,
        request: &Request<'_>,
        address: Address<'_>,
        taken: StoredBody,
        over_limit: bool,
        trail: &mut Trail,
    ) -> Result<Outcome, Refusal> {
        let filed = self.filed(request, address, taken, over_limit, trail).await?;
        self.store(filed).await.map(Outcome::Stored)
    }

    /// Runs what is kept through the pipeline: what comes out is to be stored.
    async fn filed(
        &self,
        Request { head, query, config, .. }: &Request<'_>,
        Address { site, form, is_ambiguous }: Address<'_>,
        StoredBody { kept, panicked }: StoredBody,
        over_limit: bool,
        trail: &mut Trail,
    ) -> Result<Filed, Refusal> {
        route::check_carried(head, query.kept.is_some(), kept.body.is_empty())?;
        let received = Arc::new(receive::receive(head, query, &kept));
        let now = Timestamp::now();
        let id = entry::new_id(now);
        let processed = match panicked {
            Some(panicked) => Ok(held_as_it_came(site, form, id, panicked)),
            None => self.process(config, site, form, &received, id).await,
        }?;
        trail.form = Some(processed.form.clone());
        trail.mapping.clone_from(&processed.mapping);
        let rules = FilingRules {
            site,
            dedupe: !config.queue.dedupe.is_zero(),
            over_limit,
            is_ambiguous,
            keep_held: config.queue.keep.held,
            own_host: head.host(),
        };
        // Nobody else holds it by now: nothing is copied.
        let received = Arc::unwrap_or_clone(received);
        trail.appending = Some(id);
        Ok(entry::file(&rules, processed, received, id, now))
    }

    /// Runs the pipeline. Where it panics, the submission is kept as it came, for a person to look at.
    async fn process(
        &self,
        config: &Arc<Config>,
        site: &Arc<Site>,
        form: Option<&FormId>,
        received: &Arc<Received>,
        id: EntryId,
    ) -> Result<Processed, Refusal> {
        let pipeline = self.pipeline;
        let config = Arc::clone(config);
        let rules_of = Arc::clone(site);
        let named = form.cloned();
        let subject = Arc::clone(received);
        let work = move || pipeline(&config.mappings, &rules_of.rules, named.as_ref(), &subject);
        match self.offload.run(received.body.len(), work).await {
            Ok(processed) => Ok(processed),
            Err(Undone::Busy) => Err(BadBody::Busy.into()),
            Err(Undone::Panicked(panicked)) => Ok(held_as_it_came(site, form, id, panicked)),
        }
    }

    /// Counts a submission; true where it is to be held for being over the site's limit.
    fn limit(&self, config: &Config, site: &Site) -> Result<bool, Refusal> {
        self.limiters.gateway(&config.limits)?;
        match config.limits.over_site {
            // The sender keeps to the rate.
            OverLimit::Slow => Ok(false),
            OverLimit::Hold => Ok(self.limiters.site(&config.limits, &site.id).is_err()),
            OverLimit::Reject => Ok(self.limiters.site(&config.limits, &site.id).map(|()| false)?),
        }
    }

    /// Reads a body of at most `max` bytes, while all that are being read hold at most `max_together`.
    async fn body(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        taking: BodyReader,
        max: u64,
        max_together: u64,
    ) -> Result<Body, Refusal> {
        let limits = BodyLimits {
            max,
            max_together,
            time: self.options.body,
            bytes_per_second: self.options.body_bytes_per_second,
        };
        let RequestHead { framing, expects_continue, .. } = *request.head;
        let read = body::read(session, framing, expects_continue, taking, limits, &self.reading, &self.offload).await;
        self.metrics.reading(self.reading.bytes());
        Ok(read?)
    }

    /// Reads a body byte for byte before it is known who sends it: those who may post keep most of the room.
    pub(super) async fn strangers_body(
        &self,
        session: &mut ServerSession,
        request: &Request<'_>,
        max: u64,
    ) -> Result<Body, Refusal> {
        let max_together = (request.config.server.max_reading / STRANGERS_SHARE).max(max);
        let room = usize::try_from(max).unwrap_or(usize::MAX);
        let taking = BodyReader::new(Keeper::as_it_comes(room), room, self.keeping);
        self.body(session, request, taking, max, max_together).await
    }

    async fn store(&self, filed: Filed) -> Result<Stored, Refusal> {
        let Filed { entry, dedupe, rejected, told } = filed;
        let status = StoredStatus::of(entry.state);
        let reason = entry.reason;
        let started = Instant::now();
        let appended = tokio::time::timeout(self.options.append, self.store.append(entry, dedupe)).await;
        self.metrics.appended(started.elapsed());
        match appended {
            Ok(Ok(Appended::New(id))) => Ok(Stored { id, status, reason, told, rejected }),
            Ok(Ok(Appended::Duplicate(id))) => {
                let status = StoredStatus::Duplicate;
                Ok(Stored { id, status, reason, told: status, rejected })
            }
            Ok(Err(error)) => Err(Refusal::Store(error)),
            Err(_elapsed) => Err(Refusal::StoreSlow),
        }
    }
}

/// Keeps a submission that panicked on its way as it came, for a person to look at.
fn held_as_it_came(site: &Site, form: Option<&FormId>, id: EntryId, panicked: Panicked) -> Processed {
    let location = panicked.location;
    tracing::error!(
        %id,
        site = %site.id,
        location,
        "pipeline.panicked: the submission is held unchanged; please report the location"
    );
    pipeline::panicked(&site.rules, form, &Overlay::default()).processed
}
