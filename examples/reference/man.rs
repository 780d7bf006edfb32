//! Man pages and completions, for packages.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// Writes `formgate.1`, `formgate-serve.1`, `formgate-leads-list.1` and so on, and the completions.
pub(crate) fn write(pages: &Path, completions: &Path) -> anyhow::Result<()> {
    for folder in [pages, completions] {
        fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    }
    for (shell, name) in [(Shell::Bash, "formgate"), (Shell::Zsh, "_formgate"), (Shell::Fish, "formgate.fish")] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut formgate::cli::command(), "formgate", &mut script);
        fs::write(completions.join(name), script)?;
    }
    // A page for `help` would say nothing.
    let mut program = formgate::cli::command().disable_help_subcommand(true);
    program.build();
    write_page(&program, pages)
}

fn write_page(command: &Command, folder: &Path) -> anyhow::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        write_page(subcommand, folder)?;
    }
    let version = concat!("formgate ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).source(version).manual("formgate").generate_to(folder)?;
    Ok(())
}
