//! PostgreSQL's forms of values, without any I/O: binary rows of `COPY` and single values; text is in [`literal`].
//!
//! Values are written exactly or not at all. What the server would round or cut without a word (digits of a decimal
//! beyond the column's scale, fractions of a second beyond its precision) is refused here, as is what it could not hold;
//! the error names the column, never the value. Nothing here decides a conversion: [`super::decode`] has done that.

pub mod literal;
mod numeric;

use bytes::{BufMut, Bytes, BytesMut};

use super::calendar::DAY_MICROS;
use super::table::{Column, ColumnType};
use super::value::{INFINITE_DAY, INFINITE_TIME, Value};

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_DAYS: i64 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;
/// First day (4714-11-24 BC), since 2000.
const DAY_MIN: i64 = -2_451_545;
/// First day that is too late, since 2000.
const DAY_END: i64 = 2_147_483_494 - 2_451_545;
/// First microsecond, since 2000.
const MICROS_MIN: i64 = -211_813_488_000_000_000;
/// First microsecond that is too late, since 2000.
const MICROS_END: i64 = 9_223_371_331_200_000_000;
/// First offset of a zone that is too large, in seconds.
const ZONE_END: i32 = 16 * 3600;
/// What PostgreSQL 17 reads as an infinite interval; before, it is a number like others.
const INFINITE_INTERVALS: [(i32, i32, i64); 2] = [(i32::MAX, i32::MAX, i64::MAX), (i32::MIN, i32::MIN, i64::MIN)];

/// A type of PostgreSQL with the limits that matter for writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PgType {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `oid`
    Oid,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`, with precision and scale if it has them.
    Numeric(Option<(u32, i32)>),
    /// `text` and whatever has its binary form.
    Text,
    /// `name`
    Name,
    /// `"char"`
    Char,
    /// `bytea`
    Bytea,
    /// `bit` and `bit varying`
    Bits,
    /// `point`
    Point,
    /// `date`
    Date,
    /// `time` with so many fraction digits.
    Time(u8),
    /// `timetz` with so many fraction digits.
    TimeTz(u8),
    /// `interval` of all fields with so many fraction digits.
    Interval(u8),
    /// `timestamp` with so many fraction digits.
    Timestamp(u8),
    /// `timestamptz` with so many fraction digits.
    TimestampTz(u8),
    /// `uuid`
    Uuid,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
}

impl PgType {
    /// The type of a column as [`crate::sink::postgres`] describes it; `None` for one that is written as text.
    pub fn of_column(column: &Column) -> Option<Self> {
        Self::of_type(&column.kind, &column.native)
    }

    fn of_type(kind: &ColumnType, native: &str) -> Option<Self> {
        Some(match *kind {
            ColumnType::Bool => Self::Bool,
            ColumnType::Int { bits: 16, unsigned: false } => Self::Int2,
            ColumnType::Int { bits: 32, unsigned: false } => Self::Int4,
            ColumnType::Int { bits: 64, unsigned: false } => Self::Int8,
            ColumnType::Int { bits: 32, unsigned: true } => Self::Oid,
            ColumnType::Float32 => Self::Float4,
            ColumnType::Float64 => Self::Float8,
            ColumnType::Decimal { limit } => Self::Numeric(limit),
            ColumnType::Text { .. } => match native {
                "name" => Self::Name,
                "\"char\"" => Self::Char,
                _ => Self::Text,
            },
            ColumnType::Bytes { .. } => Self::Bytea,
            ColumnType::Date => Self::Date,
            ColumnType::Time { digits } => Self::Time(digits),
            ColumnType::TimeTz { digits } => Self::TimeTz(digits),
            ColumnType::Interval { digits } => Self::Interval(digits),
            ColumnType::Bits { .. } => Self::Bits,
            ColumnType::Point => Self::Point,
            ColumnType::Timestamp { digits } => Self::Timestamp(digits),
            ColumnType::TimestampTz { digits } => Self::TimestampTz(digits),
            ColumnType::Uuid => Self::Uuid,
            ColumnType::Json if native == "jsonb" => Self::Jsonb,
            ColumnType::Json => Self::Json,
            _ => return None,
        })
    }
}

/// Why a value cannot be written as, or read from, a type. Holds no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The value is of a kind that the type does not take.
    #[error("a value of another kind")]
    Kind,
    /// Outside of what the type holds.
    #[error("a value outside of the type's range")]
    Range,
    /// More fraction digits than the column keeps.
    #[error("a value with more fraction digits than the column keeps")]
    Fraction,
    /// A NUL character, which PostgreSQL's text cannot hold.
    #[error("text with a NUL character, which PostgreSQL cannot hold")]
    Nul,
    /// Not a plain decimal number.
    #[error("text that is no plain decimal number")]
    NotDecimal,
    /// Bytes that are not in the type's binary form.
    #[error("bytes that are not in the type's binary form")]
    Binary,
    /// NaN or an infinity of a type that has them beside its values.
    #[error("a special value (NaN or infinity)")]
    Special,
    /// Too long for the type, which would cut it, or for the protocol.
    #[error("a value that is too long")]
    Length,
    /// Lists in a list that differ in length, are empty or too deep.
    #[error("a list of lists that is no array of PostgreSQL: of different lengths, empty, or too deep")]
    Shape,
    /// A map with a key twice.
    #[error("a map that has a key twice")]
    Twice,
}

/// Begins a stream: signature, flags, no extension.
pub fn put_header(out: &mut BytesMut) {
    out.put_slice(b"PGCOPY\n\xff\r\n\0");
    out.put_i32(0);
    out.put_i32(0);
}

/// Begins a row of so many fields, at most PostgreSQL's 1,600 columns.
pub fn put_row(out: &mut BytesMut, fields: u16) {
    out.put_u16(fields);
}

/// Ends a stream.
pub fn put_trailer(out: &mut BytesMut) {
    out.put_i16(-1);
}

/// Writes a field of a row: length and value, or the mark of NULL. After an error `out` is as it was.
pub fn put_field(out: &mut BytesMut, kind: PgType, value: &Value) -> Result<(), Misfit> {
    if value.is_null() {
        out.put_i32(-1);
        return Ok(());
    }
    let at = out.len();
    out.put_i32(0);
    let written = put_value(out, kind, value)
        .and_then(|()| i32::try_from(out.len() - at - 4).map_err(|_| Misfit::Length))
        .inspect_err(|_| out.truncate(at))?;
    out[at..at + 4].copy_from_slice(&written.to_be_bytes());
    Ok(())
}

/// Writes a field of bytes.
pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) -> Result<(), Misfit> {
    out.put_i32(i32::try_from(bytes.len()).map_err(|_| Misfit::Length)?);
    out.put_slice(bytes);
    Ok(())
}

/// Writes a value that is not NULL, without its length.
pub fn put_value(out: &mut BytesMut, kind: PgType, value: &Value) -> Result<(), Misfit> {
    match (kind, value) {
        (PgType::Bool, Value::Bool(truth)) => out.put_u8(u8::from(*truth)),
        (PgType::Int2, _) => out.put_i16(narrow(value)?),
        (PgType::Int4, _) => out.put_i32(narrow(value)?),
        (PgType::Int8, _) => out.put_i64(narrow(value)?),
        (PgType::Oid, _) => out.put_u32(narrow(value)?),
        (PgType::Float4, Value::Float32(number)) => out.put_f32(*number),
        (PgType::Float8, Value::Float32(number)) => out.put_f64(f64::from(*number)),
        (PgType::Float8, Value::Float64(number)) => out.put_f64(*number),
        (PgType::Numeric(limit), Value::Decimal(text)) => numeric::put(out, text, limit)?,
        (PgType::Numeric(limit), Value::Int(number)) => numeric::put(out, &number.to_string(), limit)?,
        (PgType::Numeric(limit), Value::UInt(number)) => numeric::put(out, &number.to_string(), limit)?,
        (PgType::Text, Value::Text(text) | Value::Json(text) | Value::Decimal(text)) => put_text(out, text)?,
        (PgType::Name, Value::Text(text)) if text.len() > literal::NAME_BYTES => return Err(Misfit::Length),
        (PgType::Name, Value::Text(text)) => put_text(out, text)?,
        (PgType::Char, Value::Text(text)) => match str::as_bytes(text) {
            [] => out.put_u8(0),
            [byte] => out.put_u8(*byte),
            _ => return Err(Misfit::Length),
        },
        (PgType::Json, Value::Json(text) | Value::Text(text)) => put_text(out, text)?,
        (PgType::Jsonb, Value::Json(text) | Value::Text(text)) => {
            out.put_u8(1);
            put_text(out, text)?;
        }
        (PgType::Bytea, Value::Bytes(bytes)) => out.put_slice(bytes),
        (PgType::Uuid, Value::Uuid(bytes)) => out.put_slice(bytes),
        (PgType::Date, Value::Date(days)) => out.put_i32(date(*days)?),
        (PgType::Time(digits), Value::Time(micros)) => out.put_i64(time(*micros, digits)?),
        (PgType::TimeTz(digits), Value::TimeTz { micros, offset }) => {
            out.put_i64(time(*micros, digits)?);
            // Seconds west of UTC.
            out.put_i32(if offset.abs() < ZONE_END { -offset } else { return Err(Misfit::Range) });
        }
        (PgType::Interval(digits), Value::Interval { months, days, micros }) => {
            if INFINITE_INTERVALS.contains(&(*months, *days, *micros)) {
                return Err(Misfit::Range);
            }
            out.put_i64(whole(*micros, digits)?);
            out.put_i32(*days);
            out.put_i32(*months);
        }
        (PgType::Bits, Value::Bits { length, bytes }) if bytes.len() == length.div_ceil(8) as usize => {
            out.put_i32(i32::try_from(*length).map_err(|_| Misfit::Length)?);
            out.put_slice(bytes);
        }
        (PgType::Point, value) => {
            let (x, y) = point_of(value)?;
            out.put_f64(x);
            out.put_f64(y);
        }
        (PgType::Timestamp(digits), Value::Timestamp(micros))
        | (PgType::TimestampTz(digits), Value::TimestampTz(micros)) => out.put_i64(instant(*micros, digits)?),
        _ => return Err(Misfit::Kind),
    }
    Ok(())
}

fn narrow<T: TryFrom<i64>>(value: &Value) -> Result<T, Misfit> {
    match value {
        Value::Int(number) => T::try_from(*number).map_err(|_| Misfit::Range),
        Value::UInt(_) => Err(Misfit::Range),
        _ => Err(Misfit::Kind),
    }
}

fn put_text(out: &mut BytesMut, text: &str) -> Result<(), Misfit> {
    if text.as_bytes().contains(&0) {
        return Err(Misfit::Nul);
    }
    out.put_slice(text.as_bytes());
    Ok(())
}

/// The coordinates of a shape that is a point of the plane.
fn point_of(value: &Value) -> Result<(f64, f64), Misfit> {
    let Value::Geometry { wkb, .. } = value else { return Err(Misfit::Kind) };
    let number = |at: usize, little: bool| {
        let bytes: Option<[u8; 8]> = wkb.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| if little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) })
    };
    let little = match wkb.as_ref().get(..5) {
        Some([1, 1, 0, 0, 0]) => true,
        Some([0, 0, 0, 0, 1]) => false,
        _ => return Err(Misfit::Kind),
    };
    match (number(5, little), number(13, little)) {
        (Some(x), Some(y)) if wkb.len() == 21 => Ok((x, y)),
        _ => Err(Misfit::Binary),
    }
}

fn date(days: i32) -> Result<i32, Misfit> {
    if days == INFINITE_DAY.0 || days == INFINITE_DAY.1 {
        return Ok(days);
    }
    let shifted = i64::from(days) - EPOCH_DAYS;
    if !(DAY_MIN..DAY_END).contains(&shifted) {
        return Err(Misfit::Range);
    }
    i32::try_from(shifted).map_err(|_| Misfit::Range)
}

fn time(micros: i64, digits: u8) -> Result<i64, Misfit> {
    if !(0..=DAY_MICROS).contains(&micros) {
        return Err(Misfit::Range);
    }
    whole(micros, digits)
}

fn instant(micros: i64, digits: u8) -> Result<i64, Misfit> {
    if micros == INFINITE_TIME.0 || micros == INFINITE_TIME.1 {
        return Ok(micros);
    }
    let shifted = micros.checked_sub(EPOCH_MICROS).ok_or(Misfit::Range)?;
    if !(MICROS_MIN..MICROS_END).contains(&shifted) {
        return Err(Misfit::Range);
    }
    whole(shifted, digits)
}

/// Refuses what the server would round away.
fn whole(micros: i64, digits: u8) -> Result<i64, Misfit> {
    let unit = 10_i64.pow(6 - u32::from(digits.min(6)));
    if micros % unit == 0 { Ok(micros) } else { Err(Misfit::Fraction) }
}

/// Reads a value that is not NULL from its binary form.
pub fn read_value(kind: PgType, bytes: &[u8]) -> Result<Value, Misfit> {
    Ok(match kind {
        PgType::Bool => Value::Bool(fixed::<1>(bytes)?[0] != 0),
        PgType::Int2 => Value::Int(i64::from(i16::from_be_bytes(fixed(bytes)?))),
        PgType::Int4 => Value::Int(i64::from(i32::from_be_bytes(fixed(bytes)?))),
        PgType::Int8 => Value::Int(i64::from_be_bytes(fixed(bytes)?)),
        PgType::Oid => Value::Int(i64::from(u32::from_be_bytes(fixed(bytes)?))),
        PgType::Float4 => Value::Float32(f32::from_be_bytes(fixed(bytes)?)),
        PgType::Float8 => Value::Float64(f64::from_be_bytes(fixed(bytes)?)),
        PgType::Numeric(_) => Value::Decimal(numeric::read(bytes)?.into()),
        PgType::Text | PgType::Name | PgType::Char => Value::text(text(bytes)?),
        PgType::Json => Value::Json(text(bytes)?.into()),
        PgType::Jsonb => match bytes.split_first() {
            Some((1, rest)) => Value::Json(text(rest)?.into()),
            _ => return Err(Misfit::Binary),
        },
        PgType::Bytea => Value::Bytes(Bytes::copy_from_slice(bytes)),
        PgType::Uuid => Value::Uuid(fixed(bytes)?),
        PgType::Date => {
            let days = i64::from(i32::from_be_bytes(fixed(bytes)?));
            match i32::try_from(days) {
                Ok(infinite) if infinite == INFINITE_DAY.0 || infinite == INFINITE_DAY.1 => Value::Date(infinite),
                _ if !(DAY_MIN..DAY_END).contains(&days) => return Err(Misfit::Binary),
                _ => Value::Date(i32::try_from(days + EPOCH_DAYS).map_err(|_| Misfit::Range)?),
            }
        }
        PgType::Time(_) => Value::Time(i64::from_be_bytes(fixed(bytes)?)),
        PgType::Timestamp(_) => Value::Timestamp(read_instant(bytes)?),
        PgType::TimestampTz(_) => Value::TimestampTz(read_instant(bytes)?),
        // No statement of ours returns them.
        PgType::TimeTz(_) | PgType::Interval(_) | PgType::Bits | PgType::Point => {
            return Err(Misfit::Kind);
        }
    })
}

fn read_instant(bytes: &[u8]) -> Result<i64, Misfit> {
    let micros = i64::from_be_bytes(fixed(bytes)?);
    if micros == INFINITE_TIME.0 || micros == INFINITE_TIME.1 {
        return Ok(micros);
    }
    if !(MICROS_MIN..MICROS_END).contains(&micros) {
        return Err(Misfit::Binary);
    }
    micros.checked_add(EPOCH_MICROS).ok_or(Misfit::Range)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Misfit> {
    bytes.try_into().map_err(|_| Misfit::Binary)
}

fn text(bytes: &[u8]) -> Result<&str, Misfit> {
    std::str::from_utf8(bytes).map_err(|_| Misfit::Binary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(kind: PgType, value: &Value) -> Result<Value, Misfit> {
        let mut out = BytesMut::new();
        put_value(&mut out, kind, value)?;
        read_value(kind, &out)
    }

    #[test]
    fn a_stream_has_the_documented_bytes() {
        let mut out = BytesMut::new();
        put_header(&mut out);
        put_row(&mut out, 2);
        put_field(&mut out, PgType::Int4, &Value::Int(258)).expect("fits");
        put_field(&mut out, PgType::Text, &Value::Null).expect("null");
        put_trailer(&mut out);
        let expected: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\x01\x02\xff\xff\xff\xff\xff\xff";
        assert_eq!(&out[..], expected);
    }

    #[test]
    fn epochs_are_shifted_and_ranges_kept() {
        let mut out = BytesMut::new();
        put_value(&mut out, PgType::Date, &Value::Date(10_957)).expect("2000-01-01");
        put_value(&mut out, PgType::TimestampTz(6), &Value::TimestampTz(EPOCH_MICROS)).expect("2000-01-01");
        assert_eq!(&out[..], [0; 12]);
        for days in [i32::MIN + 1, i32::MAX - 1, -2_451_545 + 10_957 - 1] {
            assert_eq!(round_trip(PgType::Date, &Value::Date(days)), Err(Misfit::Range), "{days}");
        }
        for micros in [i64::MIN + 1, MICROS_MIN + EPOCH_MICROS - 1] {
            assert_eq!(round_trip(PgType::Timestamp(6), &Value::Timestamp(micros)), Err(Misfit::Range), "{micros}");
        }
        for micros in [-1, DAY_MICROS + 1] {
            assert_eq!(round_trip(PgType::Time(6), &Value::Time(micros)), Err(Misfit::Range));
        }
    }

    #[test]
    fn nothing_is_rounded_or_bent() {
        let refused = |kind, value: Value| round_trip(kind, &value).expect_err("must be refused");
        assert_eq!(refused(PgType::Timestamp(3), Value::Timestamp(1)), Misfit::Fraction);
        assert_eq!(refused(PgType::Time(0), Value::Time(500_000)), Misfit::Fraction);
        assert_eq!(refused(PgType::Int2, Value::Int(40_000)), Misfit::Range);
        assert_eq!(refused(PgType::Int8, Value::UInt(u64::MAX)), Misfit::Range);
        assert_eq!(refused(PgType::Int8, Value::text("7")), Misfit::Kind);
        assert_eq!(refused(PgType::Float4, Value::Float64(0.1)), Misfit::Kind);
        assert_eq!(refused(PgType::Timestamp(6), Value::TimestampTz(0)), Misfit::Kind);
        assert_eq!(refused(PgType::Text, Value::text("a\0b")), Misfit::Nul);
        let mut out = BytesMut::from(&b"before"[..]);
        assert!(put_field(&mut out, PgType::Text, &Value::text("a\0b")).is_err());
        assert_eq!(&out[..], b"before", "an error leaves nothing behind");
    }

    #[test]
    fn infinities_are_the_server_s() {
        let bytes = |kind, value: Value| {
            let mut out = BytesMut::new();
            put_value(&mut out, kind, &value).expect("fits");
            assert_eq!(read_value(kind, &out), Ok(value));
            out
        };
        assert_eq!(&bytes(PgType::Date, Value::Date(INFINITE_DAY.0))[..], i32::MAX.to_be_bytes());
        assert_eq!(&bytes(PgType::Timestamp(0), Value::Timestamp(INFINITE_TIME.1))[..], i64::MIN.to_be_bytes());
        assert_eq!(bytes(PgType::Numeric(Some((4, 2))), Value::Decimal("NaN".into()))[4..6], [0xc0, 0]);
        assert_eq!(bytes(PgType::Numeric(None), Value::Decimal("-Infinity".into()))[4..6], [0xf0, 0]);
    }

    #[test]
    fn what_only_looks_like_its_type_is_refused() {
        let refused = |kind, value: Value| put_value(&mut BytesMut::new(), kind, &value).expect_err("must be refused");
        assert_eq!(refused(PgType::TimeTz(6), Value::TimeTz { micros: 0, offset: -57_600 }), Misfit::Range);
        let interval = |months, days, micros| Value::Interval { months, days, micros };
        assert_eq!(refused(PgType::Interval(3), interval(0, 0, 1)), Misfit::Fraction);
        assert_eq!(refused(PgType::Interval(6), interval(i32::MAX, i32::MAX, i64::MAX)), Misfit::Range);
        assert_eq!(refused(PgType::Bits, Value::Bits { length: 9, bytes: Bytes::from_static(b"x") }), Misfit::Kind);
        let shape = |wkb: &'static [u8]| Value::Geometry { srid: None, wkb: Bytes::from_static(wkb) };
        assert_eq!(refused(PgType::Point, shape(&[1, 2, 0, 0, 0])), Misfit::Kind);
        assert_eq!(refused(PgType::Point, shape(&[1, 1, 0, 0, 0, 9])), Misfit::Binary);
        assert_eq!(refused(PgType::Name, Value::text("ü".repeat(32))), Misfit::Length);
        assert_eq!(refused(PgType::Char, Value::text("ü")), Misfit::Length);
    }

    #[test]
    fn jsonb_has_its_version() {
        let mut out = BytesMut::new();
        put_value(&mut out, PgType::Jsonb, &Value::Json("{}".into())).expect("fits");
        assert_eq!(&out[..], b"\x01{}");
    }

    proptest! {
        #[test]
        fn values_come_back(int in any::<i64>(), float in any::<f64>(), words in "[^\0]*", raw in any::<Vec<u8>>(),
                            days in -2_440_588_i32..2_145_042_906, micros in -210_866_803_200_000_000_i64..i64::MAX,
                            uuid in any::<[u8; 16]>(), day in 0..=DAY_MICROS) {
            for (kind, value) in [
                (PgType::Int8, Value::Int(int)), (PgType::Text, Value::text(words.clone())),
                (PgType::Json, Value::Json(words.into())), (PgType::Bytea, Value::bytes(&raw)),
                (PgType::Date, Value::Date(days)), (PgType::Timestamp(6), Value::Timestamp(micros)),
                (PgType::TimestampTz(6), Value::TimestampTz(micros)), (PgType::Uuid, Value::Uuid(uuid)),
                (PgType::Time(6), Value::Time(day)),
            ] {
                prop_assert_eq!(round_trip(kind, &value), Ok(value));
            }
            let Ok(Value::Float64(back)) = round_trip(PgType::Float8, &Value::Float64(float)) else {
                return Err(TestCaseError::fail("not a float"));
            };
            prop_assert_eq!(back.to_bits(), float.to_bits());
        }

        #[test]
        fn hostile_bytes_are_refused_not_trusted(raw in any::<Vec<u8>>()) {
            for kind in [PgType::Numeric(None), PgType::Jsonb, PgType::Text, PgType::Timestamp(6), PgType::Date] {
                let _ = read_value(kind, &raw);
            }
        }
    }
}
