//! Snapshots that ended, and what became of the rows that they did not contain.

use crate::core::collect::End;
use crate::core::dialect::Dialect;
use crate::core::failure::Failure;
use crate::core::plan::SnapshotEnd;
use crate::core::table::{DELETED_COLUMN, DeleteMode, TOKEN_COLUMN, Table, TokenStorage};
use crate::core::token::Token;
use crate::core::value::Value;
use crate::sink::Statements;

use super::cells::{Cells, damaged, stored};
use super::{sql, tables};

/// State of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepState {
    /// The snapshot's last row was applied.
    Marked,
    /// The ends of the topic's partitions are known; what lies below them is waited for.
    Waiting,
    /// Rows that the snapshot did not contain are gone.
    Done,
    /// A later snapshot took its place.
    Passed,
}

impl SweepState {
    /// As it is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Marked => "marked",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Passed => "passed",
        }
    }

    fn from_text(text: &str) -> Result<Self, Failure> {
        [Self::Marked, Self::Waiting, Self::Done, Self::Passed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| damaged("a sweep has an unknown state"))
    }
}

/// A snapshot of a table that ended, and its sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Full name of the destination table.
    pub table: String,
    /// The topic that holds the snapshot.
    pub topic: String,
    /// Incarnation of the topic.
    pub incarnation: String,
    /// The token of the snapshot as a whole.
    pub token: Token,
    /// Its position in the source.
    pub position: i64,
    /// When its last row was applied, in milliseconds since 1970.
    pub marked_ms: i64,
    /// Ends of the topic's partitions, read after that.
    pub ends: Option<Vec<End>>,
    /// Its state.
    pub state: SweepState,
    /// Rows that went.
    pub removed: u64,
}

/// Writes down that a snapshot ended, inside the transaction that applies its last row.
pub(super) async fn add<S: Statements>(session: &mut S, end: &SnapshotEnd) -> Result<(), Failure> {
    let params = [
        Value::from(end.table.to_string()),
        Value::from(&*end.topic),
        Value::bytes(end.token.as_bytes()),
        Value::from(&*end.incarnation),
        stored(end.position).into(),
    ];
    session.execute(sql::SWEEP_ADD.of(session.dialect()), &params).await?;
    Ok(())
}

/// All of the store, by table and topic, snapshots of older positions first: partitions are applied in no common order.
pub async fn sweeps<S: Statements>(session: &mut S) -> Result<Vec<Sweep>, Failure> {
    let rows = session.query(sql::SWEEP_LIST.of(session.dialect()), &[]).await?;
    let unreadable = || damaged("the ends of a sweep cannot be read");
    Cells::each(rows, |cells| {
        Ok(Sweep {
            table: cells.text()?,
            topic: cells.text()?,
            token: tables::token_cell(cells)?.ok_or_else(|| damaged("a sweep has no token"))?,
            incarnation: cells.text()?,
            position: cells.int()?,
            marked_ms: cells.int()?,
            ends: match cells.text_or_null()? {
                Some(text) => Some(serde_json::from_str(&text).map_err(|_| unreadable())?),
                None => None,
            },
            state: SweepState::from_text(&cells.text()?)?,
            removed: cells.count()?,
        })
    })
}

/// Keeps the ends that have to be passed.
pub async fn sweep_wait<S: Statements>(session: &mut S, sweep: &Sweep, ends: &[End]) -> Result<(), Failure> {
    let ends = serde_json::to_string(ends)
        .map_err(|error| Failure::operator("sweep", format!("the ends cannot be written: {error}")))?;
    let [table, topic, token] = key(sweep);
    session.execute(sql::SWEEP_WAIT.of(session.dialect()), &[ends.as_str().into(), table, topic, token]).await?;
    Ok(())
}

/// Writes down how a sweep ended.
pub async fn sweep_settle<S: Statements>(
    session: &mut S,
    sweep: &Sweep,
    state: SweepState,
    removed: u64,
) -> Result<(), Failure> {
    let [table, topic, token] = key(sweep);
    let params = [state.as_str().into(), stored(removed).into(), table, topic, token];
    session.execute(sql::SWEEP_SETTLE.of(session.dialect()), &params).await?;
    Ok(())
}

fn key(sweep: &Sweep) -> [Value; 3] {
    [sweep.table.as_str().into(), sweep.topic.as_str().into(), Value::bytes(sweep.token.as_bytes())]
}

/// Condition on rows `t` that a table-level tombstone with the token in the only parameter removes.
fn beaten(dialect: Dialect, table: &Table) -> String {
    let (token, mark) = (dialect.ident(TOKEN_COLUMN), dialect.placeholder(1));
    let live = match table.delete {
        DeleteMode::Soft if table.shape.has_deleted => {
            let deleted = dialect.ident(DELETED_COLUMN);
            if dialect == Dialect::Postgres { format!("not t.{deleted} and ") } else { format!("t.{deleted} = 0 and ") }
        }
        _ => String::new(),
    };
    match table.token_storage {
        TokenStorage::Column => format!("{live}(t.{token} is null or t.{token} < {mark})"),
        TokenStorage::Side => {
            let side = dialect.bookkeeping(&table.side_name());
            let names = table.key.iter().map(|at| dialect.ident(&table.shape.columns[*at].name));
            let same: Vec<String> = names.map(|name| format!("m.{name} = t.{name}")).collect();
            format!("{live}not exists (select 1 from {side} m where {} and m.{token} >= {mark})", same.join(" and "))
        }
    }
}

/// How many rows a table-level tombstone with this token would remove (or mark).
pub async fn count_beaten<S: Statements>(session: &mut S, table: &Table, token: &Token) -> Result<u64, Failure> {
    let dialect = session.dialect();
    let text = format!("select count(*) from {} t where {}", dialect.table(table.name()), beaten(dialect, table));
    let rows = session.query(&text, &[Value::bytes(token.as_bytes())]).await?;
    Cells::new(rows.into_iter().next().ok_or_else(|| damaged("a count gave no row"))?).count()
}

/// Keys of such rows as text, at most `limit`. Keys are data: only for who asks for them.
pub async fn beaten_keys<S: Statements>(
    session: &mut S,
    table: &Table,
    token: &Token,
    limit: u32,
) -> Result<Vec<Vec<String>>, Failure> {
    let dialect = session.dialect();
    let kind = if dialect == Dialect::Mysql { "char" } else { "text" };
    let names = table.key.iter().map(|at| dialect.ident(&table.shape.columns[*at].name));
    let names: Vec<String> = names.map(|name| format!("cast(t.{name} as {kind})")).collect();
    let (names, condition) = (names.join(", "), beaten(dialect, table));
    let text = format!("select {names} from {} t where {condition} limit {limit}", dialect.table(table.name()));
    let rows = session.query(&text, &[Value::bytes(token.as_bytes())]).await?;
    Cells::each(rows, |cells| table.key.iter().map(|_| cells.text()).collect())
}
