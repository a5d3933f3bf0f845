//! From a cell on the wire to a value that a column holds exactly, or a reason why not.
//!
//! Two steps: the wire type says what the cell means, the column's type says whether it can hold that. A value is never
//! rounded, cut, clamped, shifted or guessed.

mod fit;
mod plain;
mod read;
mod render;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::core::table::ColumnType;
use crate::core::unavailable::Unavailable;
use crate::core::value::Value;
use crate::core::wire::WireType;

pub use plain::{PlainDecimal, PlainRules, PlainTime};
pub use render::row_json;

/// Why a cell cannot become a value of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The cell is not what its wire type says.
    Undecodable(&'static str),
    /// The column cannot hold it without loss.
    DoesNotFit(&'static str),
    /// The connector did not see the value (unchanged TOAST or LOB).
    Placeholder,
    /// Something has to be configured first.
    Undecided(&'static str),
}

/// How cells are read: what is configured for their table.
#[derive(Clone, Debug, Default)]
pub struct CellRules {
    /// For events without a schema.
    pub plain: PlainRules,
    /// What stands for a value that the connector did not see.
    pub unavailable: Arc<Unavailable>,
}

/// Converts a cell for a column. `owner` holds the record's bytes, so that text need not be copied.
pub fn fit_cell(
    cell: &RawValue,
    wire: &WireType,
    column: &ColumnType,
    rules: &CellRules,
    owner: &Bytes,
) -> Result<Value, Misfit> {
    let json = cell.get();
    if json == "null" {
        return Ok(Value::Null);
    }
    if rules.unavailable.is(json) {
        return Err(Misfit::Placeholder);
    }
    let value = match wire {
        WireType::Untyped => plain::read(json, column, rules.plain, owner)?,
        typed => read::read(json, typed, owner)?,
    };
    fit::fit(value, column)
}

type Read = Result<Value, Misfit>;

fn bad(what: &'static str) -> Misfit {
    Misfit::Undecodable(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 6: a number beyond its type is an error, never infinity.
    #[test]
    fn numbers_beyond_their_type_are_refused() {
        let fit = |json: &'static str, wire: WireType| {
            let cell: &RawValue = serde_json::from_str(json).expect("json");
            fit_cell(cell, &wire, &ColumnType::Float64, &CellRules::default(), &Bytes::from_static(json.as_bytes()))
        };
        for (json, wire) in [("1e400", WireType::Float64), ("-1e400", WireType::Float64), ("1e39", WireType::Float32)] {
            assert!(matches!(fit(json, wire), Err(Misfit::Undecodable(_))), "{json}");
        }
        assert_eq!(fit("\"Infinity\"", WireType::Float64), Ok(Value::Float64(f64::INFINITY)));
        assert_eq!(fit("1e308", WireType::Float64), Ok(Value::Float64(1e308)));
    }
}
