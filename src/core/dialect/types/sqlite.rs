//! SQLite (STRICT tables).

use crate::core::wire::WireType;

/// See [`super::native_type`].
pub(super) fn column_type(kind: &WireType) -> &'static str {
    match kind {
        WireType::Bool | WireType::Int { .. } | WireType::Year => "integer",
        WireType::Float32 | WireType::Float64 => "real",
        WireType::Bytes => "blob",
        _ => "text",
    }
}
