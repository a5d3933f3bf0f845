//! Durations and sizes as people write them: a whole number and a unit.

use std::time::Duration;

/// Units of durations, greatest first, with their length in microseconds.
const DURATIONS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Units of sizes, greatest first, with their length in bytes.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a duration: `10ms`, `5s`, `2m`, `1h`, `7d`, `500us`. The error says what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text, &DURATIONS)
        .map(Duration::from_micros)
        .ok_or_else(|| "expected a whole number with a unit (us, ms, s, m, h, d), as in \"10ms\" or \"5s\"".to_owned())
}

/// Reads a size in bytes: `8MiB`, `512KiB`, `1000000B`, `8MB`. Units are not case sensitive. The error says what is
/// expected.
pub fn parse_size(text: &str) -> Result<usize, String> {
    parse(text, &SIZES)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| "expected a whole number with a unit (B, kB, KiB, MB, MiB, GB, GiB), as in \"8MiB\"".to_owned())
}

/// Writes a duration so that [`parse_duration`] reads the same. Parts below a microsecond are cut.
pub fn format_duration(duration: Duration) -> String {
    format(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), &DURATIONS, "s")
}

/// Writes a size so that [`parse_size`] reads the same.
pub fn format_size(bytes: usize) -> String {
    format(bytes as u64, &SIZES, "B")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let (_, length) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*length)
}

fn format(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    let whole = units.iter().find(|(_, length)| amount > 0 && amount.is_multiple_of(*length));
    whole.map_or_else(|| format!("0{zero}"), |(name, length)| format!("{}{name}", amount / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_come_back_as_written() {
        for text in ["10ms", "5s", "90s", "2m", "1h", "7d", "1500us", "0s"] {
            let read = parse_duration(text).expect(text);
            assert_eq!(format_duration(read), text);
        }
        for text in ["8MiB", "512KiB", "7B", "0B", "1GiB", "3MB"] {
            let read = parse_size(text).expect(text);
            assert_eq!(format_size(read), text);
        }
        assert_eq!(parse_duration(" 5 S "), Ok(Duration::from_secs(5)));
        assert_eq!(parse_size("8mib"), Ok(8 << 20));
    }

    #[test]
    fn what_is_not_a_number_with_a_unit_is_refused() {
        for text in ["", "5", "s", "-1s", "1.5s", "5 weeks", "99999999999999999999s", "9999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        for text in ["", "8", "MiB", "8M", "-1B", "99999999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }
}
