//! A destination, and captured records on their way into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lastword::core::dialect::Dialect;
use lastword::core::table::{TableName, fnv1a};
use serde_json::Value;

use super::inside::Job;
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
    /// JSON without, flattened by a transform of the connector.
    Flat,
}

impl Form {
    /// Name of its folder.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Schemas => "json-schemas",
            Self::Plain => "json-plain",
            Self::Flat => "flat",
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

/// What is expected without the columns that are left out.
fn without_left_out(mut expected: Expected) -> Expected {
    let kept: Vec<bool> =
        expected.columns.iter().map(|column| !left_out(&expected.table).contains(&column.as_str())).collect();
    let mut at = kept.iter();
    expected.columns.retain(|_| at.next() == Some(&true));
    for row in &mut expected.rows {
        let mut at = kept.iter();
        row.retain(|_| at.next() == Some(&true));
    }
    expected
}

/// Captured scenarios of one connector in one form, and what their tables held in the end.
pub(super) struct Material {
    /// Its folder.
    pub(super) connector: &'static str,
    /// The form of its records.
    pub(super) form: Form,
    /// All records, file after file.
    pub(super) records: Vec<Captured>,
    /// Contents of the source's tables.
    pub(super) expected: Vec<Expected>,
    /// Changes are ordered by their offsets: for events that have no position of their own.
    pub(super) by_offset: bool,
    /// Tables follow the schemas of their events.
    pub(super) widens: bool,
    /// The first row event with a schema of every table.
    first: Vec<Captured>,
    /// Kinds of the columns by schema and table of the source.
    kinds: BTreeMap<(String, String), BTreeMap<String, Kind>>,
}

impl Material {
    /// Reads the scenarios that the connector has.
    pub(super) fn load(connector: &'static str, form: Form, scenarios: &[&str]) -> Arc<Self> {
        let load = |form: Form| -> Vec<Captured> {
            let files = scenarios.iter().filter_map(|scenario| captures::file(connector, form.folder(), scenario));
            files.flat_map(|path| captures::read(&path)).collect()
        };
        let mut records = load(Form::Schemas);
        let expected: Vec<Expected> = scenarios
            .iter()
            .flat_map(|scenario| captures::expected(connector, scenario))
            .map(without_left_out)
            .collect();
        assert!(!records.is_empty(), "{connector}: there is nothing of {scenarios:?}");
        let (mut kinds, mut first) = (BTreeMap::new(), Vec::new());
        for topic in captures::topics(&records) {
            let Some((schema, table)) = table_of(&topic) else { continue };
            kinds.insert((schema.to_owned(), table.to_owned()), render::kinds(&records, &topic));
            first.extend(records.iter().find(|record| record.topic == topic && record.payload.is_some()).cloned());
        }
        if form != Form::Schemas {
            records = load(form);
        }
        Arc::new(Self { connector, form, records, expected, by_offset: false, widens: false, first, kinds })
    }
}

/// See the module.
pub(super) struct Stage {
    /// What is captured.
    pub(super) material: Arc<Material>,
    /// The destination.
    pub(super) database: Database,
}

impl Stage {
    /// Reads the scenarios that the connector has, and prepares a destination for them.
    pub(super) fn new(connector: &'static str, form: Form, dialect: Dialect, scenarios: &[&str]) -> Self {
        Self::of(&Material::load(connector, form, scenarios), dialect)
    }

    /// Prepares a destination: schemas, and for events without a schema the tables.
    pub(super) fn of(material: &Arc<Material>, dialect: Dialect) -> Self {
        let database = Database::new(dialect);
        if dialect == Dialect::Postgres {
            let schemas: BTreeSet<&String> = material.kinds.keys().map(|(schema, _)| schema).collect();
            for schema in schemas {
                database.execute(&format!("create schema {}", dialect.ident(schema)));
            }
        }
        let stage = Self { material: Arc::clone(material), database };
        if material.form != Form::Schemas {
            stage.make_tables();
        }
        stage
    }

    /// All records, file after file.
    pub(super) fn records(&self) -> &[Captured] {
        &self.material.records
    }

    /// Events without a schema cannot make tables. Servers get those of the other form, without anything of lastword's; in SQLite
    /// these would be plain text where the events have dates and decimals, so there the types are written by hand.
    fn make_tables(&self) {
        let first = &self.material.first;
        if self.database.dialect != Dialect::Sqlite {
            // What is not understood yet is refused, and leaves no table.
            let _ = self.apply(&[Job { pipeline: "tables", records: first, rows: 1000 }]);
            self.database.forget();
            return;
        }
        for topic in captures::topics(first) {
            let Some((schema, table)) = table_of(&topic) else { continue };
            let name = Dialect::Sqlite.table(&TableName::new(Some(schema), table));
            self.database.execute(&render::sqlite_table(first, &topic, &name));
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
        program.configure(&self.config(&prefix, &source, &topics));
        program
    }

    /// The configuration of a pipeline.
    pub(super) fn config(&self, pipeline: &str, source: &str, topics: &[String]) -> String {
        let plain = match self.material.form {
            Form::Schemas => "",
            Form::Plain | Form::Flat => "[plain]\ndecimal = \"base64\"\ntime = \"adaptive\"\n",
        };
        let mut order = String::new();
        if self.material.by_offset || self.material.widens {
            order.push_str("[defaults]\n");
        }
        for (wanted, line) in
            [(self.material.by_offset, "offset_order = true\n"), (self.material.widens, "evolve = \"widen\"\n")]
        {
            order.push_str(if wanted { line } else { "" });
        }
        let (sink, rules) = (self.database.config(), self.rules(topics));
        format!("[pipeline]\nname = \"{pipeline}\"\n{source}{sink}[server]\nlisten = \"off\"\n{plain}{order}{rules}")
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

    /// Every table holds what the source held.
    #[track_caller]
    pub(super) fn assert_expected(&self) {
        assert!(!self.material.expected.is_empty(), "{}: nothing is expected", self.material.connector);
        let different = self.differences();
        assert!(different.is_empty(), "{} {:?}: {different:#?}", self.material.connector, self.database.dialect);
    }

    /// What differs from what the source held: scenario, table, `missing` or `surplus`, the row, cell by cell.
    pub(super) fn differences(&self) -> Vec<String> {
        self.material.expected.iter().flat_map(|expected| self.differences_of(expected)).collect()
    }

    fn differences_of(&self, expected: &Expected) -> Vec<String> {
        let place = format!("{}\t{}.{}", expected.scenario, expected.schema, expected.table);
        let (mut wanted, found) = (self.lines(expected, &expected.rows), self.found(expected));
        let mut found = match found {
            Ok(rows) => self.lines(expected, &rows),
            Err(why) => return vec![format!("{place}\t{why}\t")],
        };
        // Equal rows are told apart by their number only.
        wanted.retain(|line| match found.iter().position(|other| other == line) {
            Some(at) => {
                found.swap_remove(at);
                false
            }
            None => true,
        });
        found.sort();
        let missing = wanted.iter().map(|line| format!("{place}\tmissing\t{line}"));
        missing.chain(found.iter().map(|line| format!("{place}\tsurplus\t{line}"))).collect()
    }

    /// The rows that are there, with the columns that are expected.
    fn found(&self, expected: &Expected) -> Result<Vec<Vec<Option<String>>>, String> {
        let dialect = self.database.dialect;
        let flat = match dialect {
            Dialect::Mysql => expected.table.clone(),
            _ => format!("{}.{}", expected.schema, expected.table),
        };
        let columns: BTreeMap<String, String> = self.database.columns(&flat).into_iter().collect();
        if columns.is_empty() {
            return Err("no table".to_owned());
        }
        let mut selected = Vec::new();
        for column in &expected.columns {
            let native = columns.get(column).ok_or_else(|| format!("no column {column}"))?;
            selected.push(self.database.as_text(column, native));
        }
        let name = dialect.table(&self.destination(expected));
        Ok(self.database.texts(&format!("select {} from {name}", selected.join(", "))))
    }

    /// Rows in one form, whatever database they come from; long cells by their begin and their length.
    fn lines(&self, expected: &Expected, rows: &[Vec<Option<String>>]) -> Vec<String> {
        let kinds = &self.material.kinds[&(expected.schema.clone(), expected.table.clone())];
        let line = |row: &Vec<Option<String>>| {
            let cells = row.iter().zip(&expected.columns).map(|(cell, column)| {
                let kind = kinds.get(column).copied().unwrap_or(Kind::Text);
                cell.as_ref().map_or_else(|| "\\N".to_owned(), |text| short(&render::canonical(kind, text)))
            });
            cells.collect::<Vec<_>>().join(" | ")
        };
        let mut lines: Vec<String> = rows.iter().map(line).collect();
        lines.sort();
        lines
    }

    /// Topic, partition, offset and reason of what is kept aside.
    pub(super) fn quarantined(&self) -> Vec<Vec<String>> {
        let quarantine = self.database.bookkeeping("quarantine");
        let rows = self.database.texts(&format!(
            "select topic, partition_id, record_offset, reason from {quarantine} order by topic, partition_id, record_offset"
        ));
        rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect()
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

/// A cell for a list: long ones by their begin, their length and a digest.
fn short(text: &str) -> String {
    const KEPT: usize = 24;
    if text.len() <= 2 * KEPT {
        return text.escape_debug().to_string();
    }
    let begin: String = text.chars().take(KEPT).collect();
    format!("{}… ({} bytes, {:08x})", begin.escape_debug(), text.len(), fnv1a(text.as_bytes()) as u32)
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
