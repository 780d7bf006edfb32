//! Files that were uploaded elsewhere: records that tell their name and where they lie.

use super::super::document::{Arena, ContainerKind, Document, NodeId};

const NAMES: [&str; 6] = ["name", "filename", "file_name", "fileName", "original_name", "originalName"];
const ADDRESSES: [&str; 5] = ["url", "href", "link", "download_url", "downloadUrl"];
/// What only a file has.
const SIGNS: [&str; 9] =
    ["size", "mime", "mime_type", "mimeType", "mimetype", "filename", "file_name", "content_type", "contentType"];
const FILES_MAX: usize = 50;
const MEMBERS_MAX: usize = 12;
/// Longest extension, in letters.
const EXTENSION_MAX: usize = 5;

/// Returns what files are called and where they lie, where a record, or each of a list, is a file.
pub(super) fn read<'a>(document: &Document<'a>, id: NodeId, arena: &'a Arena) -> Option<&'a [&'a str]> {
    let records: Vec<NodeId> = match document.held(id) {
        // Past the limit they are what they are: nothing is left out.
        ContainerKind::List if document.children(id).nth(FILES_MAX).is_some() => return None,
        ContainerKind::List => document.children(id).collect(),
        _ => vec![id],
    };
    let texts: Option<Vec<&'a str>> = records.into_iter().map(|record| written(document, record, arena)).collect();
    texts.filter(|texts| !texts.is_empty()).map(|texts| &*arena.alloc_slice_copy(&texts))
}

fn has_extension(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|it| {
        (1..=EXTENSION_MAX).contains(&it.len()) && it.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn written<'a>(document: &Document<'a>, record: NodeId, arena: &'a Arena) -> Option<&'a str> {
    if document.held(record) != ContainerKind::Record {
        return None;
    }
    let text = |names: &[&str]| names.iter().find_map(|name| document.text(document.member(record, name)?));
    let has_sign = SIGNS.iter().any(|sign| document.member(record, sign).is_some());
    let name = text(&NAMES)?;
    let address = text(&ADDRESSES);
    let is_told = has_sign || (address.is_some() && document.member(record, "size").is_some());
    if !is_told || !has_extension(name) || document.children(record).nth(MEMBERS_MAX).is_some() {
        return None;
    }
    Some(match address {
        Some(address) => bumpalo::format!(in arena, "{} ({})", name, address).into_bump_str(),
        None => name,
    })
}
