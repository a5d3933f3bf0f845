//! PostgreSQL.

use crate::core::wire::WireType;

/// See [`super::native_type`].
pub(super) fn column_type(kind: &WireType, is_key: bool) -> String {
    match kind {
        WireType::Bool => "boolean".to_owned(),
        WireType::Int { bits: 8 | 16 } => "smallint".to_owned(),
        WireType::Int { bits: 32 } | WireType::Year => "integer".to_owned(),
        WireType::Int { .. } => "bigint".to_owned(),
        WireType::Float32 => "real".to_owned(),
        WireType::Float64 => "double precision".to_owned(),
        WireType::Bytes => "bytea".to_owned(),
        WireType::Decimal { scale, precision: Some(precision) } if *precision <= 1000 && (0..=1000).contains(scale) => {
            format!("numeric({precision},{scale})")
        }
        WireType::Decimal { .. } | WireType::VariableDecimal => "numeric".to_owned(),
        WireType::Date => "date".to_owned(),
        WireType::Time(unit) => format!("time({})", unit.digits()),
        WireType::Timestamp(unit) => format!("timestamp({})", unit.digits()),
        WireType::ZonedTimestamp => "timestamptz".to_owned(),
        WireType::Uuid => "uuid".to_owned(),
        WireType::Json => "jsonb".to_owned(),
        _ if is_key => "text collate \"C\"".to_owned(),
        _ => "text".to_owned(),
    }
}
