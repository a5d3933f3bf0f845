//! Cells in one form, whatever database they come from.
//!
//! The expected files hold what the source database prints; a destination prints the same value in its own way. What a
//! column is, is read from the schema of the captured events; this module shares no code with the program.

use std::collections::BTreeMap;

use serde_json::Value;

use super::captures::Captured;

/// What a column is, by the schema of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Truth value.
    Bool,
    /// Single precision.
    Float32,
    /// Double precision.
    Float64,
    /// Date and time, in UTC where it is an instant.
    Instant,
    /// Date and time without a zone, or time of day.
    Clock,
    /// Bytes.
    Bytes,
    /// A JSON document.
    Json,
    /// Text and whatever prints the same everywhere.
    Text,
}

/// Kinds of the columns of a topic, from the schemas that its events carry.
pub fn kinds(records: &[Captured], topic: &str) -> BTreeMap<String, Kind> {
    let mut kinds = BTreeMap::new();
    for record in records.iter().filter(|record| record.topic == topic) {
        let Some(payload) = &record.payload else { continue };
        let event: Value = serde_json::from_str(payload).expect("JSON");
        let parts = event["schema"]["fields"].as_array().into_iter().flatten();
        for part in parts.filter(|part| part["field"] == "after") {
            for field in part["fields"].as_array().into_iter().flatten() {
                kinds.insert(field["field"].as_str().expect("a name").to_owned(), kind(field));
            }
        }
    }
    kinds
}

/// A table for the events of a topic in SQLite, with types that say what is in their texts.
pub fn sqlite_table(records: &[Captured], topic: &str, name: &str) -> String {
    let of_topic = || records.iter().filter(|record| record.topic == topic);
    let parse = |text: &String| serde_json::from_str::<Value>(text).expect("JSON");
    let event = of_topic().find_map(|record| record.payload.as_ref()).map(parse).expect("an event");
    let key = of_topic().find_map(|record| record.key.as_ref()).map(parse).unwrap_or_default();
    let ident = |field: &Value| format!("\"{}\"", field["field"].as_str().expect("a name").replace('"', "\"\""));
    let parts = event["schema"]["fields"].as_array().expect("fields");
    let after = parts.iter().find(|part| part["field"] == "after").expect("a row");
    let keys: Vec<String> = key["schema"]["fields"].as_array().into_iter().flatten().map(ident).collect();
    let column = |field: &Value| {
        let name = ident(field);
        let null = if keys.contains(&name) { " not null" } else { "" };
        format!("{name} {}{null}", sqlite_type(field))
    };
    let mut columns: Vec<String> = after["fields"].as_array().expect("fields").iter().map(column).collect();
    if !keys.is_empty() {
        columns.push(format!("primary key ({})", keys.join(", ")));
    }
    format!("create table {name} ({})", columns.join(", "))
}

fn sqlite_type(field: &Value) -> String {
    let parameter = |name: &str| field["parameters"][name].as_str();
    match (field["type"].as_str().unwrap_or(""), field["name"].as_str().unwrap_or("")) {
        (_, "org.apache.kafka.connect.data.Decimal") => {
            match (parameter("connect.decimal.precision"), parameter("scale")) {
                (Some(precision), Some(scale)) => format!("decimal_text({precision}, {scale})"),
                _ => "decimal_text".to_owned(),
            }
        }
        (_, "io.debezium.time.Date") => "date_text".to_owned(),
        (_, "io.debezium.time.ZonedTimestamp") => "timestamptz_text".to_owned(),
        (kind, "") if kind.starts_with("int") => "integer".to_owned(),
        ("float" | "double", "") => "real".to_owned(),
        ("boolean", "") => "boolean".to_owned(),
        ("bytes", "") => "blob".to_owned(),
        // What is not understood yet is refused or kept aside when it is met.
        _ => "text".to_owned(),
    }
}

fn kind(field: &Value) -> Kind {
    let name = field["name"].as_str().unwrap_or("");
    match (field["type"].as_str().unwrap_or(""), name) {
        ("boolean", _) => Kind::Bool,
        ("float", _) => Kind::Float32,
        ("double", _) => Kind::Float64,
        (_, "io.debezium.time.ZonedTimestamp" | "io.debezium.time.ZonedTime") => Kind::Instant,
        (_, "io.debezium.data.Json") => Kind::Json,
        (_, "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date") => Kind::Text,
        (_, name) if name.contains(".time.") || name.ends_with(".Timestamp") || name.ends_with(".Time") => Kind::Clock,
        ("bytes", "") => Kind::Bytes,
        _ => Kind::Text,
    }
}

/// One form for a cell of any source or destination.
pub fn canonical(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Bool => match text {
            "true" | "t" | "1" | "0b1" => "t".to_owned(),
            "false" | "f" | "0" | "0b0" => "f".to_owned(),
            other => panic!("{other:?} is no truth value"),
        },
        Kind::Float32 => text.parse::<f32>().map_or_else(|_| text.to_owned(), |number| number.to_string()),
        Kind::Float64 => text.parse::<f64>().map_or_else(|_| text.to_owned(), |number| number.to_string()),
        Kind::Instant => format!("{}+00", short_fraction(text.trim_end_matches("+00:00").trim_end_matches("+00"))),
        Kind::Clock => short_fraction(text),
        Kind::Bytes => text.trim_start_matches("\\x").trim_start_matches("0x").to_ascii_lowercase(),
        Kind::Json => serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |json| json.to_string()),
        Kind::Text => text.to_owned(),
    }
}

/// Without zeros at the end of a fraction.
fn short_fraction(text: &str) -> String {
    match text.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            kept => format!("{whole}.{kept}"),
        },
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_fall_together_only_where_the_values_are_equal() {
        assert_eq!(canonical(Kind::Instant, "2024-01-01 00:01:00.500000"), "2024-01-01 00:01:00.5+00");
        assert_eq!(canonical(Kind::Instant, "2024-01-01 00:01:00+00"), "2024-01-01 00:01:00+00");
        assert_ne!(
            canonical(Kind::Instant, "2024-01-01 00:01:00.5"),
            canonical(Kind::Instant, "2024-01-01 00:01:00.05")
        );
        assert_ne!(canonical(Kind::Text, "5.000"), canonical(Kind::Text, "5.00"));
        assert_eq!(canonical(Kind::Bool, "1"), canonical(Kind::Bool, "true"));
        assert_eq!(canonical(Kind::Bytes, "\\xDEAD"), canonical(Kind::Bytes, "0xdead"));
    }
}
