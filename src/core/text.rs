//! Canonical texts of values: what a text column gets, and what databases without a type of that kind store.
//!
//! | value | text |
//! |---|---|
//! | date | `2024-01-02`; years beyond 9999 with all digits, before 1 as `-0043-03-15` (year 0 is 1 BC) |
//! | time | `04:05:06` or `04:05:06.12`, the fraction without trailing zeros |
//! | timestamp | date, blank, time |
//! | instant | the same in UTC with `+00` behind it |
//! | uuid | lower case with hyphens |

use std::fmt::Write;

use super::calendar::{DAY_MICROS, civil_from_days};

/// Text of a number of days since 1970-01-01.
pub fn date(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    if year < 0 { format!("-{:04}-{month:02}-{day:02}", -year) } else { format!("{year:04}-{month:02}-{day:02}") }
}

/// Text of microseconds since midnight.
pub fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text
}

/// Text of microseconds since 1970 without a zone.
pub fn timestamp(micros: i64) -> String {
    format!("{} {}", date(micros.div_euclid(DAY_MICROS)), time(micros.rem_euclid(DAY_MICROS)))
}

/// Text of an instant, in UTC.
pub fn timestamp_tz(micros: i64) -> String {
    format!("{}+00", timestamp(micros))
}

/// Text of a UUID.
pub fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Bytes of a UUID text with or without hyphens.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hyphens_fit = text.len() == 32
        || (text.len() == 36 && text.bytes().enumerate().all(|(at, b)| (b == b'-') == matches!(at, 8 | 13 | 18 | 23)));
    if !hyphens_fit {
        return None;
    }
    let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| (byte as char).to_digit(16));
    let mut bytes = [0u8; 16];
    for byte in &mut bytes {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::{parse_date, parse_time, parse_timestamp};

    #[test]
    fn texts_are_read_back_as_what_they_were() {
        for days in [-735_160, -719_528, 0, 19_724, 2_932_897, 2_145_031_948] {
            assert_eq!(parse_date(&date(days)), Some(days), "{}", date(days));
        }
        for micros in [0, 1, 120_000, 14_706_120_000, DAY_MICROS - 1, DAY_MICROS] {
            assert_eq!(parse_time(&time(micros)), Some(micros), "{}", time(micros));
        }
        for micros in [-1, 0, 1_704_168_306_120_000, -62_135_596_800_000_001] {
            assert_eq!(parse_timestamp(&timestamp(micros)), Some((micros, false)), "{}", timestamp(micros));
            assert!(timestamp_tz(micros).ends_with("+00"));
        }
        assert_eq!(timestamp(946_684_799_999_999), "1999-12-31 23:59:59.999999");
    }

    #[test]
    fn uuids() {
        let text = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";
        assert_eq!(parse_uuid(text).map(|bytes| uuid(&bytes)).as_deref(), Some(text));
        for bad in ["", "b68a35a7-17ad-35b3-af2a-ae46edb4545", "b68a35a717ad-35b3-af2a--ae46edb4545a", &"x".repeat(32)]
        {
            assert_eq!(parse_uuid(bad), None, "{bad}");
        }
    }
}
