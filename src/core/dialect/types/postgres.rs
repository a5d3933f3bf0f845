//! PostgreSQL.
//!
//! Types of extensions are used where the database has them. ENUM and SET become text: their labels are not sent in a form that
//! can be taken apart (commas), and change while the service runs. A key has only types of which two spellings are two values.
//! `char(n)` becomes `varchar(n)`, which keeps blanks at the end. Money comes as a decimal and becomes one: what a `money` column
//! means hangs on the database's locale. Durations become `interval`, not `bigint`: the number of microseconds is the same, and
//! the column says what it is.

use crate::core::dialect::ddl::Server;
use crate::core::wire::{Declared, Field, Geometry, Structured, WireType};

/// Text that compares as bytes.
const KEY_TEXT: &str = "text collate \"C\"";
/// Most digits of a `numeric` with limits.
const DIGITS_MAX: u32 = 1000;
/// Most characters of a `varchar(n)`.
const CHARS_MAX: u32 = 10_485_760;
/// Most bits of a `bit(n)`.
const BITS_MAX: u32 = 83_886_080;

/// See [`super::native_type`].
pub(super) fn column_type(field: &Field, is_key: bool, server: &Server) -> String {
    let declared = field.declared.as_ref().map_or("", |declared| declared.kind.as_str());
    match &field.kind {
        WireType::Int { .. } | WireType::Decimal { .. } if declared.starts_with("BIGINT UNSIGNED") => {
            "numeric(20,0)".to_owned()
        }
        WireType::Decimal { scale, precision } => decimal(*scale, *precision, is_key),
        WireType::Bits { length: Some(length @ 1..=BITS_MAX) } if !matches!(declared, "VARBIT" | "BIT VARYING") => {
            format!("bit({length})")
        }
        WireType::Time(unit) => format!("time({})", unit.digits()),
        WireType::Timestamp(unit) => format!("timestamp({})", unit.digits()),
        kind => match simple(kind) {
            Some(native) => native.to_owned(),
            None if is_key => KEY_TEXT.to_owned(),
            None => only_value(field, server),
        },
    }
}

/// Types of one name each, of which equal values are equal texts.
fn simple(kind: &WireType) -> Option<&'static str> {
    Some(match kind {
        WireType::Bool => "boolean",
        WireType::Int { bits: 8 | 16 } => "smallint",
        WireType::Int { bits: 32 } | WireType::Year => "integer",
        WireType::Int { .. } => "bigint",
        WireType::Float32 => "real",
        WireType::Float64 => "double precision",
        // Bits of varying length come without their length: as bytes.
        WireType::Bytes | WireType::Bits { .. } => "bytea",
        WireType::Date | WireType::IsoDate | WireType::Structured(Structured::Date) => "date",
        WireType::IsoTime | WireType::Structured(Structured::Time) => "time",
        WireType::ZonedTime | WireType::Structured(Structured::ZonedTime) => "timetz",
        WireType::IsoTimestamp | WireType::Structured(Structured::Timestamp) => "timestamp",
        WireType::ZonedTimestamp | WireType::Structured(Structured::ZonedTimestamp) => "timestamptz",
        WireType::Uuid => "uuid",
        _ => return None,
    })
}

/// Types of columns that are no key.
fn only_value(field: &Field, server: &Server) -> String {
    let extension = |name: &str, otherwise: &str| server.types.get(name).map_or(otherwise, String::as_str).to_owned();
    match &field.kind {
        WireType::Text => text(field.declared.as_ref(), server),
        WireType::VariableDecimal => "numeric".to_owned(),
        // Only what is known to be normalized already: `jsonb` forgets equal names and the spelling of numbers.
        WireType::Json if field.declared.as_ref().is_some_and(|declared| declared.kind == "JSONB") => {
            "jsonb".to_owned()
        }
        WireType::Json => "json".to_owned(),
        WireType::Xml => "xml".to_owned(),
        WireType::Interval | WireType::Duration(_) | WireType::Structured(Structured::Duration) => {
            "interval".to_owned()
        }
        WireType::Geometry(Geometry::Point) => "point".to_owned(),
        WireType::Geometry(Geometry::Geometry) => extension("geometry", "bytea"),
        WireType::Geometry(Geometry::Geography) => extension("geography", "bytea"),
        WireType::Circle => "circle".to_owned(),
        WireType::Line => "line".to_owned(),
        WireType::Ltree => extension("ltree", "text"),
        WireType::Tsvector => "tsvector".to_owned(),
        WireType::Map => extension("hstore", "jsonb"),
        WireType::Vector { double } => match field.declared.as_ref().map(|declared| declared.kind.as_str()) {
            Some("HALFVEC") => extension("halfvec", "real[]"),
            _ => extension("vector", if *double { "double precision[]" } else { "real[]" }),
        },
        WireType::SparseVector => extension("sparsevec", "jsonb"),
        WireType::Array(element) => array(element, field.declared.as_ref(), server),
        _ => "text".to_owned(),
    }
}

/// A `numeric` without limits takes 1.0 and 1.00 as one, which a key must not.
fn decimal(scale: i32, precision: Option<u32>, is_key: bool) -> String {
    match precision.filter(|precision| *precision <= DIGITS_MAX) {
        Some(precision) if scale.unsigned_abs() <= DIGITS_MAX => format!("numeric({precision},{scale})"),
        _ if is_key && scale.unsigned_abs() <= DIGITS_MAX => format!("numeric({DIGITS_MAX},{scale})"),
        _ => "numeric".to_owned(),
    }
}

/// Text of which the source's type says more. These types come from PostgreSQL in the spelling that it reads.
fn text(declared: Option<&Declared>, server: &Server) -> String {
    let kind = declared.map_or("", |declared| declared.kind.as_str());
    match kind {
        "INET" | "CIDR" | "MACADDR" | "MACADDR8" | "INT4RANGE" | "INT8RANGE" | "NUMRANGE" | "TSRANGE" | "TSTZRANGE"
        | "DATERANGE" | "INT4MULTIRANGE" | "INT8MULTIRANGE" | "NUMMULTIRANGE" | "TSMULTIRANGE" | "TSTZMULTIRANGE"
        | "DATEMULTIRANGE" => kind.to_ascii_lowercase(),
        "CITEXT" => server.types.get("citext").map_or("text", String::as_str).to_owned(),
        "VARCHAR" | "CHAR" | "BPCHAR" | "CHARACTER VARYING" | "CHARACTER" => {
            let length = declared.and_then(|declared| declared.length);
            let limited = length.filter(|length| (1..=CHARS_MAX).contains(length));
            limited.map_or_else(|| "text".to_owned(), |length| format!("varchar({length})"))
        }
        _ => "text".to_owned(),
    }
}

/// Lists of lists are of the same type as lists. The lengths of elements are not sent.
fn array(element: &WireType, declared: Option<&Declared>, server: &Server) -> String {
    let mut element = element;
    while let WireType::Array(inner) = element {
        element = inner;
    }
    let kind = declared.map_or("", |declared| declared.kind.trim_start_matches('_'));
    let declared = Some(Declared { kind: kind.to_owned(), length: None, scale: None });
    match element {
        // Shapes are no elements for the sink, and what is not understood is kept as it came.
        WireType::Geometry(Geometry::Geometry | Geometry::Geography)
        | WireType::Vector { .. }
        | WireType::SparseVector
        | WireType::Untyped
        | WireType::Unsupported { .. } => "jsonb".to_owned(),
        element => {
            format!("{}[]", column_type(&Field { declared, ..Field::new("", element.clone(), true) }, false, server))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wire::Unit;

    fn field(kind: WireType, declared: &str, length: Option<u32>) -> Field {
        let declared = (!declared.is_empty()).then(|| Declared { kind: declared.to_owned(), length, scale: None });
        Field { declared, ..Field::new("v", kind, true) }
    }

    fn list(element: WireType) -> WireType {
        WireType::Array(Box::new(element))
    }

    /// The text snapshot of every type: as a value without and with the extensions, and as a key.
    #[test]
    fn every_wire_type_has_a_lossless_column() {
        let bare = Server::default();
        let types = ["citext", "hstore", "ltree", "geometry", "geography", "vector", "halfvec", "sparsevec"];
        let full =
            Server { types: types.map(|name| (name.to_owned(), format!("x.{name}"))).into(), ..Server::default() };
        let decimal = |scale, precision| WireType::Decimal { scale, precision };
        for (kind, declared, length, value, extended, key) in [
            (WireType::Bool, "", None, "boolean", None, "boolean"),
            (WireType::Int { bits: 8 }, "", None, "smallint", None, "smallint"),
            (WireType::Int { bits: 16 }, "TINYINT UNSIGNED", None, "smallint", None, "smallint"),
            (WireType::Int { bits: 64 }, "INT UNSIGNED", None, "bigint", None, "bigint"),
            (WireType::Int { bits: 64 }, "BIGINT UNSIGNED", None, "numeric(20,0)", None, "numeric(20,0)"),
            (decimal(0, None), "BIGINT UNSIGNED ZEROFILL", None, "numeric(20,0)", None, "numeric(20,0)"),
            (WireType::Year, "YEAR", None, "integer", None, "integer"),
            (decimal(2, Some(10)), "NUMERIC", Some(10), "numeric(10,2)", None, "numeric(10,2)"),
            (decimal(-2, Some(5)), "", None, "numeric(5,-2)", None, "numeric(5,-2)"),
            (decimal(2, Some(1001)), "", None, "numeric", None, "numeric(1000,2)"),
            (decimal(2, None), "MONEY", None, "numeric", None, "numeric(1000,2)"),
            (WireType::VariableDecimal, "NUMERIC", None, "numeric", None, KEY_TEXT),
            (WireType::Date, "", None, "date", None, "date"),
            (WireType::Time(Unit::Millis), "", None, "time(3)", None, "time(3)"),
            (WireType::Timestamp(Unit::Micros), "", None, "timestamp(6)", None, "timestamp(6)"),
            (WireType::ZonedTimestamp, "", None, "timestamptz", None, "timestamptz"),
            (WireType::ZonedTime, "", None, "timetz", None, "timetz"),
            (WireType::Interval, "", None, "interval", None, KEY_TEXT),
            (WireType::Duration(Unit::Micros), "", None, "interval", None, KEY_TEXT),
            (WireType::Structured(Structured::ZonedTimestamp), "", None, "timestamptz", None, "timestamptz"),
            (WireType::Text, "VARCHAR", Some(9), "varchar(9)", None, KEY_TEXT),
            (WireType::Text, "VARCHAR", None, "text", None, KEY_TEXT),
            (WireType::Text, "BPCHAR", Some(3), "varchar(3)", None, KEY_TEXT),
            (WireType::Text, "TINYTEXT", Some(255), "text", None, KEY_TEXT),
            (WireType::Text, "INET", None, "inet", None, KEY_TEXT),
            (WireType::Text, "TSTZRANGE", None, "tstzrange", None, KEY_TEXT),
            (WireType::Text, "CITEXT", None, "text", Some("x.citext"), KEY_TEXT),
            (WireType::Text, "ISBN", None, "text", None, KEY_TEXT),
            (WireType::Enum, "MOOD", None, "text", None, KEY_TEXT),
            (WireType::EnumSet, "SET", None, "text", None, KEY_TEXT),
            (WireType::Uuid, "UUID", None, "uuid", None, "uuid"),
            (WireType::Json, "JSON", None, "json", None, KEY_TEXT),
            (WireType::Json, "", None, "json", None, KEY_TEXT),
            (WireType::Json, "JSONB", None, "jsonb", None, KEY_TEXT),
            (WireType::Xml, "XML", None, "xml", None, KEY_TEXT),
            (WireType::Bits { length: Some(5) }, "BIT", Some(5), "bit(5)", None, "bit(5)"),
            (WireType::Bits { length: Some(5) }, "VARBIT", Some(5), "bytea", None, "bytea"),
            (WireType::Bits { length: None }, "", None, "bytea", None, "bytea"),
            (WireType::Geometry(Geometry::Point), "POINT", None, "point", None, KEY_TEXT),
            (WireType::Geometry(Geometry::Geometry), "", None, "bytea", Some("x.geometry"), KEY_TEXT),
            (WireType::Geometry(Geometry::Geography), "", None, "bytea", Some("x.geography"), KEY_TEXT),
            (WireType::Circle, "", None, "circle", None, KEY_TEXT),
            (WireType::Line, "", None, "line", None, KEY_TEXT),
            (WireType::Ltree, "", None, "text", Some("x.ltree"), KEY_TEXT),
            (WireType::Tsvector, "", None, "tsvector", None, KEY_TEXT),
            (WireType::Map, "HSTORE", None, "jsonb", Some("x.hstore"), KEY_TEXT),
            (WireType::Vector { double: true }, "VECTOR", None, "double precision[]", Some("x.vector"), KEY_TEXT),
            (WireType::Vector { double: false }, "VECTOR", None, "real[]", Some("x.vector"), KEY_TEXT),
            (WireType::Vector { double: false }, "HALFVEC", None, "real[]", Some("x.halfvec"), KEY_TEXT),
            (WireType::SparseVector, "", None, "jsonb", Some("x.sparsevec"), KEY_TEXT),
            (list(WireType::Int { bits: 32 }), "_INT4", None, "integer[]", None, KEY_TEXT),
            (list(WireType::Text), "_VARCHAR", Some(7), "text[]", None, KEY_TEXT),
            (list(list(WireType::Text)), "_INET", None, "inet[]", None, KEY_TEXT),
            (list(WireType::Text), "_CITEXT", None, "text[]", Some("x.citext[]"), KEY_TEXT),
            (list(decimal(2, Some(10))), "", None, "numeric(10,2)[]", None, KEY_TEXT),
            (list(WireType::Geometry(Geometry::Geometry)), "", None, "jsonb", None, KEY_TEXT),
        ] {
            let field = field(kind, declared, length);
            let of = |is_key, server| column_type(&field, is_key, server);
            assert_eq!(of(false, &bare), value, "{} {declared}", field.kind);
            assert_eq!(of(false, &full), extended.unwrap_or(value), "{} {declared}", field.kind);
            assert_eq!(of(true, &full), key, "{} {declared} as a key", field.kind);
        }
    }
}
