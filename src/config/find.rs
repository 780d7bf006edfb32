//! Which configuration file is meant.

use std::path::{Path, PathBuf};

use super::secret::Sources;

/// Names the configuration file where the command line doesn't.
pub(super) const VARIABLE: &str = "FORMGATE_CONFIG";
/// Where it is looked for otherwise, in this order.
const PLACES: [&str; 2] = ["config.toml", "/etc/formgate/config.toml"];

/// There is no configuration file in any of the usual places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no configuration found: use --config, set {VARIABLE}, or create ./config.toml or /etc/formgate/config.toml")]
pub struct NoConfigFile;

/// Returns the configuration file: the one given, else the environment's, else the first that exists.
///
/// One that is given or named is returned whether or not it exists, so that loading says what is wrong with it.
pub fn find_config_file(explicit: Option<&Path>, sources: &Sources) -> Result<PathBuf, NoConfigFile> {
    let named = || sources.variable(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let existing = || PLACES.iter().map(PathBuf::from).find(|path| path.is_file());
    explicit.map(Path::to_owned).or_else(named).or_else(existing).ok_or(NoConfigFile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let sources = Sources::with_environment([(VARIABLE, "/a/b.toml")]);
        assert_eq!(find_config_file(Some(Path::new("c.toml")), &sources), Ok(PathBuf::from("c.toml")));
        assert_eq!(find_config_file(None, &sources), Ok(PathBuf::from("/a/b.toml")));
    }

    #[test]
    fn an_empty_variable_names_nothing() {
        let sources = Sources::with_environment([(VARIABLE, "")]);
        assert_ne!(find_config_file(None, &sources), Ok(PathBuf::from("")));
    }
}
