//! Values that may stand elsewhere: `"text"`, `{ env = "NAME" }`, `{ file = "path" }`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use toml::de::DeValue;

use super::diagnostic::Severity;
use super::permission::unreadable;
use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::recurring::{Recurring, RecurringKind, folder_of};
use crate::destination::Secret;

/// Largest file that holds one secret, in bytes.
const SECRET_MAX: u64 = 64 * 1024;
/// Where systemd tells a unit that its credentials are.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// Where systemd keeps those of the package's unit while it runs, for a command line that asks beside it.
const UNIT_CREDENTIALS: &str = "/run/credentials/formgate.service";

/// What an editor or `echo` leaves at the end of a value.
const LINE_END: [char; 2] = ['\r', '\n'];

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "a secret",
    about: "A value that stands elsewhere. Either key must be set.",
    keys: &[
        Key::new("env", KeyShape::Text("name"), "The environment variable that holds it."),
        Key::new("file", KeyShape::Text("path"), "The file that holds it, or a systemd credential of that name."),
    ],
};

/// Where values from outside the configuration come from.
#[derive(Clone)]
pub struct Sources {
    environment: Option<BTreeMap<String, String>>,
    /// Looked into where the environment names no folder of credentials.
    unit_credentials: Option<PathBuf>,
    has_stand_ins: bool,
}

impl Sources {
    /// The process' own environment, for the gateway itself.
    pub fn process() -> Self {
        Self { environment: None, unit_credentials: None, has_stand_ins: false }
    }

    /// The same for a command line that asks beside the gateway: it finds what systemd hands over to the package's unit.
    pub fn command_line() -> Self {
        Self { environment: None, unit_credentials: Some(UNIT_CREDENTIALS.into()), has_stand_ins: false }
    }

    /// An environment of these variables alone.
    pub fn with_environment<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { environment: Some(owned.into_iter().collect()), unit_credentials: None, has_stand_ins: false }
    }

    /// The same with a stand-in for each value that is not on this machine: for those who only map, as a checkout in CI.
    #[must_use]
    pub fn with_stand_ins(self) -> Self {
        Self { has_stand_ins: true, ..self }
    }

    pub(super) fn has_stand_ins(&self) -> bool {
        self.has_stand_ins
    }

    /// Tells whether a secret only takes the place of one that isn't on this machine.
    pub(super) fn is_stand_in(&self, secret: &Secret) -> bool {
        self.stand_in(KeyVisibility::Secret).is_some_and(|stand_in| stand_in == secret.expose())
    }

    fn stand_in(&self, kind: KeyVisibility) -> Option<String> {
        let text = if kind == KeyVisibility::Public { "wp_pk_in_place_of_a_key" } else { "wp_sk_in_place_of_a_key" };
        self.has_stand_ins.then(|| text.to_owned())
    }

    /// Returns a variable that is set to text.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        match &self.environment {
            None => std::env::var(name).ok(),
            Some(variables) => variables.get(name).cloned(),
        }
    }

    fn credentials(&self) -> Option<PathBuf> {
        let named = self.variable(CREDENTIALS_DIRECTORY).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        named.or_else(|| self.unit_credentials.clone())
    }
}

/// Whether a value is secret: if so, it is masked and its file must be private.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyVisibility {
    Public,
    Secret,
}

/// Reads a secret.
pub(super) fn secret(value: &Value<'_>, sources: &Sources) -> Option<Secret> {
    read(value, sources, KeyVisibility::Secret).map(Secret::new)
}

/// Reads a value that may stand where secrets stand but is none.
pub(super) fn public(value: &Value<'_>, sources: &Sources) -> Option<String> {
    read(value, sources, KeyVisibility::Public)
}

/// Where a secret is, for those who read it only when they need it.
#[derive(Clone, Debug)]
pub enum SecretSource {
    Text(Secret),
    Variable(String),
    /// As it is written, and beside the configuration.
    File(String, PathBuf),
}

/// Why a secret can't be had.
#[derive(Debug, thiserror::Error)]
pub enum MissingSecret {
    #[error("the environment variable `{0}` is not set")]
    NoVariable(String),
    #[error("the environment variable `{0}` is empty")]
    EmptyVariable(String),
    #[error("the file {} can't be read", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error("the file {} is empty", .0.display())]
    EmptyFile(PathBuf),
}

impl SecretSource {
    /// Reads the secret.
    pub fn read(&self, sources: &Sources) -> Result<Secret, MissingSecret> {
        let (text, is_empty) = match self {
            Self::Text(secret) => return Ok(secret.clone()),
            Self::Variable(name) => {
                let text = sources.variable(name).ok_or_else(|| MissingSecret::NoVariable(name.clone()))?;
                (text, MissingSecret::EmptyVariable(name.clone()))
            }
            Self::File(written, beside) => {
                let found = locate(beside.clone(), Path::new(written), sources);
                let text = read_small(&found).map_err(|error| MissingSecret::Unreadable(found.clone(), error))?;
                (text, MissingSecret::EmptyFile(found))
            }
        };
        let text = text.trim_end_matches(LINE_END);
        if text.trim().is_empty() { Err(is_empty) } else { Ok(Secret::new(text.to_owned())) }
    }
}

/// Reads where a secret is. What isn't there is no problem yet.
pub(super) fn secret_source(value: &Value<'_>) -> Option<SecretSource> {
    let DeValue::Table(_) = value.inner() else {
        // Text is the secret itself, and needs nothing from elsewhere.
        return secret(value, &Sources::with_environment([])).map(SecretSource::Text);
    };
    let table = value.table(KEYS)?;
    match (table.get("env"), table.get("file")) {
        (Some(name), None) => Some(SecretSource::Variable(name.filled()?.to_owned())),
        (None, Some(path)) => {
            let written = path.filled()?;
            Some(SecretSource::File(written.to_owned(), value.file().resolve(written)))
        }
        _ => {
            value.error(&format!("`{}` must have either env or file", value.key()), None);
            None
        }
    }
}

fn read(value: &Value<'_>, sources: &Sources, kind: KeyVisibility) -> Option<String> {
    match value.inner() {
        DeValue::String(text) => {
            if kind == KeyVisibility::Secret {
                value.file().note_secret();
            }
            filled(value, text, &format!("`{}` is empty", value.key()))
        }
        DeValue::Table(_) => elsewhere(value, &value.table(KEYS)?, sources, kind),
        _ => {
            let wanted = format!("`{}` must be a string, {{ env = \"NAME\" }} or {{ file = \"path\" }}", value.key());
            value.error(&wanted, None);
            None
        }
    }
}

fn elsewhere(value: &Value<'_>, table: &Table<'_>, sources: &Sources, kind: KeyVisibility) -> Option<String> {
    match (table.get("env"), table.get("file")) {
        (Some(name), None) => variable(value, &name, sources, kind),
        (None, Some(path)) => file(value, &path, sources, kind),
        _ => {
            value.error(&format!("`{}` must have either env or file", value.key()), None);
            None
        }
    }
}

fn variable(value: &Value<'_>, name: &Value<'_>, sources: &Sources, kind: KeyVisibility) -> Option<String> {
    let variable = name.filled()?;
    let Some(text) = sources.variable(variable) else {
        let message = format!("`{}`: the environment variable `{variable}` is not set", value.key());
        let stand_in = sources.stand_in(kind);
        let severity = if stand_in.is_some() { Severity::Warning } else { Severity::Error };
        let hint = "set it in formgate's environment, or use a file: { file = \"path\" }";
        report_missing(name, severity, variable.to_owned(), &message, hint);
        return stand_in;
    };
    let problem = format!("`{}`: the environment variable `{variable}` is empty", value.key());
    filled(name, text.trim_end_matches(LINE_END), &problem)
}

fn file(value: &Value<'_>, path: &Value<'_>, sources: &Sources, kind: KeyVisibility) -> Option<String> {
    let written = path.filled()?;
    let beside = value.file().resolve(written);
    value.file().note_file(&beside);
    let found = locate(beside, Path::new(written), sources);
    value.file().note_file(&found);
    match read_small(&found) {
        Ok(text) => {
            if kind == KeyVisibility::Secret {
                warn_of_readers(path, value.key(), &found, sources);
            }
            let problem = format!("`{}`: the file {} is empty", value.key(), found.display());
            filled(path, text.trim_end_matches(LINE_END), &problem)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = format!("`{}`: the file {} doesn't exist", value.key(), found.display());
            let stand_in = sources.stand_in(kind);
            let severity = if stand_in.is_some() { Severity::Warning } else { Severity::Unresolved };
            report_missing(path, severity, found.display().to_string(), &message, &cure(&found));
            stand_in
        }
        Err(error) => {
            let (message, hint) = unreadable(&found, &error);
            path.error(&format!("`{}`: {} {message}", value.key(), found.display()), hint.as_deref());
            None
        }
    }
}

/// Warns where a file with a secret can be read by others. A unit's credentials are guarded by their folder, and shown
/// as readable by a group where it is an access list that lets the unit's user in.
pub(super) fn warn_of_readers(place: &Value<'_>, key: &str, file: &Path, sources: &Sources) {
    if !sources.credentials().is_some_and(|folder| file.starts_with(folder)) && readable_by_others(file) {
        let subject = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let recurring = Recurring { kind: RecurringKind::Readable(folder_of(file)), subject };
        let message = format!("`{key}`: other users can read the file");
        let hint = format!("chmod 600 {}", file.display());
        place.file().report_recurring(Severity::Warning, Some(place.span()), recurring, &message, Some(&hint));
    }
}

fn report_missing(place: &Value<'_>, severity: Severity, subject: String, message: &str, hint: &str) {
    let recurring = Recurring { kind: RecurringKind::MissingValue, subject };
    place.file().report_recurring(severity, Some(place.span()), recurring, message, Some(hint));
}

/// Returns the file beside the configuration or, where there is none, the unit's credential of that name.
fn locate(beside: PathBuf, written: &Path, sources: &Sources) -> PathBuf {
    let inside = written.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let credential = sources.credentials().filter(|_| inside && !beside.exists()).map(|folder| folder.join(written));
    credential.filter(|path| path.exists()).unwrap_or(beside)
}

fn cure(missing: &Path) -> String {
    match missing.parent() {
        Some(directory) if directory.ends_with("sandbox") => {
            format!("for a trial, `formgate sandbox --keys {}` makes a key pair", directory.display())
        }
        _ => "create it with only the value in it, readable only by formgate's user".to_owned(),
    }
}

fn read_small(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > SECRET_MAX {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, format!("larger than {SECRET_MAX} bytes")));
    }
    std::fs::read_to_string(path)
}

fn filled(value: &Value<'_>, text: &str, problem: &str) -> Option<String> {
    if text.trim().is_empty() {
        value.error(problem, None);
        return None;
    }
    Some(text.to_owned())
}

/// Tells whether others than its owner may read a file.
#[cfg(unix)]
pub(super) fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
pub(super) fn readable_by_others(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_finds_what_the_unit_was_handed_and_the_gateway_only_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("secret_mail"), "hush\n").expect("written");
        let source = SecretSource::File("secret_mail".to_owned(), folder.path().join("beside/secret_mail"));
        let beside_the_unit =
            Sources { unit_credentials: Some(folder.path().to_owned()), ..Sources::with_environment([]) };
        assert_eq!(source.read(&beside_the_unit).expect("found").expose(), "hush");
        assert!(source.read(&Sources::with_environment([])).is_err());
        assert_eq!(Sources::process().credentials(), std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from));
        // What a unit of one's own was handed goes first.
        let other = tempfile::tempdir().expect("a folder");
        let named = other.path().display().to_string();
        let own = Sources::with_environment([(CREDENTIALS_DIRECTORY, &named)]);
        assert!(source.read(&Sources { unit_credentials: beside_the_unit.unit_credentials, ..own }).is_err());
    }
}
