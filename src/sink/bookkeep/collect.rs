//! What is stored about collecting tombstones: which topics feed which tables, generations, floors. The rules are in
//! [`crate::core::collect`].
//!
//! # Why the floor moves in a transaction of its own
//!
//! It is raised under the table's lock, with its version, before the first tombstone goes. A writer that could see a tombstone
//! missing finds the raised version under the same lock. So tombstones are deleted in short slices that take no lock of
//! the table's.

use crate::core::collect::End;
use crate::core::dialect::Dialect;
use crate::core::event::SourceTable;
use crate::core::failure::Failure;
use crate::core::plan::TableOutcome;
use crate::core::record::TopicPartition;
use crate::core::table::{DELETED_COLUMN, TOKEN_COLUMN, TableName, TokenStorage, fnv1a, side_table_name};
use crate::core::token::{PREFIX_BYTES, Token};
use crate::core::value::Value;
use crate::failpoint::failpoint;
use crate::sink::Statements;

use super::cells::{Cells, damaged};
use super::replay::{ReplayRange, replay_checkpoint_owner};
use super::{admin, end, sql, tables};

/// Tombstones that one transaction deletes.
const SLICE: i64 = 2_000;

/// A source table whose events a pipeline applies to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The pipeline.
    pub pipeline: String,
    /// Topic.
    pub topic: String,
    /// The source table.
    pub source: SourceTable,
    /// Full name of the destination table.
    pub table: String,
}

/// A closed generation of tombstones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number within its table.
    pub number: i64,
    /// When the one before it was closed.
    pub opened_ms: i64,
    /// Tombstones that were written before this time belong to it or to an older one.
    pub closed_ms: i64,
    /// Ends of all partitions that feed the table, read after that time.
    pub ends: Vec<End>,
    /// It was collected.
    pub is_collected: bool,
    /// Tombstones that went with it.
    pub collected: u64,
}

/// A replay that is running, or whose process died without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningReplay {
    /// Its number.
    pub id: i64,
    /// Its pipeline.
    pub pipeline: String,
    /// What it reads.
    pub ranges: Vec<ReplayRange>,
    /// Where its checkpoints are.
    pub checkpoint_owner: String,
}

/// Where the tombstones of a table are, told without describing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graves {
    /// The table.
    pub table: TableName,
    /// Where its tokens are.
    pub storage: TokenStorage,
}

impl Graves {
    fn name(&self, dialect: Dialect) -> String {
        dialect.bookkeeping(&side_table_name(&self.table, self.storage))
    }

    /// A condition on its rows: a tombstone, written before the time in parameter `number`.
    fn older(&self, dialect: Dialect, number: usize) -> String {
        let before = match dialect {
            Dialect::Postgres => format!("timestamptz 'epoch' + ${number}::bigint * interval '1 millisecond'"),
            Dialect::Mysql => "timestampadd(microsecond, ? * 1000, timestamp '1970-01-01 00:00:00')".to_owned(),
            Dialect::Sqlite => "strftime('%Y-%m-%d %H:%M:%f', ? / 1000.0, 'unixepoch')".to_owned(),
        };
        format!("{}deleted_at < {before}", self.is_dead(dialect))
    }

    fn is_dead(&self, dialect: Dialect) -> String {
        match self.storage {
            TokenStorage::Column => String::new(),
            TokenStorage::Side => format!("{} and ", dialect.ident(DELETED_COLUMN)),
        }
    }
}

/// The database's clock, in milliseconds since 1970.
pub async fn now_ms<S: Statements>(session: &mut S) -> Result<i64, Failure> {
    let rows = session.query(sql::NOW.of(session.dialect()), &[]).await?;
    Cells::new(rows.into_iter().next().ok_or_else(|| damaged("the clock gave no row"))?).int()
}

/// Writes down that a pipeline applies a source table's events to a table. Must be there before the first of them is applied.
pub async fn feed_add<S: Statements>(session: &mut S, feed: &Feed) -> Result<(), Failure> {
    let source = &feed.source;
    let parts = [&feed.topic, source.schema.as_deref().unwrap_or("\u{1}"), &source.table, &feed.table];
    let id = format!("{:016x}", fnv1a(parts.join("\0").as_bytes()));
    let schema = source.schema.as_deref().map_or(Value::Null, Value::from);
    let params = [
        feed.pipeline.as_str().into(),
        id.as_str().into(),
        feed.topic.as_str().into(),
        schema,
        source.table.as_str().into(),
        Value::from(feed.table.as_str()),
        source.database.as_deref().unwrap_or_default().into(),
        source.server.as_deref().unwrap_or_default().into(),
    ];
    session.execute(sql::FEED_ADD.of(session.dialect()), &params).await?;
    Ok(())
}

/// What every pipeline of the store applies to which table.
pub async fn feeds<S: Statements>(session: &mut S) -> Result<Vec<Feed>, Failure> {
    let rows = session.query(sql::FEED_LIST.of(session.dialect()), &[]).await?;
    Cells::each(rows, feed)
}

/// What a pipeline applies to a table, whatever the case of the letters of its name.
pub async fn feeds_of_table<S: Statements>(session: &mut S, pipeline: &str, table: &str) -> Result<Vec<Feed>, Failure> {
    let params = [Value::from(pipeline), Value::from(table)];
    let found: Vec<Feed> = Cells::each(session.query(sql::FEED_OF_TABLE.of(session.dialect()), &params).await?, feed)?;
    let exact = session.dialect() != Dialect::Sqlite;
    Ok(found.into_iter().filter(|feed| !exact || feed.table == table).collect())
}

fn feed(cells: &mut Cells) -> Result<Feed, Failure> {
    let (pipeline, topic, schema) = (cells.text()?, cells.text()?, cells.text_or_null()?);
    let (name, table) = (cells.text()?, cells.text()?);
    let source = SourceTable {
        database: Some(cells.text()?).filter(|text| !text.is_empty()),
        server: Some(cells.text()?).filter(|text| !text.is_empty()),
        ..SourceTable::new(schema.as_deref(), &name)
    };
    Ok(Feed { pipeline, topic, source, table })
}

/// Pipelines that have changed a table, in the store's whole life.
pub async fn writers_of<S: Statements>(session: &mut S, table: &str) -> Result<Vec<String>, Failure> {
    let rows = session.query(sql::COUNTER_PIPELINES.of(session.dialect()), &[Value::from(table)]).await?;
    Cells::each(rows, Cells::text)
}

/// Replays of all pipelines that are not known to have ended.
pub async fn running_replays<S: Statements>(session: &mut S) -> Result<Vec<RunningReplay>, Failure> {
    let rows = session.query(sql::REPLAY_RUNNING.of(session.dialect()), &[]).await?;
    Cells::each(rows, |cells| {
        let (id, pipeline, ranges) = (cells.int()?, cells.text()?, cells.text()?);
        let ranges = serde_json::from_str(&ranges).map_err(|_| damaged("the ranges of a replay cannot be read"))?;
        Ok(RunningReplay { id, checkpoint_owner: replay_checkpoint_owner(&pipeline, id), pipeline, ranges })
    })
}

/// Generations of a table, oldest first.
pub async fn generations<S: Statements>(session: &mut S, table: &TableName) -> Result<Vec<Generation>, Failure> {
    let rows = session.query(sql::GENERATION_LIST.of(session.dialect()), &[Value::from(table.to_string())]).await?;
    Cells::each(rows, |cells| {
        Ok(Generation {
            number: cells.int()?,
            opened_ms: cells.int()?,
            closed_ms: cells.int()?,
            ends: serde_json::from_str(&cells.text()?)
                .map_err(|_| damaged("the ends of a generation cannot be read"))?,
            is_collected: cells.text()? == "collected",
            collected: cells.count()?,
        })
    })
}

/// Stores a generation that was closed at `closed_ms` with ends that were read after that time, and drops some: void ones, and those
/// whose tombstones a later one covers as well.
pub async fn close_generation<S: Statements>(
    session: &mut S,
    table: &TableName,
    closed_ms: i64,
    ends: &[End],
    drop: &[i64],
) -> Result<(), Failure> {
    let ends = serde_json::to_string(ends)
        .map_err(|error| Failure::operator("generation", format!("the ends cannot be written: {error}")))?;
    session.begin().await?;
    let work = close_in_transaction(session, table, closed_ms, &ends, drop).await;
    end(session, work).await
}

async fn close_in_transaction<S: Statements>(
    session: &mut S,
    table: &TableName,
    closed_ms: i64,
    ends: &str,
    drop: &[i64],
) -> Result<(), Failure> {
    // Numbers are handed out under the table's lock.
    tables::lock_table(session, table, None).await?;
    let dialect = session.dialect();
    let known = generations(session, table).await?;
    let name = Value::from(table.to_string());
    for number in drop {
        session.execute(sql::GENERATION_DROP.of(dialect), &[name.clone(), (*number).into()]).await?;
    }
    let (number, opened) = known.last().map_or((1, 0), |last| (last.number + 1, last.closed_ms));
    let params = [name, number.into(), opened.into(), closed_ms.into(), Value::from(ends)];
    session.execute(sql::GENERATION_ADD.of(dialect), &params).await?;
    Ok(())
}

/// The floors of a table, one a scope.
pub async fn floors<S: Statements>(session: &mut S, table: &TableName) -> Result<Vec<Token>, Failure> {
    let rows = session.query(sql::FLOOR_LIST.of(session.dialect()), &[Value::from(table.to_string())]).await?;
    Cells::each(rows, |cells| tables::token_cell(cells)?.ok_or_else(|| damaged("a floor has no token")))
}

/// Tombstones of a table that are there, and with `before_ms` only those that were written before.
pub async fn count_graves<S: Statements>(
    session: &mut S,
    graves: &Graves,
    before_ms: Option<i64>,
) -> Result<u64, Failure> {
    let dialect = session.dialect();
    let condition = match before_ms {
        Some(_) => graves.older(dialect, 1),
        None => format!("{}1 = 1", graves.is_dead(dialect)),
    };
    let text = format!("select count(*) from {} where {condition}", graves.name(dialect));
    let params: Vec<Value> = before_ms.map(Value::from).into_iter().collect();
    let rows = session.query(&text, &params).await?;
    Cells::new(rows.into_iter().next().ok_or_else(|| damaged("a count gave no row"))?).count()
}

/// Collects the tombstones that were written before `generation` was closed: the floors first, then tombstone after tombstone.
/// Returns how many went. Counted for `pipeline`.
pub async fn collect<S: Statements>(
    session: &mut S,
    pipeline: &str,
    graves: &Graves,
    generation: &Generation,
) -> Result<u64, Failure> {
    session.begin().await?;
    let work = raise_floors(session, graves, generation.closed_ms).await;
    let floors = end(session, work).await?;
    failpoint!(COLLECT_FLOORS);
    let mut collected = 0;
    for floor in &floors {
        loop {
            session.begin().await?;
            let work = delete_slice(session, pipeline, graves, generation, floor).await;
            let deleted = end(session, work).await?;
            failpoint!(COLLECT_SLICE);
            collected += deleted;
            if deleted < SLICE as u64 {
                break;
            }
        }
    }
    let params = [0.into(), Value::from(graves.table.to_string()), generation.number.into()];
    session.execute(sql::GENERATION_COLLECTED.of(session.dialect()), &params).await?;
    Ok(collected)
}

/// The greatest token of each scope among tombstones of before; raises the floors to them. Returns the floors.
async fn raise_floors<S: Statements>(session: &mut S, graves: &Graves, before_ms: i64) -> Result<Vec<Token>, Failure> {
    let dialect = session.dialect();
    tables::lock_table(session, &graves.table, None).await?;
    let held = floors(session, &graves.table).await?;
    let mut raised = held.clone();
    for token in greatest_tokens(session, graves, before_ms).await? {
        match raised.iter_mut().find(|floor| floor.comparable(&token)) {
            Some(floor) => *floor = token.max(*floor),
            None => raised.push(token),
        }
    }
    if raised == held {
        return Ok(raised);
    }
    let name = Value::from(graves.table.to_string());
    for floor in &raised {
        let token = Value::bytes(floor.as_bytes());
        let scope = Value::from(i64::from(floor.scope()));
        let params = [token.clone(), name.clone(), scope.clone()];
        if session.execute(sql::FLOOR_RAISE.of(dialect), &params).await? == 0 {
            session.execute(sql::FLOOR_ADD.of(dialect), &[name.clone(), scope, token]).await?;
        }
    }
    session.execute(sql::FLOOR_MOVED.of(dialect), &[name]).await?;
    Ok(raised)
}

async fn greatest_tokens<S: Statements>(
    session: &mut S,
    graves: &Graves,
    before_ms: i64,
) -> Result<Vec<Token>, Failure> {
    let dialect = session.dialect();
    let token = dialect.ident(TOKEN_COLUMN);
    let (name, older) = (graves.name(dialect), graves.older(dialect, 1));
    let scope = format!("substring({token} from 1 for {PREFIX_BYTES})");
    let text = match dialect {
        // There is no max() of bytea.
        Dialect::Postgres => {
            format!("select distinct on ({scope}) {token} from {name} where {older} order by {scope}, {token} desc")
        }
        Dialect::Mysql => format!("select max({token}) from {name} where {older} group by {scope}"),
        Dialect::Sqlite => {
            format!("select max({token}) from {name} where {older} group by substr({token}, 1, {PREFIX_BYTES})")
        }
    };
    let rows = session.query(&text, &[before_ms.into()]).await?;
    Cells::each(rows, |cells| tables::token_cell(cells)?.ok_or_else(|| damaged("a tombstone has no token")))
}

/// Only what is not above the floor goes, whatever became of the tombstones since it was raised.
async fn delete_slice<S: Statements>(
    session: &mut S,
    pipeline: &str,
    graves: &Graves,
    generation: &Generation,
    floor: &Token,
) -> Result<u64, Failure> {
    let dialect = session.dialect();
    let token = dialect.ident(TOKEN_COLUMN);
    let (name, older) = (graves.name(dialect), graves.older(dialect, 1));
    let text = match dialect {
        Dialect::Postgres => format!(
            "delete from {name} where ctid = any(array(select ctid from {name} where {older} and {token} between $2 and $3 \
             limit {SLICE})) and {older} and {token} between $2 and $3"
        ),
        Dialect::Mysql => format!("delete from {name} where {older} and {token} between ? and ? limit {SLICE}"),
        Dialect::Sqlite => format!(
            "delete from {name} where rowid in (select rowid from {name} where {older} and {token} between ? and ? \
             limit {SLICE})"
        ),
    };
    let least = Value::bytes(&floor.as_bytes()[..PREFIX_BYTES]);
    let params = [generation.closed_ms.into(), least, Value::bytes(floor.as_bytes())];
    let deleted = session.execute(&text, &params).await?;
    let outcome = TableOutcome { tombstones_delta: -(deleted as i64), ..TableOutcome::default() };
    tables::count(session, pipeline, &graves.table, &outcome).await?;
    let params = [(deleted as i64).into(), Value::from(graves.table.to_string()), generation.number.into()];
    session.execute(sql::GENERATION_COLLECTED.of(dialect), &params).await?;
    Ok(deleted)
}

/// Forgets the floors and generations of an empty table, so that it can be filled from the beginning. Refused for a table that
/// has rows: what stands there would be mixed with what comes again. Tokens aside of rows that are gone go as well: the rows'
/// events would lose to them. Audited in the same transaction.
pub async fn reset_floors<S: Statements>(session: &mut S, graves: &Graves, who: &str) -> Result<(), Failure> {
    session.begin().await?;
    let work = reset_in_transaction(session, graves, who).await;
    end(session, work).await
}

async fn reset_in_transaction<S: Statements>(session: &mut S, graves: &Graves, who: &str) -> Result<(), Failure> {
    let dialect = session.dialect();
    let table = &graves.table;
    tables::lock_table(session, table, None).await?;
    let text = format!("select 1 from {} limit 1", dialect.table(table));
    if !session.query(&text, &[]).await?.is_empty() {
        return Err(Failure::operator(
            "not_empty",
            format!(
                "table {table} has rows; its floor can be lowered only when it is empty and is filled again from the beginning"
            ),
        ));
    }
    if graves.storage == TokenStorage::Side {
        let text = format!("delete from {} where not {}", graves.name(dialect), dialect.ident(DELETED_COLUMN));
        session.execute(&text, &[]).await?;
    }
    let before: Vec<String> = floors(session, table).await?.iter().map(Token::hex).collect();
    let name = [Value::from(table.to_string())];
    for statement in [&*sql::FLOOR_CLEAR, &*sql::GENERATION_CLEAR, &*sql::FLOOR_MOVED] {
        session.execute(statement.of(dialect), &name).await?;
    }
    let before = if before.is_empty() { "no floor".to_owned() } else { format!("floor {}", before.join(", ")) };
    admin::audit(session, who, "tombstones reset", &table.to_string(), Some(&before), Some("no floor")).await
}

/// Ends below which records of a partition cannot be read again without meeting a floor: those of the newest collected generation
/// of every table, with the table's name.
pub async fn collected_ends<S: Statements>(
    session: &mut S,
    tables: &[TableName],
) -> Result<Vec<(String, TopicPartition, String, i64)>, Failure> {
    let mut found = Vec::new();
    for table in tables {
        let newest = generations(session, table).await?.into_iter().rfind(|generation| generation.is_collected);
        for end in newest.into_iter().flat_map(|generation| generation.ends) {
            found.push((table.to_string(), end.at(), end.incarnation, end.end));
        }
    }
    Ok(found)
}
