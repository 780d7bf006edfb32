//! All sites: those in `config.toml` and those in files of their own, each sound or broken by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::advice;
use super::cut_short;
use super::diagnostic::Severity;
use super::last_good::Texts;
use super::load::BrokenSite;
use super::reader::Table;
use super::recurring::{Recurring, RecurringKind, folder_of};
use super::secret::readable_by_others;
use super::site::{self, CompiledSite};
use super::snapshot::Site;
use super::source::SourceFile;
use crate::lead::SiteId;

/// What became of all sites.
#[derive(Default)]
pub(super) struct CompiledSites {
    /// Those that can take submissions as they are written.
    pub(super) usable: BTreeMap<SiteId, UsableSite>,
    /// Those that can't.
    pub(super) broken: Vec<BrokenSite>,
}

/// A site that is written well.
pub(super) struct UsableSite {
    pub(super) site: Arc<Site>,
    /// Keys, a secret or a mapping that it names can't be had.
    pub(super) lacks_something: bool,
    /// All that it lacks is files that are not there.
    pub(super) lacks_files_alone: bool,
}

/// Compiles the sites of `config.toml` and of the files; one that lacks what the last good one has at its end is broken.
pub(super) fn compile(
    root: Option<&Table<'_>>,
    files: &[SourceFile],
    last_good: Option<&Texts>,
    context: &site::Context<'_>,
) -> CompiledSites {
    let inline = root.and_then(|root| root.sections("site", site::KEYS, |table| Some(site::compile(table, context))));
    let mut sites = inline.unwrap_or_default();
    if let (Some(last), Some(last_good)) = (sites.last_mut(), last_good)
        && let Some(text) = last_inline(last.file)
    {
        break_if_cut(last, &text, last_good);
    }
    let parsed: Vec<_> = files.iter().map(|file| (file, file.parse())).collect();
    sites.extend(parsed.iter().map(|(file, parsed)| match parsed {
        Some(entries) if !advice::is_nested_site(file, entries) => {
            let mut site = site::compile(&Table::root(file, entries, site::KEYS), context);
            if let Some(last_good) = last_good
                && let Ok(text) = file.text().parse::<toml::Table>()
            {
                break_if_cut(&mut site, &text, last_good);
            }
            site
        }
        _ => CompiledSite::unread(file),
    }));
    let twice = report_same_ids(&sites);
    advice::warn_of_shared_tokens(&sites);
    advice::warn_of_shared_pairs(&sites);
    let mut compiled = CompiledSites::default();
    for CompiledSite { file, id, site, lacks_something, lacks_files_alone, .. } in sites {
        let id = id.map(|(id, _)| id);
        match (site.filter(|site| !twice.contains(&site.id)), id) {
            (Some(site), Some(id)) => {
                compiled.usable.insert(id, UsableSite { site: Arc::new(site), lacks_something, lacks_files_alone });
            }
            (_, id) => compiled.broken.push(BrokenSite { id, file: file.path().to_owned() }),
        }
    }
    compiled
}

/// Returns the site that `config.toml` ends with, if it does.
fn last_inline(config: &SourceFile) -> Option<toml::Table> {
    let root: toml::Table = config.text().parse().ok()?;
    let (_, sites) = root.iter().next_back().filter(|(key, _)| *key == "site")?;
    sites.as_array()?.last()?.as_table().cloned()
}

fn break_if_cut(site: &mut CompiledSite<'_>, text: &toml::Table, last_good: &Texts) {
    if let Some((id, _)) = &site.id
        && cut_short::report_site(site.file, id, text, last_good)
    {
        site.site = None;
    }
}

/// Reports ids that two sites claim, and returns them: neither is used, since either may be the one that is meant.
fn report_same_ids(sites: &[CompiledSite<'_>]) -> BTreeSet<SiteId> {
    let mut seen: BTreeMap<&SiteId, String> = BTreeMap::new();
    let mut twice = BTreeSet::new();
    for (file, (id, span)) in sites.iter().filter_map(|site| site.id.as_ref().map(|id| (site.file, id))) {
        if let Some(first) = seen.get(id) {
            let message = format!("there is already a site `{id}`, at {first}");
            file.report(
                Severity::Error,
                span.clone(),
                &message,
                Some("each site needs its own id, because it is part of its URLs"),
            );
            twice.insert(id.clone());
        } else {
            seen.insert(id, file.location(span));
        }
    }
    twice
}

pub(super) fn warn_if_readable(file: &SourceFile) {
    if file.holds_secret() && readable_by_others(file.path()) {
        let subject = file.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let recurring = Recurring { kind: RecurringKind::Readable(folder_of(file.path())), subject };
        let message = "this file contains a secret, and other users can read it";
        let hint = format!("chmod 600 {}, or move the secret to its own file", file.path().display());
        file.report_recurring(Severity::Warning, None, recurring, message, Some(&hint));
    }
}
