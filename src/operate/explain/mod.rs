//! `explain`: what becomes of a submission, by the rules in force or with a mapping that isn't written yet. Nothing is stored
//! or sent.

mod report;

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

pub use self::report::{ExplainReport, errors_of, lead_of};
use super::again::explain_as;
use super::{OperateError, find};
use crate::config::{self, Config};
use crate::lead::overlay::Overlay;
use crate::lead::{EntryId, FormId, SiteId};
use crate::pipeline::{self, Explained, Mappings, SiteRules};
use crate::queue::{Entry, Store, StoreError};
use crate::received::Received;
use crate::telemetry;

/// What is asked for. No `Debug`: a body is a visitor's.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExplainAsked {
    /// The site whose rules apply; none: the mappings alone, or the site of the entry.
    pub site: Option<String>,
    /// The form, as named in the webhook URL.
    pub form: Option<String>,
    pub content_type: Option<String>,
    pub body: Option<String>,
    /// A stored submission in place of a body: its id, or the beginning of it.
    pub entry: Option<String>,
    /// The text of a mapping, which every form then has.
    pub mapping: Option<String>,
    /// Show a stored submission whole where leads are masked.
    pub reveal: bool,
}

/// Why there is no explanation. No value of a submission is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadExplain {
    #[error("give either `body` with its `content_type`, or `entry`")]
    Subject,
    #[error("`{0}` can't be the id of a {1}: use 1 to 64 characters of a-z, 0-9, - and _")]
    Name(String, &'static str),
    #[error("there is no such site in the configuration")]
    NoSite,
    /// The diagnostics as `check` writes them.
    #[error("the mapping has errors:\n{0}")]
    Mapping(String),
}

/// A submission that is to be explained.
pub enum ExplainSubject {
    Posted(Received),
    Stored(Box<Entry>),
}

/// Most characters that are repeated of a name that is none.
const NAME_SHOWN_MAX: usize = 64;

impl ExplainSubject {
    /// Takes what is posted, or finds the stored entry.
    pub async fn find(store: &dyn Store, asked: &ExplainAsked) -> Result<ExplainSubject, OperateError> {
        match (&asked.body, &asked.content_type, &asked.entry) {
            (Some(body), Some(content_type), None) => Ok(ExplainSubject::Posted(posted(body, content_type))),
            (None, None, Some(id)) => Ok(ExplainSubject::Stored(Box::new(find(store, id).await??))),
            _ => Err(BadExplain::Subject.into()),
        }
    }

    /// Returns the id of a stored submission. It is a visitor's, so that who looks at it may have to be written down.
    pub fn stored(&self) -> Option<EntryId> {
        match self {
            ExplainSubject::Posted(_) => None,
            ExplainSubject::Stored(entry) => Some(entry.head.id),
        }
    }
}

/// Explains a submission, as [`ExplainReport`] writes it.
pub async fn explain(config: Arc<Config>, asked: ExplainAsked, subject: ExplainSubject) -> Result<Value, OperateError> {
    // To compile a mapping and decode a large body takes a while; requests must not wait for it.
    let report = telemetry::blocking(move || report(&config, &asked, &subject)).await;
    Ok(report.map_err(|panicked| StoreError::Corrupt(panicked.into()))??)
}

fn posted(body: &str, content_type: &str) -> Received {
    let headers = [("content-type", content_type.as_bytes())];
    Received::from_parts("POST", None, headers, Bytes::from(body.to_owned()))
}

fn report(config: &Config, asked: &ExplainAsked, subject: &ExplainSubject) -> Result<Value, BadExplain> {
    let explained = explained(config, asked, subject)?;
    // Its keys are text, and its values are plain.
    Ok(serde_json::to_value(ExplainReport::of(&explained)).unwrap_or_default())
}

fn explained(config: &Config, asked: &ExplainAsked, subject: &ExplainSubject) -> Result<Explained, BadExplain> {
    let site = site(config, asked, subject)?;
    let form =
        asked.form.as_deref().map(|form| FormId::parse(form).map_err(|_slug| named(form, "form"))).transpose()?;
    let mapping = asked.mapping.as_deref().map(config::mapping_of).transpose().map_err(|problems| {
        // For a text without a terminal.
        BadExplain::Mapping(problems.render(false))
    })?;
    if let (ExplainSubject::Stored(entry), None, None) = (subject, &form, &mapping) {
        let site = site.and_then(|id| config.sites.get(id)).map(Arc::as_ref);
        return Ok(explain_as(config, site, entry.as_ref()).0);
    }
    let no_rules = SiteRules::default();
    let rules = site.and_then(|id| config.sites.get(id)).map_or(&no_rules, |site| &site.rules);
    let (received, overlay, filed) = match subject {
        ExplainSubject::Posted(received) => (received, &Overlay::default(), None),
        ExplainSubject::Stored(entry) => (&entry.received, &entry.head.reading.overlay, Some(&entry.head.form)),
    };
    let form = form.as_ref().or(filed);
    Ok(match mapping {
        None => run(&config.mappings, rules, form, received, overlay),
        Some(mapping) => {
            let rules = rules.with_mapping(&mapping.name);
            run(&config.mappings.with(mapping), &rules, form, received, overlay)
        }
    })
}

fn run(
    mappings: &Mappings,
    rules: &SiteRules,
    form: Option<&FormId>,
    received: &Received,
    overlay: &Overlay,
) -> Explained {
    telemetry::catch(|| pipeline::explain_amended(mappings, rules, form, received, overlay))
        .unwrap_or_else(|_panicked| pipeline::panicked(rules, form, overlay))
}

/// Returns the site whose rules apply: the one that is named, else the entry's.
fn site<'a>(
    config: &'a Config,
    asked: &ExplainAsked,
    subject: &'a ExplainSubject,
) -> Result<Option<&'a SiteId>, BadExplain> {
    let Some(name) = asked.site.as_deref() else {
        return Ok(match subject {
            ExplainSubject::Posted(_) => None,
            ExplainSubject::Stored(entry) => Some(&entry.head.site),
        });
    };
    let site = SiteId::parse(name).map_err(|_slug| named(name, "site"))?;
    config.sites.get_key_value(&site).map(|(id, _)| Some(id)).ok_or(BadExplain::NoSite)
}

fn named(name: &str, what: &'static str) -> BadExplain {
    BadExplain::Name(name.chars().take(NAME_SHOWN_MAX).collect(), what)
}
