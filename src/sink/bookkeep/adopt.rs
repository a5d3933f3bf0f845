//! Rows that another tool wrote get a token, in slices.
//!
//! # Why the bound comes before the rows
//!
//! A row without a token loses to every event. Once the table's truncate bound is raised, events that the dump has lose to that, so a
//! row that has no token yet can only be changed by an event that the dump does not have, and such a change stays. Each slice
//! takes rows that have no token, so an interrupted command goes on where it was.

use crate::core::dialect::Dialect;
use crate::core::failure::Failure;
use crate::core::table::{ColumnType, DELETED_COLUMN, TOKEN_COLUMN, Table, TokenStorage};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::sink::Statements;

use super::cells::{Cells, damaged};
use super::{admin, end, sql, tables};

/// Rows that one transaction gives a token.
const SLICE: u32 = 20_000;

/// How the rows of a table stand to a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The table's truncate bound.
    pub bound: Option<Token>,
    /// It had tombstones that were collected.
    pub has_floor: bool,
    /// Rows without a token.
    pub without: u64,
    /// Rows with a lower token that is not the bound.
    pub lower: u64,
    /// Rows with the bound as their token: an adoption that was interrupted.
    pub at_bound: u64,
    /// Rows with this token or a greater one.
    pub others: u64,
    /// Tombstones with a lower token.
    pub graves: u64,
}

/// Looks how the rows of a table stand to a token.
pub async fn standing<S: Statements>(session: &mut S, table: &Table, token: &Token) -> Result<Standing, Failure> {
    let dialect = session.dialect();
    let name = Value::from(table.name().to_string());
    let state = session.query(sql::TABLE_GET.of(dialect), &[name]).await?.into_iter().next();
    let is_known = state.is_some();
    let limits = match state {
        Some(row) => tables::Limits::of(&mut Cells::new(row))?,
        None => tables::Limits::default(),
    };
    let (own, mark) = (dialect.ident(TOKEN_COLUMN), dialect.placeholder(1));
    let bytes = Value::bytes(token.as_bytes());
    let bound = limits.truncate.map(|bound| Value::bytes(bound.as_bytes()));
    let mut standing = Standing { bound: limits.truncate, has_floor: limits.floor_version > 0, ..Standing::default() };
    let (target, side) = (dialect.table(table.name()), dialect.bookkeeping(&table.side_name()));
    let (from, live) = match table.token_storage {
        TokenStorage::Column if !table.shape.has_token => {
            standing.without = count(session, &format!("{target} where 1 = 1"), &[]).await?;
            return Ok(standing);
        }
        TokenStorage::Column => {
            standing.without = count(session, &format!("{target} where {own} is null"), &[]).await?;
            (target, String::new())
        }
        TokenStorage::Side if !is_known => {
            standing.without = count(session, &format!("{target} where 1 = 1"), &[]).await?;
            return Ok(standing);
        }
        TokenStorage::Side => {
            let missing =
                format!("{target} where not exists (select 1 from {side} m where {})", same_key(table, dialect));
            standing.without = count(session, &missing, &[]).await?;
            (side.clone(), format!(" and {}", is_live(dialect)))
        }
    };
    let lower = count(session, &format!("{from} where {own} < {mark}{live}"), std::slice::from_ref(&bytes)).await?;
    standing.others =
        count(session, &format!("{from} where {own} >= {mark}{live}"), std::slice::from_ref(&bytes)).await?;
    if let Some(bound) = bound.filter(|_| limits.truncate.is_some_and(|bound| bound < *token)) {
        standing.at_bound = count(session, &format!("{from} where {own} = {mark}{live}"), &[bound]).await?;
    }
    standing.lower = lower - standing.at_bound;
    if is_known {
        let dead = match table.token_storage {
            TokenStorage::Column => String::new(),
            TokenStorage::Side => format!(" and not ({})", is_live(dialect)),
        };
        standing.graves = count(session, &format!("{side} where {own} < {mark}{dead}"), &[bytes]).await?;
    }
    Ok(standing)
}

fn is_live(dialect: Dialect) -> String {
    let deleted = dialect.ident(DELETED_COLUMN);
    if dialect == Dialect::Postgres { format!("not {deleted}") } else { format!("{deleted} = 0") }
}

async fn count<S: Statements>(session: &mut S, from: &str, params: &[Value]) -> Result<u64, Failure> {
    let rows = session.query(&format!("select count(*) from {from}"), params).await?;
    Cells::new(rows.into_iter().next().ok_or_else(|| damaged("a count gave no row"))?).count()
}

fn keys(table: &Table, dialect: Dialect) -> Vec<String> {
    table.key.iter().map(|at| dialect.ident(&table.shape.columns[*at].name)).collect()
}

fn same_key(table: &Table, dialect: Dialect) -> String {
    let target = dialect.table(table.name());
    let same: Vec<String> = keys(table, dialect).iter().map(|name| format!("m.{name} = {target}.{name}")).collect();
    same.join(" and ")
}

/// Raises the table's truncate bound, and writes down who did it and why.
pub async fn adopt_bound<S: Statements>(
    session: &mut S,
    table: &Table,
    token: Token,
    who: &str,
    why: &str,
) -> Result<(), Failure> {
    session.begin().await?;
    let work = async {
        let before = tables::lock_table(session, table.name(), Some(token)).await?;
        let after = format!("token {}", token.hex());
        let bound = before.truncate.map(|bound| format!("bound {}", bound.hex()));
        admin::audit(session, who, "adopt", &format!("{} {why}", table.name()), bound.as_deref(), Some(&after)).await
    };
    let work = work.await;
    end(session, work).await
}

/// Gives the next slice of rows without a token this one; returns how many there were. The last slice has none.
pub async fn adopt_rows<S: Statements>(session: &mut S, table: &Table, token: &Token) -> Result<u64, Failure> {
    let text = slice_text(session.dialect(), table);
    session.execute(&text, &[Value::bytes(token.as_bytes())]).await
}

fn slice_text(dialect: Dialect, table: &Table) -> String {
    let (target, keys) = (dialect.table(table.name()), keys(table, dialect).join(", "));
    let (own, mark) = (dialect.ident(TOKEN_COLUMN), dialect.placeholder(1));
    match (table.token_storage, dialect) {
        (TokenStorage::Column, Dialect::Mysql) => {
            // A column with ON UPDATE CURRENT_TIMESTAMP keeps its value only if it is set.
            let columns = table.shape.columns.iter().filter(|column| {
                let is_time = matches!(column.kind, ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. });
                is_time && !column.generated
            });
            let kept: String = columns.map(|column| format!(", {0} = {0}", dialect.ident(&column.name))).collect();
            format!("update {target} set {own} = {mark}{kept} where {own} is null limit {SLICE}")
        }
        (TokenStorage::Column, _) => format!(
            "update {target} set {own} = {mark} where {own} is null and ({keys}) in (select {keys} from {target} where {own} is null \
             limit {SLICE})"
        ),
        (TokenStorage::Side, _) => {
            let side = dialect.bookkeeping(&table.side_name());
            let deleted = dialect.ident(DELETED_COLUMN);
            let (mark, live, again) = match dialect {
                Dialect::Postgres => ("$1::bytea", "false", "on conflict do nothing".to_owned()),
                Dialect::Mysql => ("?", "0", format!("on duplicate key update {side}.{own} = {side}.{own}")),
                Dialect::Sqlite => ("?", "0", "on conflict do nothing".to_owned()),
            };
            format!(
                "insert into {side} ({keys}, {own}, {deleted}) select {keys}, {mark}, {live} from {target} where not exists \
                 (select 1 from {side} m where {}) limit {SLICE} {again}",
                same_key(table, dialect)
            )
        }
    }
}
