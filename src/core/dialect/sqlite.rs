//! Statements of SQLite for the rows of one table.
//!
//! Every text is a function of the table and of a number of rows, so that few shapes exist and stay prepared. Conditions on
//! keys are written so that SQLite finds rows by the index: joins from the list of keys outwards, and `or` of equalities (row
//! values with `in` scan the table).
//!
//! Aliases are fixed: `s` is the list of the batch's rows, `t` the target, `m` the bookkeeping table beside it (tombstones, or
//! tokens with [`TokenStorage::Side`]). The list names its columns by position, so that no name of a user's column meets ours.

use std::fmt::Write;

use super::super::table::{ColumnType, DELETED_COLUMN, DeleteMode, TOKEN_COLUMN, Table, TokenStorage};
use super::Dialect;

/// Most parameters of a statement.
pub const MAX_PARAMETERS: usize = 32_766;
/// Most rows of a statement: longer ones gain nothing (measured).
pub const MAX_ROWS: usize = 64;

/// Names of one table, quoted once, and its statements.
#[derive(Debug)]
pub struct TableText<'a> {
    table: &'a Table,
    target: String,
    side: String,
    token: String,
    deleted: String,
}

impl<'a> TableText<'a> {
    /// Quotes the names of a table.
    pub fn new(table: &'a Table) -> Self {
        Self {
            table,
            target: Dialect::Sqlite.table(table.name()),
            side: Dialect::Sqlite.bookkeeping(&table.side_name()),
            token: Dialect::Sqlite.ident(TOKEN_COLUMN),
            deleted: Dialect::Sqlite.ident(DELETED_COLUMN),
        }
    }

    /// What is stored for the keys of some rows: number of the row, the row's token, the side table's token, whether the row is
    /// there, whether the key is dead. Keys for which nothing is stored that could beat an event, or has to be cleared away, are
    /// left out; with `all` those whose row is there come, too. Parameters of a row: its key, its token.
    pub fn stored(&self, rows: usize, all: bool) -> String {
        let in_row = self.table.token_storage == TokenStorage::Column;
        let (row_token, dead) = if in_row {
            (format!("t.{}", self.token), "1".to_owned())
        } else {
            ("null".to_owned(), format!("m.{}", self.deleted))
        };
        let side_token = format!("m.{}", self.token);
        let decides = if in_row { &row_token } else { &side_token };
        let mut wanted = format!("{decides} >= s.token or substr({decides}, 1, 3) <> substr(s.token, 1, 3)");
        let first_key = self.column(self.table.key[0]);
        let _ = if in_row { write!(wanted, " or {side_token} is not null") } else { write!(wanted, " or {dead}") };
        if all {
            let _ = write!(wanted, " or t.{first_key} is not null");
        }
        format!(
            "{} select s.o, {row_token}, {side_token}, t.{first_key} is not null, {dead} from s \
             left join {} as t on {} left join {} as m on {} where {wanted}",
            self.with_list(rows, true),
            self.target,
            self.same("t"),
            self.side,
            self.same("m"),
        )
    }

    /// Writes rows, over what is there. Parameters of a row: the columns' values, and its token where rows carry it.
    pub fn upsert(&self, columns: &[usize], rows: usize) -> String {
        let mut names: Vec<String> = columns.iter().map(|at| self.column(*at)).collect();
        let mut assigned: Vec<String> = columns
            .iter()
            .filter(|at| !self.table.key.contains(at))
            .map(|at| format!("{0} = excluded.{0}", self.column(*at)))
            .collect();
        let mut row = vec!["?"; columns.len()];
        if self.token_in_row() {
            names.push(self.token.clone());
            row.push("?");
            assigned.push(format!("{0} = excluded.{0}", self.token));
        }
        if self.mark_in_row() {
            names.push(self.deleted.clone());
            row.push("0");
            assigned.push(format!("{} = 0", self.deleted));
        }
        let action =
            if assigned.is_empty() { "nothing".to_owned() } else { format!("update set {}", assigned.join(", ")) };
        format!(
            "insert into {} ({}) values {} on conflict ({}) do {action}",
            self.target,
            names.join(", "),
            repeat(&format!("({})", row.join(", ")), rows),
            self.key_list(),
        )
    }

    /// Writes over rows that are there, for columns without which no row could be inserted. Parameters as for
    /// [`upsert`](Self::upsert).
    pub fn update(&self, columns: &[usize], rows: usize) -> String {
        let width = columns.len() + usize::from(self.token_in_row());
        let mut assigned: Vec<String> = columns
            .iter()
            .enumerate()
            .filter(|(_, at)| !self.table.key.contains(at))
            .map(|(place, at)| format!("{} = s.c{place}", self.column(*at)))
            .collect();
        if self.token_in_row() {
            assigned.push(format!("{} = s.c{}", self.token, columns.len()));
        }
        if self.mark_in_row() {
            assigned.push(format!("{} = 0", self.deleted));
        }
        let names: Vec<String> = (0..width).map(|place| format!("c{place}")).collect();
        let key = columns.iter().enumerate().filter(|(_, at)| self.table.key.contains(at));
        let same: Vec<String> = key.map(|(place, at)| format!("{} = s.c{place}", self.comparable("t", *at))).collect();
        format!(
            "with s({}) as (values {}) update {} as t set {} from s where {}",
            names.join(", "),
            repeat(&format!("({})", vec!["?"; width].join(", ")), rows),
            self.target,
            assigned.join(", "),
            same.join(" and "),
        )
    }

    /// Appends entries of a change log; what is there already stays. Parameters as for [`upsert`](Self::upsert).
    pub fn append(&self, columns: &[usize], rows: usize) -> String {
        let mut names: Vec<String> = columns.iter().map(|at| self.column(*at)).collect();
        if self.token_in_row() {
            names.push(self.token.clone());
        }
        format!(
            "insert into {} ({}) values {} on conflict ({}) do nothing",
            self.target,
            names.join(", "),
            repeat(&format!("({})", vec!["?"; names.len()].join(", ")), rows),
            self.key_list(),
        )
    }

    /// Deletes rows. Parameters of a row: its key.
    pub fn delete(&self, rows: usize) -> String {
        format!("delete from {} where {}", self.target, self.any_key(rows))
    }

    /// Sets unique columns of rows to NULL. Parameters of a row: its key.
    pub fn park(&self, columns: &[usize], rows: usize) -> String {
        let nulls: Vec<String> = columns.iter().map(|at| format!("{} = null", self.column(*at))).collect();
        format!("update {} set {} where {}", self.target, nulls.join(", "), self.any_key(rows))
    }

    /// Marks rows as deleted. Parameters of a row: its key, its token.
    pub fn mark(&self, rows: usize) -> String {
        let token = if self.token_in_row() { format!(", {} = s.token", self.token) } else { String::new() };
        format!(
            "{} update {} as t set {} = 1{token} from s where {}",
            self.with_list(rows, false),
            self.target,
            self.deleted,
            self.same("t"),
        )
    }

    /// Writes or raises tombstones; with side tokens the token of live keys, too. Parameters of a row: its key, its token, with
    /// side tokens whether it is deleted.
    pub fn bury(&self, rows: usize) -> String {
        let (token, deleted) = (&self.token, &self.deleted);
        let mut row = vec!["?"; self.table.key.len() + 1];
        let (mut name, mut assigned) = (String::new(), String::new());
        if self.table.token_storage == TokenStorage::Side {
            row.push("?");
            name = format!(", {deleted}");
            assigned = format!(", {deleted} = excluded.{deleted}");
        }
        format!(
            "insert into {} ({key}, {token}{name}) values {} on conflict ({key}) do update set \
             {token} = excluded.{token}{assigned}, deleted_at = excluded.deleted_at",
            self.side,
            repeat(&format!("({})", row.join(", ")), rows),
            key = self.key_list(),
        )
    }

    /// Removes tombstones. Parameters of a row: its key.
    pub fn exhume(&self, rows: usize) -> String {
        format!("delete from {} where {}", self.side, self.any_key(rows))
    }

    /// A token of another scope than the parameter's.
    pub fn truncate_incomparable(&self) -> String {
        let from = if self.token_in_row() { &self.target } else { &self.side };
        format!("select 1 from {from} where substr({}, 1, 3) <> substr(?, 1, 3) limit 1", self.token)
    }

    /// A TRUNCATE of the whole table with the token `?1`: what is older (or has no token) goes or is marked, and the same in the
    /// side table, whose keys the truncate token covers from now on.
    pub fn truncate(&self) -> Vec<String> {
        let (target, side, token, deleted) = (&self.target, &self.side, &self.token, &self.deleted);
        let soft = self.table.delete == DeleteMode::Soft;
        if self.token_in_row() {
            let rows = if soft {
                format!("update {target} set {deleted} = 1, {token} = ?1 where {token} is null or {token} < ?1")
            } else {
                format!("delete from {target} where {token} is null or {token} <= ?1")
            };
            return vec![rows, format!("delete from {side} where {token} <= ?1")];
        }
        let newer = format!("exists (select 1 from {side} as m where {} and m.{token} > ?1)", self.joined());
        if !soft {
            return vec![
                format!("delete from {target} as t where not {newer}"),
                format!("delete from {side} where {token} <= ?1"),
            ];
        }
        let key = self.key_list();
        let mut statements = Vec::new();
        if self.mark_in_row() {
            statements.push(format!("update {target} as t set {deleted} = 1 where not {newer}"));
        }
        statements.push(format!("update {side} set {deleted} = 1, {token} = ?1 where {token} < ?1"));
        statements.push(format!(
            "insert into {side} ({key}, {token}, {deleted}) select {key}, ?1, 1 from {target} where true \
             on conflict ({key}) do nothing"
        ));
        statements
    }

    /// Number of tombstones.
    pub fn count_tombstones(&self) -> String {
        match self.table.token_storage {
            TokenStorage::Column => format!("select count(*) from {}", self.side),
            TokenStorage::Side => format!("select count(*) from {} where {}", self.side, self.deleted),
        }
    }

    /// Whether rows carry their token.
    pub fn token_in_row(&self) -> bool {
        self.table.shape.has_token && self.table.token_storage == TokenStorage::Column
    }

    /// Whether rows carry the mark of a soft delete.
    pub fn mark_in_row(&self) -> bool {
        self.table.shape.has_deleted
    }

    fn column(&self, at: usize) -> String {
        Dialect::Sqlite.ident(&self.table.shape.columns[at].name)
    }

    fn key_list(&self) -> String {
        self.table.key.iter().map(|at| self.column(*at)).collect::<Vec<_>>().join(", ")
    }

    /// A key column that is compared byte by byte, whatever its declared collation: the index that keeps it unique decides
    /// which keys are one, and its collation has been checked.
    fn comparable(&self, alias: &str, at: usize) -> String {
        let collate = match self.table.shape.columns[at].kind {
            ColumnType::Text { .. } => " collate binary",
            _ => "",
        };
        format!("{alias}.{}{collate}", self.column(at))
    }

    fn with_list(&self, rows: usize, numbered: bool) -> String {
        let mut names: Vec<String> = (0..self.table.key.len()).map(|place| format!("k{place}")).collect();
        names.push("token".to_owned());
        let marks = vec!["?"; names.len()].join(", ");
        let list: Vec<String> =
            (0..rows).map(|row| if numbered { format!("({marks}, {row})") } else { format!("({marks})") }).collect();
        if numbered {
            names.push("o".to_owned());
        }
        format!("with s({}) as (values {})", names.join(", "), list.join(", "))
    }

    /// The row of `alias` has the key of the list's row.
    fn same(&self, alias: &str) -> String {
        let keys = self.table.key.iter().enumerate();
        let equal: Vec<String> =
            keys.map(|(place, at)| format!("{} = s.k{place}", self.comparable(alias, *at))).collect();
        equal.join(" and ")
    }

    /// Target and side table have the same key.
    fn joined(&self) -> String {
        let equal = self.table.key.iter().map(|at| format!("{} = t.{}", self.comparable("m", *at), self.column(*at)));
        equal.collect::<Vec<_>>().join(" and ")
    }

    fn any_key(&self, rows: usize) -> String {
        let collate = |at: usize| match self.table.shape.columns[at].kind {
            ColumnType::Text { .. } => " collate binary",
            _ => "",
        };
        if let [at] = self.table.key[..] {
            return format!("{}{} in ({})", self.column(at), collate(at), repeat("?", rows));
        }
        let equal: Vec<String> =
            self.table.key.iter().map(|at| format!("{}{} = ?", self.column(*at), collate(*at))).collect();
        vec![format!("({})", equal.join(" and ")); rows].join(" or ")
    }
}

fn repeat(text: &str, times: usize) -> String {
    vec![text; times].join(", ")
}
