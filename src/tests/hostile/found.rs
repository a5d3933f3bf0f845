//! What the targets found, each as it failed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::bounded;
use crate::core::decode::{CellRules, Misfit, fit_cell};
use crate::core::framing::{Definition, Language, compile};
use crate::core::table::ColumnType;
use crate::core::wire::{Field, WireType};

/// A schema that says of some bytes that they are four thousand million bits took half a gigabyte for one cell.
#[test]
fn a_length_in_a_schema_takes_no_memory() {
    let owner = Bytes::from_static(b"\"AQ==\"");
    let cell: &RawValue = serde_json::from_slice(&owner).expect("JSON");
    let column = ColumnType::Text { max_chars: None };
    let fit = |length| {
        let field = Field::new("c", WireType::Bits { length: Some(length) }, true);
        bounded(owner.len(), 0, 1 << 20, || fit_cell(cell, &field, &column, &CellRules::default(), &owner))
    };
    assert!(matches!(fit(u32::MAX - 1), Err(Misfit::DoesNotFit(_))));
    assert!(matches!(fit(65_537), Ok(value) if value.as_text().is_some_and(|text| text.len() == 65_537)));
}

/// A field of a Protobuf message: its number and bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).expect("short")], bytes].concat()
}

/// A compiled Protobuf file whose message calls itself an entry of a map, but has no value: the library panicked.
#[test]
fn an_entry_of_a_map_without_a_value() {
    let described = |name: &str, more: &[u8]| [&field(1, name.as_bytes())[..], &[0x18, 1], more].concat();
    let key = described("key", &[0x20, 1, 0x28, 9]);
    let entry = [field(1, b"E"), field(2, &key), field(7, &[0x38, 1])].concat();
    let map = described("m", &[&[0x20, 3, 0x28, 11][..], &field(6, b".M.E")].concat());
    let message = [field(1, b"M"), field(2, &map), field(3, &entry)].concat();
    let file = [field(1, b"f"), field(4, &message), field(12, b"proto3")].concat();
    let definition = Definition { language: Language::Protobuf, text: BASE64.encode(file), references: Vec::new() };
    let compiled = compile(&definition).and_then(|compiled| compiled.transcode(&Bytes::from_static(&[0])));
    let refused = compiled.expect_err("an entry without a value");
    assert_eq!(refused.reason, "unsupported_schema", "{refused}");
    assert!(refused.detail.contains("entry"), "{refused}");
}
