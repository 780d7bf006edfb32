//! Where a command speaks: data on stdout, talk on stderr.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::error::Error;
use super::shown;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The two streams of a command, and how they may be painted.
pub(super) struct Console {
    data: Box<dyn Write>,
    talk: Box<dyn Write>,
    data_paint: Paint,
    talk_paint: Paint,
    talks_to_a_person: bool,
    /// Columns of the terminal that data goes to; none where it goes elsewhere.
    width: Option<usize>,
    /// The beginning of a character whose end is still to come.
    cut_off: Vec<u8>,
}

impl Console {
    /// The process' own streams, with colour where a terminal shows it and `NO_COLOR` doesn't forbid it.
    pub(super) fn process() -> Self {
        let may_paint = !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        Self {
            data_paint: Paint { colour: may_paint && stdout.is_terminal() },
            talk_paint: Paint { colour: may_paint && stderr.is_terminal() },
            talks_to_a_person: stderr.is_terminal(),
            width: terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0)),
            cut_off: Vec::new(),
            data: Box::new(stdout),
            talk: Box::new(stderr),
        }
    }

    /// Writes lines of data.
    pub(super) fn data(&mut self, text: impl Display) -> Result<(), Error> {
        writeln!(self.data, "{text}").map_err(Error::output)
    }

    /// Writes data as it is.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.data.write_all(bytes).and_then(|()| self.data.flush()).map_err(Error::output)
    }

    /// Writes data that others wrote: as it is, but made harmless where a terminal shows it. It comes in pieces, and a
    /// character may be cut between two.
    pub(super) fn foreign(&mut self, piece: &[u8]) -> Result<(), Error> {
        if self.width.is_none() {
            return self.bytes(piece);
        }
        let mut whole = std::mem::take(&mut self.cut_off);
        whole.extend_from_slice(piece);
        let ends = whole.utf8_chunks().last().map_or(0, |last| last.invalid().len());
        self.cut_off = whole.split_off(whole.len() - ends.min(3));
        self.bytes(shown::text(&String::from_utf8_lossy(&whole)).as_bytes())
    }

    /// Writes data for a program.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::output(error.into()))?;
        self.data(shown::json(&text))
    }

    /// Writes one element of an array for a program, as [`Self::json`] would write the array whole.
    pub(super) fn json_element(&mut self, value: &impl Serialize, is_first: bool) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::output(error.into()))?;
        let begin = if is_first { "[" } else { "," };
        self.bytes(format!("{begin}\n  {}", shown::json(&text).replace('\n', "\n  ")).as_bytes())
    }

    /// Ends such an array.
    pub(super) fn json_end(&mut self, is_empty: bool) -> Result<(), Error> {
        self.data(if is_empty { "[]" } else { "\n]" })
    }

    /// Writes data for a program on a line of its own.
    pub(super) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(value).map_err(|error| Error::output(error.into()))?;
        self.data(shown::json(&text))
    }

    /// Says something to whoever watches. That nobody can hear it stops no work.
    pub(super) fn say(&mut self, text: impl Display) {
        drop(writeln!(self.talk, "{text}"));
    }

    /// Overwrites a line of progress, where a person watches; an empty one takes it away.
    pub(super) fn progress(&mut self, text: &str) {
        if self.talks_to_a_person {
            drop(write!(self.talk, "\r\u{1b}[K{text}").and_then(|()| self.talk.flush()));
        }
    }

    /// Tells whether a person can be asked.
    pub(super) fn has_a_person(&self) -> bool {
        self.talks_to_a_person && std::io::stdin().is_terminal()
    }

    /// Asks the person who watches; none where nobody does, or the answer can't be read.
    pub(super) fn ask(&mut self, question: &str) -> Option<bool> {
        if !self.has_a_person() {
            return None;
        }
        drop(write!(self.talk, "{question} [y/N] ").and_then(|()| self.talk.flush()));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).ok()?;
        Some(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Columns of the terminal that data goes to; none where it goes elsewhere.
    pub(super) fn width(&self) -> Option<usize> {
        self.width
    }

    pub(super) fn paint(&self) -> Paint {
        self.data_paint
    }

    pub(super) fn talk_paint(&self) -> Paint {
        self.talk_paint
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Paints text where that is wanted; without colour it is complete all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paint {
    pub(super) colour: bool,
}

impl Paint {
    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// What a command wrote.
    #[derive(Clone, Default)]
    pub(in crate::cli) struct CapturedOutput(Arc<Mutex<Vec<u8>>>);

    impl CapturedOutput {
        pub(in crate::cli) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).expect("text")
        }
    }

    impl Write for CapturedOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A console without colour, and what is written to its two streams.
    pub(in crate::cli) fn console() -> (Console, CapturedOutput, CapturedOutput) {
        let data = CapturedOutput::default();
        let talk = CapturedOutput::default();
        let console = Console {
            data: Box::new(data.clone()),
            talk: Box::new(talk.clone()),
            data_paint: Paint::default(),
            talk_paint: Paint::default(),
            talks_to_a_person: false,
            width: None,
            cut_off: Vec::new(),
        };
        (console, data, talk)
    }

    #[test]
    fn what_others_wrote_is_harmless_on_a_terminal_and_untouched_elsewhere() {
        let foreign = |width| {
            let (mut console, data, _) = console();
            console.width = width;
            // A character of three bytes, in two pieces.
            console.foreign(b"a\x1b[31m\n\xe2\x80").expect("written");
            console.foreign(b"\xae\xc3\xa4\n").expect("written");
            data.text()
        };
        assert_eq!(foreign(None), "a\u{1b}[31m\n\u{202e}ä\n");
        assert_eq!(foreign(Some(80)), "a�[31m\n�ä\n");
    }

    #[test]
    fn data_and_talk_go_their_own_ways_and_progress_is_for_people() {
        let (mut console, data, talk) = console();
        console.data("a lead").expect("written");
        console.say("one lead");
        console.progress("1/1");
        assert_eq!((data.text().as_str(), talk.text().as_str()), ("a lead\n", "one lead\n"));
    }
}
