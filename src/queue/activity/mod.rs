//! What each site does: counted in memory, written to the store's notes twice a minute and when the gateway stops.
//!
//! A request bumps a few numbers under a lock and waits for nothing. A kill loses what was counted since the last write.
//! There is no personal data in it. `day` has the layout of a day's note, `speed` its histogram, `write` makes notes of what was
//! counted. Of posts that were refused `mistake` has the kinds, `sender` who sent them, and `refused` what is kept of each.

mod day;
mod mistake;
mod refused;
mod sender;
mod speed;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::day::{DayCounts, DayKey, HOURS, Hour, HourCounts};
pub use self::mistake::{Mistake, cure};
use self::refused::Refusals;
pub use self::refused::{EPISODE_GAP, MISTAKES_MAX, MistakeRecord, RefusedPost, mistakes};
pub use self::sender::{AGENT_MAX, HOST_MAX, Sender};
pub use self::speed::{SPEED_BOUNDS, SPEED_BUCKETS, SpeedToLead};
use self::write::{Unwritten, changes};
pub use self::write::{form_of_key, form_prefix, refused_key, token_key};
use super::{Store, StoreError};
use crate::lead::{FormId, SiteId};

/// Sites that are counted by name, since the start; the others are counted together.
pub const ACTIVITY_SITES_MAX: usize = 20_000;
/// Forms of a site that are counted by name, since the start; the others are counted together. Who may post to a site
/// can name forms without end, and must not push the notes of other sites out.
pub const ACTIVITY_FORMS_MAX: usize = 100;
/// Tokens of a site that are counted between two writes.
const TOKENS_MAX: usize = 1_000;
/// Hours that are told apart while the store can't be written; what comes later counts to the last.
const HOURS_MAX: usize = 48;
/// How often it is written: each time costs a write for each form that posted, so seldom is cheaper with many sites.
const WRITE_EVERY: Duration = Duration::from_secs(30);

/// Counts what sites do. Clones count together.
#[derive(Clone, Default)]
pub struct Activity {
    counted: Arc<Mutex<Counted>>,
    /// One writes at a time: whoever waits finds everything written that was counted before.
    unwritten: Arc<tokio::sync::Mutex<Unwritten>>,
    /// Changes when there is a site to be told of.
    refusals: watch::Sender<u64>,
}

/// The beginning of a token's SHA-256, by which people and notes call it: 12 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenPrefix([u8; 6]);

/// A submission that was stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredPost<'a> {
    pub form: &'a FormId,
    /// The mapping that was used.
    pub mapping: Option<&'a str>,
    pub token: Option<TokenPrefix>,
    pub end: PostEnd,
}

/// What became of a submission that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostEnd {
    Queued,
    Held,
    Duplicate,
    /// Held, and a program's: it says nothing about how the site does.
    Spam,
}

/// How a lead left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeadEnd {
    /// So long after it was stored.
    Delivered {
        took: Duration,
    },
    Dead,
}

/// What was counted, by site.
#[derive(Default)]
struct Counted {
    sites: HashMap<SiteId, SiteCounts>,
    /// What belongs to no site that is counted by name.
    others: SiteCounts,
    /// Sites with something to write.
    changed: Vec<SiteId>,
    /// Sites that had a post refused since somebody last took them; none while nobody listens.
    untold: Option<Vec<SiteId>>,
}

/// What was counted of one site since the last write. Its forms stay: they are those counted by name.
#[derive(Default)]
struct SiteCounts {
    is_changed: bool,
    forms: HashMap<FormId, FormCounts>,
    /// What belongs to no form that is counted by name.
    others: FormCounts,
    tokens: HashMap<TokenPrefix, Uses>,
    refused: Refusals,
    /// It is among the sites to be told of.
    is_untold: bool,
}

#[derive(Default)]
struct FormCounts {
    hours: Vec<(Hour, HourCounts)>,
    posts: Option<Uses>,
    mapping: Option<Box<str>>,
}

/// How often something was used, and when last.
#[derive(Clone, Copy)]
struct Uses {
    count: u64,
    last_at: Timestamp,
}

impl TokenPrefix {
    /// Returns what a token with this SHA-256 is called.
    pub fn of(sha256: &[u8; 32]) -> Self {
        let [a, b, c, d, e, f, ..] = *sha256;
        Self([a, b, c, d, e, f])
    }
}

impl fmt::Display for TokenPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Activity {
    /// Counts a submission of a configured site that was stored.
    pub fn stored(&self, site: &SiteId, post: StoredPost<'_>, now: Timestamp) {
        let mut counted = self.counted.lock();
        let site = counted.site(Some(site));
        if let Some(token) = post.token
            && (site.tokens.len() < TOKENS_MAX || site.tokens.contains_key(&token))
        {
            Uses::add(site.tokens.entry(token).or_insert(Uses::none(now)), now);
        }
        let form = site.form(Some(post.form));
        if post.end == PostEnd::Spam {
            form.hour(now).spam += 1;
            return;
        }
        // A plugin that repeats a post hours later must not look like a visitor.
        if post.end != PostEnd::Duplicate {
            Uses::add(form.posts.get_or_insert(Uses::none(now)), now);
            if let Some(mapping) = post.mapping.filter(|mapping| form.mapping.as_deref() != Some(*mapping)) {
                form.mapping = Some(mapping.into());
            }
        }
        let hour = form.hour(now);
        match post.end {
            PostEnd::Queued => hour.taken += 1,
            PostEnd::Held => {
                hour.taken += 1;
                hour.held += 1;
            }
            PostEnd::Duplicate => hour.duplicates += 1,
            PostEnd::Spam => {}
        }
    }

    /// Counts a post that was refused; `site` is only one of the configuration, and none where the sender named another.
    pub fn refused(&self, site: Option<&SiteId>, post: &RefusedPost<'_>, now: Timestamp) {
        let mut counted = self.counted.lock();
        let counts = counted.site(site);
        counts.refused.add(post, now);
        // The sender names the form, and has not shown that it may post.
        counts.form(None).hour(now).refused += 1;
        let is_new = post.mistake.loses_a_lead() && site.is_some_and(|site| counted.is_to_tell(site));
        drop(counted);
        if is_new {
            self.refusals.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Begins to remember which sites have posts refused, for [`Self::take_refused`]; what is returned changes when there is
    /// one more. For one listener: each site is given once.
    pub fn watch_refused(&self) -> watch::Receiver<u64> {
        self.counted.lock().untold.get_or_insert_default();
        self.refusals.subscribe()
    }

    /// Takes the sites that had a post refused since the last call: of those that are counted by name, so at most
    /// [`ACTIVITY_SITES_MAX`]. What was refused is in memory until [`Self::flush`] has written it.
    pub fn take_refused(&self) -> Vec<SiteId> {
        let mut counted = self.counted.lock();
        let taken = counted.untold.as_mut().map(std::mem::take).unwrap_or_default();
        for site in &taken {
            if let Some(counts) = counted.sites.get_mut(site) {
                counts.is_untold = false;
            }
        }
        taken
    }

    /// Counts a lead that left the queue.
    pub fn settled(&self, site: &SiteId, form: &FormId, end: LeadEnd, now: Timestamp) {
        let mut counted = self.counted.lock();
        let hour = counted.site(Some(site)).form(Some(form)).hour(now);
        match end {
            LeadEnd::Delivered { took } => {
                hour.delivered += 1;
                hour.speed.count(took);
            }
            LeadEnd::Dead => hour.dead += 1,
        }
    }

    /// Writes what was counted twice a minute, until `stopping` says true. Whoever stops flushes last.
    pub async fn keep_written(&self, store: &Arc<dyn Store>, mut stopping: watch::Receiver<bool>) {
        let mut is_failing = false;
        while tokio::time::timeout(WRITE_EVERY, stopping.wait_for(|stop| *stop)).await.is_err() {
            let written = self.flush(store).await;
            if let (Err(error), false) = (&written, is_failing) {
                tracing::warn!(%error, "activity.unwritten: the sites' figures can't be written; they are kept in memory \
                                        until they can");
            }
            is_failing = written.is_err();
        }
    }

    /// Writes everything that was counted so far. What can't be written is kept for the next time.
    ///
    /// A task of its own writes, to the end, also where the caller waits no longer: what was being written then may be in
    /// the store or not, and would be lost or counted twice.
    pub async fn flush(&self, store: &Arc<dyn Store>) -> Result<(), StoreError> {
        // Here, so that those who wait no longer leave no task behind that waits.
        let mut unwritten = Arc::clone(&self.unwritten).lock_owned().await;
        let counted = Arc::clone(&self.counted);
        let store = Arc::clone(store);
        let writing = tokio::spawn(async move {
            // The rest of the last time goes first, so that what waits stays as much as one time counts.
            unwritten.write(&*store).await?;
            let drained = counted.lock().drain();
            unwritten.take_in(drained.into_iter().flat_map(|(site, counts)| changes(site.as_ref(), counts)));
            unwritten.write(&*store).await
        });
        writing.await.unwrap_or_else(|failed| Err(StoreError::Unavailable(failed.into())))
    }
}

impl Counted {
    /// Returns the counts of a site, where there is room for it.
    fn site(&mut self, site: Option<&SiteId>) -> &mut SiteCounts {
        let Some(site) = site else { return &mut self.others };
        if !self.sites.contains_key(site) {
            if self.sites.len() >= ACTIVITY_SITES_MAX {
                return &mut self.others;
            }
            self.sites.insert(site.clone(), SiteCounts::default());
        }
        let counts = self.sites.get_mut(site).expect("it was there, or was just put there");
        if !counts.is_changed {
            counts.is_changed = true;
            self.changed.push(site.clone());
        }
        counts
    }

    /// Tells whether somebody listens who doesn't know yet that a post to a site was refused; from now on it does.
    fn is_to_tell(&mut self, site: &SiteId) -> bool {
        let Some(untold) = &mut self.untold else { return false };
        let Some(counts) = self.sites.get_mut(site).filter(|counts| !counts.is_untold) else { return false };
        counts.is_untold = true;
        untold.push(site.clone());
        true
    }

    /// Takes out what was counted since the last time.
    fn drain(&mut self) -> Vec<(Option<SiteId>, SiteCounts)> {
        let sites = &mut self.sites;
        let changed = std::mem::take(&mut self.changed).into_iter();
        let mut drained: Vec<_> = changed
            .filter_map(|site| Some((sites.get_mut(&site)?.drain(), site)))
            .map(|(c, site)| (Some(site), c))
            .collect();
        drained.push((None, self.others.drain()));
        drained
    }
}

impl SiteCounts {
    /// Returns the counts of a form, where there is room for it.
    fn form(&mut self, form: Option<&FormId>) -> &mut FormCounts {
        let Some(form) = form else { return &mut self.others };
        if !self.forms.contains_key(form) {
            if self.forms.len() >= ACTIVITY_FORMS_MAX {
                return &mut self.others;
            }
            self.forms.insert(form.clone(), FormCounts::default());
        }
        self.forms.get_mut(form).expect("it was there, or was just put there")
    }

    fn drain(&mut self) -> Self {
        self.is_changed = false;
        let changed = self.forms.iter_mut().filter(|(_, counts)| !counts.hours.is_empty());
        Self {
            is_changed: false,
            forms: changed.map(|(form, counts)| (form.clone(), std::mem::take(counts))).collect(),
            others: std::mem::take(&mut self.others),
            tokens: std::mem::take(&mut self.tokens),
            refused: std::mem::take(&mut self.refused),
            is_untold: false,
        }
    }
}

impl FormCounts {
    fn hour(&mut self, now: Timestamp) -> &mut HourCounts {
        let hour = Hour::of(now);
        let at = self.hours.iter().rposition(|(known, _)| *known == hour);
        let at = at.unwrap_or_else(|| {
            if self.hours.len() < HOURS_MAX {
                self.hours.push((hour, HourCounts::default()));
            }
            self.hours.len() - 1
        });
        &mut self.hours.get_mut(at).expect("found, or the last of some").1
    }
}

impl Uses {
    fn none(now: Timestamp) -> Self {
        Self { count: 0, last_at: now }
    }

    fn add(&mut self, now: Timestamp) {
        self.count += 1;
        self.last_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::NoteKind;
    use crate::queue::memory::MemoryStore;

    #[tokio::test]
    async fn spam_is_counted_by_itself_and_is_no_lead_of_the_site() {
        let activity = Activity::default();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Duration::ZERO));
        let site = SiteId::parse("acme").expect("a site");
        let form = FormId::fallback();
        let now: Timestamp = "2026-11-30T10:00:00Z".parse().expect("a time");
        let post = StoredPost { form: &form, mapping: Some("generic"), token: None, end: PostEnd::Spam };
        activity.stored(&site, post, now);
        activity.flush(&store).await.expect("written");
        let notes = async |kind| store.notes(kind, "", None, 10).await.expect("notes");
        assert!(notes(NoteKind::Form).await.is_empty(), "the last lead is another");
        let day = notes(NoteKind::Daily).await.pop().map(|note| DayCounts::read(&note.numbers)).expect("a day");
        assert_eq!((day.spam, day.held, day.hour(10).taken), (1, 0, 0));
    }

    #[tokio::test]
    async fn each_site_with_a_refused_post_is_told_once_until_it_is_taken() {
        let activity = Activity::default();
        let [acme, beta] = ["acme", "beta"].map(|id| SiteId::parse(id).expect("a site"));
        let now: Timestamp = "2026-11-30T10:00:00Z".parse().expect("a time");
        let post = RefusedPost { mistake: Mistake::UnknownToken, status: 401, sender: &Sender::default };
        activity.refused(Some(&acme), &post, now);
        let mut told = activity.watch_refused();
        assert!(activity.take_refused().is_empty(), "nobody listened");
        for site in [Some(&acme), None, Some(&acme), Some(&beta), Some(&acme)] {
            activity.refused(site, &post, now);
        }
        assert!(told.has_changed().expect("it is there"));
        assert_eq!(*told.borrow_and_update(), 2, "a flood wakes nobody twice");
        // What is written in between is told all the same.
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Duration::ZERO));
        activity.flush(&store).await.expect("written");
        activity.refused(Some(&beta), &post, now);
        assert_eq!(activity.take_refused(), [acme, beta.clone()]);
        assert!(!told.has_changed().expect("it is there") && activity.take_refused().is_empty());
        activity.refused(Some(&beta), &post, now);
        assert!(told.has_changed().expect("it is there"));
        assert_eq!(activity.take_refused(), [beta]);
    }

    #[tokio::test]
    async fn what_was_refused_is_added_to_the_sites_own_note() {
        let activity = Activity::default();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Duration::ZERO));
        let now: Timestamp = "2026-11-30T10:00:00Z".parse().expect("a time");
        let post = RefusedPost { mistake: Mistake::RateLimited, status: 429, sender: &Sender::default };
        // The id of one begins with that of the other.
        for id in ["acme-2", "acme", "acme-2"] {
            activity.refused(SiteId::parse(id).ok().as_ref(), &post, now);
            activity.flush(&store).await.expect("written");
        }
        let notes = store.notes(NoteKind::Refused, "", None, 10).await.expect("notes");
        let counts: Vec<_> = notes.iter().map(|note| (note.key.as_str(), mistakes(note)[0].count)).collect();
        assert_eq!(counts, [("acme", 1), ("acme-2", 2)]);
    }
}
