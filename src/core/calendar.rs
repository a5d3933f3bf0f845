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
    parse_clock(text).filter(|nanos| nanos % 1000 == 0).map(|nanos| nanos / 1000)
}

/// The same to nanoseconds.
pub fn parse_clock(text: &str) -> Option<i64> {
    let hours = text.split(':').next()?;
    parse_span(text).filter(|nanos| hours.len() == 2 && (0..=DAY_MICROS * 1000).contains(nanos))
}

/// `[-]H…:MM[:SS[.fraction]]` to nanoseconds: a span of up to 99,999 hours that is written like a time of day (MySQL's TIME).
pub fn parse_span(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let mut parts = digits.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next().unwrap_or("00"));
    if parts.next().is_some() || hours.len() > 5 || minutes.len() != 2 {
        return None;
    }
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if whole.len() != 2 || (seconds.contains('.') && fraction.is_empty()) {
        return None;
    }
    let (hours, minutes, whole) = (number(hours)?, number(minutes)?, number(whole)?);
    let nanos = fraction_nanos(fraction)?;
    (minutes < 60 && whole < 60).then_some(sign * (((hours * 60 + minutes) * 60 + whole) * 1_000_000_000 + nanos))
}

/// Nanoseconds of the digits behind a decimal point; `None` where a tenth digit is not zero.
fn fraction_nanos(fraction: &str) -> Option<i64> {
    let (kept, cut) = fraction.split_at_checked(9).unwrap_or((fraction, ""));
    if !cut.bytes().all(|byte| byte == b'0') {
        return None;
    }
    if kept.is_empty() {
        return Some(0);
    }
    Some(number(kept)? * 10i64.pow(9 - kept.len() as u32))
}

fn number(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A date and a time of day, finer than a [`super::value::Value`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Days since 1970-01-01.
    pub days: i64,
    /// Nanoseconds since midnight, up to 24:00:00.
    pub nanos: i64,
    /// Seconds east of UTC of the clock that shows them, if one was given.
    pub offset: Option<i32>,
}

impl Moment {
    /// The same instant on a clock in UTC; unchanged without an offset. The day may change.
    pub fn in_utc(self) -> Self {
        let day = DAY_MICROS * 1000;
        let nanos = self.nanos - i64::from(self.offset.unwrap_or(0)) * 1_000_000_000;
        if (0..day).contains(&nanos) {
            return Self { nanos, ..self };
        }
        Self { days: self.days + nanos.div_euclid(day), nanos: nanos.rem_euclid(day), ..self }
    }

    /// Microseconds since 1970 in UTC, the digits behind them cut; `None` beyond what 64 bits hold.
    pub fn micros(self) -> Option<i64> {
        let utc = self.in_utc();
        utc.days.checked_mul(DAY_MICROS)?.checked_add(utc.nanos / 1000)
    }
}

/// `…T…[Z|±HH:MM]` or with a blank instead of the `T`.
pub fn parse_moment(text: &str) -> Option<Moment> {
    let split = text.bytes().position(|byte| byte == b'T' || byte == b' ')?;
    let days = parse_date(&text[..split])?;
    let (nanos, offset) = parse_zoned_clock(&text[split + 1..])?;
    Some(Moment { days, nanos, offset })
}

/// `HH:MM:SS[.fraction][Z|±HH:MM]`: nanoseconds since midnight and seconds east of UTC.
pub fn parse_zoned_clock(text: &str) -> Option<(i64, Option<i32>)> {
    if let Some(utc) = text.strip_suffix('Z') {
        return Some((parse_clock(utc)?, Some(0)));
    }
    match text.rfind(['+', '-']) {
        Some(at) => Some((parse_clock(&text[..at])?, Some(parse_offset(&text[at..])?))),
        None => Some((parse_clock(text)?, None)),
    }
}

/// Microseconds since 1970 of [`parse_moment`]'s text, and whether a zone was given (the result is then UTC). Finer texts are
/// `None`.
pub fn parse_timestamp(text: &str) -> Option<(i64, bool)> {
    let moment = parse_moment(text).filter(|moment| moment.nanos % 1000 == 0)?;
    Some((moment.micros()?, moment.offset.is_some()))
}

fn parse_offset(text: &str) -> Option<i32> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = &text[1..];
    let mut parts = digits.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
    let (hours, minutes, seconds) = (number(hours)?, number(minutes)?, number(seconds)?);
    let seconds = i32::try_from(hours.checked_mul(3600)? + minutes * 60 + seconds).ok()?;
    (parts.next().is_none() && hours <= 18 && minutes < 60 && seconds % 60 < 60).then_some(sign * seconds)
}

/// A span in parts that do not convert into each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Months; a year is 12.
    pub months: i32,
    /// Days; a week is 7.
    pub days: i32,
    /// Nanoseconds.
    pub nanos: i128,
}

/// `[-]P1Y2M3W4DT5H6M7.8S` of ISO 8601, each part with a sign of its own if it likes (`P-1Y2DT-3.5S`).
pub fn parse_interval(text: &str) -> Option<Span> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let text = text.strip_prefix('P')?;
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    if (date.is_empty() && time.is_none()) || time.is_some_and(str::is_empty) {
        return None;
    }
    let mut span = Span::default();
    let (mut months, mut days) = (0i64, 0i64);
    each_part(date, "YMWD", |count, unit, fraction| {
        let factor = match unit {
            'Y' => 12,
            'W' => 7,
            _ => 1,
        };
        let into = if matches!(unit, 'Y' | 'M') { &mut months } else { &mut days };
        *into = into.checked_add(count.checked_mul(factor)?)?;
        (fraction == 0).then_some(())
    })?;
    each_part(time.unwrap_or(""), "HMS", |count, unit, fraction| {
        let seconds = match unit {
            'H' => 3600,
            'M' => 60,
            _ => 1,
        };
        span.nanos += i128::from(count) * seconds * 1_000_000_000 + i128::from(fraction);
        (fraction == 0 || unit == 'S').then_some(())
    })?;
    span.months = i32::try_from(sign * months).ok()?;
    span.days = i32::try_from(sign * days).ok()?;
    span.nanos *= i128::from(sign);
    Some(span)
}

/// Calls with each `[-]digits[.digits]` and the unit behind it; units occur in their order, each at most once. The fraction is in
/// thousand-millionths of the unit, with the sign of its number.
fn each_part(text: &str, units: &str, mut take: impl FnMut(i64, char, i64) -> Option<()>) -> Option<()> {
    let (mut rest, mut units) = (text, units);
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let unit = rest[end..].chars().next()?;
        let at = units.find(unit)?;
        units = &units[at + 1..];
        let (sign, digits) = match rest[..end].strip_prefix(['-', '+']) {
            Some(digits) => (if rest.starts_with('-') { -1 } else { 1 }, digits),
            None => (1, &rest[..end]),
        };
        let (whole, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, ""));
        take(sign * number(whole)?, unit, sign * fraction_nanos(fraction)?)?;
        rest = &rest[end + 1..];
    }
    Some(())
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
        let moment = Moment { days: 0, nanos: 1, offset: Some(7200) };
        assert_eq!(parse_moment("1970-01-01T00:00:00.000000001+02:00"), Some(moment));
        assert_eq!(moment.in_utc(), Moment { days: -1, nanos: 79_200_000_000_001, offset: Some(7200) });
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.000000001Z"), None);
        for text in ["1970-01-01T00:00:00+19", "1970-01-01T00:00:00+01:60", "1970-01-01T00:00:00+1:2:3:4"] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
    }

    #[test]
    fn spans_and_intervals_are_read_exactly_or_refused() {
        assert_eq!(parse_span("-838:59:59"), Some(-3_020_399_000_000_000));
        assert_eq!(parse_span("24:00:00.1"), Some(86_400_100_000_000));
        for text in ["", "-", "1", "1:2:3", "123456:00:00", "--1:00:00", "1:00:60"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
        let span = |months, days, nanos| Some(Span { months, days, nanos });
        assert_eq!(parse_interval("P1Y2M3DT4H5M6.070809S"), span(14, 3, 14_706_070_809_000));
        assert_eq!(parse_interval("P-1Y-2M3DT-4H-5M-6.7S"), span(-14, 3, -14_706_700_000_000));
        assert_eq!(parse_interval("-P1DT0.5S"), span(0, -1, -500_000_000));
        assert_eq!(parse_interval("P2W"), span(0, 14, 0));
        assert_eq!(parse_interval("PT0S"), span(0, 0, 0));
        for text in
            ["", "P", "PT", "P1", "P1H", "P1D1D", "P1M1Y", "P1.5D", "PT1.5H", "1D", "P1DT", "P178956971Y", "PT.5S"]
        {
            assert_eq!(parse_interval(text), None, "{text}");
        }
    }
}
