//! Values on their way into parameters and out of results.

use bytestring::ByteString;
use chrono::{Datelike, NaiveDate};
use sqlx::mysql::{MySql, MySqlArguments, MySqlRow, MySqlTypeInfo, MySqlValueRef};
use sqlx::{Arguments, Decode, Row, Type, TypeInfo, ValueRef};

use crate::core::dialect::mysql::parameter::parameter;
use crate::core::failure::{Class, Failure};
use crate::core::table::Column;
use crate::core::text;
use crate::core::token::Token;
use crate::core::value::Value;

/// Days from 0001-01-01, day 1, to 1970-01-01, as chrono counts them.
const DAYS_TO_1970: i32 = 719_163;
const MICROS_A_SECOND: i64 = 1_000_000;
const MICROS_A_DAY: i64 = 86_400 * MICROS_A_SECOND;
/// The longest TIME, 838:59:59.999999.
const SPAN_MAX: i64 = 839 * 3600 * MICROS_A_SECOND - 1;

/// Parameters of one statement.
#[derive(Debug, Default)]
pub(super) struct Params(MySqlArguments);

impl Params {
    /// Parameters of a bookkeeping statement.
    pub(super) fn of(values: &[Value]) -> Result<Self, Failure> {
        let mut params = Self::default();
        for value in values {
            params.add(value)?;
        }
        Ok(params)
    }

    /// The arguments for the driver.
    pub(super) fn into_arguments(self) -> MySqlArguments {
        self.0
    }

    /// Adds a token.
    pub(super) fn token(&mut self, token: &Token) -> Result<(), Failure> {
        self.put(token.as_bytes())
    }

    /// Adds a truth value.
    pub(super) fn flag(&mut self, flag: bool) -> Result<(), Failure> {
        self.put(i64::from(flag))
    }

    /// Adds a value of a column. NULL for a column that refuses it is an error here, because the server makes a number
    /// or the current time of it where the column is AUTO_INCREMENT or TIMESTAMP.
    pub(super) fn column(&mut self, value: &Value, column: &Column) -> Result<(), Failure> {
        let named = |failure: Failure| failure.context(format_args!("column {:?}", column.name));
        match value {
            Value::Null if !column.nullable => {
                Err(named(Failure::new(Class::Record, "null_in_not_null", "NULL for a column that does not allow it")))
            }
            _ => match parameter(value, column) {
                Ok(None) => self.add(value).map_err(named),
                Ok(Some(native)) => self.add(&native).map_err(named),
                Err(what) => Err(named(out_of_range(what))),
            },
        }
    }

    fn add(&mut self, value: &Value) -> Result<(), Failure> {
        match value {
            Value::Null => self.put(None::<&str>),
            Value::Bool(truth) => self.put(i64::from(*truth)),
            Value::Int(number) => self.put(*number),
            Value::UInt(number) => self.put(*number),
            Value::Float32(number) if number.is_finite() => self.put(*number),
            Value::Float64(number) if number.is_finite() => self.put(*number),
            Value::Float32(_) | Value::Float64(_) => Err(out_of_range("NaN and infinity do not exist here")),
            Value::Decimal(text) if text.ends_with(|last: char| !last.is_ascii_digit()) => {
                Err(out_of_range("NaN and infinity do not exist here"))
            }
            Value::Decimal(text) | Value::Text(text) | Value::Json(text) => self.put::<&str>(text),
            Value::Bytes(bytes) => self.put::<&[u8]>(bytes),
            Value::Date(days) => self.put(date_text(*days)?),
            Value::Time(micros) => self.put(time_text(*micros)?),
            Value::Timestamp(micros) | Value::TimestampTz(micros) => self.put(timestamp_text(*micros)?),
            Value::Uuid(uuid) => self.put(text::uuid(uuid)),
            Value::TimeTz { .. }
            | Value::Interval { .. }
            | Value::Bits { .. }
            | Value::Array(_)
            | Value::Map(_)
            | Value::Geometry { .. }
            | Value::SparseVector { .. } => Err(out_of_range("a value of this kind")),
        }
    }

    fn put<'t, T: sqlx::Encode<'t, MySql> + Type<MySql>>(&mut self, value: T) -> Result<(), Failure> {
        self.0.add(value).map_err(|_| Failure::operator("mysql encode", "the driver could not encode a parameter"))
    }
}

/// Bytes that a value takes in a statement, rounded up.
pub(super) fn wire_bytes(value: &Value) -> usize {
    let content = match value {
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) | Value::Geometry { wkb: bytes, .. } => bytes.len(),
        Value::Array(elements) => 4 * elements.len(),
        Value::Uuid(_) => 36,
        _ => 26,
    };
    content + 12
}

fn out_of_range(what: &str) -> Failure {
    Failure::new(Class::Record, "out_of_range", what)
}

fn date_text(days: i32) -> Result<String, Failure> {
    let date = days.checked_add(DAYS_TO_1970).and_then(NaiveDate::from_num_days_from_ce_opt);
    match date {
        Some(date) if (0..=9999).contains(&date.year()) => {
            Ok(format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()))
        }
        _ => Err(out_of_range("a date outside the years 0 to 9999")),
    }
}

fn time_text(micros: i64) -> Result<String, Failure> {
    if !(-SPAN_MAX..=SPAN_MAX).contains(&micros) {
        return Err(out_of_range("a time outside -838:59:59 to 838:59:59"));
    }
    let sign = if micros < 0 { "-" } else { "" };
    let (seconds, fraction) = (micros.abs() / MICROS_A_SECOND, micros.abs() % MICROS_A_SECOND);
    Ok(format!("{sign}{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60))
}

fn timestamp_text(micros: i64) -> Result<String, Failure> {
    let days =
        i32::try_from(micros.div_euclid(MICROS_A_DAY)).map_err(|_| out_of_range("a time beyond the year 9999"))?;
    Ok(format!("{} {}", date_text(days)?, time_text(micros.rem_euclid(MICROS_A_DAY))?))
}

/// All values of a row of a prepared statement.
pub(super) fn decode_row(row: &MySqlRow) -> Result<Vec<Value>, Failure> {
    (0..row.len())
        .map(|index| {
            let raw = row.try_get_raw(index).map_err(|_| undecodable("?"))?;
            let kind = raw.type_info().into_owned();
            decode(raw, &kind).ok_or_else(|| undecodable(kind.name()))
        })
        .collect()
}

fn undecodable(kind: &str) -> Failure {
    Failure::operator("mysql decode", format!("the server returned a {kind} that this version cannot read"))
}

fn decode(raw: MySqlValueRef<'_>, kind: &MySqlTypeInfo) -> Option<Value> {
    if raw.is_null() || kind.is_null() {
        return Some(Value::Null);
    }
    if <i64 as Type<MySql>>::compatible(kind) {
        return <i64 as Decode<MySql>>::decode(raw).ok().map(Value::Int);
    }
    if <u64 as Type<MySql>>::compatible(kind) {
        let number = <u64 as Decode<MySql>>::decode(raw).ok()?;
        return Some(i64::try_from(number).map_or(Value::UInt(number), Value::Int));
    }
    match kind.name() {
        "FLOAT" => return <f32 as Decode<MySql>>::decode(raw).ok().map(Value::Float32),
        "DOUBLE" => return <f64 as Decode<MySql>>::decode(raw).ok().map(Value::Float64),
        _ => {}
    }
    let bytes = <&[u8] as Decode<MySql>>::decode(raw).ok()?;
    let text = || std::str::from_utf8(bytes).ok().map(ByteString::from);
    match kind.name() {
        "DECIMAL" => text().map(Value::Decimal),
        "JSON" => text().map(Value::Json),
        "DATE" => binary_date(bytes.get(1..)?).map(Value::Date),
        "TIME" => binary_time(bytes.get(1..)?).map(Value::Time),
        "DATETIME" => binary_timestamp(bytes.get(1..)?).map(Value::Timestamp),
        "TIMESTAMP" => binary_timestamp(bytes.get(1..)?).map(Value::TimestampTz),
        _ if <str as Type<MySql>>::compatible(kind) || kind.name() == "SET" => text().map(Value::Text),
        _ => Some(Value::bytes(bytes)),
    }
}

/// Year (2), month, day: days since 1970.
fn binary_date(bytes: &[u8]) -> Option<i32> {
    let [low, high, month, day] = *bytes.first_chunk::<4>()?;
    let date = NaiveDate::from_ymd_opt(i32::from(u16::from_le_bytes([low, high])), month.into(), day.into())?;
    Some(date.num_days_from_ce() - DAYS_TO_1970)
}

/// Hour, minute, second, optionally microseconds (4).
fn binary_clock(bytes: &[u8]) -> Option<i64> {
    let Some([hour, minute, second]) = bytes.first_chunk::<3>().copied() else {
        return bytes.is_empty().then_some(0);
    };
    let fraction = bytes.get(3..7).map_or(0, |micros| u32::from_le_bytes([micros[0], micros[1], micros[2], micros[3]]));
    let seconds = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
    Some(seconds * MICROS_A_SECOND + i64::from(fraction))
}

/// Sign, days (4), clock.
fn binary_time(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() {
        return Some(0);
    }
    let [negative, a, b, c, d] = *bytes.first_chunk::<5>()?;
    let micros = i64::from(u32::from_le_bytes([a, b, c, d])) * MICROS_A_DAY + binary_clock(bytes.get(5..)?)?;
    Some(if negative == 0 { micros } else { -micros })
}

/// Date, clock: microseconds since 1970.
fn binary_timestamp(bytes: &[u8]) -> Option<i64> {
    Some(i64::from(binary_date(bytes)?) * MICROS_A_DAY + binary_clock(bytes.get(4..)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_exact_or_refused() {
        assert_eq!(date_text(0).expect("1970"), "1970-01-01");
        assert_eq!(date_text(19_782).expect("leap day"), "2024-02-29");
        assert!(date_text(i32::MAX).is_err());
        assert!(date_text(3_000_000).is_err(), "year 10183 would be read as another date by the server");
        assert_eq!(time_text(MICROS_A_DAY).expect("midnight at the end"), "24:00:00.000000");
        assert_eq!(time_text(-1).expect("below zero"), "-00:00:00.000001");
        assert_eq!(time_text(-SPAN_MAX).expect("least"), "-838:59:59.999999");
        assert!(time_text(SPAN_MAX + 1).is_err() && time_text(i64::MIN).is_err());
        assert_eq!(timestamp_text(-1).expect("before 1970"), "1969-12-31 23:59:59.999999");
        assert!(timestamp_text(i64::MAX).is_err());
        for bad in [Value::Float64(f64::NAN), Value::Decimal("NaN".into()), Value::Decimal("-Infinity".into())] {
            assert!(Params::of(&[bad]).is_err());
        }
    }

    #[test]
    fn binary_times_are_read() {
        assert_eq!(binary_timestamp(&[0xb1, 0x07, 12, 31, 23, 59, 59, 0x3f, 0x42, 0x0f, 0]), Some(-1));
        assert_eq!(binary_timestamp(&[0xb2, 0x07, 1, 1]), Some(0));
        assert_eq!(binary_time(&[0, 1, 0, 0, 0, 0, 0, 0]), Some(MICROS_A_DAY));
        assert_eq!(binary_time(&[]), Some(0));
        assert_eq!(binary_date(&[0xe8, 7, 2, 30]), None);
    }
}
