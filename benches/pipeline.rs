//! How long the pure path takes: one submission of each fixture's folder, decoded, mapped and checked.
//!
//!     cargo bench --bench pipeline [-- FOLDER...]
//!
//! The floor is serde_json reading as many bytes of JSON, measured in the same run: compare the ratios, since the time of a
//! machine that others use drifts.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use formgate::config::shipped_mappings;
use formgate::pipeline::{Mappings, SiteRules, process};
use formgate::received::Received;

const FOLDERS: [&str; 6] = ["contact-form-7", "elementor", "gravity-forms", "wpforms", "kaicalls", "generic"];
/// Long enough that a scheduler's turn does not decide.
const ROUND: Duration = Duration::from_millis(20);
const ROUNDS: usize = 9;

fn main() -> anyhow::Result<()> {
    let (mappings, _) = shipped_mappings();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    println!("{:<18} {:>5} {:>7} {:>9} {:>9} {:>7}", "fixtures", "cases", "bytes", "us each", "floor us", "ratio");
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_asked = |folder: &&str| asked.is_empty() || asked.iter().any(|name| name == folder);
    for folder in FOLDERS.into_iter().filter(is_asked) {
        let cases = cases(&fixtures.join(folder))?;
        let bytes: usize = cases.iter().map(|case| case.body.len()).sum();
        let json = format!("[{}]", vec!["\"a text of 20 signs.\""; bytes / 21 + 1].join(","));
        let ours = median(|| cases.iter().for_each(|case| run(&mappings, case))) / u32::try_from(cases.len())?;
        let floor = median(|| drop(black_box(serde_json::from_str::<serde_json::Value>(&json))));
        let floor = floor / u32::try_from(cases.len())?;
        let ratio = ours.as_secs_f64() / floor.as_secs_f64();
        let (us, floor) = (ours.as_secs_f64() * 1e6, floor.as_secs_f64() * 1e6);
        println!(
            "{folder:<18} {:>5} {:>7} {us:>9.1} {floor:>9.1} {ratio:>7.1}",
            cases.len(),
            bytes / cases.len().max(1)
        );
    }
    Ok(())
}

fn run(mappings: &Mappings, received: &Received) {
    black_box(process(mappings, &SiteRules::default(), None, received));
}

/// Returns how long a call takes, in the middle of several rounds.
fn median(mut call: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let (started, mut calls) = (Instant::now(), 0_u32);
            while started.elapsed() < ROUND {
                call();
                calls += 1;
            }
            started.elapsed() / calls
        })
        .collect();
    times.sort_unstable();
    times.get(ROUNDS / 2).copied().unwrap_or_default()
}

/// Reads the requests of a folder, as they came over the wire.
fn cases(folder: &Path) -> anyhow::Result<Vec<Received>> {
    let files = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> = files.map(|file| file.map(|file| file.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "http"));
    paths.sort();
    paths.iter().map(|path| request(path)).collect()
}

fn request(path: &Path) -> anyhow::Result<Received> {
    let bytes = std::fs::read(path)?;
    let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("a head")?;
    let (head, body) = bytes.split_at(end + 4);
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Ok(Received {
        method: method.to_owned(),
        query: target.split_once('?').map(|(_, query)| query.to_owned()),
        headers,
        body: body.to_vec().into(),
        ..Received::default()
    })
}
