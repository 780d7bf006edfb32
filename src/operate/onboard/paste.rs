//! The file of what to paste: a row a site with its webhook URL and its token, for the owner alone.
//!
//! It is the only place where the tokens are. A row is on disk before its token's digest enters a site's file, so that no
//! token works that nobody knows; a token whose digest entered none is used the next time.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use csv::ReaderBuilder;
use rustix::fs::OFlags;

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
    /// As it was named.
    path: PathBuf,
    /// Where it is: a link is written through.
    target: PathBuf,
    file: File,
    /// The cells of each row, also of those that are no site's.
    rows: Vec<Vec<String>>,
    /// The last row of each site.
    by_site: BTreeMap<SiteId, usize>,
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
    #[error("other users may read or write {}, which holds tokens", .0.display())]
    Others(PathBuf),
    #[error("{} belongs to another user", .0.display())]
    OtherOwner(PathBuf),
    #[error("{} can't be used", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

impl PasteFile {
    /// Opens the file, making it (0600) where there is none. A last row that a kill cut short is taken off: its token is
    /// in no site's file yet.
    pub fn open(path: &Path) -> Result<Self, PasteError> {
        let failed = |error| PasteError::Io(path.to_owned(), error);
        let target = target_of(path)?;
        let is_new = !target.exists();
        let mut file = lock(path, &target)?;
        let text = read(&mut file).map_err(failed)?;
        let whole = text.rfind('\n').map_or("", |at| text.get(..=at).unwrap_or_default());
        let rows = rows(whole).ok_or_else(|| PasteError::Foreign(path.to_owned()))?;
        if whole.is_empty() && !text.is_empty() && !row(&HEADER).starts_with(&text) {
            return Err(PasteError::Foreign(path.to_owned()));
        }
        let by_site = rows.iter().enumerate().filter_map(|(at, cells)| Some((site_of(cells)?, at))).collect();
        let mut paste = Self { path: path.to_owned(), target, file, rows, by_site };
        paste.prepare(whole, is_new).map_err(failed)?;
        Ok(paste)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a site's token, of an earlier run or of this one.
    pub fn token(&self, site: &SiteId) -> Option<&str> {
        self.rows.get(*self.by_site.get(site)?)?.get(TOKEN).map(String::as_str)
    }

    /// Writes a site's row; when it returns the row is on disk.
    pub fn add(&mut self, paste: &PasteRow<'_>) -> io::Result<()> {
        let PasteRow { id, name, url, webhook_url, token, region } = paste;
        let cells = [id.as_str(), name, url, webhook_url, token, region];
        self.file.write_all(row(&cells).as_bytes())?;
        self.file.sync_data()?;
        self.by_site.insert((*id).clone(), self.rows.len());
        self.rows.push(cells.map(str::to_owned).to_vec());
        Ok(())
    }

    /// Writes the webhook URLs anew where the gateway's address has changed; tells how many were others. The file is
    /// replaced whole, so that no token is lost on the way.
    pub fn refresh(&mut self, webhook_url: impl Fn(&SiteId, &str) -> String) -> io::Result<usize> {
        let mut changed = 0;
        for cells in &mut self.rows {
            let Some(site) = site_of(cells) else { continue };
            let right = cells.get(TOKEN).map(|token| webhook_url(&site, token)).unwrap_or_default();
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
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        // A name that nobody can guess: whoever made the file first could read the tokens.
        let draft = self.target.with_file_name(format!(".{name}.{:016x}.new", rand::random::<u64>()));
        self.remove_drafts(&format!(".{name}."));
        let file = private_file::open(&draft, File::options().read(true).write(true).create_new(true))?;
        let written = self.write_all_to(&file).and_then(|()| std::fs::rename(&draft, &self.target));
        if written.is_err() {
            // The error tells more than that a draft is left.
            drop(std::fs::remove_file(&draft));
        }
        written?;
        self.file = file;
        self.sync_folder()
    }

    /// Removes what a kill left: it has tokens in it. Nobody else writes one while the file is locked.
    fn remove_drafts(&self, begin: &str) {
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().filter_map(Result::ok);
        for entry in entries {
            let name = entry.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix(begin)?.strip_suffix(".new"));
            if digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                // Another user's stays, and is none of ours.
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }

    fn write_all_to(&self, mut file: &File) -> io::Result<()> {
        file.lock()?;
        let cells = self.rows.iter().map(|cells| row(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
        let text: String = std::iter::once(row(&HEADER)).chain(cells).collect();
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Takes off what is not whole, and writes the header where there is none.
    fn prepare(&mut self, whole: &str, is_new: bool) -> io::Result<()> {
        let end = whole.len() as u64;
        if self.file.metadata()?.len() != end {
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

/// Follows a link that is the user's own. Another user's may lead anywhere.
fn target_of(path: &Path) -> Result<PathBuf, PasteError> {
    let failed = |error| PasteError::Io(path.to_owned(), error);
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(failed(error)),
        Ok(found) if !found.is_symlink() => Ok(path.to_owned()),
        Ok(link) if is_own(&link, path).map_err(failed)? => path.canonicalize().map_err(failed),
        Ok(_) => Err(PasteError::OtherOwner(path.to_owned())),
    }
}

/// Tells whether a file belongs to the user, or to whom root makes files for in its folder.
fn is_own(found: &Metadata, path: &Path) -> io::Result<bool> {
    let user = rustix::process::geteuid();
    if found.uid() == user.as_raw() {
        return Ok(true);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(user.is_root() && folder.metadata()?.uid() == found.uid())
}

/// Opens and locks the file at `target`. Another run may replace it before it is locked: then the new one is meant.
fn lock(path: &Path, target: &Path) -> Result<File, PasteError> {
    let failed = |error| PasteError::Io(path.to_owned(), error);
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    loop {
        let file = private_file::open(target, File::options().read(true).write(true).custom_flags(nofollow));
        let file = file.map_err(failed)?;
        let opened = file.metadata().map_err(failed)?;
        if !is_own(&opened, target).map_err(failed)? {
            return Err(PasteError::OtherOwner(path.to_owned()));
        }
        if opened.mode() & 0o077 != 0 {
            return Err(PasteError::Others(path.to_owned()));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PasteError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let is_it = |now: Metadata| (now.dev(), now.ino()) == (opened.dev(), opened.ino());
        if target.symlink_metadata().is_ok_and(is_it) {
            return Ok(file);
        }
    }
}

/// Returns the site whose token a row has.
fn site_of(cells: &[String]) -> Option<SiteId> {
    let has_token = cells.get(TOKEN).is_some_and(|token| token.starts_with("fg_"));
    cells.first().filter(|_| has_token).and_then(|id| SiteId::parse(id).ok())
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

/// Reads the rows; none where it is another file.
fn rows(text: &str) -> Option<Vec<Vec<String>>> {
    let mut reader = ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text.as_bytes());
    let mut records = reader.records();
    match records.next() {
        None => return Some(Vec::new()),
        Some(header) if header.as_ref().is_ok_and(|header| header == HEADER.as_slice()) => {}
        Some(_) => return None,
    }
    let cells = records.map(|record| Some(record.ok()?.iter().map(str::to_owned).collect()));
    cells.collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn write(path: &Path, text: impl AsRef<[u8]>) {
        fs::write(path, text).expect("written");
        fs::set_permissions(path, Permissions::from_mode(0o600)).expect("permissions");
    }

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
            write(&path, text);
            let opened = PasteFile::open(&path);
            // The beginning of our own header is what a kill leaves.
            assert_eq!(matches!(opened, Err(PasteError::Foreign(_))), text != "id,name", "{text}");
            drop(opened);
        }
    }

    #[test]
    fn rows_that_are_no_sites_stay_and_so_do_two_of_one_site() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.csv");
        let rows = ["a,,u,w,fg_1,", "Total,2 sites,,,,,", "b,,u,w,,", "a,,u,w,fg_2,"];
        write(&path, format!("{}{}\r\n", row(&HEADER), rows.join("\r\n")));
        let mut paste = PasteFile::open(&path).expect("opened");
        assert_eq!(paste.token(&site("a")), Some("fg_2"));
        assert_eq!(paste.refresh(|_, token| format!("W{token}")).expect("written"), 2);
        let after = fs::read_to_string(&path).expect("read");
        let expected = ["a,,u,Wfg_1,fg_1,", "Total,2 sites,,,,,", "b,,u,w,,", "a,,u,Wfg_2,fg_2,"];
        assert_eq!(after.lines().skip(1).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_and_a_link_is_written_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("x.csv"), folder.path().join("link.csv"));
        fs::write(&path, "").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o606)).expect("permissions");
        assert!(matches!(PasteFile::open(&path), Err(PasteError::Others(_))));
        write(&path, "");
        symlink(&path, &link).expect("a link");
        let mut paste = PasteFile::open(&link).expect("opened");
        add(&mut paste, "a", "fg_a");
        assert_eq!(paste.refresh(|site, _| format!("https://h/{site}")).expect("written"), 1);
        assert!(link.symlink_metadata().expect("there").is_symlink());
        assert!(fs::read_to_string(&path).expect("read").contains("https://h/a"));
        // What a kill left goes, and a draft that somebody else has laid out is not used.
        fs::write(folder.path().join(".x.csv.0123456789abcdef.new"), "fg_").expect("written");
        let laid_out = folder.path().join(".x.csv.new");
        fs::write(&laid_out, "").expect("written");
        assert_eq!(paste.refresh(|site, _| format!("https://i/{site}")).expect("written"), 1);
        assert_eq!(fs::read(&laid_out).expect("there"), b"");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 3);
    }

    #[test]
    fn of_two_runs_at_once_neither_writes_to_a_file_that_was_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.csv");
        let count = 100;
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    let mut done = 0;
                    while done < count / 4 {
                        let Ok(mut paste) = PasteFile::open(path) else { continue };
                        let id = format!("s{thread}-{done}");
                        paste.refresh(|site, _| format!("https://{id}/{site}")).expect("written");
                        add(&mut paste, &id, "fg_a");
                        done += 1;
                    }
                });
            }
        });
        let paste = PasteFile::open(&path).expect("opened");
        assert_eq!(paste.rows.len(), count);
    }
}
