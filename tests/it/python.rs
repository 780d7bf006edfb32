//! Programs in Python that check from outside what formgate sends: receivers written by others.
//!
//! A machine without their packages fails here, and says how to get them.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

/// Prepares to run `tests/python/PROGRAM`, piped both ways and killed on drop.
pub(crate) fn python(program: &str) -> Command {
    script(&format!("tests/python/{program}"))
}

/// Prepares to run a program of the checkout, likewise.
pub(crate) fn script(path: &str) -> Command {
    // The same folder as in scripts/setup.
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target folder").to_owned();
    let interpreter = target.join("python-tools/bin/python");
    assert!(interpreter.exists(), "no {}: run scripts/setup --test", interpreter.display());
    let mut command = Command::new(interpreter);
    command
        // Neither the caller's modules nor compiled files in the checkout.
        .args(["-I", "-B"])
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}
