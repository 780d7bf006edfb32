//! Packs the captured submissions into an archive that the program carries, so that `formgate demo` needs no checkout, lists the
//! mappings that it carries too, and compiles the words of `mappings/words`, so that no start has to.
//!
//! The same files give the same bytes: sorted, without times, owners or modes of their own.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

const FIXTURES: &str = "fixtures";
const LABELLED: &str = "fixtures/auto";

/// The code that compiles words is shared with the code that looks them up.
#[path = "."]
#[expect(unreachable_pub, reason = "others of the crate use them")]
mod words {
    #[path = "src/map/words/compile.rs"]
    pub(crate) mod compile;
    #[path = "src/map/words/concept.rs"]
    #[expect(dead_code, reason = "half of it is for those that ask")]
    pub(crate) mod concept;
    #[path = "src/map/words/plain.rs"]
    pub(crate) mod plain;
}

use words::compile::{Compiled, LanguageWords, compile};
use words::concept::Concept;

const MAPPINGS: &str = "mappings";
const WORDS: &str = "mappings/words";
/// Keys of a word file beside the concepts.
const VALUES: [&str; 3] = ["salutations", "answers", "agreements"];
const SURNAME_FIRST: &str = "surname_first";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FIXTURES}");
    println!("cargo::rerun-if-changed={MAPPINGS}");
    println!("cargo::rerun-if-changed=src/map/words");
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    list_mappings(&Path::new(&out).join("mappings.rs"))?;
    write_words(&Path::new(&out).join("words"))?;
    pack_fixtures(&Path::new(&out).join("fixtures.tar.gz"))
}

/// Returns the TOML files of a folder, sorted.
fn tables(folder: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}

/// Writes name and text of each mapping as an expression of Rust.
fn list_mappings(list: &Path) -> Result<(), Box<dyn Error>> {
    let mut text = String::from("&[");
    for file in tables(MAPPINGS)? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let path = format!("/{}", file.display());
        text.push_str(&format!("({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))), "));
    }
    text.push(']');
    Ok(fs::write(list, text)?)
}

fn write_words(folder: &Path) -> Result<(), Box<dyn Error>> {
    let files = tables(WORDS)?;
    let read = |file: &PathBuf| read_words(file).map_err(|error| format!("{}: {error}", file.display()));
    let languages: Vec<LanguageWords> = files.iter().map(read).collect::<Result<_, _>>()?;
    let Compiled { languages, phrases, meanings, salutations, answers, agreements } = compile(&languages)?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join("languages"), languages)?;
    let parts = [("phrases", phrases), ("meanings", meanings), ("salutations", salutations), ("answers", answers)];
    for (name, bytes) in parts.into_iter().chain([("agreements", agreements)]) {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// Reads one language; an unknown key fails the build.
fn read_words(file: &Path) -> Result<LanguageWords, Box<dyn Error>> {
    let table: toml::Table = fs::read_to_string(file)?.parse()?;
    let code = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut words = LanguageWords { code, ..LanguageWords::default() };
    for (key, value) in table {
        if key == SURNAME_FIRST {
            words.is_surname_first = value.as_bool().ok_or("`surname_first` is true or false")?;
            continue;
        }
        let texts =
            value.as_array().ok_or_else(|| format!("`{key}` is a list of words"))?.iter().map(toml::Value::as_str);
        let texts: Vec<&str> =
            texts.collect::<Option<_>>().ok_or_else(|| format!("`{key}` holds something else than words"))?;
        let texts = texts.into_iter().map(str::to_owned);
        match (
            Concept::ALL.into_iter().find(|concept| concept.as_str() == key),
            VALUES.iter().position(|known| *known == key),
        ) {
            (Some(concept), _) => words.phrases.extend(texts.map(|text| (concept, text))),
            (None, Some(0)) => words.salutations.extend(texts),
            (None, Some(1)) => words.answers.extend(texts),
            (None, Some(_)) => words.agreements.extend(texts),
            (None, None) => return Err(format!("there is no key `{key}`").into()),
        }
    }
    Ok(words)
}

fn pack_fixtures(archive: &Path) -> Result<(), Box<dyn Error>> {
    let archive = File::create(archive)?;
    let mut captures = Vec::new();
    find(Path::new(FIXTURES), &mut captures)?;
    captures.sort();
    let mut builder = tar::Builder::new(GzEncoder::new(archive, Compression::best()));
    for capture in captures {
        add(&mut builder, &capture)?;
        let expectation = capture.with_extension("json");
        if expectation.is_file() {
            add(&mut builder, &expectation)?;
        }
    }
    builder.into_inner()?.finish()?;
    Ok(())
}

fn find(folder: &Path, captures: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            // Hundreds of labelled submissions say little to somebody who watches a demo.
            if !path.ends_with(LABELLED) {
                find(&path, captures)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "http") {
            captures.push(path);
        }
    }
    Ok(())
}

fn add<W: Write>(builder: &mut tar::Builder<W>, file: &Path) -> Result<(), Box<dyn Error>> {
    let contents = fs::read(file)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(contents.len().try_into()?);
    header.set_mode(0o600);
    builder.append_data(&mut header, file.strip_prefix(FIXTURES)?, contents.as_slice())?;
    Ok(())
}
