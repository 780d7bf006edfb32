//! Which sites' posts were refused last.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::figures::{Scope, each_note, windows};
use super::sites::RefusedPosts;
use crate::lead::SiteId;
use crate::queue::{NoteKind, Store, StoreError};

/// How long ago it may be.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

/// Posts to a site that were refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRefusals {
    /// None: sites that don't exist, and keys that no site has.
    pub site: Option<SiteId>,
    #[serde(flatten)]
    pub posts: RefusedPosts,
}

/// Returns the sites whose posts were refused last, within 24 hours: the one with the most first.
pub(super) async fn last_refusals(
    store: &dyn Store,
    now: Timestamp,
    max: usize,
) -> Result<Vec<SiteRefusals>, StoreError> {
    let mut last = Vec::new();
    each_note(store, NoteKind::Refused, "", &mut |note| {
        if now.duration_since(note.last_at) < RECENT {
            last.push(note);
        }
    })
    .await?;
    last.sort_by_key(|note| Reverse(note.last_at));
    let mut refusals = Vec::new();
    for note in last.into_iter().take(max) {
        let site = SiteId::parse(note.key.as_str()).ok();
        let windows = windows(store, Scope::Of(site.as_ref()), now).await?;
        let last_24h = windows.get(&site).map_or(0, |windows| windows.day.refused);
        let posts = RefusedPosts { last_24h, last_at: Some(note.last_at), last_reason: note.text };
        refusals.push(SiteRefusals { site, posts });
    }
    refusals.sort_by_key(|refused| Reverse(refused.posts.last_24h));
    Ok(refusals)
}
