//! The list of outcomes as a document: `tests/types/TYPES.md`. `LASTWORD_TEST_ACCEPT=1` writes it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::support::lists::{List, accepting};

/// File and header of the list.
pub(super) const OUTCOMES: (&str, &str) =
    ("types/outcomes.tsv", "source\tsetting\ttype\tdestination\ttables\tcolumn\toutcome");

const HEAD: &str = "# Types

Generated from `outcomes.tsv` in this folder, which the round-trip tests hold (`tests/round_trip_suite`): rows with these types in a
real source went through Debezium 3.5.0.Final, Kafka and lastword, and were compared with the source by SQL, row by row. Each cell
says which column lastword made (or, under *same type*, which column was there before), and what became of the values:

- *exact*: every value, edge values and generated ones, by snapshot, insert and update.
- *refused*: the column cannot hold the value; its record is in quarantine with this reason, nothing was written.
- *connector*: the connector sends another value than the source has; lastword stores what was sent.

Settings: *default* is JSON with schemas and `column.propagate.source.type`; *no schemas* is JSON without, into tables that are there;
*texts* has decimals, times, spans and bytes as text (`string`, `isostring`, `hex`), unsigned bigint `precise`; *microseconds* has times
in these and binary as base64-url-safe; *flat, nanoseconds* is flattened, binary as base64; *Avro* goes through a schema registry, with
times by `connect`. A negative zero is zero in MariaDB and SQLite.
";

/// Destination and tables, with the head of their column.
fn columns(source: &str) -> [(&'static str, &'static str, &'static str); 4] {
    let same = if source == "postgres" {
        ("postgres", "natural", "PostgreSQL, same type")
    } else {
        ("mysql", "natural", "MariaDB, same type")
    };
    [("postgres", "made", "PostgreSQL"), ("mysql", "made", "MySQL, MariaDB"), ("sqlite", "made", "SQLite"), same]
}

/// Cells by destination and its tables, by type and setting.
type Rows<'a> = BTreeMap<(&'a str, &'a str), BTreeMap<(&'a str, &'a str), String>>;

fn document(lines: &[String]) -> String {
    let mut text = HEAD.to_owned();
    for (source, title) in [("postgres", "PostgreSQL"), ("mysql", "MariaDB")] {
        let mut rows = Rows::new();
        for line in lines {
            let cells: Vec<&str> = line.split('\t').collect();
            if let [from, setting, sql, destination, tables, native, outcome] = cells[..]
                && from == source
            {
                let cell = if native == "-" { outcome.to_owned() } else { format!("`{native}`: {outcome}") };
                rows.entry((sql, setting)).or_default().insert((destination, tables), cell);
            }
        }
        let heads = columns(source);
        let names: Vec<&str> = heads.iter().map(|(_, _, name)| *name).collect();
        let _ = writeln!(
            text,
            "\n## From {title}\n\n| type | setting | {} |\n|---|---|---|---|---|---|",
            names.join(" | ")
        );
        for ((sql, setting), cells) in &rows {
            let cell = |head: &(&'static str, &'static str, &'static str)| {
                cells.get(&(head.0, head.1)).map_or(String::new(), |cell| cell.replace('|', "\\|"))
            };
            let cells: Vec<String> = heads.iter().map(cell).collect();
            let _ = writeln!(text, "| `{sql}` | {setting} | {} |", cells.join(" | "));
        }
    }
    text
}

/// The document says what the list says.
#[test]
fn the_type_table_is_that_of_the_tests() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/types/TYPES.md");
    let wanted = document(&List::take(OUTCOMES.0, OUTCOMES.1).lines());
    if accepting() {
        std::fs::write(&path, &wanted).expect("the document is written");
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(is == wanted, "tests/types/TYPES.md is not what the outcomes say; LASTWORD_TEST_ACCEPT=1 writes it");
}
