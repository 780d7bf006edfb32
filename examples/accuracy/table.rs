//! Figures in columns.

#![expect(clippy::print_stdout, reason = "it is the program's data")]

use std::collections::BTreeMap;

use formgate::lead::LeadField;

use super::judge::{Judged, Verdict};

/// How often each verdict was given.
#[derive(Default)]
struct Counts {
    right: usize,
    wrong: usize,
    missed: usize,
}

impl Counts {
    fn of<'a>(field: LeadField, judged: impl Iterator<Item = &'a Judged>) -> Self {
        judged.fold(Self::default(), |mut counts, judged| {
            match judged.verdict(field) {
                Verdict::Right => counts.right += 1,
                Verdict::Wrong => counts.wrong += 1,
                Verdict::Missed => counts.missed += 1,
                Verdict::Absent | Verdict::Free => {}
            }
            counts
        })
    }

    fn precision(&self) -> String {
        share(self.right, self.right + self.wrong)
    }

    /// What was found wrong where something is there counts as not found.
    fn recall(&self) -> String {
        share(self.right, self.right + self.wrong + self.missed)
    }
}

fn share(part: usize, whole: usize) -> String {
    match whole {
        0 => "–".to_owned(),
        _ => format!("{:.3}", part as f64 / whole as f64),
    }
}

/// Shows the figures of a whole corpus.
pub(crate) fn whole<'a>(judged: impl Iterator<Item = &'a Judged> + Clone) {
    println!("| field | precision | recall | right | wrong | missed |");
    println!("|---|--:|--:|--:|--:|--:|");
    for field in LeadField::ALL {
        let counts = Counts::of(field, judged.clone());
        let precision = counts.precision();
        let recall = counts.recall();
        let Counts { right, wrong, missed } = counts;
        println!("| {} | {precision} | {recall} | {right} | {wrong} | {missed} |", field.as_str());
    }
    let count = |is: fn(&Judged) -> bool| judged.clone().filter(|judged| is(judged)).count();
    let all = judged.clone().count();
    println!(
        "\nRight in all: {} of {all}; valid leads held: {}.\n",
        count(|j| j.faults.is_empty()),
        count(|j| j.is_held_in_vain)
    );
}

/// Shows a line a group.
pub(crate) fn groups(title: &str, groups: &BTreeMap<&str, Vec<&Judged>>) {
    if groups.len() < 2 {
        return;
    }
    println!("| {title} | cases | right | name | e-mail | phone | message |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for (name, judged) in groups {
        let right = judged.iter().filter(|judged| judged.faults.is_empty()).count();
        let field = |field| {
            let counts = Counts::of(field, judged.iter().copied());
            format!("{} / {}", counts.precision(), counts.recall())
        };
        let [of_name, email, phone, message] =
            [LeadField::Name, LeadField::Email, LeadField::Phone, LeadField::Message].map(field);
        println!("| {name} | {} | {right} | {of_name} | {email} | {phone} | {message} |", judged.len());
    }
    println!();
}
