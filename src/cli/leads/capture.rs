//! `formgate leads capture`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::args::Where;
use super::desk::Desk;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::shown;

/// Writes a stored request, and the lead it becomes, as a test case.
///
/// DIR/MAPPING/FORM-ID.http has the bytes of the request, the .json beside it the lead as the current configuration
/// makes it, without an operator's corrections. `formgate test` runs the case, `formgate replay` posts it. It contains
/// what the visitor wrote, but no token and no uploads.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct CaptureArgs {
    /// The lead's id, or a unique prefix
    #[arg(value_name = "ID")]
    id: String,
    /// The folder to write to; created if it doesn't exist
    #[arg(long, value_name = "DIR", default_value = "fixtures")]
    to: PathBuf,
    #[command(flatten)]
    place: Where,
}

const HELP: &str = "\
Examples:
  formgate leads capture 0198c0de-1234-7abc
  formgate leads capture 0198c0de-1234-7abc --to /tmp/cases && formgate test /tmp/cases";

pub(super) async fn run(args: &CaptureArgs, console: &mut Console) -> Result<Exit, Error> {
    let captured = Desk::open(&args.place, console).await?.capture(&args.id).await?;
    let request = captured.request().ok_or_else(|| Error::admin(anyhow!("the gateway's answer can't be read")))?;
    let folder = args.to.join(plain(&captured.folder)?);
    let case = folder.join(format!("{}.http", plain(&captured.case)?));
    fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display())).map_err(Error::store)?;
    let beside = case.with_extension("json");
    if let Some(taken) = [&case, &beside].into_iter().find(|path| path.exists()) {
        let error = Error::store(anyhow!("{} already exists", taken.display()));
        return Err(error.hint("remove it, or name another folder with --to"));
    }
    write(&case, &request)?;
    write(&beside, &captured.expectation())?;
    console.data(shown::line(&case.display().to_string()))?;
    console.data(shown::line(&beside.display().to_string()))?;
    for note in &captured.notes {
        console.say(format!("note: {}", shown::line(note)));
    }
    console.say("these files contain a visitor's data: replace it before you commit or share them");
    Ok(Exit::Ok)
}

/// A name goes into a path.
fn plain(name: &str) -> Result<&str, Error> {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if is_plain { Ok(name) } else { Err(Error::store(anyhow!("the mapping's name can't be a folder's name"))) }
}

/// Writes a file that isn't there yet, for its owner alone.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.with_context(|| format!("can't write {}", path.display())).map_err(Error::store)
}
