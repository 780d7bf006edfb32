//! The whole configuration: `config.toml`, the mappings and the sites it includes, every problem in one run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;

use super::advice;
use super::cut_short;
use super::diagnostic::Diagnostics;
use super::include::{self, Included};
use super::last_good::{Texts, absolute};
use super::mappings::{self, CompiledMappings, MappingFile};
use super::notify::{Sink, WrittenSink};
use super::reader::Table;
use super::secret::Sources;
use super::sections::{KEYS, Sections};
use super::site;
use super::sites::{self, CompiledSites};
use super::snapshot::{Config, KaiCallsConfig, Server, Site};
use super::source::SourceFile;
use super::watched::Watched;
use crate::lead::SiteId;
use crate::map::Mapping;
use crate::pipeline::Mappings;

/// What loading gave.
#[derive(Debug)]
pub struct Loaded {
    /// None where a table of `config.toml` is broken; else without the sites and mappings that are.
    pub config: Option<Config>,
    pub broken_sites: Vec<BrokenSite>,
    /// Names of the operator's mappings that are not in `config`.
    pub broken_mappings: Vec<String>,
    pub diagnostics: Diagnostics,
    /// Every file that was looked at.
    pub watched: Watched,
    /// Where the secrets of new key pairs are written: `[sites].secrets`.
    pub secrets_folder: PathBuf,
    pub(super) parts: ConfigParts,
}

/// Where a new site is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewSitePlace {
    /// A file of its own, which isn't there yet.
    File(PathBuf),
    /// A `[[site]]` table of `config.toml`.
    Table(PathBuf),
}

/// A site that can't be used as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenSite {
    /// None where not even that can be read.
    pub id: Option<SiteId>,
    pub file: PathBuf,
}

/// The parts of the configuration, each sound or broken by itself.
#[derive(Default)]
pub(super) struct ConfigParts {
    pub(super) config: PathBuf,
    /// False: `config.toml` isn't there, isn't TOML, or isn't whole.
    pub(super) is_config_read: bool,
    pub(super) sections: Sections,
    pub(super) sites: CompiledSites,
    pub(super) mappings: Vec<Arc<Mapping>>,
    /// Names of the operator's mappings whose files are there, each with whether it can be used.
    pub(super) own_mappings: BTreeMap<String, bool>,
    /// Folders of mappings that were listed, by their absolute paths.
    pub(super) mapping_folders: BTreeSet<PathBuf>,
    /// What gave the parts, sound or not.
    pub(super) texts: Texts,
    /// Every file that was read, by its absolute path, with whether it is sound.
    pub(super) files: Vec<(PathBuf, bool)>,
    /// What finds the files of sites.
    pub(super) site_patterns: Vec<PathBuf>,
    /// What `[sites].include` names and can't be read.
    pub(super) unlisted_sites: Vec<PathBuf>,
    /// A file is there but can't be read: reading it again may help, though it doesn't change.
    pub(super) is_unreadable: bool,
}

impl std::fmt::Debug for ConfigParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigParts").finish_non_exhaustive()
    }
}

impl Loaded {
    /// Gives the sites that can be used exactly as they are written, also where a table of `config.toml` is broken.
    pub fn sound_sites(&self) -> impl Iterator<Item = &Site> {
        self.parts.sites.usable.values().filter(|site| !site.lacks_something).map(|sound| sound.site.as_ref())
    }

    /// Gives the sites that can take submissions as they are written: the sound ones, and those that lack keys or a secret.
    pub fn usable_sites(&self) -> impl Iterator<Item = &Site> {
        self.parts.sites.usable.values().map(|usable| usable.site.as_ref())
    }

    /// Returns where a new site is to be written: in a file that `[sites].include` finds; where all sites are `[[site]]`
    /// tables, beside them. None: `include` names single files only.
    pub fn new_site_place(&self, site: &SiteId) -> Option<NewSitePlace> {
        let config = &self.parts.config;
        let usable = self.usable_sites().map(|site| site.file.as_path());
        let mut files = usable.chain(self.broken_sites.iter().map(|site| site.file.as_path())).peekable();
        if files.peek().is_some() && files.all(|file| file == config) {
            return Some(NewSitePlace::Table(config.clone()));
        }
        let pattern = self.parts.site_patterns.first()?;
        Some(NewSitePlace::File(include::fitting(pattern, site.as_str())))
    }

    /// Gives every sink that can be used, also of sites that lack something else.
    pub fn usable_sinks(&self) -> Vec<Arc<Sink>> {
        let own = self.parts.sections.sinks.iter().flatten().filter_map(WrittenSink::sound);
        own.cloned().chain(self.usable_sites().flat_map(|site| site.notify.sinks.iter().cloned())).collect()
    }

    /// Names the sinks that can't be used as they are written.
    pub fn missed_sinks(&self) -> Vec<&str> {
        let own = self.parts.sections.sinks.iter().flatten().filter_map(WrittenSink::missed_name);
        own.chain(self.usable_sites().flat_map(|site| site.notify.lacking.iter().map(String::as_str))).collect()
    }

    /// Gives `[kaicalls]`, also where another table of `config.toml` is broken.
    pub fn upstream(&self) -> Option<&KaiCallsConfig> {
        self.parts.sections.upstream.as_ref()
    }

    /// Gives `[server]`, also where another table of `config.toml` is broken.
    pub fn server(&self) -> Option<&Server> {
        self.parts.sections.server.as_ref()
    }

    /// Gives the configuration if nothing at all is wrong.
    pub fn complete(self) -> Result<(Config, Diagnostics), Diagnostics> {
        match self.config {
            Some(config) if !self.diagnostics.prevent_serving() => Ok((config, self.diagnostics)),
            _ => Err(self.diagnostics),
        }
    }
}

/// Loads the configuration at `path`; `today` decides which tokens have expired.
pub fn load(path: &Path, sources: &Sources, today: Date) -> Loaded {
    load_with(path, None, sources, today)
}

/// Loads the configuration; what lacks what the last good one has at its end is broken. Where that is `config.toml`, or it
/// can't be read, the last good one says which files it includes.
pub(super) fn load_with(path: &Path, last_good: Option<&Texts>, sources: &Sources, today: Date) -> Loaded {
    let mut files = LoadedFiles::open(path, last_good, sources, today);
    let parsed = files.config.parse().filter(|_| files.is_whole);
    let root = parsed.as_ref().map(|entries| Table::root(&files.config, entries, KEYS));
    let mut sections = root.as_ref().map(|root| Sections::compile(root, sources, today)).unwrap_or_default();
    let was_there = |name: &str| last_good.is_some_and(|texts| texts.sections.contains_key(name));
    root.iter().for_each(|root| sections.distrust_absent(root, was_there));
    let CompiledMappings { sound, broken: broken_mappings, names } = mappings::compile(&files.mappings);
    let has_mail = sections.may_mail();
    let context = site::Context { sources, today, mappings: &names, sound: &sound, has_mail };
    let sites = sites::compile(root.as_ref(), &files.sites, last_good, &context);
    root.iter().for_each(|root| advice::warn_of_sinks(root, &sites));
    for file in files.sites.iter().chain([&files.config]) {
        sites::warn_if_readable(file);
    }
    let mut parts = ConfigParts {
        is_config_read: root.is_some(),
        sections,
        sites,
        mappings: sound.into_iter().map(Arc::new).collect(),
        ..files.parts()
    };
    // Of two sites of one id either file may be the wrong one.
    let disputed: BTreeSet<_> = parts.sites.broken.iter().map(|site| absolute(&site.file)).collect();
    for (file, is_sound) in &mut parts.files {
        *is_sound &= !disputed.contains(file);
    }
    drop(parsed);
    let watched = files.take_watched();
    let (config, broken_sites) = parts.wholly_sound();
    let secrets_folder = std::mem::take(&mut files.secrets_folder);
    let diagnostics = files.into_diagnostics();
    Loaded { config, broken_sites, broken_mappings, diagnostics, watched, secrets_folder, parts }
}

impl ConfigParts {
    /// Tells whether `config.toml` has an error, in whatever part, or can't be read.
    pub(super) fn is_config_broken(&self) -> bool {
        let config = absolute(&self.config);
        self.files.iter().any(|(file, is_sound)| !is_sound && *file == config)
    }

    /// Gives what can be used exactly as it is written, and which sites can't.
    fn wholly_sound(&self) -> (Option<Config>, Vec<BrokenSite>) {
        let lacking = self.sites.usable.values().filter(|site| site.lacks_something).map(|lacking| &lacking.site);
        let lacking = lacking.map(|site| BrokenSite { id: Some(site.id.clone()), file: site.file.clone() });
        let broken = self.sites.broken.iter().cloned().chain(lacking).collect();
        let config = self.sections.clone().into_config().filter(|_| self.sections.is_whole()).map(|mut config| {
            let sound = self.sites.usable.iter().filter(|(_, site)| !site.lacks_something);
            config.sinks.extend(sound.clone().flat_map(|(_, sound)| sound.site.notify.sinks.iter().cloned()));
            config.sites = sound.map(|(id, sound)| (id.clone(), Arc::clone(&sound.site))).collect();
            config.mappings = Arc::new(Mappings::new(
                self.mappings.iter().map(|mapping| mapping.as_ref().clone()),
                mappings::dictionary(),
            ));
            config
        });
        (config, broken)
    }
}

/// Every file, in the order in which problems are shown.
struct LoadedFiles {
    config: SourceFile,
    /// The configuration is TOML, and not cut short.
    is_whole: bool,
    /// The last good `[sites]` and `[mappings]`, where they are needed.
    includes: Option<SourceFile>,
    mappings: Vec<MappingFile>,
    sites: Vec<SourceFile>,
    /// Not read, and said to be so.
    unread: Vec<SourceFile>,
    included_sites: Included,
    included_mappings: Included,
    secrets_folder: PathBuf,
}

impl LoadedFiles {
    /// Opens `config.toml` and what it includes, even if the rest of it can't be parsed.
    fn open(path: &Path, last_good: Option<&Texts>, sources: &Sources, today: Date) -> Self {
        let config = SourceFile::read(path);
        let is_whole = config.is_toml()
            && !advice::is_foreign(&config, KEYS)
            && !cut_short::report(&config, last_good, sources, today);
        let last_good = last_good.filter(|_| !is_whole);
        let includes = last_good.map(|texts| SourceFile::from_text(path, texts.includes()));
        let including = includes.as_ref().unwrap_or(&config);
        let entries = including.parse_leniently();
        let root = Table::unchecked(including, &entries, KEYS);
        let in_sites = include::section(&root, "sites", include::SITES);
        let in_mappings = include::section(&root, "mappings", include::MAPPINGS);
        let included_sites = include::files(including, in_sites.as_ref(), "sites/*.toml");
        let included_mappings = include::files(including, in_mappings.as_ref(), "mappings/*.toml");
        let secrets_folder = include::secrets_folder(including, in_sites.as_ref());
        drop(entries);
        let sites = included_sites.files.iter().map(|path| SourceFile::read(path)).collect();
        let mappings = mappings::open(&included_mappings.files);
        let unread = advice::unread_beside(&config);
        Self { config, is_whole, includes, mappings, sites, unread, included_sites, included_mappings, secrets_folder }
    }

    /// Notes what was read, and in what state.
    fn parts(&self) -> ConfigParts {
        let mut texts = Texts::default();
        texts.add_config(&self.config);
        self.sites.iter().for_each(|file| texts.add_site_file(file));
        let own = self.mappings.iter().filter(|mapping| mapping.own);
        own.clone().for_each(|mapping| texts.add_mapping(&mapping.name, &mapping.file));
        let all = own.clone().map(|mapping| &mapping.file).chain(&self.sites).chain([&self.config]);
        ConfigParts {
            config: self.config.path().to_owned(),
            own_mappings: self.own_mappings(),
            mapping_folders: self.included_mappings.folders.iter().map(|folder| absolute(folder)).collect(),
            texts,
            is_unreadable: all.clone().any(SourceFile::is_unreadable),
            files: all.map(|file| (absolute(file.path()), !file.is_broken())).collect(),
            site_patterns: self.included_sites.patterns.clone(),
            unlisted_sites: self.included_sites.unknown.clone(),
            ..ConfigParts::default()
        }
    }

    /// Names the operator's mappings; an exact copy of a shipped one is sound, and is the shipped one.
    fn own_mappings(&self) -> BTreeMap<String, bool> {
        let there = self.included_mappings.files.iter().map(|file| (mappings::name_of(file), true));
        let broken = self.mappings.iter().filter(|mapping| mapping.own && mapping.file.is_broken());
        there.chain(broken.map(|mapping| (mapping.name.clone(), false))).collect()
    }

    fn take_watched(&mut self) -> Watched {
        let mut watched = Watched::default();
        for file in [&mut self.config].into_iter().chain(&mut self.includes) {
            watched.extend(file.take_watched());
        }
        let mappings = self.mappings.iter_mut().map(|mapping| &mut mapping.file);
        for file in mappings.chain(&mut self.sites) {
            watched.extend(file.take_watched());
        }
        watched
    }

    fn into_diagnostics(self) -> Diagnostics {
        let mappings = self.mappings.into_iter().map(|mapping| mapping.file);
        let files = [self.config].into_iter().chain(self.includes).chain(mappings).chain(self.sites).chain(self.unread);
        let mut diagnostics = Diagnostics::default();
        diagnostics.extend(files.flat_map(SourceFile::into_problems));
        diagnostics.gather();
        diagnostics
    }
}
