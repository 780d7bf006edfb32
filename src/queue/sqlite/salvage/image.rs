//! The pages of a damaged database, read without SQLite: each as its log last had it, else from the database.
//!
//! Both formats are SQLite's, as it documents them. Nothing read here is trusted: whatever the bytes are, there are no
//! more pages than the files hold, and no page is read beyond its end.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::files::beside;
use super::super::schema::PAGE_SIZE;

const PAGE: u64 = PAGE_SIZE as u64;
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: u64 = FRAME_HEADER as u64 + PAGE;
/// The first four bytes of a log; the last bit tells how its checksums read the words.
const LOG_MAGIC: u32 = 0x377f_0682;

/// A database and its log, as they were set aside.
#[derive(Debug)]
pub(super) struct Image {
    file: Option<File>,
    file_pages: u32,
    log: Option<Log>,
}

/// Which pages are in the log, and where.
#[derive(Debug)]
struct Log {
    file: File,
    offsets: HashMap<u32, u64>,
    /// Pages whose last frame was written whole once, and is not any more.
    damaged: HashSet<u32>,
}

impl Image {
    /// Opens what there is of both files.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open_if_there(path)?;
        let length = file.as_ref().map(File::metadata).transpose()?.map_or(0, |metadata| metadata.len());
        let file_pages = u32::try_from(length / PAGE).unwrap_or(u32::MAX - 1);
        let log = open_if_there(&beside(path, "-wal"))?.map(Log::read).transpose()?;
        Ok(Self { file, file_pages, log })
    }

    /// Returns the highest number of a page.
    pub(super) fn pages(&self) -> u32 {
        let in_log = self.log.iter().flat_map(|log| log.offsets.keys().copied()).max();
        self.file_pages.max(in_log.unwrap_or(0))
    }

    /// Returns how many pages of the log are damaged.
    pub(super) fn damaged_in_log(&self) -> usize {
        self.log.as_ref().map_or(0, |log| log.damaged.len())
    }

    /// Reads a page. Where its newest version is damaged it is the one before: of a leaf, most rows are in that too.
    pub(super) fn page(&self, number: u32) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE_SIZE];
        if let Some(log) = &self.log
            && let Some(offset) = log.offsets.get(&number)
        {
            log.file.read_exact_at(&mut page, *offset)?;
        } else if let (Some(file), Some(before)) = (&self.file, number.checked_sub(1)) {
            fill(file, &mut page, u64::from(before) * PAGE)?;
        }
        Ok(page)
    }

    /// Reads a page that a row goes on in, unless it may be from another time, when it was another row's.
    pub(super) fn newest(&self, number: u32) -> Option<Vec<u8>> {
        let is_damaged = self.log.as_ref().is_some_and(|log| log.damaged.contains(&number));
        let is_there =
            number <= self.file_pages || self.log.as_ref().is_some_and(|log| log.offsets.contains_key(&number));
        if is_damaged || !is_there {
            return None;
        }
        // No row of ours fills a page with zeros.
        self.page(number).ok().filter(|page| page.iter().any(|byte| *byte != 0))
    }
}

impl Log {
    fn read(file: File) -> io::Result<Self> {
        let mut header = [0; LOG_HEADER];
        fill(&file, &mut header, 0)?;
        let big_endian = word(&header, 0) == LOG_MAGIC | 1;
        let mut checksum = (word(&header, 24), word(&header, 28));
        let mut salts = (word(&header, 16), word(&header, 20));
        let known = word(&header, 0) | 1 == LOG_MAGIC | 1 && sum(&header, 24, (0, 0), big_endian) == checksum;
        let frames = file.metadata()?.len().saturating_sub(LOG_HEADER as u64) / FRAME;
        let (mut offsets, mut damaged, mut open) = (HashMap::new(), HashSet::new(), Vec::new());
        let mut frame = vec![0; FRAME_HEADER + PAGE_SIZE];
        for index in 0..frames {
            let offset = LOG_HEADER as u64 + index * FRAME;
            file.read_exact_at(&mut frame, offset)?;
            let (number, committed) = (word(&frame, 0), word(&frame, 4));
            let found = (word(&frame, 8), word(&frame, 12));
            if index == 0 && !known {
                salts = found;
            }
            let before = std::mem::replace(&mut checksum, (word(&frame, 16), word(&frame, 20)));
            // Each frame's checksum goes on from the one before it, so each can be told good or bad by itself.
            let whole = sum(&frame, 8, before, big_endian);
            let whole = sum(frame.get(FRAME_HEADER..).unwrap_or_default(), PAGE_SIZE, whole, big_endian);
            let good = found == salts && (whole == checksum || (!known && index == 0));
            open.push((number, good.then_some(offset + FRAME_HEADER as u64)));
            if committed == 0 || !good {
                continue;
            }
            // Only now it is certain that these were no leftovers of an older log.
            for (number, offset) in open.drain(..) {
                match offset {
                    Some(offset) => {
                        offsets.insert(number, offset);
                        damaged.remove(&number);
                    }
                    None => {
                        damaged.insert(number);
                    }
                }
            }
        }
        Ok(Self { file, offsets, damaged })
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Reads as much as there is.
fn fill(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = file.read_at(bytes, offset)?;
        if read == 0 {
            break;
        }
        offset += read as u64;
        bytes = bytes.get_mut(read..).unwrap_or_default();
    }
    Ok(())
}

/// Returns the four bytes at an offset as a number; zero where there are none.
pub(super) fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_be_bytes(*word))
}

/// Goes on with a log's checksum over the first bytes.
fn sum(bytes: &[u8], length: usize, before: (u32, u32), big_endian: bool) -> (u32, u32) {
    let number = |offset: usize, pair: &[u8]| {
        let word = word(pair, offset);
        if big_endian { word } else { word.swap_bytes() }
    };
    bytes.get(..length).unwrap_or_default().chunks_exact(8).fold(before, |(one, two), pair| {
        let one = one.wrapping_add(number(0, pair)).wrapping_add(two);
        (one, two.wrapping_add(number(4, pair)).wrapping_add(one))
    })
}
