//! Sites take turns: one entry of each, then a second of each, until the claim is full.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::lead::SiteId;

/// What is due, by site, in the order of their turns.
pub(super) type Lanes<S, T> = Vec<(S, VecDeque<T>)>;

/// The site whose turn was last, for each kind of claim: were it one for both, two sites could be passed over for ever.
#[derive(Clone, Debug, Default)]
pub(super) struct LastSites {
    any: Option<SiteId>,
    new: Option<SiteId>,
}

impl LastSites {
    pub(super) fn of(&mut self, accepted_since: Option<Timestamp>) -> &mut Option<SiteId> {
        if accepted_since.is_some() { &mut self.new } else { &mut self.any }
    }
}

/// Takes up to `max` in turn; with the site that came last, after which the next claim goes on.
pub(super) fn take<S, T>(mut lanes: Lanes<S, T>, max: usize) -> (Vec<T>, Option<S>) {
    let mut taken = Vec::new();
    let mut last = None;
    'full: loop {
        let before = taken.len();
        for (index, (_, lane)) in lanes.iter_mut().enumerate() {
            if taken.len() >= max {
                break 'full;
            }
            if let Some(next) = lane.pop_front() {
                taken.push(next);
                last = Some(index);
            }
        }
        if taken.len() == before {
            break;
        }
    }
    (taken, last.map(|index| lanes.swap_remove(index).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_give_one_each_until_it_is_full() {
        let lanes =
            || vec![("a", VecDeque::from([1, 2, 3, 4])), ("b", VecDeque::from([5])), ("c", VecDeque::from([6, 7]))];
        assert_eq!(take(lanes(), 5), (vec![1, 5, 6, 2, 7], Some("c")));
        assert_eq!(take(lanes(), 2), (vec![1, 5], Some("b")));
        assert_eq!(take(lanes(), 99), (vec![1, 5, 6, 2, 7, 3, 4], Some("a")));
        assert_eq!(take::<&str, u8>(Vec::new(), 9), (vec![], None));
    }
}
