//! Keys in one form, whether they come from an event or from the database.

use std::net::IpAddr;

use crate::core::dialect::mysql::parameter::{bits_number, in_order};
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::value::Value;

/// Keys are equal exactly if these bytes are.
pub(super) fn key_bytes<'v>(values: impl Iterator<Item = (&'v Value, &'v ColumnType)>) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    for (value, kind) in values {
        let from = key.len();
        key.extend_from_slice(&[0; 4]);
        put_canonical(&mut key, value, kind);
        let length = (key.len() - from - 4) as u32;
        key[from..from + 4].copy_from_slice(&length.to_be_bytes());
    }
    key
}

fn put_canonical(key: &mut Vec<u8>, value: &Value, kind: &ColumnType) {
    match (value, kind) {
        (Value::Uuid(uuid), ColumnType::Bytes { .. } | ColumnType::Uuid) => key.extend_from_slice(uuid),
        (Value::Uuid(uuid), _) => key.extend_from_slice(text::uuid(uuid).as_bytes()),
        (Value::Text(text), ColumnType::Uuid) => {
            key.extend(text::parse_uuid(text).map_or_else(|| text.as_bytes().to_vec(), Vec::from));
        }
        (Value::Bits { length, bytes }, _) => {
            key.extend_from_slice(&bits_number(*length, bytes).unwrap_or_default().to_be_bytes());
        }
        (Value::Int(number), ColumnType::Bits { .. }) => key.extend_from_slice(&number.to_be_bytes()),
        (Value::UInt(number), ColumnType::Bits { .. }) => key.extend_from_slice(&number.to_be_bytes()),
        // A SET is shown in the order of its labels, whatever the order in which they were written.
        (Value::Text(text), ColumnType::Choice { labels, several: true }) => {
            key.extend_from_slice(in_order(text, labels).as_bytes());
        }
        (Value::Text(text), ColumnType::Literal) => match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => key.extend_from_slice(&address.octets()),
            Ok(IpAddr::V6(address)) => key.extend_from_slice(&address.octets()),
            Err(_) => key.extend_from_slice(text.as_bytes()),
        },
        (Value::Decimal(text), _) => put_decimal(key, text),
        (Value::Int(number), _) => put_decimal(key, &number.to_string()),
        (Value::UInt(number), _) => put_decimal(key, &number.to_string()),
        (Value::Bool(truth), _) => put_decimal(key, if *truth { "1" } else { "0" }),
        (Value::Text(text) | Value::Json(text), _) => key.extend_from_slice(text.as_bytes()),
        (Value::Bytes(bytes), _) => key.extend_from_slice(bytes),
        (Value::Date(days), _) => key.extend_from_slice(&days.to_be_bytes()),
        (Value::Time(micros) | Value::Timestamp(micros) | Value::TimestampTz(micros), _) => {
            key.extend_from_slice(&micros.to_be_bytes());
        }
        (Value::Float32(number), _) => key.extend_from_slice(&number.to_bits().to_be_bytes()),
        (Value::Float64(number), _) => key.extend_from_slice(&number.to_bits().to_be_bytes()),
        // No column of these servers holds them as keys; see `core::mapping`, which refuses them.
        (
            Value::Null
            | Value::TimeTz { .. }
            | Value::Interval { .. }
            | Value::Array(_)
            | Value::Map(_)
            | Value::Geometry { .. }
            | Value::SparseVector { .. },
            _,
        ) => {}
    }
}

/// `-1.50` and `-01.5` are one number.
fn put_decimal(key: &mut Vec<u8>, text: &str) {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.is_empty() && fraction.is_empty() {
        key.push(b'0');
        return;
    }
    key.extend_from_slice(sign.as_bytes());
    key.extend_from_slice(whole.as_bytes());
    key.push(b'.');
    key.extend_from_slice(fraction.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_form() {
        let key = |value: Value, kind: &ColumnType| key_bytes([(&value, kind)].into_iter());
        let decimal = &ColumnType::Decimal { limit: Some((20, 2)) };
        let one = key(Value::Decimal("1.50".into()), decimal);
        assert_eq!(one, key(Value::Decimal("01.5".into()), decimal));
        assert_eq!(key(Value::Decimal("-0.00".into()), decimal), key(Value::Int(0), decimal));
        assert_ne!(one, key(Value::Decimal("-1.5".into()), decimal));
        assert_ne!(key(Value::Decimal("10".into()), decimal), key(Value::Decimal("1".into()), decimal));
        let uuid = [0x12, 0x34, 0xab, 0xcd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let shown = Value::from(text::uuid(&uuid).to_uppercase());
        assert_eq!(key(Value::Uuid(uuid), &ColumnType::Uuid), key(shown, &ColumnType::Uuid));
        let bits = &ColumnType::Bits { length: Some(4), varying: false };
        let four = Value::Bits { length: 4, bytes: bytes::Bytes::from_static(&[0b1010_0000]) };
        assert_eq!(key(four, bits), key(Value::Int(10), bits));
        let set = &ColumnType::Choice { labels: ["a", "b", "c"].map(String::from).to_vec(), several: true };
        assert_eq!(key("c,a".into(), set), key("a,c".into(), set));
        assert_ne!(key("a".into(), set), key("b".into(), set));
        let address = &ColumnType::Literal;
        assert_eq!(key("0:0::1".into(), address), key("::1".into(), address));
        let text_kind = ColumnType::Text { max_chars: None };
        let pair = |a: &str, b: &str| {
            let (a, b) = (Value::from(a), Value::from(b));
            key_bytes([(&a, &text_kind), (&b, &text_kind)].into_iter())
        };
        assert_ne!(pair("a", "bc"), pair("ab", "c"));
    }
}
