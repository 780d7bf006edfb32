//! As much of HTTP/1.1 as a bench needs, and no more work than that.

/// Returns where a message with a `Content-Length` ends, once all of it is there.
pub(crate) fn message_end(bytes: &[u8]) -> Option<usize> {
    let head_end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = bytes.get(..head_end)?;
    let length = head.split(|byte| *byte == b'\n').find_map(content_length).unwrap_or_default();
    let end = head_end + length;
    (bytes.len() >= end).then_some(end)
}

fn content_length(line: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let value = line
        .get(NAME.len()..)
        .filter(|_| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// Tells whether an answer has status 200.
pub(crate) fn is_ok(answer: &[u8]) -> bool {
    answer.get(9..12) == Some(b"200")
}
