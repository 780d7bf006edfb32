//! Reading server-sent events (the HTML standard, 9.2.6), as far as formgate sends them.

/// Longest event that is read, in bytes: a lead's message may have 65,536 characters, each escaped.
const FRAME_MAX: usize = 1024 * 1024;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) name: String,
    pub(super) data: String,
}

/// What has come of events; whole ones are taken out.
#[derive(Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// No event ends before.
    searched: usize,
}

/// An event is longer than any that formgate sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {FRAME_MAX} bytes")]
pub(super) struct FrameTooLong;

impl Frames {
    /// Takes what has come.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), FrameTooLong> {
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() > FRAME_MAX { Err(FrameTooLong) } else { Ok(()) }
    }

    /// Returns the next whole event. Comments, and what has no data, are none.
    pub(super) fn next(&mut self) -> Option<Frame> {
        loop {
            let rest = self.bytes.get(self.searched..)?;
            let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") else {
                // The first half of the end may be there already.
                self.searched = self.bytes.len().saturating_sub(1);
                return None;
            };
            let block: Vec<u8> = self.bytes.drain(..self.searched + end + 2).collect();
            self.searched = 0;
            if let Some(frame) = read(&String::from_utf8_lossy(&block)) {
                return Some(frame);
            }
        }
    }
}

fn read(block: &str) -> Option<Frame> {
    let value = |field: &str| {
        let values = block.lines().filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        values.map(|value| value.strip_prefix(' ').unwrap_or(value)).next_back().map(str::to_owned)
    };
    Some(Frame { name: value("event").unwrap_or_default(), data: value("data")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_wherever_they_are_cut() {
        let sent =
            "retry: 2000\n\nevent: request\ndata: {\"a\":\"é\"}\n\n: still here\n\nevent: end\ndata: {}\n\nevent: x";
        let frame = |name: &str, data: &str| Frame { name: name.to_owned(), data: data.to_owned() };
        let expected = [frame("request", "{\"a\":\"é\"}"), frame("end", "{}")];
        for length in 1..sent.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in sent.as_bytes().chunks(length) {
                frames.push(piece).expect("short");
                found.extend(std::iter::from_fn(|| frames.next()));
            }
            assert_eq!(found, expected, "in pieces of {length}");
        }
    }

    #[test]
    fn an_event_without_end_is_not_read_for_ever() {
        let mut frames = Frames::default();
        assert_eq!(frames.push(&vec![b'x'; FRAME_MAX]), Ok(()));
        assert_eq!(frames.next(), None);
        assert_eq!(frames.push(b"x"), Err(FrameTooLong));
    }
}
