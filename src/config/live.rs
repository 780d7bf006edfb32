//! The configuration in force, following its files: compiled aside, swapped whole, each part last good until it is sound.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::civil::Date;
use parking_lot::Mutex;

use super::diagnostic::Diagnostics;
use super::last_good::{Fallback, Folder, RemovedParts, Texts};
use super::load::load_with;
use super::merge::merge;
use super::secret::Sources;
use super::snapshot::Config;
use super::stand_in::{ConfigPart, StandIn, StandInSource};
use super::start::{Origin, refer_to, watch_removed};
use super::watched::Watched;
use crate::lead::SiteId;

/// After so many looks, files that couldn't be read are read again, though nothing shows that they have changed.
const UNREADABLE_LOOKS: u32 = 15;

/// A configuration and the files it came from.
pub struct Live {
    path: PathBuf,
    sources: Sources,
    current: Arc<ArcSwap<Config>>,
    state: Mutex<LiveState>,
}

/// What the follower of the files remembers between looks.
struct LiveState {
    /// What was read last, whether or not it could be used.
    watched: Watched,
    /// What the last look found, where it was something else.
    last_look: Option<Watched>,
    /// Something couldn't be read; looks since.
    unreadable_looks: Option<u32>,
    /// What gave the versions in force.
    texts: Texts,
    /// The copy on disk.
    copied: Option<Texts>,
    removed: RemovedParts,
    /// What was removed and is written again.
    put_back: RemovedParts,
}

/// What came of reading the files again.
#[derive(Debug)]
pub struct Reloaded {
    /// What is broken or gone, and what is in force instead.
    pub stand_ins: Vec<StandIn>,
    /// Many sites would have vanished at once: they stay.
    pub is_refused: bool,
    /// `config.toml` itself has an error, or can't be read.
    pub is_config_broken: bool,
    pub diagnostics: Diagnostics,
}

impl Reloaded {
    /// Names the sites that are in force as they were before.
    pub fn kept_sites(&self) -> Vec<SiteId> {
        let kept = self.stand_ins.iter().filter(|stand_in| stand_in.by == StandInSource::LastGood);
        let sites = kept.filter_map(|kept| match &kept.part {
            ConfigPart::Site(id) => Some(id.clone()),
            _ => None,
        });
        sites.collect()
    }
}

impl Live {
    /// Follows the files from which came what is in `current`.
    pub fn new(origin: Origin, current: Arc<ArcSwap<Config>>) -> Self {
        let Origin { path, sources, watched, is_unreadable, texts, copied, removed, put_back, .. } = origin;
        let copied = copied.filter(|_| origin.is_copy_in_place);
        let unreadable_looks = is_unreadable.then_some(0);
        let state = LiveState { watched, last_look: None, unreadable_looks, texts, copied, removed, put_back };
        Self { path, sources, current, state: Mutex::new(state) }
    }

    /// Tells whether the files have changed since they were last read: true once two looks in a row find the same, so
    /// that a copy under way is never read half-way.
    pub fn has_changed(&self) -> bool {
        let mut state = self.state.lock();
        let look = state.watched.look_again();
        if look == state.watched {
            state.last_look = None;
            let Some(looks) = &mut state.unreadable_looks else { return false };
            *looks += 1;
            return *looks >= UNREADABLE_LOOKS;
        }
        let is_settled = state.last_look.as_ref() == Some(&look);
        state.last_look = Some(look);
        is_settled
    }

    /// Reads everything again and puts in force what is sound. Blocks: for the disk, and for the mappings' examples.
    pub fn reload(&self, today: Date) -> Reloaded {
        // Held to the end: two reloads at once could put the older in force.
        let mut state = self.state.lock();
        let previous = self.current.load_full();
        let folder = folder(&previous);
        let mut of_removed = Watched::default();
        folder.iter().for_each(|folder| watch_removed(&mut of_removed, folder));
        // Where it can't be read, nothing is removed that was not before.
        state.removed = folder.and_then(|folder| folder.removed().ok()).unwrap_or_else(|| state.removed.clone());
        let mut loaded = load_with(&self.path, Some(&state.texts), &self.sources, today);
        loaded.watched.extend(of_removed);
        let fallback = Fallback::running(&previous, &state.texts);
        let mut diagnostics = loaded.diagnostics;
        let merged = merge(&loaded.parts, &fallback, &state.removed, &mut diagnostics);
        // Not before: what panics on the way is tried again.
        state.watched = loaded.watched;
        state.last_look = None;
        state.unreadable_looks = loaded.parts.is_unreadable.then_some(0);
        // The running configuration stands in for every section: there always is one.
        if let Some((mut config, texts)) = merged.in_force {
            config.needs_restart = keep_fixed(&mut config, &previous);
            state.texts = texts;
            state.put_back = state.removed.put_back(&loaded.parts.texts);
            self.current.store(Arc::new(config));
        }
        Reloaded {
            stand_ins: merged.stand_ins,
            is_refused: merged.is_refused,
            is_config_broken: loaded.parts.is_config_broken(),
            diagnostics,
        }
    }

    /// Writes the copy of what is in force, where it is another than the one on disk. Blocks.
    pub fn keep_copy(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let Some(folder) = folder(&self.current.load()) else { return Ok(()) };
        // First, and once: a copy that can't be written is tried again later, and by then what was put back may be removed
        // again. Read anew: another process may have removed more meanwhile.
        let (mut removed, is_readable) = folder.removed_or(state.removed.clone())?;
        if removed.forget(&state.put_back) || !is_readable {
            folder.write_removed(&removed)?;
        }
        state.put_back = RemovedParts::default();
        if state.copied.as_ref() != Some(&state.texts) {
            folder.write(&state.texts)?;
            state.copied = Some(state.texts.clone());
        }
        // Best effort: where the default data folder can't be written, no store begins in it either.
        if let Err(error) = refer_to(&folder, &self.path) {
            tracing::debug!(%error, "config.copy_not_referred_to");
        }
        Ok(())
    }
}

fn folder(config: &Config) -> Option<Folder> {
    config.data_folder().map(Folder::in_data)
}

/// Keeps what only a start can change, so that nobody reads what isn't so; returns the keys that would have changed.
fn keep_fixed(config: &mut Config, previous: &Config) -> Vec<&'static str> {
    let mut changed = Vec::new();
    let mut keep = |key, differs: bool| {
        if differs {
            changed.push(key);
        }
    };
    keep("[server].listen", config.server.listen != previous.server.listen);
    keep("[server].data", config.server.data != previous.server.data);
    keep("[admin].listen", config.admin.listen != previous.admin.listen);
    keep("[kaicalls].base_url", config.upstream.base_url != previous.upstream.base_url);
    keep("[kaicalls].timeout", config.upstream.timeout != previous.upstream.timeout);
    keep("[queue].url", config.queue.url != previous.queue.url);
    keep("[queue].dedupe", config.queue.dedupe != previous.queue.dedupe);
    keep("[queue].max_size", config.queue.max_size != previous.queue.max_size);
    // Where `[kaicalls]` was unknown at the start, the client is one of the default's: it is not what was meant.
    let is_known_client = !previous.missing.upstream || config.upstream.base_url == previous.upstream.base_url;
    config.missing.upstream |= !is_known_client;
    config.server.listen.clone_from(&previous.server.listen);
    config.server.data.clone_from(&previous.server.data);
    config.admin.listen = previous.admin.listen;
    config.upstream.base_url = previous.upstream.base_url.clone();
    config.upstream.timeout = previous.upstream.timeout;
    config.queue.url = previous.queue.url.clone();
    config.queue.dedupe = previous.queue.dedupe;
    config.queue.max_size = previous.queue.max_size;
    changed
}
