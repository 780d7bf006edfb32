//! An event in words: one line for chats and subjects, a report for mail.
//!
//! The reader may be the owner of a practice who has never seen a terminal: a report says what happened, what it means for
//! their leads, and only then what to do. A headline holds nothing that a visitor wrote.

mod digest;
mod gateway;
mod lead;
mod say;
mod site;

pub use lead::standing_for_all;

use super::notice::{Data, Notice};
use say::clip;

/// Longest headline, in characters: a chat shows it whole.
const HEADLINE_MAX: usize = 200;

/// What a mail says of one event. Of a lead with content it holds what the visitor wrote, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    /// One line; what the headline says.
    pub title: String,
    /// What happened and what it means.
    pub paragraphs: Vec<String>,
    pub facts: Vec<Fact>,
    pub table: Option<Table>,
    /// What to do, one step each; empty where nothing is to be done.
    pub cures: Vec<String>,
}

/// Something that is known, under a label. The label is one line; the value may have several.
#[derive(Clone, PartialEq, Eq)]
pub struct Fact {
    pub label: String,
    pub value: String,
}

/// Figures in rows, each as long as `columns`.
#[derive(Clone, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

/// Says in one line what happened. It has at most 200 characters, no line break, and nothing that a visitor wrote.
pub fn headline(notice: &Notice) -> String {
    let line = match &notice.data {
        Data::Lead(data) => lead::headline(data, notice),
        Data::SitePaused(data) => site::paused_headline(data),
        Data::SiteResumed(data) => site::resumed_headline(data),
        Data::PostsRefused(data) => site::refused_headline(data, notice.at),
        Data::TokenExpiring(data) => site::token_headline(data, notice.at),
        Data::FormSilent(data) => site::silent_headline(data, notice.at),
        Data::Degraded(data) => gateway::degraded_headline(data, notice.event),
        Data::Upstream(data) => gateway::upstream_headline(data, notice),
        Data::Certificates(data) => gateway::certificates_headline(data, notice.at),
        Data::SinkFailing(data) => gateway::sinks_headline(data, notice.at),
        Data::Digest(data) => digest::headline(data, notice.event),
        Data::Test(data) => gateway::test_headline(data),
    };
    clip(&line, HEADLINE_MAX)
}

/// Tells all of an event, for a mail.
pub fn report(notice: &Notice) -> Report {
    let title = headline(notice);
    match &notice.data {
        Data::Lead(data) => lead::report(title, data, notice.event),
        Data::SitePaused(data) => site::paused(title, data),
        Data::SiteResumed(data) => site::resumed(title, data),
        Data::PostsRefused(data) => site::refused(title, data),
        Data::TokenExpiring(data) => site::token_expiring(title, data, notice.at),
        Data::FormSilent(data) => site::silent(title, data),
        Data::Degraded(data) => gateway::degraded(title, data, notice.event),
        Data::Upstream(data) => gateway::upstream(title, data, notice.event),
        Data::Certificates(data) => gateway::certificates(title, data),
        Data::SinkFailing(data) => gateway::sinks(title, data),
        Data::Digest(data) => digest::report(title, data, notice.event),
        Data::Test(data) => gateway::test(title, data),
    }
}

/// Returns what a site is called, on one line: its name, else its id.
pub fn site_name(site: &super::notice::NamedSite) -> String {
    say::site_name(site)
}

/// Writes a number of things, such as `1 lead` or `1,204 leads`.
pub fn count(number: u64, noun: &str) -> String {
    say::count(number, noun)
}

impl Report {
    /// Begins a report that says one paragraph.
    fn new(title: String, paragraph: impl Into<String>) -> Self {
        Self { title, paragraphs: vec![paragraph.into()], facts: Vec::new(), table: None, cures: Vec::new() }
    }

    fn fact(mut self, label: &str, value: impl Into<String>) -> Self {
        self.facts.push(Fact { label: label.to_owned(), value: value.into() });
        self
    }

    /// Adds a fact where it is known.
    fn known(self, label: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.fact(label, value),
            None => self,
        }
    }

    /// Adds something to do; where it comes from elsewhere it may begin in the middle of a sentence.
    fn cure(mut self, step: impl Into<String>) -> Self {
        self.cures.push(say::capitalised(&step.into()));
        self
    }
}
