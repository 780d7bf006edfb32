//! Whether a North American number is valid, asked of the one region that can know.
//!
//! 25 regions share the country code 1, and the library tries one after the other until one knows the number: a number that
//! none knows costs it forty times what a German one does. An area code is one territory's, or else one of the United
//! States, of Canada, or of those that all have in common (toll-free, premium, personal), which these two know: decision 0015.

use std::sync::OnceLock;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, Region};

const NORTH_AMERICA: i32 = 1;
/// Where a code that is no territory's may be in use.
const MAINLAND: [Region; 2] = [Region::US, Region::CA];
/// What follows the first four digits in the number that the library is asked about: any subscriber's.
const SUBSCRIBER: u64 = 345_678;
const PER_PREFIX: u64 = 1_000_000;

/// The first four of ten digits: the area code, and one more since the Dominican Republic has 800 1.
#[derive(Clone, Copy)]
struct Prefix(u64);

/// Tells whether a number is valid: what the library says, without the regions that can't know.
pub(super) fn is_valid(number: &PhoneNumber) -> bool {
    match Prefix::of(number).map(Prefix::territory) {
        Some(Some(territory)) => number.is_valid_for_region(territory),
        Some(None) => MAINLAND.into_iter().any(|region| number.is_valid_for_region(region)),
        None => number.is_valid(),
    }
}

impl Prefix {
    /// Returns the prefix of a number of ten digits; what is shorter is no North American number or a local one.
    fn of(number: &PhoneNumber) -> Option<Self> {
        let prefix = number.national_number / PER_PREFIX;
        let is_plain = number.country_code == NORTH_AMERICA && !number.italian_leading_zero();
        (is_plain && (1_000..10_000).contains(&prefix)).then_some(Self(prefix))
    }

    /// Returns the territory that has these digits for its own. The library is asked once for each prefix, since it knows a
    /// territory by these digits alone, whoever the subscriber is.
    fn territory(self) -> Option<Region> {
        static TERRITORIES: [OnceLock<Option<Region>>; 10_000] = [const { OnceLock::new() }; 10_000];
        let ask = || {
            let national_number = self.0 * PER_PREFIX + SUBSCRIBER;
            let number = PhoneNumber { country_code: NORTH_AMERICA, national_number, ..PhoneNumber::default() };
            PHONE_NUMBER_UTIL.get_region_for_number(&number).filter(|region| !MAINLAND.contains(region))
        };
        *TERRITORIES.get(usize::try_from(self.0).ok()?)?.get_or_init(ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_area_code_is_judged_as_the_library_judges_it() {
        // One subscriber for each fifth digit, with the last five all over the place, the same each time.
        let subscribers = |prefix: u64| (0..10).map(move |digit| digit * 100_000 + prefix * 7_919 % 100_000);
        let numbers =
            (1_000..10_000).flat_map(|prefix| subscribers(prefix).map(move |rest| prefix * PER_PREFIX + rest));
        for national_number in numbers {
            let number = PhoneNumber { country_code: NORTH_AMERICA, national_number, ..PhoneNumber::default() };
            assert_eq!(is_valid(&number), number.is_valid(), "{national_number}");
        }
    }
}
