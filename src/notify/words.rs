//! An event in words: one line for chats and subjects, paragraphs for mail.

use super::notice::Notice;

/// Says in one line what happened, and what to do about it. It holds no line break, and nothing that a visitor wrote.
pub fn headline(notice: &Notice) -> String {
    notice.event.to_string()
}
