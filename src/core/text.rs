//! Canonical texts of values: what a text column gets, and what databases without a type of that kind store.
//!
//! | value | text |
//! |---|---|
//! | truth value | `true`, `false` |
//! | floating point | the shortest digits that are read back as the same number, `NaN`, `Infinity`, `-Infinity` |
//! | decimal | plain digits with the scale that the source sent, the same words |
//! | date | `2024-01-02`; years beyond 9999 with all digits, before 1 as `-0043-03-15` (year 0 is 1 BC); `infinity`, `-infinity` |
//! | time, span | `04:05:06` or `-104:05:06.12`, the fraction without trailing zeros |
//! | time with an offset | `04:05:06.12+02:00` |
//! | timestamp | date, blank, time; `infinity`, `-infinity` |
//! | instant | the same in UTC with `+00` behind it |
//! | interval | ISO 8601 with signs for each part: `P1Y2M-3DT4H5M6.78S`, `PT0S` |
//! | uuid | lower case with hyphens |
//! | bits | `0101` |
//! | shape | hex digits of its EWKB |
//! | list, map, vector | JSON: numbers and truth values as such, everything else as a string of the forms above |

use std::fmt::Write;

use bytestring::ByteString;

use super::calendar::{DAY_MICROS, Moment, civil_from_days};
use super::value::{INFINITE_DAY, INFINITE_TIME, Value};

const INFINITE: [&str; 2] = ["infinity", "-infinity"];

/// Text of a value; `None` for NULL and for bytes, which are not text.
pub fn of(value: Value) -> Option<ByteString> {
    Some(match value {
        Value::Null | Value::Bytes(_) => return None,
        Value::Text(text) | Value::Json(text) | Value::Decimal(text) => text,
        Value::Int(number) => number.to_string().into(),
        Value::UInt(number) => number.to_string().into(),
        Value::Bool(truth) => ByteString::from_static(if truth { "true" } else { "false" }),
        Value::Float32(number) => float32(number).into(),
        Value::Float64(number) => float64(number).into(),
        Value::Date(days) if days == INFINITE_DAY.0 => ByteString::from_static(INFINITE[0]),
        Value::Date(days) if days == INFINITE_DAY.1 => ByteString::from_static(INFINITE[1]),
        Value::Date(days) => date(i64::from(days)).into(),
        Value::Time(micros) => time(micros).into(),
        Value::Timestamp(micros) => timestamp(micros).into(),
        Value::TimestampTz(micros) => timestamp_tz(micros).into(),
        Value::TimeTz { micros, offset } => format!("{}{}", time(micros), zone(offset)).into(),
        Value::Interval { months, days, micros } => interval(months, days, i128::from(micros) * 1000).into(),
        Value::Uuid(bytes) => uuid(&bytes).into(),
        Value::Bits { length, bytes } => bits(length, &bytes).into(),
        Value::Geometry { srid, wkb } => hex(&super::geometry::ewkb(srid, &wkb)).into(),
        Value::Array(_) | Value::Map(_) | Value::SparseVector { .. } => json(&value).into(),
    })
}

/// JSON of a value: what a JSON column gets of a list, a map or a vector.
pub fn json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, &mut out);
    out
}

fn write_json(value: &Value, out: &mut String) {
    let list = |out: &mut String, parts: &mut dyn Iterator<Item = String>| {
        out.push('[');
        for (at, part) in parts.enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(&part);
        }
        out.push(']');
    };
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(_) | Value::Int(_) | Value::UInt(_) => out.push_str(&of(value.clone()).unwrap_or_default()),
        Value::Float32(number) if number.is_finite() => out.push_str(&float32(*number)),
        Value::Float64(number) if number.is_finite() => out.push_str(&float64(*number)),
        Value::Bytes(bytes) => out.push_str(&quoted(&base64(bytes))),
        Value::Array(elements) => list(out, &mut elements.iter().map(json)),
        Value::Map(pairs) => {
            out.push('{');
            for (at, (name, text)) in pairs.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let text = text.as_ref().map_or_else(|| "null".to_owned(), |text| quoted(text));
                let _ = write!(out, "{comma}{}:{text}", quoted(name));
            }
            out.push('}');
        }
        Value::SparseVector { dimensions, elements } => {
            let _ = write!(out, "{{\"dimensions\":{dimensions},\"elements\":");
            list(out, &mut elements.iter().map(|(at, number)| format!("[{},{}]", at + 1, float64(*number))));
            out.push('}');
        }
        other => out.push_str(&quoted(&of(other.clone()).unwrap_or_default())),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    // Writing text as JSON cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

/// Lower case hex digits of bytes.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Shortest text of a number of single precision.
pub fn float32(number: f32) -> String {
    float_words(format!("{number:?}"))
}

/// Shortest text of a number of double precision.
pub fn float64(number: f64) -> String {
    float_words(format!("{number:?}"))
}

fn float_words(mut text: String) -> String {
    match text.as_str() {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        _ => {
            if text.ends_with(".0") {
                text.truncate(text.len() - 2);
            }
            text
        }
    }
}

/// `+02:00` of seconds east of UTC.
pub fn zone(offset: i32) -> String {
    let (sign, seconds) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
    let mut text = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 != 0 {
        let _ = write!(text, ":{:02}", seconds % 60);
    }
    text
}

/// ISO 8601 text of an interval of months, days and nanoseconds.
pub fn interval(months: i32, days: i32, nanos: i128) -> String {
    let mut text = String::from("P");
    let part = |text: &mut String, number: i128, unit: char| {
        if number != 0 {
            let _ = write!(text, "{number}{unit}");
        }
    };
    part(&mut text, i128::from(months / 12), 'Y');
    part(&mut text, i128::from(months % 12), 'M');
    part(&mut text, i128::from(days), 'D');
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if nanos != 0 || text.len() == 1 {
        text.push('T');
        part(&mut text, seconds / 3600, 'H');
        part(&mut text, seconds / 60 % 60, 'M');
        let seconds = seconds % 60;
        if fraction != 0 {
            let sign = if nanos < 0 { "-" } else { "" };
            let digits = format!("{:09}", fraction.unsigned_abs());
            let _ = write!(text, "{sign}{}.{}S", seconds.unsigned_abs(), digits.trim_end_matches('0'));
        } else if seconds != 0 || nanos == 0 {
            let _ = write!(text, "{seconds}S");
        }
    }
    text
}

/// Bits as digits, the first bit first.
pub fn bits(length: u32, bytes: &[u8]) -> String {
    let bit = |at: u32| bytes.get(at as usize / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    (0..length).map(|at| if bit(at) { '1' } else { '0' }).collect()
}

/// Text of a number of days since 1970-01-01.
pub fn date(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    if year < 0 { format!("-{:04}-{month:02}-{day:02}", -year) } else { format!("{year:04}-{month:02}-{day:02}") }
}

/// Text of microseconds since midnight, or of a span of them.
pub fn time(micros: i64) -> String {
    clock(i128::from(micros) * 1000)
}

/// Text of nanoseconds since midnight, or of a span of them.
pub fn clock(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let mut text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        let digits = format!("{fraction:09}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text
}

/// Text of a date and time without a zone.
pub fn moment(moment: Moment) -> String {
    format!("{} {}", date(moment.days), clock(i128::from(moment.nanos)))
}

/// Text of microseconds since 1970 without a zone.
pub fn timestamp(micros: i64) -> String {
    match micros {
        _ if micros == INFINITE_TIME.0 => INFINITE[0].to_owned(),
        _ if micros == INFINITE_TIME.1 => INFINITE[1].to_owned(),
        _ => format!("{} {}", date(micros.div_euclid(DAY_MICROS)), time(micros.rem_euclid(DAY_MICROS))),
    }
}

/// Text of an instant, in UTC.
pub fn timestamp_tz(micros: i64) -> String {
    let zone = if micros == INFINITE_TIME.0 || micros == INFINITE_TIME.1 { "" } else { "+00" };
    format!("{}{zone}", timestamp(micros))
}

/// Text of a UUID.
pub fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Bytes of a UUID text with or without hyphens.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hyphens_fit = text.len() == 32
        || (text.len() == 36 && text.bytes().enumerate().all(|(at, b)| (b == b'-') == matches!(at, 8 | 13 | 18 | 23)));
    if !hyphens_fit {
        return None;
    }
    let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| (byte as char).to_digit(16));
    let mut bytes = [0u8; 16];
    for byte in &mut bytes {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::{parse_date, parse_time, parse_timestamp};

    #[test]
    fn texts_are_read_back_as_what_they_were() {
        for days in [-735_160, -719_528, 0, 19_724, 2_932_897, 2_145_031_948] {
            assert_eq!(parse_date(&date(days)), Some(days), "{}", date(days));
        }
        for micros in [0, 1, 120_000, 14_706_120_000, DAY_MICROS - 1, DAY_MICROS] {
            assert_eq!(parse_time(&time(micros)), Some(micros), "{}", time(micros));
        }
        for micros in [-1, 0, 1_704_168_306_120_000, -62_135_596_800_000_001] {
            assert_eq!(parse_timestamp(&timestamp(micros)), Some((micros, false)), "{}", timestamp(micros));
            assert!(timestamp_tz(micros).ends_with("+00"));
        }
        assert_eq!(timestamp(946_684_799_999_999), "1999-12-31 23:59:59.999999");
    }

    #[test]
    fn forms_of_all_kinds() {
        let text = |value: Value| of(value).map(|text| text.to_string()).unwrap_or_default();
        assert_eq!(text(Value::Time(-37_845_120_000)), "-10:30:45.12");
        assert_eq!(text(Value::Time(3_020_399_000_000)), "838:59:59");
        assert_eq!(text(Value::TimeTz { micros: 14_706_120_000, offset: 7200 }), "04:05:06.12+02:00");
        assert_eq!(text(Value::TimeTz { micros: 0, offset: -1 }), "00:00:00-00:00:01");
        assert_eq!(text(Value::Timestamp(i64::MAX)), "infinity");
        assert_eq!(text(Value::TimestampTz(i64::MIN)), "-infinity");
        assert_eq!(text(Value::Date(i32::MIN)), "-infinity");
        assert_eq!(text(Value::Interval { months: -14, days: 3, micros: -14_706_700_000 }), "P-1Y-2M3DT-4H-5M-6.7S");
        assert_eq!(text(Value::Interval { months: 0, days: 0, micros: 0 }), "PT0S");
        assert_eq!(text(Value::Interval { months: 12, days: 0, micros: -500_000 }), "P1YT-0.5S");
        assert_eq!(text(Value::Bits { length: 12, bytes: vec![0b1011_0011, 0b1000_0000].into() }), "101100111000");
        assert_eq!(text(Value::Float32(0.1)), "0.1");
        assert_eq!(text(Value::Float64(1e300)), "1e300");
        assert_eq!(text(Value::Float64(-0.0)), "-0");
        assert_eq!(text(Value::Float64(f64::NEG_INFINITY)), "-Infinity");
        let list = Value::Array(vec![
            Value::Int(1),
            Value::Null,
            Value::Decimal("1.50".into()),
            Value::text("q\"uo"),
            Value::Float64(f64::NAN),
            Value::Bool(true),
            Value::Array(vec![Value::bytes(&[0, 255])]),
        ]);
        assert_eq!(text(list), r#"[1,null,"1.50","q\"uo","NaN",true,["AP8="]]"#);
        assert_eq!(
            text(Value::Map(vec![("a b".into(), None), ("".into(), Some("1".into()))])),
            r#"{"a b":null,"":"1"}"#
        );
        let sparse = Value::SparseVector { dimensions: 9, elements: vec![(0, 1.5), (3, 2.0)] };
        assert_eq!(text(sparse), r#"{"dimensions":9,"elements":[[1,1.5],[4,2]]}"#);
    }

    #[test]
    fn uuids() {
        let text = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";
        assert_eq!(parse_uuid(text).map(|bytes| uuid(&bytes)).as_deref(), Some(text));
        for bad in ["", "b68a35a7-17ad-35b3-af2a-ae46edb4545", "b68a35a717ad-35b3-af2a--ae46edb4545a", &"x".repeat(32)]
        {
            assert_eq!(parse_uuid(bad), None, "{bad}");
        }
    }
}
