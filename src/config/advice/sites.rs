//! What sites lack, and what they share unmeant.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::diagnostic::{Diagnostics, Severity};
use crate::config::reader::Table;
use crate::config::recurring::{Recurring, RecurringKind};
use crate::config::site::CompiledSite;
use crate::config::snapshot::Site;
use crate::lead::SiteId;

/// Warns where there is nothing to post to.
pub(in crate::config) fn warn_of_no_sites(config: &Path, diagnostics: &mut Diagnostics) {
    let hint = "write sites/NAME.toml, or a [[site]] table in this file; `[sites].include` says where formgate looks \
                for files";
    diagnostics.add_warning(config, "there are no sites, so nobody can post", hint);
}

/// Warns of a site whose forms have nothing to identify themselves with.
pub(in crate::config) fn warn_of_no_token(table: &Table<'_>, site: &Site) {
    let has_credential = !site.tokens.is_empty() || !site.wpforms_secrets.is_empty() || site.lacks_signature_secret;
    if !has_credential && site.page_forms.is_empty() {
        let message = format!("nobody can post to site `{}` yet: it has no token", site.id);
        let hint = format!("run `formgate sites token {}`", site.id);
        warn_of_site(table, "tokens", &site.id, RecurringKind::NoToken, &message, &hint);
    }
}

/// Warns of a site where nobody has said from which country its visitors call.
pub(in crate::config) fn warn_of_no_region(table: &Table<'_>, site: &Site) {
    if site.rules.region.is_none() {
        let message = format!("site `{}` has no `region`: phone numbers without + are sent as typed", site.id);
        let hint =
            "set the country its visitors dial from, such as region = \"US\"; the wrong region makes wrong numbers";
        warn_of_site(table, "region", &site.id, RecurringKind::NoRegion, &message, hint);
    }
}

fn warn_of_site(table: &Table<'_>, key: &'static str, id: &SiteId, kind: RecurringKind, message: &str, hint: &str) {
    let place = table.get(key).or_else(|| table.get("id"));
    let span = place.map_or_else(|| table.span(), |value| value.span());
    let recurring = Recurring { kind, subject: id.to_string() };
    table.file().report_recurring(Severity::Warning, Some(span), recurring, message, Some(hint));
}

/// One token may stand in several sites, but who holds it can post to each.
pub(in crate::config) fn warn_of_shared_tokens(sites: &[CompiledSite<'_>]) {
    let mut seen: BTreeMap<[u8; 32], (&SiteId, String)> = BTreeMap::new();
    for site in sites {
        let Some((id, _)) = &site.id else { continue };
        for placed in &site.tokens {
            let (first, place) =
                seen.entry(placed.token.sha256).or_insert_with(|| (id, site.file.location(&placed.span)));
            if *first != id {
                let recurring = Recurring { kind: RecurringKind::SharedToken, subject: id.to_string() };
                let message = format!("site `{first}` has the same token, at {place}");
                let hint = "whoever has it can post to both; give each site its own token, unless this is intended";
                let span = Some(placed.span.clone());
                site.file.report_recurring(Severity::Warning, span, recurring, &message, Some(hint));
            }
        }
    }
}
