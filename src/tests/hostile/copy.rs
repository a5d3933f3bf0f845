//! The binary form of COPY, read back by a reader of its own that was written from PostgreSQL's documentation.

use bytes::{Bytes, BytesMut};

use super::fuzz;
use crate::core::pgcopy::literal::{Form, put_copy_field};
use crate::core::pgcopy::{Misfit, PgType, put_bytes, put_field, put_header, put_row, put_trailer};
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::value::{INFINITE_DAY, INFINITE_TIME, Value};
use crate::support::mutate::{Tape, VALUES};

const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;

/// Types that are written for a column.
pub(super) fn kinds(column: &ColumnType) -> Vec<PgType> {
    match *column {
        ColumnType::Bool => vec![PgType::Bool],
        ColumnType::Int { .. } => vec![PgType::Int2, PgType::Int4, PgType::Int8, PgType::Oid],
        ColumnType::Float32 => vec![PgType::Float4, PgType::Float8],
        ColumnType::Float64 => vec![PgType::Float8],
        ColumnType::Decimal { limit } => vec![PgType::Numeric(limit)],
        ColumnType::Text { .. } => vec![PgType::Text, PgType::Name, PgType::Char],
        ColumnType::Bytes { .. } => vec![PgType::Bytea],
        ColumnType::Date => vec![PgType::Date],
        ColumnType::Time { digits } => vec![PgType::Time(digits)],
        ColumnType::TimeTz { digits } => vec![PgType::TimeTz(digits)],
        ColumnType::Interval { digits } => vec![PgType::Interval(digits)],
        ColumnType::Timestamp { digits } => vec![PgType::Timestamp(digits)],
        ColumnType::TimestampTz { digits } => vec![PgType::TimestampTz(digits)],
        ColumnType::Bits { .. } => vec![PgType::Bits],
        ColumnType::Point => vec![PgType::Point],
        ColumnType::Uuid => vec![PgType::Uuid],
        ColumnType::Json => vec![PgType::Json, PgType::Jsonb],
        _ => Vec::new(),
    }
}

/// A stream of rows as the documentation of COPY describes it.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> &'b [u8] {
        assert!(length <= self.0.len(), "the stream ends within a part of {length} bytes");
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn int16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().expect("two bytes"))
    }

    fn int32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn int64(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    /// All rows, each field its bytes; nothing may be left over.
    fn rows(mut self) -> Vec<Vec<Option<&'b [u8]>>> {
        assert_eq!(self.take(11), b"PGCOPY\n\xff\r\n\0", "the signature");
        assert_eq!((self.int32(), self.int32()), (0, 0), "no flags, no extension");
        let mut rows = Vec::new();
        loop {
            let fields = self.int16();
            if fields == -1 {
                assert!(self.0.is_empty(), "bytes behind the trailer");
                return rows;
            }
            assert!(fields >= 0, "a row of {fields} fields");
            rows.push((0..fields).map(|_| self.field()).collect());
        }
    }

    fn field(&mut self) -> Option<&'b [u8]> {
        match self.int32() {
            -1 => None,
            length => Some(self.take(usize::try_from(length).expect("a length that is not negative"))),
        }
    }
}

/// Digits of a NUMERIC, from its groups of four.
fn numeric(bytes: &[u8]) -> String {
    let mut reader = Reader(bytes);
    let (groups, weight) = (reader.int16(), reader.int16());
    let (sign, scale) = (reader.int16().cast_unsigned(), usize::try_from(reader.int16()).expect("a scale"));
    match sign {
        0xC000 => return "NaN".to_owned(),
        0xD000 => return "Infinity".to_owned(),
        0xF000 => return "-Infinity".to_owned(),
        sign => assert!(sign == 0 || sign == 0x4000, "sign {sign:#x}"),
    }
    let groups: Vec<i16> = (0..groups).map(|_| reader.int16()).collect();
    assert!(groups.iter().all(|group| (0..10_000).contains(group)), "a group beyond four digits");
    assert!(reader.0.is_empty(), "bytes behind the groups");
    let group = |at: i64| usize::try_from(at).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0);
    let weight = i64::from(weight);
    let whole: String = (0..=weight).map(|at| format!("{:04}", group(at))).collect();
    let places = scale.div_ceil(4) as i64;
    let fraction: String = (1..=places).map(|at| format!("{:04}", group(weight + at))).collect();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if scale > 0 { "." } else { "" };
    format!("{}{whole}{point}{}", if sign == 0 { "" } else { "-" }, &fraction[..scale])
}

/// What a field's bytes say, by PostgreSQL's documentation; the same as the value that was written.
fn assert_says(kind: PgType, bytes: &[u8], value: &Value) {
    let mut reader = Reader(bytes);
    let infinite = |number: i64, low: i64, high: i64| number == low || number == high;
    let holds = match (kind, value) {
        (PgType::Bool, Value::Bool(truth)) => reader.take(1) == [u8::from(*truth)],
        (PgType::Int2, value) => Some(i64::from(reader.int16())) == value.as_int(),
        (PgType::Int4, value) => Some(i64::from(reader.int32())) == value.as_int(),
        (PgType::Int8, value) => Some(reader.int64()) == value.as_int(),
        (PgType::Oid, value) => Some(i64::from(reader.int32().cast_unsigned())) == value.as_int(),
        (PgType::Float4, Value::Float32(number)) => reader.int32().cast_unsigned() == number.to_bits(),
        (PgType::Float8, Value::Float64(number)) => reader.int64().cast_unsigned() == number.to_bits(),
        (PgType::Float8, Value::Float32(number)) => reader.int64().cast_unsigned() == f64::from(*number).to_bits(),
        (PgType::Numeric(_), value) => {
            let digits = text::of(value.clone()).expect("digits");
            let read = numeric(reader.take(bytes.len()));
            crate::core::decimal::equal(&read, &digits)
        }
        (PgType::Bytea, Value::Bytes(raw)) => reader.take(bytes.len()) == &raw[..],
        (PgType::Uuid, Value::Uuid(raw)) => reader.take(16) == raw,
        (PgType::Date, Value::Date(days))
            if infinite(i64::from(*days), INFINITE_DAY.0.into(), INFINITE_DAY.1.into()) =>
        {
            matches!(reader.int32(), i32::MAX | i32::MIN)
        }
        (PgType::Date, Value::Date(days)) => i64::from(reader.int32()) + EPOCH_DAYS == i64::from(*days),
        (PgType::Time(_), Value::Time(micros)) => reader.int64() == *micros,
        (PgType::TimeTz(_), Value::TimeTz { micros, offset }) => {
            (reader.int64(), reader.int32()) == (*micros, -*offset)
        }
        (PgType::Interval(_), Value::Interval { months, days, micros }) => {
            (reader.int64(), reader.int32(), reader.int32()) == (*micros, *days, *months)
        }
        (PgType::Timestamp(_) | PgType::TimestampTz(_), Value::Timestamp(micros) | Value::TimestampTz(micros)) => {
            let number = reader.int64();
            if infinite(*micros, INFINITE_TIME.0, INFINITE_TIME.1) {
                matches!(number, i64::MAX | i64::MIN)
            } else {
                number + EPOCH_MICROS == *micros
            }
        }
        (PgType::Bits, Value::Bits { length, bytes }) => {
            u32::try_from(reader.int32()) == Ok(*length) && reader.take(bytes.len()) == &bytes[..]
        }
        (PgType::Point, Value::Geometry { wkb, .. }) => {
            let (x, y) = crate::core::geometry::coordinates(wkb).expect("a point");
            (reader.int64().cast_unsigned(), reader.int64().cast_unsigned()) == (x.to_bits(), y.to_bits())
        }
        (PgType::Jsonb, value) => {
            reader.take(1) == [1] && Some(reader.take(bytes.len() - 1)) == value.as_text().map(str::as_bytes)
        }
        (PgType::Char, value) if value.as_text() == Some("") => reader.take(1) == [0],
        (_, value) => Some(reader.take(bytes.len())) == value.as_text().map(str::as_bytes),
    };
    assert!(holds && reader.0.is_empty(), "{kind:?} is not what was written: {value:?} as {bytes:02x?}");
}

/// A value as a field of a row: its bytes say the value, or it is refused and nothing was written.
pub(super) fn check_written(kind: PgType, value: &Value) {
    let mut out = BytesMut::from(&b"x"[..]);
    match put_field(&mut out, kind, value) {
        Err(_) => assert_eq!(&out[..], b"x", "a refused value leaves nothing behind"),
        Ok(()) => match Reader(&out[1..]).field() {
            None => assert!(value.is_null()),
            Some(bytes) => {
                assert_eq!(bytes.len() + 5, out.len(), "bytes behind the field");
                assert_says(kind, bytes, value);
            }
        },
    }
}

fn any_kind(tape: &mut Tape<'_>) -> PgType {
    let digits = *tape.pick(&[0, 3, 6]);
    let limit = *tape.pick(&[None, Some((5, 2)), Some((1000, 0)), Some((2, -3)), Some((2, 4))]);
    *tape.pick(&[
        PgType::Bool,
        PgType::Int2,
        PgType::Int4,
        PgType::Int8,
        PgType::Oid,
        PgType::Float4,
        PgType::Float8,
        PgType::Numeric(limit),
        PgType::Numeric(None),
        PgType::Text,
        PgType::Name,
        PgType::Char,
        PgType::Bytea,
        PgType::Bits,
        PgType::Point,
        PgType::Date,
        PgType::Time(digits),
        PgType::TimeTz(digits),
        PgType::Interval(digits),
        PgType::Timestamp(digits),
        PgType::TimestampTz(digits),
        PgType::Uuid,
        PgType::Json,
        PgType::Jsonb,
    ])
}

fn any_value(tape: &mut Tape<'_>) -> Value {
    let number = tape.number().cast_signed() >> tape.below(64);
    let small = number as i32;
    let digits = || format!("{number}.{}", "0".repeat(usize::from(small.cast_unsigned() as u8)));
    let words = String::from_utf8_lossy(tape.clone().take(24)).into_owned();
    match tape.below(22) {
        0 => Value::Null,
        1 => Value::Bool(small & 1 == 1),
        2 => Value::Int(number),
        3 => Value::UInt(number.cast_unsigned()),
        4 => Value::Float32(f32::from_bits(small.cast_unsigned())),
        5 => Value::Float64(f64::from_bits(tape.number())),
        6 => Value::Decimal(digits().trim_end_matches('.').to_owned().into()),
        7 => {
            Value::Decimal((*tape.pick(&["NaN", "Infinity", "-Infinity", "", "-", "1.", ".5", "1e5", "-0.000"])).into())
        }
        8 => Value::text(words),
        9 => Value::text((*tape.pick(VALUES)).to_owned()),
        10 => Value::bytes(tape.take(40)),
        11 => Value::Date(small),
        12 => Value::Time(number),
        13 => Value::Timestamp(number),
        14 => Value::TimestampTz(number),
        15 => Value::Uuid([tape.byte(); 16]),
        16 => Value::Json(words.into()),
        17 => Value::TimeTz { micros: number, offset: tape.number() as i32 },
        18 => Value::Interval { months: small, days: tape.number() as i32, micros: number },
        19 => {
            let bytes = Bytes::copy_from_slice(tape.take(tape.clone().below(9)));
            Value::Bits { length: (8 * bytes.len() as u32).saturating_sub(tape.below(8) as u32), bytes }
        }
        20 => Value::Geometry { srid: Some(small), wkb: Bytes::copy_from_slice(tape.take(21)) },
        _ => Value::Array((0..tape.below(4)).map(|_| Value::Int(number)).collect()),
    }
}

/// Rows of any values: refused fields are left out, as they never reach a stream; the rest is read back field by field.
fn any_rows(bytes: &[u8]) {
    let tape = &mut Tape::new(bytes);
    let mut out = BytesMut::new();
    put_header(&mut out);
    let mut written: Vec<Vec<(Option<PgType>, Value)>> = Vec::new();
    for _ in 0..tape.below(6) {
        let mut fields = BytesMut::new();
        let mut row = Vec::new();
        for _ in 0..tape.below(8) {
            let (kind, value) = (any_kind(tape), any_value(tape));
            check_written(kind, &value);
            if put_field(&mut fields, kind, &value).is_ok() {
                row.push((Some(kind), value));
            } else if let Value::Bytes(raw) = &value {
                put_bytes(&mut fields, raw).expect("short bytes");
                row.push((None, value));
            }
        }
        put_row(&mut out, row.len() as u16);
        out.extend_from_slice(&fields);
        written.push(row);
    }
    put_trailer(&mut out);
    let rows = Reader(&out).rows();
    assert_eq!(rows.len(), written.len());
    for (read, row) in rows.iter().zip(&written) {
        assert_eq!(read.len(), row.len());
        for (bytes, (kind, value)) in read.iter().zip(row) {
            match (bytes, kind) {
                (None, _) => assert!(value.is_null()),
                (Some(bytes), Some(kind)) => assert_says(*kind, bytes, value),
                (Some(bytes), None) => assert_eq!(Some(*bytes), value.as_bytes()),
            }
        }
    }
}

fuzz!(rows_of_copy, any_rows);

/// The text form of a field: one field on one line, whatever it holds; what ends it stands escaped.
fn any_text_field(bytes: &[u8]) {
    let tape = &mut Tape::new(bytes);
    let name: &&str = tape.pick(&["text", "json", "inet", "int4range", "_text", "hstore"]);
    let form = Form::of_name(name);
    let value = any_value(tape);
    let mut out = BytesMut::new();
    match put_copy_field(&mut out, &form, &value) {
        Err(Misfit::Range | Misfit::Kind | Misfit::Nul | Misfit::Length | Misfit::Shape | Misfit::Twice) => {}
        Err(other) => assert!(!other.to_string().is_empty()),
        Ok(()) => {
            let ends = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0);
            assert!(!out.iter().any(ends), "{form:?} {value:?}: {out:?} is more than a field");
            assert_eq!(&out[..] == b"\\N", value.is_null(), "{form:?} {value:?}: {out:?}");
            let text = String::from_utf8(out.to_vec()).expect("text");
            let slashes = text.bytes().rev().take_while(|byte| *byte == b'\\').count();
            assert!(slashes % 2 == 0, "{text:?} would take the separator with it");
        }
    }
}

fuzz!(fields_of_copy_as_text, any_text_field);
