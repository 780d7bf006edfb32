//! The last good version of everything the configuration says, kept as text: it stands in at a start for what is broken
//! or gone by then.
//!
//! Each section, mapping and site is kept by itself, as the TOML that gave the version in force, compiled again when it
//! is needed. A text never holds a secret: where one is written out, the text says `{}` (which resolves to nothing), and
//! comments are left out. Its site then takes submissions by its tokens, and its leads wait for the keys.

mod folder;

mod withhold;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

pub(super) use self::folder::{Folder, RemovedParts};
use self::withhold::{Withheld, text_of};
use super::cut_short;
use super::mappings::{self, MappingFile};
use super::notify::{Sink, WrittenSink};
use super::reader::Table;
use super::secret::Sources;
use super::sections::{self, Sections};
use super::site;
use super::snapshot::{Config, Site};
use super::source::SourceFile;
use crate::lead::SiteId;
use crate::map::Mapping;

/// Tables of `config.toml` that are kept; the sites in it are kept with the other sites.
const SECTIONS: [(&str, Withheld); 11] = [
    ("server", Withheld::LeftOut),
    ("admin", Withheld::LeftOut),
    ("kaicalls", Withheld::LeftOut),
    ("queue", Withheld::LeftOut),
    ("limits", Withheld::LeftOut),
    ("backup", Withheld::LeftOut),
    // Without its secret a webhook would be sent unsigned, and mail without a password.
    ("notify", Withheld::Unresolved),
    ("mail", Withheld::Unresolved),
    ("alerts", Withheld::LeftOut),
    ("sites", Withheld::LeftOut),
    ("mappings", Withheld::LeftOut),
];

/// Where the versions in force came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Texts {
    /// `config.toml`, which the sections stand in.
    pub(super) config: PathBuf,
    /// Each as a document with that one table.
    pub(super) sections: BTreeMap<String, String>,
    /// What `config.toml` had, from its beginning to its end; see [`cut_short`].
    pub(super) outline: Vec<String>,
    pub(super) mappings: BTreeMap<String, Text>,
    pub(super) sites: BTreeMap<SiteId, Text>,
}

/// A text, and the file it came from: relative paths in it are relative to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Text {
    pub(super) file: PathBuf,
    pub(super) text: String,
    /// What a site had, from its beginning to its end; see [`cut_short`].
    #[serde(default)]
    pub(super) outline: Vec<String>,
}

impl Texts {
    /// Keeps the tables of `config.toml` and the sites in it, whether or not they can be used.
    pub(super) fn add_config(&mut self, file: &SourceFile) {
        self.config = absolute(file.path());
        let Ok(mut root) = file.text().parse::<toml::Table>() else { return };
        self.outline = cut_short::outline(&root);
        for (name, withheld) in SECTIONS {
            if let Some(section) = root.remove(name) {
                let alone = toml::Table::from_iter([(name.to_owned(), section)]);
                self.sections.insert(name.to_owned(), text_of(alone, withheld));
            }
        }
        let sites = root.remove("site").and_then(|sites| sites.as_array().cloned()).unwrap_or_default();
        for site in sites.into_iter().filter_map(|site| site.as_table().cloned()) {
            self.add_site(file.path(), site);
        }
    }

    pub(super) fn add_site_file(&mut self, file: &SourceFile) {
        if let Ok(site) = file.text().parse::<toml::Table>() {
            self.add_site(file.path(), site);
        }
    }

    fn add_site(&mut self, file: &Path, site: toml::Table) {
        let id = site.get("id").and_then(|id| SiteId::parse(id.as_str()?).ok());
        if let Some(id) = id {
            let outline = cut_short::site_outline(&site);
            let text = text_of(site, Withheld::Unresolved);
            self.sites.insert(id, Text { file: absolute(file), text, outline });
        }
    }

    /// Keeps a mapping without its examples, which it passed.
    pub(super) fn add_mapping(&mut self, name: &str, file: &SourceFile) {
        if let Ok(mut mapping) = file.text().parse::<toml::Table>() {
            mapping.remove("example");
            let text = text_of(mapping, Withheld::LeftOut);
            self.mappings.insert(name.to_owned(), Text { file: absolute(file.path()), text, outline: Vec::new() });
        }
    }

    /// Returns the tables that say which files are included.
    pub(super) fn includes(&self) -> String {
        ["sites", "mappings"].iter().filter_map(|name| self.sections.get(*name)).map(String::as_str).collect()
    }
}

/// What stands in for what is broken or gone: the configuration that runs, or the last good one of another run.
#[derive(Default)]
pub(super) struct Fallback {
    pub(super) sections: Sections,
    pub(super) sites: BTreeMap<SiteId, Arc<Site>>,
    /// The operator's.
    pub(super) mappings: BTreeMap<String, Arc<Mapping>>,
    /// By their names, those of sites' files too.
    pub(super) sinks: BTreeMap<String, Arc<Sink>>,
    pub(super) texts: Texts,
}

impl Fallback {
    /// Stands in at a reload.
    pub(super) fn running(config: &Config, texts: &Texts) -> Self {
        let own = config.mappings.iter().filter(|mapping| mapping.own);
        Self {
            sections: Sections::of(config),
            sites: config.sites.clone(),
            mappings: own.map(|mapping| (mapping.name.clone(), Arc::clone(mapping))).collect(),
            sinks: by_name(&config.sinks),
            texts: texts.clone(),
        }
    }

    /// Stands in at a start. What this program can't read any more is left out.
    pub(super) fn compile(texts: Texts, sources: &Sources, today: Date) -> Self {
        let sections: String = texts.sections.values().map(String::as_str).collect();
        let root = SourceFile::kept(&texts.config, sections);
        let sections = root
            .parse()
            .map(|entries| Sections::compile(&Table::root(&root, &entries, sections::KEYS), sources, today));
        let files: Vec<_> = texts.mappings.iter().map(|(name, text)| MappingFile::kept(name, text)).collect();
        let mappings =
            mappings::compile(&files).sound.into_iter().map(|mapping| (mapping.name.clone(), mapping.into()));
        let mappings: BTreeMap<_, Arc<Mapping>> = mappings.collect();
        let names: BTreeSet<_> = mappings.keys().cloned().collect();
        let context = site::Context { sources, today, mappings: &names, sound: &[], has_mail: true };
        let sites = texts.sites.iter().filter_map(|(id, text)| Some((id.clone(), compile_site(text, &context)?)));
        let sites: BTreeMap<_, Arc<Site>> = sites.collect();
        let sections = sections.unwrap_or_default();
        let of_sites = sites.values().flat_map(|site| &site.notify.sinks);
        let sinks = by_name(sections.sinks.iter().flatten().filter_map(WrittenSink::sound).chain(of_sites));
        Self { sections, sites, mappings, sinks, texts }
    }
}

fn by_name<'a>(sinks: impl IntoIterator<Item = &'a Arc<Sink>>) -> BTreeMap<String, Arc<Sink>> {
    sinks.into_iter().map(|sink| (sink.name.clone(), Arc::clone(sink))).collect()
}

fn compile_site(Text { file, text, .. }: &Text, context: &site::Context<'_>) -> Option<Arc<Site>> {
    let file = SourceFile::kept(file, text.clone());
    let entries = file.parse()?;
    site::compile(&Table::root(&file, &entries, site::KEYS), context).site.map(Arc::new)
}

/// A copy is read from another folder than it was written in.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_no_folder| path.to_owned())
}
