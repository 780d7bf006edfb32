//! Posts to sites that were refused: the only leads that are truly lost.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::figures::{Scope, each_note, windows};
use super::sites::RefusedPosts;
use crate::lead::SiteId;
use crate::queue::activity::{MistakeRecord, cure, mistakes, refused_key};
use crate::queue::{Note, NoteKind, Store, StoreError};

/// How long ago it may be.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

/// A mistake for which posts to a site were refused, and what helps. Names and order of its keys are a promise.
///
/// It is counted since `first_at`, when it was made after more than a day without it. `host` and `agent` are what a post said
/// of itself: a stranger's text, bounded, and to be escaped where it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedMistake {
    /// A word of a closed set, such as `unknown_token`.
    pub mistake: String,
    /// The HTTP status of the answer; none where a version wrote it that didn't keep it.
    pub status: Option<u16>,
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The website it came from.
    pub host: Option<String>,
    /// The program it came from.
    pub agent: Option<String>,
    pub cure: String,
}

/// Posts to a site that were refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRefusals {
    /// None: sites that don't exist, and keys that no site has.
    pub site: Option<SiteId>,
    #[serde(flatten)]
    pub posts: RefusedPosts,
    /// The mistakes of the last 24 hours, the last one first.
    #[serde(default)]
    pub mistakes: Vec<RefusedMistake>,
}

impl From<MistakeRecord> for RefusedMistake {
    fn from(record: MistakeRecord) -> Self {
        let MistakeRecord { mistake, status, count, first_at, last_at, host, agent } = record;
        let cure = cure(&mistake).to_owned();
        Self { mistake, status, count, first_at, last_at, host, agent, cure }
    }
}

/// Returns for which mistakes posts to a site were refused, the last one first, as far as the store has been told: whoever
/// wants those of the last half minute too flushes the activity first.
pub async fn refused_posts(store: &dyn Store, site: &SiteId) -> Result<Vec<RefusedMistake>, StoreError> {
    let key = refused_key(Some(site));
    // Sites whose ids only begin with this one's come behind it.
    let note = store.notes(NoteKind::Refused, &key, None, 1).await?.pop();
    Ok(note.filter(|note| note.key.as_str() == key).map(|note| refused_mistakes(&note)).unwrap_or_default())
}

/// Reads the mistakes of a site's note.
fn refused_mistakes(note: &Note) -> Vec<RefusedMistake> {
    mistakes(note).into_iter().map(RefusedMistake::from).collect()
}

/// Returns the word of the last mistake of a site's note.
pub(super) fn last_mistake(note: &Note) -> Option<String> {
    mistakes(note).into_iter().next().map(|last| last.mistake)
}

/// Returns the sites whose posts were refused last, within 24 hours: the one with the most first.
pub(super) async fn last_refusals(
    store: &dyn Store,
    now: Timestamp,
    max: usize,
) -> Result<Vec<SiteRefusals>, StoreError> {
    let mut last: Vec<Note> = Vec::new();
    each_note(store, NoteKind::Refused, "", &mut |note| {
        if now.duration_since(note.last_at) < RECENT {
            last.push(note);
            keep_newest(&mut last, max);
        }
    })
    .await?;
    last.sort_by_key(|note| Reverse(note.last_at));
    let mut refusals = Vec::new();
    for note in last.into_iter().take(max) {
        let site = SiteId::parse(note.key.as_str()).ok();
        let windows = windows(store, Scope::Of(site.as_ref()), now).await?;
        let last_24h = windows.get(&site).map_or(0, |windows| windows.day.refused);
        let posts = RefusedPosts { last_24h, last_at: Some(note.last_at), last_reason: last_mistake(&note) };
        let mut mistakes = refused_mistakes(&note);
        mistakes.retain(|mistake| now.duration_since(mistake.last_at) < RECENT);
        refusals.push(SiteRefusals { site, posts, mistakes });
    }
    refusals.sort_by_key(|refused| Reverse(refused.posts.last_24h));
    Ok(refusals)
}

/// Drops the oldest as soon as there are twice as many as are wanted: a note may have 8 KiB, and there are thousands.
fn keep_newest(notes: &mut Vec<Note>, max: usize) {
    if notes.len() > 2 * max {
        notes.sort_by_key(|note| Reverse(note.last_at));
        notes.truncate(max);
    }
}
