//! Warnings that many sites or files share, so that a fleet's are told once: the first few by name, the rest by number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Severity};

/// How many of the same kind are told one by one, and how many of more are named.
const NAMED: usize = 3;

/// A problem that many sites or files can share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RecurringKind {
    NoToken,
    NoRegion,
    SharedKeys,
    KeyLength,
    SharedToken,
    RepeatedToken,
    TokenExpired,
    TokenExpires,
    /// Webhooks of sites that are not signed.
    UnsignedWebhook,
    /// A value is missing on this machine, where a stand-in or nothing takes its place.
    MissingValue,
    /// Forms name a mapping that isn't there.
    NoMapping(String),
    /// Files in this folder hold a secret and can be read by others.
    Readable(PathBuf),
}

/// Which of them a warning is, and of what: a site, or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recurring {
    pub(super) kind: RecurringKind,
    pub(super) subject: String,
}

impl RecurringKind {
    /// Says it of many, and how to mend it.
    fn words(&self, count: usize) -> (String, String) {
        let (message, hint) = match self {
            Self::NoToken => {
                ("sites have no token, so nobody can post to them", "run `formgate sites token SITE` for each")
            }
            Self::NoRegion => (
                "sites have no `region`: phone numbers without + are sent as typed",
                "set the country that each site's visitors dial from, such as region = \"US\"",
            ),
            Self::SharedKeys => {
                ("sites share a key pair: KaiCalls can't tell their leads apart", "generate a key pair for each site")
            }
            Self::KeyLength => ("keys have the wrong length", "copy each complete key again"),
            Self::SharedToken => (
                "tokens belong to more than one site",
                "whoever has one can post to both; give each site its own token, unless this is intended",
            ),
            Self::RepeatedToken => ("sites list a token twice", "remove one of the two"),
            Self::TokenExpired => (
                "tokens have expired, so posts with them are refused",
                "`formgate sites token SITE` makes a new one; remove the old one",
            ),
            Self::TokenExpires => (
                "tokens expire within 14 days",
                "`formgate sites token SITE` makes a new one; the old one works until you remove it",
            ),
            Self::UnsignedWebhook => {
                ("webhooks aren't signed", "set `secret` for each: whsec_ and what `openssl rand -base64 32` prints")
            }
            Self::MissingValue => ("values are missing on this machine", "set them on the machine where formgate runs"),
            Self::NoMapping(name) => {
                let message = format!("{count} forms use the mapping `{name}`, which doesn't exist");
                return (message, "restore the mapping, or name another in the sites' files".to_owned());
            }
            Self::Readable(folder) => {
                let folder = folder.display();
                let message = format!("other users can read {count} files with secrets in {folder}");
                // Never by a pattern: a folder that loses its `x` bit can't be entered any more.
                return (message, format!("find {folder} -maxdepth 1 -type f -exec chmod 600 {{}} +"));
            }
        };
        (format!("{count} {message}"), hint.to_owned())
    }

    /// What is counted of those that are not named.
    fn noun(&self) -> &'static str {
        match self {
            Self::KeyLength | Self::Readable(_) => "files",
            Self::MissingValue => "values",
            Self::NoMapping(_) => "files",
            Self::UnsignedWebhook => "webhooks",
            _of_sites => "sites",
        }
    }

    /// How many are told one by one.
    fn told_apart(&self) -> usize {
        // The cure of a folder's permissions is one command.
        if matches!(self, Self::Readable(_)) { 1 } else { NAMED }
    }
}

/// Puts one diagnostic in the place of many of the same kind: where the first stands.
pub(super) fn gather(list: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut groups: BTreeMap<(Severity, RecurringKind), Vec<usize>> = BTreeMap::new();
    for (index, diagnostic) in list.iter().enumerate() {
        if let Some(recurring) = &diagnostic.recurring {
            groups.entry((diagnostic.severity, recurring.kind.clone())).or_default().push(index);
        }
    }
    groups.retain(|(_, kind), members| members.len() > kind.told_apart());
    let mut place_of: BTreeMap<usize, Option<Diagnostic>> = BTreeMap::new();
    for ((_, kind), members) in &groups {
        let of_kind: Vec<&Diagnostic> = members.iter().filter_map(|index| list.get(*index)).collect();
        let together = together(kind, &of_kind);
        let mut places = members.iter();
        place_of.extend(places.next().map(|first| (*first, together)));
        place_of.extend(places.map(|index| (*index, None)));
    }
    let replaced = |(index, diagnostic)| place_of.remove(&index).unwrap_or(Some(diagnostic));
    list.into_iter().enumerate().filter_map(replaced).collect()
}

fn together(kind: &RecurringKind, members: &[&Diagnostic]) -> Option<Diagnostic> {
    let (first, others) = members.split_first()?;
    let (message, hint) = kind.words(members.len());
    let subjects = members.iter().filter_map(|member| Some(member.recurring.as_ref()?.subject.as_str()));
    let message = format!("{message}: {}", named(subjects.collect(), kind.noun()));
    let also = others.iter().map(|member| member.location()).collect();
    Some(Diagnostic {
        also,
        ..Diagnostic::new(first.severity, &first.file, first.place.clone(), &message, Some(&hint))
    })
}

/// Names the first few, each once, and counts the others.
fn named(mut subjects: Vec<&str>, noun: &str) -> String {
    subjects.dedup();
    let others = subjects.len().saturating_sub(NAMED);
    subjects.truncate(NAMED);
    match others {
        0 => subjects.join(", "),
        _ => {
            let noun = if others == 1 { noun.trim_end_matches('s') } else { noun };
            format!("{} and {others} more {noun}", subjects.join(", "))
        }
    }
}

/// Returns a file's folder, as it is shown.
pub(super) fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(kind: RecurringKind, subject: &str) -> Diagnostic {
        let recurring = Some(Recurring { kind, subject: subject.to_owned() });
        Diagnostic { recurring, ..Diagnostic::new(Severity::Warning, Path::new(subject), None, subject, None) }
    }

    fn messages(list: Vec<Diagnostic>) -> Vec<String> {
        gather(list).into_iter().map(|diagnostic| diagnostic.message).collect()
    }

    #[test]
    fn a_few_are_told_apart_and_more_are_one() {
        let of =
            |count: usize| (0..count).map(|n| warning(RecurringKind::NoToken, &format!("s{n}"))).collect::<Vec<_>>();
        assert_eq!(messages(of(3)), ["s0", "s1", "s2"]);
        assert_eq!(
            messages(of(300)),
            ["300 sites have no token, so nobody can post to them: s0, s1, s2 and 297 more sites"]
        );
        assert_eq!(gather(of(300))[0].also.len(), 299);
    }

    #[test]
    fn kinds_and_folders_stay_apart_and_in_order() {
        let readable = |folder: &str, file: &str| warning(RecurringKind::Readable(PathBuf::from(folder)), file);
        let list = vec![
            readable("a", "a/1"),
            warning(RecurringKind::NoRegion, "x"),
            readable("b", "b/1"),
            readable("a", "a/2"),
        ];
        let told = messages(list);
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], "other users can read 2 files with secrets in a: a/1, a/2");
        assert_eq!(told[1..], ["x", "b/1"]);
        let cure = gather(vec![readable("a", "a/1"), readable("a", "a/2")]).remove(0).hint;
        assert_eq!(cure.as_deref(), Some("find a -maxdepth 1 -type f -exec chmod 600 {} +"));
    }
}
