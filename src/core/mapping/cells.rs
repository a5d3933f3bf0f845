//! Values of an event for the columns of its table.

use std::cell::RefCell;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Mapping, Source};
use crate::core::decode::{Misfit, OnUnrepresentable, fit_cell, nearest_cell};
use crate::core::event::{RawEvent, RawRow, Rejection};
use crate::core::value::Value;

/// What a cell holds.
pub(super) enum Seen {
    Value(Value),
    /// The connector did not see it.
    Nothing,
}

/// The cells of an event.
pub(super) struct Cells<'m, 'e> {
    mapping: &'m Mapping,
    pub(super) event: &'m RawEvent<'e>,
    key_bytes: &'m Bytes,
    value_bytes: &'m Bytes,
    adjusted: RefCell<Vec<(usize, OnUnrepresentable)>>,
}

impl<'m, 'e> Cells<'m, 'e> {
    pub(super) fn new(
        mapping: &'m Mapping,
        event: &'m RawEvent<'e>,
        key_bytes: &'m Bytes,
        value_bytes: &'m Bytes,
    ) -> Self {
        Self { mapping, event, key_bytes, value_bytes, adjusted: RefCell::default() }
    }

    /// What was put in place of values that their columns cannot hold.
    pub(super) fn adjusted(self) -> Vec<(usize, OnUnrepresentable)> {
        self.adjusted.into_inner()
    }

    /// Whether the source reports a change of a row that keeps its key.
    pub(super) fn is_update(&self) -> bool {
        if !["u", "update"].iter().any(|update| self.event.op_text.eq_ignore_ascii_case(update)) {
            return false;
        }
        let (Some(before), Some(after)) = (&self.event.before, &self.event.after) else { return true };
        let keeps = |field: usize| {
            let (Some(now), Some(described)) = (after.cells.get(field), after.schema.fields.get(field)) else {
                return false;
            };
            // A `before` without the column, or with null for it, says nothing: a key is never NULL.
            let old = before.schema.position(&described.name).and_then(|at| before.cells.get(at));
            old.is_none_or(|old| old.get() == now.get() || old.get() == "null")
        };
        self.mapping.key_in_columns.iter().all(|at| match &self.mapping.sources[*at] {
            Source::Row { field, .. } => keeps(*field),
            Source::Key { .. } => true,
        })
    }

    pub(super) fn delete_key(&self) -> Result<Vec<Value>, Rejection> {
        let row = self.event.before.as_ref();
        let columns = self.mapping.table.key.iter().zip(&self.mapping.delete_key);
        columns.map(|(column, source)| self.seen(row, *column, source)).collect()
    }

    /// A value that must be there: of a key.
    pub(super) fn seen(&self, row: Option<&RawRow<'_>>, column: usize, source: &Source) -> Result<Value, Rejection> {
        match self.value(row, column, source)? {
            Seen::Value(value) => Ok(value),
            Seen::Nothing => Err(Rejection::new(
                "partial_row",
                format!(
                    "key column {:?} of {}: the connector did not see the value, or the key reads like its placeholder; \
                     configure another one in both (`unavailable_value`)",
                    self.mapping.table.shape.columns[column].name,
                    self.mapping.table.name()
                ),
            )),
        }
    }

    pub(super) fn value(&self, row: Option<&RawRow<'_>>, column: usize, source: &Source) -> Result<Seen, Rejection> {
        let (cell, field, owner) = match source {
            Source::Row { field, described } => {
                (row.and_then(|row| row.cells.get(*field)), described, self.value_bytes)
            }
            Source::Key { field, described } => {
                (self.event.key.as_ref().and_then(|key| key.cells.get(*field)), described, self.key_bytes)
            }
        };
        let described = &self.mapping.table.shape.columns[column];
        let cell: &RawValue = cell.ok_or_else(|| {
            Rejection::new("undecodable", format!("the event has no value for column {:?}", described.name))
        })?;
        let place = || format!("column {:?} ({}) of {}", described.name, described.native, self.mapping.table.name());
        match fit_cell(cell, field, &described.kind, &self.mapping.rules, owner) {
            Ok(value) => Ok(Seen::Value(value)),
            Err(Misfit::Placeholder) => Ok(Seen::Nothing),
            Err(Misfit::Undecodable(what)) => {
                Err(Rejection::new("undecodable", format!("{}: the event's value is {what}", place())))
            }
            Err(Misfit::DoesNotFit(what)) => {
                let refused = Rejection::misfit(&described.name, format!("{} cannot hold {what}", place()));
                let (choice, value) = match self.mapping.choices[column] {
                    None => return Err(refused),
                    Some(OnUnrepresentable::Refuse) => return Err(Rejection { stops_table: true, ..refused }),
                    Some(OnUnrepresentable::Quarantine) => return Err(Rejection { is_set_aside: true, ..refused }),
                    Some(null @ OnUnrepresentable::Null) => (null, Value::Null),
                    Some(clamp @ OnUnrepresentable::Clamp) => {
                        let nearest = nearest_cell(cell, field, &described.kind, &self.mapping.rules, owner);
                        (clamp, nearest.ok_or(refused)?)
                    }
                };
                self.adjusted.borrow_mut().push((column, choice));
                Ok(Seen::Value(value))
            }
            Err(Misfit::Undecided(what)) => Err(Rejection::table("undecided", format!("{}: {what}", place()))),
        }
    }
}
