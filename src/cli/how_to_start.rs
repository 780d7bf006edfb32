//! How a gateway is started on this machine.

use std::path::Path;

/// Where units are that packages bring, and those that somebody wrote.
const UNITS: [&str; 3] = ["usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system"];

/// Names the command that starts the gateway.
pub(super) fn how_to_start() -> &'static str {
    command(Path::new("/"))
}

fn command(root: &Path) -> &'static str {
    let is_by_systemd = root.join("run/systemd/system").is_dir();
    let has_unit = || UNITS.iter().any(|folder| root.join(folder).join("formgate.service").exists());
    if is_by_systemd && has_unit() { "systemctl start formgate" } else { "formgate serve" }
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
