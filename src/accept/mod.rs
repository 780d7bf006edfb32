//! HTTP in: one request, one [`Outcome`], one metric, one log line, one reply.
//!
//! The order of a submission stands in [`Gateway::submission`]: head, route, credential, body, what is kept of it, the
//! pipeline, the store, and only then the answer. A 2xx is never sent for what is not durable.

mod address;
mod body;
mod bounded;
mod chunks;
mod connection;
mod entry;
mod floods;
mod guard;
mod head;
mod host;
mod keeping;
mod limits;
mod listeners;
mod offload;
mod ongoing;
mod options;
mod outcome;
mod places;
mod receive;
mod reply;
mod route;
mod serve;
mod shared_keys;
mod signature;
mod strangers;
mod streams;
mod tls;
mod week;
mod wire;
mod wordpress;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::time::Instant;

use self::body::{BadBody, Body, BodyLimits, Reading};
pub use self::bounded::{Bounded, Bounds};
use self::entry::{Filed, Rules};
use self::floods::Floods;
use self::guard::Credentials;
use self::head::Head;
pub use self::keeping::Keeping;
use self::keeping::{Taken, Taking, keep_whole};
use self::limits::Limiters;
pub use self::listeners::{HandOverError, Listeners};
use self::offload::{Offload, Undone};
use self::ongoing::Trail;
pub use self::options::Options;
use self::outcome::{Outcome, Refusal, Status, Stored};
use self::places::Places;
use self::route::Route;
pub use self::serve::{InFlight, TlsError, check_certificates, run, serve, service, services};
use self::signature::Signature;
use self::tls::Tls;
use crate::config::{Config, OverLimit, Site};
use crate::destination::KeyPair;
use crate::lead::overlay::Overlay;
use crate::lead::{EntryId, FormId, SiteId};
use crate::pipeline::{self, Mappings, Processed, SiteRules};
use crate::queue::{Appended, State, Store};
use crate::received::{Received, SplitQuery};
use crate::telemetry::{Metrics, Panicked};

/// Tells whether KaiCalls refuses a site's key pair at the moment.
pub type RefusedKeys = Arc<dyn Fn(&SiteId, &KeyPair) -> bool + Send + Sync>;

/// What makes a lead of what was received: [`pipeline::process`].
pub type Pipeline = fn(&Mappings, &SiteRules, Option<&FormId>, &Received) -> Processed;

/// The gateway's application, to be given to [`service`] or [`serve`]. Clones share all state.
#[derive(Clone)]
pub struct Gateway {
    config: Arc<ArcSwap<Config>>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    options: Options,
    reading: Reading,
    places: Places,
    limiters: Limiters,
    floods: Floods,
    in_flight: InFlight,
    refused_keys: RefusedKeys,
    offload: Offload,
    keeping: Keeping,
    pipeline: Pipeline,
    /// What its listener does first; the other clones may be behind others.
    tls: Option<Arc<Tls>>,
}

/// A request, and the configuration it is judged by from beginning to end.
struct Request<'a> {
    head: &'a Head,
    query: SplitQuery,
    config: &'a Arc<Config>,
    /// Who is counted for it where it shows no valid credential.
    client: Option<IpAddr>,
}

/// Where a submission belongs, once that is proved.
struct Address<'a> {
    site: &'a Arc<Site>,
    form: Option<&'a FormId>,
    /// It may belong to another site with the same key pair.
    is_ambiguous: bool,
}

impl Gateway {
    pub fn new(config: Arc<ArcSwap<Config>>, store: Arc<dyn Store>, metrics: Arc<Metrics>, options: Options) -> Self {
        let limiters = Limiters::new(config.load().limits);
        let pipeline: Pipeline = pipeline::process;
        Self {
            config,
            store,
            metrics,
            options,
            reading: Reading::default(),
            places: Places::new(options.connections, options.connections_per_address),
            limiters,
            floods: Floods::default(),
            in_flight: InFlight::default(),
            offload: Offload::new(options.offload),
            keeping: Keeping::default(),
            pipeline,
            refused_keys: Arc::new(|_site, _keys| false),
            tls: None,
        }
    }

    /// Sums up each minute in the log what came in floods, until `stopping` says true.
    pub async fn report_floods(&self, stopping: ShutdownWatch) {
        self.floods.report(stopping).await;
    }

    /// Lets whoever sends leads tell which keys KaiCalls refuses.
    pub fn with_refused_keys(self, refused_keys: RefusedKeys) -> Self {
        Self { refused_keys, ..self }
    }

    /// Puts another in the pipeline's place, for those who test what a failing one does.
    pub fn with_pipeline(self, pipeline: Pipeline) -> Self {
        Self { pipeline, ..self }
    }

    /// Puts another in the place of what keeps bodies, for the same.
    pub fn with_keeping(self, keeping: Keeping) -> Self {
        Self { keeping, ..self }
    }

    /// Returns the count of requests being answered, to wait on when shutting down.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.clone()
    }

    async fn answer(&self, session: &mut ServerSession, head: &Head, trail: &mut Trail) -> Outcome {
        let config = self.config.load_full();
        let peer = session.client_addr().and_then(|peer| peer.as_inet()).map(|peer| peer.ip());
        let client = address::client(peer, &head.headers, &config.server);
        let query = SplitQuery::of(head.query.as_deref());
        trail.client = client;
        let request = Request { head, query, config: &config, client };
        let end = match route::find(head, request.query.kept.is_some()) {
            Ok(Route::Hook { site, form }) => self.hook(session, &request, &site, form.as_ref(), trail).await,
            Ok(Route::Intake) => self.intake(session, &request, trail).await,
            Ok(Route::Verify) => self.verify(session, &request, trail).await,
            Ok(Route::Widget) => self.widget(&request, trail).await,
            Err(none) => Err(none.into()),
        };
        let outcome = end.unwrap_or_else(Outcome::Refused);
        if trail.is_stranger { self.strangers(&config.limits, client, outcome) } else { outcome }
    }

    async fn hook(
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
        if let Some(site) = guard::site(request.config, site, &credentials, today()) {
            trail.is_stranger = false;
            let address = Address { site, form, is_ambiguous: false };
            return self.submission(session, request, address, trail).await;
        }
        match Signature::of(&request.head.headers, Timestamp::now()) {
            Some(signature) => self.signed(session, request, (site, form), signature, trail).await,
            None => Err(strangers::unauthorized(request.config)),
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
        let site = config.sites.get(site);
        let whole = body.taken.kept.body.clone();
        let fits = self.is_signed(site, signature, &whole, query.kept.as_deref()).await?;
        let site = site.filter(|_| fits).ok_or_else(|| strangers::unauthorized(config))?;
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

    /// Takes a submission whose sender has shown that it may post.
    async fn submission(
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
        let taking = Taking::new(receive::keeper(head, room, server.max_upload), room, self.keeping);
        let Body { taken, share } = self.body(session, request, taking, server.max_upload, server.max_reading).await?;
        let filed = self.file(request, address, taken, over_limit, trail).await;
        drop(share);
        filed
    }

    /// Runs what is kept through the pipeline and into the store.
    async fn file(
        &self,
        Request { head, query, config, .. }: &Request<'_>,
        Address { site, form, is_ambiguous }: Address<'_>,
        Taken { kept, panicked }: Taken,
        over_limit: bool,
        trail: &mut Trail,
    ) -> Result<Outcome, Refusal> {
        route::check_carried(head, query.kept.is_some(), kept.body.is_empty())?;
        let received = receive::receive(head, query, &kept);
        let now = Timestamp::now();
        let id = entry::new_id(now);
        let processed = match panicked {
            Some(panicked) => Ok(held_as_it_came(site, form, id, panicked)),
            None => self.process(config, site, form, &received, id).await,
        }?;
        trail.form = Some(processed.form.clone());
        let rules = Rules {
            site,
            dedupe: !config.queue.dedupe.is_zero(),
            over_limit,
            is_ambiguous,
            keep_held: config.queue.keep.held,
            own_host: head.host(),
        };
        let filed = entry::file(&rules, processed, received, id, now);
        trail.appending = Some(id);
        self.store(filed).await.map(Outcome::Stored)
    }

    /// Runs the pipeline. Where it panics, the submission is kept as it came, for a person to look at.
    async fn process(
        &self,
        config: &Arc<Config>,
        site: &Arc<Site>,
        form: Option<&FormId>,
        received: &Received,
        id: EntryId,
    ) -> Result<Processed, Refusal> {
        let pipeline = self.pipeline;
        let config = Arc::clone(config);
        let rules_of = Arc::clone(site);
        let named = form.cloned();
        let subject = received.clone();
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
        taking: Taking,
        max: u64,
        max_together: u64,
    ) -> Result<Body, Refusal> {
        let limits = BodyLimits {
            max,
            max_together,
            time: self.options.body,
            bytes_per_second: self.options.body_bytes_per_second,
        };
        let Head { framing, expects_continue, .. } = *request.head;
        let read = body::read(session, framing, expects_continue, taking, limits, &self.reading, &self.offload).await;
        self.metrics.reading(self.reading.bytes());
        Ok(read?)
    }

    async fn store(&self, filed: Filed) -> Result<Stored, Refusal> {
        let Filed { entry, dedupe, rejected } = filed;
        let status = if entry.state == State::Queued { Status::Queued } else { Status::Held };
        let started = Instant::now();
        let appended = tokio::time::timeout(self.options.append, self.store.append(entry, dedupe)).await;
        self.metrics.appended(started.elapsed());
        match appended {
            Ok(Ok(Appended::New(id))) => Ok(Stored { id, status, rejected }),
            Ok(Ok(Appended::Duplicate(id))) => Ok(Stored { id, status: Status::Duplicate, rejected }),
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
        "pipeline.panicked: the submission is held as it came; please report the location"
    );
    pipeline::panicked(&site.rules, form, &Overlay::default()).processed
}

/// The one place where a request's clock becomes an argument.
fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}
