//! Values as the servers of the MySQL family take them in parameters, and what they would change without a word: a strict session
//! refuses most of what does not fit, but cuts blanks and pads bytes all the same.

use bytes::Bytes;

use crate::core::decimal;
use crate::core::geometry;
use crate::core::table::{Column, ColumnType};
use crate::core::value::Value;

type Native = Result<Option<Value>, &'static str>;

/// The value to be sent for a column, if it is another than the given one; `Err` says what of it the column would change.
pub fn parameter(value: &Value, column: &Column) -> Native {
    Ok(Some(match (value, &column.kind) {
        (Value::Uuid(uuid), ColumnType::Bytes { .. }) => Value::bytes(uuid),
        (Value::Text(text), ColumnType::Text { max_chars }) if text.ends_with(' ') => {
            return blanks_stay(text, *max_chars, &column.native);
        }
        (Value::Bytes(bytes), ColumnType::Bytes { max_bytes: Some(length) })
            if column.native.starts_with("binary") && bytes.len() as u64 != *length =>
        {
            return Err("fewer bytes than the column has, which it would fill up with zero bytes");
        }
        (Value::Text(text), ColumnType::Choice { labels, several: true }) => Value::text(in_order(text, labels)),
        (Value::Bits { length, bytes }, ColumnType::Bits { .. }) => {
            let number = bits_number(*length, bytes).ok_or("more than 64 bits")?;
            i64::try_from(number).map_or(Value::UInt(number), Value::Int)
        }
        (Value::Geometry { srid, wkb }, ColumnType::Geometry { .. }) => Value::Bytes(shape(*srid, wkb)?),
        (Value::Array(elements), ColumnType::Vector { .. }) => Value::Bytes(vector(elements)?),
        // MariaDB's JSON is a text that stays as it is.
        (Value::Json(text), ColumnType::Json) if column.native.eq_ignore_ascii_case("json") => {
            return exact_json(text).map(|()| None);
        }
        _ => return Ok(None),
    }))
}

/// Blanks at the end are cut off where they would be too much for the column, and from CHAR always; one that is filled is as
/// the source's CHAR was.
fn blanks_stay(text: &str, max: Option<u64>, native: &str) -> Native {
    let chars = text.chars().count() as u64;
    let is_char = native.starts_with("char");
    // For the text family the limit is in bytes.
    let length = if is_char || native.starts_with("varchar") { chars } else { text.len() as u64 };
    if max.is_some_and(|max| length > max) {
        return Err("text longer than the column");
    }
    if is_char && max != Some(chars) {
        Err("text with blanks at its end, which the column would cut off")
    } else {
        Ok(None)
    }
}

/// Texts of a SET in the order of its labels, in which the server shows and compares them.
pub fn in_order(text: &str, labels: &[String]) -> String {
    let parts: Vec<&str> = text.split(',').collect();
    let known = labels.iter().map(String::as_str).filter(|label| parts.contains(label));
    let mut ordered: Vec<&str> = known.collect();
    // What is no label stays, for the server to refuse.
    ordered.extend(parts.iter().filter(|part| !part.is_empty() && !labels.iter().any(|label| label == *part)));
    ordered.join(",")
}

/// Bits as the number that the server makes of them: the first bit is the highest. `None` beyond 64.
pub fn bits_number(length: u32, bytes: &[u8]) -> Option<u64> {
    let filled = bytes.len() * 8;
    if length > 64 || bytes.len() > 8 || filled < length as usize {
        return None;
    }
    let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Some(if length == 0 { 0 } else { number >> (filled - length as usize) })
}

/// A shape as both servers store it: its reference system in four bytes, then well-known binary. Whatever order a reference system
/// has for its axes, here x comes first, as it does in events.
fn shape(srid: Option<i32>, wkb: &[u8]) -> Result<Bytes, &'static str> {
    let wkb = geometry::little_endian(wkb)?;
    Ok([&srid.unwrap_or(0).to_le_bytes()[..], &wkb].concat().into())
}

/// A vector as both servers store it: numbers of single precision.
fn vector(elements: &[Value]) -> Result<Bytes, &'static str> {
    let mut bytes = Vec::with_capacity(4 * elements.len());
    for element in elements {
        let single = match element {
            Value::Float32(number) => Some(*number),
            Value::Float64(number) => Some(*number as f32).filter(|single| f64::from(*single) == *number),
            _ => None,
        };
        let single = single.filter(|single| single.is_finite());
        bytes.extend(single.ok_or("a vector of other than finite numbers of single precision")?.to_le_bytes());
    }
    Ok(bytes.into())
}

/// MySQL keeps JSON numbers as 64-bit whole numbers or as doubles. Refuses what that would change.
fn exact_json(json: &str) -> Result<(), &'static str> {
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[at..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = behind_string(text);
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        rest = after;
        let whole = number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
        let double = number.parse::<f64>().ok().filter(|double| double.is_finite());
        if !whole && double.is_none_or(|double| digits(&format!("{double:e}")) != digits(number)) {
            return Err("a number in JSON that MySQL would round");
        }
    }
    Ok(())
}

/// What follows a JSON string, given the text behind its opening quote.
fn behind_string(text: &str) -> &str {
    let mut escaped = false;
    let end = text.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    end.map_or("", |end| &text[end + 1..])
}

/// A number in one form.
fn digits(number: &str) -> Option<String> {
    let plain = decimal::from_notation(number)?;
    Some(if plain.contains('.') { plain.trim_end_matches('0').trim_end_matches('.').to_owned() } else { plain })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::table::fixture;

    #[test]
    fn bits_are_a_number() {
        assert_eq!(bits_number(12, &[0b1010_0000, 0b0001_0000]), Some(0b1010_0000_0001));
        assert_eq!(bits_number(64, &[0xff; 8]), Some(u64::MAX));
        assert_eq!(bits_number(0, &[]), Some(0));
        assert_eq!((bits_number(65, &[0; 9]), bits_number(9, &[0])), (None, None));
    }

    #[test]
    fn sets_have_one_order() {
        let labels = ["b", "a", "x"].map(String::from);
        for (given, ordered) in [("a,b", "b,a"), ("", ""), ("x,x", "x"), ("y,a", "a,y")] {
            assert_eq!(in_order(given, &labels), ordered, "{given}");
        }
    }

    /// Invariant 6: MySQL reads numbers in JSON as doubles where they are not whole.
    #[test]
    fn numbers_in_json_are_not_rounded() {
        for exact in [
            r#"{"1e400": [-9223372036854775808, 18446744073709551615, 0.1, 1.50, -2e3, 1e300, 0, -0.0, 1.0]}"#,
            r#""99999999999999999999999 \" 0.1000000000000000055""#,
            "null",
        ] {
            assert_eq!(exact_json(exact), Ok(()), "{exact}");
        }
        for rounded in ["[18446744073709551617]", "{\"a\":0.1000000000000000055}", "1e400", "123456789012345678.5"] {
            assert!(exact_json(rounded).is_err(), "{rounded}");
        }
    }

    /// Invariant 6: what a strict session cuts or fills without a word is refused.
    #[test]
    fn blanks_and_zero_bytes_are_not_changed() {
        let column = |native: &str, max| {
            let kind = if native.starts_with("binary") {
                ColumnType::Bytes { max_bytes: Some(max) }
            } else {
                ColumnType::Text { max_chars: Some(max) }
            };
            Column { native: native.to_owned(), ..fixture::column("v", kind) }
        };
        for (native, max, value, fits) in [
            ("varchar(4)", 4, Value::from("äb  "), true),
            ("varchar(4)", 4, Value::from("1234 "), false),
            ("tinytext", 255, Value::from(format!("{} ", "ä".repeat(127))), true),
            ("tinytext", 255, Value::from(format!("{}  ", "ä".repeat(127))), false),
            ("char(4)", 4, Value::from("a "), false),
            ("char(4)", 4, Value::from("a   "), true),
            ("char(4)", 4, Value::from(" a"), true),
            ("binary(2)", 2, Value::bytes(&[1]), false),
            ("binary(2)", 2, Value::bytes(&[1, 2]), true),
        ] {
            assert_eq!(parameter(&value, &column(native, max)).is_ok(), fits, "{native} {value:?}");
        }
    }

    #[test]
    fn vectors_are_of_single_precision() {
        let column = fixture::column("v", ColumnType::Vector { dimensions: None });
        let of =
            |values: &[f64]| parameter(&Value::Array(values.iter().map(|v| Value::Float64(*v)).collect()), &column);
        assert_eq!(of(&[1.0, -0.5]), Ok(Some(Value::bytes(&[0, 0, 0x80, 0x3f, 0, 0, 0, 0xbf]))));
        for bad in [0.1, f64::NAN, f64::INFINITY] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
    }
}
