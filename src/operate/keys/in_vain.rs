//! Connections that may have been minted in vain: for a person, who revokes them in KaiCalls' dashboard.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::progress::Minted;
use crate::lead::SiteId;
use crate::queue::private_file;

/// A connection that nobody uses, or that may not even be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InVain {
    pub site: String,
    pub site_url: Option<String>,
    pub asked_at: Timestamp,
    /// None where the answer was lost.
    pub connection_id: Option<String>,
    pub public_key: Option<String>,
    pub why: String,
}

impl InVain {
    /// One whose answer was lost: it may be there or not.
    pub(super) fn lost(site: &SiteId, url: Option<&str>, asked_at: Timestamp, why: &str) -> Self {
        Self {
            site: site.to_string(),
            site_url: url.map(str::to_owned),
            asked_at,
            connection_id: None,
            public_key: None,
            why: format!("the answer was lost ({why})"),
        }
    }

    /// One that is there.
    pub(super) fn of(site: &SiteId, url: Option<&str>, asked_at: Timestamp, minted: &Minted, why: &str) -> Self {
        Self {
            connection_id: minted.connection_id.clone(),
            public_key: Some(minted.public_key.clone()),
            why: why.to_owned(),
            ..Self::lost(site, url, asked_at, why)
        }
    }

    /// Returns what it is called in the dashboard, as far as is known.
    pub fn name(&self) -> String {
        match (&self.connection_id, &self.public_key) {
            (Some(id), _) => id.clone(),
            (None, Some(key)) => key.clone(),
            (None, None) => "id unknown".to_owned(),
        }
    }

    /// Tells whether both are about one request.
    fn is_same(&self, other: &Self) -> bool {
        self.site == other.site && self.asked_at == other.asked_at
    }
}

/// Reads what is written down; none where there is no file.
pub(super) fn read(file: &Path) -> io::Result<Vec<InVain>> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    // A line that a person has changed is theirs.
    Ok(csv::Reader::from_reader(opened).deserialize().filter_map(Result::ok).collect())
}

/// Writes one down, durably, unless it is there already.
pub(super) fn add(file: &Path, in_vain: &InVain) -> io::Result<bool> {
    if read(file)?.iter().any(|known| known.is_same(in_vain)) {
        return Ok(false);
    }
    let mut opened = private_file::open(file, OpenOptions::new().read(true).append(true))?;
    let mut before = Vec::new();
    opened.read_to_end(&mut before)?;
    let begun = if before.last().is_some_and(|byte| *byte != b'\n') { b"\n".to_vec() } else { Vec::new() };
    let mut writer = csv::WriterBuilder::new().has_headers(before.is_empty()).from_writer(begun);
    writer.serialize(in_vain).map_err(io::Error::other)?;
    let line = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    opened.write_all(&line)?;
    opened.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_written_once_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("minted-in-vain.csv");
        let site = SiteId::parse("acme").expect("an id");
        assert_eq!(read(&file).expect("read"), []);
        let lost = InVain::lost(&site, Some("https://acme.example"), Timestamp::UNIX_EPOCH, "timed out, \"x\"");
        assert!(add(&file, &lost).expect("written"));
        assert!(!add(&file, &lost).expect("known"));
        let minted = Minted {
            public_key: "wp_pk_a".to_owned(),
            secret_file: "acme_sk".to_owned(),
            business_id: None,
            connection_id: Some("conn_1".to_owned()),
        };
        let of = InVain::of(&site, None, Timestamp::MAX, &minted, "refused");
        assert!(add(&file, &of).expect("written"));
        assert_eq!(read(&file).expect("read"), [lost, of]);
        // A full disk left half a line.
        let torn = std::fs::read_to_string(&file).expect("read").trim_end().to_owned();
        std::fs::write(&file, torn.get(..torn.len() - 3).expect("longer")).expect("written");
        let next = InVain::lost(&site, None, Timestamp::MIN, "again");
        assert!(add(&file, &next).expect("written"));
        assert!(read(&file).expect("read").contains(&next));
        let text = std::fs::read_to_string(&file).expect("read");
        assert!(text.starts_with("site,site_url,asked_at,connection_id,public_key,why\nacme,"), "{text}");
    }
}
