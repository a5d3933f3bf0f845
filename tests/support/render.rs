//! What the expected files of the captures hold, in the form that the cells of every destination have.
//!
//! The files hold what the source database prints. What a column is, is read from the schema of the captured events; this
//! module shares no code with the program.

use std::collections::BTreeMap;

use serde_json::Value;

use super::canonical::{Kind, Reading, canonical};
use super::captures::Captured;

/// Kinds of the columns of a topic, from the schemas that its events carry.
pub fn kinds(records: &[Captured], topic: &str) -> BTreeMap<String, Kind> {
    let mut kinds = BTreeMap::new();
    for record in records.iter().filter(|record| record.topic == topic) {
        let Some(payload) = &record.payload else { continue };
        let event: Value = serde_json::from_str(payload).expect("JSON");
        let parts = event["schema"]["fields"].as_array().into_iter().flatten();
        for part in parts.filter(|part| part["field"] == "after") {
            for field in part["fields"].as_array().into_iter().flatten() {
                let name = field["field"].as_str().expect("a name");
                if !kinds.contains_key(name) {
                    kinds.insert(name.to_owned(), kind(field));
                }
            }
        }
    }
    kinds
}

fn kind(field: &Value) -> Kind {
    let name = field["name"].as_str().unwrap_or("");
    match (field["type"].as_str().unwrap_or(""), name) {
        ("array", _) => Kind::Array(Box::leak(Box::new(kind(&field["items"])))),
        (_, "io.debezium.time.ZonedTimestamp") => Kind::Instant,
        (_, "io.debezium.time.ZonedTime") => Kind::TimeTz,
        (_, "io.debezium.time.MicroDuration") => Kind::Interval,
        (_, "io.debezium.time.Date") => Kind::Date,
        (_, "io.debezium.time.MicroTime" | "io.debezium.time.Time") => Kind::Time,
        (_, "io.debezium.time.MicroTimestamp" | "io.debezium.time.Timestamp") => Kind::Timestamp,
        (_, "io.debezium.time.Year") => Kind::Number,
        (_, "io.debezium.data.Json") => Kind::Json,
        (_, "io.debezium.data.Bits") => Kind::Bits,
        (_, "io.debezium.data.geometry.Point") => Kind::Point,
        (_, "io.debezium.data.VariableScaleDecimal") => Kind::Number,
        // With its scale: 5.0 is not 5.00.
        (_, "org.apache.kafka.connect.data.Decimal")
            if field["parameters"]["connect.decimal.precision"].is_string() =>
        {
            Kind::Text
        }
        (_, "org.apache.kafka.connect.data.Decimal") => Kind::Number,
        ("boolean", _) => Kind::Bool,
        ("float", _) => Kind::Float32,
        ("double", _) => Kind::Float64,
        ("bytes", _) => Kind::Bytes,
        (number, "") if number.starts_with("int") => Kind::Number,
        _ => Kind::Text,
    }
}

/// The form of a cell of an expected file.
pub fn expected(kind: Kind, text: &str, reading: Reading) -> String {
    let text = match kind {
        Kind::Bits => text.strip_prefix("0b").unwrap_or(text).to_owned(),
        Kind::Bool => text.trim_start_matches("0b").to_owned(),
        // PostgreSQL's money.
        Kind::Number => text.replace(['$', ','], ""),
        Kind::Json if text.is_empty() || text.contains("=>") => hstore(text),
        Kind::Point => text.replace("POINT", "").replace(' ', ","),
        Kind::Interval => span(text),
        _ => text.to_owned(),
    };
    canonical(kind, &text, "", reading)
}

/// What two databases print of one value where one of them tells less than all: MariaDB six digits of single precision, and no
/// zeros before the first bit; every source no length of a `varbit`.
pub fn told(connector: &str, kind: Kind, form: String) -> String {
    match kind {
        Kind::Bits => form.trim_start_matches('0').to_owned(),
        Kind::Float32 if connector == "mariadb" => form.parse::<f64>().map_or(form, |number| format!("{number:.5e}")),
        _ => form,
    }
}

/// As JSON. Texts are quoted and escaped as there.
fn hstore(text: &str) -> String {
    format!("{{{}}}", text.replace("=>", ":").replace(":NULL", ":null"))
}

/// Months, days and microseconds of PostgreSQL's own form: `-1 years -2 mons +3 days -04:05:06.7`.
fn span(text: &str) -> String {
    let (mut months, mut days, mut micros) = (0i64, 0i64, 0i64);
    let mut words = text.split(' ');
    while let Some(word) = words.next() {
        if word.contains(':') {
            let sign = if word.starts_with('-') { -1 } else { 1 };
            let parts: Vec<f64> =
                word.trim_start_matches(['+', '-']).split(':').map(|part| part.parse().expect("a number")).collect();
            micros = sign * ((parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]) * 1e6).round() as i64;
            continue;
        }
        let number: i64 = word.parse().expect("a number");
        match words.next().expect("a unit").trim_end_matches('s') {
            "year" => months += 12 * number,
            "mon" => months += number,
            "day" => days += number,
            unit => panic!("{unit} of {text}"),
        }
    }
    format!("{months} {days} {micros}")
}

#[test]
fn what_sources_print_has_the_form_of_the_same_value() {
    let exact = Reading::default();
    assert_eq!(expected(Kind::Number, "-$92,233.08", exact), canonical(Kind::Number, "-92233.0800", "numeric", exact));
    assert_eq!(expected(Kind::Bool, "0b1", exact), "true");
    let json = canonical(Kind::Json, r#"{"a":"1","d":"x\"y","b c":null}"#, "text", exact);
    assert_eq!(expected(Kind::Json, r#""a"=>"1", "d"=>"x\"y", "b c"=>NULL"#, exact), json);
    let span = canonical(Kind::Interval, "P-1Y-2M3DT-4H-5M-6.7S", "text", exact);
    assert_eq!(expected(Kind::Interval, "-1 years -2 mons +3 days -04:05:06.7", exact), span);
    assert_eq!(expected(Kind::Point, "POINT(1.5 -2.25)", exact), canonical(Kind::Point, "(1.5,-2.25)", "point", exact));
    assert_ne!(expected(Kind::Text, "5.000", exact), expected(Kind::Text, "5.00", exact));
}
