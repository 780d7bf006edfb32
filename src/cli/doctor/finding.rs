//! A finding: what was looked at, how it is, and what to do about it.

use serde::{Serialize, Serializer};

use crate::cli::console::Paint;
use crate::cli::leads::plural;
use crate::cli::shown;
use crate::lead::{FormId, SiteId};

/// Longest text of a finding, in characters: parts of it may come from a server.
const WORDS_MAX: usize = 300;
/// So many sites whose keys are fine have a line each; more are summed up.
const KEYS_LISTED_MAX: usize = 10;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    Ok,
    /// It works, or may, and something is worth changing.
    Warn,
    /// Submissions or leads are lost, delayed or refused by it.
    Bad,
    /// It could not be looked at.
    Skipped,
}

/// What is looked at: a closed set, in the order in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Check {
    DiskSpace,
    Fsync,
    OpenFiles,
    Gateway,
    Store,
    Degraded,
    Url,
    Port,
    Dns,
    Connect,
    Tls,
    Redirect,
    Route,
    ClientAddress,
    Credentials,
    BodyLimit,
    BaseUrl,
    Clock,
    Keys,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: Check,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) site: Option<SiteId>,
    /// A form with keys of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) form: Option<FormId>,
    pub(super) grade: Grade,
    pub(super) what: String,
    /// What to do; with every one that isn't ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cure: Option<String>,
}

impl Check {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::DiskSpace => "disk_space",
            Self::Fsync => "fsync",
            Self::OpenFiles => "open_files",
            Self::Gateway => "gateway",
            Self::Store => "store",
            Self::Degraded => "degraded",
            Self::Url => "url",
            Self::Port => "port",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Redirect => "redirect",
            Self::Route => "route",
            Self::ClientAddress => "client_address",
            Self::Credentials => "credentials",
            Self::BodyLimit => "body_limit",
            Self::BaseUrl => "base_url",
            Self::Clock => "clock",
            Self::Keys => "keys",
        }
    }

    /// Returns the heading it stands under.
    fn group(self) -> &'static str {
        match self {
            Self::DiskSpace | Self::Fsync | Self::OpenFiles => "this machine",
            Self::Gateway | Self::Store | Self::Degraded => "the gateway",
            Self::Url
            | Self::Port
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Redirect
            | Self::Route
            | Self::ClientAddress
            | Self::Credentials
            | Self::BodyLimit => "the public address",
            Self::BaseUrl | Self::Clock | Self::Keys => "KaiCalls",
        }
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Finding {
    fn new(check: Check, grade: Grade, what: impl Into<String>, cure: Option<String>) -> Self {
        Self { check, site: None, form: None, grade, what: shown::short(&what.into(), WORDS_MAX), cure }
    }

    pub(super) fn ok(check: Check, what: impl Into<String>) -> Self {
        Self::new(check, Grade::Ok, what, None)
    }

    pub(super) fn warn(check: Check, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(check, Grade::Warn, what, Some(cure.into()))
    }

    pub(super) fn bad(check: Check, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(check, Grade::Bad, what, Some(cure.into()))
    }

    pub(super) fn skipped(check: Check, why: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(check, Grade::Skipped, why, Some(cure.into()))
    }

    pub(super) fn of_site(self, site: &SiteId, form: Option<&FormId>) -> Self {
        Self { site: Some(site.clone()), form: form.cloned(), ..self }
    }

    fn line(&self, paint: Paint) -> String {
        let grade = match self.grade {
            Grade::Ok => paint.green("ok     "),
            Grade::Warn => paint.yellow("warn   "),
            Grade::Bad => paint.red("bad    "),
            Grade::Skipped => paint.dim("skipped"),
        };
        let site = match (&self.site, &self.form) {
            (Some(site), Some(form)) => format!("{site}/{form}: "),
            (Some(site), None) => format!("{site}: "),
            _ => String::new(),
        };
        format!("  {grade}  {:<14}  {site}{}", self.check.as_str(), self.what)
    }
}

/// Writes findings for people, in groups, each with its cure below it.
pub(super) fn lines(findings: &[Finding], paint: Paint) -> Vec<String> {
    let is_fine_pair = |finding: &Finding| finding.check == Check::Keys && finding.grade == Grade::Ok;
    let fine_pairs = findings.iter().filter(|finding| is_fine_pair(finding)).count();
    let sums_up = fine_pairs > KEYS_LISTED_MAX;
    let mut lines = Vec::new();
    let mut group = "";
    for finding in findings.iter().filter(|finding| !(sums_up && is_fine_pair(finding))) {
        if finding.check.group() != group {
            group = finding.check.group();
            lines.push(paint.bold(group));
        }
        lines.push(finding.line(paint));
        lines.extend(finding.cure.iter().map(|cure| format!("           help: {cure}")));
    }
    if sums_up {
        let count = plural(u64::try_from(fine_pairs).unwrap_or(u64::MAX), "key pair");
        lines.push(Finding::ok(Check::Keys, format!("{count} valid")).line(paint));
    }
    lines
}

/// Says how many findings of each grade there are.
pub(super) fn summary(findings: &[Finding]) -> String {
    let count = |grade| findings.iter().filter(|finding| finding.grade == grade).count();
    let counted = [(Grade::Bad, "bad"), (Grade::Warn, "to look at"), (Grade::Skipped, "not checked")]
        .map(|(grade, word)| (count(grade), word));
    let told: Vec<String> =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    if told.is_empty() { "everything is fine".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_grouped_and_each_trouble_has_its_cure() {
        let acme = SiteId::parse("acme").expect("an id");
        let findings = [
            Finding::ok(Check::Fsync, "2 ms"),
            Finding::bad(Check::Route, "nobody answers", "start it"),
            Finding::warn(Check::BodyLimit, "413", "raise it"),
            Finding::bad(Check::Keys, "refused", "replace them").of_site(&acme, None),
        ];
        let expected = "\
this machine
  ok       fsync           2 ms
the public address
  bad      route           nobody answers
           help: start it
  warn     body_limit      413
           help: raise it
KaiCalls
  bad      keys            acme: refused
           help: replace them";
        assert_eq!(lines(&findings, Paint::default()).join("\n"), expected);
        assert_eq!(summary(&findings), "2 bad, 1 to look at");
        assert_eq!(summary(&[]), "everything is fine");
    }

    #[test]
    fn hundreds_of_fine_pairs_are_one_line_and_a_refused_one_keeps_its_own() {
        let site = |n: usize| SiteId::parse(&format!("site-{n}")).expect("an id");
        let mut findings: Vec<_> =
            (0..500).map(|n| Finding::ok(Check::Keys, "valid").of_site(&site(n), None)).collect();
        findings.insert(7, Finding::bad(Check::Keys, "refused", "replace them").of_site(&site(500), None));
        let lines = lines(&findings, Paint::default());
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[1].contains("site-500: refused") && lines[3].contains("500 key pairs valid"), "{lines:?}");
    }
}
