//! Statements for partial rows, in all three languages: what is stored for some keys, a row's columns, open columns.
//!
//! They are written for few keys at a time and look each up by its key, so that one text serves every database.

use super::Dialect;
use super::mysql::key_placeholder;
use super::mysql::parameter::parameter;
use super::postgres::is_money;
use crate::core::table::{ColumnType, DELETED_COLUMN, TOKEN_COLUMN, Table, TokenStorage};
use crate::core::value::Value;

/// Most keys of a statement; a rung of the ladder.
pub const KEYS_MAX: usize = 64;

/// Names of one table, quoted once.
#[derive(Debug)]
pub struct PartialText<'a> {
    dialect: Dialect,
    table: &'a Table,
    target: String,
    side: String,
    open: String,
    token: String,
}

impl<'a> PartialText<'a> {
    /// Quotes the names of a table.
    pub fn new(dialect: Dialect, table: &'a Table) -> Self {
        Self {
            dialect,
            table,
            target: dialect.table(table.name()),
            side: dialect.bookkeeping(&table.side_name()),
            open: dialect.bookkeeping("open_column"),
            token: dialect.ident(TOKEN_COLUMN),
        }
    }

    /// What is stored for keys, a row each: its number, 1 if its row is there, the row's token, the row's mark of a soft delete,
    /// the side table's token, its mark, then token and columns of the open columns. Parameters of a key: see
    /// [`stored_params`](Self::stored_params).
    pub fn stored(&self, keys: usize) -> String {
        let mut number = 0;
        let mut rows = Vec::with_capacity(keys);
        for key in 0..keys {
            let looked = self.lookups().map(|(what, from)| match what {
                Some(what) => {
                    let equal = self.equal(&mut number);
                    format!("(select {what} from {from} where {equal})")
                }
                None => "null".to_owned(),
            });
            let opened = ["token", "opened"].map(|what| {
                number += 2;
                let (table, digest) = (self.dialect.placeholder(number - 1), self.dialect.placeholder(number));
                format!("(select {what} from {} where table_name = {table} and key_digest = {digest})", self.open)
            });
            rows.push(format!("select {key}, {}, {}", looked.join(", "), opened.join(", ")));
        }
        self.numbered(rows.join(" union all "))
    }

    /// Parameters of a key in [`stored`](Self::stored).
    pub fn stored_params(&self, key: &[Value], digest: &[u8]) -> Vec<Value> {
        let lookups = self.lookups().iter().filter(|(what, _)| what.is_some()).count();
        let key = self.key_params(key);
        let mut params: Vec<Value> = key.iter().cycle().take(key.len() * lookups).cloned().collect();
        for _ in 0..2 {
            params.extend([Value::from(self.table.name().to_string()), Value::bytes(digest)]);
        }
        params
    }

    fn lookups(&self) -> [(Option<String>, &str); 5] {
        let shape = &self.table.shape;
        let in_row = self.table.token_storage == TokenStorage::Column;
        let deleted = self.dialect.ident(DELETED_COLUMN);
        let token = self.token.clone();
        [
            (Some("1".to_owned()), &self.target),
            ((in_row && shape.has_token).then(|| token.clone()), &self.target),
            (shape.has_deleted.then(|| deleted.clone()), &self.target),
            (Some(token), &self.side),
            ((!in_row).then_some(deleted), &self.side),
        ]
    }

    /// Locks the rows of keys until the transaction ends, in the order of the keys; the side table's rows where they hold the tokens.
    /// `None` where the transaction holds a lock on everything. Parameters: the keys.
    pub fn lock(&self, keys: usize) -> Option<String> {
        let mut number = 0;
        let any: Vec<String> = (0..keys).map(|_| format!("({})", self.equal(&mut number))).collect();
        let from = if self.table.token_storage == TokenStorage::Side { &self.side } else { &self.target };
        let order: Vec<String> = self.table.key.iter().map(|at| self.column(*at)).collect();
        match self.dialect {
            Dialect::Postgres | Dialect::Mysql => Some(self.numbered(format!(
                "select 1 from {from} where {} order by {} for update",
                any.join(" or "),
                order.join(", ")
            ))),
            Dialect::Sqlite => None,
        }
    }

    /// Writes columns of one row. Parameters: their values, the token where the row carries it, the key.
    pub fn update(&self, columns: &[usize]) -> Option<String> {
        let mut number = 0;
        let mut assigned: Vec<String> = Vec::with_capacity(columns.len() + 1);
        for at in columns {
            number += 1;
            assigned.push(format!("{} = {}", self.column(*at), self.placeholder(*at, number)));
        }
        if self.token_in_row() {
            number += 1;
            assigned.push(format!("{} = {}", self.token, self.dialect.placeholder(number)));
        }
        let set = assigned.join(", ");
        let update = format!("update {} set {set} where {}", self.target, self.equal(&mut number));
        (!assigned.is_empty()).then(|| self.numbered(update))
    }

    /// Sets the token of one key in the side table. Parameters: the token, the key.
    pub fn raise_side(&self) -> String {
        let mut number = 1;
        let token = self.dialect.placeholder(1);
        self.numbered(format!("update {} set {} = {token} where {}", self.side, self.token, self.equal(&mut number)))
    }

    /// Keeps the open columns of keys. Parameters of a key: the table's name, the key's digest, the row's token, the columns.
    pub fn put_open(&self, keys: usize) -> String {
        let row = |key: usize| {
            let marks = [1, 2, 3, 4].map(|at| self.dialect.placeholder(key * 4 + at));
            format!("({})", marks.join(", "))
        };
        let rows: Vec<String> = (0..keys).map(row).collect();
        let rows = rows.join(", ");
        let insert = format!("insert into {} (table_name, key_digest, token, opened) values {rows}", self.open);
        match self.dialect {
            Dialect::Mysql => {
                format!("{insert} on duplicate key update token = values(token), opened = values(opened)")
            }
            Dialect::Postgres | Dialect::Sqlite => format!(
                "{insert} on conflict (table_name, key_digest) do update set token = excluded.token, opened = excluded.opened"
            ),
        }
    }

    /// Values of a key as parameters.
    pub fn key_params(&self, key: &[Value]) -> Vec<Value> {
        // What cannot be sent is refused where it is bound, or finds no row.
        let param = |(value, at): (&Value, &usize)| self.param(*at, value).unwrap_or_else(|_| value.clone());
        key.iter().zip(&self.table.key).map(param).collect()
    }

    /// A value of a column as a parameter. `Err` says what of it the column would change.
    pub fn param(&self, column: usize, value: &Value) -> Result<Value, &'static str> {
        match self.dialect {
            Dialect::Mysql => Ok(parameter(value, &self.table.shape.columns[column])?.unwrap_or_else(|| value.clone())),
            Dialect::Postgres | Dialect::Sqlite => Ok(value.clone()),
        }
    }

    /// Whether rows carry their token.
    pub fn token_in_row(&self) -> bool {
        self.table.shape.has_token && self.table.token_storage == TokenStorage::Column
    }

    fn column(&self, at: usize) -> String {
        self.dialect.ident(&self.table.shape.columns[at].name)
    }

    /// A statement with the table's number behind it: PostgreSQL keeps the types of parameters that a prepared statement got, and a
    /// table that was altered is another one, with another number.
    fn numbered(&self, statement: String) -> String {
        match self.dialect {
            Dialect::Postgres => format!("{statement} -- {}", self.table.id),
            Dialect::Mysql | Dialect::Sqlite => statement,
        }
    }

    /// The placeholder of a column's value.
    fn placeholder(&self, at: usize, number: usize) -> String {
        let mark = self.dialect.placeholder(number);
        let money = self.dialect == Dialect::Postgres && is_money(&self.table.shape.columns[at]);
        if money { format!("{mark}::numeric::money") } else { mark }
    }

    /// `key = …` with parameters from `number` on.
    fn equal(&self, number: &mut usize) -> String {
        let pair = |at: &usize| {
            *number += 1;
            let kind = &self.table.shape.columns[*at].kind;
            let (mark, collate) = match (self.dialect, kind) {
                (Dialect::Mysql, kind) => (key_placeholder(kind), ""),
                (Dialect::Sqlite, ColumnType::Text { .. }) => ("?".to_owned(), " collate binary"),
                _ => (self.placeholder(*at, *number), ""),
            };
            format!("{}{collate} = {mark}", self.column(*at))
        };
        self.table.key.iter().map(pair).collect::<Vec<_>>().join(" and ")
    }
}
