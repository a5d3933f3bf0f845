//! A destination, and captured records on their way into it.

use std::collections::{BTreeMap, BTreeSet};

use lastword::core::dialect::Dialect;
use lastword::core::table::TableName;
use serde_json::Value;

use crate::support::captures::{self, Captured, Expected};
use crate::support::database::Database;
use crate::support::program::{Program, number};
use crate::support::render::{self, Kind};
use crate::support::{kafka, unique};

/// Form of the captured events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON with schemas.
    Schemas,
    /// JSON without.
    Plain,
}

impl Form {
    /// Name of its folder.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Schemas => "json-schemas",
            Self::Plain => "json-plain",
        }
    }
}

/// Which source the records go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Files.
    Files,
    /// The broker.
    Kafka,
}

/// Columns of types that are not understood yet, which the configuration leaves out, by table.
const LEFT_OUT: [(&str, &[&str]); 1] = [("documents", &["tags", "hs"])];

fn left_out(table: &str) -> &'static [&'static str] {
    LEFT_OUT.iter().find(|(known, _)| *known == table).map_or(&[], |(_, columns)| columns)
}

/// See the module.
pub(super) struct Stage {
    connector: &'static str,
    form: Form,
    /// The destination.
    pub(super) database: Database,
    /// All records, file after file.
    pub(super) records: Vec<Captured>,
    expected: Vec<Expected>,
    /// Kinds of the columns by schema and table of the source.
    kinds: BTreeMap<(String, String), BTreeMap<String, Kind>>,
}

impl Stage {
    /// Reads the scenarios that the connector has, and prepares a destination for them: schemas, and for events without a schema
    /// the tables.
    pub(super) fn new(connector: &'static str, form: Form, dialect: Dialect, scenarios: &[&str]) -> Self {
        let load = |form: Form| -> Vec<Captured> {
            let files = scenarios.iter().filter_map(|scenario| captures::file(connector, form.folder(), scenario));
            files.flat_map(|path| captures::read(&path)).collect()
        };
        let with_schemas = load(Form::Schemas);
        let expected: Vec<Expected> =
            scenarios.iter().flat_map(|scenario| captures::expected(connector, scenario)).collect();
        assert!(!with_schemas.is_empty(), "{connector}: there is nothing of {scenarios:?}");
        let mut kinds = BTreeMap::new();
        for topic in captures::topics(&with_schemas) {
            if let Some((schema, table)) = table_of(&topic) {
                kinds.insert((schema.to_owned(), table.to_owned()), render::kinds(&with_schemas, &topic));
            }
        }
        let database = Database::new(dialect);
        if dialect == Dialect::Postgres {
            let schemas: BTreeSet<&String> = kinds.keys().map(|(schema, _)| schema).collect();
            for schema in schemas {
                database.execute(&format!("create schema {}", dialect.ident(schema)));
            }
        }
        let mut stage = Self { connector, form: Form::Schemas, database, records: with_schemas, expected, kinds };
        if form == Form::Plain {
            stage.make_tables();
            stage.form = form;
            stage.records = load(form);
        }
        stage
    }

    /// Events without a schema cannot make tables. Servers get those of the other form, without anything of lastword's; in SQLite
    /// these would be plain text where the events have dates and decimals, so there the types are written by hand.
    fn make_tables(&self) {
        if self.database.dialect != Dialect::Sqlite {
            self.program(From::Files, &self.records).run(&["run", "--until-caught-up"]);
            self.database.forget();
            return;
        }
        for topic in captures::topics(&self.records) {
            let Some((schema, table)) = table_of(&topic) else { continue };
            let name = Dialect::Sqlite.table(&TableName::new(Some(schema), table));
            self.database.execute(&render::sqlite_table(&self.records, &topic, &name));
        }
    }

    /// The program with these records in front of it.
    pub(super) fn program(&self, from: From, records: &[Captured]) -> Program {
        let program = Program::new("");
        let prefix = unique("t");
        let (source, topics) = match from {
            From::Files => {
                let path = program.dir().join("records.jsonl");
                captures::write(&path, records);
                (format!("[source]\nkind = \"file\"\npaths = [\"{}\"]\n", path.display()), captures::topics(records))
            }
            From::Kafka => {
                let records = kafka::rename(records, &prefix);
                kafka::fill(&records);
                let topics = captures::topics(&records);
                (kafka::source(&topics), topics)
            }
        };
        program.configure(&format!(
            "[pipeline]\nname = \"{prefix}\"\n{source}{}[server]\nlisten = \"off\"\n{}{}",
            self.database.config(),
            if self.form == Form::Plain { "[plain]\ndecimal = \"base64\"\ntime = \"adaptive\"\n" } else { "" },
            self.rules(&topics)
        ));
        program
    }

    /// On MariaDB a source's database is a database of the shared server: there every table goes into the test's own.
    fn rules(&self, topics: &[String]) -> String {
        let rule = |topic: &String| {
            let (_, table) = table_of(topic)?;
            let mut rule = String::new();
            if self.database.dialect == Dialect::Mysql {
                rule.push_str(&format!("into = {table:?}\n"));
            }
            if !left_out(table).is_empty() {
                rule.push_str(&format!("exclude_columns = {:?}\n", left_out(table)));
            }
            (!rule.is_empty()).then(|| format!("[[table]]\ntopic = {topic:?}\n{rule}"))
        };
        topics.iter().filter_map(rule).collect()
    }

    fn destination(&self, expected: &Expected) -> TableName {
        let schema = (self.database.dialect != Dialect::Mysql).then_some(expected.schema.as_str());
        TableName::new(schema, &expected.table)
    }

    /// Expects of a table what the source held without the rows whose first column is one of these.
    pub(super) fn expect_without(&mut self, table: &str, keys: &[&str]) {
        for expected in self.expected.iter_mut().filter(|expected| expected.table == table) {
            let known = expected.rows.len();
            expected.rows.retain(|row| !row[0].as_deref().is_some_and(|key| keys.contains(&key)));
            assert_eq!(expected.rows.len() + keys.len(), known, "{table} has no such rows");
        }
    }

    /// Every table holds what the source held.
    #[track_caller]
    pub(super) fn assert_expected(&self) {
        assert!(!self.expected.is_empty(), "{}: nothing is expected", self.connector);
        let different: Vec<String> = self.differences();
        assert!(different.is_empty(), "{} {:?}:\n{}", self.connector, self.database.dialect, different.join("\n"));
    }

    /// What differs from what the source held, by table.
    pub(super) fn differences(&self) -> Vec<String> {
        self.expected.iter().filter_map(|expected| self.difference(expected)).collect()
    }

    fn difference(&self, expected: &Expected) -> Option<String> {
        let dialect = self.database.dialect;
        let name = self.destination(expected);
        let flat = if dialect == Dialect::Mysql {
            expected.table.clone()
        } else {
            format!("{}.{}", expected.schema, expected.table)
        };
        let columns: BTreeMap<String, String> = self.database.columns(&flat).into_iter().collect();
        if columns.is_empty() {
            return Some(format!("{name}: there is no such table"));
        }
        let kinds = &self.kinds[&(expected.schema.clone(), expected.table.clone())];
        let mut selected = Vec::new();
        let compared = |column: &&String| !left_out(&expected.table).contains(&column.as_str());
        for column in expected.columns.iter().filter(compared) {
            let Some(native) = columns.get(column) else {
                return Some(format!("{name}: there is no column {column:?}"));
            };
            selected.push(self.database.as_text(column, native));
        }
        let found = self.database.texts(&format!("select {} from {}", selected.join(", "), dialect.table(&name)));
        let wanted: Vec<Vec<Option<String>>> = expected
            .rows
            .iter()
            .map(|row| {
                let cells = row.iter().zip(&expected.columns).filter(|(_, column)| compared(column));
                cells.map(|(cell, _)| cell.clone()).collect()
            })
            .collect();
        let lines = |rows: &[Vec<Option<String>>]| {
            let mut lines: Vec<String> = rows
                .iter()
                .map(|row| {
                    let columns = expected.columns.iter().filter(compared);
                    let cells = row.iter().zip(columns).map(|(cell, column)| {
                        let kind = kinds.get(column).copied().unwrap_or(Kind::Text);
                        cell.as_ref().map_or_else(|| "\\N".to_owned(), |text| render::canonical(kind, text))
                    });
                    cells.collect::<Vec<_>>().join("\t")
                })
                .collect();
            lines.sort();
            lines
        };
        let (wanted, found) = (lines(&wanted), lines(&found));
        let missing: Vec<&String> = wanted.iter().filter(|line| !found.contains(line)).take(5).collect();
        let surplus: Vec<&String> = found.iter().filter(|line| !wanted.contains(line)).take(5).collect();
        (wanted != found).then(|| {
            format!(
                "{} {name}: {} rows expected, {} found; missing {missing:#?}, too many {surplus:#?}",
                expected.scenario,
                wanted.len(),
                found.len()
            )
        })
    }

    /// Every record was counted once: as a change that was applied or lost, or as one that carries none.
    #[track_caller]
    pub(super) fn assert_accounted(&self, run: &Value, records: &[Captured]) {
        assert_eq!(number(run, "records"), records.len() as i64, "{run}");
        assert_eq!(number(run, "quarantined"), 0, "{run}");
        assert!(run["halted"].as_array().is_some_and(Vec::is_empty), "{run}");
        let counters = self.database.bookkeeping("checkpoint");
        let sum = |column: &str| {
            let number = if self.database.dialect == Dialect::Mysql { "signed" } else { "bigint" };
            self.database.count(&format!("select cast(sum({column}) as {number}) from {counters}"))
        };
        let stored = sum("changes") + sum("filtered") + sum("quarantined") + sum("control");
        assert_eq!(stored, records.len() as i64, "the checkpoints count another number of records");
    }
}

/// Schema and table of a data topic: `prefix.schema.table`; `None` for a control topic.
pub(super) fn table_of(topic: &str) -> Option<(&str, &str)> {
    if topic.starts_with("__debezium-heartbeat") {
        return None;
    }
    let (rest, table) = topic.rsplit_once('.')?;
    let (_, schema) = rest.rsplit_once('.')?;
    (table != "transaction").then_some((schema, table))
}
