//! The `schema` part of Kafka Connect's JSON: which fields a row has and of which types.
//!
//! Source: Kafka Connect's JsonConverter (`schemas.enable=true`) and the semantic type names of Debezium and Connect.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::core::event::Rejection;
use crate::core::wire::{Field, Unit, WireType};

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
                declared: None,
            })
            .collect()
    }

    fn parameter<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.parameters.get(name)?.parse().ok()
    }

    fn wire_type(&self) -> WireType {
        let unsupported = || WireType::Unsupported { name: self.name.clone().unwrap_or_else(|| self.base.clone()) };
        let Some(name) = self.name.as_deref() else {
            return match self.base.as_str() {
                "boolean" => WireType::Bool,
                "int8" => WireType::Int { bits: 8 },
                "int16" => WireType::Int { bits: 16 },
                "int32" => WireType::Int { bits: 32 },
                "int64" => WireType::Int { bits: 64 },
                "float" => WireType::Float32,
                "double" => WireType::Float64,
                "string" => WireType::Text,
                "bytes" => WireType::Bytes,
                _ => unsupported(),
            };
        };
        match (name, self.base.as_str()) {
            ("org.apache.kafka.connect.data.Decimal", "bytes") => match self.parameter("scale") {
                Some(scale) => WireType::Decimal { scale, precision: self.parameter("connect.decimal.precision") },
                None => unsupported(),
            },
            ("io.debezium.data.VariableScaleDecimal", "struct") => WireType::VariableDecimal,
            ("io.debezium.time.Date" | "org.apache.kafka.connect.data.Date", "int32") => WireType::Date,
            ("io.debezium.time.Time" | "org.apache.kafka.connect.data.Time", "int32") => WireType::Time(Unit::Millis),
            ("io.debezium.time.MicroTime", "int64") => WireType::Time(Unit::Micros),
            ("io.debezium.time.NanoTime", "int64") => WireType::Time(Unit::Nanos),
            ("io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp", "int64") => {
                WireType::Timestamp(Unit::Millis)
            }
            ("io.debezium.time.MicroTimestamp", "int64") => WireType::Timestamp(Unit::Micros),
            ("io.debezium.time.NanoTimestamp", "int64") => WireType::Timestamp(Unit::Nanos),
            ("io.debezium.time.ZonedTimestamp", "string") => WireType::ZonedTimestamp,
            ("io.debezium.time.Year", "int32") => WireType::Year,
            ("io.debezium.data.Uuid", "string") => WireType::Uuid,
            ("io.debezium.data.Json", "string") => WireType::Json,
            ("io.debezium.data.Xml", "string") => WireType::Xml,
            ("io.debezium.data.Enum", "string") => WireType::Enum,
            ("io.debezium.data.EnumSet", "string") => WireType::EnumSet,
            _ => unsupported(),
        }
    }
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
        let unknown = r#"{"type":"struct","name":"io.debezium.data.geometry.Point"}"#;
        assert_eq!(wire(unknown), WireType::Unsupported { name: "io.debezium.data.geometry.Point".into() });
        // A name on the wrong base is not trusted.
        let wrong = r#"{"type":"string","name":"io.debezium.time.Date"}"#;
        assert!(matches!(wire(wrong), WireType::Unsupported { .. }));
        assert!(Schema::parse("{\"type\":").is_err());
    }
}
