//! Man pages and completions, for packages.

mod sections;

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::Command;
use clap::builder::Resettable;
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
    let name = name_of(command);
    fs::write(folder.join(format!("{name}.1")), page_of(command)?).with_context(|| format!("{name}.1 can't be written"))
}

/// Returns what clap knows of a command, without the text after its help, and the sections that are made of that and of more.
fn page_of(command: &Command) -> anyhow::Result<String> {
    let told = command.clone().after_help(Resettable::Reset).after_long_help(Resettable::Reset);
    // The version is in the page's foot.
    let told = told.version(Resettable::Reset).long_version(Resettable::Reset);
    let mut page = Vec::new();
    Man::new(told).render(&mut page)?;
    let page = String::from_utf8(page)?;
    let (before, after) = page.split_once(".TH ").context("a page without a title")?;
    let after = after.split_once('\n').context("a page that is a title")?.1;
    Ok(format!("{before}{}\n{after}{}", title(&name_of(command)), sections::after_options(command)?))
}

/// Writes the title itself: clap_mangen leaves an empty date out, and what comes after it moves to the wrong place.
fn title(name: &str) -> String {
    format!(".TH {name} 1 \"\" \"formgate {}\" \"formgate\"", env!("CARGO_PKG_VERSION"))
}

fn name_of(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}
