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
    /// Plain decimal text: `-?digits(.digits)?`, no exponent, the scale that the source sent.
    Decimal(ByteString),
    /// Text.
    Text(ByteString),
    /// Bytes.
    Bytes(Bytes),
    /// Days since 1970-01-01 in the proleptic Gregorian calendar.
    Date(i32),
    /// Microseconds since midnight; 24:00:00 is 86,400,000,000.
    Time(i64),
    /// Microseconds since 1970-01-01T00:00:00 of a clock without a zone.
    Timestamp(i64),
    /// Microseconds since 1970-01-01T00:00:00Z.
    TimestampTz(i64),
    /// The sixteen bytes of a UUID.
    Uuid([u8; 16]),
    /// JSON text that was checked to be JSON.
    Json(ByteString),
}

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
