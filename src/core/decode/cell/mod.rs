//! From a cell on the wire to a value that a column holds exactly, or a reason why not.
//!
//! Two steps: the wire type says what the cell means, the column's type says whether it can hold that. A value is never
//! rounded, cut, clamped, shifted or guessed.

mod compound;
mod fit;
mod nearest;
mod plain;
mod read;
mod render;
mod time;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::core::dialect::Dialect;
use crate::core::table::ColumnType;
use crate::core::unavailable::Unavailable;
use crate::core::value::Value;
use crate::core::wire::{Declared, Field, WireType};

pub use nearest::{OnUnrepresentable, nearest_cell};
pub use plain::{PlainDecimal, PlainRules, PlainTime};
pub use render::row_json;
pub use words::Binary;

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
    /// What text in a bytes column is; `None` refuses it.
    pub binary: Option<Binary>,
    /// What becomes of values that a column cannot hold, by the destination's columns.
    pub on_unrepresentable: Arc<BTreeMap<String, OnUnrepresentable>>,
    /// Whose ranges dates and times keep to; `None` leaves them to the destination.
    pub dialect: Option<Dialect>,
}

/// Converts a cell for a column. `owner` holds the record's bytes, so that text need not be copied.
pub fn fit_cell(
    cell: &RawValue,
    field: &Field,
    column: &ColumnType,
    rules: &CellRules,
    owner: &Bytes,
) -> Result<Value, Misfit> {
    let json = cell.get();
    if json != "null" && rules.unavailable.is(json) {
        return Err(Misfit::Placeholder);
    }
    Reader { rules, owner }.cell(json, &field.kind, field.declared.as_ref(), column)
}

/// What reading a cell needs besides the cell.
#[derive(Clone, Copy)]
struct Reader<'a> {
    rules: &'a CellRules,
    owner: &'a Bytes,
}

impl Reader<'_> {
    fn cell(self, json: &str, wire: &WireType, declared: Option<&Declared>, column: &ColumnType) -> Read {
        if json == "null" {
            return Ok(Value::Null);
        }
        let value = match wire {
            WireType::Untyped => self.plain(json, column)?,
            typed => self.read(json, typed, declared, column)?,
        };
        fit::fit(value, column, self.rules)
    }

    /// What a cell means, before the column is asked whether it holds that.
    fn meaning(self, json: &str, field: &Field, column: &ColumnType) -> Read {
        match &field.kind {
            WireType::Untyped => self.plain(json, column),
            typed => self.read(json, typed, field.declared.as_ref(), column),
        }
    }
}

type Read = Result<Value, Misfit>;

/// Refused where a column counts microseconds; text columns take all digits.
const FINER: Misfit = Misfit::DoesNotFit("a time finer than a microsecond");
/// Text without a limit: for values inside of others, which become JSON.
const TEXT: ColumnType = ColumnType::Text { max_chars: None };

fn bad(what: &'static str) -> Misfit {
    Misfit::Undecodable(what)
}

fn no(what: &'static str) -> Misfit {
    Misfit::DoesNotFit(what)
}

#[cfg(test)]
mod tests;
