//! Statements for tables whose tokens are in a side table ([`TokenStorage::Side`](crate::core::table::TokenStorage)).
//!
//! One side row per key ever seen is both token and tombstone. It is written first, under the guard; whoever wrote it
//! holds its lock until the end, so only the winners' rows are touched and two writers of a key cannot miss each other.
//! A winner is recognised by its side row: of this transaction (`xmin`) and with the event's token.

use crate::core::table::DeleteMode;

use super::{MINE, OP_DELETE, PARAMETER, TRUNCATE, TableSql, beyond_truncate, older};

impl TableSql<'_> {
    /// Writes the side rows of events that beat them. `$1` truncate token. Returns three numbers: winners, keys that are
    /// deleted now and were not before, keys that were deleted before and are not now.
    ///
    /// `deleted_at` is the time since when a key is deleted, or live again: it changes only when the mark does.
    pub fn side_win(&self) -> String {
        let (side, stage, token, deleted) = (&self.side, &self.stage, &self.token, &self.deleted);
        let key: String = self.table.key.iter().map(|at| format!("{}, ", self.staged(*at))).collect();
        // Repair writes rows anew, never what was deleted.
        let rows_only = match self.below {
            "<" => String::new(),
            _ => format!(" and (m.{token} <> excluded.{token} or not (m.{deleted} or excluded.{deleted}))"),
        };
        format!(
            "with won as (\n    insert into {side} as m ({key_list}, {token}, {deleted})\n    \
             select {key}s.token, s.op = {OP_DELETE} from {stage} s where {} order by {order}\n    \
             on conflict ({key_list}) do update set {token} = excluded.{token}, {deleted} = excluded.{deleted}, deleted_at = \
             case when m.{deleted} = excluded.{deleted} then m.deleted_at else now() end\n    where {}{rows_only}\n    \
             returning m.{deleted} as is_dead, m.xmax = 0 as is_new, m.deleted_at = now() as turned)\n\
             select count(*), count(*) filter (where is_dead and (is_new or turned)), \
             count(*) filter (where not is_dead and not is_new and turned) from won",
            beyond_truncate(),
            older(&format!("m.{token}"), self.below, &format!("excluded.{token}")),
            key_list = self.key_list(),
            // One order of locks for all writers, over upserts and deletes.
            order = key.trim_end_matches(", "),
        )
    }

    /// Rows of the winners of a column group. `$1` op.
    pub fn side_upsert(&self, columns: &[usize]) -> String {
        let mut names = self.names(columns);
        let mut values: Vec<String> = columns.iter().map(|at| self.staged(*at)).collect();
        let mut assigned = self.assignments(columns);
        if self.table.shape.has_deleted {
            names.push(self.deleted.clone());
            values.push("false".to_owned());
            assigned.push(format!("{} = false", self.deleted));
        }
        let resolution = match assigned.is_empty() {
            true => "nothing".to_owned(),
            false => format!("update set {}", assigned.join(", ")),
        };
        format!(
            "insert into {} ({}) overriding system value\nselect {} from {} s where s.op = $1 and {}\n\
             on conflict ({}) do {resolution}",
            self.target,
            names.join(", "),
            values.join(", "),
            self.stage,
            self.won(),
            self.key_list(),
        )
    }

    /// Lets the rows of the winners of a column group go of their unique values. `$1` op.
    pub fn side_park(&self, columns: &[usize]) -> Option<String> {
        self.park_rows(columns, &format!("s.op = $1 and {}", self.won()))
    }

    /// Rows of deletes that won. `$1` is 1. `None` where a soft delete is marked in the side row alone.
    pub fn side_delete(&self) -> Option<String> {
        let condition = format!("{} and s.op = {OP_DELETE} and {} and {PARAMETER}", self.is_staged("t"), self.won());
        self.side_remove(&self.stage, "s", &condition)
    }

    /// Side rows of live keys of the batch that the truncate token `$1` beats.
    pub fn side_recheck_truncate(&self) -> String {
        let (side, token) = (&self.side, &self.token);
        let beaten = format!("not m.{} and {}", self.deleted, older(&format!("m.{token}"), "<", TRUNCATE));
        let staged = format!("select m.ctid from {side} m where {} and {beaten}", self.is_staged("m"));
        let rows = self.of_batch(&staged, &format!("{TRUNCATE} is not null"));
        format!("{}\nwhere m.ctid = {rows}\nand {beaten}", self.side_mark())
    }

    /// Side rows of all live keys that the truncate token `$1` beats.
    pub fn side_truncate(&self) -> String {
        let beaten = older(&format!("m.{}", self.token), "<", TRUNCATE);
        format!("{}\nwhere not m.{} and {beaten}", self.side_mark(), self.deleted)
    }

    /// Rows of keys that the truncate token `$1` deleted.
    pub fn side_truncate_rows(&self) -> Option<String> {
        let (deleted, token) = (&self.deleted, &self.token);
        let condition = format!("{} and m.{deleted} and m.{token} = {TRUNCATE}", self.is_same("t", "m"));
        self.side_remove(&self.side, "m", &condition)
    }

    /// Rows that no side row knows, which any event beats. `$1` is 1.
    pub fn side_truncate_unknown(&self) -> Option<String> {
        let known = format!("exists (select 1 from {} m where {})", self.side, self.is_same("t", "m"));
        let verb = match (self.table.delete, self.table.shape.has_deleted) {
            (DeleteMode::Soft, true) => format!("update {} t set {} = true", self.target, self.deleted),
            (DeleteMode::Soft, false) => return None,
            _ => format!("delete from {} t", self.target),
        };
        Some(format!("{verb} where {PARAMETER} and not {known}"))
    }

    /// Its time is not that of the transaction's beginning, by which [`Self::side_win`] tells what it turned itself: a delete behind
    /// the TRUNCATE in one batch does not make a second tombstone.
    fn side_mark(&self) -> String {
        let (side, deleted, token) = (&self.side, &self.deleted, &self.token);
        format!("update {side} m set {deleted} = true, {token} = {TRUNCATE}, deleted_at = clock_timestamp()")
    }

    fn side_remove(&self, from: &str, alias: &str, condition: &str) -> Option<String> {
        let (target, deleted) = (&self.target, &self.deleted);
        match (self.table.delete, self.table.shape.has_deleted) {
            (DeleteMode::Soft, false) => None,
            (DeleteMode::Soft, true) => {
                Some(format!("update {target} t set {deleted} = true from {from} {alias}\nwhere {condition}"))
            }
            _ => Some(format!("delete from {target} t using {from} {alias}\nwhere {condition}")),
        }
    }

    fn won(&self) -> String {
        format!(
            "exists (select 1 from {} m where {} and m.{} = s.token and m.xmin = {MINE})",
            self.side,
            self.is_staged("m"),
            self.token
        )
    }
}
