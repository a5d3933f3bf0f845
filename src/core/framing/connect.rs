//! Kafka Connect's JSON: schemas and values as its JSON converter writes them (`schemas.enable=true`).

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::json;

use crate::core::event::Rejection;

use super::{undecodable, unsupported};

/// Deepest nesting of a schema, and so of what is read by it.
pub(super) const DEPTH: usize = 48;
/// Longest rendered schema. A schema of a few lines that names its own parts twice each, again and again, would have no end.
const HEAD_BYTES: usize = 8 << 20;
/// Longest rendered body, beyond what a multiple of its bytes allows: elements of no bytes at all can be claimed in any number.
const BODY_BYTES: usize = 4 << 20;
/// JSON of a body may be so many times as long: names of fields come with every row.
const BODY_FACTOR: usize = 64;

/// A schema of Kafka Connect.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    pub(super) kind: Kind,
    pub(super) optional: bool,
    pub(super) name: Option<String>,
    pub(super) version: Option<i64>,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) default: Option<serde_json::Value>,
    /// Levels from here down.
    pub(super) height: usize,
}

/// Its type.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Bytes,
    String,
    Array(Arc<Schema>),
    Map(Arc<Schema>, Arc<Schema>),
    Struct(Vec<(String, Arc<Schema>)>),
}

/// Names of Connect's and Debezium's types that schemas of other languages have words of their own for.
pub(super) mod names {
    pub(in super::super) const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
    pub(in super::super) const DATE: &str = "org.apache.kafka.connect.data.Date";
    pub(in super::super) const TIME: &str = "org.apache.kafka.connect.data.Time";
    pub(in super::super) const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";
    pub(in super::super) const MICRO_TIME: &str = "io.debezium.time.MicroTime";
    pub(in super::super) const MICRO_TIMESTAMP: &str = "io.debezium.time.MicroTimestamp";
    pub(in super::super) const NANO_TIMESTAMP: &str = "io.debezium.time.NanoTimestamp";
    pub(in super::super) const UUID: &str = "io.debezium.data.Uuid";
}

impl Schema {
    /// A schema that allows no null and has no name.
    pub(super) fn of(kind: Kind) -> Self {
        let height = 1 + match &kind {
            Kind::Array(items) => items.height,
            Kind::Map(keys, values) => keys.height.max(values.height),
            Kind::Struct(fields) => fields.iter().map(|(_, field)| field.height).max().unwrap_or(0),
            _ => 0,
        };
        let (name, version, parameters, default) = (None, None, BTreeMap::new(), None);
        Self { kind, optional: false, name, version, parameters, default, height }
    }

    /// Refuses what is nested too deep. Asked of each part before it becomes a part of another, so that no whole is deeper.
    pub(super) fn check_depth(&self) -> Result<(), Rejection> {
        if self.height > DEPTH {
            return Err(unsupported(format!("the schema is nested deeper than {DEPTH}")));
        }
        Ok(())
    }

    /// The same with a name.
    pub(super) fn named(kind: Kind, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::of(kind) }
    }

    /// The same with a parameter.
    pub(super) fn with(mut self, parameter: &str, value: impl ToString) -> Self {
        self.parameters.insert(parameter.to_owned(), value.to_string());
        self
    }

    fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Boolean => "boolean",
            Kind::Int8 => "int8",
            Kind::Int16 => "int16",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Float32 => "float",
            Kind::Float64 => "double",
            Kind::Bytes => "bytes",
            Kind::String => "string",
            Kind::Array(_) => "array",
            Kind::Map(..) => "map",
            Kind::Struct(_) => "struct",
        }
    }

    fn render(&self, field: Option<&str>, json: &mut Json) -> Result<(), Rejection> {
        json.raw(b"{\"type\":")?;
        json.text(self.kind_name())?;
        match &self.kind {
            Kind::Array(items) => {
                json.raw(b",\"items\":")?;
                items.render(None, json)?;
            }
            Kind::Map(keys, values) => {
                json.raw(b",\"keys\":")?;
                keys.render(None, json)?;
                json.raw(b",\"values\":")?;
                values.render(None, json)?;
            }
            Kind::Struct(fields) => {
                json.raw(b",\"fields\":")?;
                json.list(b"[", b"]", fields, |(name, schema), json| schema.render(Some(name), json))?;
            }
            _ => {}
        }
        json.raw(if self.optional { b",\"optional\":true" } else { b",\"optional\":false" })?;
        let rest = [
            ("name", self.name.as_ref().map(|name| json!(name))),
            ("version", self.version.map(|version| json!(version))),
            ("parameters", (!self.parameters.is_empty()).then(|| json!(self.parameters))),
            ("default", self.default.clone()),
            ("field", field.map(|field| json!(field))),
        ];
        for (key, value) in rest {
            if let Some(value) = value {
                json.raw(format!(",\"{key}\":{value}").as_bytes())?;
            }
        }
        json.raw(b"}")
    }
}

/// `{"schema":…,"payload":` of a schema.
pub(super) fn head(schema: &Schema) -> Result<Bytes, Rejection> {
    let mut json = Json { bytes: Vec::new(), limit: HEAD_BYTES };
    let too_long = |_| unsupported("the schema is too large when it is written out");
    json.raw(b"{\"schema\":").map_err(too_long)?;
    schema.render(None, &mut json).map_err(too_long)?;
    json.raw(b",\"payload\":").map_err(too_long)?;
    Ok(json.into_bytes())
}

/// JSON that is being written, of bounded length.
pub(super) struct Json {
    bytes: Vec<u8>,
    limit: usize,
}

impl Json {
    /// For the values of a body of so many bytes.
    pub(super) fn for_body(length: usize) -> Self {
        let limit = length.saturating_mul(BODY_FACTOR).saturating_add(BODY_BYTES);
        Self { bytes: Vec::with_capacity(2 * length + 64), limit }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        // Records wait in queues, which count lengths.
        let mut bytes = self.bytes;
        bytes.shrink_to_fit();
        bytes.into()
    }

    /// Appends text that is JSON.
    pub(super) fn raw(&mut self, text: &[u8]) -> Result<(), Rejection> {
        if self.bytes.len() + text.len() > self.limit {
            return Err(undecodable("the record claims more values than its bytes can hold"));
        }
        self.bytes.extend_from_slice(text);
        Ok(())
    }

    /// A number or truth value.
    pub(super) fn plain(&mut self, value: impl std::fmt::Display) -> Result<(), Rejection> {
        self.raw(value.to_string().as_bytes())
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), Rejection> {
        self.raw(quoted(text).as_bytes())
    }

    pub(super) fn base64(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        self.raw(b"\"")?;
        self.raw(BASE64.encode(bytes).as_bytes())?;
        self.raw(b"\"")
    }

    /// A number of single precision, or its name where JSON has none.
    pub(super) fn float(&mut self, value: f32) -> Result<(), Rejection> {
        if value.is_finite() { self.plain(format_args!("{value:?}")) } else { self.not_finite(value.into()) }
    }

    /// A number of double precision, or its name where JSON has none.
    pub(super) fn double(&mut self, value: f64) -> Result<(), Rejection> {
        if value.is_finite() { self.plain(format_args!("{value:?}")) } else { self.not_finite(value) }
    }

    fn not_finite(&mut self, value: f64) -> Result<(), Rejection> {
        self.raw(match value {
            value if value.is_nan() => b"\"NaN\"",
            value if value > 0.0 => b"\"Infinity\"",
            _ => b"\"-Infinity\"",
        })
    }

    /// Elements between two brackets, with commas.
    pub(super) fn list<T>(
        &mut self,
        open: &[u8],
        close: &[u8],
        elements: impl IntoIterator<Item = T>,
        mut write: impl FnMut(T, &mut Self) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        self.raw(open)?;
        for (number, element) in elements.into_iter().enumerate() {
            if number > 0 {
                self.raw(b",")?;
            }
            write(element, self)?;
        }
        self.raw(close)
    }
}

/// Text as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
