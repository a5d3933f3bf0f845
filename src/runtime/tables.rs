//! Destination tables: met once, described, made or completed where that is allowed, and checked; then shared by all lanes.
//!
//! Every question about a table is answered here in one place, for `run` (which makes what is missing) and for `check`
//! (which changes nothing and says what would be made): [`Tables::resolve`].

mod altering;
mod conditions;
mod making;
mod owners;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::checked::{Config, Ruled, TableRule, TopicRule};
use crate::core::dialect::Dialect;
use crate::core::dialect::ddl;
use crate::core::event::{Op, RawEvent, Rejection, RowSchema, SourcePosition, SourceTable};
use crate::core::evolve::{Shown, differences};
use crate::core::failure::{Class, Failure};
use crate::core::mapping::Mapping;
use crate::core::table::{Contract, DeleteMode, Table, TableName, TableShape, TokenStorage};
use crate::core::unavailable::Unavailable;
use crate::core::wire::TableSpec;
use crate::sink::bookkeep::TopicSource;
use crate::sink::{Session, Sink, bookkeep};

use super::lookup::Bounds;
use altering::shown;
use conditions::{check_key, check_unique, has_key, key_columns, key_names, order_policy};
use making::{define, missing_schema, server};
use owners::Owners;

/// Between two looks for a table that another process may be altering.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long a table's bounds are remembered: a plan looks at them for every row, a transaction looks at the stored ones again.
const BOUNDS_AGE: Duration = Duration::from_secs(1);
/// See [`Tables::may_look`].
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// What the events of a source table lead to.
#[derive(Clone, Debug)]
pub enum Resolved {
    /// The configuration leaves them out.
    Skip,
    /// Rows of a table.
    Rows(Arc<Mapping>),
    /// The whole table (TRUNCATE).
    Whole(Arc<Table>),
    /// TRUNCATE of a table that is not there (yet): its token holds for what comes.
    Missing(Arc<Missing>),
    /// Entries of a change log, and what stands in its events for values that the connector did not see.
    Log(Arc<Table>, Arc<Unavailable>),
}

/// A table that is not there, as the configuration wants it.
#[derive(Debug)]
pub struct Missing {
    /// Its name.
    pub name: TableName,
    /// What deletes do in it.
    pub delete: DeleteMode,
    /// Where its tokens will be.
    pub token_storage: TokenStorage,
}

/// What an event shows of its table.
#[derive(Clone, Copy, Debug)]
pub struct Met<'a> {
    /// Topic of the record.
    pub topic: &'a str,
    /// Table as the source names it.
    pub source: &'a SourceTable,
    /// What it does.
    pub op: Op,
    /// Fields of its rows.
    pub row: Option<&'a RowSchema>,
    /// Fields of its record key.
    pub key: Option<&'a RowSchema>,
    /// Whether it carries a position of its source.
    pub position: &'a SourcePosition,
    /// A column that could not hold a value of it, as it was described last.
    pub misfit: Option<&'a str>,
}

impl<'a> Met<'a> {
    /// What an event shows.
    pub fn of(topic: &'a str, event: &'a RawEvent<'_>) -> Self {
        let row = event.after.as_ref().or(event.before.as_ref()).map(|row| &*row.schema);
        let key = event.key.as_ref().map(|key| &*key.schema);
        Self { topic, source: &event.table, op: event.op, row, key, position: &event.position, misfit: None }
    }
}

/// A statement that a check would have run, or that someone else has to run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Planned {
    /// The table.
    pub table: String,
    /// The statement.
    pub statement: String,
    /// `lastword run` runs it.
    pub runs: bool,
}

/// Why a table cannot be had: a refusal that concerns it, or a failure of the database.
#[derive(Debug)]
pub enum Refused {
    /// Of this table.
    Table(Rejection),
    /// Of the database.
    Database(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Database(failure)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Tables {
    config: Arc<Config>,
    sink: Sink,
    /// Changes tables; a check does not.
    may_change: bool,
    next_id: AtomicU32,
    state: Mutex<State>,
    known: std::sync::Mutex<HashMap<TableName, Arc<Table>>>,
    /// See [`Self::version`].
    version: AtomicU64,
    bounds: std::sync::Mutex<HashMap<u32, (Instant, Arc<Bounds>)>>,
    /// When a table was last described for a value that did not fit.
    looked: std::sync::Mutex<HashMap<TableName, Instant>>,
    planned: std::sync::Mutex<Vec<Planned>>,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Session>,
    /// Topics and source tables whose destination was written down.
    fed: HashSet<(String, SourceTable, TableName)>,
    owners: Owners,
}

impl Tables {
    /// Tables of a destination. With `may_change` false nothing is created or altered.
    pub fn new(config: Arc<Config>, sink: Sink, may_change: bool) -> Self {
        Self {
            config,
            sink,
            may_change,
            next_id: AtomicU32::new(1),
            state: Mutex::default(),
            known: Default::default(),
            version: AtomicU64::new(0),
            bounds: Default::default(),
            looked: Default::default(),
            planned: Default::default(),
        }
    }

    /// The rule for a topic and source table, and the table it leads to; `None` if they are left out.
    pub fn rule(&self, topic: &str, source: &SourceTable) -> Option<Ruled<'_>> {
        self.config.ruled(topic, source)
    }

    /// The language of the destination.
    pub fn dialect(&self) -> Dialect {
        self.config.sink.dialect
    }

    /// What the events of a table lead to. The answer holds for all events with the same fields.
    pub async fn resolve(&self, met: Met<'_>) -> Result<Resolved, Refused> {
        let Some(ruled) = self.rule(met.topic, met.source) else { return Ok(Resolved::Skip) };
        let mut state = self.state.lock().await;
        if state.session.is_none() {
            state.session = Some(self.sink.session("tables").await?);
        }
        let mut outcome = self.resolve_in(&mut state, ruled, met).await;
        if let Ok(resolved) = &outcome
            && let Err(refused) = self.note_feed(&mut state, ruled, met, resolved).await
        {
            outcome = Err(refused);
        }
        if let Err(Refused::Database(failure)) = &outcome
            && failure.connection_lost
        {
            state.session = None;
        }
        outcome.map_err(of_table)
    }

    fn known(&self, name: &TableName) -> Option<Arc<Table>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    fn remember(&self, name: TableName, table: &Arc<Table>) {
        let before = self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(table));
        if before.is_some_and(|before| before.id != table.id) {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Changes whenever a table that was met is described anew. Mappings that were made under another version may be of tables
    /// that do not look so any more.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Forgets these tables, if they are still what is known under their names; all tables if none is given. Their next events
    /// meet them anew, under new ids: stages and statements of the old ones are not used again, in no session.
    pub(super) fn forget<'t>(&self, tables: impl Iterator<Item = &'t Arc<Table>>) {
        let ids: HashSet<u32> = tables.map(|table| table.id).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, table| !ids.is_empty() && !ids.contains(&table.id));
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether it is time to look at a table for the sake of a value: a storm of bad values must not become one of descriptions.
    fn may_look(&self, name: &TableName) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = looked.get(name).is_none_or(|last| now.duration_since(*last) >= LOOK_PAUSE);
        if due {
            looked.insert(name.clone(), now);
        }
        due
    }

    fn planned(&self, statements: impl IntoIterator<Item = Planned>) {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        for statement in statements {
            if !planned.contains(&statement) {
                planned.push(statement);
            }
        }
    }

    /// The statements that were needed and not run so far, in their order.
    pub fn take_planned(&self) -> Vec<Planned> {
        std::mem::take(&mut *self.planned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes down which topic feeds which table, before its first event is applied: tombstones are collected by it.
    async fn note_feed(
        &self,
        state: &mut State,
        ruled: Ruled<'_>,
        met: Met<'_>,
        resolved: &Resolved,
    ) -> Result<(), Refused> {
        let table = match resolved {
            Resolved::Rows(mapping) => mapping.table.name(),
            Resolved::Whole(table) => table.name(),
            Resolved::Skip | Resolved::Missing(_) | Resolved::Log(..) => return Ok(()),
        };
        let feed = (met.topic.to_owned(), met.source.clone(), table.clone());
        let Some(session) = state.session.as_mut().filter(|_| self.may_change && !state.fed.contains(&feed)) else {
            return Ok(());
        };
        let row = bookkeep::Feed {
            pipeline: self.config.pipeline.clone(),
            topic: met.topic.to_owned(),
            source: met.source.clone(),
            table: table.to_string(),
        };
        state.owners.admit_stored(session, &self.config, ruled, met, table).await?;
        bookkeep::feed_add(session, &row).await?;
        state.fed.insert(feed);
        Ok(())
    }

    /// The truncate token and the floors of a table, at most a second old.
    pub(super) async fn bounds(&self, session: &mut Session, table: &Table) -> Result<Arc<Bounds>, Failure> {
        let now = Instant::now();
        if let Some((read, bounds)) = self.bounds.lock().unwrap_or_else(PoisonError::into_inner).get(&table.id)
            && now.duration_since(*read) < BOUNDS_AGE
        {
            return Ok(Arc::clone(bounds));
        }
        let limits = bookkeep::limits(session, table.name()).await?;
        let floors = if limits.floor_version > 0 { bookkeep::floors(session, table.name()).await? } else { Vec::new() };
        let bounds = Arc::new(Bounds { truncate: limits.truncate, floors });
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner).insert(table.id, (now, Arc::clone(&bounds)));
        Ok(bounds)
    }

    /// Forgets remembered bounds: a transaction met others.
    pub(super) fn forget_bounds(&self) {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn resolve_in(&self, state: &mut State, ruled: Ruled<'_>, met: Met<'_>) -> Result<Resolved, Refused> {
        let dialect = self.config.sink.dialect;
        let (topic_rule, rule) = (ruled.topic, ruled.table);
        let name = ruled.name(met.topic, met.source, dialect).map_err(Refused::Table)?;
        state.owners.admit(&self.config, ruled, met, &name)?;
        let Some(session) = state.session.as_mut() else {
            return Err(Refused::Database(Failure::new(
                Class::Transient,
                "no_session",
                "no connection to the destination",
            )));
        };
        if rule.contract == Contract::ChangeLog {
            let table = match self.known(&name) {
                Some(table) => table,
                None => self.meet_log(session, rule, &name).await?,
            };
            self.remember(name, &table);
            return Ok(Resolved::Log(table, Arc::clone(&rule.unavailable)));
        }
        if met.op == Op::Truncate {
            return self.meet_whole(session, topic_rule, rule, name).await;
        }
        let order = order_policy(topic_rule, rule, met)?;
        // From here on fields have the names of the destination's columns.
        let source_key = key_names(topic_rule, met)?;
        let source_order = topic_rule.map_or(&[][..], |rule| &rule.order_by);
        let needed = [&source_key, source_order].concat();
        let select = |fields: Option<&RowSchema>| {
            let selected = fields.map(|fields| rule.columns.select(dialect, fields, &needed));
            selected.transpose().map_err(Refused::Table)
        };
        let (row, fields_of_key) = (select(met.row)?, select(met.key)?);
        let met = Met { row: row.as_ref(), key: fields_of_key.as_ref(), ..met };
        let renamed = |columns: &[String]| columns.iter().map(|column| rule.columns.name(column)).collect::<Vec<_>>();
        let (key, order_by) = (renamed(&source_key), renamed(source_order));
        self.check_columns(met.row)?;
        let rules = self.config.cell_rules(rule);
        let map = |table| Mapping::new(table, met.row, met.key, &order_by, order.clone(), rules.clone());
        let spec = TableSpec {
            name: name.clone(),
            fields: spec_fields(met, &key),
            key: key.clone(),
            contract: rule.contract,
            delete: rule.delete,
            token_storage: rule.token_storage,
        };
        let looks = met.misfit.is_some() && self.may_look(&name);
        if let Some(table) = self.known(&name).filter(|_| !looks)
            && has_key(&table, &key)
            && differences(rule.evolve, &table.shape, Shown { misfit: None, ..shown(&met, &spec) }).is_empty()
            && let Ok(mapping) = map(table)
        {
            self.note(session, met).await?;
            return Ok(Resolved::Rows(Arc::new(mapping)));
        }
        // Not known, or it does not fit: perhaps it was changed since it was described.
        let table = self.meet_rows(session, rule, &spec, &met).await?;
        let mapping = map(Arc::clone(&table)).map_err(Refused::Table)?;
        self.note(session, met).await?;
        self.remember(name, &table);
        Ok(Resolved::Rows(Arc::new(mapping)))
    }

    /// Takes note of what the topic's keys belong to.
    async fn note(&self, session: &mut Session, met: Met<'_>) -> Result<(), Failure> {
        if !self.may_change || met.row.is_none() {
            return Ok(());
        }
        let source = TopicSource { table: met.source.clone(), by_source: !met.position.is_none() };
        bookkeep::add_topic(session, met.topic, &source).await
    }

    fn check_columns(&self, row: Option<&RowSchema>) -> Result<(), Refused> {
        for field in row.iter().flat_map(|row| &row.fields) {
            let checked = self.config.sink.dialect.check_name(&field.name);
            checked.map_err(|what| Refused::Table(Rejection::table("name", what)))?;
        }
        if row.is_some_and(|row| row.fields.iter().any(|field| field.name.starts_with("_lastword"))) {
            let what = "events carry a column whose name begins with `_lastword`, which is reserved; leave it out with `exclude_columns`";
            return Err(Refused::Table(Rejection::table("name", what)));
        }
        Ok(())
    }

    async fn meet_log(&self, session: &mut Session, rule: &TableRule, name: &TableName) -> Result<Arc<Table>, Refused> {
        let spec = ddl::change_log_spec(name.clone());
        let shape = self.shape(session, rule, &spec).await?;
        for field in &spec.fields {
            if shape.position(&field.name).is_none() {
                let what = format!(
                    "{name} is to be a change log but has no column {:?}; give the log a table of its own with `into`",
                    field.name
                );
                return Err(Refused::Table(Rejection::table("change_log", what)));
            }
        }
        let key = key_columns(&shape, &spec.key)?;
        check_unique(&shape, &spec.key)?;
        self.finish_table(session, rule, name, (shape, key), TokenStorage::Column).await
    }

    /// A table that is truncated: its TRUNCATE carries neither fields nor a key, so what is there decides.
    async fn meet_whole(
        &self,
        session: &mut Session,
        topic_rule: Option<&TopicRule>,
        rule: &TableRule,
        name: TableName,
    ) -> Result<Resolved, Refused> {
        if topic_rule.is_some_and(|rule| !rule.order_by.is_empty()) || rule.offset_order {
            let what = format!(
                "a TRUNCATE of {name} cannot be ordered by columns or offsets against changes of other partitions"
            );
            return Err(Refused::Table(Rejection::new("truncate", what)));
        }
        if let Some(table) = self.known(&name) {
            return Ok(Resolved::Whole(table));
        }
        let Some(shape) = session.describe(&name).await? else {
            let (delete, token_storage) = (rule.delete, rule.token_storage);
            return Ok(Resolved::Missing(Arc::new(Missing { name, delete, token_storage })));
        };
        let names = topic_rule.and_then(|rule| rule.key.clone()).unwrap_or_else(|| shape.primary_key.clone());
        let key = key_columns(&shape, &names)?;
        check_key(self.config.sink.dialect, &shape, &key, &names)?;
        if !shape.has_token && rule.token_storage == TokenStorage::Column {
            return Err(Refused::Table(Rejection::table("no_token", format!("{name} was never written by lastword"))));
        }
        let table = self.finish_table(session, rule, &name, (shape, key), rule.token_storage).await?;
        self.remember(name, &table);
        Ok(Resolved::Whole(table))
    }

    async fn meet_rows(
        &self,
        session: &mut Session,
        rule: &TableRule,
        spec: &TableSpec,
        met: &Met<'_>,
    ) -> Result<Arc<Table>, Refused> {
        let shape = self.shape(session, rule, spec).await?;
        let key = key_columns(&shape, &spec.key)?;
        check_key(self.config.sink.dialect, &shape, &key, &spec.key)?;
        let mut shape = self.evolved(session, rule, spec, met, shape).await?;
        let key = key_columns(&shape, &spec.key)?;
        if rule.token_storage == TokenStorage::Side && rule.delete == DeleteMode::Soft && !shape.has_deleted {
            let what = format!(
                "{} must not be changed (`token_storage = \"side\"`) and has no column `_lastword_deleted` for soft deletes; add it (boolean, not null, default false) or choose `delete = \"hard\"`",
                shape.name
            );
            return Err(Refused::Table(Rejection::table("no_deleted_column", what)));
        }
        let statements = ddl::add_own_columns(self.config.sink.dialect, &shape, spec);
        if !self.may_change {
            let planned = |statement| Planned { table: shape.name.to_string(), statement, runs: true };
            self.planned(statements.into_iter().map(planned));
        } else if !statements.is_empty() {
            for statement in &statements {
                define(session, statement).await?;
            }
            shape.has_token = true;
            shape.has_deleted |= rule.delete == DeleteMode::Soft;
        }
        self.finish_table(session, rule, &spec.name, (shape, key), rule.token_storage).await
    }

    /// Describes a table. MariaDB's catalogue does not show a table for a moment while another process alters it (seen when two
    /// met one that had no token column yet), or shows it without its keys or its columns, so such a table is looked for again.
    async fn find(&self, session: &mut Session, name: &TableName) -> Result<Option<TableShape>, Failure> {
        let looks = if self.config.sink.dialect == Dialect::Mysql && self.may_change { 5 } else { 1 };
        for look in 1..=looks {
            let found = session.describe(name).await?;
            if look == looks || found.as_ref().is_some_and(is_whole) {
                return Ok(found);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(None)
    }

    /// The table's shape; made first if it is missing and may be made.
    async fn shape(&self, session: &mut Session, rule: &TableRule, spec: &TableSpec) -> Result<TableShape, Refused> {
        if let Some(shape) = self.find(session, &spec.name).await? {
            return Ok(shape);
        }
        let refuse = |reason, what| Refused::Table(Rejection::table(reason, what));
        if !rule.create {
            return Err(refuse("no_table", format!("{} does not exist and `create` is off; create it", spec.name)));
        }
        let statement = ddl::create_table(self.config.sink.dialect, spec, &server(session).await?)
            .map_err(|what| refuse("cannot_create", what))?;
        let schema = match &spec.name.schema {
            Some(schema) => missing_schema(session, schema).await?,
            None => None,
        };
        let statements: Vec<String> = schema.into_iter().chain([statement]).collect();
        if !self.may_change {
            let planned = |statement| Planned { table: spec.name.to_string(), statement, runs: true };
            self.planned(statements.into_iter().map(planned));
            return Err(refuse("would_create", format!("{} does not exist and would be created", spec.name)));
        }
        for statement in &statements {
            define(session, statement).await?;
        }
        let described = session.describe(&spec.name).await?;
        described.ok_or_else(|| {
            refuse("no_table", format!("{} was created but cannot be seen; check the rights", spec.name))
        })
    }

    async fn finish_table(
        &self,
        session: &mut Session,
        rule: &TableRule,
        name: &TableName,
        (shape, key): (TableShape, Vec<usize>),
        token_storage: TokenStorage,
    ) -> Result<Arc<Table>, Refused> {
        let table = Table {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            shape,
            contract: rule.contract,
            delete: rule.delete,
            token_storage,
            key,
            single_writer: rule.single_writer,
        };
        if let Some(known) = self.known(name).filter(|known| is_same(known, &table)) {
            return Ok(known);
        }
        if self.may_change {
            if rule.contract == Contract::FinalState {
                define(session, &ddl::side_table(self.config.sink.dialect, &table)).await?;
                self.side_follows(session, &table).await?;
            }
            bookkeep::ensure_table_state(session, table.name(), rule.contract, rule.delete, token_storage).await?;
        }
        Ok(Arc::new(table))
    }
}

/// Whether a table was described again as it was: then it keeps its id, and with it stages and statements.
fn is_same(known: &Table, table: &Table) -> bool {
    let rest = |table: &Table| (table.contract, table.delete, table.token_storage, table.single_writer);
    known.shape == table.shape && known.key == table.key && rest(known) == rest(table)
}

/// What a person has to mend for one table is no reason to hold the others up.
fn of_table(refused: Refused) -> Refused {
    match refused {
        Refused::Database(failure)
            if matches!(failure.class, Class::Operator | Class::Table) && !failure.connection_lost =>
        {
            Refused::Table(Rejection::table("table_failed", failure.to_string()))
        }
        refused => refused,
    }
}

/// Whether a description has keys, and all of their columns.
fn is_whole(shape: &TableShape) -> bool {
    let mut keys = std::iter::once(&shape.primary_key).chain(&shape.unique_keys).filter(|key| !key.is_empty());
    let has_columns = |key: &Vec<String>| key.iter().all(|name| shape.position(name).is_some());
    keys.next().is_some_and(has_columns)
}

/// Fields of a table to be made: the row's, and key fields that the row does not have.
fn spec_fields(met: Met<'_>, key: &[String]) -> Vec<crate::core::wire::Field> {
    let mut fields: Vec<_> = met.row.map(|row| row.fields.clone()).unwrap_or_default();
    for field in met.key.iter().flat_map(|schema| &schema.fields) {
        if key.contains(&field.name) && !fields.iter().any(|known| known.name == field.name) {
            fields.push(field.clone());
        }
    }
    fields
}
