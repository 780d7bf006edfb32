//! All mappings: the shipped and the operator's, compiled and proved by their examples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostics, Severity};
use super::last_good::Text;
use super::mapping::{self, example};
use super::reader::Table;
use super::shipped::SHIPPED;
use super::source::SourceFile;
use crate::lead::FormId;
use crate::map::{Dictionary, Mapping};
use crate::pipeline::Mappings;

/// What became of all mapping files.
pub(super) struct CompiledMappings {
    /// Those without a fault.
    pub(super) sound: Vec<Mapping>,
    /// Names of the operator's that are not among them.
    pub(super) broken: Vec<String>,
    /// Every name, well written or not.
    pub(super) names: BTreeSet<String>,
}

/// A mapping file: its name, and whether the operator wrote it.
pub(super) struct MappingFile {
    pub(super) file: SourceFile,
    pub(super) name: String,
    pub(super) own: bool,
}

impl MappingFile {
    /// Opens the text of a last good version.
    pub(super) fn kept(name: &str, kept: &Text) -> Self {
        Self { file: SourceFile::kept(&kept.file, kept.text.clone()), name: name.to_owned(), own: true }
    }
}

/// Opens the shipped mappings and the operator's files; an exact copy of a shipped one replaces nothing.
pub(super) fn open(operators: &[PathBuf]) -> Vec<MappingFile> {
    let shipped = SHIPPED.iter().map(|(name, text)| MappingFile {
        file: SourceFile::from_text(&PathBuf::from(format!("shipped:{name}.toml")), (*text).to_owned()),
        name: (*name).to_owned(),
        own: false,
    });
    let own = operators.iter().map(|path| open_own(path)).filter(|own| {
        let copy = SHIPPED.iter().any(|(name, text)| own.name == *name && own.file.raw(0..text.len()) == *text);
        !copy
    });
    shipped.chain(own).collect()
}

fn open_own(path: &Path) -> MappingFile {
    let file = SourceFile::read(path);
    let name = name_of(path);
    if let Err(invalid) = FormId::parse(&name) {
        let message = format!("the name of a mapping is its file's name without .toml, which {invalid}");
        file.report_file(Severity::Error, &message, None);
    }
    let says_something = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !file.is_broken() && !file.text().lines().any(says_something) {
        // What an interrupted copy, or a full disk, leaves.
        file.report_file(Severity::Error, "this mapping is empty", Some("write its rules, or delete the file"));
    }
    MappingFile { file, name, own: true }
}

/// A mapping is called by its file.
pub(super) fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Compiles mappings and runs their examples.
pub(super) fn compile(files: &[MappingFile]) -> CompiledMappings {
    report_same_names(files);
    warn_of_replaced(files);
    let mut compiled: Vec<(&MappingFile, Mapping, Vec<example::PlacedExample>)> = Vec::new();
    for mapping in files {
        let Some(table) = mapping.file.parse() else { continue };
        let root = Table::root(&mapping.file, &table, mapping::KEYS);
        if let Some((read, examples)) = mapping::compile(&root, &mapping.name, mapping.own) {
            compiled.push((mapping, read, examples));
        }
    }
    let dictionary = dictionary();
    for (from, mapping, examples) in &compiled {
        let alone = Mappings::new([mapping.clone()], Arc::clone(&dictionary));
        for placed in examples {
            if let Err(differences) = example::run_example(mapping, &alone, &placed.example) {
                let message = format!("this example has a different result\n{}", differences.join("\n"));
                from.file.error(placed.span.clone(), &message);
            }
        }
    }
    let broken = files.iter().filter(|mapping| mapping.own && mapping.file.is_broken());
    CompiledMappings {
        broken: broken.map(|mapping| mapping.name.clone()).collect(),
        names: files.iter().map(|mapping| mapping.name.clone()).collect(),
        sound: compiled
            .into_iter()
            .filter(|(from, ..)| !from.file.is_broken())
            .map(|(_, mapping, _)| mapping)
            .collect(),
    }
}

fn report_same_names(files: &[MappingFile]) {
    let mut seen: BTreeMap<&str, &Path> = BTreeMap::new();
    for mapping in files.iter().filter(|mapping| mapping.own) {
        if let Some(first) = seen.insert(&mapping.name, mapping.file.path()) {
            let message = format!("there is already a mapping `{}`, in {}", mapping.name, first.display());
            mapping.file.report_file(Severity::Error, &message, Some("rename one of the two files"));
        }
    }
}

/// Warns where what formgate learns of a plugin later will not reach the operator.
fn warn_of_replaced(files: &[MappingFile]) {
    for mapping in files.iter().filter(|mapping| mapping.own) {
        if SHIPPED.iter().any(|(name, _)| *name == mapping.name) {
            let message = format!("this mapping replaces formgate's own mapping `{}`", mapping.name);
            let hint = "rename the file, unless this is intended: formgate then uses both, and tries yours first";
            mapping.file.report_file(Severity::Warning, &message, Some(hint));
        }
    }
}

/// Returns the words of auto.
pub(super) fn dictionary() -> Arc<Dictionary> {
    Arc::new(Dictionary::shipped())
}

/// Returns the shipped mappings alone, and what is wrong with them: nothing, or a test fails.
pub fn shipped_mappings() -> (Mappings, Diagnostics) {
    let files = open(&[]);
    let compiled = compile(&files);
    let mut diagnostics = Diagnostics::default();
    for mapping in files {
        diagnostics.extend(mapping.file.into_problems());
    }
    (Mappings::new(compiled.sound, dictionary()), diagnostics)
}

/// What a mapping is called that somebody tries out.
const TRIED: &str = "tried";

/// Compiles the text of one mapping and runs its examples.
pub fn mapping_of(text: &str) -> Result<Mapping, Diagnostics> {
    let file = SourceFile::from_text(Path::new("mapping"), text.to_owned());
    let files = [MappingFile { file, name: TRIED.to_owned(), own: true }];
    let sound = compile(&files).sound.pop();
    let mut diagnostics = Diagnostics::default();
    for mapping in files {
        diagnostics.extend(mapping.file.into_problems());
    }
    sound.ok_or(diagnostics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_mapping_is_sound() {
        let (mappings, diagnostics) = shipped_mappings();
        assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
        assert_eq!(mappings.iter().count(), SHIPPED.len());
    }
}
