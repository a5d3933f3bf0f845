//! Days, times and instants as whole numbers, and the ISO texts that come on topics.
//!
//! Proleptic Gregorian calendar throughout, years of any size (PostgreSQL and Debezium reach beyond 9999 and before 1).

/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// Days since 1970-01-01 of a date; year 0 is 1 BC. Month and day must be valid.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    // Howard Hinnant's days_from_civil: eras of 400 years, years that begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn month_length(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `[+-]YYYY-MM-DD` to days since 1970.
pub fn parse_date(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let mut parts = digits.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() < 4 || year.len() > 9 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let year = sign * number(year)?;
    let (month, day) = (number(month)? as u32, number(day)? as u32);
    let valid = (1..=12).contains(&month) && day >= 1 && day <= month_length(year, month);
    valid.then(|| days_from_civil(year, month, day))
}

/// `HH:MM[:SS[.fraction]]` to microseconds since midnight; up to 24:00:00. Fractions finer than a microsecond are `None`
/// unless their further digits are zero.
pub fn parse_time(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next().unwrap_or("00"));
    if parts.next().is_some() || hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if whole.len() != 2 || (seconds.contains('.') && fraction.is_empty()) {
        return None;
    }
    let (hours, minutes, whole) = (number(hours)?, number(minutes)?, number(whole)?);
    let micros = fraction_micros(fraction)?;
    let time = ((hours * 60 + minutes) * 60 + whole) * 1_000_000 + micros;
    (minutes < 60 && whole < 60 && time <= DAY_MICROS).then_some(time)
}

fn fraction_micros(fraction: &str) -> Option<i64> {
    let (kept, cut) = fraction.split_at_checked(6).unwrap_or((fraction, ""));
    if !cut.bytes().all(|byte| byte == b'0') {
        return None;
    }
    if kept.is_empty() {
        return Some(0);
    }
    Some(number(kept)? * 10i64.pow(6 - kept.len() as u32))
}

fn number(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// `…T…[Z|±HH:MM]` or with a blank instead of the `T`: microseconds since 1970, and whether a zone was given (the result is
/// then UTC).
pub fn parse_timestamp(text: &str) -> Option<(i64, bool)> {
    let split = text.bytes().position(|byte| byte == b'T' || byte == b' ')?;
    let days = parse_date(&text[..split])?;
    let clock = &text[split + 1..];
    let (time, offset_seconds) = if let Some(utc) = clock.strip_suffix('Z') {
        (utc, Some(0))
    } else if let Some(at) = clock.rfind(['+', '-']) {
        (&clock[..at], Some(parse_offset(&clock[at..])?))
    } else {
        (clock, None)
    };
    let micros = days.checked_mul(DAY_MICROS)?.checked_add(parse_time(time)?)?;
    let shifted = micros.checked_sub(offset_seconds.unwrap_or(0) * 1_000_000)?;
    Some((shifted, offset_seconds.is_some()))
}

fn parse_offset(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = &text[1..];
    let mut parts = digits.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
    let (hours, minutes, seconds) = (number(hours)?, number(minutes)?, number(seconds)?);
    (hours <= 18 && minutes < 60 && seconds < 60).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_over_all_eras() {
        for days in (-800_000_000..800_000_000).step_by(7_919) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(19_724), (2024, 1, 2));
        assert_eq!(days_from_civil(-43, 3, 15), -735_160, "0044-03-15 BC as the stream sends it");
    }

    #[test]
    fn texts_are_read_exactly_or_refused() {
        assert_eq!(parse_date("2024-02-29"), Some(19_782));
        for text in ["2023-02-29", "2024-2-9", "24-01-01", "2024-01-01x", "", "-", "2024-13-01", "2024-00-01"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(parse_time("24:00:00"), Some(DAY_MICROS));
        assert_eq!(parse_time("04:05:06.12"), Some(14_706_120_000));
        assert_eq!(parse_time("04:05:06.1234560"), Some(14_706_123_456));
        for text in ["24:00:00.1", "25:00:00", "04:60:00", "4:05:06", "04:05:06.1234561", "04:05:06."] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.5Z"), Some((500_000, true)));
        assert_eq!(parse_timestamp("1970-01-01T02:00:00+02:00"), Some((0, true)));
        assert_eq!(parse_timestamp("1970-01-01 00:00:01"), Some((1_000_000, false)));
        assert!(parse_timestamp("+21016-11-04T00:00:00Z").is_some());
        assert!(parse_timestamp("-4713-12-31T00:00:00Z").is_some());
        assert_eq!(parse_timestamp("infinity"), None);
    }
}
