//! How often auto is right where nobody wrote a mapping.
//!
//!     cargo run --example accuracy [-- --all] [CORPUS...]
//!
//! Precision and recall of each lead field, wrong e-mails and phones apart, per corpus, plugin and language; then the worst
//! cases with what spoke for each choice. Of `forms` the half that nobody tuned on is shown, `--all` shows the whole.
//! Captures and fixtures are read with their mapping taken away. `FORMGATE_CORPORA` names the folder that holds `forms`,
//! `reports`, `lab` and `captures`; a warning names each that is missing.

#![expect(clippy::print_stdout, reason = "it is the program's data")]

mod corpora;
mod judge;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use formgate::config::shipped_mappings;
use formgate::lead::{LeadField, Region};
use formgate::map::{Dictionary, Mapping};
use formgate::pipeline::{Explained, LAST, Mappings, SiteRules, explain};

use corpora::Case;
use judge::{Judged, Verdict, judge};

/// How many of the worst cases are shown.
const WORST: usize = 20;

fn main() -> anyhow::Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let (flags, names): (Vec<String>, Vec<String>) = asked.into_iter().partition(|word| word.starts_with("--"));
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    let (shipped, _) = shipped_mappings();
    let generic = shipped.get(LAST).map(|mapping| Mapping::clone(mapping));
    let bare = Mappings::new(generic, Arc::new(Dictionary::shipped()));
    let mut corpora = corpora::read()?;
    corpora.retain(|corpus| names.is_empty() || names.contains(&corpus.name));
    for corpus in corpora {
        let chosen = |case: &&Case| has("--all") || !corpus.is_split || (case.is_for_tuning() == has("--tuning"));
        let mut judged = Vec::new();
        for case in corpus.cases.iter().filter(chosen) {
            let region = case.region.as_deref().and_then(|code| Region::parse(code).ok());
            let site = SiteRules { region, ..SiteRules::default() };
            let mappings = if corpus.is_mapped { &bare } else { &shipped };
            let explained = explain(mappings, &site, None, &case.received);
            judged.push((case, judge(case, &explained), explained));
        }
        show(&corpus.name, &judged, has("--list"));
    }
    Ok(())
}

fn show(name: &str, judged: &[(&Case, Judged, Explained)], list: bool) {
    println!("## {name}: {} cases\n", judged.len());
    table::whole(judged.iter().map(|(_, judged, _)| judged));
    let by = |group: fn(&Case) -> &str| {
        let mut groups: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
        judged.iter().for_each(|(case, judged, _)| groups.entry(group(case)).or_default().push(judged));
        groups
    };
    table::groups("kind", &by(|case| &case.kind));
    table::groups("language", &by(|case| case.language_group()));
    let mut wrong: Vec<_> = judged.iter().filter(|(_, judged, _)| !judged.is_right()).collect();
    wrong.sort_by_key(|(case, judged, _)| (std::cmp::Reverse(judged.weight()), case.id.clone()));
    let shown = if list { wrong.len() } else { WORST };
    for (case, judged, explained) in wrong.into_iter().take(shown) {
        println!("### {}", case.id);
        for line in &judged.faults {
            println!("- {line}");
        }
        for candidate in explained.explanation.iter().flat_map(|told| &told.candidates) {
            if matches!(judged.verdict(candidate.field), Verdict::Wrong | Verdict::Missed) {
                let reasons =
                    candidate.reasons.iter().map(|(reason, weight)| format!("{} {weight:+}", reason.as_str()));
                let reasons = reasons.collect::<Vec<_>>().join(", ");
                println!(
                    "  - {}? {} {}: {reasons}",
                    candidate.field.as_str(),
                    candidate.score,
                    candidate.keys.join(" + ")
                );
            }
        }
    }
    println!();
}

impl Judged {
    fn is_right(&self) -> bool {
        self.faults.is_empty()
    }

    /// What harms most comes first: somebody else's address, a lost lead, a wrong name.
    fn weight(&self) -> usize {
        let field = |field: LeadField| usize::from(self.verdict(field) == Verdict::Wrong);
        8 * field(LeadField::Email)
            + 4 * field(LeadField::Phone)
            + 2 * field(LeadField::Name)
            + 4 * usize::from(self.is_held_in_vain)
            + usize::from(!self.faults.is_empty())
    }
}
