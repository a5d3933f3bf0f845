//! MySQL and MariaDB.
//!
//! Text is `longtext` whatever the source's length (TINYTEXT counts bytes, of its own character set), but a `varchar` of the source
//! stays one. ENUM and SET become text: their labels are not sent in a form that can be taken apart (commas), and change
//! while the service runs. Spans, times with an offset and everything else that is text in its canonical form get a `varchar` that
//! holds the longest.

use crate::core::dialect::ddl::{Family, Server};
use crate::core::wire::{Field, Geometry, Structured, TableSpec, WireType};

use super::is_document;

/// Bytes of an InnoDB index entry.
const MYSQL_INDEX_BYTES: usize = 3072;
/// Characters of a text key column in MySQL where the index has room for them.
const MYSQL_KEY_CHARS_MAX: usize = 255;
/// The longest `varchar` that is taken over from the source.
const VARCHAR_MAX: u32 = 1000;
/// Bytes of a row that `varchar` columns may take; a row has 65,535 beside its texts.
const VARCHAR_BYTES: u64 = 48_000;
/// Longer than the canonical text of any interval or time.
const SHORT_TEXT: &str = "varchar(100)";

/// Characters that each text column of a key may have, so that all together fit into an index entry.
fn key_chars(columns: usize) -> usize {
    (MYSQL_INDEX_BYTES / 4 / columns.max(1)).min(MYSQL_KEY_CHARS_MAX)
}

/// See [`super::native_type`].
pub(super) fn column_type(spec: &TableSpec, field: &Field, is_key: bool, server: &Server) -> String {
    let key_chars = is_key.then(|| key_chars(spec.key.len()));
    let declared = field.declared.as_ref().map_or("", |declared| declared.kind.as_str());
    if let Some(unsigned) = unsigned(declared).filter(|_| is_number(&field.kind)) {
        return unsigned.to_owned();
    }
    match &field.kind {
        WireType::Bool => "boolean".to_owned(),
        WireType::Int { bits: 8 } => "tinyint".to_owned(),
        WireType::Int { bits: 16 } => "smallint".to_owned(),
        WireType::Int { bits: 32 } => "int".to_owned(),
        WireType::Int { .. } => "bigint".to_owned(),
        WireType::Year => "year".to_owned(),
        WireType::Float32 => "float".to_owned(),
        WireType::Float64 => "double".to_owned(),
        WireType::Decimal { scale, precision: Some(precision) } => {
            decimal(*precision, *scale).unwrap_or_else(|| text(key_chars, server.family))
        }
        WireType::Bytes => bytes(key_chars),
        // Bits of varying length come without their length: as bytes.
        WireType::Bits { length: None } => bytes(key_chars),
        WireType::Bits { .. } if matches!(declared, "VARBIT" | "BIT VARYING") => bytes(key_chars),
        WireType::Bits { length: Some(length @ 1..=64) } => format!("bit({length})"),
        WireType::Date | WireType::IsoDate | WireType::Structured(Structured::Date) => "date".to_owned(),
        WireType::Time(unit) => format!("time({})", unit.digits()),
        WireType::IsoTime | WireType::Structured(Structured::Time) => "time(6)".to_owned(),
        WireType::Timestamp(unit) => format!("datetime({})", unit.digits()),
        WireType::ZonedTimestamp
        | WireType::IsoTimestamp
        | WireType::Structured(Structured::Timestamp | Structured::ZonedTimestamp) => "datetime(6)".to_owned(),
        WireType::Text | WireType::Uuid | WireType::Xml | WireType::Enum | WireType::EnumSet => {
            worded(spec, field, key_chars, server)
        }
        _ if key_chars.is_some() => text(key_chars, server.family),
        WireType::ZonedTime
        | WireType::Interval
        | WireType::Duration(_)
        | WireType::Structured(Structured::ZonedTime | Structured::Duration) => SHORT_TEXT.to_owned(),
        kind if is_document(kind) => "json".to_owned(),
        WireType::Geometry(Geometry::Point) => "point".to_owned(),
        WireType::Geometry(_) => "geometry".to_owned(),
        _ => "longtext".to_owned(),
    }
}

fn is_number(kind: &WireType) -> bool {
    matches!(kind, WireType::Int { .. } | WireType::Decimal { .. })
}

/// Whole numbers without a sign: on the wire they have the next larger type, or the same (BIGINT).
fn unsigned(declared: &str) -> Option<&'static str> {
    let (kind, unsigned) = declared.split_once(' ')?;
    match (kind, unsigned.starts_with("UNSIGNED")) {
        ("TINYINT", true) => Some("tinyint unsigned"),
        ("SMALLINT", true) => Some("smallint unsigned"),
        ("MEDIUMINT", true) => Some("mediumint unsigned"),
        ("INT" | "INTEGER", true) => Some("int unsigned"),
        ("BIGINT", true) => Some("bigint unsigned"),
        _ => None,
    }
}

/// Up to 65 digits, 30 of them behind the point; numbers with a negative scale end in zeros, those of a scale beyond the precision
/// begin with them.
fn decimal(precision: u32, scale: i32) -> Option<String> {
    let digits = precision.checked_add(scale.min(0).unsigned_abs())?.max(scale.max(0).unsigned_abs());
    (digits <= 65 && scale <= 30).then(|| format!("decimal({digits},{})", scale.max(0)))
}

fn bytes(key_bytes: Option<usize>) -> String {
    key_bytes.map_or_else(|| "longblob".to_owned(), |bytes| format!("varbinary({bytes})"))
}

fn text(key_chars: Option<usize>, family: Family) -> String {
    match key_chars {
        Some(chars) => format!("varchar({chars}) character set utf8mb4 collate {}", family.key_collation()),
        None => "longtext".to_owned(),
    }
}

/// Text of which the source's type may say more.
fn worded(spec: &TableSpec, field: &Field, key_chars: Option<usize>, server: &Server) -> String {
    let declared = field.declared.as_ref();
    let kind = declared.map_or("", |declared| declared.kind.as_str());
    let own = match (&field.kind, kind) {
        (WireType::Uuid, _) | (WireType::Text, "UUID") => server.types.get("uuid"),
        (WireType::Text, "INET4") => server.types.get("inet4"),
        (WireType::Text, "INET6") => server.types.get("inet6"),
        _ => None,
    };
    match (&field.kind, varchar(field)) {
        _ if own.is_some() => own.cloned().unwrap_or_default(),
        (_, Some(chars)) if key_chars.is_none() && varchars_fit(spec) => format!("varchar({chars})"),
        // As a key it is text as well: the binary collation of ASCII pads with blanks.
        (WireType::Uuid, _) if key_chars.is_none() => "char(36) character set ascii collate ascii_bin".to_owned(),
        _ => text(key_chars, server.family),
    }
}

/// Length of a text of limited length. CHAR becomes VARCHAR, which keeps blanks.
fn varchar(field: &Field) -> Option<u32> {
    let declared = field.declared.as_ref()?;
    let limited = matches!(declared.kind.as_str(), "VARCHAR" | "CHAR" | "BPCHAR" | "CHARACTER VARYING" | "CHARACTER");
    declared.length.filter(|length| limited && field.kind == WireType::Text && (1..=VARCHAR_MAX).contains(length))
}

fn varchars_fit(spec: &TableSpec) -> bool {
    spec.fields.iter().filter_map(varchar).map(|chars| 4 * u64::from(chars) + 2).sum::<u64>() <= VARCHAR_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::table::{Contract, DeleteMode, TableName, TokenStorage};
    use crate::core::wire::{Declared, Unit};

    fn made(kind: WireType, declared: &str, length: Option<u32>, is_key: bool, server: &Server) -> String {
        let declared = (!declared.is_empty()).then(|| Declared { kind: declared.to_owned(), length, scale: None });
        let field = Field { declared, ..Field::new("v", kind, true) };
        let spec = TableSpec {
            name: TableName::new(None, "t"),
            fields: vec![field.clone()],
            key: vec!["v".to_owned()],
            contract: Contract::FinalState,
            delete: DeleteMode::Hard,
            token_storage: TokenStorage::Column,
        };
        column_type(&spec, &field, is_key, server)
    }

    /// The text snapshot of every type, for MySQL 9 and for MariaDB.
    #[test]
    fn every_wire_type_has_a_lossless_column() {
        let mysql = Server { family: Family::MySql, ..Server::default() };
        let own = ["uuid", "inet4", "inet6"].map(|name| (name.to_owned(), name.to_owned()));
        let mariadb = Server { types: own.into(), ..Server::default() };
        let decimal = |scale, precision| WireType::Decimal { scale, precision };
        for (kind, declared, length, on_mysql, on_mariadb) in [
            (WireType::Int { bits: 16 }, "TINYINT UNSIGNED", None, "tinyint unsigned", None),
            (WireType::Int { bits: 64 }, "INT UNSIGNED ZEROFILL", Some(5), "int unsigned", None),
            (WireType::Int { bits: 64 }, "BIGINT UNSIGNED", None, "bigint unsigned", None),
            (decimal(0, None), "BIGINT UNSIGNED", None, "bigint unsigned", None),
            (WireType::Int { bits: 32 }, "INT4", None, "int", None),
            (WireType::Year, "YEAR", None, "year", None),
            (decimal(2, Some(10)), "DECIMAL UNSIGNED", Some(10), "decimal(10,2)", None),
            (decimal(-3, Some(5)), "", None, "decimal(8,0)", None),
            (decimal(7, Some(5)), "", None, "decimal(7,7)", None),
            (decimal(0, Some(66)), "", None, "longtext", None),
            (decimal(2, None), "", None, "longtext", None),
            (WireType::VariableDecimal, "NUMERIC", None, "longtext", None),
            (WireType::Text, "VARCHAR", Some(1000), "varchar(1000)", None),
            (WireType::Text, "BPCHAR", Some(3), "varchar(3)", None),
            (WireType::Text, "VARCHAR", Some(1001), "longtext", None),
            (WireType::Text, "TINYTEXT", Some(255), "longtext", None),
            (WireType::Text, "INET", None, "longtext", None),
            (WireType::Text, "INET6", None, "longtext", Some("inet6")),
            (WireType::Text, "UUID", None, "longtext", Some("uuid")),
            (WireType::Uuid, "UUID", None, "char(36) character set ascii collate ascii_bin", Some("uuid")),
            (WireType::Enum, "ENUM", Some(1), "longtext", None),
            (WireType::Bytes, "BINARY", Some(16), "longblob", None),
            (WireType::Bits { length: Some(64) }, "BIT", Some(64), "bit(64)", None),
            (WireType::Bits { length: Some(65) }, "BIT", Some(65), "longtext", None),
            (WireType::Bits { length: Some(8) }, "VARBIT", Some(8), "longblob", None),
            (WireType::Bits { length: None }, "", None, "longblob", None),
            (WireType::Time(Unit::Millis), "", None, "time(3)", None),
            (WireType::IsoTimestamp, "", None, "datetime(6)", None),
            (WireType::ZonedTime, "", None, "varchar(100)", None),
            (WireType::Duration(Unit::Nanos), "", None, "varchar(100)", None),
            (WireType::Map, "", None, "json", None),
            (WireType::Array(Box::new(WireType::Text)), "_TEXT", None, "json", None),
            (WireType::Geometry(Geometry::Point), "", None, "point", None),
            (WireType::Geometry(Geometry::Geography), "", None, "geometry", None),
            (WireType::Ltree, "", None, "longtext", None),
        ] {
            let of = |server| made(kind.clone(), declared, length, false, server);
            assert_eq!(of(&mysql), on_mysql, "{kind} {declared}");
            assert_eq!(of(&mariadb), on_mariadb.unwrap_or(on_mysql), "{kind} {declared}");
        }
        let key = "varchar(255) character set utf8mb4 collate utf8mb4_0900_bin";
        for kind in [WireType::Text, WireType::Uuid, WireType::Interval, WireType::Json] {
            assert_eq!(made(kind, "VARCHAR", Some(10), true, &mysql), key);
        }
        assert_eq!(made(WireType::Bytes, "", None, true, &mysql), "varbinary(255)");
    }
}
