//! Writes what is documented from the program itself.
//!
//!     cargo run --example reference                          docs/reference/*.md
//!     cargo run --example reference -- man DIR [COMPLETIONS] a man page a command into DIR, completions for bash, zsh and
//!                                                            fish into COMPLETIONS (default: completions, beside DIR)
//!
//! A test, `reference` in `tests/it`, fails where docs/reference says something else than the program.

mod environment;
mod man;
mod pages;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => write_pages(),
        ["man", folder] => {
            let folder = PathBuf::from(folder);
            let beside = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
            man::write(&folder, &beside.unwrap_or(Path::new(".")).join("completions"))
        }
        ["man", folder, completions] => man::write(Path::new(folder), Path::new(completions)),
        _ => bail!("usage: cargo run --example reference [-- man DIR [COMPLETIONS]]"),
    }
}

fn write_pages() -> anyhow::Result<()> {
    let folder = pages::folder();
    fs::create_dir_all(&folder)?;
    for (name, text) in pages::all()? {
        fs::write(folder.join(name), text).with_context(|| format!("{name} can't be written"))?;
    }
    Ok(())
}
