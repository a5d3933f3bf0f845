//! What becomes of the values of a source in a destination.

use std::collections::{BTreeMap, BTreeSet};

use lastword::core::dialect::Dialect;
use lastword::core::value::Value;

use super::facts::FACTS;
use super::source::{self, Case, GONE, Setting, Source, WAYS, Wire};
use super::{Column, Family};
use crate::support::canonical::{Reading, expression, form_of, natives};
use crate::support::database::Database;
use crate::support::program::Program;
use crate::support::{LIMIT, kafka, program, service};

/// Which tables the values go into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    /// Those that lastword makes.
    Made,
    /// Tables with the types of the source, which is of the same kind.
    Natural,
}

/// What a run found.
#[derive(Default)]
pub(super) struct Found {
    /// Lines for the list: one a column.
    pub(super) lines: Vec<String>,
    /// What may not be.
    pub(super) problems: Vec<String>,
    /// Facts that were met, by their place.
    pub(super) facts: BTreeSet<usize>,
}

/// What became of one value on one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Exact,
    Refused(String),
    Connector(usize),
}

/// Runs lastword over a connector's topics into a new database, and compares.
pub(super) fn run(source: &Source, setting: &Setting, dialect: Dialect, tables: Tables) -> Found {
    let database = Database::new(dialect);
    if tables == Tables::Natural {
        source::prepare(&database, source.database.dialect);
        for family in source.families {
            database.execute(&source::create_table(&database, family));
        }
    }
    let program = Program::new(&config(source, setting, &database));
    let ended = program.start(&["run", "--until-caught-up", "--json"]).wait(LIMIT);
    // 4: partitions are halted, which is told of their tables.
    assert!(
        matches!(ended.code, Some(0 | 4)) && !ended.stdout.is_empty(),
        "{} into {dialect:?}: {ended:?}",
        setting.name
    );
    let halted = halts(&ended.json());
    let quarantined = quarantined(&database);
    let mut found = Found::default();
    for family in source.families {
        let topic = source.topic(setting, family.name);
        let looked = Looked { source, setting, database: &database, tables, family };
        match halted.get(&topic) {
            Some(reason) => looked.refused(reason, &mut found),
            None => looked.compare(quarantined.get(&topic).unwrap_or(&BTreeMap::new()), &mut found),
        }
    }
    found
}

fn config(source: &Source, setting: &Setting, database: &Database) -> String {
    let topics: Vec<String> = source.families.iter().map(|family| source.topic(setting, family.name)).collect();
    let mut extra = setting.config.to_owned();
    if setting.wire == Wire::Avro {
        extra.push_str(&format!("[registry]\nurl = \"{}\"\n", service("LASTWORD_TEST_REGISTRY")));
    }
    for (family, topic) in source.families.iter().zip(&topics) {
        let into = format!("{}.{}", database.home(), family.name);
        extra.push_str(&format!("[[table]]\ntopic = \"{topic}\"\ninto = \"{into}\"\n"));
    }
    program::config(&kafka::source(&topics), &database.config(), &extra)
}

/// Reasons by topic: `topic[partition]: offset n: reason: …`.
fn halts(summary: &serde_json::Value) -> BTreeMap<String, String> {
    let lines = summary["halted"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
    lines
        .map(|line| {
            println!("halted: {line}");
            let topic = line.split('[').next().expect("a topic").to_owned();
            (topic, line.split(": ").nth(2).unwrap_or(line).to_owned())
        })
        .collect()
}

/// Reasons by topic and key.
fn quarantined(database: &Database) -> BTreeMap<String, BTreeMap<i64, (String, String)>> {
    let sql = format!("select topic, key_bytes, reason, detail from {}", database.bookkeeping("quarantine"));
    let mut by_topic: BTreeMap<String, BTreeMap<i64, (String, String)>> = BTreeMap::new();
    for row in database.query(&sql) {
        let text = |value: &Value| value.as_text().expect("text").to_owned();
        let key = key(row[1].as_bytes().expect("a key"));
        by_topic.entry(text(&row[0])).or_default().insert(key, (text(&row[2]), text(&row[3])));
    }
    by_topic
}

/// The number in a key: JSON with or without a schema, or Avro behind the number of its schema.
fn key(bytes: &[u8]) -> i64 {
    if bytes.first() == Some(&0) {
        let zigzag = bytes[5..].iter().rev().fold(0u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
        return (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    }
    let json: serde_json::Value = serde_json::from_slice(bytes).expect("a key in JSON");
    let payload = if json["payload"].is_object() { &json["payload"] } else { &json };
    payload["id"].as_i64().expect("the key's number")
}

/// A table under comparison.
struct Looked<'a> {
    source: &'a Source,
    setting: &'a Setting,
    database: &'a Database,
    tables: Tables,
    family: &'a Family,
}

impl Looked<'_> {
    /// The whole table was refused.
    fn refused(&self, reason: &str, found: &mut Found) {
        for column in self.family.columns {
            self.line(column, "-", &format!("refused: {reason}"), found);
        }
    }

    fn line(&self, column: &Column, native: &str, outcome: &str, found: &mut Found) {
        let name = |dialect: Dialect| format!("{dialect:?}").to_lowercase();
        let cells = [
            &name(self.source.database.dialect),
            self.setting.name,
            column.sql,
            &name(self.database.dialect),
            &format!("{:?}", self.tables).to_lowercase(),
            native,
            outcome,
        ];
        found.lines.push(cells.join("\t"));
    }

    fn compare(&self, quarantined: &BTreeMap<i64, (String, String)>, found: &mut Found) {
        let numeric = !self.setting.options.contains(&("interval.handling.mode", "string"));
        let reading = Reading { spans_are_micros: numeric, one_zero: self.database.dialect != Dialect::Postgres };
        let wanted = cells(&self.source.database, self.family, reading);
        let stored = cells(self.database, self.family, reading);
        let natives = natives(self.database, self.database.home(), self.family.name);
        if let Some(id) = stored.keys().find(|id| *id % 10 == GONE) {
            found.problems.push(format!("{}: row {id} was deleted and is there", self.what()));
        }
        let cases = &self.source.cases[self.family.name];
        for (place, column) in self.family.columns.iter().enumerate() {
            let mut ends: BTreeMap<End, Vec<String>> = BTreeMap::new();
            for case in cases.iter().filter(|case| case.column == place) {
                let of_ways: Vec<(&str, Option<End>)> = WAYS
                    .iter()
                    .map(|(way, name)| {
                        let id = case.id + way;
                        let reason = quarantined.get(&id).map(|(reason, _)| reason.as_str());
                        (*name, self.end(case, name, reason, wanted.get(&id), stored.get(&id), found))
                    })
                    .collect();
                group(case, &of_ways, &mut ends);
            }
            let native = natives.get(&format!("c{place}")).map_or("-", String::as_str);
            self.line(column, native, &told(&ends), found);
        }
    }

    fn what(&self) -> String {
        format!(
            "{:?} {} into {:?} ({:?}), {}",
            self.source.database.dialect, self.setting.name, self.database.dialect, self.tables, self.family.name
        )
    }

    /// `None` where it may not be so, which is noted.
    fn end(
        &self,
        case: &Case,
        way: &str,
        reason: Option<&str>,
        wanted: Option<&Vec<Option<String>>>,
        stored: Option<&Vec<Option<String>>>,
        found: &mut Found,
    ) -> Option<End> {
        let sql = self.family.columns[case.column].sql;
        if let Some(reason) = reason {
            if case.edge.is_none() {
                found.problems.push(format!("{}, {sql}: a generated value is refused: {reason}", self.what()));
            }
            return Some(End::Refused(reason.to_owned()));
        }
        if stored.is_some() && stored == wanted {
            return Some(End::Exact);
        }
        let dialect = self.source.database.dialect;
        let fact = FACTS.iter().position(|fact| fact.covers(dialect, sql, case.edge, self.setting.name, way));
        // A changed value is the connector's doing; a row that is not there, or a value in another column, never is.
        let alone =
            stored.is_some_and(|row| row.iter().enumerate().all(|(at, cell)| at == case.column || cell.is_none()));
        if let Some(fact) = fact.filter(|_| alone) {
            found.facts.insert(fact);
            return Some(End::Connector(fact));
        }
        let cell = |row: Option<&Vec<Option<String>>>| {
            row.map_or("no row".to_owned(), |row| short(row[case.column].as_deref().unwrap_or("NULL")))
        };
        let (is, was) = (cell(stored), cell(wanted));
        let edge = case.edge.map_or("generated", |edge| edge);
        found.problems.push(format!(
            "{}: {sql} {}, {way}: the source has {was}, the destination {is}",
            self.what(),
            short(edge)
        ));
        None
    }
}

/// Cells of a table in one form, by key.
fn cells(database: &Database, family: &Family, reading: Reading) -> BTreeMap<i64, Vec<Option<String>>> {
    let natives = natives(database, database.home(), family.name);
    let native = |place: usize| {
        let found = natives.get(&format!("c{place}"));
        found.unwrap_or_else(|| panic!("no column c{place} of {} among {natives:?}", family.name)).as_str()
    };
    let selected: Vec<String> = (0..family.columns.len())
        .map(|place| expression(database.dialect, &format!("c{place}"), native(place)))
        .collect();
    let sql = format!("select id, {} from {}", selected.join(", "), database.table(family.name));
    let mut cells = BTreeMap::new();
    for row in database.query(&sql) {
        let id = row[0].as_int().expect("a key");
        let row = row[1..].iter().zip(family.columns).enumerate();
        let row = row.map(|(place, (value, column))| form_of(column.kind, value, native(place), reading));
        cells.insert(id, row.collect());
    }
    cells
}

/// Values by what became of them, with the way where that matters.
fn group(case: &Case, of_ways: &[(&str, Option<End>)], ends: &mut BTreeMap<End, Vec<String>>) {
    let label = case.edge.map_or_else(|| "generated".to_owned(), short);
    let same = of_ways.iter().all(|(_, end)| *end == of_ways[0].1);
    let mut of_end: BTreeMap<&End, Vec<&str>> = BTreeMap::new();
    for (way, end) in of_ways {
        if let Some(end) = end {
            of_end.entry(end).or_default().push(way);
        }
    }
    for (end, ways) in of_end {
        let label = if same { label.clone() } else { format!("{label} by {}", ways.join(", ")) };
        ends.entry(end.clone()).or_default().push(label);
    }
}

/// The outcome of a type in words.
fn told(ends: &BTreeMap<End, Vec<String>>) -> String {
    let mut parts = Vec::new();
    for (end, values) in ends {
        let mut values = values.clone();
        values.dedup();
        let values = if ends.len() == 1 { String::new() } else { format!(" {}", values.join(" ")) };
        parts.push(match end {
            End::Exact => "exact".to_owned(),
            End::Refused(reason) => format!("refused: {reason}{values}"),
            End::Connector(fact) => format!("connector: {}{values}", FACTS[*fact].what),
        });
    }
    if parts.is_empty() { "different".to_owned() } else { parts.join("; ") }
}

fn short(text: &str) -> String {
    let text = text.replace(['\t', '\n'], " ");
    if text.chars().count() <= 60 { text } else { format!("{}…", text.chars().take(57).collect::<String>()) }
}
