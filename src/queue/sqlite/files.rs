//! The files of a store: made readable by their owner alone, locked, and watched.

use std::cell::Cell;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::queue::private_file;

/// What a log begins with, by the order of bytes its checksums are made in.
const LOG_MAGIC: [u32; 2] = [0x377f_0682, 0x377f_0683];
/// What a database begins with.
const DATABASE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Makes the folder (0700) and an empty database (0600) where there are none; returns the path without links.
///
/// SQLite gives `-wal` and `-shm` the mode of the database, and its owner where root makes them. Files and folders that exist keep theirs.
pub(super) fn create(path: &Path) -> io::Result<PathBuf> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folder(parent)?;
    }
    open_private(path)?;
    path.canonicalize()
}

/// Makes a folder and those above it, each durable before anything is put into it.
fn create_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> =
        folder.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).collect();
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(folder) {
            // Two processes may start at once.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_exists) => {}
            Ok(()) => private_file::adopt_folder(folder)?,
        }
        sync_folder(folder)?;
    }
    Ok(())
}

/// Makes durable that a file was put into its folder, renamed there, or taken out of it.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn open_private(path: &Path) -> io::Result<File> {
    private_file::open(path, OpenOptions::new().read(true).write(true))
}

/// Returns the path with something added to the file's name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The lock on `<db>.lock` that says that a process has the store open.
#[derive(Debug)]
pub(super) struct Presence {
    file: File,
    alone: bool,
}

impl Presence {
    /// Waits while another process recovers the store, then tells whether this one is alone with it.
    pub(super) fn announce(path: &Path) -> io::Result<Self> {
        let file = open_private(&beside(path, ".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, alone: true }),
            Err(TryLockError::WouldBlock) => {
                file.lock_shared()?;
                Ok(Self { file, alone: false })
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Keeps every other process out; none where one has the store open.
    pub(super) fn alone(path: &Path) -> io::Result<Option<Self>> {
        let file = open_private(&beside(path, ".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, alone: true })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Tells whether no other process has the store open, so that all leases are left from dead ones.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Lets other processes in. To be called before the first claim: one that comes in between may release all leases.
    pub(super) fn share(&mut self) -> io::Result<()> {
        if self.alone {
            self.file.unlock()?;
            self.file.lock_shared()?;
            self.alone = false;
        }
        Ok(())
    }
}

/// Which files the database and its log are, whatever now stands at their paths.
#[derive(Debug)]
pub(super) struct Identity {
    files: [(PathBuf, (u64, u64)); 2],
    /// The database never gets shorter.
    shortest: Cell<u64>,
    /// Never closed: SQLite's locks on the database would go with any handle of this process.
    database: ManuallyDrop<File>,
    log: File,
}

impl Identity {
    /// Remembers the database and its log.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let remember = |path: PathBuf| inode(&path).map(|inode| (path, inode));
        let log = beside(path, "-wal");
        let shortest = Cell::new(path.metadata()?.len());
        let files = [remember(path.to_owned())?, remember(log.clone())?];
        let database = ManuallyDrop::new(File::open(path)?);
        let log = OpenOptions::new().read(true).write(true).open(log)?;
        Ok(Self { files, shortest, database, log })
    }

    /// Returns another handle of the log, to sync and to lengthen it.
    pub(super) fn log(&self) -> io::Result<File> {
        self.log.try_clone()
    }

    /// Returns where the database was.
    pub(super) fn database(&self) -> &Path {
        let [(path, _), _] = &self.files;
        path
    }

    /// Tells whether both still stand at their paths and look as they should: into a file that was removed, emptied or
    /// overwritten one can write without an error.
    pub(super) fn holds(&self) -> bool {
        let [database, log] = self.files.each_ref().map(|(path, known)| {
            let found = path.metadata().ok();
            found.filter(|found| inode_of(found) == *known)
        });
        let (Some(database), Some(_)) = (database, log) else { return false };
        self.is_not_cut(database.len()) && self.is_database() && self.is_log()
    }

    /// What is overwritten in place would else go unnoticed until a page of it is read. Until the log was first copied
    /// into it, the database may be empty.
    fn is_database(&self) -> bool {
        let mut magic = [0; DATABASE_MAGIC.len()];
        match self.database.read_at(&mut magic, 0) {
            Ok(0) => true,
            Ok(_) => magic == *DATABASE_MAGIC,
            Err(_) => false,
        }
    }

    fn is_not_cut(&self, length: u64) -> bool {
        let is_whole = length >= self.shortest.get();
        if is_whole {
            self.shortest.set(length);
        }
        is_whole
    }

    /// An empty log is one too: another process may just have copied it into the database.
    fn is_log(&self) -> bool {
        let mut magic = [0; 4];
        match self.log.read_at(&mut magic, 0) {
            Ok(0) => true,
            Ok(4) => LOG_MAGIC.contains(&u32::from_be_bytes(magic)),
            _ => false,
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    path.metadata().map(|metadata| inode_of(&metadata))
}

fn inode_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
