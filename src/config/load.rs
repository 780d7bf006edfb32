//! The whole configuration: `config.toml`, the mappings and the sites it includes, every problem in one run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;

use super::diagnostic::{Diagnostics, Severity};
use super::mappings::{self, CompiledMappings, MappingFile};
use super::reader::{Keys, Table};
use super::recurring::{Kind, Recurring, folder_of};
use super::secret::{Sources, readable_by_others};
use super::site::{self, CompiledSite};
use super::snapshot::{Admin, Backup, Config, Limits, Queue, Server, Site, Upstream};
use super::source::SourceFile;
use super::watched::Watched;
use super::{admin, advice, backup, include, limits, queue, server, upstream};
use crate::lead::SiteId;
use crate::pipeline::Mappings;

pub(super) const KEYS: Keys = Keys {
    table: "the configuration",
    keys: &["server", "admin", "kaicalls", "queue", "limits", "backup", "sites", "mappings", "site"],
};

/// What loading gave.
#[derive(Debug)]
pub struct Loaded {
    /// None where `config.toml` itself is broken; else without the broken sites and mappings.
    pub config: Option<Config>,
    pub broken_sites: Vec<BrokenSite>,
    /// Names of the operator's mappings that are not in `config`.
    pub broken_mappings: Vec<String>,
    pub diagnostics: Diagnostics,
    /// Every file that was looked at.
    pub watched: Watched,
}

/// A site that can't be used as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenSite {
    /// None where not even that can be read.
    pub id: Option<SiteId>,
    pub file: PathBuf,
}

impl Loaded {
    /// Gives the configuration to start with: only if nothing at all is wrong.
    pub fn complete(self) -> Result<(Config, Diagnostics), Diagnostics> {
        match self.config {
            Some(config) if !self.diagnostics.prevent_serving() => Ok((config, self.diagnostics)),
            _ => Err(self.diagnostics),
        }
    }

    /// Gives the configuration to go on with at a reload: what is broken stays as it was in `previous`.
    ///
    /// None where `config.toml` itself is broken: then everything stays as it was.
    pub fn keeping(self, previous: &Config) -> (Option<Config>, Diagnostics) {
        let Some(mut config) = self.config else { return (None, self.diagnostics) };
        let kept = self.broken_mappings.iter().filter_map(|name| previous.mappings.get(name));
        let of_now = config.mappings.iter().filter(|mapping| !self.broken_mappings.contains(&mapping.name));
        let mappings =
            Mappings::new(of_now.chain(kept).map(|mapping| mapping.as_ref().clone()), mappings::dictionary());
        config.mappings = Arc::new(mappings);
        for (id, site) in &previous.sites {
            let broken = |broken: &BrokenSite| {
                broken.id.as_ref() == Some(id) || (broken.id.is_none() && broken.file == site.file)
            };
            let unmapped = config.sites.get(id).is_some_and(|site| !has_its_mappings(site, &config.mappings));
            if unmapped || self.broken_sites.iter().any(broken) {
                config.sites.insert(id.clone(), site.clone());
            }
        }
        config.sites.retain(|_, site| has_its_mappings(site, &config.mappings));
        (Some(config), self.diagnostics)
    }
}

fn has_its_mappings(site: &Site, mappings: &Mappings) -> bool {
    let mut named = site.rules.forms.iter().filter_map(|form| form.mapping.as_deref());
    named.all(|name| mappings.get(name).is_some())
}

/// Loads the configuration at `path`; `today` decides which tokens have expired.
pub fn load(path: &Path, sources: &Sources, today: Date) -> Loaded {
    let mut files = Files::open(path);
    let parsed = files.config.parse();
    let root = parsed.as_ref().map(|entries| Table::root(&files.config, entries, KEYS));
    let sections = root.as_ref().and_then(|root| Sections::compile(root, sources));
    let CompiledMappings { sound, broken: broken_mappings, names } = mappings::compile(&files.mappings);
    let context = site::Context { sources, today, mappings: &names };
    let (sites, broken_sites) = compile_sites(root.as_ref(), &files.sites, &context);
    if sites.is_empty() && broken_sites.is_empty() && !files.config.is_broken() {
        advice::warn_of_no_sites(&files.config);
    }
    for file in files.sites.iter().chain([&files.config]) {
        warn_if_readable(file);
    }
    let sections = sections.filter(|_| !files.config.is_broken());
    let config = sections.map(|sections| sections.into_config(sites, Mappings::new(sound, mappings::dictionary())));
    drop(parsed);
    let watched = files.take_watched();
    Loaded { config, broken_sites, broken_mappings, diagnostics: files.into_diagnostics(), watched }
}

/// Every file, in the order in which problems are shown.
struct Files {
    config: SourceFile,
    mappings: Vec<MappingFile>,
    sites: Vec<SourceFile>,
    /// Not read, and said to be so.
    unread: Vec<SourceFile>,
}

impl Files {
    /// Opens `config.toml` and what it includes, even if the rest of it can't be parsed.
    fn open(path: &Path) -> Self {
        let config = SourceFile::read(path);
        let entries = config.parse_leniently();
        let root = Table::unchecked(&config, &entries, KEYS);
        let sites = include::files(&root, "sites", include::SITES, "sites/*.toml");
        let mappings = include::files(&root, "mappings", include::MAPPINGS, "mappings/*.toml");
        drop(entries);
        let sites = sites.iter().map(|path| SourceFile::read(path)).collect();
        let unread = advice::unread_beside(&config);
        Self { config, mappings: mappings::open(&mappings), sites, unread }
    }

    fn take_watched(&mut self) -> Watched {
        let mut watched = self.config.take_watched();
        let mappings = self.mappings.iter_mut().map(|mapping| &mut mapping.file);
        for file in mappings.chain(&mut self.sites) {
            watched.extend(file.take_watched());
        }
        watched
    }

    fn into_diagnostics(self) -> Diagnostics {
        let mappings = self.mappings.into_iter().map(|mapping| mapping.file);
        let files = [self.config].into_iter().chain(mappings).chain(self.sites).chain(self.unread);
        let mut diagnostics = Diagnostics::default();
        diagnostics.extend(files.flat_map(SourceFile::into_problems));
        diagnostics.gather();
        diagnostics
    }
}

/// Everything of `config.toml` but its sites and mappings.
struct Sections {
    server: Server,
    admin: Admin,
    upstream: Upstream,
    queue: Queue,
    limits: Limits,
    backup: Option<Backup>,
}

impl Sections {
    fn compile(root: &Table<'_>, sources: &Sources) -> Option<Self> {
        let server = root.section("server", server::KEYS, |table| server::compile(table, sources));
        let admin = root.section("admin", admin::KEYS, |table| admin::compile(table, sources));
        let upstream = root.section("kaicalls", upstream::KEYS, upstream::compile);
        let beside = queue::default_beside(root.file().path());
        let queue = root.or("queue", beside, |value| queue::compile(&value.table(queue::KEYS)?));
        let limits = root.section("limits", limits::KEYS, limits::compile);
        let backup = root.read("backup", |value| backup::compile(&value.table(backup::KEYS)?));
        let sections = Self {
            server: server?,
            admin: admin?,
            upstream: upstream?,
            queue: queue?,
            limits: limits?,
            backup: backup?,
        };
        let admin_at = sections.admin.listen;
        // Port 0 is a different one each time.
        if admin_at.port() != 0 && sections.server.listen.iter().any(|listen| listen.address == admin_at) {
            let place = root.get("admin").or_else(|| root.get("server"))?;
            place.error("[server] and [admin] listen on the same address", None);
        }
        Some(sections)
    }

    fn into_config(self, sites: BTreeMap<SiteId, Arc<Site>>, mappings: Mappings) -> Config {
        let Self { server, admin, upstream, queue, limits, backup } = self;
        Config { server, admin, upstream, queue, limits, backup, sites, mappings: Arc::new(mappings) }
    }
}

type SiteMap = BTreeMap<SiteId, Arc<Site>>;

/// Compiles the sites of `config.toml` and of the files; the sound ones apart from the broken.
fn compile_sites(
    root: Option<&Table<'_>>,
    files: &[SourceFile],
    context: &site::Context<'_>,
) -> (SiteMap, Vec<BrokenSite>) {
    let inline = root.and_then(|root| root.sections("site", site::KEYS, |table| Some(site::compile(table, context))));
    let mut sites = inline.unwrap_or_default();
    let parsed: Vec<_> = files.iter().map(|file| (file, file.parse())).collect();
    sites.extend(parsed.iter().map(|(file, parsed)| match parsed {
        Some(entries) if !advice::is_nested_site(file, entries) => {
            site::compile(&Table::root(file, entries, site::KEYS), context)
        }
        _ => CompiledSite::unread(file),
    }));
    let twice = report_same_ids(&sites);
    advice::warn_of_shared_tokens(&sites);
    advice::warn_of_shared_pairs(&sites);
    let (mut sound, mut broken) = (BTreeMap::new(), Vec::new());
    for compiled in sites {
        let id = compiled.id.map(|(id, _)| id);
        let usable = !compiled.file.is_broken() && id.as_ref().is_some_and(|id| !twice.contains(id));
        match (compiled.site.filter(|_| usable), id) {
            (Some(site), Some(id)) => drop(sound.insert(id, Arc::new(site))),
            (_, id) => broken.push(BrokenSite { id, file: compiled.file.path().to_owned() }),
        }
    }
    (sound, broken)
}

/// Reports ids that two sites claim, and returns them: neither is used, since either may be the one that is meant.
fn report_same_ids(sites: &[CompiledSite<'_>]) -> BTreeSet<SiteId> {
    let mut seen: BTreeMap<&SiteId, String> = BTreeMap::new();
    let mut twice = BTreeSet::new();
    for (file, (id, span)) in sites.iter().filter_map(|site| site.id.as_ref().map(|id| (site.file, id))) {
        if let Some(first) = seen.get(id) {
            let message = format!("there is a site `{id}` already, at {first}");
            file.report(Severity::Error, span.clone(), &message, Some("a site's id is its own: it stands in its URLs"));
            twice.insert(id.clone());
        } else {
            seen.insert(id, file.location(span));
        }
    }
    twice
}

fn warn_if_readable(file: &SourceFile) {
    if file.holds_secret() && readable_by_others(file.path()) {
        let subject = file.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let recurring = Recurring { kind: Kind::Readable(folder_of(file.path())), subject };
        let message = "this file holds a secret and can be read by other users";
        let hint = format!("chmod 600 {}, or keep the secret in a file of its own", file.path().display());
        file.report_recurring(Severity::Warning, None, recurring, message, Some(&hint));
    }
}
