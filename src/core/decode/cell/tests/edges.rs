//! Cells with values at the edges of their types, each with its canonical text: for property tests of everything that takes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use proptest::sample::select;

use crate::core::calendar::DAY_MICROS;
use crate::core::text;
use crate::core::wire::{Unit, WireType};

/// A cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Its type on the wire.
    pub wire: WireType,
    /// Its JSON.
    pub json: String,
    /// What a text column without a limit gets.
    pub text: String,
}

impl Cell {
    fn new(wire: WireType, json: impl Into<String>, text: impl Into<String>) -> Self {
        Self { wire, json: json.into(), text: text.into() }
    }
}

/// Whole numbers of any size, edges often.
pub(crate) fn integers() -> BoxedStrategy<i64> {
    let edges = vec![0, 1, -1, 127, 128, -128, 255, 32_767, -32_768, 65_536, i64::from(i32::MAX), i64::from(i32::MIN)];
    let wide = vec![i64::MAX, i64::MIN, 9_007_199_254_740_993, -9_007_199_254_740_993, 1_000_000];
    prop_oneof![select(edges), select(wide), -1000i64..1000, any::<i64>()].boxed()
}

/// Days from PostgreSQL's first to its last.
pub(crate) fn days() -> BoxedStrategy<i64> {
    prop_oneof![
        select(vec![0, -1, 19_782, -719_529, -719_528, 2_932_896, 2_932_897, -2_440_588, 2_145_042_905]),
        -800_000i64..3_000_000,
    ]
    .boxed()
}

/// Microseconds of a day, its end among them, and of longer and negative spans.
pub(crate) fn spans() -> BoxedStrategy<i64> {
    prop_oneof![
        select(vec![0, 1, DAY_MICROS - 1, DAY_MICROS, DAY_MICROS + 1, -1, 3_020_399_999_999, -3_020_399_000_000]),
        0..DAY_MICROS,
        (0i64..86_400).prop_map(|seconds| seconds * 1_000_000),
    ]
    .boxed()
}

/// Floating point numbers, with NaN, infinities and the least and greatest.
pub(crate) fn floats() -> BoxedStrategy<f64> {
    let edges =
        vec![0.0, -0.0, 0.1, 1.5, 5e-324, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e300];
    prop_oneof![select(edges), (-1000i32..1000).prop_map(f64::from), any::<f64>()].boxed()
}

/// Cells of every type that has one value.
pub(crate) fn cells() -> BoxedStrategy<Cell> {
    prop_oneof![numbers(), times(), texts(), lists()].boxed()
}

fn quoted(text: &str) -> String {
    text::quoted(text)
}

fn numbers() -> BoxedStrategy<Cell> {
    let float = |number: f64, text: String| if number.is_finite() { text } else { quoted(&text) };
    prop_oneof![
        any::<bool>().prop_map(|truth| Cell::new(WireType::Bool, truth.to_string(), truth.to_string())),
        integers().prop_map(|number| Cell::new(WireType::Int { bits: 64 }, number.to_string(), number.to_string())),
        floats().prop_map(move |number| {
            let text = text::float64(number);
            Cell::new(WireType::Float64, float(number, text.clone()), text)
        }),
        floats().prop_map(move |number| {
            let text = text::float32(number as f32);
            Cell::new(WireType::Float32, float(f64::from(number as f32), text.clone()), text)
        }),
        (any::<i128>(), 0usize..40, 0u32..127).prop_map(|(number, scale, shift)| decimal(number >> shift, scale)),
        (1u32..80, any::<u128>()).prop_map(|(length, number)| bits(length, number)),
    ]
    .boxed()
}

fn decimal(unscaled: i128, scale: usize) -> Cell {
    let digits = format!("{:0>1$}", unscaled.unsigned_abs(), scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    let json = quoted(&BASE64.encode(unscaled.to_be_bytes()));
    let wire = WireType::Decimal { scale: scale as i32, precision: None };
    Cell::new(wire, json, format!("{sign}{whole}{point}{fraction}"))
}

fn bits(length: u32, number: u128) -> Cell {
    let number = number & ((1u128 << length) - 1);
    let text = format!("{number:0>width$b}", width = length as usize);
    let bytes = number.to_le_bytes();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    Cell::new(WireType::Bits { length: Some(length) }, quoted(&BASE64.encode(&bytes[..used])), text)
}

fn times() -> BoxedStrategy<Cell> {
    let moment = || (days(), 0..DAY_MICROS).prop_map(|(day, micros)| (day.min(100_000_000), micros));
    prop_oneof![
        days().prop_map(|day| Cell::new(WireType::Date, day.to_string(), text::date(day))),
        days().prop_map(|day| Cell::new(WireType::IsoDate, quoted(&format!("{}Z", text::date(day))), text::date(day))),
        spans().prop_map(|micros| Cell::new(WireType::Time(Unit::Micros), micros.to_string(), text::time(micros))),
        (0..DAY_MICROS * 1000).prop_map(|nanos| {
            Cell::new(WireType::Time(Unit::Nanos), nanos.to_string(), text::clock(i128::from(nanos)))
        }),
        moment().prop_map(|(day, micros)| {
            let number = day * DAY_MICROS + micros;
            Cell::new(WireType::Timestamp(Unit::Micros), number.to_string(), text::timestamp(number))
        }),
        moment().prop_map(|(day, micros)| {
            let json = quoted(&format!("{}T{}Z", text::date(day), text::time(micros)));
            Cell::new(WireType::ZonedTimestamp, json, text::timestamp_tz(day * DAY_MICROS + micros))
        }),
        (0..DAY_MICROS).prop_map(|micros| {
            let text = text::time(micros);
            Cell::new(WireType::ZonedTime, quoted(&format!("{text}Z")), format!("{text}+00:00"))
        }),
        integers().prop_filter("not saturated", |number| *number != i64::MAX && *number != i64::MIN).prop_map(
            |number| {
                let text = text::interval(0, 0, i128::from(number) * 1000);
                Cell::new(WireType::Duration(Unit::Micros), number.to_string(), text)
            }
        ),
        (any::<i32>(), any::<i32>(), spans()).prop_map(|(months, days, micros)| {
            let text = text::interval(months, days, i128::from(micros) * 1000);
            Cell::new(WireType::Interval, quoted(&text), text)
        }),
    ]
    .boxed()
}

fn texts() -> BoxedStrategy<Cell> {
    let plain =
        select(vec!["", "a", "é😀\"\\\n", "1", "-12.50", "true", "null", "[1]", "2024-01-02", "NaN", "0101", "{}"]);
    prop_oneof![
        plain.prop_map(|text| Cell::new(WireType::Text, quoted(text), text)),
        any::<String>().prop_map(|text| Cell::new(WireType::Text, quoted(&text), text)),
        any::<[u8; 16]>().prop_map(|bytes| {
            let text = text::uuid(&bytes);
            Cell::new(WireType::Uuid, quoted(&text), text)
        }),
        integers().prop_map(|number| {
            let document = format!("{{\"n\": {number}}}");
            Cell::new(WireType::Json, quoted(&document), document)
        }),
    ]
    .boxed()
}

fn lists() -> BoxedStrategy<Cell> {
    let numbers = proptest::collection::vec(proptest::option::of(integers()), 0..4);
    numbers
        .prop_map(|numbers| {
            let items: Vec<String> =
                numbers.iter().map(|number| number.map_or("null".to_owned(), |number| number.to_string())).collect();
            let json = format!("[{}]", items.join(","));
            Cell::new(WireType::Array(Box::new(WireType::Int { bits: 64 })), json.clone(), json)
        })
        .boxed()
}
