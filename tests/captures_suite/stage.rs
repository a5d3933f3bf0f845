//! A destination, and captured records on their way into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lastword::core::dialect::Dialect;
use lastword::core::table::{TableName, fnv1a};
use serde_json::Value;

use super::inside::Job;
use crate::support::canonical::{self, Kind, Reading};
use crate::support::captures::{self, Captured, Expected};
use crate::support::database::Database;
use crate::support::program::{Program, number};
use crate::support::render;
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
    /// JSON with schemas; the connector sends decimals, times, intervals, bytes and maps as texts.
    Texts,
}

impl Form {
    /// Name of its folder.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Schemas => "json-schemas",
            Self::Plain => "json-plain",
            Self::Flat => "flat",
            Self::Texts => "json-schemas-text-modes",
        }
    }

    /// Whether its events say what their columns are.
    fn has_schemas(self) -> bool {
        matches!(self, Self::Schemas | Self::Texts)
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
        let expected: Vec<Expected> =
            scenarios.iter().flat_map(|scenario| captures::expected(connector, scenario)).collect();
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

/// Cells in one form; long ones by their begin and their length.
type Row = Vec<String>;

/// A row that is not as the source had it.
pub(super) struct Difference {
    /// Scenario.
    pub(super) scenario: String,
    /// Schema and table of the source.
    pub(super) table: String,
    /// Its first cell.
    pub(super) key: String,
    /// How.
    pub(super) what: What,
}

/// How a row differs.
pub(super) enum What {
    /// The source had this row.
    Missing(String),
    /// The source did not have this row.
    Surplus(String),
    /// A cell of a row that both have.
    Changed { column: String, was: String, is: String },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\t{}\t", self.scenario, self.table)?;
        match &self.what {
            What::Missing(row) => write!(f, "missing\t{row}"),
            What::Surplus(row) => write!(f, "surplus\t{row}"),
            What::Changed { column, was, is } => write!(f, "changed\t{} | {column}: {was} -> {is}", self.key),
        }
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
        if !material.form.has_schemas() {
            stage.make_tables();
        }
        stage
    }

    /// All records, file after file.
    pub(super) fn records(&self) -> &[Captured] {
        &self.material.records
    }

    /// Events without a schema cannot make tables: here are those of the other form, without anything of lastword's.
    fn make_tables(&self) {
        // What is refused leaves no table.
        let _ = self.apply(&[Job { pipeline: "tables", records: &self.material.first, rows: 1000 }]);
        self.database.forget();
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
            Form::Schemas | Form::Texts => "",
            Form::Plain | Form::Flat => "[plain]\ndecimal = \"base64\"\ntime = \"adaptive\"\n",
        };
        let mut defaults = "[defaults]\n".to_owned();
        for (wanted, line) in [
            (self.material.by_offset, "offset_order = true\n"),
            (self.material.widens, "evolve = \"widen\"\n"),
            (self.material.form == Form::Texts, "unavailable_value = \"~unavailable~\"\n"),
        ] {
            defaults.push_str(if wanted { line } else { "" });
        }
        let (sink, rules) = (self.database.config(), self.rules(topics));
        format!("[pipeline]\nname = \"{pipeline}\"\n{source}{sink}[server]\nlisten = \"off\"\n{plain}{defaults}{rules}")
    }

    /// On MariaDB a source's database is a database of the shared server: there every table goes into the test's own.
    fn rules(&self, topics: &[String]) -> String {
        let rule = |topic: &String| {
            let (_, table) = table_of(topic)?;
            let mut rule = String::new();
            if self.database.dialect == Dialect::Mysql {
                rule.push_str(&format!("into = {table:?}\n"));
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
        let different: Vec<String> = self.differences().iter().map(ToString::to_string).collect();
        assert!(different.is_empty(), "{} {:?}: {different:#?}", self.material.connector, self.database.dialect);
    }

    /// What differs from what the source held.
    pub(super) fn differences(&self) -> Vec<Difference> {
        self.material.expected.iter().flat_map(|expected| self.differences_of(expected)).collect()
    }

    /// The same of one scenario.
    pub(super) fn differences_in(&self, scenario: &str) -> Vec<Difference> {
        let of_scenario = self.material.expected.iter().filter(|expected| expected.scenario == scenario);
        of_scenario.flat_map(|expected| self.differences_of(expected)).collect()
    }

    fn differences_of(&self, expected: &Expected) -> Vec<Difference> {
        let of = |what: What, row: &Row| Difference {
            scenario: expected.scenario.clone(),
            table: format!("{}.{}", expected.schema, expected.table),
            key: row[0].clone(),
            what,
        };
        let mut wanted = self.wanted(expected);
        let mut found = self.found(expected).unwrap_or_else(|why| vec![vec![why]]);
        // Equal rows are told apart by their number only.
        wanted.retain(|row| match found.iter().position(|other| other == row) {
            Some(at) => {
                found.swap_remove(at);
                false
            }
            None => true,
        });
        let mut differences = Vec::new();
        for row in &wanted {
            let Some(at) = found.iter().position(|other| other[0] == row[0] && other.len() == row.len()) else {
                differences.push(of(What::Missing(row.join(" | ")), row));
                continue;
            };
            let other = found.swap_remove(at);
            let cells = expected.columns.iter().zip(row.iter().zip(&other)).filter(|(_, (is, was))| is != was);
            differences.extend(cells.map(|(column, (was, is))| {
                of(What::Changed { column: column.clone(), was: was.clone(), is: is.clone() }, row)
            }));
        }
        found.sort();
        differences.extend(found.iter().map(|row| of(What::Surplus(row.join(" | ")), row)));
        differences
    }

    /// How a column's values are read: the connector says a span in microseconds, unless it sends texts.
    fn reading(&self) -> Reading {
        let dialect = self.database.dialect;
        Reading { spans_are_micros: self.material.form != Form::Texts, one_zero: dialect != Dialect::Postgres }
    }

    fn kind(&self, expected: &Expected, column: &str) -> Kind {
        let kinds = &self.material.kinds[&(expected.schema.clone(), expected.table.clone())];
        kinds.get(column).copied().unwrap_or(Kind::Text)
    }

    /// A cell in one form, whatever database it comes from.
    fn cell(&self, kind: Kind, form: Option<String>) -> String {
        form.map_or("\\N".to_owned(), |form| short(&render::told(self.material.connector, kind, form)))
    }

    fn wanted(&self, expected: &Expected) -> Vec<Row> {
        let cell = |(cell, column): (&Option<String>, &String)| {
            let kind = self.kind(expected, column);
            self.cell(kind, cell.as_ref().map(|text| render::expected(kind, text, self.reading())))
        };
        let mut rows: Vec<Row> =
            expected.rows.iter().map(|row| row.iter().zip(&expected.columns).map(cell).collect()).collect();
        rows.sort();
        rows
    }

    /// The rows that are there, with the columns that are expected.
    fn found(&self, expected: &Expected) -> Result<Vec<Row>, String> {
        let dialect = self.database.dialect;
        let columns = canonical::natives(&self.database, &expected.schema, &expected.table);
        if columns.is_empty() {
            return Err("no table".to_owned());
        }
        let mut selected = Vec::new();
        for column in &expected.columns {
            let native = columns.get(column).ok_or_else(|| format!("no column {column}"))?;
            selected.push(canonical::expression(dialect, &dialect.ident(column), native));
        }
        let name = dialect.table(&self.destination(expected));
        let rows = self.database.query(&format!("select {} from {name}", selected.join(", ")));
        let cell = |(cell, column): (&lastword::core::value::Value, &String)| {
            let kind = self.kind(expected, column);
            self.cell(kind, canonical::form_of(kind, cell, &columns[column], self.reading()))
        };
        Ok(rows.iter().map(|row| row.iter().zip(&expected.columns).map(cell).collect()).collect())
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
