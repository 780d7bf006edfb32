//! Packs the captured submissions into an archive that the program carries, so that `formgate demo` needs no checkout.
//!
//! The same files give the same archive, byte for byte: sorted, without times, owners or modes of their own.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

const FIXTURES: &str = "fixtures";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FIXTURES}");
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    let archive = File::create(Path::new(&out).join("fixtures.tar.gz"))?;
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
            find(&path, captures)?;
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
