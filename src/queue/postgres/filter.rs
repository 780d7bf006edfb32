//! Which entries are listed: a filter, as the conditions of a statement that goes by an index.

use jiff::Timestamp;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::database::Params;
use super::row::{STANDING, number_of};
use crate::lead::SiteId;
use crate::queue::{CauseQuery, Filter, Reason, State};

/// How far an id's time may be from that at which its entry was accepted: ids narrow down what is looked through, and the time
/// itself decides.
const ID_TOLERANCE_MS: i64 = 3_600_000;

const STATES: [State; 4] = [State::Queued, State::Held, State::Delivered, State::Dead];

/// Conditions with the parameters they name.
#[derive(Default)]
pub(super) struct Conditions {
    /// All but the state.
    sql: Vec<String>,
    /// The states that pass.
    states: Vec<State>,
    has_site: bool,
    has_times: bool,
    /// The form is looked up where it is indexed, beside what was received.
    by_content: bool,
    pub(super) params: Params<'static>,
}

impl Conditions {
    /// Adds a condition of one parameter.
    fn add(&mut self, condition: &str, value: impl ToSql + Sync + Send + 'static, kind: Type) {
        self.params.add(kind, value);
        self.sql.push(format!("{condition} ${}", self.params.len()));
    }

    /// Adds a bound of ids: of both tables, or a join would read the other's index from its end.
    pub(super) fn add_id(&mut self, bound: &str, id: Uuid) {
        self.add(&format!("e.id {bound}"), id, Type::UUID);
        if self.by_content {
            self.sql.push(format!("c.id {bound} ${}", self.params.len()));
        }
    }

    /// Returns what a filter asks for.
    pub(super) fn of(filter: &Filter) -> Self {
        let mut conditions = Self::default();
        let Filter { site, form, state, reason, since, until } = filter;
        // What is delivered has one reason, and nothing else has it.
        let fits = |one: &State| reason.is_none_or(|of| (of == Reason::Delivered) == (*one == State::Delivered));
        let passes = |one: &State| state.is_none_or(|state| state == *one) && fits(one);
        conditions.states = STATES.into_iter().filter(passes).collect();
        if let Some(site) = site {
            conditions.has_site = true;
            conditions.add("e.site =", site.as_str().to_owned(), Type::TEXT);
        }
        if let Some(form) = form {
            conditions.by_content = conditions.states.contains(&State::Delivered);
            let of_form = if conditions.by_content { "c.form =" } else { "e.form =" };
            conditions.add(of_form, form.as_str().to_owned(), Type::TEXT);
        }
        if let Some(reason) = reason {
            conditions.add("e.reason =", number_of(*reason), Type::INT2);
        }
        conditions.has_times = since.is_some() || until.is_some();
        if let Some(since) = since {
            conditions.add("e.accepted_at >=", since.as_millisecond(), Type::INT8);
            conditions.add_id(">=", first_id(since.as_millisecond().saturating_sub(ID_TOLERANCE_MS)));
        }
        if let Some(until) = until {
            conditions.add("e.accepted_at <", ceiling(*until), Type::INT8);
            conditions.add_id("<", first_id(until.as_millisecond().saturating_add(ID_TOLERANCE_MS)));
        }
        conditions
    }

    /// Returns what is in one of some states.
    pub(super) fn of_states(states: &[State]) -> Self {
        Self { states: states.to_vec(), ..Self::default() }
    }

    /// Returns what a count by causes asks for: the form is in the row then.
    pub(super) fn of_causes(query: &CauseQuery<'_>) -> Self {
        let mut conditions = Self::of(&Filter { state: None, form: None, ..query.filter.clone() });
        conditions.states = query.states();
        if let Some(form) = &query.filter.form {
            conditions.add("e.form =", form.as_str().to_owned(), Type::TEXT);
        }
        if let Some(sites) = query.sites {
            let sites: Vec<String> = sites.iter().map(ToString::to_string).collect();
            conditions.params.add(Type::TEXT_ARRAY, sites);
            conditions.sql.push(format!("e.site = ANY(${})", conditions.params.len()));
        }
        if !query.takes_dropped() {
            conditions.sql.push(format!("e.reason <> {}", number_of(Reason::Dropped)));
        }
        conditions
    }

    /// Returns all conditions in one.
    pub(super) fn whole(&self) -> String {
        let states: Vec<_> = self.states.iter().map(|state| number_of(*state).to_string()).collect();
        let of_state = match &*states {
            [] => "false".to_owned(),
            [state] => format!("e.state = {state}"),
            states => format!("e.state IN ({})", states.join(", ")),
        };
        [&of_state].into_iter().chain(&self.sql).map(String::as_str).collect::<Vec<_>>().join(" AND ")
    }

    /// Returns a statement that selects heads: entries are picked first, and then what was read of these alone.
    pub(super) fn heads(&self, direction: &str, limit: usize) -> String {
        let picked = self.picked(direction, limit);
        format!(
            "SELECT {STANDING}, c.reading::text FROM ({picked}) e JOIN formgate.content c ON c.id = e.id
             ORDER BY e.id {direction}"
        )
    }

    /// The same for the first of each of some sites, with the position of the site behind the head.
    pub(super) fn heads_of_sites(mut self, sites: &[SiteId], limit: usize) -> (String, Params<'static>) {
        let names: Vec<String> = sites.iter().map(ToString::to_string).collect();
        self.params.add(Type::TEXT_ARRAY, names);
        self.sql.push("e.site = wanted.site".to_owned());
        self.has_site = true;
        let picked = self.picked("ASC", limit);
        let number = self.params.len();
        let sql = format!(
            "SELECT {STANDING}, c.reading::text, wanted.position
             FROM unnest(${number}) WITH ORDINALITY AS wanted (site, position)
                CROSS JOIN LATERAL ({picked}) e JOIN formgate.content c ON c.id = e.id
             ORDER BY wanted.position, e.id"
        );
        (sql, self.params)
    }

    /// Picks entries in the order of an index: to read all that pass, and to put them in order for each page, would take seconds.
    fn picked(&self, direction: &str, limit: usize) -> String {
        match &*self.states {
            [] => self.picked_by("false", "e.id", limit),
            // Of one state, or of several of a site, each is in order by itself. The state is written once: more would make the
            // planner expect far fewer entries than there are, read them all, and sort them.
            states if self.has_site && states.len() > 1 => {
                let of_each: Vec<_> =
                    states.iter().map(|state| format!("({})", self.picked_of(*state, direction, limit))).collect();
                let of_each = of_each.join(" UNION ALL ");
                format!("SELECT e.* FROM ({of_each}) e ORDER BY e.id {direction} LIMIT {limit}")
            }
            // Nearly all are delivered, so the planner would rather walk past the others by id, however many there are. By these words
            // only one index has the order; but a time would not bound it at its far end.
            [State::Delivered] if !self.has_site && !self.by_content && !self.has_times => {
                let delivered = number_of(State::Delivered);
                let of_state = format!("e.state >= {delivered} AND e.state <= {delivered}");
                self.picked_by(&of_state, &format!("e.state {direction}, e.id {direction}"), limit)
            }
            [state] => self.picked_of(*state, direction, limit),
            // The short index of reasons has all but what is delivered.
            states if !states.contains(&State::Delivered) => {
                self.picked_by("e.state <> 2", &format!("e.id {direction}"), limit)
            }
            _ => self.picked_by("true", &format!("e.id {direction}"), limit),
        }
    }

    fn picked_of(&self, state: State, direction: &str, limit: usize) -> String {
        self.picked_by(&format!("e.state = {}", number_of(state)), &format!("e.id {direction}"), limit)
    }

    fn picked_by(&self, of_state: &str, order: &str, limit: usize) -> String {
        let content = if self.by_content { "JOIN formgate.content c ON c.id = e.id" } else { "" };
        let picked =
            [of_state].into_iter().chain(self.sql.iter().map(String::as_str)).collect::<Vec<_>>().join(" AND ");
        format!("SELECT e.* FROM formgate.entry e {content} WHERE {picked} ORDER BY {order} LIMIT {limit}")
    }
}

/// Times are kept to the millisecond: one that was accepted within the last millisecond before `until` counts too.
fn ceiling(until: Timestamp) -> i64 {
    let millisecond = until.as_millisecond();
    let is_whole = Timestamp::from_millisecond(millisecond).is_ok_and(|whole| whole == until);
    if is_whole { millisecond } else { millisecond.saturating_add(1) }
}

/// Returns the lowest id of a time.
fn first_id(millisecond: i64) -> Uuid {
    Uuid::from_u128(u128::from(millisecond.max(0).cast_unsigned()) << 80)
}
