//! A site as its file says it is, with what the running gateway knows of it.

use std::path::Path;

use jiff::civil::Date;
use serde::Serialize;

use crate::config::{BrokenSite, Diagnostic, Diagnostics, Loaded, Severity, Site};
use crate::lead::{FormId, SiteId};
use crate::operate::{SiteDetail, SiteSummary};

/// One site.
#[derive(Serialize)]
pub(super) struct SiteRow<'a> {
    pub(super) id: Option<&'a SiteId>,
    pub(super) name: Option<&'a str>,
    pub(super) url: Option<&'a str>,
    /// Where its forms post to.
    pub(super) hook_url: Option<String>,
    pub(super) forms: Vec<&'a FormId>,
    pub(super) tokens: Tokens,
    /// Signed posts are taken too.
    pub(super) signature: bool,
    pub(super) deliver: bool,
    /// It can't be used as it is written.
    pub(super) broken: bool,
    /// It is well written, but a file or a variable that it names is missing.
    #[serde(skip)]
    pub(super) lacks_keys: bool,
    /// Where the first thing is that is wrong with it, as `file:line:column`; `formgate check` shows all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// None: it left the configuration, and still has leads.
    pub(super) file: Option<&'a Path>,
    /// What the running gateway knows of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) figures: Option<Figures<'a>>,
}

/// What the gateway tells of a site, in a list or of it alone.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Figures<'a> {
    Summary(&'a SiteSummary),
    Detail(&'a SiteDetail),
}

/// How many tokens a site has.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Tokens {
    pub(super) valid: usize,
    pub(super) expired: usize,
}

/// Returns the sites as their files say, by id.
pub(super) fn rows(loaded: &Loaded, today: Date) -> Vec<SiteRow<'_>> {
    let hook_url = |id| loaded.server().map(|server| server.hook_url(id));
    let mut rows: Vec<_> = loaded.sound_sites().map(|site| SiteRow::of(site, hook_url(&site.id), today)).collect();
    rows.extend(loaded.broken_sites.iter().map(|site| SiteRow::of_broken(site, &loaded.diagnostics)));
    rows.sort_by_key(|row| row.id);
    rows
}

impl<'a> SiteRow<'a> {
    fn of(site: &'a Site, hook_url: Option<String>, today: Date) -> Self {
        let expired = site.tokens.iter().filter(|token| token.expires.is_some_and(|last| last < today)).count();
        Self {
            name: site.name.as_deref(),
            url: site.url.as_deref(),
            hook_url,
            forms: site.rules.forms.iter().map(|form| &form.id).collect(),
            tokens: Tokens { valid: site.tokens.len() - expired, expired },
            signature: !site.wpforms_secrets.is_empty(),
            deliver: site.deliver,
            file: Some(&site.file),
            ..Self::nothing(Some(&site.id))
        }
    }

    fn of_broken(site: &'a BrokenSite, diagnostics: &Diagnostics) -> Self {
        let is_why = |found: &&Diagnostic| found.file == site.file && found.severity > Severity::Warning;
        let why = diagnostics.iter().find(is_why);
        let problem = why.map_or_else(|| site.file.display().to_string(), Diagnostic::location);
        let mut all = diagnostics.iter().filter(is_why);
        let lacks_keys = why.is_some() && all.all(|found| found.severity == Severity::Unresolved);
        let file = Some(site.file.as_path());
        Self { broken: true, lacks_keys, problem: Some(problem), file, ..Self::nothing(site.id.as_ref()) }
    }

    /// A site that no file has.
    pub(super) fn nothing(id: Option<&'a SiteId>) -> Self {
        Self {
            id,
            name: None,
            url: None,
            hook_url: None,
            forms: Vec::new(),
            tokens: Tokens::default(),
            signature: false,
            deliver: false,
            broken: false,
            lacks_keys: false,
            problem: None,
            file: None,
            figures: None,
        }
    }

    /// Says what is wrong with its file.
    pub(super) fn trouble(&self) -> Option<String> {
        let problem = self.problem.as_deref()?;
        let status = if self.lacks_keys { "keys missing" } else { "broken" };
        Some(format!("{status} ({problem})"))
    }

    /// Returns the file it stands in.
    pub(super) fn file_name(&self) -> String {
        self.file.map_or_else(|| "-".to_owned(), |file| file.display().to_string())
    }
}

impl Tokens {
    pub(super) fn words(self, signature: bool) -> String {
        let mut words = self.valid.to_string();
        if self.expired > 0 {
            words.push_str(&format!(" ({} expired)", self.expired));
        }
        if signature {
            words.push_str(" + signature");
        }
        words
    }
}
