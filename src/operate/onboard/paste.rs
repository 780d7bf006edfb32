//! The file of what to paste: a row a site with its webhook URL and its token, for the owner alone.
//!
//! It is the only place where the tokens are. A row is on disk before its token's digest enters a site's file, so that no
//! token works that nobody knows; a token whose digest entered none is used the next time.

use std::collections::BTreeMap;
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use csv::ReaderBuilder;

use super::super::csv::row;
use crate::lead::SiteId;
use crate::queue::private_file;

const HEADER: [&str; 6] = ["id", "name", "url", "webhook_url", "token", "region"];
/// The columns of the webhook URL and of the token.
const WEBHOOK_URL: usize = 3;
const TOKEN: usize = 4;
/// Largest file, in bytes.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// The file, locked while it is open.
pub struct PasteFile {
    path: PathBuf,
    file: File,
    /// The cells of each row.
    rows: BTreeMap<SiteId, Vec<String>>,
}

/// What a site's forms need. No `Debug`: it holds the token.
pub struct PasteRow<'a> {
    pub id: &'a SiteId,
    pub name: &'a str,
    pub url: &'a str,
    /// With the token in it.
    pub webhook_url: &'a str,
    pub token: &'a str,
    pub region: &'a str,
}

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PasteError {
    #[error("another formgate command is writing to {}", .0.display())]
    Busy(PathBuf),
    #[error("{} is another file: its first line isn't {}", .0.display(), HEADER.join(","))]
    Foreign(PathBuf),
    #[error("{} can't be used", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

impl PasteFile {
    /// Opens the file, making it (0600) where there is none. A last row that a kill cut short is taken off: its token is
    /// in no site's file yet.
    pub fn open(path: &Path) -> Result<Self, PasteError> {
        let failed = |error| PasteError::Io(path.to_owned(), error);
        let is_new = !path.exists();
        let mut how = File::options();
        let mut file = private_file::open(path, how.read(true).write(true)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PasteError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let text = read(&mut file).map_err(failed)?;
        let whole = text.rfind('\n').map_or("", |at| text.get(..=at).unwrap_or_default());
        let rows = rows(whole).ok_or_else(|| PasteError::Foreign(path.to_owned()))?;
        if whole.is_empty() && !text.is_empty() && !row(&HEADER).starts_with(&text) {
            return Err(PasteError::Foreign(path.to_owned()));
        }
        let mut paste = Self { path: path.to_owned(), file, rows };
        paste.prepare(whole, is_new).map_err(failed)?;
        Ok(paste)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a site's token, of an earlier run or of this one.
    pub fn token(&self, site: &SiteId) -> Option<&str> {
        self.rows.get(site)?.get(TOKEN).map(String::as_str)
    }

    /// Writes a site's row; when it returns the row is on disk.
    pub fn add(&mut self, paste: &PasteRow<'_>) -> io::Result<()> {
        let PasteRow { id, name, url, webhook_url, token, region } = paste;
        let cells = [id.as_str(), name, url, webhook_url, token, region];
        self.file.write_all(row(&cells).as_bytes())?;
        self.file.sync_data()?;
        self.rows.insert((*id).clone(), cells.map(str::to_owned).to_vec());
        Ok(())
    }

    /// Writes the webhook URLs anew where the gateway's address has changed; tells how many were others. The file is
    /// replaced whole, so that no token is lost on the way.
    pub fn refresh(&mut self, webhook_url: impl Fn(&SiteId, &str) -> String) -> io::Result<usize> {
        let mut changed = 0;
        for (site, cells) in &mut self.rows {
            let right = cells.get(TOKEN).map(|token| webhook_url(site, token)).unwrap_or_default();
            if let Some(written) = cells.get_mut(WEBHOOK_URL).filter(|written| **written != right) {
                *written = right;
                changed += 1;
            }
        }
        if changed > 0 {
            self.rewrite()?;
        }
        Ok(changed)
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let draft = self.path.with_file_name(format!(".{name}.new"));
        let mut file = private_file::open(&draft, File::options().read(true).write(true))?;
        // One that a kill left is written over.
        file.set_len(0)?;
        file.lock()?;
        let cells = self.rows.values().map(|cells| row(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
        let text: String = std::iter::once(row(&HEADER)).chain(cells).collect();
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, &self.path)?;
        self.file = file;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Takes off what is not whole, writes the header where there is none, and keeps others out.
    fn prepare(&mut self, whole: &str, is_new: bool) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        if metadata.permissions().mode() & 0o077 != 0 {
            self.file.set_permissions(Permissions::from_mode(0o600))?;
        }
        let end = whole.len() as u64;
        if metadata.len() != end {
            self.file.set_len(end)?;
        }
        self.file.seek(SeekFrom::Start(end))?;
        if whole.is_empty() {
            self.file.write_all(row(&HEADER).as_bytes())?;
        }
        if is_new || whole.is_empty() {
            self.file.sync_all()?;
            self.sync_folder()?;
        }
        Ok(())
    }
}

fn read(file: &mut File) -> io::Result<String> {
    if file.metadata()?.len() > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {FILE_MAX} bytes")));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    // What isn't text is no file of ours: its header tells.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads the rows by their sites; none where it is another file.
fn rows(text: &str) -> Option<BTreeMap<SiteId, Vec<String>>> {
    let mut reader = ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text.as_bytes());
    let mut records = reader.records();
    match records.next() {
        None => return Some(BTreeMap::new()),
        Some(header) if header.as_ref().is_ok_and(|header| header == HEADER.as_slice()) => {}
        Some(_) => return None,
    }
    let mut rows = BTreeMap::new();
    for record in records {
        let record = record.ok()?;
        let site = record.get(0).and_then(|id| SiteId::parse(id).ok());
        let has_token = record.get(TOKEN).is_some_and(|token| token.starts_with("fg_"));
        if let Some(site) = site.filter(|_| has_token) {
            rows.insert(site, record.iter().map(str::to_owned).collect());
        }
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn site(id: &str) -> SiteId {
        SiteId::parse(id).expect("an id")
    }

    fn add(paste: &mut PasteFile, id: &str, token: &str) {
        let webhook_url = format!("https://g/hooks/{id}?token={token}");
        let row = PasteRow {
            id: &site(id),
            name: "=Acme, \"Dental\"",
            url: "https://acme.example",
            webhook_url: &webhook_url,
            token,
            region: "",
        };
        paste.add(&row).expect("added");
    }

    #[test]
    fn rows_are_kept_for_their_owner_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sites.paste.csv");
        let mut paste = PasteFile::open(&path).expect("opened");
        add(&mut paste, "acme", "fg_a");
        assert!(matches!(PasteFile::open(&path), Err(PasteError::Busy(_))));
        drop(paste);
        let before = fs::read_to_string(&path).expect("read");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(before.ends_with(
            "\r\nacme,\"'=Acme, \"\"Dental\"\"\",https://acme.example,https://g/hooks/acme?token=fg_a,fg_a,\r\n"
        ));
        let paste = PasteFile::open(&path).expect("opened again");
        assert_eq!((paste.token(&site("acme")), paste.token(&site("b"))), (Some("fg_a"), None));
        drop(paste);
        assert_eq!(fs::read_to_string(&path).expect("read"), before);
    }

    #[test]
    fn a_row_that_a_kill_cut_short_is_taken_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.csv");
        let mut paste = PasteFile::open(&path).expect("opened");
        add(&mut paste, "a", "fg_a");
        add(&mut paste, "b", "fg_b");
        drop(paste);
        let whole = fs::read(&path).expect("read");
        let first = whole.len() - 20;
        // Also one that was longer than the row which takes its place.
        let mut long = whole[..first].to_vec();
        long.extend([b'x'; 500]);
        for (cut, text) in
            [first, whole.len() - 1, 10, 0].map(|cut| (cut, &whole[..cut])).into_iter().chain([(first, &*long)])
        {
            fs::write(&path, text).expect("written");
            let mut paste = PasteFile::open(&path).expect("opened");
            assert_eq!(paste.token(&site("b")), None, "{cut}");
            assert_eq!(paste.token(&site("a")).is_some(), cut > 20, "{cut}");
            add(&mut paste, "b", "fg_c");
            drop(paste);
            assert_eq!(PasteFile::open(&path).expect("opened").token(&site("b")), Some("fg_c"));
            assert!(!fs::read_to_string(&path).expect("read").contains("xx"), "nothing of the cut row is left");
        }
    }

    #[test]
    fn an_address_that_changed_is_written_anew_and_no_token_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.csv");
        let mut paste = PasteFile::open(&path).expect("opened");
        add(&mut paste, "a", "fg_a");
        add(&mut paste, "b", "fg_b");
        let before = fs::read_to_string(&path).expect("read");
        assert_eq!(paste.refresh(|site, token| format!("https://g/hooks/{site}?token={token}")).expect("as before"), 0);
        assert_eq!(fs::read_to_string(&path).expect("read"), before);
        assert_eq!(paste.refresh(|site, token| format!("https://h/hooks/{site}?token={token}")).expect("new"), 2);
        assert!(matches!(PasteFile::open(&path), Err(PasteError::Busy(_))), "it is still ours");
        add(&mut paste, "c", "fg_c");
        drop(paste);
        let after = fs::read_to_string(&path).expect("read");
        let c = after.lines().last().expect("a row").to_owned();
        assert_eq!(after, format!("{}{c}\r\n", before.replace("https://g/", "https://h/")));
        assert!(c.starts_with("c,"), "{c}");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn another_file_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sites.csv");
        for text in ["id,url\nacme,https://acme.example\n", "id,name", "hello"] {
            fs::write(&path, text).expect("written");
            let opened = PasteFile::open(&path);
            // The beginning of our own header is what a kill leaves.
            assert_eq!(matches!(opened, Err(PasteError::Foreign(_))), text != "id,name", "{text}");
            drop(opened);
        }
    }
}
