//! MySQL and MariaDB.

use crate::core::dialect::ddl::Family;
use crate::core::wire::WireType;

/// Bytes of an InnoDB index entry.
const MYSQL_INDEX_BYTES: usize = 3072;
/// Characters of a text key column in MySQL where the index has room for them.
const MYSQL_KEY_CHARS_MAX: usize = 255;

/// Characters that each text column of a key may have, so that all together fit into an index entry.
pub(super) fn key_chars(columns: usize) -> usize {
    (MYSQL_INDEX_BYTES / 4 / columns.max(1)).min(MYSQL_KEY_CHARS_MAX)
}

/// See [`super::native_type`].
pub(super) fn column_type(kind: &WireType, key_chars: Option<usize>, family: Family) -> String {
    let text = || match key_chars {
        Some(chars) => format!("varchar({chars}) character set utf8mb4 collate {}", family.key_collation()),
        None => "longtext".to_owned(),
    };
    match kind {
        WireType::Bool => "boolean".to_owned(),
        WireType::Int { bits: 8 } => "tinyint".to_owned(),
        WireType::Int { bits: 16 } => "smallint".to_owned(),
        WireType::Int { bits: 32 } | WireType::Year => "int".to_owned(),
        WireType::Int { .. } => "bigint".to_owned(),
        WireType::Float32 => "float".to_owned(),
        WireType::Float64 => "double".to_owned(),
        WireType::Bytes => key_chars.map_or_else(|| "longblob".to_owned(), |bytes| format!("varbinary({bytes})")),
        WireType::Decimal { scale, precision: Some(precision) } if *precision <= 65 && (0..=30).contains(scale) => {
            format!("decimal({precision},{scale})")
        }
        WireType::Date => "date".to_owned(),
        WireType::Time(unit) => format!("time({})", unit.digits()),
        WireType::Timestamp(unit) => format!("datetime({})", unit.digits()),
        WireType::ZonedTimestamp => "datetime(6)".to_owned(),
        // As a key it is text as well: the binary collation of ASCII pads with blanks.
        WireType::Uuid if key_chars.is_none() => "char(36) character set ascii collate ascii_bin".to_owned(),
        WireType::Json if key_chars.is_none() => "json".to_owned(),
        _ => text(),
    }
}
