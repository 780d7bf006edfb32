//! Style, script and icon: in the program, under names that change with their content, so that browsers keep them.

use std::io::Write as _;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::layout::with_security_headers;
use crate::admin::reply::ApiReply;

/// Digits of a content's SHA-256 in its name.
const HASH_DIGITS: usize = 12;
const FOLDER: &str = "/console/assets/";

/// A file that pages refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asset {
    Style,
    Script,
    Icon,
}

static PACKED: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| Asset::ALL.map(Asset::pack));
static URLS: LazyLock<[String; 3]> = LazyLock::new(|| Asset::ALL.map(Asset::make_url));

impl Asset {
    const ALL: [Self; 3] = [Self::Style, Self::Script, Self::Icon];

    fn content(self) -> &'static str {
        match self {
            Self::Style => include_str!("assets/console.css"),
            Self::Script => include_str!("assets/console.js"),
            Self::Icon => include_str!("assets/icon.svg"),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Style => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Icon => "image/svg+xml",
        }
    }

    fn pack(self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Nothing fails that is written to memory.
        encoder.write_all(self.content().as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default()
    }

    fn make_url(self) -> String {
        let extension = match self {
            Self::Style => "css",
            Self::Script => "js",
            Self::Icon => "svg",
        };
        let hash = hex::encode(Sha256::digest(self.content()));
        format!("{FOLDER}console-{}.{extension}", hash.get(..HASH_DIGITS).unwrap_or_default())
    }
}

/// Returns where an asset is.
pub(super) fn url(asset: Asset) -> &'static str {
    URLS.get(asset as usize).map_or("", String::as_str)
}

/// Answers for an asset, packed where the browser takes that; none where the path names none of this version.
///
/// Pages are never packed: with a session's token and what a reader typed in one text, its packed length would tell of the
/// token (BREACH).
pub(super) fn answer(path: &str, headers: &HeaderMap) -> Option<ApiReply> {
    let asset = Asset::ALL.into_iter().find(|asset| url(*asset) == path)?;
    let packed = PACKED.get(asset as usize).filter(|_| takes_gzip(headers));
    let content = packed.map_or(asset.content().as_bytes(), Vec::as_slice);
    let reply = ApiReply::whole(StatusCode::OK, asset.media_type(), content.to_vec());
    let reply = with_security_headers(reply)
        .with(header::CACHE_CONTROL, "public, max-age=31536000, immutable")
        .with(header::VARY, "accept-encoding");
    Some(if packed.is_some() { reply.with(header::CONTENT_ENCODING, "gzip") } else { reply })
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| coding.trim() == "gzip")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_found_by_its_own_name_alone() {
        for asset in Asset::ALL {
            assert!(answer(url(asset), &HeaderMap::new()).is_some(), "{asset:?}");
            assert!(url(asset).starts_with("/console/assets/console-"), "{}", url(asset));
        }
        assert!(answer("/console/assets/console-000000000000.css", &HeaderMap::new()).is_none());
        assert!(answer("/console/assets/../secret", &HeaderMap::new()).is_none());
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for asset in [Asset::Style, Asset::Script] {
            let content = asset.content();
            for foreign in ["http://", "https://", "//cdn", "@import", "eval(", "innerHTML"] {
                assert!(!content.contains(foreign), "{asset:?}: {foreign}");
            }
        }
    }
}
