//! Why a command could not do its work: what kind of failure, what led to it, and what to do next.

use std::fmt::Display;

use super::exit::Exit;

/// A command's failure. Findings of a check are none: they are results.
#[derive(Debug)]
pub(super) struct Error {
    exit: Exit,
    cause: anyhow::Error,
    hints: Vec<String>,
}

impl Error {
    fn new(exit: Exit, cause: impl Into<anyhow::Error>) -> Self {
        Self { exit, cause: cause.into(), hints: Vec::new() }
    }

    /// The command line makes no sense, or names what can't be read.
    pub(super) fn usage(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Usage, cause)
    }

    /// The configuration is missing or wrong.
    pub(super) fn config(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Config, cause)
    }

    /// The store, or another file, can't be written or read.
    pub(super) fn store(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Store, cause)
    }

    /// This program failed.
    pub(super) fn failed(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Findings, cause)
    }

    /// What was named is not there.
    pub(super) fn missing(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Findings, cause)
    }

    /// The gateway's admin API can't be reached, or answers as none does.
    pub(super) fn admin(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::AdminUnreachable, cause)
    }

    /// The other side is away.
    pub(super) fn upstream(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::UpstreamAway, cause)
    }

    /// Keys or a token were refused.
    pub(super) fn keys(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::KeysRefused, cause)
    }

    /// Data could not be written; that nobody reads on is no failure.
    pub(super) fn output(cause: std::io::Error) -> Self {
        let exit = if cause.kind() == std::io::ErrorKind::BrokenPipe { Exit::Ok } else { Exit::Store };
        Self::new(exit, anyhow::Error::new(cause).context("the output can't be written"))
    }

    /// Says what was being done.
    pub(super) fn context(mut self, doing: impl Display + Send + Sync + 'static) -> Self {
        self.cause = self.cause.context(doing);
        self
    }

    /// Says what to do next.
    pub(super) fn hint(mut self, next: impl Into<String>) -> Self {
        self.hints.push(next.into());
        self
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns the failure and its causes on one line.
    pub(super) fn words(&self) -> String {
        format!("{:#}", self.cause)
    }

    /// Writes the failure with its causes, one a line, and what to do next; nothing where there is nothing to say.
    pub(super) fn render(&self) -> String {
        if self.exit == Exit::Ok {
            return String::new();
        }
        let mut lines = vec![format!("error: {}", self.cause)];
        lines.extend(self.cause.chain().skip(1).map(|cause| format!("  because {cause}")));
        lines.extend(self.hints.iter().map(|hint| format!("  help: {hint}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_with_its_causes_and_its_cure() {
        let cause = std::io::Error::other("no such device");
        let error = Error::usage(cause).context("can't read x.http").hint("name a file");
        assert_eq!(error.render(), "error: can't read x.http\n  because no such device\n  help: name a file");
        assert_eq!(error.exit(), Exit::Usage);
    }

    #[test]
    fn a_reader_that_goes_away_is_success() {
        let error = Error::output(std::io::ErrorKind::BrokenPipe.into());
        assert_eq!((error.exit(), error.render().as_str()), (Exit::Ok, ""));
        assert_eq!(Error::output(std::io::ErrorKind::StorageFull.into()).exit(), Exit::Store);
    }
}
