//! Values with units, as they are written: `"30s"`, `"1MiB"`, `"120/min"`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use super::snapshot::Rate;

/// Longest duration: nothing here lasts longer than ten years, and sums of such never overflow.
const DURATION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Why text is no such value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidValue {
    #[error("is not a duration such as \"500ms\", \"30s\", \"10m\", \"72h\" or \"30d\"")]
    Duration,
    #[error("is longer than ten years")]
    TooLong,
    #[error("is not a size such as \"512KiB\", \"1MiB\" or \"10GiB\"")]
    Size,
    #[error("is too large")]
    TooLarge,
    #[error("is not a rate such as \"5/s\", \"120/min\" or \"1000/h\"")]
    Rate,
    #[error("is not a network such as \"10.0.0.0/8\", \"::1/128\" or \"192.0.2.7\"")]
    Network,
}

/// Reads a whole number and one of `ms s m h d`.
pub(super) fn duration(text: &str) -> Result<Duration, InvalidValue> {
    let (count, unit) = number_and_unit(text).ok_or(InvalidValue::Duration)?;
    let count: u64 = count.parse().map_err(|_digits| InvalidValue::TooLong)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(InvalidValue::Duration),
    };
    let duration = Duration::from_millis(count.checked_mul(milliseconds).ok_or(InvalidValue::TooLong)?);
    if duration > DURATION_MAX { Err(InvalidValue::TooLong) } else { Ok(duration) }
}

/// Reads a whole number and one of `B KiB MiB GiB TiB`, as bytes.
pub(super) fn size(text: &str) -> Result<u64, InvalidValue> {
    let (count, unit) = number_and_unit(text).ok_or(InvalidValue::Size)?;
    let count: u64 = count.parse().map_err(|_digits| InvalidValue::TooLarge)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_u64 << 40,
        _ => return Err(InvalidValue::Size),
    };
    // Stores count in signed numbers.
    count.checked_mul(bytes).filter(|size| i64::try_from(*size).is_ok()).ok_or(InvalidValue::TooLarge)
}

/// Reads a whole number above zero, `/`, and one of `s min h`.
pub(super) fn rate(text: &str) -> Result<Rate, InvalidValue> {
    let (count, per) = text.split_once('/').ok_or(InvalidValue::Rate)?;
    if !is_digits(count) {
        return Err(InvalidValue::Rate);
    }
    let count: u32 = count.parse().map_err(|_digits| InvalidValue::TooLarge)?;
    let seconds = match per {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return Err(InvalidValue::Rate),
    };
    let count = NonZeroU32::new(count).ok_or(InvalidValue::Rate)?;
    Ok(Rate { count, per: Duration::from_secs(seconds) })
}

/// Reads an address and how many of its bits count; without them all do.
///
/// An IPv4 network written as IPv6 (`::ffff:10.0.0.0/104`) is that network, since a peer's address is compared as IPv4.
pub(super) fn network(text: &str) -> Result<IpNet, InvalidValue> {
    // ipnet reads `010.0.0.0` as 10.0.0.0, and `/08` as 8; elsewhere the first is octal. std refuses both.
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().map_err(|_no_address| InvalidValue::Network)?;
    let network = match prefix {
        None => address.into(),
        Some(prefix) if is_digits(prefix) && (prefix == "0" || !prefix.starts_with('0')) => {
            let prefix = prefix.parse().map_err(|_too_long| InvalidValue::Network)?;
            IpNet::new(address, prefix).map_err(|_too_long| InvalidValue::Network)?
        }
        Some(_) => return Err(InvalidValue::Network),
    };
    match address.to_canonical() {
        // The network within `::ffff:0:0/96`, where IPv4 lies in IPv6; a wider one is more than IPv4.
        address @ IpAddr::V4(_) => {
            let within = if network.addr().is_ipv6() {
                network.prefix_len().checked_sub(96)
            } else {
                Some(network.prefix_len())
            };
            within.map_or(Ok(network), |prefix| IpNet::new(address, prefix).map_err(|_too_long| InvalidValue::Network))
        }
        IpAddr::V6(_) => Ok(network),
    }
}

fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    text.split_at_checked(digits).filter(|(count, _)| !count.is_empty())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_number_and_one_unit() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("0s", 0),
            ("10s", 10_000),
            ("10m", 600_000),
            ("72h", 259_200_000),
            ("30d", 2_592_000_000),
            ("3650d", 315_360_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "10", "s", "1.5h", "-1s", "1h30m", "10 s", "10S", "10sec", "１s"] {
            assert_eq!(duration(text), Err(InvalidValue::Duration), "{text}");
        }
        for text in ["3651d", "18446744073709551615d", "99999999999999999999999s"] {
            assert_eq!(duration(text), Err(InvalidValue::TooLong), "{text}");
        }
    }

    #[test]
    fn sizes_count_in_powers_of_two() {
        for (text, bytes) in [("0B", 0), ("100B", 100), ("512KiB", 524_288), ("1MiB", 1_048_576), ("2TiB", 1 << 41)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "1", "1MB", "1mib", "1 MiB", "1.5MiB", "MiB"] {
            assert_eq!(size(text), Err(InvalidValue::Size), "{text}");
        }
        for text in ["99999999999999999999B", "16777216TiB", "8388608TiB"] {
            assert_eq!(size(text), Err(InvalidValue::TooLarge), "{text}");
        }
    }

    #[test]
    fn rates_are_a_count_in_a_time() {
        for (text, count, seconds) in [("5/s", 5, 1), ("120/min", 120, 60), ("100/h", 100, 3600)] {
            let found = rate(text).expect(text);
            assert_eq!((found.count.get(), found.per.as_secs()), (count, seconds), "{text}");
        }
        for text in ["", "5", "/s", "0/s", "5/m", "5 /s", "-5/s", "5/s/s", "+5/s"] {
            assert_eq!(rate(text), Err(InvalidValue::Rate), "{text}");
        }
        assert_eq!(rate("4294967296/s"), Err(InvalidValue::TooLarge));
    }

    #[test]
    fn networks_are_addresses_with_a_prefix() {
        for (text, prefix) in
            [("127.0.0.1/32", 32), ("10.0.0.0/8", 8), ("::1/128", 128), ("192.0.2.7", 32), ("::/0", 0)]
        {
            assert_eq!(network(text).map(|network| network.prefix_len()), Ok(prefix), "{text}");
        }
        let mapped = network("::ffff:10.0.0.0/104").expect("a network");
        assert!(mapped.contains(&IpAddr::from([10, 9, 9, 9])) && !mapped.contains(&IpAddr::from([11, 0, 0, 0])));
        for text in ["010.0.0.0/8", "10.0.0.0/08", "10.0.0.0/00", "::1/0128"] {
            assert_eq!(network(text), Err(InvalidValue::Network), "{text}");
        }
        for text in ["", "localhost", "10.0.0.0/33", "::1/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "10.0.0.0/999"]
        {
            assert_eq!(network(text), Err(InvalidValue::Network), "{text}");
        }
    }
}
