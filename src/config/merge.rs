//! What is in force: each part as it is written where it is sound, else as it was last good.
//!
//! A reload and a start do the same; only where the last good versions come from differs. The absence of a file never
//! takes a part with it. What is taken out of a file that can be read is gone, unless that takes many sites at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::advice;
use super::diagnostic::Diagnostics;
use super::last_good::{Fallback, RemovedParts, Texts, absolute};
use super::load::ConfigParts;
use super::mappings;
use super::notify::{WrittenMail, WrittenSink};
use super::snapshot::{Config, Site};
use super::stand_in::{ConfigPart, PartFault, StandIn, StandInSource, report_gone};
use crate::lead::SiteId;
use crate::map::Mapping;
use crate::pipeline::Mappings;

/// More than one site in so many is never taken out at once.
const TAKEN_OUT_MAX: usize = 10;

/// The files, with what stands in for their broken parts.
pub(super) struct MergedConfig {
    /// The configuration, and what gave it, to stand in later; none where nothing can be served.
    pub(super) in_force: Option<(Config, Texts)>,
    pub(super) stand_ins: Vec<StandIn>,
    /// Many sites would have vanished at once.
    pub(super) is_refused: bool,
}

/// Puts together what is in force. What is gone is added to `diagnostics`.
pub(super) fn merge(
    parts: &ConfigParts,
    fallback: &Fallback,
    removed: &RemovedParts,
    diagnostics: &mut Diagnostics,
) -> MergedConfig {
    let mut merge = ConfigMerge { parts, fallback, removed, stand_ins: Vec::new(), is_blind: false, is_refused: false };
    let sections = merge.sections();
    let mut sites = merge.sites();
    let mut mappings: ByName =
        parts.mappings.iter().map(|mapping| (mapping.name.clone(), Arc::clone(mapping))).collect();
    merge.replace_unmapped(&mut sites, &mappings);
    merge.keep_mappings(&sites, &mut mappings);
    merge.other_files();
    let texts = merge.texts(&sites, &mappings);
    report_gone(&merge.stand_ins, diagnostics);
    if sites.is_empty() && parts.sites.broken.is_empty() && !parts.is_config_broken() {
        advice::warn_of_no_sites(&parts.config, diagnostics);
    }
    let config = sections.into_config().map(|mut config| {
        config.missing.credentials = merge.is_blind || sites.values().any(|site| site.lacks_signature_secret);
        config.missing.keys = config.missing.credentials || sites.values().any(|site| site.lacks_keys());
        config.sites = sites;
        merge.add_sinks_of_sites(&mut config);
        config.broken_sites = merge.stand_ins.iter().filter_map(broken_site).collect();
        let mappings = mappings.into_values().map(|mapping| mapping.as_ref().clone());
        config.mappings = Arc::new(Mappings::new(mappings, mappings::dictionary()));
        config
    });
    let in_force = config.map(|config| (config, texts));
    MergedConfig { in_force, stand_ins: merge.stand_ins, is_refused: merge.is_refused }
}

/// Returns the site whose file is broken or gone. One that lacks keys is written well.
fn broken_site(stand_in: &StandIn) -> Option<SiteId> {
    match &stand_in.part {
        ConfigPart::Site(id) if !stand_in.fault.is_lack() => Some(id.clone()),
        _ => None,
    }
}

type Sites = BTreeMap<SiteId, Arc<Site>>;
/// By name, the operator's in the place of a shipped one.
type ByName = BTreeMap<String, Arc<Mapping>>;

/// The merge in progress.
struct ConfigMerge<'a> {
    parts: &'a ConfigParts,
    fallback: &'a Fallback,
    removed: &'a RemovedParts,
    stand_ins: Vec<StandIn>,
    /// There may be a site that nobody knows of.
    is_blind: bool,
    is_refused: bool,
}

impl ConfigMerge<'_> {
    fn stand_in(&mut self, part: ConfigPart, file: &Path, fault: PartFault, by: StandInSource) {
        self.stand_ins.push(StandIn { part, file: file.to_owned(), fault, by });
    }

    fn sections(&mut self) -> super::sections::Sections {
        let written = self.parts.sections.states();
        let mut merged = self.parts.sections.clone().or(&self.fallback.sections);
        merged.replace_sinks(&self.fallback.sinks);
        for ((name, is_sound), (_, is_known)) in written.into_iter().zip(merged.states()) {
            let by = match (is_known, name) {
                (true, _) => StandInSource::LastGood,
                (false, "admin" | "alerts") => StandInSource::Default,
                (false, "notify") => StandInSource::Itself,
                (false, _) => StandInSource::Nothing,
            };
            if !is_sound {
                self.stand_in(ConfigPart::Section(name), &self.parts.config, PartFault::Broken, by);
            }
        }
        self.lacking_sections(&merged);
        merged
    }

    /// Names the sections that are written well, and lack what they name.
    fn lacking_sections(&mut self, merged: &super::sections::Sections) {
        let written = &self.parts.sections;
        let config = &self.parts.config;
        if written.sinks.iter().flatten().any(WrittenSink::is_lacking) {
            let is_known = merged.sinks.iter().flatten().all(|sink| !sink.is_lacking());
            let by = if is_known { StandInSource::LastGood } else { StandInSource::Itself };
            self.stand_in(ConfigPart::Section("notify"), config, PartFault::Incomplete, by);
        }
        if matches!(written.mail, Some(WrittenMail::Lacking)) {
            let is_known = merged.mail.as_ref().is_some_and(WrittenMail::is_sound);
            let by = if is_known { StandInSource::LastGood } else { StandInSource::Nothing };
            self.stand_in(ConfigPart::Section("mail"), config, PartFault::Incomplete, by);
        }
    }

    /// Gathers the sinks of sites, and leaves out those that nothing can be sent to.
    fn add_sinks_of_sites(&mut self, config: &mut Config) {
        let known = &self.fallback.sinks;
        for site in config.sites.values() {
            config.sinks.extend(site.notify.sinks.iter().cloned());
            config.sinks.extend(site.notify.lacking.iter().filter_map(|name| known.get(name)).cloned());
            let part = ConfigPart::Site(site.id.clone());
            if !site.notify.lacking.is_empty() && !self.stand_ins.iter().any(|stand_in| stand_in.part == part) {
                self.stand_in(part, &site.file, PartFault::Incomplete, StandInSource::Itself);
            }
        }
        if config.mail.is_none() {
            config.sinks.retain(|sink| !sink.is_mail());
        }
    }

    fn sites(&mut self) -> Sites {
        let mut sites = self.written_sites();
        for broken in &self.parts.sites.broken {
            let (file, Some(id)) = (&broken.file, &broken.id) else { continue };
            if sites.contains_key(id) {
                continue;
            }
            let last_good = self.fallback.sites.get(id);
            let by = if last_good.is_some() { StandInSource::LastGood } else { StandInSource::Nothing };
            self.is_blind |= last_good.is_none();
            self.stand_in(ConfigPart::Site(id.clone()), file, PartFault::Broken, by);
            sites.extend(last_good.map(|site| (id.clone(), Arc::clone(site))));
        }
        self.keep_missing(&mut sites);
        let known: BTreeSet<_> = self.fallback.texts.sites.values().map(|text| text.file.as_path()).collect();
        let nameless = self.parts.sites.broken.iter().filter(|broken| broken.id.is_none());
        self.is_blind |= nameless.map(|broken| absolute(&broken.file)).any(|file| !known.contains(file.as_path()));
        let is_known = |path: &Path| known.iter().any(|file| *file == path || file.parent() == path.parent());
        self.is_blind |= self.parts.unlisted_sites.iter().any(|path| !is_known(&absolute(path)));
        sites
    }

    /// Takes the sites as they are written; one whose secrets can't be had as it was while they could.
    fn written_sites(&mut self) -> Sites {
        let mut sites = Sites::new();
        for (id, written) in &self.parts.sites.usable {
            let last_good = self.fallback.sites.get(id).filter(|site| !lacks_secrets(site));
            let (site, by) = match last_good.filter(|_| lacks_secrets(&written.site)) {
                Some(last_good) => (last_good, StandInSource::LastGood),
                None => (&written.site, StandInSource::Itself),
            };
            if lacks_secrets(&written.site) {
                // Without a secret for signatures posts are refused. Keys that are there and wrong were meant to be right.
                let waits = written.lacks_files_alone && !written.site.lacks_signature_secret;
                let fault = if waits { PartFault::NoKeys } else { PartFault::Incomplete };
                self.stand_in(ConfigPart::Site(id.clone()), &written.site.file, fault, by);
            }
            sites.insert(id.clone(), Arc::clone(site));
        }
        sites
    }

    /// Keeps the sites that are written nowhere, but for those that were taken out on purpose.
    fn keep_missing(&mut self, sites: &mut Sites) {
        let states: BTreeMap<&Path, bool> =
            self.parts.files.iter().map(|(file, is_sound)| (file.as_path(), *is_sound)).collect();
        let mut taken_out = Vec::new();
        let (mut gone, fallback) = (0, self.fallback);
        let missing = fallback.sites.iter().filter(|(id, _)| !self.removed.sites.contains(*id));
        let missing: Vec<_> = missing.filter(|(id, _)| !sites.contains_key(*id)).collect();
        for (id, site) in missing {
            let file = absolute(&site.file);
            let fault = match states.get(file.as_path()) {
                Some(true) => {
                    taken_out.push((id, site, file));
                    continue;
                }
                Some(false) => PartFault::Broken,
                None => PartFault::Gone,
            };
            gone += usize::from(fault == PartFault::Gone);
            self.stand_in(ConfigPart::Site(id.clone()), &file, fault, StandInSource::LastGood);
            sites.insert(id.clone(), Arc::clone(site));
        }
        let is_many = |count: usize| count > 1 && count * TAKEN_OUT_MAX > fallback.sites.len();
        self.is_refused = is_many(gone);
        let leaves_none = sites.is_empty() && !taken_out.is_empty();
        if is_many(taken_out.len()) || leaves_none {
            self.is_refused = true;
            for (id, site, file) in taken_out {
                self.stand_in(ConfigPart::Site(id.clone()), &file, PartFault::TakenOut, StandInSource::LastGood);
                sites.insert(id.clone(), Arc::clone(site));
            }
        }
    }

    /// Puts what was last good in the place of sites that name a mapping nobody knows. One without a last good version
    /// takes submissions all the same: the pipeline holds those that the mapping was meant for.
    fn replace_unmapped(&mut self, sites: &mut Sites, written: &ByName) {
        let fallback = self.fallback;
        let kept = |name: &str| fallback.mappings.contains_key(name) && !self.removed.mappings.contains(name);
        let is_mapped = |site: &Site| named(site).all(|name| written.contains_key(name) || kept(name));
        let unmapped: Vec<_> = sites.iter().filter(|(_, site)| !is_mapped(site)).map(|(id, _)| id.clone()).collect();
        for id in unmapped {
            let last_good = fallback.sites.get(&id).filter(|site| is_mapped(site));
            let by = if last_good.is_some() { StandInSource::LastGood } else { StandInSource::Itself };
            let Some(site) = sites.get_mut(&id) else { continue };
            self.stand_ins.push(StandIn {
                part: ConfigPart::Site(id),
                file: site.file.clone(),
                fault: PartFault::Incomplete,
                by,
            });
            if let Some(last_good) = last_good {
                *site = Arc::clone(last_good);
            }
        }
    }

    /// Keeps the mappings that are broken, and those that are gone while a site names them. One that no site names goes
    /// with its file, but not with its folder.
    fn keep_mappings(&mut self, sites: &Sites, mappings: &mut ByName) {
        let fallback = self.fallback;
        let needed: BTreeSet<&str> = sites.values().flat_map(|site| named(site)).collect();
        let gone = fallback.mappings.keys().filter(|name| !self.parts.own_mappings.contains_key(*name)).count();
        let is_alone = gone <= 1 || gone * TAKEN_OUT_MAX <= fallback.mappings.len();
        let kept = fallback.mappings.iter().filter(|(name, _)| !self.removed.mappings.contains(*name));
        for (name, mapping) in kept {
            let file =
                fallback.texts.mappings.get(name).map(|text| text.file.as_path()).unwrap_or_else(|| Path::new(""));
            let folder_is_listed = file.parent().is_some_and(|folder| self.parts.mapping_folders.contains(folder));
            let fault = match self.parts.own_mappings.get(name) {
                Some(true) => continue,
                Some(false) => PartFault::Broken,
                None if is_alone && folder_is_listed && !needed.contains(name.as_str()) => continue,
                None => PartFault::Gone,
            };
            self.stand_in(ConfigPart::Mapping(name.clone()), file, fault, StandInSource::LastGood);
            mappings.insert(name.clone(), Arc::clone(mapping));
        }
    }

    /// Names the files with faults that concern nothing that was named so far.
    fn other_files(&mut self) {
        let told: BTreeSet<_> = self.stand_ins.iter().map(|stand_in| absolute(&stand_in.file)).collect();
        let faulty = self.parts.files.iter().filter(|(file, is_sound)| !is_sound && !told.contains(file));
        let config = absolute(&self.parts.config);
        let others: Vec<_> = faulty
            .map(|(file, _)| {
                (file.clone(), if *file == config { StandInSource::Itself } else { StandInSource::Nothing })
            })
            .collect();
        for (file, by) in others {
            self.stand_in(ConfigPart::File, &file, PartFault::Broken, by);
        }
    }

    /// Gathers what gave the versions in force.
    fn texts(&self, sites: &Sites, mappings: &ByName) -> Texts {
        let written = &self.parts.texts;
        let kept = &self.fallback.texts;
        let of_last_good = |part: &ConfigPart| {
            self.stand_ins.iter().any(|stand_in| stand_in.part == *part && stand_in.by == StandInSource::LastGood)
        };
        let of_config = if self.parts.is_config_read { written } else { kept };
        let mut sections = of_config.sections.clone();
        for (name, is_sound) in self.parts.sections.states() {
            if !is_sound {
                sections.remove(name);
                sections.extend(kept.sections.get_key_value(name).map(|(name, text)| (name.clone(), text.clone())));
            }
        }
        let own = mappings.values().filter(|mapping| mapping.own).map(|mapping| &mapping.name);
        let mapping = |name: &String| {
            let from = if of_last_good(&ConfigPart::Mapping(name.clone())) { kept } else { written };
            Some((name.clone(), from.mappings.get(name)?.clone()))
        };
        let site = |id: &SiteId| {
            let from = if of_last_good(&ConfigPart::Site(id.clone())) { kept } else { written };
            Some((id.clone(), from.sites.get(id)?.clone()))
        };
        Texts {
            config: written.config.clone(),
            sections,
            outline: of_config.outline.clone(),
            mappings: own.filter_map(mapping).collect(),
            sites: sites.keys().filter_map(site).collect(),
        }
    }
}

fn named(site: &Site) -> impl Iterator<Item = &str> {
    site.rules.forms.iter().filter_map(|form| form.mapping.as_deref())
}

fn lacks_secrets(site: &Site) -> bool {
    site.lacks_keys() || site.lacks_signature_secret
}
