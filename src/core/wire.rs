//! Types of values as they come: what the schema of an event says about a field, before a destination column is known.

use std::fmt;

/// Unit of a temporal number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Thousandths of a second.
    Millis,
    /// Millionths.
    Micros,
    /// Thousand-millionths.
    Nanos,
}

impl Unit {
    /// Fraction digits of a second that a value of this unit can have, at most the 6 that destinations hold.
    pub fn digits(self) -> u8 {
        match self {
            Self::Millis => 3,
            Self::Micros | Self::Nanos => 6,
        }
    }
}

/// Type of a field on the wire (Kafka Connect's base type with Debezium's or Connect's semantic name).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WireType {
    /// `boolean`.
    Bool,
    /// `int8` to `int64`.
    Int {
        /// Width: 8, 16, 32, 64.
        bits: u8,
    },
    /// `float`.
    Float32,
    /// `double`.
    Float64,
    /// `string` without a name.
    Text,
    /// `bytes` without a name (base64 in JSON).
    Bytes,
    /// `org.apache.kafka.connect.data.Decimal`.
    Decimal {
        /// Digits after the point.
        scale: i32,
        /// Digits in all, if the schema says so.
        precision: Option<u32>,
    },
    /// `io.debezium.data.VariableScaleDecimal`.
    VariableDecimal,
    /// Days since 1970.
    Date,
    /// Time since midnight.
    Time(Unit),
    /// Time since 1970 without a zone.
    Timestamp(Unit),
    /// ISO text with an offset.
    ZonedTimestamp,
    /// `io.debezium.time.Year`.
    Year,
    /// `io.debezium.data.Uuid`.
    Uuid,
    /// `io.debezium.data.Json`.
    Json,
    /// `io.debezium.data.Xml`.
    Xml,
    /// `io.debezium.data.Enum`.
    Enum,
    /// `io.debezium.data.EnumSet`.
    EnumSet,
    /// Without a schema: the destination column decides.
    Untyped,
    /// Not understood yet: refused by name.
    Unsupported {
        /// The semantic name, or the base type where there is none.
        name: String,
    },
}

impl fmt::Display for WireType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int { bits } => write!(f, "int{bits}"),
            Self::Decimal { scale, precision: Some(precision) } => write!(f, "decimal({precision},{scale})"),
            Self::Decimal { scale, precision: None } => write!(f, "decimal(scale {scale})"),
            Self::Unsupported { name } => f.write_str(name),
            other => write!(f, "{}", format!("{other:?}").to_lowercase()),
        }
    }
}

/// A field of a row as the event's schema describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: WireType,
    /// Whether the source column may be NULL.
    pub optional: bool,
}

/// A table to be made: from an event's schema, or the fixed columns of a change log.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Its name.
    pub name: super::table::TableName,
    /// Its columns in the order of the source.
    pub fields: Vec<Field>,
    /// Names of its key columns in key order; they are made NOT NULL and with a binary collation.
    pub key: Vec<String>,
    /// Its contract.
    pub contract: super::table::Contract,
    /// Whether `_lastword_deleted` is needed.
    pub delete: super::table::DeleteMode,
    /// Whether `_lastword_token` is needed, or the side table.
    pub token_storage: super::table::TokenStorage,
}
