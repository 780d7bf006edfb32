//! The gateway's application: what its requests share, and where each of them goes.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use super::browser::{Audience, StoreShare};
use super::guard::{ConnectionSlots, Floods, Limiters, TokenOwners, client_address};
use super::options::Options;
use super::outcome::{Outcome, Trail};
use super::ping;
use super::route::{self, Allowed, NoRoute, Route};
use super::submission::{BodyKeeping, BytesInMemory, Offload};
use super::wire::{InFlight, RequestHead, Tls};
use crate::config::Config;
use crate::destination::KeyPair;
use crate::lead::{FormId, SiteId};
use crate::pipeline::{self, Mappings, Processed, SiteRules};
use crate::queue::Store;
use crate::queue::activity::Activity;
use crate::queue::live::Live;
use crate::received::{Received, SplitQuery};
use crate::telemetry::{Arrival, Metrics};

/// Tells whether KaiCalls refuses a site's key pair at the moment.
pub type RefusedKeys = Arc<dyn Fn(&SiteId, &KeyPair) -> bool + Send + Sync>;

/// What makes a lead of what was received: [`pipeline::process`].
pub type Pipeline = fn(&Mappings, &SiteRules, Option<&FormId>, &Received) -> Processed;

/// The gateway's application, to be given to [`service`](super::service) or [`serve`](super::serve). Clones share all state.
#[derive(Clone)]
pub struct Gateway {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) options: Options,
    pub(super) reading: BytesInMemory,
    pub(super) slots: ConnectionSlots,
    pub(super) limiters: Limiters,
    pub(super) share: StoreShare,
    pub(super) floods: Floods,
    pub(super) in_flight: InFlight,
    pub(super) refused_keys: RefusedKeys,
    pub(super) token_owners: TokenOwners,
    pub(super) activity: Activity,
    pub(super) live: Live,
    pub(super) offload: Offload,
    pub(super) keeping: BodyKeeping,
    pub(super) pipeline: Pipeline,
    /// What its listener does first; the other clones may be behind others.
    pub(super) tls: Option<Arc<Tls>>,
}

/// A request, and the configuration it is judged by from beginning to end.
pub(super) struct Request<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) query: SplitQuery,
    pub(super) config: &'a Arc<Config>,
    /// Who is counted for it where it shows no valid credential.
    pub(super) client: Option<IpAddr>,
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
            reading: BytesInMemory::default(),
            slots: ConnectionSlots::new(options.connections, options.connections_per_address),
            limiters,
            share: StoreShare::default(),
            floods: Floods::default(),
            in_flight: InFlight::default(),
            offload: Offload::new(options.offload),
            keeping: BodyKeeping::default(),
            pipeline,
            refused_keys: Arc::new(|_site, _keys| false),
            token_owners: TokenOwners::default(),
            activity: Activity::default(),
            live: Live::default(),
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

    /// Counts what sites do where others count it too.
    pub fn with_activity(self, activity: Activity) -> Self {
        Self { activity, ..self }
    }

    /// Tells of each request whoever watches.
    pub fn with_live(self, live: Live) -> Self {
        Self { live, ..self }
    }

    /// Puts another in the pipeline's place, for those who test what a failing one does.
    pub fn with_pipeline(self, pipeline: Pipeline) -> Self {
        Self { pipeline, ..self }
    }

    /// Puts another in the place of what keeps bodies, for the same.
    pub fn with_keeping(self, keeping: BodyKeeping) -> Self {
        Self { keeping, ..self }
    }

    /// Returns the count of requests being answered, to wait on when shutting down.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.clone()
    }

    pub(super) async fn answer(&self, session: &mut ServerSession, head: &RequestHead, trail: &mut Trail) -> Outcome {
        let config = self.config.load_full();
        let peer = session.client_addr().and_then(|peer| peer.as_inet()).map(|peer| peer.ip());
        let client = client_address::client(peer, &head.headers, &config.server);
        let query = SplitQuery::of(head.query.as_deref());
        trail.client = client;
        if let Some(name) = head.path.strip_prefix("/hooks/") {
            let arrival = || Arrival {
                shown: Some(ping::shown(name, &head.headers, &query)),
                ..client_address::arrival(peer, client, &head.headers, &config.server)
            };
            trail.is_ping = self.metrics.pings().arrived(name, arrival);
        }
        let request = Request { head, query, config: &config, client };
        let end = match route::find(head, request.query.kept.is_some()) {
            Ok(Route::Hook { site, form }) => self.hook(session, &request, &site, form.as_ref(), trail).await,
            Ok(Route::Intake) => self.intake(session, &request, trail).await,
            Ok(Route::Verify) => self.verify(session, &request, trail).await,
            Ok(Route::Widget) => self.widget(&request, trail).await,
            Ok(Route::Preflight { site, form }) => Self::preflight(&request, &site, &form),
            Err(none) => {
                if none == NoRoute::Method(Allowed::Hook) {
                    trail.audience = Audience::passing_by(&request);
                }
                Err(none.into())
            }
        };
        let outcome = end.unwrap_or_else(Outcome::Refused);
        let is_to_count = trail.is_stranger && !trail.is_counted;
        if is_to_count { self.strangers(&config.limits, client, outcome) } else { outcome }
    }
}
