//! Text of values as the input functions of PostgreSQL's types read it.
//!
//! For the types that have no binary writer here, and for all columns of a `COPY` that fills one of those. Every text names its
//! value completely: it is read the same under each `DateStyle`, `IntervalStyle`, locale and time zone.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

use super::{Misfit, PgType, point_of, put_value};
use crate::core::calendar::{DAY_MICROS, civil_from_days};
use crate::core::table::{Column, ColumnType};
use crate::core::text;
use crate::core::value::{INFINITE_DAY, INFINITE_TIME, Value};

/// Which of a value's texts a type reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// The text of the value itself.
    Plain,
    /// `name`, which would be cut at 63 bytes without a word.
    Name,
    /// `"char"`, which would be cut at one byte without a word.
    Char,
    /// `point`: `(x,y)`.
    Point,
    /// pgvector's `vector` (single precision) or `halfvec`.
    Vector {
        /// Half precision.
        half: bool,
    },
    /// pgvector's `sparsevec`.
    SparseVector,
    /// `{…}` of elements.
    Array {
        /// Their form.
        element: Box<Form>,
        /// Their type, where it has a binary writer that knows its limits: the server rounds elements to them without a word.
        limits: Option<PgType>,
    },
}

/// Bytes of PostgreSQL's `name`.
pub(super) const NAME_BYTES: usize = 63;
/// PostgreSQL's arrays have so many dimensions at most.
const DIMENSIONS_MAX: usize = 6;

impl Form {
    /// The form of a column's type; `None` for one that is not supported.
    pub fn of_column(column: &Column) -> Option<Self> {
        Self::of_type(&column.kind, &column.native)
    }

    fn of_type(kind: &ColumnType, native: &str) -> Option<Self> {
        Some(match kind {
            ColumnType::Unsupported => return None,
            ColumnType::Array { element } => {
                let native = native.trim_end_matches("[]");
                let limits = PgType::of_type(element, native);
                Self::Array { element: Box::new(Self::of_type(element, native)?), limits }
            }
            ColumnType::Text { .. }
            | ColumnType::Vector { .. }
            | ColumnType::SparseVector { .. }
            | ColumnType::Point => Self::of_name(bare(native)),
            _ => Self::Plain,
        })
    }

    /// The form of a type that is no array, by its name in the catalog.
    pub fn of_name(name: &str) -> Self {
        match name {
            "name" => Self::Name,
            "\"char\"" | "char" => Self::Char,
            "point" => Self::Point,
            "vector" => Self::Vector { half: false },
            "halfvec" => Self::Vector { half: true },
            "sparsevec" => Self::SparseVector,
            _ => Self::Plain,
        }
    }
}

/// A type's name without its schema and modifier.
fn bare(native: &str) -> &str {
    let name = native.split('(').next().unwrap_or(native);
    name.rsplit('.').next().unwrap_or(name)
}

/// Writes a field of a row of `COPY … (FORMAT text)`. After an error `out` may hold a part of it.
pub fn put_copy_field(out: &mut BytesMut, form: &Form, value: &Value) -> Result<(), Misfit> {
    if value.is_null() {
        out.put_slice(b"\\N");
        return Ok(());
    }
    for byte in literal(form, value)?.bytes() {
        match byte {
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            other => out.put_u8(other),
        }
    }
    Ok(())
}

/// The text of a value that is not NULL.
pub fn literal(form: &Form, value: &Value) -> Result<String, Misfit> {
    let mut text = String::new();
    put(&mut text, form, value)?;
    if text.as_bytes().contains(&0) { Err(Misfit::Nul) } else { Ok(text) }
}

fn put(out: &mut String, form: &Form, value: &Value) -> Result<(), Misfit> {
    match (form, value) {
        (Form::Array { element, limits }, Value::Array(items)) => {
            let mut depth = 0;
            let mut first = items.first();
            while let Some(Value::Array(inner)) = first {
                (depth, first) = (depth + 1, inner.first());
            }
            if depth >= DIMENSIONS_MAX {
                return Err(Misfit::Shape);
            }
            put_array(out, (element, *limits), items, depth)?;
        }
        (Form::Vector { half }, Value::Array(items)) => put_vector(out, *half, items)?,
        (Form::SparseVector, Value::SparseVector { dimensions, elements }) => {
            out.push('{');
            for (at, (place, number)) in elements.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let _ = write!(out, "{comma}{}:{:e}", u64::from(*place) + 1, single(*number)?);
            }
            let _ = write!(out, "}}/{dimensions}");
        }
        (Form::Point, value) => {
            let (x, y) = point_of(value)?;
            out.push('(');
            put_float(out, x);
            out.push(',');
            put_float(out, y);
            out.push(')');
        }
        (Form::Name, Value::Text(text)) if text.len() > NAME_BYTES => return Err(Misfit::Length),
        (Form::Char, Value::Text(text)) if text.len() > 1 => return Err(Misfit::Length),
        (Form::Plain | Form::Name | Form::Char, value) => put_scalar(out, value)?,
        _ => return Err(Misfit::Kind),
    }
    Ok(())
}

fn put_scalar(out: &mut String, value: &Value) -> Result<(), Misfit> {
    // Writing to text cannot fail.
    let _ = match value {
        Value::Null | Value::Array(_) | Value::SparseVector { .. } => return Err(Misfit::Kind),
        Value::Bool(truth) => write!(out, "{truth}"),
        Value::Int(number) => write!(out, "{number}"),
        Value::UInt(number) => write!(out, "{number}"),
        Value::Float32(number) if number.is_finite() => write!(out, "{number:e}"),
        Value::Float32(number) => {
            put_float(out, f64::from(*number));
            Ok(())
        }
        Value::Float64(number) => {
            put_float(out, *number);
            Ok(())
        }
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => write!(out, "{text}"),
        Value::Bytes(bytes) => {
            out.push_str("\\x");
            put_hex(out, bytes);
            Ok(())
        }
        Value::Date(days) => write!(out, "{}", date(*days)),
        Value::Time(micros) => write!(out, "{}", text::time(*micros)),
        Value::Timestamp(micros) => write!(out, "{}", timestamp(*micros, "")),
        Value::TimestampTz(micros) => write!(out, "{}", timestamp(*micros, "+00")),
        Value::TimeTz { micros, offset } => {
            let (sign, east) = if *offset < 0 { ('-', offset.unsigned_abs()) } else { ('+', offset.unsigned_abs()) };
            let (hours, minutes, seconds) = (east / 3600, east / 60 % 60, east % 60);
            write!(out, "{}{sign}{hours:02}:{minutes:02}:{seconds:02}", text::time(*micros))
        }
        Value::Interval { months, days, micros } => {
            let sign = if *micros < 0 { "-" } else { "" };
            let (seconds, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
            write!(out, "P{months}M{days}DT{sign}{}H{sign}{}M", seconds / 3600, seconds / 60 % 60)
                .and_then(|()| write!(out, "{sign}{}.{fraction:06}S", seconds % 60))
        }
        Value::Uuid(bytes) => write!(out, "{}", text::uuid(bytes)),
        Value::Bits { length, bytes } => {
            if bytes.len() != length.div_ceil(8) as usize {
                return Err(Misfit::Kind);
            }
            let bit = |at: u32| bytes[at as usize / 8] >> (7 - at % 8) & 1;
            out.extend((0..*length).map(|at| if bit(at) == 1 { '1' } else { '0' }));
            Ok(())
        }
        Value::Map(pairs) => return put_hstore(out, pairs),
        Value::Geometry { srid, wkb } => return put_ewkb(out, *srid, wkb),
    };
    Ok(())
}

/// The shortest text that is read back as the same number.
fn put_float(out: &mut String, number: f64) {
    let _ = match number {
        _ if number.is_nan() => write!(out, "NaN"),
        f64::INFINITY => write!(out, "Infinity"),
        f64::NEG_INFINITY => write!(out, "-Infinity"),
        finite => write!(out, "{finite:e}"),
    };
}

fn put_hex(out: &mut String, bytes: &[u8]) {
    out.reserve(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// A day; years before 1 the way PostgreSQL counts them.
fn date(days: i32) -> String {
    match days {
        _ if days == INFINITE_DAY.0 => "infinity".to_owned(),
        _ if days == INFINITE_DAY.1 => "-infinity".to_owned(),
        days => {
            let (day, era) = day_and_era(i64::from(days));
            format!("{day}{era}")
        }
    }
}

fn day_and_era(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil_from_days(days);
    let (year, era) = if year < 1 { (1 - year, " BC") } else { (year, "") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        _ if micros == INFINITE_TIME.0 => "infinity".to_owned(),
        _ if micros == INFINITE_TIME.1 => "-infinity".to_owned(),
        micros => {
            let (day, era) = day_and_era(micros.div_euclid(DAY_MICROS));
            format!("{day} {}{zone}{era}", text::time(micros.rem_euclid(DAY_MICROS)))
        }
    }
}

/// Elements of one dimension, `depth` more inside. PostgreSQL takes only lists of equal lengths, and reads `{{}}` as `{}`.
fn put_array(out: &mut String, element: (&Form, Option<PgType>), items: &[Value], depth: usize) -> Result<(), Misfit> {
    out.push('{');
    let length = |item: Option<&Value>| if let Some(Value::Array(inner)) = item { inner.len() } else { 0 };
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        match item {
            Value::Array(inner) if depth > 0 && !inner.is_empty() && inner.len() == length(items.first()) => {
                put_array(out, element, inner, depth - 1)?;
            }
            Value::Array(_) if !matches!(element.0, Form::Vector { .. }) => return Err(Misfit::Shape),
            _ if depth > 0 => return Err(Misfit::Shape),
            Value::Null => out.push_str("NULL"),
            item => {
                if let Some(kind) = element.1 {
                    put_value(&mut BytesMut::new(), kind, item)?;
                }
                put_quoted(out, &literal(element.0, item)?);
            }
        }
    }
    out.push('}');
    Ok(())
}

fn put_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// A number that single precision holds exactly.
fn single(number: f64) -> Result<f32, Misfit> {
    let narrow = number as f32;
    if narrow.is_finite() && f64::from(narrow) == number { Ok(narrow) } else { Err(Misfit::Range) }
}

/// Whether half precision holds a number exactly: 11 binary digits, the last worth at least 2^-24, at most 65504.
fn is_half(number: f32) -> bool {
    let units = f64::from(number) * f64::from(1_u32 << 24);
    let mut digits = units.abs();
    while digits > 2048.0 && digits % 2.0 == 0.0 {
        digits /= 2.0;
    }
    units.fract() == 0.0 && digits <= 2048.0 && number.abs() <= 65_504.0
}

fn put_vector(out: &mut String, half: bool, items: &[Value]) -> Result<(), Misfit> {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        let number = match item {
            Value::Float32(number) if number.is_finite() => *number,
            Value::Float64(number) => single(*number)?,
            Value::Int(number) => single(*number as f64).ok().filter(|n| *n as i64 == *number).ok_or(Misfit::Range)?,
            Value::Float32(_) => return Err(Misfit::Special),
            _ => return Err(Misfit::Kind),
        };
        if half && !is_half(number) {
            return Err(Misfit::Range);
        }
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{number:e}");
    }
    out.push(']');
    Ok(())
}

/// Of two equal keys hstore would keep one.
fn put_hstore(
    out: &mut String,
    pairs: &[(bytestring::ByteString, Option<bytestring::ByteString>)],
) -> Result<(), Misfit> {
    let mut keys: Vec<&str> = pairs.iter().map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|two| two[0] == two[1]) {
        return Err(Misfit::Twice);
    }
    for (at, (key, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        put_quoted(out, key);
        out.push_str("=>");
        match value {
            Some(value) => put_quoted(out, value),
            None => out.push_str("NULL"),
        }
    }
    Ok(())
}

/// PostGIS: well-known binary in hex, with the reference system behind the type if there is one.
fn put_ewkb(out: &mut String, srid: Option<i32>, wkb: &[u8]) -> Result<(), Misfit> {
    const HAS_SRID: u32 = 0x2000_0000;
    let (Some(order @ (0 | 1)), Some(kind), Some(rest)) = (wkb.first(), wkb.get(1..5), wkb.get(5..)) else {
        return Err(Misfit::Binary);
    };
    let kind: [u8; 4] = kind.try_into().map_err(|_| Misfit::Binary)?;
    let little = *order == 1;
    let number = if little { u32::from_le_bytes(kind) } else { u32::from_be_bytes(kind) };
    if number & HAS_SRID != 0 {
        return Err(Misfit::Binary);
    }
    put_hex(out, &[*order]);
    match srid {
        None => put_hex(out, &kind),
        Some(srid) if little => {
            put_hex(out, &(number | HAS_SRID).to_le_bytes());
            put_hex(out, &srid.to_le_bytes());
        }
        Some(srid) => {
            put_hex(out, &(number | HAS_SRID).to_be_bytes());
            put_hex(out, &srid.to_be_bytes());
        }
    }
    put_hex(out, rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn text(value: Value) -> Result<String, Misfit> {
        literal(&Form::Plain, &value)
    }

    fn list(items: &[&str]) -> Value {
        Value::Array(items.iter().map(|item| Value::text((*item).to_owned())).collect())
    }

    fn array(form: Form, value: Value) -> Result<String, Misfit> {
        literal(&Form::Array { element: Box::new(form), limits: None }, &value)
    }

    #[test]
    fn arrays_are_quoted_and_of_one_shape() {
        let strings = list(&["", "NULL", "a\"b", "c\\d", " {,} "]);
        assert_eq!(array(Form::Plain, strings).as_deref(), Ok(r#"{"","NULL","a\"b","c\\d"," {,} "}"#));
        let nested = Value::Array(vec![list(&["a"]), Value::Array(vec![Value::Null])]);
        assert_eq!(array(Form::Plain, nested).as_deref(), Ok(r#"{{"a"},{NULL}}"#));
        assert_eq!(array(Form::Plain, Value::Array(Vec::new())).as_deref(), Ok("{}"));
        for ragged in [
            vec![list(&["a"]), list(&["b", "c"])],
            vec![list(&["a"]), Value::text("b")],
            vec![Value::text("b"), list(&["a"])],
            vec![list(&["a"]), Value::Null],
            vec![list(&[])],
        ] {
            assert_eq!(array(Form::Plain, Value::Array(ragged)), Err(Misfit::Shape));
        }
        let deep = (0..7).fold(Value::text("x"), |inner, _| Value::Array(vec![inner]));
        assert_eq!(array(Form::Plain, deep), Err(Misfit::Shape));
    }

    #[test]
    fn what_would_be_cut_is_refused() {
        assert_eq!(literal(&Form::Name, &Value::text("ü".repeat(32))), Err(Misfit::Length));
        assert_eq!(literal(&Form::Char, &Value::text("ab")), Err(Misfit::Length));
        assert_eq!(array(Form::Name, list(&[&"x".repeat(64)])), Err(Misfit::Length));
        assert_eq!(text(Value::text("a\0b")), Err(Misfit::Nul));
        assert_eq!(text(Value::Map(vec![("a".into(), None), ("a".into(), None)])), Err(Misfit::Twice));
    }

    #[test]
    fn vectors_hold_their_numbers_exactly() {
        let of = |half, number| literal(&Form::Vector { half }, &Value::Array(vec![Value::Float64(number)]));
        assert_eq!(of(false, 1.5).as_deref(), Ok("[1.5e0]"));
        assert_eq!(of(false, 0.1), Err(Misfit::Range));
        assert_eq!(of(false, f64::NAN), Err(Misfit::Range));
        for exact in [0.0, -1.5, 2048.0, 65_504.0, 2_f64.powi(-24), 3.0 * 2_f64.powi(-24), 0.25 + 2_f64.powi(-12)] {
            assert!(of(true, exact).is_ok(), "{exact}");
        }
        for other in [2049.0, 65_536.0, 2_f64.powi(-25), 0.25 + 2_f64.powi(-13)] {
            assert_eq!(of(true, other), Err(Misfit::Range), "{other}");
        }
        let sparse = Value::SparseVector { dimensions: 9, elements: vec![(0, 1.5), (3, -2.0)] };
        assert_eq!(literal(&Form::SparseVector, &sparse).as_deref(), Ok("{1:1.5e0,4:-2e0}/9"));
    }

    #[test]
    fn shapes_carry_their_reference_system() {
        let little = Bytes::from_static(&[1, 1, 0, 0, 0, 7]);
        let big = Bytes::from_static(&[0, 0, 0, 0, 1, 7]);
        let of = |srid, wkb: &Bytes| text(Value::Geometry { srid, wkb: wkb.clone() });
        assert_eq!(of(None, &little).as_deref(), Ok("010100000007"));
        assert_eq!(of(Some(4326), &little).as_deref(), Ok("0101000020e610000007"));
        assert_eq!(of(Some(4326), &big).as_deref(), Ok("0020000001000010e607"));
        assert_eq!(of(None, &Bytes::from_static(&[1, 1, 0])), Err(Misfit::Binary));
        assert_eq!(of(Some(1), &Bytes::from_static(&[1, 1, 0, 0, 0x20, 7])), Err(Misfit::Binary));
    }

    #[test]
    fn a_field_of_copy_is_escaped() {
        let mut out = BytesMut::new();
        put_copy_field(&mut out, &Form::Plain, &Value::text("a\tb\\.\nc\r")).expect("text");
        put_copy_field(&mut out, &Form::Plain, &Value::Null).expect("null");
        put_copy_field(&mut out, &Form::Plain, &Value::bytes(&[0, 255])).expect("bytes");
        assert_eq!(&out[..], b"a\\tb\\\\.\\nc\\r\\N\\\\x00ff");
    }
}
