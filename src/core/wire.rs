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

/// What a structured time is (`time.precision.mode=structured`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Structured {
    /// `StructuredDate`
    Date,
    /// `StructuredTime`
    Time,
    /// `StructuredTimestamp`
    Timestamp,
    /// `StructuredZonedTime`
    ZonedTime,
    /// `StructuredZonedTimestamp`
    ZonedTimestamp,
    /// `StructuredDuration`
    Duration,
}

/// What a geometry is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Geometry {
    /// A point of the plane.
    Point,
    /// Any shape.
    Geometry,
    /// Any shape on the globe.
    Geography,
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
    /// `io.debezium.time.ZonedTime`: ISO text with an offset.
    ZonedTime,
    /// `io.debezium.time.Interval`: ISO 8601 text.
    Interval,
    /// `io.debezium.time.MicroDuration`, `NanoDuration`.
    Duration(Unit),
    /// `io.debezium.time.IsoDate`: text.
    IsoDate,
    /// `io.debezium.time.IsoTime`: text.
    IsoTime,
    /// `io.debezium.time.IsoTimestamp`: text.
    IsoTimestamp,
    /// `io.debezium.time.Structured…`: an object of calendar fields.
    Structured(Structured),
    /// `io.debezium.data.Bits`: little-endian bytes.
    Bits {
        /// Declared number of bits; `None` where the source column has no limit.
        length: Option<u32>,
    },
    /// `io.debezium.data.geometry.Point`, `Geometry`, `Geography`: an object with `wkb` and `srid`, points also with `x`, `y`.
    Geometry(Geometry),
    /// `io.debezium.data.geometry.Circle`: center and radius.
    Circle,
    /// `io.debezium.data.geometry.Line`: coefficients a, b, c.
    Line,
    /// `io.debezium.data.Ltree`.
    Ltree,
    /// `io.debezium.data.Tsvector`.
    Tsvector,
    /// `io.debezium.data.DoubleVector`, `FloatVector`: a list of numbers.
    Vector {
        /// Of double precision.
        double: bool,
    },
    /// `io.debezium.data.SparseDoubleVector`: dimensions and the elements that are not zero.
    SparseVector,
    /// A list, elements may be null.
    Array(Box<WireType>),
    /// `map` of text to text or null (`hstore.handling.mode=map`).
    Map,
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
    /// What the connector says of the source column, where that is propagated.
    pub declared: Option<Declared>,
}

impl Field {
    /// A field of which nothing more is known.
    pub fn new(name: impl Into<String>, kind: WireType, optional: bool) -> Self {
        Self { name: name.into(), kind, optional, declared: None }
    }
}

/// The source column as `column.propagate.source.type` or `datatype.propagate.source.type` add it to the schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Declared {
    /// `__debezium.source.column.type`, upper case: `VARCHAR`, `INT UNSIGNED`, `NUMERIC`, `_TEXT`, `INET`.
    pub kind: String,
    /// `__debezium.source.column.length`; 2147483647 (no limit in PostgreSQL) is left out.
    pub length: Option<u32>,
    /// `__debezium.source.column.scale`.
    pub scale: Option<i32>,
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
