//! Which partitions a gateway asks for and which it gives back, so that each of several has its share.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::{PARTITIONS, Partition, Partitions};

/// Beyond its share a gateway takes what nobody has held for so long.
const STAYS_FREE: Duration = Duration::from_secs(2);
/// A gateway gives back only after it has held more than its share for so long: one that restarts moves nothing.
const OVER_FOR: Duration = Duration::from_secs(2);

/// How the partitions are spread, as far as this gateway knows.
pub(super) struct Spread {
    /// What this gateway holds and keeps.
    pub(super) kept: Partitions,
    /// What it holds and gives back.
    pub(super) leaving: Partitions,
    /// Of which something is under way.
    pub(super) busy: Partitions,
    /// What each of the other gateways that send holds, as it says.
    pub(super) others: Vec<Partitions>,
}

/// What to do about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    pub(super) ask: Partitions,
    pub(super) leave: Partitions,
}

/// What is remembered from one look to the next.
pub(super) struct Balance {
    /// Where this gateway begins to look for free ones: two that look at once seldom want the same.
    first: u8,
    free_since: BTreeMap<Partition, Instant>,
    over_since: Option<Instant>,
}

impl Balance {
    pub(super) fn new(first: u8) -> Self {
        Self { first: first % PARTITIONS, free_since: BTreeMap::new(), over_since: None }
    }

    /// Says what to ask for and what to give back.
    pub(super) fn moves(&mut self, spread: &Spread, now: Instant) -> Moves {
        let share = share_of(spread.others.len() + 1);
        let taken = spread.others.iter().fold(spread.kept | spread.leaving, |taken, other| taken | *other);
        let free = Partitions::ALL - taken;
        self.free_since.retain(|partition, _| free.has(*partition));
        for partition in free.iter() {
            self.free_since.entry(partition).or_insert(now);
        }
        let wanted = share.saturating_sub(count(spread.kept));
        let stays_free = |partition: &Partition| {
            self.free_since.get(partition).is_some_and(|since| now.duration_since(*since) >= STAYS_FREE)
        };
        let beyond = free.iter().filter(stays_free);
        let ask = self.in_order(free).take(wanted).chain(beyond).collect();
        Moves { ask, leave: self.leave(spread, share, now) }
    }

    /// Says what to give back to gateways that have less than their share.
    fn leave(&mut self, spread: &Spread, share: usize, now: Instant) -> Partitions {
        let over = count(spread.kept).saturating_sub(share);
        let missing: usize = spread.others.iter().map(|other| share.saturating_sub(count(*other))).sum();
        if over == 0 || missing == 0 {
            self.over_since = None;
            return Partitions::NONE;
        }
        let since = *self.over_since.get_or_insert(now);
        // What was given back just now is on its way to them.
        let most = over.min(missing.saturating_sub(count(spread.leaving)));
        if now.duration_since(since) < OVER_FOR {
            return Partitions::NONE;
        }
        let idle = spread.kept - spread.busy;
        let busy = spread.kept & spread.busy;
        idle.iter().chain(busy.iter()).take(most).collect()
    }

    fn in_order(&self, partitions: Partitions) -> impl Iterator<Item = Partition> {
        let first = self.first;
        let behind = partitions.iter().filter(move |partition| partition.number() >= first);
        behind.chain(partitions.iter().take_while(move |partition| partition.number() < first))
    }
}

/// Returns how many of the partitions each of so many gateways aims at.
fn share_of(gateways: usize) -> usize {
    usize::from(PARTITIONS).div_ceil(gateways)
}

fn count(partitions: Partitions) -> usize {
    usize::try_from(partitions.len()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: usize, to: usize) -> Partitions {
        Partition::all().skip(from).take(to - from).collect()
    }

    fn spread(kept: Partitions, others: &[Partitions]) -> Spread {
        Spread { kept, leaving: Partitions::NONE, busy: Partitions::NONE, others: others.to_vec() }
    }

    fn balanced(kept: Partitions, others: &[Partitions]) -> Moves {
        Balance::new(0).moves(&spread(kept, others), Instant::now())
    }

    #[test]
    fn a_gateway_alone_asks_for_all() {
        assert_eq!(balanced(Partitions::NONE, &[]).ask, Partitions::ALL);
        assert_eq!(balanced(range(0, 10), &[]).ask, range(10, 64));
        assert_eq!(balanced(Partitions::ALL, &[]), Moves::default());
    }

    #[test]
    fn a_gateway_takes_what_is_free_up_to_its_share() {
        assert_eq!(balanced(Partitions::NONE, &[Partitions::NONE]).ask.len(), 32);
        assert_eq!(balanced(range(0, 20), &[range(20, 30), range(30, 40)]).ask, range(40, 42), "22 of 64 are a third");
        assert_eq!(balanced(range(0, 22), &[range(22, 44), range(44, 64)]), Moves::default());
        let mut last = Balance::new(63);
        let ask = last.moves(&spread(Partitions::NONE, &vec![Partitions::NONE; 31]), Instant::now()).ask;
        assert_eq!(ask, range(0, 1) | range(63, 64), "it begins where it is told to");
    }

    #[test]
    fn beyond_its_share_it_takes_what_stays_free() {
        let mut balance = Balance::new(0);
        let begun = Instant::now();
        let of_two = spread(range(0, 32), &[range(32, 60)]);
        assert_eq!(balance.moves(&of_two, begun), Moves::default());
        assert_eq!(balance.moves(&of_two, begun + STAYS_FREE).ask, range(60, 64));
        // Held meanwhile, and free again.
        assert_eq!(balance.moves(&spread(range(0, 32), &[range(32, 64)]), begun + STAYS_FREE), Moves::default());
        assert_eq!(balance.moves(&of_two, begun + STAYS_FREE * 2), Moves::default());
    }

    #[test]
    fn what_is_above_its_share_goes_to_who_has_less_after_a_while_and_idle_ones_first() {
        let mut balance = Balance::new(0);
        let begun = Instant::now();
        let busy = range(0, 40);
        let of_two = Spread { busy, ..spread(Partitions::ALL, &[Partitions::NONE]) };
        assert_eq!(balance.moves(&of_two, begun), Moves::default());
        let left = balance.moves(&of_two, begun + OVER_FOR).leave;
        assert_eq!(left, range(40, 64) | range(0, 8));
        // While they are under way to the other, nothing more is.
        let moving = Spread { leaving: left, ..spread(Partitions::ALL - left, &[Partitions::NONE]) };
        assert_eq!(balance.moves(&moving, begun + OVER_FOR * 2), Moves::default());
    }

    #[test]
    fn nobody_gives_back_what_nobody_misses() {
        let mut balance = Balance::new(0);
        let begun = Instant::now();
        // A share of three is 22: the two others have theirs.
        for (kept, others) in
            [(range(0, 22), [range(22, 44), range(44, 64)]), (range(0, 20), [range(20, 42), range(42, 64)])]
        {
            for after in [Duration::ZERO, OVER_FOR, OVER_FOR * 2] {
                assert_eq!(balance.moves(&spread(kept, &others), begun + after), Moves::default());
            }
        }
    }
}
