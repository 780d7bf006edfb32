//! Parses the command line, runs the command, and tells by the exit code how it went.

use std::process::ExitCode;

/// The system's allocator costs some percent more on the path of a submission.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First of all: what a panic says may quote a visitor, and the standard hook prints it.
    formgate::telemetry::install_panic_hook();
    // Everything that speaks TLS takes this provider. An earlier installation is refused and does no harm.
    drop(rustls::crypto::ring::default_provider().install_default());
    formgate::cli::run(std::env::args_os())
}
