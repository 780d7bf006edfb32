//! The configuration a command works with, or the shipped mappings where there is none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::capture::Capture;
use super::console::Console;
use super::error::Error;
use crate::config::{self, Diagnostics, Loaded, Severity, Site, Sources};
use crate::lead::{FormId, SiteId};
use crate::pipeline::{Mappings, SiteRules};

/// Which configuration is meant.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ConfigArg {
    /// The configuration [default: $FORMGATE_CONFIG, ./config.toml, /etc/formgate/config.toml]
    #[arg(long, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
}

impl ConfigArg {
    /// Returns where the configuration is, whether or not it can be read.
    pub(super) fn find(&self) -> Result<PathBuf, Error> {
        config::find_config_file(self.config.as_deref(), &Sources::command_line()).map_err(Error::config)
    }

    /// Loads the configuration with all its problems.
    pub(super) fn load(&self) -> Result<(PathBuf, Loaded), Error> {
        let path = self.find()?;
        let loaded = config::load(&path, &Sources::command_line(), today());
        Ok((path, loaded))
    }
}

/// The day in UTC; commands take it from here, logic takes it as an argument.
pub(super) fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

/// The rules and mappings that submissions are run through.
pub(super) struct LoadedRules {
    pub(super) mappings: Arc<Mappings>,
    sites: BTreeMap<SiteId, Arc<Site>>,
    /// Sites that can't be used as they are written.
    broken: Vec<SiteId>,
    pub(super) diagnostics: Diagnostics,
    /// Names of the operator's mappings that are broken or fail their own examples.
    pub(super) broken_mappings: Vec<String>,
}

/// The rules one submission meets.
pub(super) struct Met {
    pub(super) site: SiteRules,
    /// The form that was asked for, or that the captured URL names.
    pub(super) form: Option<FormId>,
}

impl LoadedRules {
    /// Loads the configuration; where none is named and none is found, the shipped mappings serve.
    pub(super) fn load(arg: &ConfigArg, console: &mut Console) -> Result<Self, Error> {
        let found = config::find_config_file(arg.config.as_deref(), &Sources::command_line());
        if found.is_err() {
            console.say("no configuration found; using the shipped mappings, without a site's rules");
            return Ok(Self::shipped());
        }
        let path = arg.find()?;
        // Mapping needs no secret: a checkout in CI has none.
        let loaded = config::load(&path, &Sources::command_line().with_stand_ins(), today());
        let Loaded { config, broken_sites, broken_mappings, diagnostics, .. } = loaded;
        let Some(config) = config else {
            console.say(diagnostics.render(console.talk_paint().colour));
            let error = Error::config(anyhow!("{} has errors", path.display()));
            return Err(error.hint("`formgate check` shows every problem"));
        };
        let broken = broken_sites.into_iter().filter_map(|site| site.id).collect();
        Ok(Self { mappings: config.mappings, sites: config.sites, broken, diagnostics, broken_mappings })
    }

    pub(super) fn shipped() -> Self {
        let (mappings, diagnostics) = config::shipped_mappings();
        Self {
            mappings: Arc::new(mappings),
            sites: BTreeMap::new(),
            broken: Vec::new(),
            diagnostics,
            broken_mappings: Vec::new(),
        }
    }

    /// Tells whoever watches that something is wrong which this command can do without.
    pub(super) fn mention_problems(&self, console: &mut Console) {
        let count = self.diagnostics.count(Severity::Error) + self.diagnostics.count(Severity::Unresolved);
        if count > 0 {
            console.say(format!("problems in the configuration: {count}; `formgate check` shows them"));
        }
    }

    /// Returns the rules for a submission: of the site and form that are named, else of those its URL names, else none.
    pub(super) fn meet(&self, site: Option<&SiteId>, form: Option<&FormId>, capture: &Capture) -> Result<Met, Error> {
        let addressed = capture.addressed_to();
        let known = |(site, _): &(SiteId, Option<FormId>)| self.sites.contains_key(site);
        let rules = match (site, addressed.as_ref().filter(|address| known(address))) {
            (Some(site), _) => self.site(site)?.rules.clone(),
            (None, Some((site, _))) => self.site(site)?.rules.clone(),
            (None, None) => SiteRules::default(),
        };
        let form = form.cloned().or_else(|| addressed.and_then(|(_, form)| form));
        Ok(Met { site: rules, form })
    }

    fn site(&self, id: &SiteId) -> Result<&Site, Error> {
        match self.sites.get(id) {
            Some(site) => Ok(site),
            None if self.broken.contains(id) => {
                let error = Error::config(anyhow!("site `{id}` has errors"));
                Err(error.hint("`formgate check` shows them"))
            }
            None => {
                let hint = match self.sites.is_empty() {
                    true => "the configuration has no usable site".to_owned(),
                    false => config::known_names(id.as_str(), self.sites.keys().map(SiteId::as_str)),
                };
                Err(Error::usage(anyhow!("there is no site `{id}`")).hint(hint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(path: &str) -> Capture {
        Capture::parse(format!("POST {path} HTTP/1.1\r\n\r\n").as_bytes()).expect("a capture")
    }

    #[test]
    fn a_site_that_is_not_there_is_a_wrong_command_and_an_unknown_url_is_none() {
        let rules = LoadedRules::shipped();
        let acme = SiteId::parse("acme").expect("an id");
        let error = rules.meet(Some(&acme), None, &capture("/")).err().expect("refused");
        assert_eq!(error.exit(), crate::cli::Exit::Usage);
        let met = rules.meet(None, None, &capture("/hooks/acme/contact")).expect("rules");
        assert_eq!(met.form.as_ref().map(FormId::as_str), Some("contact"));
        assert!(met.site.forms.is_empty());
    }
}
