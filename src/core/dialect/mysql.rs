//! Statements for the rows of one table in MySQL and MariaDB.
//!
//! All texts are functions of the table and of a number of rows, so that few shapes exist and stay prepared.
//!
//! # Why the guard is a lock and not an `IF` on each column
//!
//! Neither server has `ON DUPLICATE KEY UPDATE … WHERE`, and the affected rows of a guarded multi-row upsert do not
//! tell how many rows won (with `CLIENT_FOUND_ROWS` a row that lost counts like an inserted one). So the stored tokens
//! of a batch's keys are read `FOR UPDATE` first and compared by the client: a row that was there stays as it was seen
//! until the transaction ends, and a row that was not there is written by a plain `INSERT`, whose duplicate key error
//! tells that another session was faster (the row is then read again). Every decision is exact and counted, and
//! statements hold each column once.
//!
//! `VALUES(c)` is used because MariaDB has no row alias; it works in both servers. The token is assigned last, because
//! assignments run from left to right.

pub mod parameter;

use std::fmt::Write;

use super::super::table::{ColumnType, Contract, DELETED_COLUMN, TOKEN_COLUMN, Table, TokenStorage};
use super::Dialect;

/// Most placeholders of a prepared statement.
pub const MAX_PLACEHOLDERS: usize = 65_535;

/// What stands behind the type of a column (in [`Column::native`](super::super::table::Column::native)) into which the server writes
/// the time of every update that does not name it.
pub const ON_UPDATE: &str = "ON UPDATE";

/// Names of one table, quoted once, and its statements.
#[derive(Debug)]
pub struct TableText<'a> {
    table: &'a Table,
    target: String,
    side: String,
}

impl<'a> TableText<'a> {
    /// Quotes the names of a table.
    pub fn new(table: &'a Table) -> Self {
        let side = Dialect::Mysql.bookkeeping(&table.side_name());
        Self { table, target: Dialect::Mysql.table(table.name()), side }
    }

    /// The target's quoted name.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether rows carry their token.
    pub fn token_in_row(&self) -> bool {
        self.table.shape.has_token && self.table.token_storage == TokenStorage::Column
    }

    /// Whether rows carry the mark of a soft delete.
    pub fn mark_in_row(&self) -> bool {
        self.table.shape.has_deleted && self.table.contract == Contract::FinalState
    }

    /// Key columns, and the token where rows carry it, of the stored rows of some keys; with `lock` they stay as they
    /// are until the end of the transaction. Parameters: the keys.
    pub fn read_rows(&self, rows: usize, lock: bool) -> String {
        let own: &[&str] = if self.token_in_row() { &[TOKEN_COLUMN] } else { &[] };
        self.read(&self.target, own, rows, lock)
    }

    /// Key columns and token (with side tokens also the mark of a deleted key) of the side table's rows of some keys.
    /// Parameters: the keys.
    pub fn read_side(&self, rows: usize, lock: bool) -> String {
        let own: &[&str] = match self.table.token_storage {
            TokenStorage::Column => &[TOKEN_COLUMN],
            TokenStorage::Side => &[TOKEN_COLUMN, DELETED_COLUMN],
        };
        self.read(&self.side, own, rows, lock)
    }

    fn read(&self, from: &str, own: &[&str], rows: usize, lock: bool) -> String {
        let mut columns = self.key_list();
        for name in own {
            let _ = write!(columns, ", {}", ident(name));
        }
        let lock = if lock { " FOR UPDATE" } else { "" };
        format!("SELECT {columns} FROM {from} FORCE INDEX (PRIMARY) WHERE {}{lock}", self.predicate(rows))
    }

    /// A plain insert. Parameters of a row: the columns' values, then the token where rows carry it. The mark of a soft
    /// delete is written as 0.
    pub fn insert_rows(&self, columns: &[usize], rows: usize) -> String {
        let mut names: Vec<String> = columns.iter().map(|index| self.column(*index)).collect();
        let mut row = vec!["?"; columns.len()];
        if self.mark_in_row() {
            names.push(ident(DELETED_COLUMN));
            row.push("0");
        }
        if self.token_in_row() {
            names.push(ident(TOKEN_COLUMN));
            row.push("?");
        }
        format!("INSERT INTO {} ({}) VALUES {}", self.target, names.join(", "), repeat(&row, rows))
    }

    /// An insert that overwrites the rows that are there. Parameters as for [`insert_rows`](Self::insert_rows).
    ///
    /// Only for rows that are known to be there (and locked), where the table has a second unique key: `ON DUPLICATE KEY`
    /// updates the row over which the insert stumbles first. Of a row that is there that is the primary key, which is the
    /// clustered index and is written first; a new row would stumble over another row's unique value and change that row.
    pub fn upsert_rows(&self, columns: &[usize], rows: usize) -> String {
        let mut assigned: Vec<String> = columns
            .iter()
            .filter(|index| !self.table.key.contains(index))
            .map(|index| assign_inserted(&self.column(*index)))
            .collect();
        if self.mark_in_row() {
            assigned.push(format!("{} = 0", ident(DELETED_COLUMN)));
        }
        if self.token_in_row() {
            assigned.push(assign_inserted(&ident(TOKEN_COLUMN)));
        }
        if assigned.is_empty() {
            assigned.extend(self.table.key.first().map(|index| assign_inserted(&self.column(*index))));
        }
        format!("{} ON DUPLICATE KEY UPDATE {}", self.insert_rows(columns, rows), assigned.join(", "))
    }

    /// Overwrites some columns of one row that is there: for rows whose other columns could not be inserted (NOT NULL
    /// without a default). Parameters: the values of the columns that are no key columns, in their order, the token
    /// where rows carry it, the key.
    pub fn update_row(&self, columns: &[usize]) -> String {
        let mut assigned: Vec<String> = columns
            .iter()
            .filter(|index| !self.table.key.contains(index))
            .map(|index| format!("{} = ?", self.column(*index)))
            .collect();
        if self.mark_in_row() {
            assigned.push(format!("{} = 0", ident(DELETED_COLUMN)));
        }
        if self.token_in_row() {
            assigned.push(format!("{} = ?", ident(TOKEN_COLUMN)));
        }
        if assigned.is_empty() {
            assigned.extend(self.table.key.first().map(|index| format!("{0} = {0}", self.column(*index))));
        }
        format!("UPDATE {} SET {} WHERE {}", self.target, assigned.join(", "), self.predicate(1))
    }

    /// Sets unique columns of rows to NULL. Parameters: the keys.
    pub fn park_rows(&self, columns: &[usize], rows: usize) -> String {
        let nulls: Vec<String> = columns.iter().map(|index| format!("{} = NULL", self.column(*index))).collect();
        format!("UPDATE {} SET {} WHERE {}", self.target, nulls.join(", "), self.predicate(rows))
    }

    /// Marks rows as deleted. Parameters: with tokens in rows, the key and the token of each row; then the keys.
    pub fn mark_rows(&self, rows: usize) -> String {
        let mut assigned = format!("{} = 1{}", ident(DELETED_COLUMN), self.unchanged(""));
        if self.token_in_row() {
            let token = ident(TOKEN_COLUMN);
            let _ = write!(assigned, ", {token} = CASE");
            for _ in 0..rows {
                let _ = write!(assigned, " WHEN {} THEN ?", self.equal());
            }
            let _ = write!(assigned, " ELSE {token} END");
        }
        format!("UPDATE {} SET {assigned} WHERE {}", self.target, self.predicate(rows))
    }

    /// Deletes rows of the target. Parameters: the keys.
    pub fn delete_rows(&self, rows: usize) -> String {
        self.delete(&self.target, rows)
    }

    /// Deletes rows of the side table. Parameters: the keys.
    pub fn delete_side(&self, rows: usize) -> String {
        self.delete(&self.side, rows)
    }

    fn delete(&self, from: &str, rows: usize) -> String {
        format!("DELETE t FROM {from} t FORCE INDEX (PRIMARY) WHERE {}", self.predicate(rows))
    }

    /// A plain insert into the side table. Parameters of a row: the key, the token, with side tokens 1 for a deleted
    /// key.
    pub fn insert_side(&self, rows: usize) -> String {
        let mut names = self.key_list();
        let _ = write!(names, ", {}", ident(TOKEN_COLUMN));
        let mut row = vec!["?"; self.table.key.len() + 1];
        if self.table.token_storage == TokenStorage::Side {
            let _ = write!(names, ", {}", ident(DELETED_COLUMN));
            row.push("?");
        }
        format!("INSERT INTO {} ({names}) VALUES {}", self.side, repeat(&row, rows))
    }

    /// An insert into the side table that overwrites the rows that are there. Parameters as for
    /// [`insert_side`](Self::insert_side).
    pub fn upsert_side(&self, rows: usize) -> String {
        let mut assigned = vec!["`deleted_at` = CURRENT_TIMESTAMP(6)".to_owned()];
        if self.table.token_storage == TokenStorage::Side {
            assigned.push(assign_inserted(&ident(DELETED_COLUMN)));
        }
        assigned.push(assign_inserted(&ident(TOKEN_COLUMN)));
        format!("{} ON DUPLICATE KEY UPDATE {}", self.insert_side(rows), assigned.join(", "))
    }

    /// One token that is of another scope than the parameter: format and scope, the first three bytes.
    pub fn other_scope(&self) -> String {
        let (from, token) = (self.token_table(), ident(TOKEN_COLUMN));
        format!("SELECT {token} FROM {from} WHERE {token} IS NOT NULL AND LEFT({token}, 3) <> ? LIMIT 1")
    }

    /// Deletes all rows that are older than a truncate, or of unknown age. Parameter: its token.
    pub fn truncate_rows(&self) -> String {
        let token = ident(TOKEN_COLUMN);
        match self.table.token_storage {
            TokenStorage::Column => {
                format!("DELETE FROM {} WHERE {token} IS NULL OR {token} <= ?", self.target)
            }
            TokenStorage::Side => {
                format!(
                    "DELETE t FROM {} t {} WHERE s.{token} IS NULL OR s.{token} <= ?",
                    self.target,
                    self.join_side()
                )
            }
        }
    }

    /// Marks all rows that are older than a truncate, or of unknown age; their tokens stay. Parameter: its token.
    pub fn truncate_marks(&self) -> String {
        let (token, mark) = (ident(TOKEN_COLUMN), ident(DELETED_COLUMN));
        match self.table.token_storage {
            TokenStorage::Column => {
                format!(
                    "UPDATE {} SET {mark} = 1{} WHERE {mark} = 0 AND ({token} IS NULL OR {token} <= ?)",
                    self.target,
                    self.unchanged("")
                )
            }
            TokenStorage::Side => format!(
                "UPDATE {} t {} SET t.{mark} = 1{} WHERE t.{mark} = 0 AND (s.{token} IS NULL OR s.{token} <= ?)",
                self.target,
                self.join_side(),
                self.unchanged("t.")
            ),
        }
    }

    /// Forgets the side tokens of live rows that are older than a truncate: its own token decides for their keys from
    /// now on. Parameter: the token.
    pub fn truncate_side(&self) -> String {
        let (token, mark) = (ident(TOKEN_COLUMN), ident(DELETED_COLUMN));
        format!("DELETE FROM {} WHERE {mark} = 0 AND {token} <= ?", self.side)
    }

    fn token_table(&self) -> &str {
        match self.table.token_storage {
            TokenStorage::Column => &self.target,
            TokenStorage::Side => &self.side,
        }
    }

    fn join_side(&self) -> String {
        let equal: Vec<String> = self.table.key.iter().map(|index| self.column(*index)).collect();
        let equal: Vec<String> = equal.iter().map(|name| format!("s.{name} = t.{name}")).collect();
        format!("LEFT JOIN {} s ON {}", self.side, equal.join(" AND "))
    }

    /// Assignments that keep the server from writing the time of a mark into columns that hold the source's.
    fn unchanged(&self, alias: &str) -> String {
        let stamped = self.table.shape.columns.iter().filter(|column| column.native.contains(ON_UPDATE));
        stamped.map(|column| ident(&column.name)).map(|name| format!(", {alias}{name} = {alias}{name}")).collect()
    }

    fn column(&self, index: usize) -> String {
        ident(&self.table.shape.columns[index].name)
    }

    fn key_list(&self) -> String {
        let names: Vec<String> = self.table.key.iter().map(|index| self.column(*index)).collect();
        names.join(", ")
    }

    /// `key IN (…)` for a number of keys; as equalities where an ENUM or SET is one of several columns, for which MariaDB
    /// does not use the index otherwise (seen).
    fn predicate(&self, rows: usize) -> String {
        let keys = self.key_list();
        let row = self.key_placeholders();
        let chooses = |at: &usize| matches!(self.table.shape.columns[*at].kind, ColumnType::Choice { .. });
        if self.table.key.len() > 1 && self.table.key.iter().any(chooses) {
            return vec![format!("({})", self.equal()); rows].join(" OR ");
        }
        match row.as_slice() {
            [single] => format!("{keys} IN ({})", vec![single.as_str(); rows].join(",")),
            row => format!("({keys}) IN ({})", repeat(row, rows)),
        }
    }

    /// `key = ?` for one key.
    fn equal(&self) -> String {
        let pairs = self.table.key.iter().zip(self.key_placeholders());
        let pairs: Vec<String> = pairs.map(|(index, mark)| format!("{} = {mark}", self.column(*index))).collect();
        pairs.join(" AND ")
    }

    fn key_placeholders(&self) -> Vec<String> {
        self.table.key.iter().map(|index| key_placeholder(&self.table.shape.columns[*index].kind)).collect()
    }
}

/// The placeholder of a key column to compare with. Text is compared with a DECIMAL column as a double, and with a temporal one
/// by rules that differ between the servers; a cast makes both exact.
pub(super) fn key_placeholder(kind: &ColumnType) -> String {
    match kind {
        ColumnType::Decimal { limit: Some((digits, scale)) } => format!("CAST(? AS DECIMAL({digits},{scale}))"),
        ColumnType::Decimal { limit: None } => "CAST(? AS DECIMAL(65,30))".to_owned(),
        ColumnType::Date => "CAST(? AS DATE)".to_owned(),
        ColumnType::Time { .. } | ColumnType::TimeSpan { .. } => "CAST(? AS TIME(6))".to_owned(),
        ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } => "CAST(? AS DATETIME(6))".to_owned(),
        _ => "?".to_owned(),
    }
}

fn ident(name: &str) -> String {
    Dialect::Mysql.ident(name)
}

fn assign_inserted(column: &str) -> String {
    format!("{column} = VALUES({column})")
}

/// `(a,b),(a,b),…`
fn repeat<S: AsRef<str>>(row: &[S], rows: usize) -> String {
    let row: Vec<&str> = row.iter().map(AsRef::as_ref).collect();
    let row = format!("({})", row.join(","));
    vec![row.as_str(); rows].join(",")
}

#[cfg(test)]
mod tests {
    use super::super::super::table::{TableName, fixture};
    use super::*;

    fn table(token_storage: TokenStorage, key: Vec<usize>, has_deleted: bool) -> Table {
        let mut table = Table { token_storage, key, ..fixture::table(1, "select", &["id", "values"]) };
        table.shape.name = TableName::new(Some("d`b"), "select");
        table.shape.columns.push(fixture::column("price", ColumnType::Decimal { limit: Some((12, 2)) }));
        table.shape.has_token = token_storage == TokenStorage::Column;
        table.shape.has_deleted = has_deleted;
        table
    }

    #[test]
    fn upserts_assign_the_token_last_and_quote_every_name() {
        let table = table(TokenStorage::Column, vec![0], true);
        let text = TableText::new(&table);
        assert_eq!(
            text.upsert_rows(&[0, 1], 2),
            "INSERT INTO `d``b`.`select` (`id`, `values`, `_lastword_deleted`, `_lastword_token`) \
             VALUES (?,?,0,?),(?,?,0,?) ON DUPLICATE KEY UPDATE `values` = VALUES(`values`), \
             `_lastword_deleted` = 0, `_lastword_token` = VALUES(`_lastword_token`)"
        );
        assert_eq!(
            text.update_row(&[0, 1]),
            "UPDATE `d``b`.`select` SET `values` = ?, `_lastword_deleted` = 0, `_lastword_token` = ? WHERE `id` IN (?)"
        );
        assert!(text.mark_rows(2).contains("CASE WHEN `id` = ? THEN ? WHEN `id` = ? THEN ? ELSE"));
    }

    #[test]
    fn a_row_of_the_key_alone_can_be_overwritten() {
        let table = table(TokenStorage::Side, vec![0], false);
        let text = TableText::new(&table);
        assert!(text.upsert_rows(&[0], 1).ends_with("ON DUPLICATE KEY UPDATE `id` = VALUES(`id`)"));
        assert_eq!(text.update_row(&[0]), "UPDATE `d``b`.`select` SET `id` = `id` WHERE `id` IN (?)");
        assert!(text.upsert_side(1).contains("(`id`, `_lastword_token`, `_lastword_deleted`) VALUES (?,?,?)"));
    }

    #[test]
    fn composite_keys_are_compared_as_rows_and_decimals_exactly() {
        let table = table(TokenStorage::Column, vec![0, 2], false);
        let text = TableText::new(&table);
        assert!(text.read_side(2, true).ends_with(
            "FORCE INDEX (PRIMARY) WHERE (`id`, `price`) IN \
             ((?,CAST(? AS DECIMAL(12,2))),(?,CAST(? AS DECIMAL(12,2)))) \
             FOR UPDATE"
        ));
        assert!(text.delete_rows(1).starts_with("DELETE t FROM `d``b`.`select` t FORCE INDEX (PRIMARY) WHERE"));
        assert!(!text.read_rows(1, false).contains("FOR UPDATE"));
    }

    #[test]
    fn placeholders_are_as_many_as_parameters() {
        for storage in [TokenStorage::Column, TokenStorage::Side] {
            let table = table(storage, vec![0, 2], true);
            let text = TableText::new(&table);
            let own = usize::from(storage == TokenStorage::Column);
            let count = |text: String| text.matches('?').count();
            assert_eq!(count(text.insert_rows(&[0, 1, 2], 8)), 8 * (3 + own));
            assert_eq!(count(text.insert_side(8)), 8 * (4 - own));
            assert_eq!(count(text.mark_rows(8)), 8 * (2 + 3 * own));
            assert_eq!(count(text.truncate_rows()), 1);
            assert_eq!(count(text.truncate_marks()), 1);
        }
    }
}
