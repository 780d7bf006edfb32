//! The command line: a file a command, each with its arguments and what it does with them.
//!
//! Data goes to stdout, talk to stderr; `--output json` where a program may read along. The logic is in the rooms
//! below: here are files, screens and exit codes.

mod capture;

mod cases;

mod check;

mod completions;

mod demo;

mod console;

mod diff;

mod doctor;

mod error;

mod exit;

mod expectation;

mod explain;

mod gateway_user;

mod how_to_start;

mod init;

mod junit;

mod keys;

mod leads;

mod notify;

mod replay;

mod rules;

mod runtime;

mod sandbox;

mod schema;

mod serve;

mod shown;

mod sites;

mod status;

mod store;

mod table;

mod tail;

mod test;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};

use console::Console;
use error::Error;
pub use exit::Exit;

/// How long a service waits for what it says to be read.
const SAYING_TIME: Duration = Duration::from_secs(1);

/// Accepts what form plugins post, stores it, and delivers it to KaiCalls as leads.
#[derive(Parser)]
#[command(name = "formgate", version, after_help = Exit::HELP, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// In the order in which a newcomer needs them.
#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Status(status::StatusArgs),
    Tail(tail::TailArgs),
    Doctor(doctor::DoctorArgs),
    Explain(explain::ExplainArgs),
    Test(test::TestArgs),
    Replay(replay::ReplayArgs),
    Leads(leads::LeadsArgs),
    Sites(sites::SitesArgs),
    Keys(keys::KeysArgs),
    Notify(notify::NotifyArgs),
    Store(store::StoreArgs),
    Sandbox(sandbox::SandboxArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
}

impl Command {
    fn run(&self, console: &mut Console) -> Result<Exit, Error> {
        match self {
            Self::Demo(args) => demo::run(args, console),
            Self::Init(args) => init::run(args, console),
            Self::Serve(args) => serve::run(args, console),
            Self::Check(args) => check::run(args, console),
            Self::Status(args) => status::run(args, console),
            Self::Tail(args) => tail::run(args, console),
            Self::Doctor(args) => doctor::run(args, console),
            Self::Explain(args) => explain::run(args, console),
            Self::Test(args) => test::run(args, console),
            Self::Replay(args) => replay::run(args, console),
            Self::Leads(args) => leads::run(args, console),
            Self::Sites(args) => sites::run(args, console),
            Self::Keys(args) => keys::run(args, console),
            Self::Notify(args) => notify::run(args, console),
            Self::Store(args) => store::run(args, console),
            Self::Sandbox(args) => sandbox::run(args, console),
            Self::Schema(args) => schema::run(args, console),
            Self::Completions(args) => completions::run(args, console),
        }
    }
}

/// Returns the whole command line, from which its reference, man pages and completions are written.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs a command line, the program's name first, and tells how it went.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(told) => {
            // Help and version are told this way too. That nobody reads them is no failure.
            drop(told.print());
            let exit = if told.use_stderr() { Exit::Usage } else { Exit::Ok };
            return exit.into();
        }
    };
    let mut console = Console::process();
    let serves = matches!(cli.command, Command::Serve(_));
    let exit = cli.command.run(&mut console).unwrap_or_else(|error| {
        let rendered = error.render();
        match serves {
            _ if rendered.is_empty() => {}
            true => say_in_time(rendered),
            false => console.say(rendered),
        }
        error.exit()
    });
    exit.into()
}

/// Says something of a service: a stderr that nobody reads must not keep it from starting, nor from ending.
fn say_in_time(words: String) {
    let (said, heard) = std::sync::mpsc::channel();
    let speaker = std::thread::Builder::new().name("speaker".to_owned()).spawn(move || {
        drop(writeln!(std::io::stderr(), "{words}"));
        // Nobody listens any more where that took too long.
        said.send(()).ok();
    });
    if speaker.is_ok() {
        heard.recv_timeout(SAYING_TIME).ok();
    }
}
