//! What is stored about destination tables: contract, truncate token, counters; and the tokens of given keys.

use std::collections::HashMap;

use crate::core::dialect::Dialect;
use crate::core::failure::{Class, Failure};
use crate::core::plan::TableOutcome;
use crate::core::table::{Contract, DELETED_COLUMN, DeleteMode, TOKEN_COLUMN, Table, TableName, TokenStorage};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::sink::Statements;

use super::cells::{Cells, damaged, stored};
use super::{end, sql};

/// What the store says about a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// Events with this token or a smaller one are older than the last TRUNCATE.
    pub truncate_token: Option<Token>,
    /// When lastword first met the table, in milliseconds since 1970.
    pub created_ms: i64,
}

/// Counters of a table, over all batches of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCounters {
    /// Full name of the table.
    pub table: String,
    /// The sums.
    pub sums: TableOutcome,
}

fn contract_text(contract: Contract) -> &'static str {
    match contract {
        Contract::FinalState => "final-state",
        Contract::ChangeLog => "change-log",
    }
}

fn delete_text(delete: DeleteMode) -> &'static str {
    match delete {
        DeleteMode::Hard => "hard",
        DeleteMode::Soft => "soft",
        DeleteMode::Ignore => "ignore",
    }
}

fn storage_text(storage: TokenStorage) -> &'static str {
    match storage {
        TokenStorage::Column => "column",
        TokenStorage::Side => "side",
    }
}

/// Records a table when it is first met. A table that was recorded with another contract or another place of its tokens is an
/// operator failure: its tokens would not be found. Another delete mode is taken over.
///
/// Must run before a plan for the table is applied: its row is the table's lock.
pub async fn ensure_table_state<S: Statements>(
    session: &mut S,
    table: &TableName,
    contract: Contract,
    delete: DeleteMode,
    storage: TokenStorage,
) -> Result<TableState, Failure> {
    let dialect = session.dialect();
    let name = Value::from(table.to_string());
    let params =
        [name.clone(), contract_text(contract).into(), delete_text(delete).into(), storage_text(storage).into()];
    session.execute(sql::TABLE_ADD.of(dialect), &params).await?;
    let rows = session.query(sql::TABLE_GET.of(dialect), std::slice::from_ref(&name)).await?;
    let row = rows.into_iter().next().ok_or_else(|| damaged("a table's row vanished"))?;
    let mut cells = Cells::new(row);
    let truncate_token = Limits::of(&mut cells)?.truncate;
    for (what, stored, wanted) in [
        ("contract", cells.text()?, contract_text(contract)),
        ("delete", cells.text()?, delete_text(delete)),
        ("token_storage", cells.text()?, storage_text(storage)),
    ] {
        if stored == wanted {
            continue;
        }
        if what == "delete" {
            session.execute(sql::TABLE_SET_DELETE.of(dialect), &[wanted.into(), name.clone()]).await?;
        } else {
            return Err(Failure::operator(
                "table_changed",
                format!(
                    "table {table} was filled with {what} = \"{stored}\", the configuration now says \"{wanted}\": its tokens \
                     would not be found; keep \"{stored}\", or fill a new table (`into`)"
                ),
            ));
        }
    }
    Ok(TableState { truncate_token, created_ms: cells.int()? })
}

/// Keeps the token of a TRUNCATE for a table that is not there (yet), in a transaction of its own.
pub async fn truncate_missing<S: Statements>(
    session: &mut S,
    table: &TableName,
    delete: DeleteMode,
    storage: TokenStorage,
    token: Token,
) -> Result<(), Failure> {
    session.begin().await?;
    let work = match ensure_table_state(session, table, Contract::FinalState, delete, storage).await {
        Ok(_) => lock_table(session, table, Some(token)).await.map(drop),
        Err(failure) => Err(failure),
    };
    end(session, work).await
}

/// Admits events of a scope of tokens to a table: the first scope that comes is the table's own from then on. Of another one
/// the description of the table's scope is returned: its tokens cannot be compared with those that the rows carry.
pub async fn admit_scope<S: Statements>(
    session: &mut S,
    table: &TableName,
    scope: u16,
) -> Result<Option<String>, Failure> {
    let name = Value::from(table.to_string());
    if let Some((own, description)) = table_scope(session, &table.to_string()).await? {
        return Ok((own != i64::from(scope)).then_some(description));
    }
    let params = [name, Value::from(i64::from(scope))];
    session.execute(sql::TABLE_SCOPE_ADD.of(session.dialect()), &params).await?;
    // Another process may have been first.
    let own = table_scope(session, &table.to_string()).await?;
    let (own, description) = own.ok_or_else(|| damaged("a table's scope vanished"))?;
    Ok((own != i64::from(scope)).then_some(description))
}

/// The scope of the tokens that the rows of a table carry, with its description; `None` before the first row.
pub async fn table_scope<S: Statements>(session: &mut S, table: &str) -> Result<Option<(i64, String)>, Failure> {
    let name = [Value::from(table)];
    let rows = session.query(sql::TABLE_SCOPE_GET.of(session.dialect()), &name).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let mut cells = Cells::new(row);
    Ok(Some((cells.int()?, cells.text()?)))
}

/// The contract of every known table by its full name, in words.
pub async fn table_states<S: Statements>(session: &mut S) -> Result<HashMap<String, String>, Failure> {
    let rows = session.query(sql::TABLE_LIST.of(session.dialect()), &[]).await?;
    Cells::each(rows, |cells| {
        let (name, contract, delete) = (cells.text()?, cells.text()?, cells.text()?);
        let weak = if delete == "ignore" { " (deletes are not applied)" } else { "" };
        Ok((name, format!("{contract}{weak}")))
    })
}

/// What holds for all keys of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Events with this token or a smaller one are older than the last TRUNCATE.
    pub truncate: Option<Token>,
    /// How often the table's floors (see [`crate::core::collect`]) rose or were reset; 0 where it never had any.
    pub floor_version: i64,
}

impl Limits {
    pub(super) fn of(cells: &mut Cells) -> Result<Self, Failure> {
        Ok(Self { truncate: token_cell(cells)?, floor_version: cells.int()? })
    }
}

/// The table's limits, read without a lock.
pub async fn limits<S: Statements>(session: &mut S, table: &TableName) -> Result<Limits, Failure> {
    let rows = session.query(sql::TABLE_GET.of(session.dialect()), &[Value::from(table.to_string())]).await?;
    match rows.into_iter().next() {
        Some(row) => Limits::of(&mut Cells::new(row)),
        None => Err(unknown(table)),
    }
}

/// Takes the table's short lock (its row in `table_state`) until the transaction ends, raises its truncate token to
/// `truncate` if that is greater, and returns the limits that hold now. A token that cannot be compared with the
/// stored one is a record failure.
pub async fn lock_table<S: Statements>(
    session: &mut S,
    table: &TableName,
    truncate: Option<Token>,
) -> Result<Limits, Failure> {
    let dialect = session.dialect();
    let name = Value::from(table.to_string());
    let rows = session.query(sql::TABLE_LOCK.of(dialect), std::slice::from_ref(&name)).await?;
    let stored = match rows.into_iter().next() {
        Some(row) => Limits::of(&mut Cells::new(row))?,
        None => return Err(unknown(table)),
    };
    let (Some(wanted), kept) = (truncate, stored.truncate) else { return Ok(stored) };
    if kept.is_some_and(|kept| !kept.comparable(&wanted)) {
        return Err(Failure::new(
            Class::Record,
            "incomparable_token",
            format!("table {table}: the token of a TRUNCATE is of another source than that of the last one"),
        ));
    }
    if kept.is_some_and(|kept| kept >= wanted) {
        return Ok(stored);
    }
    session.execute(sql::TABLE_RAISE.of(dialect), &[Value::bytes(wanted.as_bytes()), name]).await?;
    Ok(Limits { truncate: Some(wanted), ..stored })
}

fn unknown(table: &TableName) -> Failure {
    Failure::operator(
        "unknown_table",
        format!(
            "table {table} is not recorded in lastword's bookkeeping; was its row in table_state deleted? Restart lastword"
        ),
    )
}

pub(super) fn token_cell(cells: &mut Cells) -> Result<Option<Token>, Failure> {
    match cells.bytes_or_null()? {
        None => Ok(None),
        Some(bytes) => Token::from_bytes(&bytes).map(Some).ok_or_else(|| damaged("a token has the wrong length")),
    }
}

/// Adds what happened in a transaction to the table's counters.
pub(super) async fn count<S: Statements>(
    session: &mut S,
    pipeline: &str,
    table: &TableName,
    outcome: &TableOutcome,
) -> Result<(), Failure> {
    if *outcome == TableOutcome::default() {
        return Ok(());
    }
    let dialect = session.dialect();
    let name = table.to_string();
    let params = [
        stored(outcome.applied).into(),
        stored(outcome.superseded_in_batch).into(),
        stored(outcome.superseded_by_row).into(),
        stored(outcome.superseded_by_tombstone).into(),
        stored(outcome.superseded_by_truncate).into(),
        stored(outcome.recheck_deleted).into(),
        outcome.tombstones_delta.into(),
        Value::from(pipeline),
        Value::from(&*name),
    ];
    if session.execute(sql::COUNTER_BUMP.of(dialect), &params).await? == 0 {
        session.execute(sql::COUNTER_ADD.of(dialect), &[pipeline.into(), Value::from(&*name)]).await?;
        session.execute(sql::COUNTER_BUMP.of(dialect), &params).await?;
    }
    Ok(())
}

/// Counters of a pipeline's tables, by name. `tombstones_delta` is the number of tombstones that this pipeline has left.
pub async fn table_counters<S: Statements>(session: &mut S, pipeline: &str) -> Result<Vec<TableCounters>, Failure> {
    let rows = session.query(sql::COUNTER_LIST.of(session.dialect()), &[Value::from(pipeline)]).await?;
    Cells::each(rows, |cells| {
        Ok(TableCounters {
            table: cells.text()?,
            sums: TableOutcome {
                applied: cells.count()?,
                superseded_in_batch: cells.count()?,
                superseded_by_row: cells.count()?,
                superseded_by_tombstone: cells.count()?,
                superseded_by_truncate: cells.count()?,
                recheck_deleted: cells.count()?,
                tombstones_delta: cells.int()?,
            },
        })
    })
}

/// Keys that one statement of [`stored_tokens`] looks up.
const KEYS_PER_LOOKUP: usize = 64;

/// For each key the greater one of its row's token and its tombstone's, `None` where there is neither (or a row from before
/// lastword). Keys hold the values of the key columns in the order of `table.key`. Two tokens of one key that cannot be compared
/// are a record failure.
pub async fn stored_tokens<S: Statements>(
    session: &mut S,
    table: &Table,
    keys: &[Vec<Value>],
) -> Result<Vec<Option<Token>>, Failure> {
    let mut tokens = vec![None; keys.len()];
    for (number, chunk) in keys.chunks(KEYS_PER_LOOKUP).enumerate() {
        let text = tokens_text(session.dialect(), table, chunk.len());
        let params: Vec<Value> =
            chunk.iter().flat_map(|key| key.iter().cycle().take(key.len() * lookups(table))).cloned().collect();
        for row in session.query(&text, &params).await? {
            let mut cells = Cells::new(row);
            let place = usize::try_from(cells.int()?).ok().map(|at| number * KEYS_PER_LOOKUP + at);
            let slot = place.and_then(|at| tokens.get_mut(at)).ok_or_else(|| damaged("a key came back unasked"))?;
            *slot = greater(table, cells.token_or_null()?, cells.token_or_null()?)?;
        }
    }
    Ok(tokens)
}

/// Sub-queries of a key: its row and its tombstone, or its one row in the token table.
fn lookups(table: &Table) -> usize {
    match table.token_storage {
        TokenStorage::Column => 2,
        TokenStorage::Side => 1,
    }
}

/// A row that is there and not softly deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveRow {
    /// Token of its newest change; `None` if no event wrote it.
    pub token: Option<Token>,
}

/// The live row of a key, if it has one.
pub async fn live_row<S: Statements>(
    session: &mut S,
    table: &Table,
    key: &[Value],
) -> Result<Option<LiveRow>, Failure> {
    let dialect = session.dialect();
    let equal = key_equal(dialect, table);
    let live = if table.delete == DeleteMode::Soft {
        format!(" and not {}", dialect.ident(DELETED_COLUMN))
    } else {
        String::new()
    };
    let live = if table.shape.has_deleted { live } else { String::new() };
    let token = match table.token_storage {
        TokenStorage::Column => dialect.ident(TOKEN_COLUMN),
        TokenStorage::Side => "null".to_owned(),
    };
    let text = format!("select 1, {token} from {} where {}{live}", dialect.table(table.name()), equal);
    let Some(row) = session.query(&text, key).await?.into_iter().next() else { return Ok(None) };
    let mut cells = Cells::new(row);
    cells.int()?;
    if table.token_storage == TokenStorage::Column {
        return Ok(Some(LiveRow { token: cells.token_or_null()? }));
    }
    // Also of a dead key: then the row was made by hand, or the delete is a mark in the side table.
    let (side, dead) = (dialect.bookkeeping(&table.side_name()), dialect.ident(DELETED_COLUMN));
    let text = format!("select {dead}, {} from {side} where {}", dialect.ident(TOKEN_COLUMN), equal);
    let Some(row) = session.query(&text, key).await?.into_iter().next() else {
        return Ok(Some(LiveRow { token: None }));
    };
    let is_dead = matches!(row.first(), Some(Value::Bool(true) | Value::Int(1)));
    if is_dead && table.delete == DeleteMode::Soft {
        return Ok(None);
    }
    let mut cells = Cells::new(row.into_iter().skip(1).collect());
    Ok(Some(LiveRow { token: cells.token_or_null()?.filter(|_| !is_dead) }))
}

/// Whether a key has a row, be it marked as deleted.
pub async fn has_row<S: Statements>(session: &mut S, table: &Table, key: &[Value]) -> Result<bool, Failure> {
    let dialect = session.dialect();
    let text = format!("select 1 from {} where {}", dialect.table(table.name()), key_equal(dialect, table));
    Ok(!session.query(&text, key).await?.is_empty())
}

fn key_equal(dialect: Dialect, table: &Table) -> String {
    let equal: Vec<String> = (1..)
        .zip(&table.key)
        .map(|(number, at)| {
            format!("{} = {}", dialect.ident(&table.shape.columns[*at].name), dialect.placeholder(number))
        })
        .collect();
    equal.join(" and ")
}

fn tokens_text(dialect: Dialect, table: &Table, keys: usize) -> String {
    let names: Vec<String> = table.key.iter().map(|at| dialect.ident(&table.shape.columns[*at].name)).collect();
    let token = dialect.ident(TOKEN_COLUMN);
    let mut number = 0;
    let mut lookup = |from: &str| {
        let equal: Vec<String> = names
            .iter()
            .map(|name| {
                number += 1;
                format!("{name} = {}", dialect.placeholder(number))
            })
            .collect();
        format!("(select {token} from {from} where {})", equal.join(" and "))
    };
    let side = dialect.bookkeeping(&table.side_name());
    let target = dialect.table(table.name());
    let selects: Vec<String> = (0..keys)
        .map(|key| match table.token_storage {
            TokenStorage::Column => format!("select {key}, {}, {}", lookup(&target), lookup(&side)),
            TokenStorage::Side => format!("select {key}, {}, null", lookup(&side)),
        })
        .collect();
    selects.join(" union all ")
}

fn greater(table: &Table, row: Option<Token>, tombstone: Option<Token>) -> Result<Option<Token>, Failure> {
    match (row, tombstone) {
        (Some(row), Some(tombstone)) if !row.comparable(&tombstone) => Err(Failure::new(
            Class::Record,
            "incomparable_token",
            format!("table {}: a row and its tombstone have tokens of different sources", table.name()),
        )),
        (row, tombstone) => Ok(row.max(tombstone)),
    }
}
