//! Every wire type into columns of every type: exact, or refused.

mod edges;

use proptest::prelude::*;

use super::*;
use crate::core::calendar::{DAY_MICROS, parse_interval, parse_moment, parse_span};
use crate::core::decimal;
use crate::core::geometry as wkb;
use crate::core::text;
use crate::core::wire::{Geometry, Structured, Unit};

fn fitted(json: &str, wire: WireType, column: ColumnType, rules: &CellRules) -> Result<Value, Misfit> {
    let owner = Bytes::from(json.to_owned());
    let cell: &RawValue = serde_json::from_slice(&owner).expect(json);
    fit_cell(cell, &Field::new("c", wire, true), &column, rules, &owner)
}

fn typed(json: &str, wire: WireType, column: ColumnType) -> Result<Value, Misfit> {
    fitted(json, wire, column, &CellRules::default())
}

fn as_text(json: &str, wire: WireType) -> String {
    match typed(json, wire, TEXT) {
        Ok(Value::Text(text)) => text.to_string(),
        other => format!("{other:?}"),
    }
}

const TIME: ColumnType = ColumnType::Time { digits: 6 };
const SPAN: ColumnType = ColumnType::TimeSpan { digits: 6 };
const STAMP: ColumnType = ColumnType::Timestamp { digits: 6 };
const INSTANT: ColumnType = ColumnType::TimestampTz { digits: 6 };
const INTERVAL: ColumnType = ColumnType::Interval { digits: 6 };
const NUMERIC: ColumnType = ColumnType::Decimal { limit: None };
const UNSIGNED: ColumnType = ColumnType::Int { bits: 64, unsigned: true };

fn bigint() -> ColumnType {
    ColumnType::Int { bits: 64, unsigned: false }
}

fn list_of(element: ColumnType) -> ColumnType {
    ColumnType::Array { element: Box::new(element) }
}

fn columns() -> Vec<ColumnType> {
    let digits = [0, 3, 6];
    let int = |bits, unsigned| ColumnType::Int { bits, unsigned };
    let mut all = vec![
        ColumnType::Bool,
        ColumnType::Float32,
        ColumnType::Float64,
        NUMERIC,
        ColumnType::Decimal { limit: Some((10, 2)) },
        ColumnType::Text { max_chars: Some(3) },
        ColumnType::Bytes { max_bytes: None },
        ColumnType::Date,
        ColumnType::Year,
        ColumnType::Uuid,
        ColumnType::Json,
        ColumnType::Map,
        ColumnType::Literal,
        ColumnType::Bits { length: Some(12), varying: false },
        ColumnType::Bits { length: None, varying: true },
        ColumnType::Choice { labels: vec!["a".into(), "1".into()], several: true },
        list_of(bigint()),
        ColumnType::Vector { dimensions: None },
    ];
    all.extend([8, 16, 24, 32, 64].into_iter().flat_map(|bits| [int(bits, false), int(bits, true)]));
    for digits in digits {
        all.extend([
            ColumnType::Time { digits },
            ColumnType::TimeSpan { digits },
            ColumnType::TimeTz { digits },
            ColumnType::Timestamp { digits },
            ColumnType::TimestampTz { digits },
            ColumnType::Interval { digits },
        ]);
    }
    all
}

/// The numbers of a vector.
fn singles(elements: &[Value]) -> Option<Vec<f64>> {
    let number = |element: &Value| match element {
        Value::Float32(number) => Some(f64::from(*number)),
        _ => None,
    };
    elements.iter().map(number).collect()
}

/// Whether two texts say the same in the forms that columns have.
fn same(text: &str, written: &str, value: &Value) -> bool {
    let number = |text: &str| {
        decimal::from_notation(match text {
            "true" => "1",
            "false" => "0",
            other => other,
        })
    };
    let moment = |text: &str| {
        let full = if text.contains(' ') { text.to_owned() } else { format!("{text} 00:00:00") };
        parse_moment(full.trim_end_matches("+00"))
    };
    let span = |text: &str| {
        let clock = parse_span(text.trim_end_matches("+00:00")).map(i128::from);
        clock.or_else(|| parse_interval(text).filter(|span| (span.months, span.days) == (0, 0)).map(|span| span.nanos))
    };
    let equal = |a: Option<String>, b: Option<String>| a.zip(b).is_some_and(|(a, b)| decimal::equal(&a, &b));
    text == written
        || equal(number(text), number(written))
        || moment(text).is_some_and(|moment_of| Some(moment_of) == moment(written))
        || span(text).is_some_and(|span_of| Some(span_of) == span(written))
        // Single precision in a double column.
        || matches!(value, Value::Float64(wide) if text.parse() == Ok(*wide as f32) && f64::from(*wide as f32) == *wide)
        // A number that the shortest digits do not show in full.
        || matches!(value, Value::Float32(short) if equal(number(text), number(&format!("{short:.149}"))))
        || matches!(value, Value::Float64(wide) if equal(number(text), number(&format!("{wide:.1074}"))))
        || matches!(value, Value::Array(elements) if serde_json::from_str(text).ok() == singles(elements))
        // Bits as a number.
        || u128::from_str_radix(text, 2).is_ok_and(|bits| written == bits.to_string())
        // A span as the number that the connector sent.
        || span(text).is_some_and(|span| decimal::equal(written, &(span / 1000).to_string()))
        // Whatever a number looks like in text.
        || (matches!(value, Value::Float32(_) | Value::Float64(_)) && text.to_lowercase() == written.to_lowercase())
        || serde_json::from_str::<serde_json::Value>(text).is_ok_and(|document| serde_json::from_str(written).ok() == Some(document))
        || text::parse_uuid(text).is_some_and(|uuid| *value == Value::Uuid(uuid))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Invariant 6: a cell is what it was, in text and in every column that takes it; else it is refused.
    #[test]
    fn a_value_is_exact_or_refused(cell in edges::cells()) {
        let canonical = as_text(&cell.json, cell.wire.clone());
        prop_assert_eq!(&canonical, &cell.text, "{:?}", cell);
        for column in columns() {
            let Ok(value) = typed(&cell.json, cell.wire.clone(), column.clone()) else { continue };
            let bytes = matches!(value, Value::Bytes(_));
            let written = text::of(value.clone()).map(|text| text.to_string()).unwrap_or_default();
            prop_assert!(bytes || same(&cell.text, &written, &value), "{:?} became {} in {:?}", cell, written, column);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// A value that fits its column has no other one near it than itself.
    #[test]
    fn the_nearest_value_fits(cell in edges::cells()) {
        let owner = Bytes::from(cell.json.clone());
        let raw: &RawValue = serde_json::from_slice(&owner).expect("json");
        let field = Field::new("c", cell.wire.clone(), true);
        for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
            let rules = CellRules { dialect: Some(dialect), ..CellRules::default() };
            for column in columns() {
                let nearest = nearest_cell(raw, &field, &column, &rules, &owner);
                let (Some(nearest), Ok(exact)) = (nearest, fit_cell(raw, &field, &column, &rules, &owner)) else { continue };
                prop_assert!(nearest == exact || format!("{nearest:?}") == format!("{exact:?}"), "{:?} in {:?}", cell, column);
            }
        }
    }

    /// Whatever stands in a cell: an answer, never a panic.
    #[test]
    fn no_cell_panics(text in any::<String>(), number in any::<i64>(), cell in edges::cells()) {
        let all = [
            WireType::Time(Unit::Nanos), WireType::Timestamp(Unit::Millis), WireType::ZonedTime, WireType::Interval, WireType::IsoTime,
            WireType::Structured(Structured::Duration), WireType::Bits { length: Some(9) }, WireType::Geometry(Geometry::Point),
            WireType::Circle, WireType::SparseVector, WireType::Map, WireType::Vector { double: true }, WireType::Untyped,
            WireType::VariableDecimal, WireType::Year, WireType::Duration(Unit::Millis),
        ];
        for json in [text::quoted(&text), number.to_string(), cell.json, format!("[{number},null,[]]"), format!("{{\"x\":{number}}}")] {
            for wire in &all {
                for column in columns() {
                    let _ = typed(&json, wire.clone(), column);
                }
            }
        }
    }
}

/// Invariant 6: a number beyond its type is an error, never infinity.
#[test]
fn numbers_beyond_their_type_are_refused() {
    let fit = |json, wire| typed(json, wire, ColumnType::Float64);
    for (json, wire) in [("1e400", WireType::Float64), ("-1e400", WireType::Float64), ("1e39", WireType::Float32)] {
        assert!(matches!(fit(json, wire), Err(Misfit::Undecodable(_))), "{json}");
    }
    assert_eq!(fit("\"Infinity\"", WireType::Float64), Ok(Value::Float64(f64::INFINITY)));
    assert_eq!(fit("1e308", WireType::Float64), Ok(Value::Float64(1e308)));
}

#[test]
fn large_unsigned_numbers_come_as_their_complement() {
    let owner = Bytes::from_static(b"-1");
    let cell: &RawValue = serde_json::from_slice(&owner).expect("json");
    let kind = |kind: &str| Some(Declared { kind: kind.to_owned(), length: None, scale: None });
    let mut field = Field::new("c", WireType::Int { bits: 64 }, true);
    let fit = |field: &Field, column| fit_cell(cell, field, &column, &CellRules::default(), &owner);
    let Err(Misfit::DoesNotFit(why)) = fit(&field, UNSIGNED) else { panic!("refused") };
    assert!(why.contains("bigint.unsigned.handling.mode=precise"), "{why}");
    assert_eq!(fit(&field, bigint()), Ok(Value::Int(-1)));
    field.declared = kind("BIGINT UNSIGNED");
    assert_eq!(fit(&field, UNSIGNED), Ok(Value::UInt(u64::MAX)));
    assert_eq!(fit(&field, NUMERIC), Ok(Value::Decimal("18446744073709551615".into())));
    assert_eq!(fit(&field, TEXT), Ok(Value::text("18446744073709551615")));
    assert!(fit(&field, bigint()).is_err());
    field.declared = kind("BIGINT");
    assert!(fit(&field, UNSIGNED).is_err());
}

#[test]
fn infinite_times_are_known_by_their_numbers() {
    let late = |wire, json, column| typed(json, wire, column).ok();
    let stamp = |unit| WireType::Timestamp(unit);
    assert_eq!(late(stamp(Unit::Micros), "-9223372036832400000", STAMP), Some(Value::Timestamp(i64::MIN)));
    assert_eq!(
        late(stamp(Unit::Millis), "9223372036825200", ColumnType::Timestamp { digits: 3 }),
        Some(Value::Timestamp(i64::MAX))
    );
    assert_eq!(late(stamp(Unit::Nanos), "9223372036854775807", STAMP), Some(Value::Timestamp(i64::MAX)));
    assert_eq!(late(WireType::ZonedTimestamp, "\"-infinity\"", INSTANT), Some(Value::TimestampTz(i64::MIN)));
    assert_eq!(late(WireType::Date, "-2147472691", ColumnType::Date), Some(Value::Date(i32::MIN)));
    assert_eq!(as_text("-2147472692", WireType::Date), "infinity");
    assert_eq!(as_text("9223372036825200000", stamp(Unit::Micros)), "infinity");
    // As snapshots send them, and what overflowed in the connector.
    for (wire, json) in [
        (WireType::Date, "-625821272"),
        (stamp(Unit::Micros), "-9223372036853775810"),
        (stamp(Unit::Micros), "9223372036854775807"),
        (WireType::Duration(Unit::Micros), "9223372036854775807"),
        (WireType::Duration(Unit::Micros), "-9223372036854775808"),
    ] {
        assert!(as_text(json, wire.clone()).contains("DoesNotFit"), "{json} as {wire}");
    }
    let mysql = CellRules { dialect: Some(Dialect::Mysql), ..CellRules::default() };
    assert!(fitted("-2147472692", WireType::Date, ColumnType::Date, &mysql).is_err());
    assert!(fitted("2932897", WireType::Date, ColumnType::Date, &mysql).is_err());
    assert!(fitted("2932896", WireType::Date, ColumnType::Date, &mysql).is_ok());
}

/// What a destination does not have is refused with a column's name, so that `on_unrepresentable` can decide.
#[test]
fn numbers_that_a_destination_lacks_do_not_fit() {
    let nothing_fits = |dialect, json, wire: WireType, column| {
        let rules = CellRules { dialect: Some(dialect), ..CellRules::default() };
        matches!(fitted(json, wire, column, &rules), Err(Misfit::DoesNotFit(_)))
    };
    for column in [ColumnType::Float32, ColumnType::Float64, ColumnType::Decimal { limit: Some((5, 2)) }] {
        for (json, wire) in
            [("\"NaN\"", WireType::Float64), ("\"-Infinity\"", WireType::Float32), ("\"NaN\"", WireType::Text)]
        {
            assert!(nothing_fits(Dialect::Mysql, json, wire.clone(), column.clone()), "{json} {wire:?} {column:?}");
            assert!(!nothing_fits(Dialect::Mysql, "1.5", WireType::Float64, column.clone()));
        }
    }
    assert!(nothing_fits(Dialect::Sqlite, "\"NaN\"", WireType::Float64, ColumnType::Float64));
    assert!(!nothing_fits(Dialect::Sqlite, "\"Infinity\"", WireType::Float64, ColumnType::Float64));
    assert!(!nothing_fits(Dialect::Postgres, "\"NaN\"", WireType::Float64, ColumnType::Float64));
}

#[test]
fn times_keep_every_digit_or_are_refused() {
    let nanos = |column| typed("1", WireType::Timestamp(Unit::Nanos), column);
    assert_eq!(nanos(STAMP), Err(FINER));
    assert_eq!(nanos(TEXT), Ok(Value::text("1970-01-01 00:00:00.000000001")));
    assert_eq!(
        as_text("\"1969-12-31T22:00:00.000000001-02:00\"", WireType::ZonedTimestamp),
        "1970-01-01 00:00:00.000000001+00"
    );
    assert_eq!(typed("\"1969-12-31T22:00:00.000000001-02:00\"", WireType::ZonedTimestamp, INSTANT), Err(FINER));
    assert_eq!(as_text("\"+21016-11-04T00:00:00Z\"", WireType::ZonedTimestamp), "21016-11-04 00:00:00+00");
    assert_eq!(as_text("\"-4713-12-31T00:00:00Z\"", WireType::ZonedTimestamp), "-4713-12-31 00:00:00+00");
    assert_eq!(typed("86400000000", WireType::Time(Unit::Micros), TIME), Ok(Value::Time(DAY_MICROS)));
    for (json, column, fits) in [
        ("-1000000", TIME, false),
        ("-1000000", SPAN, true),
        ("-1000000", INTERVAL, true),
        ("3020399000000", SPAN, true),
        ("3020400000000", SPAN, false),
        ("3020400000000", INTERVAL, true),
        ("86400000001", TIME, false),
    ] {
        assert_eq!(typed(json, WireType::Time(Unit::Micros), column.clone()).is_ok(), fits, "{json} in {column:?}");
    }
    let zoned = |json, column| typed(json, WireType::ZonedTime, column);
    assert_eq!(zoned("\"04:05:06.12+02:00\"", TEXT), Ok(Value::text("04:05:06.12+02:00")));
    assert_eq!(zoned("\"04:05:06Z\"", TIME), Ok(Value::Time(14_706_000_000)));
    assert!(zoned("\"04:05:06+02:00\"", TIME).is_err());
    assert_eq!(typed("\"2024-01-02Z\"", WireType::IsoDate, ColumnType::Date), Ok(Value::Date(19_724)));
    assert_eq!(typed("\"2024-01-02\"", WireType::IsoDate, ColumnType::Date), Ok(Value::Date(19_724)));
    assert_eq!(typed("\"1970-01-01T00:00:01Z\"", WireType::IsoTimestamp, STAMP), Ok(Value::Timestamp(1_000_000)));
    assert!(typed("\"1970-01-01T00:00:01Z\"", WireType::IsoTimestamp, INSTANT).is_err());
}

#[test]
fn structured_times_are_exact() {
    let date = |month, day| format!("{{\"year\":2024,\"month\":{month},\"day\":{day},\"specialValue\":null}}");
    let kind = WireType::Structured;
    assert_eq!(typed(&date(1, 2), kind(Structured::Date), ColumnType::Date), Ok(Value::Date(19_724)));
    assert!(typed(&date(0, 10), kind(Structured::Date), ColumnType::Date).is_err());
    assert!(typed(&date(2, 30), kind(Structured::Date), ColumnType::Date).is_err());
    assert_eq!(as_text(&date(0, 10), kind(Structured::Date)), "2024-00-10");
    let zoned =
        r#"{"year":1970,"month":1,"day":1,"hour":2,"minute":0,"second":1,"picoseconds":5000000,"offsetSeconds":7200}"#;
    assert_eq!(typed(zoned, kind(Structured::ZonedTimestamp), INSTANT), Ok(Value::TimestampTz(1_000_005)));
    assert_eq!(
        as_text(&zoned.replace("5000000", "5001000"), kind(Structured::ZonedTimestamp)),
        "1970-01-01 00:00:01.000005001+00"
    );
    let endless = r#"{"year":null,"month":null,"day":null,"specialValue":"NEGATIVE_INFINITY"}"#;
    assert_eq!(typed(endless, kind(Structured::Timestamp), STAMP), Ok(Value::Timestamp(i64::MIN)));
    let span = r#"{"years":1,"months":-2,"days":3,"hours":4,"minutes":5,"seconds":6,"nanos":7000}"#;
    assert_eq!(
        typed(span, kind(Structured::Duration), INTERVAL),
        Ok(Value::Interval { months: 10, days: 3, micros: 14_706_000_007 })
    );
}

#[test]
fn durations_are_what_the_connector_counted() {
    let duration = |unit, column| typed("90061000001", WireType::Duration(unit), column);
    assert_eq!(duration(Unit::Micros, INTERVAL), Ok(Value::Interval { months: 0, days: 0, micros: 90_061_000_001 }));
    assert_eq!(duration(Unit::Micros, bigint()), Ok(Value::Int(90_061_000_001)));
    assert_eq!(duration(Unit::Nanos, bigint()), Ok(Value::Int(90_061_000_001)));
    assert_eq!(duration(Unit::Nanos, INTERVAL), Err(FINER));
    assert_eq!(as_text("90061000001", WireType::Duration(Unit::Nanos)), "PT1M30.061000001S");
    assert_eq!(as_text("90061000001", WireType::Duration(Unit::Micros)), "PT25H1M1.000001S");
    assert_eq!(as_text("\"P-1Y-2M3DT-4H-5M-6.7S\"", WireType::Interval), "P-1Y-2M3DT-4H-5M-6.7S");
}

#[test]
fn bits_are_little_endian_and_of_their_length() {
    let bits = |length| WireType::Bits { length };
    let column = |length, varying| ColumnType::Bits { length: Some(length), varying };
    // 0x0B38 in twelve bits.
    let value = Value::Bits { length: 12, bytes: Bytes::from_static(&[0b1011_0011, 0b1000_0000]) };
    assert_eq!(typed("\"OAs=\"", bits(Some(12)), column(12, false)), Ok(value));
    assert_eq!(as_text("\"OAs=\"", bits(Some(12))), "101100111000");
    assert_eq!(as_text("\"\"", bits(Some(2))), "00");
    assert!(typed("\"OAs=\"", bits(Some(11)), column(11, false)).is_err());
    assert!(typed("\"OAs=\"", bits(Some(12)), column(16, false)).is_err());
    assert_eq!(typed("\"OAs=\"", bits(Some(12)), bigint()), Ok(Value::Int(0xB38)));
    // The length of a varying value is not on the wire; bytes are taken as they come.
    assert!(typed("\"FQ==\"", bits(Some(20)), column(20, true)).is_err());
    assert!(typed("\"FQ==\"", bits(None), TEXT).is_err());
    assert_eq!(typed("\"FQ==\"", bits(None), ColumnType::Bytes { max_bytes: None }), Ok(Value::bytes(&[0x15])));
    let one = Value::Bits { length: 1, bytes: Bytes::from_static(&[0x80]) };
    assert_eq!(typed("true", WireType::Bool, column(1, false)), Ok(one));
    assert_eq!(typed("\"AQ==\"", bits(Some(1)), ColumnType::Bool), Ok(Value::Bool(true)));
}

#[test]
fn lists_and_maps_are_taken_whole_or_not_at_all() {
    let ints = || WireType::Array(Box::new(WireType::Int { bits: 32 }));
    let list = |json, column| typed(json, ints(), column);
    assert_eq!(
        list("[1,null,-3]", list_of(bigint())),
        Ok(Value::Array(vec![Value::Int(1), Value::Null, Value::Int(-3)]))
    );
    assert_eq!(list("[]", list_of(bigint())), Ok(Value::Array(Vec::new())));
    assert!(list("[1,300]", list_of(ColumnType::Int { bits: 8, unsigned: false })).is_err());
    assert_eq!(list("[1,null]", ColumnType::Json), Ok(Value::Json("[1,null]".into())));
    let nested = || WireType::Array(Box::new(ints()));
    assert!(typed("[[1,2],[3,4]]", nested(), list_of(bigint())).is_ok());
    for bad in ["[[1,2],[3]]", "[[1],null]", "[[],[]]"] {
        assert!(typed(bad, nested(), list_of(bigint())).is_err(), "{bad}");
        assert!(typed(bad, nested(), TEXT).is_ok(), "{bad}");
    }
    let decimals = WireType::Array(Box::new(WireType::Decimal { scale: 2, precision: None }));
    assert_eq!(as_text("[\"AJY=\",null]", decimals), r#"["1.50",null]"#);
    let map = r#"{"a":"1","b c":null}"#;
    let pairs = Value::Map(vec![("a".into(), Some("1".into())), ("b c".into(), None)]);
    assert_eq!(typed(map, WireType::Map, ColumnType::Map), Ok(pairs.clone()));
    assert_eq!(typed(&text::quoted(map), WireType::Json, ColumnType::Map), Ok(pairs));
    assert_eq!(as_text(map, WireType::Map), map);
    for bad in [r#"{"a":1}"#, r#"{"a":"1","a":"2"}"#, "[]"] {
        assert!(typed(bad, WireType::Map, ColumnType::Map).is_err(), "{bad}");
    }
    let vector = |dimensions| ColumnType::Vector { dimensions };
    let floats = Ok(Value::Array(vec![Value::Float32(0.1), Value::Float32(-2.0)]));
    assert_eq!(typed("[0.1,-2]", WireType::Vector { double: true }, vector(Some(2))), floats);
    assert!(typed("[0.1,-2]", WireType::Vector { double: false }, vector(Some(3))).is_err());
    assert!(typed("[0.1234567890123]", WireType::Vector { double: true }, vector(None)).is_err());
    let sparse = r#"{"dimensions":9,"vector":[[4,2.0],[1,1.5]]}"#;
    let expected = Value::SparseVector { dimensions: 9, elements: vec![(0, 1.5), (3, 2.0)] };
    assert_eq!(typed(sparse, WireType::SparseVector, ColumnType::SparseVector { dimensions: Some(9) }), Ok(expected));
    assert!(typed(&sparse.replace("[4,", "[0,"), WireType::SparseVector, TEXT).is_err());
}

#[test]
fn shapes_keep_their_reference_system() {
    let point = r#"{"x":1.5,"y":-2.25,"wkb":"AQEAAAAAAAAAAAD4PwAAAAAAAALA","srid":null}"#;
    let kind = || WireType::Geometry(Geometry::Point);
    let plain = Value::Geometry { srid: None, wkb: wkb::point(1.5, -2.25) };
    assert_eq!(typed(point, kind(), ColumnType::Point), Ok(plain.clone()));
    assert_eq!(typed(r#"{"x":1.5,"y":-2.25,"wkb":null}"#, kind(), ColumnType::Point), Ok(plain));
    assert!(typed(&point.replace("1.5", "1.6"), kind(), ColumnType::Point).is_err());
    let placed = point.replace("null", "4326");
    assert!(typed(&placed, kind(), ColumnType::Point).is_err());
    assert!(typed(&placed, kind(), ColumnType::Geometry { srid: Some(4326) }).is_ok());
    assert!(typed(&placed, kind(), ColumnType::Geometry { srid: Some(3857) }).is_err());
    let bytes = typed(&placed, kind(), ColumnType::Bytes { max_bytes: None });
    assert_eq!(bytes, Ok(Value::Bytes(wkb::ewkb(Some(4326), &wkb::point(1.5, -2.25)).into())));
    assert!(as_text(&placed, kind()).starts_with("0101000020e6100000"));
    let circle = r#"{"center":{"x":1.0,"y":2.5,"wkb":null,"srid":null},"radius":3.0}"#;
    assert_eq!(typed(circle, WireType::Circle, ColumnType::Literal), Ok(Value::text("<(1,2.5),3>")));
    assert_eq!(as_text(circle, WireType::Circle), r#"{"x":1,"y":2.5,"radius":3}"#);
    let line = r#"{"a":1.0,"b":-1.0,"c":0.5}"#;
    assert_eq!(typed(line, WireType::Line, ColumnType::Literal), Ok(Value::text("{1,-1,0.5}")));
}

#[test]
fn text_is_read_by_its_column_or_refused() {
    let text = |json: &str, column| typed(&text::quoted(json), WireType::Text, column);
    let bytes = ColumnType::Bytes { max_bytes: None };
    let says = |json: &str, binary| {
        fitted(
            &text::quoted(json),
            WireType::Text,
            bytes.clone(),
            &CellRules { binary: Some(binary), ..CellRules::default() },
        )
    };
    assert!(matches!(text("00ff", bytes.clone()), Err(Misfit::Undecided(_))));
    assert_eq!(says("00fF", Binary::Hex), Ok(Value::bytes(&[0, 255])));
    assert_eq!(says("AP8=", Binary::Base64), Ok(Value::bytes(&[0, 255])));
    assert_eq!(says("-_8=", Binary::Base64Url), Ok(Value::bytes(&[0xfb, 0xff])));
    assert!(
        says("0g", Binary::Hex).is_err() && says("000", Binary::Hex).is_err() && says("-_8=", Binary::Base64).is_err()
    );
    assert_eq!(text("NAN", NUMERIC), Ok(Value::Decimal("NaN".into())));
    assert_eq!(text("NEGATIVE_INFINITY", NUMERIC), Ok(Value::Decimal("-Infinity".into())));
    assert!(text("POSITIVE_INFINITY", ColumnType::Decimal { limit: Some((5, 2)) }).is_err());
    assert_eq!(text("1.2E3", ColumnType::Decimal { limit: Some((6, 2)) }), Ok(Value::Decimal("1200.00".into())));
    assert_eq!(text("0.1", ColumnType::Float32), Ok(Value::Float32(0.1)));
    assert!(text("0.12345678901", ColumnType::Float32).is_err());
    assert_eq!(text("-838:59:59", SPAN), Ok(Value::Time(-3_020_399_000_000)));
    assert_eq!(text("2024-01-02 03:04:05", STAMP), Ok(Value::Timestamp(1_704_164_645_000_000)));
    assert!(text("2024-01-02 03:04:05", INSTANT).is_err());
    assert_eq!(text("2024-01-02T00:00:00Z", ColumnType::Date), Ok(Value::Date(19_724)));
    assert!(text("2024-01-02T00:00:01Z", ColumnType::Date).is_err());
    assert_eq!(text("P1DT2H", INTERVAL), Ok(Value::Interval { months: 0, days: 1, micros: 7_200_000_000 }));
    assert_eq!(text("10.1.2.3/24", ColumnType::Literal), Ok(Value::text("10.1.2.3/24")));
    let choice = |several| ColumnType::Choice { labels: vec!["a".into(), "b".into()], several };
    assert!(text("a", choice(false)).is_ok() && text("b,a", choice(true)).is_ok() && text("", choice(true)).is_ok());
    assert!(
        text("A", choice(false)).is_err() && text("a,c", choice(true)).is_err() && text("", choice(false)).is_err()
    );
    assert_eq!(text("[1,2]", list_of(bigint())), Ok(Value::Array(vec![Value::Int(1), Value::Int(2)])));
    assert!(text("{1,2}", list_of(bigint())).is_err());
    for column in
        [ColumnType::Bool, bigint(), NUMERIC, TIME, STAMP, INSTANT, INTERVAL, ColumnType::Uuid, ColumnType::Json]
    {
        assert!(text("x", column.clone()).is_err(), "{column:?}");
    }
}

#[test]
fn the_nearest_value_is_what_the_table_says() {
    let mysql = CellRules { dialect: Some(Dialect::Mysql), ..CellRules::default() };
    let nearest = |json: &str, wire, column: ColumnType| {
        let owner = Bytes::from(json.to_owned());
        let cell: &RawValue = serde_json::from_slice(&owner).expect("json");
        nearest_cell(cell, &Field::new("c", wire, true), &column, &mysql, &owner)
    };
    let int = |bits, unsigned| ColumnType::Int { bits, unsigned };
    let decimal = || WireType::Decimal { scale: 2, precision: None };
    assert_eq!(nearest("300", WireType::Int { bits: 16 }, int(8, false)), Some(Value::Int(127)));
    assert_eq!(nearest("-300", WireType::Int { bits: 16 }, int(8, true)), Some(Value::Int(0)));
    assert_eq!(nearest("2.5", WireType::Float64, int(8, false)), Some(Value::Int(3)));
    assert_eq!(
        nearest("\"MDk=\"", decimal(), ColumnType::Decimal { limit: Some((3, 1)) }),
        Some(Value::Decimal("99.9".into()))
    );
    assert_eq!(nearest("\"NaN\"", WireType::Float64, int(8, false)), None);
    assert_eq!(nearest("\"NaN\"", WireType::Float64, ColumnType::Float64), None);
    assert_eq!(nearest("\"Infinity\"", WireType::Float64, ColumnType::Float64), Some(Value::Float64(f64::MAX)));
    assert_eq!(nearest("1e300", WireType::Float64, ColumnType::Float32), Some(Value::Float32(f32::MAX)));
    assert_eq!(nearest("\"äöüß\"", WireType::Text, ColumnType::Text { max_chars: Some(3) }), Some(Value::text("äöü")));
    assert_eq!(nearest("-2147472692", WireType::Date, ColumnType::Date), Some(Value::Date(2_932_896)));
    let last = 2_932_897 * DAY_MICROS - 1_000_000;
    assert_eq!(
        nearest("9223372036825200000", WireType::Timestamp(Unit::Micros), ColumnType::Timestamp { digits: 0 }),
        Some(Value::Timestamp(last))
    );
    assert_eq!(nearest("-1", WireType::Timestamp(Unit::Nanos), STAMP), Some(Value::Timestamp(-1)));
    assert_eq!(nearest("1999", WireType::Timestamp(Unit::Nanos), STAMP), Some(Value::Timestamp(1)));
    assert_eq!(nearest("-1", WireType::Time(Unit::Micros), TIME), Some(Value::Time(0)));
    assert_eq!(
        nearest("1999999", WireType::Time(Unit::Micros), ColumnType::Time { digits: 0 }),
        Some(Value::Time(1_000_000))
    );
    assert_eq!(nearest("\"x\"", WireType::Text, bigint()), None);
}
