//! What is measured, row by row. Of each figure the middle of some rounds is told, in which those that are compared take turns.

mod accepted;

mod cost;

mod delivered;

mod gateways;

mod held;

mod waiting;

use crate::Outcome;
use crate::stand::Stand;
use crate::table;

/// Times that each of those that are compared is measured, unless `ROUNDS` says otherwise.
const ROUNDS: usize = 3;
const GATEWAYS: &str = "gateways";

/// Counts the rounds, and says which begins.
pub(crate) fn rounds(row: &'static str) -> impl Iterator<Item = usize> {
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    (1..=rounds).inspect(move |round| eprintln!("bench: {row}, round {round} of {rounds}"))
}

/// A line of the table of goals.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) figure: f64,
    /// "≤ 2.5", and what at least is to hold.
    pub(crate) goal: &'static str,
    pub(crate) must: &'static str,
}

impl Goal {
    pub(crate) fn new(what: impl Into<String>, figure: f64, goal: &'static str, must: &'static str) -> Self {
        Self { what: what.into(), figure, goal, must }
    }
}

/// Measures the rows of those names, or all.
pub(crate) async fn measure(stand: &Stand, wanted: &[String]) -> Outcome<()> {
    let is_wanted = |row: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == row);
    let mut goals = Vec::new();
    // Without a word it is left out: it needs a PostgreSQL.
    let with_server = wanted.iter().any(|wanted| wanted == GATEWAYS).then_some(GATEWAYS);
    for row in ["cost", "accepted", "delivered", "waiting", "held", "start", "sites"].into_iter().chain(with_server) {
        if is_wanted(row) {
            match measure_row(stand, row).await {
                Ok(measured) => goals.extend(measured),
                Err(error) => eprintln!("bench: {row} is left out: {error}"),
            }
        }
    }
    if goals.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = goals.iter().map(line).collect();
    table::print("The gateway as a whole: ratios and figures of one run", &["", "figure", "goal", "must", ""], &rows);
    Ok(())
}

async fn measure_row(stand: &Stand, row: &str) -> Outcome<Vec<Goal>> {
    match row {
        "cost" => cost::measure(stand).await,
        "accepted" => accepted::measure(stand).await,
        "delivered" => delivered::measure(stand).await,
        "waiting" => waiting::measure(stand).await,
        "held" => held::memory(stand).await,
        "start" => held::starts(stand).await,
        GATEWAYS => gateways::measure(stand).await,
        _ => cost::growth(stand).await,
    }
}

fn line(goal: &Goal) -> Vec<String> {
    let is_within = |limit: &str| {
        let number =
            limit.get(limit.find(' ').unwrap_or_default()..).and_then(|number| number.trim().parse::<f64>().ok());
        number.is_none_or(|number| if limit.starts_with('≤') { goal.figure <= number } else { goal.figure >= number })
    };
    let verdict = if is_within(goal.goal) {
        "goal"
    } else if is_within(goal.must) {
        "must"
    } else {
        "missed"
    };
    vec![goal.what.clone(), figure(goal.figure), goal.goal.to_owned(), goal.must.to_owned(), verdict.to_owned()]
}

/// Writes a figure with as many digits as it is worth.
pub(crate) fn figure(figure: f64) -> String {
    if figure < 10.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
}
