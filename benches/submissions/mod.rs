//! What the benches submit: requests as they came over the wire, which are received as the gateway receives them.

mod grown;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use formgate::pipeline::Keeper;
use formgate::received::{Received, SplitQuery};

pub(crate) use grown::{Growth, grown};

/// Folders of captured requests.
const FOLDERS: [&str; 6] = ["contact-form-7", "elementor", "gravity-forms", "wpforms", "kaicalls", "generic"];
/// The usual posts of three plugins.
pub(crate) const WORKLOADS: [&str; 3] = ["W1", "W2", "W3"];
/// Cases whose bodies hold a file in base64: they say how fast files are cut, and nothing of forms.
const WITH_BASE64: [&str; 2] = ["22-webhook-rich-file-base64", "53-webhook-big-base64-expect-100"];
/// The most that the gateway reads at once, and its limits unless the configuration says otherwise.
const CHUNK: usize = 64 << 10;
const MAX_BODY: usize = 1 << 20;
const MAX_UPLOAD: u64 = 25 << 20;

/// One request as it came over the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    method: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// Requests that make one row of a table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) requests: Vec<Request>,
}

impl Request {
    /// Receives it: the way in, from the first chunk to what is stored.
    pub(crate) fn receive(&self) -> anyhow::Result<Received> {
        let query = SplitQuery::of(self.query.as_deref()).kept;
        let max = MAX_BODY.saturating_sub(query.as_deref().map_or(0, str::len));
        let mut keeper = Keeper::new(self.content_type(), max, MAX_UPLOAD);
        for start in (0..self.body.len()).step_by(CHUNK) {
            keeper.push(self.body.slice(start..self.body.len().min(start + CHUNK)))?;
        }
        let kept = keeper.finish()?;
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let received = Received::from_parts(&self.method, query, headers, kept.body);
        Ok(Received { cut: kept.cut, parts: kept.parts, ..received })
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, value)| value.as_str())
    }

    fn posted(content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self { method: "POST".to_owned(), query: None, headers, body: body.into() }
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("a request has a head")?;
        let (head, body) = bytes.split_at(end + 4);
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        let headers = lines.filter_map(|line| line.split_once(": "));
        Ok(Self {
            method: method.to_owned(),
            query: target.split_once('?').map(|(_, query)| query.to_owned()),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: body.to_vec().into(),
        })
    }
}

/// Reads the captured requests, a row a folder; those with a file in base64 are apart.
pub(crate) fn captured() -> anyhow::Result<Vec<Row>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut rows = Vec::new();
    for name in FOLDERS {
        let files = std::fs::read_dir(fixtures.join(name)).with_context(|| name.to_owned())?;
        let mut paths: Vec<PathBuf> = files.map(|file| file.map(|file| file.path())).collect::<Result<_, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "http"));
        paths.sort();
        let has_base64 = |path: &PathBuf| WITH_BASE64.iter().any(|stem| path.file_stem().is_some_and(|of| of == *stem));
        let (apart, plain): (Vec<_>, Vec<_>) = paths.into_iter().partition(has_base64);
        for (name, paths) in [(name.to_owned(), plain), (format!("{name}, base64"), apart)] {
            let requests: Vec<Request> = paths.iter().map(|path| Request::read(path)).collect::<Result<_, _>>()?;
            if !requests.is_empty() {
                rows.push(Row { name, requests });
            }
        }
    }
    Ok(rows)
}

/// Reads a workload: one submission, with an id in the place that its file leaves for one.
pub(crate) fn workload(name: &str) -> anyhow::Result<Request> {
    let file = format!("{}.http", name.to_lowercase());
    let request = Request::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/workloads").join(file))?;
    let body = std::str::from_utf8(&request.body)?.replace("@@ID@@", "00000001");
    Ok(Request { body: body.into(), ..request })
}
