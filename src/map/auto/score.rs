//! How much speaks for a candidate, and what.

/// Evidence for or against a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScoreReason {
    /// Its label or key names it.
    #[default]
    Label,
    /// Its declared type does.
    Type,
    /// The value looks like it.
    Value,
    /// The value is valid.
    Valid,
    /// Two parts make a whole.
    Parts,
    /// It stands where such fields stand.
    Place,
    /// The e-mail holds a part of it.
    Mail,
    /// It stands in the record of the e-mail, or elsewhere.
    Record,
    /// The label says whose it is.
    Owner,
    /// It is asked for a second time, or another of the same.
    Repeated,
    /// The label says more than that.
    MoreWords,
    /// A field that was left empty is called so.
    LeftEmpty,
    /// A choice, or a fact, by its type.
    Choice,
}

impl ScoreReason {
    /// Returns the reason as `explain` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Type => "type",
            Self::Value => "value",
            Self::Valid => "valid",
            Self::Parts => "parts",
            Self::Place => "place",
            Self::Mail => "mail",
            Self::Record => "record",
            Self::Owner => "owner",
            Self::Repeated => "repeated",
            Self::MoreWords => "more_words",
            Self::LeftEmpty => "left_empty",
            Self::Choice => "choice",
        }
    }
}

/// Most reasons of one candidate: there are no more kinds.
const REASONS: usize = 13;

/// A weight, and what it is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    total: i32,
    reasons: [(ScoreReason, i16); REASONS],
    count: u8,
}

impl Score {
    /// Adds what speaks for it; nothing where that weighs nothing.
    pub(super) fn and(mut self, reason: ScoreReason, weight: i32) -> Self {
        if weight == 0 {
            return self;
        }
        self.total = self.total.saturating_add(weight);
        let small = i16::try_from(weight).unwrap_or(if weight < 0 { i16::MIN } else { i16::MAX });
        let count = usize::from(self.count);
        let known = self.reasons.iter_mut().take(count).find(|(known, _)| *known == reason);
        match known {
            Some((_, sum)) => *sum = sum.saturating_add(small),
            None => {
                if let Some(place) = self.reasons.get_mut(count) {
                    *place = (reason, small);
                    self.count += 1;
                }
            }
        }
        self
    }

    /// Adds a weight where something holds.
    pub(super) fn when(self, holds: bool, reason: ScoreReason, weight: i32) -> Self {
        if holds { self.and(reason, weight) } else { self }
    }

    /// Returns what one reason weighs.
    pub(super) fn weight_of(&self, wanted: ScoreReason) -> i32 {
        self.reasons().find(|(reason, _)| *reason == wanted).map_or(0, |(_, weight)| i32::from(weight))
    }

    pub fn total(&self) -> i32 {
        self.total
    }

    /// Returns what speaks for it and against it, in the order in which it was weighed.
    pub fn reasons(&self) -> impl Iterator<Item = (ScoreReason, i16)> + '_ {
        self.reasons.iter().take(usize::from(self.count)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_tells_what_it_is_made_of() {
        let score = Score::default()
            .and(ScoreReason::Label, 40)
            .and(ScoreReason::Owner, -60)
            .when(false, ScoreReason::Valid, 50)
            .and(ScoreReason::Label, 5);
        assert_eq!(score.total(), -15);
        assert_eq!(score.reasons().collect::<Vec<_>>(), [(ScoreReason::Label, 45), (ScoreReason::Owner, -60)]);
    }
}
