//! A mail with its headers.

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use sha2::{Digest as _, Sha256};

use super::page::Page;
use super::{html, plain};
use crate::event::EventScope;
use crate::notify::notice::{LeadContent, Notice};

/// What each subject begins with, for filters.
const PREFIX: &str = "[formgate]";
/// Bytes of a hash that tell one mail from all others.
const ID_BYTES: usize = 16;

/// What a mail tells, from whom and to whom.
pub(super) struct Letter<'a> {
    pub(super) from: &'a Address,
    pub(super) to: &'a Address,
    pub(super) notices: &'a [Notice],
    /// The gateway's public URL; may be empty.
    pub(super) gateway: &'a str,
}

impl Letter<'_> {
    /// Writes the mail as it goes over the wire: ASCII, in lines that any server takes.
    pub(super) fn write(&self) -> Result<Vec<u8>, lettre::error::Error> {
        let page = Page::of(self.notices);
        let thread = self.thread();
        let mut builder = Message::builder()
            .from(Mailbox::new(Some("formgate".to_owned()), self.from.clone()))
            .to(Mailbox::new(None, self.to.clone()))
            .subject(format!("{PREFIX} {}", page.title))
            .message_id(Some(self.id()))
            .in_reply_to(thread.clone())
            .references(thread)
            .date_now()
            // An out-of-office note would come back for each alert, or even go to the visitor.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Auto-Response-Suppress", "All"));
        if let Some(visitor) = self.visitor() {
            builder = builder.reply_to(Mailbox::new(None, visitor));
        }
        let footer = self.footer();
        let body = MultiPart::alternative_plain_html(plain::text(&page, &footer), html::text(&page, &footer));
        Ok(builder.multipart(body)?.formatted())
    }

    /// Returns the mail's id: the same when it is sent again, so that a mailbox shows it once. A mail with the content of a lead is
    /// another than the one without it, and so is the one to the next address.
    fn id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.to.to_string());
        for notice in self.notices {
            let has_content = notice.lead().is_some_and(|data| data.lead.content.is_some());
            hash.update([0, u8::from(has_content)]);
            hash.update(&notice.id);
        }
        let digest = hash.finalize();
        let id = hex::encode(digest.get(..ID_BYTES).expect("a SHA-256 has 32 bytes"));
        format!("<{id}@{}>", self.host())
    }

    /// Returns the id of the mail that all those of a thread answer, and that was never sent: one for each site, one for what is of
    /// several sites or the gateway, one for digests.
    fn thread(&self) -> String {
        let host = self.host();
        if self.notices.iter().all(|notice| notice.event.scope() == EventScope::Digest) {
            return format!("<digest@{host}>");
        }
        let site = self.notices.first().and_then(Notice::site).map(|site| &site.id);
        let is_same = |notice: &Notice| notice.site().map(|site| &site.id) == site;
        match site {
            Some(site) if self.notices.iter().all(is_same) => format!("<site-{site}@{host}>"),
            _ => format!("<gateway@{host}>"),
        }
    }

    /// Returns whom an answer goes to: the visitor, where the mail tells of their lead and of nothing else. An answer quotes the
    /// mail, and another's lead or an alert isn't theirs to read.
    fn visitor(&self) -> Option<Address> {
        let [notice] = self.notices else { return None };
        match &notice.lead()?.lead.content {
            Some(LeadContent::Lead(lead)) => lead.email().parse().ok(),
            _ => None,
        }
    }

    /// Returns the gateway's host, else that of the sender's address.
    fn host(&self) -> &str {
        let after_scheme = self.gateway.split_once("://").map_or(self.gateway, |(_, rest)| rest);
        let host = after_scheme.split(['/', ':', '?', '#']).next().unwrap_or_default();
        let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
        if host.is_empty() || !is_plain { self.from.domain() } else { host }
    }

    fn footer(&self) -> String {
        let at = if self.gateway.is_empty() { String::new() } else { format!(" at {}", self.gateway) };
        format!("Sent by formgate{at}. Its operator decides who gets these mails.")
    }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}
