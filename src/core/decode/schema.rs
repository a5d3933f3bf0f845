//! The `schema` part of Kafka Connect's JSON: which fields a row has and of which types.
//!
//! Source: Kafka Connect's JsonConverter (`schemas.enable=true`) and the semantic type names of Debezium and Connect.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::core::event::Rejection;
use crate::core::wire::{Declared, Field, Geometry, Structured, Unit, WireType};

/// Parameters that `column.propagate.source.type` and `datatype.propagate.source.type` add to a field.
const SOURCE_COLUMN: &str = "__debezium.source.column.";
/// What PostgreSQL's connector writes as a length where there is no limit.
const NO_LIMIT: u32 = 2_147_483_647;

/// One schema object, as deep as it goes.
#[derive(Debug, Deserialize)]
pub(super) struct Schema {
    #[serde(rename = "type", default)]
    base: String,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    #[serde(default)]
    fields: Vec<Schema>,
    #[serde(default)]
    items: Option<Box<Schema>>,
    #[serde(default)]
    keys: Option<Box<Schema>>,
    #[serde(default)]
    values: Option<Box<Schema>>,
}

impl Schema {
    /// Reads a schema object.
    pub(super) fn parse(text: &str) -> Result<Self, Rejection> {
        serde_json::from_str(text)
            .map_err(|error| Rejection::new("undecodable", format!("the schema part cannot be read: {error}")))
    }

    /// The struct in a field.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.fields.iter().find(|field| field.field.as_deref() == Some(name))
    }

    /// The fields of a struct with their types; what is no struct is one field without a name.
    pub(super) fn row_fields(&self) -> Vec<Field> {
        if self.base != "struct" {
            return vec![Field::new("", self.wire_type(), self.optional)];
        }
        self.fields
            .iter()
            .map(|field| Field {
                name: field.field.clone().unwrap_or_default(),
                kind: field.wire_type(),
                optional: field.optional,
                declared: field.declared(),
            })
            .collect()
    }

    fn parameter<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.parameters.get(name)?.parse().ok()
    }

    /// What the connector says of the source column.
    fn declared(&self) -> Option<Declared> {
        let said = |name: &str| self.parameters.get(&format!("{SOURCE_COLUMN}{name}"));
        let number = |name: &str| said(name)?.parse::<i32>().ok();
        let length = number("length").and_then(|length| u32::try_from(length).ok());
        Some(Declared {
            kind: said("type")?.to_uppercase(),
            length: length.filter(|length| *length != NO_LIMIT),
            scale: number("scale"),
        })
    }

    fn wire_type(&self) -> WireType {
        let known = match self.name.as_deref() {
            None => self.literal(),
            Some(name) => self.named(name),
        };
        known.unwrap_or_else(|| WireType::Unsupported { name: self.name.clone().unwrap_or_else(|| self.base.clone()) })
    }

    /// A type without a semantic name.
    fn literal(&self) -> Option<WireType> {
        Some(match self.base.as_str() {
            "boolean" => WireType::Bool,
            "int8" => WireType::Int { bits: 8 },
            "int16" => WireType::Int { bits: 16 },
            "int32" => WireType::Int { bits: 32 },
            "int64" => WireType::Int { bits: 64 },
            "float" => WireType::Float32,
            "double" => WireType::Float64,
            "string" => WireType::Text,
            "bytes" => WireType::Bytes,
            "array" => match self.items.as_ref()?.wire_type() {
                unsupported @ WireType::Unsupported { .. } => unsupported,
                element => WireType::Array(Box::new(element)),
            },
            "map" if self.keys.as_ref()?.is_text() && self.values.as_ref()?.is_text() => WireType::Map,
            _ => return None,
        })
    }

    fn is_text(&self) -> bool {
        self.name.is_none() && self.base == "string"
    }

    /// A type by its semantic name, on the base that belongs to it only.
    fn named(&self, name: &str) -> Option<WireType> {
        let (namespace, short) = name.rsplit_once('.')?;
        Some(match (namespace, short, self.base.as_str()) {
            ("org.apache.kafka.connect.data", "Decimal", "bytes") => WireType::Decimal {
                scale: self.parameter("scale")?,
                precision: self.parameter("connect.decimal.precision"),
            },
            ("io.debezium.time" | "org.apache.kafka.connect.data", "Date", "int32") => WireType::Date,
            ("io.debezium.time" | "org.apache.kafka.connect.data", "Time", "int32") => WireType::Time(Unit::Millis),
            ("io.debezium.time" | "org.apache.kafka.connect.data", "Timestamp", "int64") => {
                WireType::Timestamp(Unit::Millis)
            }
            ("io.debezium.time", short, base) => return temporal(short, base),
            ("io.debezium.data", "VariableScaleDecimal", "struct") => WireType::VariableDecimal,
            ("io.debezium.data", "Uuid", "string") => WireType::Uuid,
            ("io.debezium.data", "Json", "string") => WireType::Json,
            ("io.debezium.data", "Xml", "string") => WireType::Xml,
            ("io.debezium.data", "Enum", "string") => WireType::Enum,
            ("io.debezium.data", "EnumSet", "string") => WireType::EnumSet,
            ("io.debezium.data", "Ltree", "string") => WireType::Ltree,
            ("io.debezium.data", "Tsvector" | "TsVector", "string") => WireType::Tsvector,
            ("io.debezium.data", "Bits", "bytes") => {
                WireType::Bits { length: self.parameter("length").filter(|length| *length != NO_LIMIT) }
            }
            ("io.debezium.data", "DoubleVector", "array") => WireType::Vector { double: true },
            ("io.debezium.data", "FloatVector", "array") => WireType::Vector { double: false },
            ("io.debezium.data", "SparseDoubleVector" | "SparseVector", "struct") => WireType::SparseVector,
            ("io.debezium.data.geometry", "Point", "struct") => WireType::Geometry(Geometry::Point),
            ("io.debezium.data.geometry", "Geometry", "struct") => WireType::Geometry(Geometry::Geometry),
            ("io.debezium.data.geometry", "Geography", "struct") => WireType::Geometry(Geometry::Geography),
            ("io.debezium.data.geometry", "Circle", "struct") => WireType::Circle,
            ("io.debezium.data.geometry", "Line", "struct") => WireType::Line,
            _ => return None,
        })
    }
}

/// Types of `io.debezium.time` that Connect has no counterpart for.
fn temporal(short: &str, base: &str) -> Option<WireType> {
    Some(match (short, base) {
        ("MicroTime", "int64") => WireType::Time(Unit::Micros),
        ("NanoTime", "int64") => WireType::Time(Unit::Nanos),
        ("MicroTimestamp", "int64") => WireType::Timestamp(Unit::Micros),
        ("NanoTimestamp", "int64") => WireType::Timestamp(Unit::Nanos),
        ("MicroDuration", "int64") => WireType::Duration(Unit::Micros),
        ("NanoDuration", "int64") => WireType::Duration(Unit::Nanos),
        ("ZonedTimestamp", "string") => WireType::ZonedTimestamp,
        ("ZonedTime", "string") => WireType::ZonedTime,
        ("Interval", "string") => WireType::Interval,
        ("IsoDate", "string") => WireType::IsoDate,
        ("IsoTime", "string") => WireType::IsoTime,
        ("IsoTimestamp", "string") => WireType::IsoTimestamp,
        ("Year", "int32") => WireType::Year,
        (structured, "struct") => WireType::Structured(match structured {
            "StructuredDate" => Structured::Date,
            "StructuredTime" => Structured::Time,
            "StructuredTimestamp" => Structured::Timestamp,
            "StructuredZonedTime" => Structured::ZonedTime,
            "StructuredZonedTimestamp" => Structured::ZonedTimestamp,
            "StructuredDuration" => Structured::Duration,
            _ => return None,
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> WireType {
        Schema::parse(text).expect("schema").wire_type()
    }

    #[test]
    fn types_are_known_by_base_and_name_or_refused_by_name() {
        assert_eq!(wire(r#"{"type":"int32","optional":false,"field":"id"}"#), WireType::Int { bits: 32 });
        let decimal = r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}}"#;
        assert_eq!(wire(decimal), WireType::Decimal { scale: 2, precision: None });
        let unknown = r#"{"type":"struct","name":"io.debezium.data.geometry.Polygon"}"#;
        assert_eq!(wire(unknown), WireType::Unsupported { name: "io.debezium.data.geometry.Polygon".into() });
        let unknown = r#"{"type":"array","items":{"type":"struct","name":"com.example.Money"}}"#;
        assert_eq!(wire(unknown), WireType::Unsupported { name: "com.example.Money".into() });
        // A name on the wrong base is not trusted.
        let wrong = r#"{"type":"string","name":"io.debezium.time.Date"}"#;
        assert!(matches!(wire(wrong), WireType::Unsupported { .. }));
        assert!(Schema::parse("{\"type\":").is_err());
    }
    #[test]
    fn lists_and_maps_carry_what_they_hold() {
        let list = r#"{"type":"array","items":{"type":"int32","name":"io.debezium.time.Date","optional":true}}"#;
        assert_eq!(wire(list), WireType::Array(Box::new(WireType::Date)));
        let map = r#"{"type":"map","keys":{"type":"string"},"values":{"type":"string","optional":true}}"#;
        assert_eq!(wire(map), WireType::Map);
        let other = r#"{"type":"map","keys":{"type":"string"},"values":{"type":"int32"}}"#;
        assert_eq!(wire(other), WireType::Unsupported { name: "map".into() });
        let bits = |length: &str| {
            wire(&format!(r#"{{"type":"bytes","name":"io.debezium.data.Bits","parameters":{{"length":"{length}"}}}}"#))
        };
        assert_eq!(bits("12"), WireType::Bits { length: Some(12) });
        assert_eq!(bits("2147483647"), WireType::Bits { length: None });
    }

    #[test]
    fn a_propagated_source_type_is_taken_along() {
        let field = r#"{"type":"struct","fields":[{"field":"a","type":"string","parameters":{
            "__debezium.source.column.type":"varchar","__debezium.source.column.length":"2147483647"}},
            {"field":"b","type":"int64","parameters":{"__debezium.source.column.type":"BIGINT UNSIGNED",
            "__debezium.source.column.length":"20","__debezium.source.column.scale":"0"}},{"field":"c","type":"int64"}]}"#;
        let fields = Schema::parse(field).expect("schema").row_fields();
        let declared = |kind: &str, length, scale| Some(Declared { kind: kind.to_owned(), length, scale });
        assert_eq!(fields[0].declared, declared("VARCHAR", None, None));
        assert_eq!(fields[1].declared, declared("BIGINT UNSIGNED", Some(20), Some(0)));
        assert_eq!(fields[2].declared, None);
    }
}
