//! The configuration in force, following its files: compiled aside, swapped whole, the last good one kept on any error.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::civil::Date;
use parking_lot::Mutex;

use super::diagnostic::Diagnostics;
use super::load::load;
use super::secret::Sources;
use super::snapshot::Config;
use super::watched::Watched;
use crate::lead::SiteId;

/// A configuration and the files it came from.
pub struct Live {
    path: PathBuf,
    sources: Sources,
    current: Arc<ArcSwap<Config>>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// What was read last, whether or not it could be used.
    watched: Watched,
    /// The last look found something else.
    differed: bool,
}

/// What came of reading the files again.
#[derive(Debug)]
pub struct Reloaded {
    /// False: `config.toml` itself is broken, and everything stays as it was.
    pub is_in_force: bool,
    /// Sites in force as they were before, since their files or mappings are broken.
    pub kept_sites: Vec<SiteId>,
    /// Keys whose new values need a restart.
    pub need_restart: Vec<&'static str>,
    pub diagnostics: Diagnostics,
}

impl Live {
    /// Follows the files at `path`, which were `watched` when they were read and gave what is in `current`.
    pub fn new(path: PathBuf, sources: Sources, watched: Watched, current: Arc<ArcSwap<Config>>) -> Self {
        Self { path, sources, current, seen: Mutex::new(Seen { watched, differed: false }) }
    }

    /// Tells whether the files have changed since they were last read: true at the second look that finds it, so that
    /// who is still writing can finish.
    pub fn has_changed(&self) -> bool {
        let mut seen = self.seen.lock();
        let differs = seen.watched.look_again() != seen.watched;
        std::mem::replace(&mut seen.differed, differs) && differs
    }

    /// Reads everything again and puts in force what is sound. Blocks: for the disk, and for the mappings' examples.
    pub fn reload(&self, today: Date) -> Reloaded {
        // Held to the end: two reloads at once could put the older in force.
        let mut seen = self.seen.lock();
        let loaded = load(&self.path, &self.sources, today);
        *seen = Seen { watched: loaded.watched.clone(), differed: false };
        let previous = self.current.load_full();
        let (config, diagnostics) = loaded.keeping(&previous);
        let Some(mut config) = config else {
            let (kept_sites, need_restart) = (previous.sites.keys().cloned().collect(), Vec::new());
            return Reloaded { is_in_force: false, kept_sites, need_restart, diagnostics };
        };
        let need_restart = keep_fixed(&mut config, &previous);
        // What was compiled anew is never the same allocation.
        let is_kept = |id: &SiteId, site| previous.sites.get(id).is_some_and(|before| Arc::ptr_eq(before, site));
        let kept_sites = config.sites.iter().filter(|(id, site)| is_kept(id, site)).map(|(id, _)| id.clone()).collect();
        self.current.store(Arc::new(config));
        Reloaded { is_in_force: true, kept_sites, need_restart, diagnostics }
    }
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
