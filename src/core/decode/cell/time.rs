//! What temporal cells mean by their wire type.
//!
//! # Source
//!
//! Which numbers stand for infinity: seen in Debezium 3.5 (microseconds, and dates of the stream); milliseconds are the same
//! instants cut, nanoseconds as its code has them since 3.6. Snapshots of PostgreSQL send other numbers for infinite dates, all
//! before the first day that any source has, and times that overflow come out there as well: those are refused.

use bytes::Bytes;
use serde::Deserialize;

use crate::core::calendar::{
    DAY_MICROS, Moment, civil_from_days, days_from_civil, parse_clock, parse_date, parse_interval, parse_moment,
    parse_zoned_clock,
};
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::value::{INFINITE_DAY, INFINITE_TIME, Value};
use crate::core::wire::{Structured, Unit, WireType};

use super::read::{integer, string};
use super::{FINER, Misfit, Read, bad, no};

/// PostgreSQL's infinite timestamps as Debezium sends them, in microseconds.
const INFINITE_MICROS: (i64, i64) = (9_223_372_036_825_200_000, -9_223_372_036_832_400_000);
/// PostgreSQL's infinite dates as Debezium streams them.
const INFINITE_DAYS: (i64, i64) = (-2_147_472_692, -2_147_472_691);
/// 4714-11-24 BC: PostgreSQL's first day; Oracle and MySQL begin later.
const FIRST_DAY: i64 = -2_440_588;

/// Reads a temporal cell.
pub(super) fn read(json: &str, wire: &WireType, column: &ColumnType, owner: &Bytes) -> Read {
    match wire {
        WireType::Date => date(integer(json)?),
        WireType::Time(unit) => time(integer(json)?, *unit, column),
        WireType::Timestamp(unit) => timestamp(integer(json)?, *unit, column),
        WireType::Duration(unit) => duration(integer(json)?, *unit, column),
        WireType::ZonedTimestamp => zoned(&string(json, owner)?, column),
        WireType::ZonedTime => zoned_time(&string(json, owner)?, column),
        WireType::Interval => interval(&string(json, owner)?, column),
        WireType::IsoDate => iso_date(&string(json, owner)?),
        WireType::IsoTime => {
            let nanos = parse_clock(local(&string(json, owner)?)).ok_or_else(|| bad("not an ISO time"))?;
            span(i128::from(nanos), column)
        }
        WireType::IsoTimestamp => iso_timestamp(&string(json, owner)?, column),
        WireType::Structured(kind) => structured(json, *kind, column),
        _ => Err(bad("of a type that is not understood")),
    }
}

/// Texts of clocks without a zone end in a Z or not.
pub(super) fn local(text: &str) -> &str {
    text.strip_suffix('Z').unwrap_or(text)
}

/// A value that is finer than a microsecond: all its digits for a text column, else refused.
fn finer(column: &ColumnType, text: impl FnOnce() -> String) -> Read {
    match column {
        ColumnType::Text { .. } => Ok(Value::Text(text().into())),
        _ => Err(FINER),
    }
}

pub(super) fn date(days: i64) -> Read {
    match days {
        _ if days == INFINITE_DAYS.0 => Ok(Value::Date(INFINITE_DAY.0)),
        _ if days == INFINITE_DAYS.1 => Ok(Value::Date(INFINITE_DAY.1)),
        FIRST_DAY.. => finite_date(days),
        _ => Err(no(
            "a day before all calendars; PostgreSQL's snapshots send infinite dates so, the stream sends them right",
        )),
    }
}

fn finite_date(days: i64) -> Read {
    let day = i32::try_from(days).ok().filter(|day| *day != INFINITE_DAY.0 && *day != INFINITE_DAY.1);
    day.map(Value::Date).ok_or_else(|| bad("a day beyond all calendars"))
}

pub(super) fn time(number: i64, unit: Unit, column: &ColumnType) -> Read {
    span(i128::from(number) * i128::from(nanos_of(unit)), column)
}

fn nanos_of(unit: Unit) -> i64 {
    match unit {
        Unit::Millis => 1_000_000,
        Unit::Micros => 1000,
        Unit::Nanos => 1,
    }
}

/// A time of day or a span.
fn span(nanos: i128, column: &ColumnType) -> Read {
    if nanos % 1000 != 0 {
        return finer(column, || text::clock(nanos));
    }
    i64::try_from(nanos / 1000).map(Value::Time).map_err(|_| bad("a time beyond all calendars"))
}

pub(super) fn timestamp(number: i64, unit: Unit, column: &ColumnType) -> Read {
    let (late, early) = match unit {
        Unit::Millis => (INFINITE_MICROS.0 / 1000, INFINITE_MICROS.1 / 1000),
        Unit::Micros => INFINITE_MICROS,
        Unit::Nanos => (i64::MAX, i64::MIN),
    };
    if number == late || number == early {
        return Ok(Value::Timestamp(if number == late { INFINITE_TIME.0 } else { INFINITE_TIME.1 }));
    }
    let micros = match unit {
        Unit::Millis => number.checked_mul(1000).ok_or_else(|| bad("a time beyond all calendars"))?,
        Unit::Micros => number,
        Unit::Nanos if number % 1000 != 0 => {
            let day = DAY_MICROS * 1000;
            let moment = Moment { days: number.div_euclid(day), nanos: number.rem_euclid(day), offset: None };
            return finer(column, || text::moment(moment));
        }
        Unit::Nanos => number / 1000,
    };
    if micros < FIRST_DAY * DAY_MICROS || micros == INFINITE_TIME.0 {
        return Err(no("a time beyond all calendars: the connector's number overflowed"));
    }
    Ok(Value::Timestamp(micros))
}

/// As a span in a temporal column; a column of whole numbers gets what the connector counted.
pub(super) fn duration(number: i64, unit: Unit, column: &ColumnType) -> Read {
    if number == i64::MAX || number == i64::MIN {
        return Err(no("an interval longer than the connector can count; use interval.handling.mode=string"));
    }
    if matches!(column, ColumnType::Int { .. } | ColumnType::Decimal { .. }) {
        return Ok(Value::Int(number));
    }
    let nanos = i128::from(number) * i128::from(nanos_of(unit));
    whole_interval(0, 0, nanos, column)
}

fn interval(text: &str, column: &ColumnType) -> Read {
    let span = parse_interval(text).ok_or_else(|| bad("not an ISO 8601 interval"))?;
    whole_interval(span.months, span.days, span.nanos, column)
}

/// An interval of whole microseconds; finer or longer ones for text only.
pub(super) fn whole_interval(months: i32, days: i32, nanos: i128, column: &ColumnType) -> Read {
    if nanos % 1000 != 0 {
        return finer(column, || text::interval(months, days, nanos));
    }
    let micros = i64::try_from(nanos / 1000).map_err(|_| bad("an interval beyond all calendars"))?;
    Ok(Value::Interval { months, days, micros })
}

pub(super) fn zoned(text: &str, column: &ColumnType) -> Read {
    if let Some(endless) = infinite(text) {
        return Ok(Value::TimestampTz(endless));
    }
    let moment = parse_moment(text).filter(|moment| moment.offset.is_some());
    instant(moment.ok_or_else(|| bad("not an ISO date and time with a zone"))?, column)
}

/// An instant, as an instant: the column makes a clock without a zone of it, in UTC.
pub(super) fn instant(moment: Moment, column: &ColumnType) -> Read {
    if moment.nanos % 1000 != 0 {
        return finer(column, || format!("{}+00", text::moment(moment.in_utc())));
    }
    finite_micros(moment).map(Value::TimestampTz)
}

pub(super) fn clock(moment: Moment, column: &ColumnType) -> Read {
    let moment = Moment { offset: None, ..moment };
    if moment.nanos % 1000 != 0 {
        return finer(column, || text::moment(moment));
    }
    finite_micros(moment).map(Value::Timestamp)
}

fn finite_micros(moment: Moment) -> Result<i64, Misfit> {
    let micros = moment.micros().filter(|micros| *micros != INFINITE_TIME.0 && *micros != INFINITE_TIME.1);
    micros.ok_or_else(|| bad("a time beyond all calendars"))
}

pub(super) fn infinite(text: &str) -> Option<i64> {
    match text {
        "infinity" => Some(INFINITE_TIME.0),
        "-infinity" => Some(INFINITE_TIME.1),
        _ => None,
    }
}

pub(super) fn zoned_time(text: &str, column: &ColumnType) -> Read {
    let (nanos, offset) = match parse_zoned_clock(text) {
        Some((nanos, Some(offset))) => (nanos, offset),
        _ => return Err(bad("not an ISO time with a zone")),
    };
    time_tz(nanos, offset, column)
}

fn time_tz(nanos: i64, offset: i32, column: &ColumnType) -> Read {
    if nanos % 1000 != 0 {
        return finer(column, || format!("{}{}", text::clock(i128::from(nanos)), text::zone(offset)));
    }
    Ok(Value::TimeTz { micros: nanos / 1000, offset })
}

pub(super) fn iso_date(text: &str) -> Read {
    match infinite(text) {
        Some(endless) => Ok(Value::Date(if endless > 0 { INFINITE_DAY.0 } else { INFINITE_DAY.1 })),
        None => finite_date(parse_date(local(text)).ok_or_else(|| bad("not an ISO date"))?),
    }
}

fn iso_timestamp(text: &str, column: &ColumnType) -> Read {
    if let Some(endless) = infinite(text) {
        return Ok(Value::Timestamp(endless));
    }
    let moment = parse_moment(local(text)).filter(|moment| moment.offset.is_none());
    clock(moment.ok_or_else(|| bad("not an ISO date and time"))?, column)
}

/// Fields of all structured types; a duration's are in the plural.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    hour: Option<u32>,
    minute: Option<u32>,
    second: Option<u32>,
    years: Option<i32>,
    months: Option<i32>,
    days: Option<i32>,
    hours: Option<i64>,
    minutes: Option<i64>,
    seconds: Option<i64>,
    nanos: Option<i64>,
    picoseconds: Option<i64>,
    offset_seconds: Option<i32>,
    special_value: Option<String>,
}

impl Parts {
    fn endless(&self) -> Result<Option<bool>, Misfit> {
        match self.special_value.as_deref() {
            None | Some("") => Ok(None),
            Some("POSITIVE_INFINITY") => Ok(Some(true)),
            Some("NEGATIVE_INFINITY") => Ok(Some(false)),
            Some(_) => Err(bad("a special time that is not understood")),
        }
    }

    fn fraction(&self) -> Result<i64, Misfit> {
        match (self.nanos, self.picoseconds) {
            (nanos, None) => Ok(nanos.unwrap_or(0)),
            (None, Some(picoseconds)) if picoseconds % 1000 == 0 => Ok(picoseconds / 1000),
            (None, Some(_)) => Err(no("a time finer than a nanosecond")),
            (Some(_), Some(_)) => Err(bad("a structured time with two fractions")),
        }
    }

    /// Nanoseconds since midnight.
    fn clock(&self) -> Result<i64, Misfit> {
        let parts = [self.hour, self.minute, self.second].map(|part| i64::from(part.unwrap_or(0)));
        let [hour, minute, second] = parts;
        let fraction = self.fraction()?;
        let nanos = ((hour * 60 + minute) * 60 + second) * 1_000_000_000 + fraction;
        let valid = minute < 60 && second < 60 && (0..1_000_000_000).contains(&fraction);
        Some(nanos).filter(|nanos| valid && *nanos <= DAY_MICROS * 1000).ok_or_else(|| bad("not a time of day"))
    }

    /// Days since 1970, or the digits of a date that no calendar has (MySQL's zero dates).
    fn date(&self) -> Result<Result<i64, String>, Misfit> {
        let (Some(year), Some(month), Some(day)) = (self.year, self.month, self.day) else {
            return Err(bad("a structured date without a year, month and day"));
        };
        if year.unsigned_abs() > 999_999_999 || month > 12 || day > 31 {
            return Err(bad("a structured date beyond all calendars"));
        }
        if month >= 1 && day >= 1 {
            let days = days_from_civil(year, month, day);
            if civil_from_days(days) == (year, month, day) {
                return Ok(Ok(days));
            }
        }
        Ok(Err(format!("{year:04}-{month:02}-{day:02}")))
    }
}

/// `time.precision.mode=structured`.
fn structured(json: &str, kind: Structured, column: &ColumnType) -> Read {
    let parts: Parts = serde_json::from_str(json).map_err(|_| bad("not a structured time"))?;
    if let Some(late) = parts.endless()? {
        let time = if late { INFINITE_TIME.0 } else { INFINITE_TIME.1 };
        return match kind {
            Structured::Date => Ok(Value::Date(if late { INFINITE_DAY.0 } else { INFINITE_DAY.1 })),
            Structured::Timestamp => Ok(Value::Timestamp(time)),
            Structured::ZonedTimestamp => Ok(Value::TimestampTz(time)),
            _ => Err(bad("an infinite time of day")),
        };
    }
    match kind {
        Structured::Time => return span(i128::from(parts.clock()?), column),
        Structured::ZonedTime => {
            let offset = parts.offset_seconds.ok_or_else(|| bad("a structured time without its offset"))?;
            return time_tz(parts.clock()?, offset, column);
        }
        Structured::Duration => {
            let months = i64::from(parts.years.unwrap_or(0)) * 12 + i64::from(parts.months.unwrap_or(0));
            let months = i32::try_from(months).map_err(|_| bad("an interval beyond all calendars"))?;
            let [hours, minutes, seconds] =
                [parts.hours, parts.minutes, parts.seconds].map(|part| i128::from(part.unwrap_or(0)));
            let seconds = (hours * 60 + minutes) * 60 + seconds;
            let nanos = seconds * 1_000_000_000 + i128::from(parts.fraction()?);
            return whole_interval(months, parts.days.unwrap_or(0), nanos, column);
        }
        Structured::Date | Structured::Timestamp | Structured::ZonedTimestamp => {}
    }
    let days = match (parts.date()?, column) {
        (Ok(days), _) => days,
        (Err(digits), ColumnType::Text { .. }) if kind == Structured::Date => return Ok(Value::Text(digits.into())),
        (Err(digits), ColumnType::Text { .. }) if kind == Structured::Timestamp => {
            let text = format!("{digits} {}", text::clock(i128::from(parts.clock()?)));
            return Ok(Value::Text(text.into()));
        }
        (Err(_), _) => return Err(no("a date that no calendar has; a text column takes it")),
    };
    match kind {
        Structured::Date => finite_date(days),
        Structured::Timestamp => clock(Moment { days, nanos: parts.clock()?, offset: None }, column),
        _ => {
            let offset = parts.offset_seconds.ok_or_else(|| bad("a structured time without its offset"))?;
            instant(Moment { days, nanos: parts.clock()?, offset: Some(offset) }, column)
        }
    }
}
