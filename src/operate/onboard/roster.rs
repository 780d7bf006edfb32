//! A spreadsheet of sites: each row checked by itself, each bad one told with its line, its column and the cure.

use std::collections::BTreeMap;

use csv::{ByteRecord, ReaderBuilder};
use serde::Serialize;

use crate::destination::{KeyPair, Secret};
use crate::lead::{Region, SiteId};

/// Largest file, in bytes.
pub const FILE_MAX: u64 = 16 * 1024 * 1024;
/// Most rows.
const ROWS_MAX: usize = 50_000;
/// Longest URL, and longest name, in characters.
const URL_MAX: usize = 2_000;
const NAME_MAX: usize = 200;
/// Longest id of a business, in characters.
const BUSINESS_MAX: usize = 200;

/// The columns there are; all but the first and the third may be missing.
const COLUMNS: [&str; 7] = ["id", "name", "url", "region", "business_id", "public_key", "secret_key"];
const NEEDED: [&str; 2] = ["id", "url"];

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a spreadsheet says.
#[derive(Debug, Default)]
pub struct Roster {
    pub rows: Vec<RosterRow>,
    pub bad: Vec<BadRow>,
}

/// One site.
#[derive(Debug)]
pub struct RosterRow {
    /// The line on which it begins.
    pub line: u64,
    pub id: SiteId,
    pub name: Option<String>,
    pub url: String,
    pub region: Option<Region>,
    pub business_id: Option<String>,
    pub keys: Option<KeyPair>,
}

/// What is wrong with a row. It repeats no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// The line on which the row begins.
    pub line: u64,
    /// The column's number, from 1; none where the whole row is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
    pub problem: String,
    pub cure: String,
}

/// Why a file is no spreadsheet of sites.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    #[error("it is in UTF-16, not UTF-8")]
    Utf16,
    #[error("it is empty")]
    Empty,
    #[error("its header has the unknown column `{0}`")]
    UnknownColumn(String),
    #[error("its header has the column `{0}` twice")]
    ColumnTwice(&'static str),
    #[error("its header has no column `{0}`")]
    NoColumn(&'static str),
    #[error("it has more than {ROWS_MAX} rows")]
    TooManyRows,
    #[error("it can't be read as CSV")]
    Csv(#[from] csv::Error),
}

impl RosterError {
    /// What to do about it.
    pub fn cure(&self) -> String {
        match self {
            Self::Utf16 | Self::Csv(_) => "save it as \"CSV UTF-8\"".to_owned(),
            Self::TooManyRows => "split it into several files".to_owned(),
            Self::Empty | Self::UnknownColumn(_) | Self::ColumnTwice(_) | Self::NoColumn(_) => {
                format!("the first line names the columns: {}; only id and url are needed", COLUMNS.join(","))
            }
        }
    }
}

/// Reads a spreadsheet. A row with a mistake keeps no other from being read.
pub fn read_roster(bytes: &[u8]) -> Result<Roster, RosterError> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(RosterError::Utf16);
    }
    let text = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let mut reader =
        ReaderBuilder::new().delimiter(delimiter(text)).flexible(true).has_headers(false).from_reader(text);
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record)? {
        return Err(RosterError::Empty);
    }
    let columns = columns(&record)?;
    let mut roster = Roster::default();
    let mut count = 0;
    let mut lines = Lines { text, line: 1, counted: 0 };
    while reader.read_byte_record(&mut record)? {
        if record.iter().all(|cell| cell.trim_ascii().is_empty()) {
            continue;
        }
        count += 1;
        if count > ROWS_MAX {
            return Err(RosterError::TooManyRows);
        }
        let line = lines.of(&record);
        match (Cells { line, columns: &columns, record: &record }).read() {
            Ok(row) => roster.rows.push(row),
            Err(bad) => roster.bad.extend(bad),
        }
    }
    refuse_same_ids(&mut roster, &columns);
    roster.bad.sort_by_key(|bad| (bad.line, bad.column));
    Ok(roster)
}

/// Counts lines. The reader's own count takes the line feed of CR LF for the next row's.
struct Lines<'a> {
    text: &'a [u8],
    line: u64,
    /// Bytes up to which lines are counted.
    counted: usize,
}

impl Lines<'_> {
    /// Returns the line on which a row begins; rows come in their order.
    fn of(&mut self, record: &ByteRecord) -> u64 {
        let begin =
            record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(self.counted);
        let rest = self.text.get(begin..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let before = self.text.get(self.counted..begin + blank).unwrap_or_default();
        self.line += line_ends(before);
        self.counted = begin + blank;
        self.line
    }
}

/// Counts line ends: CR LF, LF, or the CR of old spreadsheets.
fn line_ends(text: &[u8]) -> u64 {
    let ends = |at: usize| match (text.get(at), text.get(at + 1)) {
        (Some(b'\r'), next) => next != Some(&b'\n'),
        (byte, _) => byte == Some(&b'\n'),
    };
    (0..text.len()).filter(|at| ends(*at)).count() as u64
}

/// Spreadsheets of many countries write `;`. The header tells, as it has no text of people's.
fn delimiter(text: &[u8]) -> u8 {
    let header = text.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let count = |wanted: u8| header.iter().filter(|byte| **byte == wanted).count();
    [b';', b'\t'].into_iter().find(|other| count(*other) > count(b',')).unwrap_or(b',')
}

/// Reads the header: for each column, which it is.
fn columns(header: &ByteRecord) -> Result<Vec<&'static str>, RosterError> {
    let mut columns = Vec::new();
    for cell in header {
        let written = String::from_utf8_lossy(cell).trim().to_lowercase();
        let Some(known) = COLUMNS.into_iter().find(|known| *known == written) else {
            return Err(RosterError::UnknownColumn(written.chars().take(64).collect()));
        };
        if columns.contains(&known) {
            return Err(RosterError::ColumnTwice(known));
        }
        columns.push(known);
    }
    match NEEDED.into_iter().find(|needed| !columns.contains(needed)) {
        Some(missing) => Err(RosterError::NoColumn(missing)),
        None => Ok(columns),
    }
}

/// Of two rows of one id either may be the one that is meant.
fn refuse_same_ids(roster: &mut Roster, columns: &[&'static str]) {
    let mut lines: BTreeMap<SiteId, Vec<u64>> = BTreeMap::new();
    for row in &roster.rows {
        lines.entry(row.id.clone()).or_default().push(row.line);
    }
    lines.retain(|_, lines| lines.len() > 1);
    let column = columns.iter().position(|known| *known == "id").map(|at| at + 1);
    roster.rows.retain(|row| {
        let Some(lines) = lines.get(&row.id) else { return true };
        let others: Vec<_> = lines.iter().filter(|line| **line != row.line).map(u64::to_string).collect();
        let problem = format!("`{}` is also on line {}", row.id, others.join(", "));
        let cure = "each site has one row; give the other another id".to_owned();
        roster.bad.push(BadRow { line: row.line, column, field: Some("id"), problem, cure });
        false
    });
}

/// The cells of one row.
struct Cells<'a> {
    line: u64,
    columns: &'a [&'static str],
    record: &'a ByteRecord,
}

/// What is wrong with a cell, and the cure.
type CellError = (String, String);

impl Cells<'_> {
    fn read(&self) -> Result<RosterRow, Vec<BadRow>> {
        let breaks: u64 = self.record.iter().map(|cell| line_ends(cell.trim_ascii_end())).sum();
        // A name on two lines is told as such; an open quote takes whole rows with it.
        if breaks > 0 && (self.record.len() != self.columns.len() || breaks > 1) {
            let problem = format!("the row goes on to line {}", self.line + breaks);
            let cure = "close the quote that is open in it: each \" of a value has its pair";
            return Err(vec![self.bad(None, problem, cure.to_owned())]);
        }
        if self.record.len() != self.columns.len() {
            let problem = format!("the row has {} values, the header {}", self.record.len(), self.columns.len());
            let cure = "put values that contain the separator in quotes; leave no value out at the end";
            return Err(vec![self.bad(None, problem, cure.to_owned())]);
        }
        let mut bad = Vec::new();
        let id = self.cell("id", &mut bad, |text| id(text).map(Some));
        let name = self.cell("name", &mut bad, |text| optional(text, name));
        let url = self.cell("url", &mut bad, |text| url(text).map(Some));
        let region = self.cell("region", &mut bad, |text| optional(text, region));
        let business_id = self.cell("business_id", &mut bad, |text| optional(text, business_id));
        let public = self.cell("public_key", &mut bad, |text| optional(text, public_key));
        let secret = self.cell("secret_key", &mut bad, |text| optional(text, secret_key));
        let keys = match (public, secret) {
            (Some(public), Some(secret)) => KeyPair::new(&public, &secret).ok(),
            (None, None) => None,
            // One that was there and wrong has been told.
            _ if !bad.is_empty() => None,
            (public, _) => {
                let missing = if public.is_some() { "secret_key" } else { "public_key" };
                let cure = "a key pair has both; leave both empty for a site without keys".to_owned();
                bad.push(self.bad(Some(missing), "it is empty, but the other key is given".to_owned(), cure));
                None
            }
        };
        match (id, url) {
            (Some(id), Some(url)) if bad.is_empty() => {
                Ok(RosterRow { line: self.line, id, name, url, region, business_id, keys })
            }
            _ => Err(bad),
        }
    }

    /// Reads the cell of a column; none where the column, or a value, is missing, or where it is told in `bad`.
    fn cell<T>(
        &self,
        column: &'static str,
        bad: &mut Vec<BadRow>,
        read: impl FnOnce(&str) -> Result<Option<T>, CellError>,
    ) -> Option<T> {
        let at = self.columns.iter().position(|known| *known == column)?;
        let read = match std::str::from_utf8(self.record.get(at).unwrap_or_default()) {
            Ok(text) => read(text.trim()),
            Err(_bytes) => Err(("it isn't UTF-8".to_owned(), "save the file as \"CSV UTF-8\"".to_owned())),
        };
        read.unwrap_or_else(|(problem, cure)| {
            bad.push(self.bad(Some(column), problem, cure));
            None
        })
    }

    fn bad(&self, field: Option<&'static str>, problem: String, cure: String) -> BadRow {
        let at = field.and_then(|field| self.columns.iter().position(|known| *known == field));
        BadRow { line: self.line, column: at.map(|at| at + 1), field, problem, cure }
    }
}

fn optional<T>(text: &str, read: impl FnOnce(&str) -> Result<T, CellError>) -> Result<Option<T>, CellError> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

fn id(text: &str) -> Result<SiteId, CellError> {
    SiteId::parse(text).map_err(|error| {
        let lower = text.to_lowercase().replace([' ', '.'], "-");
        let cure = match SiteId::parse(&lower) {
            Ok(proper) => format!("write `{proper}`"),
            Err(_hopeless) => "it is part of the site's URLs: a-z, 0-9, - and _".to_owned(),
        };
        (if text.is_empty() { "it is empty".to_owned() } else { format!("it {error}") }, cure)
    })
}

fn name(text: &str) -> Result<String, CellError> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err(("it isn't a name on one line".to_owned(), format!("write at most {NAME_MAX} characters, without line breaks")))
}

/// Tells whether text can be the name of a site.
pub fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= NAME_MAX && !text.chars().any(char::is_control)
}

fn url(text: &str) -> Result<String, CellError> {
    if is_web_address(text) {
        return Ok(text.to_owned());
    }
    let with_scheme = format!("https://{text}");
    let cure = match is_web_address(&with_scheme) && text.contains('.') && !text.contains(':') {
        true => format!("write {with_scheme}"),
        false => "write it as in https://acme.example".to_owned(),
    };
    Err((if text.is_empty() { "it is empty" } else { "it isn't a web address" }.to_owned(), cure))
}

/// Tells whether text is the address of a website.
pub fn is_web_address(text: &str) -> bool {
    let uri: Option<http::Uri> = text.parse().ok().filter(|_| text.chars().count() <= URL_MAX);
    uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

fn region(text: &str) -> Result<Region, CellError> {
    Region::parse(text).map_err(|error| {
        let upper = text.to_uppercase();
        let cure = match Region::parse(&upper) {
            Ok(_) => format!("write it in capitals: {upper}"),
            Err(_hopeless) => "leave it empty where no country is meant".to_owned(),
        };
        (format!("it {error}"), cure)
    })
}

fn business_id(text: &str) -> Result<String, CellError> {
    let is_id = text.chars().count() <= BUSINESS_MAX && text.chars().all(|c| c.is_ascii_graphic());
    let wrong = || ("it isn't the id of a business".to_owned(), "copy it from KaiCalls' dashboard: biz_…".to_owned());
    is_id.then(|| text.to_owned()).ok_or_else(wrong)
}

fn public_key(text: &str) -> Result<String, CellError> {
    KeyPair::check_public(text).map(|()| text.to_owned()).map_err(|error| (format!("it {error}"), key_cure()))
}

fn secret_key(text: &str) -> Result<Secret, CellError> {
    let secret = Secret::new(text.to_owned());
    KeyPair::check_secret(&secret).map(|()| secret).map_err(|error| (format!("it {error}"), key_cure()))
}

fn key_cure() -> String {
    "copy KaiCalls' Public Key (wp_pk_…) and Secret Key (wp_sk_…) whole".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(roster: &Roster) -> Vec<&str> {
        roster.rows.iter().map(|row| row.id.as_str()).collect()
    }

    fn read(text: &str) -> Roster {
        read_roster(text.as_bytes()).expect("a roster")
    }

    #[test]
    fn what_spreadsheets_write_is_read() {
        for text in [
            "id,name,url\nacme,\"Acme, Dental\",https://acme.example\n",
            "\u{feff}ID;Name;URL\r\nacme;Acme, Dental;https://acme.example\r\n;;\r\n",
            "url\tid\tname\nhttps://acme.example\tacme\t\"Acme, Dental\"",
        ] {
            let roster = read(text);
            assert!(roster.bad.is_empty(), "{text}: {:?}", roster.bad);
            let row = &roster.rows[0];
            assert_eq!((ids(&roster).as_slice(), row.line), (["acme"].as_slice(), 2), "{text}");
            assert_eq!((row.name.as_deref(), row.url.as_str()), (Some("Acme, Dental"), "https://acme.example"));
        }
        let roster = read(
            "id,url,region,business_id,public_key,secret_key\na,https://a.example,DE,biz_1,wp_pk_1,wp_sk_1\nb,https://b.example,,,,\n",
        );
        assert_eq!(ids(&roster), ["a", "b"]);
        assert_eq!(roster.rows[0].business_id.as_deref(), Some("biz_1"));
        assert!(roster.rows[0].keys.is_some() && roster.rows[1].keys.is_none() && roster.rows[1].region.is_none());
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_keeps_no_other_row_out() {
        let roster = read(
            "id,name,url,region,public_key,secret_key\n\
             Acme,,https://a.example,,,\n\
             b,,b.example,de,,\n\
             c,,https://c.example,,wp_pk_1,\n\
             d,,https://d.example,,wp_sk_1,wp_sk_2\n\
             e,,https://e.example\n\
             good,,https://good.example,,,\n\
             ,,,,,x\n",
        );
        assert_eq!(ids(&roster), ["good"]);
        let told: Vec<_> = roster.bad.iter().map(|bad| (bad.line, bad.column, bad.field.unwrap_or("-"))).collect();
        assert_eq!(
            told,
            [
                (2, Some(1), "id"),
                (3, Some(3), "url"),
                (3, Some(4), "region"),
                (4, Some(6), "secret_key"),
                (5, Some(5), "public_key"),
                (6, None, "-"),
                (8, Some(1), "id"),
                (8, Some(3), "url"),
                (8, Some(6), "secret_key"),
            ],
            "{:#?}",
            roster.bad
        );
        let cures: Vec<&str> = roster.bad.iter().take(3).map(|bad| bad.cure.as_str()).collect();
        assert_eq!(cures, ["write `acme`", "write https://b.example", "write it in capitals: DE"]);
        assert!(!format!("{roster:?}").contains("wp_sk_2"));
    }

    #[test]
    fn of_two_rows_of_one_id_neither_is_taken() {
        let roster = read("id,url\na,https://a.example\nb,https://b.example\na,https://c.example\n");
        assert_eq!(ids(&roster), ["b"]);
        let told: Vec<_> = roster.bad.iter().map(|bad| (bad.line, bad.problem.as_str())).collect();
        assert_eq!(told, [(2, "`a` is also on line 4"), (4, "`a` is also on line 2")]);
    }

    #[test]
    fn a_quoted_line_break_keeps_the_lines_right() {
        let roster = read("id,name,url\na,\"two\nlines\",https://a.example\nb,,https://b.example\n");
        assert_eq!((roster.bad[0].line, roster.bad[0].field), (2, Some("name")));
        assert_eq!(roster.rows[0].line, 4);
        let roster = read("id,url\r\n\r\na,https://a.example\r\n,\r\n\r\nb,https://b.example\r\n");
        assert_eq!(roster.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 6]);
    }

    #[test]
    fn carriage_returns_alone_end_lines_too() {
        let roster = read("id,name,url\ra,x;y;z,https://a.example\ra,,https://b.example\rB,,https://b.example\r");
        let told: Vec<_> = roster.bad.iter().map(|bad| (bad.line, bad.problem.as_str())).collect();
        assert_eq!(told[..2], [(2, "`a` is also on line 3"), (3, "`a` is also on line 2")]);
        assert_eq!((told.len(), told[2].0), (3, 4));
    }

    #[test]
    fn a_quote_that_is_open_is_told_with_the_lines_it_takes() {
        for (end, line) in [("", 4), ("\n", 4)] {
            let roster =
                read(&format!("id,name,url\na,\"x,https://a.example\nb,,https://b.example\nc,,https://c{end}"));
            let told: Vec<_> = roster.bad.iter().map(|bad| (bad.line, bad.problem.clone())).collect();
            assert_eq!(told, [(2, format!("the row goes on to line {line}"))]);
        }
    }

    #[test]
    fn what_is_not_utf_8_is_told() {
        let roster = read_roster(b"id,name,url\na,Z\xfcrich,https://a.example\nb,,https://b.example\n").expect("read");
        assert_eq!((roster.bad[0].line, roster.bad[0].column), (2, Some(2)));
        assert_eq!(ids(&roster), ["b"]);
        assert!(matches!(read_roster(b"\xff\xfei\0d\0"), Err(RosterError::Utf16)));
    }

    #[test]
    fn a_header_that_cannot_be_meant_is_refused() {
        for (header, words) in [
            ("", "it is empty"),
            ("id,url,phone", "its header has the unknown column `phone`"),
            ("id,url,id", "its header has the column `id` twice"),
            ("id,name", "its header has no column `url`"),
        ] {
            let error = read_roster(header.as_bytes()).expect_err("refused");
            assert_eq!(error.to_string(), words);
            assert!(error.cure().contains("id,name,url,region,business_id,public_key,secret_key"));
        }
    }

    #[test]
    fn there_is_a_limit_to_rows() {
        let rows: String = (0..=ROWS_MAX).map(|at| format!("s{at},https://s.example\n")).collect();
        assert!(matches!(read_roster(format!("id,url\n{rows}").as_bytes()), Err(RosterError::TooManyRows)));
    }
}
