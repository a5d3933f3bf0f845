//! Plans against a real database.

mod modes;
mod tables;
mod unique;

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::config::secret::Secret;
use crate::core::dialect::ddl::{self, Server};
use crate::core::plan::{Applied, Delete, Plan, TableOutcome, TablePlan, Upsert, UpsertGroup};
use crate::core::table::{Contract, DeleteMode, Table, TableName, TokenStorage};
use crate::core::token::{Token, TokenWriter};
use crate::core::wire::{Field, TableSpec, WireType};
use crate::sink::bookkeep;

fn config(url: String) -> SinkConfig {
    SinkConfig { url: Secret::new(url), dialect: Dialect::Sqlite, writers: 1, lock_timeout: Duration::from_secs(10) }
}

/// A database with one table.
struct Bench {
    _folder: TempDir,
    session: SqliteSession,
    table: Arc<Table>,
}

fn field(name: &str, kind: WireType) -> Field {
    Field::new(name, kind, true)
}

/// `code` and `id` are the key, `v` is all else.
fn spec(name: TableName, delete: DeleteMode, token_storage: TokenStorage) -> TableSpec {
    let kinds = [("id", WireType::Int { bits: 64 }), ("v", WireType::Text), ("code", WireType::Text)];
    TableSpec {
        name,
        fields: kinds.into_iter().map(|(name, kind)| field(name, kind)).collect(),
        key: vec!["code".into(), "id".into()],
        contract: Contract::FinalState,
        delete,
        token_storage,
    }
}

impl Bench {
    async fn new(delete: DeleteMode, storage: TokenStorage) -> Self {
        Self::of(spec(TableName::new(Some("public"), "t"), delete, storage)).await
    }

    async fn of(spec: TableSpec) -> Self {
        let made = ddl::create_table(Dialect::Sqlite, &spec, &Server::default()).expect("ddl");
        Self::with(&[&made], spec).await
    }

    /// A table that is made by given statements.
    async fn with(made: &[&str], spec: TableSpec) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let sink =
            SqliteSink::new(&config(format!("sqlite://{}", folder.path().join("a b.db").display()))).expect("sink");
        let mut session = sink.session("test").await.expect("session");
        bookkeep::migrate(&mut session).await.expect("migrate");
        for statement in made {
            session.execute(statement, &[]).await.expect("ddl");
        }
        let mut shape = session.describe(&spec.name).await.expect("describe").expect("there");
        for statement in ddl::add_own_columns(Dialect::Sqlite, &shape, &spec) {
            session.execute(&statement, &[]).await.expect("own column");
            shape = session.describe(&spec.name).await.expect("describe").expect("there");
        }
        let key = spec.key.iter().map(|name| shape.position(name).expect("key column")).collect();
        let table = Table {
            id: 1,
            shape,
            contract: spec.contract,
            delete: spec.delete,
            token_storage: spec.token_storage,
            key,
            single_writer: false,
        };
        if spec.contract == Contract::FinalState {
            session.execute(&ddl::side_table(Dialect::Sqlite, &table), &[]).await.expect("side table");
        }
        bookkeep::ensure_table_state(&mut session, &spec.name, spec.contract, spec.delete, spec.token_storage)
            .await
            .expect("state");
        Self { _folder: folder, session, table: Arc::new(table) }
    }

    fn plan(&self, events: &[Event]) -> Plan {
        let mut table = TablePlan {
            upserts: vec![UpsertGroup { columns: (0..3).collect(), rows: Vec::new() }],
            ..TablePlan::new(Arc::clone(&self.table))
        };
        for event in events {
            let key = |(code, id): &Key| (Value::from(code.as_str()), Value::from(*id));
            match event {
                Event::Upsert(at, number, value) => {
                    let (code, id) = key(at);
                    let row = Upsert { token: token(*number), values: vec![id, Value::from(*value), code] };
                    table.upserts[0].rows.push(row);
                }
                Event::Delete(at, number) => {
                    let (code, id) = key(at);
                    table.deletes.push(Delete { token: token(*number), key: vec![code, id] });
                }
                Event::Truncate(number) => table.truncate = table.truncate.max(Some(token(*number))),
            }
        }
        Plan { pipeline: "p".into(), checkpoint_owner: "p".into(), tables: vec![table], ..Plan::default() }
    }

    async fn apply(&mut self, events: &[Event]) -> TableOutcome {
        let plan = self.plan(events);
        let Applied { tables } = self.session.apply(&plan).await.expect("applied");
        tables[0]
    }

    /// Everything that the destination holds about the table, but for times of day.
    async fn digest(&mut self) -> String {
        let mut lines = Vec::new();
        for name in [Dialect::Sqlite.table(self.table.name()), Dialect::Sqlite.bookkeeping(&self.table.side_name())] {
            for mut row in self.session.query(&format!("select * from {name}"), &[]).await.expect("rows") {
                if name.contains("lastword_t") {
                    row.pop();
                }
                lines.push(format!("{name} {row:?}"));
            }
        }
        lines.sort();
        let truncate = bookkeep::limits(&mut self.session, self.table.name()).await.expect("limits").truncate;
        format!("{}\n{truncate:?}", lines.join("\n"))
    }

    /// Rows as `code id v`, those that are marked in brackets.
    async fn rows(&mut self) -> Vec<String> {
        let mark = if self.table.shape.has_deleted { "\"_lastword_deleted\"" } else { "0" };
        let text = format!(
            "select code || id || ' ' || v, {mark} from {} order by 1",
            Dialect::Sqlite.table(self.table.name())
        );
        let rows = self.session.query(&text, &[]).await.expect("rows");
        let shown = |row: &Vec<Value>| {
            let text = row[0].as_text().unwrap_or("null").to_owned();
            if row[1].as_int() == Some(1) { format!("[{text}]") } else { text }
        };
        rows.iter().map(shown).collect()
    }

    async fn tombstones(&mut self) -> i64 {
        let text = crate::core::dialect::sqlite::TableText::new(&self.table).count_tombstones();
        self.session.query(&text, &[]).await.expect("count")[0][0].as_int().expect("number")
    }
}

type Key = (String, i64);

#[derive(Clone, Debug)]
enum Event {
    Upsert(Key, u64, &'static str),
    Delete(Key, u64),
    Truncate(u64),
}

fn token(number: u64) -> Token {
    TokenWriter::new(1, 1).number(number).finish()
}

fn up(code: &str, id: i64, number: u64, value: &'static str) -> Event {
    Event::Upsert((code.to_owned(), id), number, value)
}

fn del(code: &str, id: i64, number: u64) -> Event {
    Event::Delete((code.to_owned(), id), number)
}

fn outcome(applied: u64, by_row: u64, by_tombstone: u64, by_truncate: u64, delta: i64) -> TableOutcome {
    TableOutcome {
        applied,
        superseded_by_row: by_row,
        superseded_by_tombstone: by_tombstone,
        superseded_by_truncate: by_truncate,
        tombstones_delta: delta,
        ..TableOutcome::default()
    }
}
