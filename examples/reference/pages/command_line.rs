//! docs/reference/command-line.md: every command, its arguments and its options.

use clap::builder::StyledStr;
use clap::{Arg, Command};

use super::super::environment::{OTHER_VARIABLES, VARIABLES};
use super::markdown::{Page, anchor, code};

/// How a default is told of that only the program's own text says.
const DEFAULT: &str = "[default: ";

pub(super) fn page() -> String {
    let mut program = formgate::cli::command().disable_help_subcommand(true);
    program.build();
    let mut page = Page::new("Command line reference");
    page.paragraph(
        "Every command of `formgate`, with its arguments and options. Each has `--help`, or `-h` for a summary; \
         `formgate --version` prints the version.",
    );
    let rows = program.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| {
        let name = name_of(command);
        [format!("[`{name}`](#{})", anchor(&name)), sentence(command.get_about())]
    });
    page.table(["command", "what it does"], &rows.collect::<Vec<_>>());
    page.heading(2, "Exit codes");
    page.table(["exit code", "meaning"], &exit_codes(&program));
    environment(&mut page);
    for command in program.get_subcommands() {
        describe(&mut page, command, 2);
    }
    page.finish()
}

/// Reads the exit codes in the program's help, each with its meaning.
pub(crate) fn exit_codes(program: &Command) -> Vec<[String; 2]> {
    let help = program.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut rows: Vec<[String; 2]> = Vec::new();
    for line in help.lines().skip(1) {
        let begun = line.trim_start().split_once("  ").filter(|(number, _)| number.parse::<u8>().is_ok());
        match (begun, rows.last_mut()) {
            (Some((number, meaning)), _) => rows.push([number.to_owned(), meaning.trim().to_owned()]),
            (None, Some([_, meaning])) => meaning.push_str(&format!(" {}", line.trim())),
            (None, None) => {}
        }
    }
    rows
}

fn environment(page: &mut Page) {
    page.heading(2, "Environment variables");
    let rows = VARIABLES.iter().map(|variable| {
        let names: Vec<String> = variable.name.split(", ").map(code).collect();
        [names.join(", "), variable.about.to_owned()]
    });
    page.table(["variable", "what it does"], &rows.collect::<Vec<_>>());
    page.paragraph(OTHER_VARIABLES);
}

fn describe(page: &mut Page, command: &Command, level: usize) {
    if command.is_hide_set() {
        return;
    }
    page.heading(level, &name_of(command));
    let usage = command.clone().render_usage().to_string();
    let usage: Vec<&str> = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect();
    page.code(&usage.join("\n"));
    prose(page, command.get_long_about().or(command.get_about()));
    let shown = |argument: &&Arg| !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version");
    let arguments: Vec<_> = command.get_positionals().filter(shown).map(row).collect();
    page.table(["argument", "default", "what it is"], &arguments);
    let options = command.get_arguments().filter(|argument| !argument.is_positional()).filter(shown).map(row);
    page.table(["option", "default", "what it does"], &options.collect::<Vec<_>>());
    prose(page, command.get_after_long_help().or(command.get_after_help()));
    for subcommand in command.get_subcommands() {
        describe(page, subcommand, 3);
    }
}

fn name_of(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).to_owned()
}

/// Writes help as prose; lines that are indented there are examples.
fn prose(page: &mut Page, help: Option<&StyledStr>) {
    let help = help.map(ToString::to_string).unwrap_or_default();
    for paragraph in help.split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().collect();
        for group in lines.chunk_by(|before, after| is_example(before) == is_example(after)) {
            match group.first() {
                Some(first) if is_example(first) => page.code(&group.join("\n")),
                Some(_) => page.paragraph(&with_stop(&group.join(" "))),
                None => {}
            }
        }
    }
}

fn is_example(line: &str) -> bool {
    line.starts_with("  ")
}

fn row(argument: &Arg) -> [String; 3] {
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let (mut help, mut default) = told_default(&help);
    help = help.split("\n\n").map(with_stop).collect::<Vec<_>>().join(" ");
    if default.is_empty() && !argument.is_hide_default_value_set() && argument.get_action().takes_values() {
        let values: Vec<String> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy().into()).collect();
        default = if values.is_empty() { String::new() } else { code(&values.join(" ")) };
    }
    if argument.is_required_set() {
        default = "**required**".to_owned();
    }
    help.push_str(&values_of(argument));
    if let Some(variable) = argument.get_env() {
        help.push_str(&format!(" The environment variable `{}` sets it too.", variable.to_string_lossy()));
    }
    [synopsis(argument), default, help.trim().to_owned()]
}

/// Parts a help text from the default that it ends with, in which there may be brackets too.
fn told_default(help: &str) -> (String, String) {
    let Some((before, rest)) = help.split_once(DEFAULT) else { return (help.to_owned(), String::new()) };
    let (default, after) = rest.split_once("]\n").or(rest.strip_suffix(']').map(|all| (all, ""))).unwrap_or((rest, ""));
    (format!("{}\n{after}", before.trim_end()), default.to_owned())
}

fn synopsis(argument: &Arg) -> String {
    let names: Vec<String> = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let dots = if argument.is_positional() && takes_several(argument) { "…" } else { "" };
    if argument.is_positional() {
        return code(&format!("{}{dots}", names.join(" ")));
    }
    let long = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let value = if argument.get_action().takes_values() { format!(" {}", names.join(" ")) } else { String::new() };
    code(&format!("{}{value}", flags.join(", ")))
}

fn takes_several(argument: &Arg) -> bool {
    argument.get_num_args().is_some_and(|range| range.max_values() > 1)
}

/// Lists what may be given, where that is a closed set.
fn values_of(argument: &Arg) -> String {
    let values = argument.get_possible_values();
    let shown: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
    if shown.is_empty() || !argument.get_action().takes_values() {
        return String::new();
    }
    let words = shown.iter().map(|value| match value.get_help() {
        Some(help) => format!("`{}` ({})", value.get_name(), lower(&help.to_string())),
        None => code(value.get_name()),
    });
    format!(" One of {}.", words.collect::<Vec<_>>().join(", "))
}

fn sentence(help: Option<&StyledStr>) -> String {
    with_stop(&help.map(ToString::to_string).unwrap_or_default())
}

/// Ends a text as a sentence ends.
fn with_stop(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', ':', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// Begins a text in lower case, unless its first word is a name.
fn lower(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
    let is_name = text.chars().nth(1).is_some_and(char::is_uppercase);
    if is_name { text.to_owned() } else { format!("{first}{}", chars.as_str()) }
}
