//! How a gateway is started on this machine.

use std::path::Path;

use super::rules::ConfigArg;

const BY_HAND: &str = "formgate serve";
/// Where units are that packages bring, and those that somebody wrote.
const UNITS: [&str; 3] = ["usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system"];

/// The configuration that the package's unit names.
const OF_UNIT: &str = "/etc/formgate/config.toml";

/// Names the command that starts the gateway of a configuration.
pub(super) fn how_to_start(config: &ConfigArg) -> &'static str {
    let is_of_unit = config.find().is_ok_and(|path| path == Path::new(OF_UNIT));
    if is_of_unit { command(Path::new("/")) } else { BY_HAND }
}

fn command(root: &Path) -> &'static str {
    let is_by_systemd = root.join("run/systemd/system").is_dir();
    let has_unit = || UNITS.iter().any(|folder| root.join(folder).join("formgate.service").exists());
    if is_by_systemd && has_unit() { "systemctl start formgate" } else { BY_HAND }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_unit_is_installed_and_systemd_runs_the_unit_is_started() {
        let root = tempfile::tempdir().expect("a folder");
        let made = |path: &str| std::fs::create_dir_all(root.path().join(path)).expect("made");
        assert_eq!(command(root.path()), "formgate serve");
        made("run/systemd/system");
        assert_eq!(command(root.path()), "formgate serve");
        made("usr/lib/systemd/system/formgate.service");
        assert_eq!(command(root.path()), "systemctl start formgate");
        std::fs::remove_dir_all(root.path().join("run")).expect("removed");
        assert_eq!(command(root.path()), "formgate serve");
    }
}
