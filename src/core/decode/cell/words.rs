//! Text for columns of other types: read exactly as one of the forms that connectors write, or refused.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use bytestring::ByteString;

use crate::core::calendar::{parse_date, parse_interval, parse_moment, parse_span, parse_zoned_clock};
use crate::core::decimal;
use crate::core::geometry as wkb;
use crate::core::table::ColumnType;
use crate::core::text::{self, parse_uuid};
use crate::core::value::Value;
use crate::core::wire::WireType;

use super::read::checked_json;
use super::time::{clock, infinite, instant, iso_date, local, whole_interval, zoned_time};
use super::{CellRules, FINER, Misfit, Read, Reader, compound, no};

/// What text in bytes columns is (`binary.handling.mode`, of which the schema says nothing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// Base64 of the bytes.
    Base64,
    /// Base64 with `-` and `_`.
    Base64Url,
    /// Hex digits.
    Hex,
}

/// Reads text for a column that holds something else. The value may still not fit the column.
pub(super) fn read(text: &ByteString, column: &ColumnType, rules: &CellRules) -> Read {
    let nothing = Bytes::new();
    let reader = Reader { rules, owner: &nothing };
    Ok(match column {
        ColumnType::Bool => match &**text {
            "true" | "t" | "1" => Value::Bool(true),
            "false" | "f" | "0" => Value::Bool(false),
            _ => return Err(no("text that is no truth value")),
        },
        ColumnType::Int { .. } | ColumnType::Year => match text.parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Decimal(number(text)?),
        },
        ColumnType::Float32 => Value::Float32(exact_float(text)?),
        ColumnType::Float64 => Value::Float64(exact_float(text)?),
        ColumnType::Decimal { .. } => Value::Decimal(number(text)?),
        ColumnType::Bytes { .. } => Value::Bytes(bytes(text, rules.binary)?),
        ColumnType::Date => match parse_moment(local(text)) {
            Some(moment) => clock(moment, column)?,
            None => iso_date(text).map_err(|_| no("text that is no ISO date"))?,
        },
        ColumnType::Time { .. } | ColumnType::TimeSpan { .. } => {
            let nanos = parse_span(local(text)).ok_or_else(|| no("text that is no ISO time"))?;
            Value::Time(if nanos % 1000 == 0 { nanos / 1000 } else { return Err(FINER) })
        }
        ColumnType::TimeTz { .. } => match parse_zoned_clock(text) {
            Some((_, Some(_))) => zoned_time(text, column)?,
            _ => return Err(no("a time without a zone")),
        },
        ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } => timestamp(text, column)?,
        ColumnType::Interval { .. } => {
            let span = parse_interval(text).ok_or_else(|| no("text that is no ISO 8601 interval"))?;
            whole_interval(span.months, span.days, span.nanos, column)?
        }
        ColumnType::Uuid => parse_uuid(text).map(Value::Uuid).ok_or(no("text that is no UUID"))?,
        ColumnType::Json => Value::Json(checked_json(text.clone())?),
        ColumnType::Bits { .. } => bits(text)?,
        ColumnType::Map => Value::Map(compound::map(text)?),
        ColumnType::Array { .. } | ColumnType::Vector { .. } => reader.list(text, &WireType::Untyped, column)?,
        ColumnType::SparseVector { .. } => sparse(text)?,
        ColumnType::Point | ColumnType::Geometry { .. } => {
            let shape = hex(text).and_then(|bytes| wkb::split(bytes.into()));
            let (srid, wkb) = shape.ok_or_else(|| no("text that is no shape in hex digits"))?;
            Value::Geometry { srid, wkb }
        }
        ColumnType::Text { .. } | ColumnType::Literal | ColumnType::Choice { .. } => Value::Text(text.clone()),
        ColumnType::Unsupported => return Err(no("a value of a type that is not understood")),
    })
}

/// A clock without a zone takes an instant in UTC; an instant needs a zone.
fn timestamp(text: &str, column: &ColumnType) -> Read {
    let zoned = matches!(column, ColumnType::TimestampTz { .. });
    if let Some(endless) = infinite(text) {
        return Ok(if zoned { Value::TimestampTz(endless) } else { Value::Timestamp(endless) });
    }
    match parse_moment(text) {
        Some(moment) if moment.offset.is_some() => instant(moment, column),
        Some(moment) if !zoned => clock(moment, column),
        None if !zoned && parse_date(local(text)).is_some() => iso_date(text),
        _ if zoned => Err(no("text that is no ISO date and time with a zone")),
        _ => Err(no("text that is no ISO date and time")),
    }
}

/// A decimal number, or one of the words of PostgreSQL and of Debezium's string mode.
pub(super) fn number(text: &ByteString) -> Result<ByteString, Misfit> {
    let word = match &**text {
        "NAN" | "NaN" => "NaN",
        "POSITIVE_INFINITY" | "Infinity" | "infinity" => "Infinity",
        "NEGATIVE_INFINITY" | "-Infinity" | "-infinity" => "-Infinity",
        digits => {
            return decimal::from_notation(digits).map(ByteString::from).ok_or_else(|| no("text that is no number"));
        }
    };
    Ok(ByteString::from_static(word))
}

/// A floating point number that the digits stand for: its shortest text is the same number.
pub(super) fn exact_float<F: Float>(text: &ByteString) -> Result<F, Misfit> {
    let digits = number(text)?;
    let float = digits.parse::<F>().map_err(|_| no("text that is no number"))?;
    let shortest = float.shortest();
    let same = match decimal::from_notation(&shortest) {
        Some(plain) => decimal::equal(&plain, &digits),
        None => shortest == *digits,
    };
    if same { Ok(float) } else { Err(MORE_DIGITS) }
}

const MORE_DIGITS: Misfit = Misfit::DoesNotFit("a number with more digits than the column's floating point has");

/// A floating point number that is the decimal itself.
pub(super) fn same_float<F: Float>(digits: &str) -> Result<F, Misfit> {
    let float = digits.parse::<F>().map_err(|_| no("text that is no number"))?;
    let word = digits.ends_with(|c: char| c.is_ascii_alphabetic());
    if word || decimal::equal(&float.all_digits(), digits) { Ok(float) } else { Err(MORE_DIGITS) }
}

/// The two precisions.
pub(super) trait Float: std::str::FromStr {
    /// See [`text::float64`].
    fn shortest(&self) -> String;
    /// All digits of the binary fraction; there are at most 1074 behind the point.
    fn all_digits(&self) -> String;
}

impl Float for f32 {
    fn shortest(&self) -> String {
        text::float32(*self)
    }

    fn all_digits(&self) -> String {
        format!("{self:.149}")
    }
}

impl Float for f64 {
    fn shortest(&self) -> String {
        text::float64(*self)
    }

    fn all_digits(&self) -> String {
        format!("{self:.1074}")
    }
}

fn bytes(text: &str, binary: Option<Binary>) -> Result<Bytes, Misfit> {
    let decoded = match binary {
        Some(Binary::Base64) => STANDARD.decode(text).ok(),
        Some(Binary::Base64Url) => URL_SAFE.decode(text).ok(),
        Some(Binary::Hex) => hex(text),
        None => {
            return Err(Misfit::Undecided(
                "text for a bytes column, of which the event does not tell how it stands for bytes; set `binary` of the table to \"base64\", \"base64url\" or \"hex\"",
            ));
        }
    };
    decoded.map(Bytes::from).ok_or_else(|| no("text that is not bytes in the form that `binary` says"))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

/// Digits 0 and 1.
fn bits(text: &str) -> Read {
    let length = u32::try_from(text.len()).map_err(|_| no("more bits than a column holds"))?;
    let mut bytes = vec![0u8; text.len().div_ceil(8)];
    for (at, digit) in text.bytes().enumerate() {
        match digit {
            b'0' => {}
            b'1' => bytes[at / 8] |= 0x80 >> (at % 8),
            _ => return Err(no("text that is no bits")),
        }
    }
    Ok(Value::Bits { length, bytes: bytes.into() })
}

/// `{1:1.5,4:2}/9`, as pgvector writes it.
fn sparse(text: &str) -> Read {
    let parse = || {
        let (elements, dimensions) = text.strip_prefix('{')?.split_once("}/")?;
        let pair = |element: &str| {
            let (place, number) = element.split_once(':')?;
            Some((place.trim().parse().ok()?, number.trim().parse().ok()?))
        };
        let pairs: Option<Vec<(u32, f64)>> =
            elements.split(',').filter(|element| !element.trim().is_empty()).map(pair).collect();
        Some((dimensions.trim().parse().ok()?, pairs?))
    };
    let (dimensions, pairs) = parse().ok_or_else(|| no("text that is no sparse vector"))?;
    compound::sparse_of(dimensions, pairs)
}
