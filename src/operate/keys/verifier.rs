//! Asks KaiCalls whether a site's pairs are valid, for an operator who waits for the answer.
//!
//! Each question is asked once, within a time, and the answer is kept for a while: a button that is pressed again and again
//! is answered from memory. `keys verify` on the command line asks until it knows instead.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::judge::{KeyReply, Verification, judge};
use super::pace::LeftAlone;
use super::pairs::{PairAnswers, PairAsked, PairVerified, distinct_pairs};
use crate::config::Config;
use crate::destination::KeyPair;
use crate::kaicalls::Client;
use crate::lead::SiteId;
use crate::operate::{NoSuchSite, OperateError};
use crate::queue::StoreError;
use crate::telemetry;

/// How long the answers for a site are good for.
const KEPT: Duration = Duration::from_secs(10);
/// Most sites whose answers are kept.
const KEPT_MAX: usize = 1_000;
/// Longest wait for all the answers of a site: an operator waits for them.
const ASK_TIME: Duration = Duration::from_secs(20);
/// Requests to KaiCalls at once, for all sites together.
const AT_ONCE: usize = 4;

/// Asks KaiCalls about pairs, and keeps the answers for ten seconds. Clones share them.
#[derive(Clone)]
pub struct KeyVerifier {
    client: Client,
    at_once: Arc<Semaphore>,
    /// Until then KaiCalls has asked to be left alone.
    not_before: Arc<Mutex<Option<Instant>>>,
    sites: Arc<Mutex<HashMap<SiteId, Arc<SiteAnswers>>>>,
}

/// The last answers for a site. Whoever asks while KaiCalls is being asked waits for the same.
#[derive(Default)]
struct SiteAnswers(tokio::sync::Mutex<Option<Told>>);

struct Told {
    came: Instant,
    /// What was asked about: with other keys KaiCalls is asked anew.
    asked: Vec<PairAsked>,
    pairs: Vec<PairVerified>,
}

impl Told {
    fn is_fresh(&self) -> bool {
        self.came.elapsed() < KEPT
    }
}

impl KeyVerifier {
    pub fn new(client: Client) -> Self {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        Self { client, at_once, not_before: Arc::default(), sites: Arc::default() }
    }

    /// Says how the pairs of a site in force are: its own first, then those of its forms.
    pub async fn verify(
        &self,
        config: &Config,
        site: &SiteId,
        now: Timestamp,
    ) -> Result<Vec<PairVerified>, OperateError> {
        let asked = asked(config, site).await?;
        let place = self.place(site);
        let mut told = place.0.lock().await;
        if let Some(told) = told.as_ref().filter(|told| told.is_fresh() && told.asked == asked) {
            return Ok(told.pairs.clone());
        }
        let answers = self.ask(distinct_pairs(&asked), now).await;
        let pairs: Vec<_> = asked.iter().cloned().map(|asked| asked.answered(&answers)).collect();
        *told = Some(Told { came: Instant::now(), asked, pairs: pairs.clone() });
        Ok(pairs)
    }

    async fn ask(&self, pairs: Vec<KeyPair>, now: Timestamp) -> PairAnswers {
        let until = Instant::now() + ASK_TIME;
        // Dropped with whoever asked, and then nobody is asked any more.
        let mut asking = JoinSet::new();
        for pair in pairs {
            let verifier = self.clone();
            asking.spawn(async move {
                let answer = timeout_at(until, verifier.ask_one(&pair, now)).await;
                let late = |_elapsed| Verification::Unreachable("it didn't answer in time".to_owned());
                (pair, answer.unwrap_or_else(late))
            });
        }
        let mut answers = PairAnswers::default();
        while let Some(answered) = asking.join_next().await {
            // Of a pair without an answer it is said that nobody could be asked.
            if let Ok((pair, answer)) = answered {
                answers.add(&pair, answer);
            }
        }
        answers
    }

    async fn ask_one(&self, pair: &KeyPair, now: Timestamp) -> Verification {
        // The semaphore is never closed.
        let _turn = self.at_once.acquire().await.ok();
        let wait = self.not_before.lock().map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            return Verification::Unreachable(LeftAlone { seconds: wait.as_secs() }.to_string());
        }
        match judge(self.client.verify(pair).await, now) {
            KeyReply::Success(verified) => Verification::Valid { business_id: verified.business_id },
            KeyReply::Refused(refused) => Verification::Refused(refused),
            KeyReply::Later(later) => {
                if let Some(wait) = later.wait {
                    *self.not_before.lock() = Instant::now().checked_add(wait);
                }
                Verification::Unreachable(later.why)
            }
        }
    }

    /// Returns the place of a site's answers; one of its own, where there is no room for another.
    fn place(&self, site: &SiteId) -> Arc<SiteAnswers> {
        let mut sites = self.sites.lock();
        if let Some(place) = sites.get(site) {
            return Arc::clone(place);
        }
        if sites.len() >= KEPT_MAX {
            // What can't be locked is being asked.
            let is_fresh = |told: &Option<Told>| told.as_ref().is_some_and(Told::is_fresh);
            sites.retain(|_, place| place.0.try_lock().map_or(true, |told| is_fresh(&told)));
        }
        let place = Arc::<SiteAnswers>::default();
        if sites.len() < KEPT_MAX {
            sites.insert(site.clone(), Arc::clone(&place));
        }
        place
    }
}

/// Gathers what there is to ask about a site.
async fn asked(config: &Config, site: &SiteId) -> Result<Vec<PairAsked>, OperateError> {
    let Some(found) = config.sites.get(site).cloned() else {
        let why = || "the site's file has errors; `formgate check` shows them".to_owned();
        return match config.broken_sites.contains(site) {
            true => Ok(vec![PairAsked::unreadable(Some(site.clone()), why())]),
            false => Err(NoSuchSite.into()),
        };
    };
    let asked = telemetry::blocking(move || PairAsked::of_site(&found)).await;
    asked.map_err(|panicked| StoreError::Unavailable(panicked.into()).into())
}
