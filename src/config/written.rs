//! One site as a text has it, compiled by itself: what a command is about to write is tried first.

use std::path::Path;

use jiff::civil::Date;

use super::advice;
use super::diagnostic::{Diagnostic, Severity};
use super::reader::Table;
use super::secret::Sources;
use super::sections;
use super::site::{self, CompiledSite, Context};
use super::snapshot::Site;
use super::source::SourceFile;
use crate::lead::SiteId;

/// A site in a text.
pub struct WrittenSite {
    /// None: it can't be used as it is written. Keys that can't be read are no reason: it takes submissions without.
    pub site: Option<Site>,
    /// What keeps it, or something that it names, from being used.
    pub problems: Vec<Diagnostic>,
}

/// Finds a site in a text that is, or will be, the file at `path`: a site's own, or a `config.toml`. None: it isn't
/// there, or the text isn't TOML.
///
/// Which mappings there are is not known here, so that forms that name one are judged without it.
pub fn written_site(path: &Path, text: &str, id: &SiteId, sources: &Sources, today: Date) -> Option<WrittenSite> {
    let file = SourceFile::from_text(path, text.to_owned());
    let context = Context { sources, today, mappings: &std::collections::BTreeSet::new(), sound: &[], has_mail: true };
    let found = find(&file, id, &context)?;
    let problems = file.into_problems().filter(|found| found.severity > Severity::Warning).collect();
    Some(WrittenSite { site: found, problems })
}

/// Gives the site, as far as it can be used.
fn find(file: &SourceFile, id: &SiteId, context: &Context<'_>) -> Option<Option<Site>> {
    let entries = file.parse()?;
    let is_it = |site: &CompiledSite<'_>| site.id.as_ref().is_some_and(|(found, _)| found == id);
    if entries.contains_key("id") && !advice::is_nested_site(file, &entries) {
        let own = site::compile(&Table::root(file, &entries, site::KEYS), context);
        return is_it(&own).then_some(own.site);
    }
    let root = Table::unchecked(file, &entries, sections::KEYS);
    let mut sites = root.sections("site", site::KEYS, |table| Some(site::compile(table, context)))?;
    let at = sites.iter().position(is_it)?;
    Some(sites.swap_remove(at).site)
}
