//! Which gateways share the store: this one tells the others that it runs, and looks who else does.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::clock::until;
use crate::queue::{GatewayName, GatewayNote, Note, SeenGateway};

/// A gateway whose note was last written longer ago has died, or can't reach the store.
pub(super) const LIVE: Duration = Duration::from_secs(3);

/// The gateways that were seen.
#[derive(Default)]
pub(super) struct Presence {
    /// Of each, when its note was last written, and when this gateway last saw that change.
    seen: BTreeMap<GatewayName, (Timestamp, Option<Instant>)>,
}

impl Presence {
    /// Takes in the notes of the gateways, of which this one's was just written.
    ///
    /// Only at first sight are times of the store compared, and those only with each other. After that a gateway runs as long as its
    /// note changes by the clock of this process: whose clock is wrong counts for nothing.
    pub(super) fn look(&mut self, notes: &[Note], this: &GatewayName, now: Instant) -> Vec<SeenGateway> {
        let own_at = notes.iter().find(|note| note.key.as_str() == this.as_str()).map(|note| note.last_at);
        let mut gateways = Vec::new();
        for note in notes {
            let Some((name, told)) = GatewayNote::read(note) else { continue };
            let changed_at = match self.seen.get(&name) {
                Some((last_at, changed_at)) if *last_at == note.last_at => *changed_at,
                Some(_) => Some(now),
                None => own_at.filter(|own_at| is_near(*own_at, note.last_at)).map(|_| now),
            };
            self.seen.insert(name.clone(), (note.last_at, changed_at));
            let is_this = name == *this;
            let is_live = is_this || changed_at.is_some_and(|at| now.duration_since(at) < LIVE);
            gateways.push(SeenGateway { name, note: told, last_seen: note.last_at, is_live, is_this });
        }
        self.seen.retain(|name, _| gateways.iter().any(|gateway| gateway.name == *name));
        gateways
    }
}

fn is_near(one: Timestamp, other: Timestamp) -> bool {
    let earlier = one.min(other);
    let later = one.max(other);
    earlier == later || until(later, earlier, LIVE).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Key, Partitions};

    fn note(name: &str, seconds: i64) -> Note {
        let told = GatewayNote {
            version: "0.1.0".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            host: "web".to_owned(),
            process: "1".to_owned(),
            config: String::new(),
            partitions: Partitions::NONE,
            sites: 0,
            sends: true,
        };
        let last_at = Timestamp::from_second(seconds).expect("a time");
        let text = Some(serde_json::to_string(&told).expect("JSON"));
        Note { key: Key::parse(name).expect("a key"), first_at: last_at, last_at, text, numbers: Vec::new() }
    }

    /// The names of the gateways that run.
    fn live(presence: &mut Presence, notes: &[Note], now: Instant) -> Vec<String> {
        let this = GatewayName::parse("a").expect("a name");
        let seen = presence.look(notes, &this, now);
        seen.into_iter().filter(|gateway| gateway.is_live).map(|gateway| gateway.name.to_string()).collect()
    }

    #[test]
    fn a_gateway_runs_while_its_note_changes_whatever_its_clock_says() {
        let mut presence = Presence::default();
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        // c's note is of yesterday.
        assert_eq!(live(&mut presence, &[note("a", 1_000), note("b", 998), note("c", 10)], begun), ["a", "b"]);
        assert_eq!(live(&mut presence, &[note("a", 1_002), note("b", 998), note("c", 10)], after(2)), ["a", "b"]);
        assert_eq!(live(&mut presence, &[note("a", 1_003), note("b", 998), note("c", 10)], after(3)), ["a"]);
        // Its clock is wrong, and it runs.
        assert_eq!(live(&mut presence, &[note("a", 1_004), note("b", 998), note("c", 11)], after(4)), ["a", "c"]);
    }

    #[test]
    fn one_that_has_stopped_is_forgotten() {
        let mut presence = Presence::default();
        let begun = Instant::now();
        assert_eq!(live(&mut presence, &[note("a", 1), note("b", 1)], begun), ["a", "b"]);
        let stopped = Note { text: Some(String::new()), ..note("b", 2) };
        assert_eq!(live(&mut presence, &[note("a", 2), stopped], begun), ["a"]);
    }
}
