//! Cells on their way into columns of every type, and from there into the wire form of PostgreSQL.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::copy::{self, check_written};
use super::{bounded, fuzz};
use crate::core::decode::{Binary, CellRules, PlainDecimal, PlainRules, PlainTime, fit_cell, nearest_cell};
use crate::core::dialect::Dialect;
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::value::Value;
use crate::core::wire::{Declared, Field, Geometry, Structured, Unit, WireType};
use crate::support::mutate::{self, Tape, VALUES};

fn column(tape: &mut Tape<'_>) -> ColumnType {
    let digits = *tape.pick(&[0, 3, 6]);
    let limit = *tape.pick(&[None, Some((10, 2)), Some((1000, 1000)), Some((3, -3)), Some((2, 5)), Some((65, 30))]);
    match tape.below(26) {
        0 => ColumnType::Bool,
        1 => ColumnType::Int { bits: *tape.pick(&[8, 16, 24, 32, 64]), unsigned: tape.one_in(2) },
        2 => ColumnType::Float32,
        3 => ColumnType::Float64,
        4 => ColumnType::Decimal { limit },
        5 => ColumnType::Text { max_chars: *tape.pick(&[None, Some(3), Some(0)]) },
        6 => ColumnType::Bytes { max_bytes: *tape.pick(&[None, Some(4)]) },
        7 => ColumnType::Date,
        8 => ColumnType::Time { digits },
        9 => ColumnType::Timestamp { digits },
        10 => ColumnType::TimestampTz { digits },
        11 => ColumnType::Uuid,
        12 => ColumnType::Json,
        13 => ColumnType::TimeSpan { digits },
        14 => ColumnType::TimeTz { digits },
        15 => ColumnType::Interval { digits },
        16 => ColumnType::Year,
        17 => ColumnType::Bits { length: *tape.pick(&[None, Some(1), Some(64)]), varying: tape.one_in(2) },
        18 => ColumnType::Choice { labels: vec!["a".into(), "'b,".into(), String::new()], several: tape.one_in(2) },
        19 => ColumnType::Array { element: Box::new(column(tape)) },
        20 => ColumnType::Map,
        21 => ColumnType::Point,
        22 => ColumnType::Geometry { srid: *tape.pick(&[None, Some(4326)]) },
        23 => ColumnType::Vector { dimensions: *tape.pick(&[None, Some(3)]) },
        24 => ColumnType::SparseVector { dimensions: *tape.pick(&[None, Some(3)]) },
        _ => ColumnType::Literal,
    }
}

fn wire(tape: &mut Tape<'_>) -> WireType {
    let unit = *tape.pick(&[Unit::Millis, Unit::Micros, Unit::Nanos]);
    let scale = *tape.pick(&[0, 2, -2, 38, 20_000, i32::MAX, i32::MIN]);
    let length = *tape.pick(&[None, Some(0), Some(1), Some(64), Some(65), Some(100_000_000), Some(u32::MAX)]);
    match tape.below(36) {
        0 => WireType::Bool,
        1 => WireType::Int { bits: *tape.pick(&[8, 16, 32, 64]) },
        2 => WireType::Float32,
        3 => WireType::Float64,
        4 => WireType::Text,
        5 => WireType::Bytes,
        6 => WireType::Decimal { scale, precision: *tape.pick(&[None, Some(10)]) },
        7 => WireType::VariableDecimal,
        8 => WireType::Date,
        9 => WireType::Time(unit),
        10 => WireType::Timestamp(unit),
        11 => WireType::ZonedTimestamp,
        12 => WireType::Year,
        13 => WireType::Uuid,
        14 => WireType::Json,
        15 => WireType::Xml,
        16 => WireType::Enum,
        17 => WireType::EnumSet,
        18 => WireType::ZonedTime,
        19 => WireType::Interval,
        20 => WireType::Duration(unit),
        21 => WireType::IsoDate,
        22 => WireType::IsoTime,
        23 => WireType::IsoTimestamp,
        24 => WireType::Structured(*tape.pick(&[
            Structured::Date,
            Structured::Time,
            Structured::Timestamp,
            Structured::ZonedTime,
            Structured::ZonedTimestamp,
            Structured::Duration,
        ])),
        25 => WireType::Bits { length },
        26 => WireType::Geometry(*tape.pick(&[Geometry::Point, Geometry::Geometry, Geometry::Geography])),
        27 => WireType::Circle,
        28 => WireType::Line,
        29 => WireType::Ltree,
        30 => WireType::Tsvector,
        31 => WireType::Vector { double: tape.one_in(2) },
        32 => WireType::SparseVector,
        33 => WireType::Array(Box::new(wire(tape))),
        34 => WireType::Map,
        _ => WireType::Untyped,
    }
}

fn rules(tape: &mut Tape<'_>) -> CellRules {
    let plain = PlainRules {
        decimal: *tape.pick(&[None, Some(PlainDecimal::Base64), Some(PlainDecimal::Text)]),
        time: *tape.pick(&[
            None,
            Some(PlainTime::Adaptive),
            Some(PlainTime::AdaptiveTimeMicros),
            Some(PlainTime::Millis),
            Some(PlainTime::Micros),
            Some(PlainTime::Nanos),
        ]),
    };
    CellRules {
        plain,
        binary: *tape.pick(&[None, Some(Binary::Hex), Some(Binary::Base64), Some(Binary::Base64Url)]),
        dialect: *tape.pick(&[None, Some(Dialect::Postgres), Some(Dialect::Mysql), Some(Dialect::Sqlite)]),
        ..CellRules::default()
    }
}

/// A cell becomes a value of the column's kind or is refused, the same every time, and what is chosen in its place fits the column.
pub(super) fn check_cell(cell: &RawValue, field: &Field, owner: &Bytes, tape: &mut Tape<'_>) {
    let (column, rules) = (column(tape), rules(tape));
    let fitted = fit_cell(cell, field, &column, &rules, owner);
    let again = fit_cell(cell, field, &column, &rules, owner);
    assert_eq!(format!("{fitted:?}"), format!("{again:?}"), "the same cell is another value");
    if let Ok(value) = fitted {
        check_value(&value, &column);
        assert_eq!(value.is_null(), cell.get() == "null", "{:?} of {field:?} into {column:?}", value);
    }
    if let Some(value) = nearest_cell(cell, field, &column, &rules, owner) {
        check_value(&value, &column);
    }
}

fn check_value(value: &Value, column: &ColumnType) {
    let json = text::json(value);
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok(), "{column:?}: {json} is no JSON");
    for kind in copy::kinds(column) {
        check_written(kind, value);
    }
}

fn any_cell(bytes: &[u8]) {
    let tape = &mut Tape::new(bytes);
    let declared = tape.one_in(3).then(|| Declared {
        kind: (*tape.pick(&["BIGINT UNSIGNED", "VARBIT", "BIT", "NUMERIC", "YEAR", "_INT4"])).to_owned(),
        length: *tape.pick(&[None, Some(1), Some(u32::MAX)]),
        scale: *tape.pick(&[None, Some(2), Some(i32::MIN)]),
    });
    let field = Field { declared, ..Field::new("c", wire(tape), true) };
    let text = match tape.below(3) {
        0 => (*tape.pick(VALUES)).to_owned(),
        1 => format!("{}", tape.number().cast_signed() >> tape.below(64)),
        _ => {
            let value: &&str = tape.pick(VALUES);
            String::from_utf8_lossy(&mutate::json(value, tape)).into_owned()
        }
    };
    let owner = Bytes::from(text);
    let Ok(cell) = serde_json::from_slice::<&RawValue>(&owner) else { return };
    bounded(owner.len(), 400, 4 << 20, || check_cell(cell, &field, &owner, tape));
}

fuzz!(cells_of_every_type, any_cell);
