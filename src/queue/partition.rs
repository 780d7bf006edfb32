//! Which part of the sites a gateway sends for, where several share a store.
//!
//! Every site belongs to one of [`PARTITIONS`] partitions, by its id alone: gateways of any version, and any store, agree on it.
//! A store may keep it with each entry, so how it is computed never changes.

use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

use sha2::{Digest as _, Sha256};

use crate::lead::SiteId;

/// How many partitions there are.
pub const PARTITIONS: u8 = 64;

/// A partition of the sites: a number below [`PARTITIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// Returns the partition of a site: the first byte of the SHA-256 of its id, modulo [`PARTITIONS`].
    pub fn of(site: &SiteId) -> Self {
        let digest: [u8; 32] = Sha256::digest(site.as_str()).into();
        let [first, ..] = digest;
        Self(first % PARTITIONS)
    }

    /// Returns all partitions, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }

    /// Returns its number, which is below [`PARTITIONS`].
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A set of partitions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Partitions(u64);

impl Partitions {
    pub const ALL: Self = Self(u64::MAX);
    pub const NONE: Self = Self(0);

    /// Tells whether a site belongs to one of them.
    pub fn has_site(self, site: &SiteId) -> bool {
        // A gateway that holds all, as most do, hashes nothing.
        self == Self::ALL || self.has(Partition::of(site))
    }

    /// Tells whether it has a partition.
    pub const fn has(self, partition: Partition) -> bool {
        self.0 & bit(partition) != 0
    }

    /// Returns it with one more.
    #[must_use]
    pub const fn with(self, partition: Partition) -> Self {
        Self(self.0 | bit(partition))
    }

    /// Returns it without one.
    #[must_use]
    pub const fn without(self, partition: Partition) -> Self {
        Self(self.0 & !bit(partition))
    }

    /// Counts them.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns those it has, by number.
    pub fn iter(self) -> impl Iterator<Item = Partition> {
        Partition::all().filter(move |partition| self.has(*partition))
    }

    /// Reads what [`Partitions::bits`] gave.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns a bit for each, the lowest for partition 0: for a store that keeps or asks for it so.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

const fn bit(partition: Partition) -> u64 {
    1 << partition.0
}

impl FromIterator<Partition> for Partitions {
    fn from_iter<I: IntoIterator<Item = Partition>>(partitions: I) -> Self {
        partitions.into_iter().fold(Self::NONE, Self::with)
    }
}

impl BitAnd for Partitions {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Partitions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Sub for Partitions {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Partition::number)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str) -> SiteId {
        SiteId::parse(name).expect("a slug")
    }

    #[test]
    fn a_site_stays_in_its_partition_for_ever() {
        // By `printf acme | sha256sum`, the first two digits modulo 64. A store may keep these: never change them.
        for (name, number) in [("acme", 2), ("beta", 52), ("a", 10), ("site-1", 53), ("client-42", 54), ("x", 45)] {
            assert_eq!(Partition::of(&site(name)).number(), number, "{name}");
        }
    }

    #[test]
    fn sites_are_spread_over_all_partitions() {
        let mut sites = [0_u32; PARTITIONS as usize];
        for number in 0..5_000 {
            sites[usize::from(Partition::of(&site(&format!("site-{number}"))).number())] += 1;
        }
        assert!(sites.iter().all(|sites| (40..120).contains(sites)), "{sites:?}");
    }

    #[test]
    fn a_set_has_what_was_put_in_and_not_taken_out() {
        let [zero, .., last] = &*Partition::all().collect::<Vec<_>>() else { unreachable!("there are many") };
        let both = Partitions::NONE.with(*zero).with(*last).with(*last);
        assert_eq!((both.len(), both.bits()), (2, 1 | 1 << 63));
        assert_eq!(Partitions::from_bits(both.bits()), both);
        assert_eq!(both.iter().map(Partition::number).collect::<Vec<_>>(), [0, 63]);
        assert_eq!(both.without(*zero), Partitions::NONE.with(*last));
        assert!(both.has(*zero) && !both.without(*zero).has(*zero));
        assert_eq!(Partition::all().collect::<Partitions>(), Partitions::ALL);
        assert_eq!((Partitions::ALL - both).len(), 62);
        assert_eq!((Partitions::ALL & both, both | both, both - both), (both, both, Partitions::NONE));
        assert_eq!(format!("{both:?}"), "{0, 63}");
    }

    #[test]
    fn a_site_is_sent_for_by_whoever_has_its_partition() {
        let acme = site("acme");
        let its = Partitions::NONE.with(Partition::of(&acme));
        assert!(its.has_site(&acme) && Partitions::ALL.has_site(&acme));
        assert!(!Partitions::NONE.has_site(&acme) && !(Partitions::ALL - its).has_site(&acme));
    }
}
