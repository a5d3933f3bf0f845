use super::*;

/// Invariant 6: a number beyond its type is an error, never infinity.
#[test]
fn numbers_beyond_their_type_are_refused() {
    let fit = |json: &'static str, wire: WireType| {
        let cell: &RawValue = serde_json::from_str(json).expect("json");
        let owner = Bytes::from_static(json.as_bytes());
        fit_cell(cell, &Field::new("c", wire, true), &ColumnType::Float64, &CellRules::default(), &owner)
    };
    for (json, wire) in [("1e400", WireType::Float64), ("-1e400", WireType::Float64), ("1e39", WireType::Float32)] {
        assert!(matches!(fit(json, wire), Err(Misfit::Undecodable(_))), "{json}");
    }
    assert_eq!(fit("\"Infinity\"", WireType::Float64), Ok(Value::Float64(f64::INFINITY)));
    assert_eq!(fit("1e308", WireType::Float64), Ok(Value::Float64(1e308)));
}
