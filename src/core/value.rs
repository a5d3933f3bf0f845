//! A value on its way from an event to a column.
//!
//! A [`Value`] is exact: a decimal is text, a date is a number of days, a time is a whole number of microseconds. It is
//! made by [`super::decode`] for a column of a known type and is written by a sink without a further decision.

use bytes::Bytes;
use bytestring::ByteString;

/// A value of a column, or a parameter or result of a bookkeeping statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL NULL, said by the event.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed whole number.
    Int(i64),
    /// A whole number above `i64::MAX`, for unsigned columns only.
    UInt(u64),
    /// A single precision number.
    Float32(f32),
    /// A double precision number.
    Float64(f64),
    /// Plain decimal text: `-?digits(.digits)?`, no exponent, the scale that the source sent; or `NaN`, `Infinity`,
    /// `-Infinity`.
    Decimal(ByteString),
    /// Text.
    Text(ByteString),
    /// Bytes.
    Bytes(Bytes),
    /// Days since 1970-01-01 in the proleptic Gregorian calendar.
    Date(i32),
    /// Microseconds since midnight; 24:00:00 is 86,400,000,000. MySQL's TIME is a span: negative, or longer than a day.
    Time(i64),
    /// Microseconds since 1970-01-01T00:00:00 of a clock without a zone.
    Timestamp(i64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    TimestampTz(i64),
    /// The sixteen bytes of a UUID.
    Uuid([u8; 16]),
    /// JSON text that was checked to be JSON.
    Json(ByteString),
    /// Time of day with a zone's offset.
    TimeTz {
        /// Local microseconds since midnight.
        micros: i64,
        /// Seconds east of UTC.
        offset: i32,
    },
    /// A span of time in parts that do not convert into each other (a month has no fixed number of days).
    Interval {
        /// Months; a year is 12.
        months: i32,
        /// Days.
        days: i32,
        /// Microseconds.
        micros: i64,
    },
    /// A string of bits.
    Bits {
        /// How many.
        length: u32,
        /// The first bit is the highest of the first byte; unused bits at the end are zero.
        bytes: Bytes,
    },
    /// A list; elements may be NULL or lists.
    Array(Vec<Value>),
    /// Names with texts or NULL (hstore), in the order of the event.
    Map(Vec<(ByteString, Option<ByteString>)>),
    /// A shape.
    Geometry {
        /// Reference system, if the source has one.
        srid: Option<i32>,
        /// Well-known binary without a reference system.
        wkb: Bytes,
    },
    /// A vector with its elements that are not zero.
    SparseVector {
        /// Length.
        dimensions: u32,
        /// Elements by place, counted from 0, ascending.
        elements: Vec<(u32, f64)>,
    },
}

/// A [`Value::Date`] after and before all days: PostgreSQL's `infinity` and `-infinity`.
pub const INFINITE_DAY: (i32, i32) = (i32::MAX, i32::MIN);
/// A [`Value::Timestamp`] or [`Value::TimestampTz`] after and before all times.
pub const INFINITE_TIME: (i64, i64) = (i64::MAX, i64::MIN);

impl Value {
    /// Text without a copy where it can be had.
    pub fn text(text: impl Into<ByteString>) -> Self {
        Self::Text(text.into())
    }

    /// Bytes copied from a slice.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }

    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The whole number in it, for results of bookkeeping statements.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::UInt(number) => i64::try_from(*number).ok(),
            Self::Bool(truth) => Some(i64::from(*truth)),
            Self::Decimal(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The text in it, for results of bookkeeping statements.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Json(text) | Self::Decimal(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes in it, for results of bookkeeping statements.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(i64::from(number))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(ByteString::from(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(ByteString::from(text))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
