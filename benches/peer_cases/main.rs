//! What the Debezium JDBC sink and lastword make of the same topics: a table with a line for each case, everything in it read from
//! the databases. `benches/peer/cases` starts Connect and calls this with `PEER_CONNECT`; an argument is a filter of names.

// Each program uses its part of it.
#[allow(dead_code, unused_imports)]
#[path = "../../tests/support/mod.rs"]
mod support;

mod events;
mod list;
mod own;
mod peer;
mod types;

use list::{Case, Step};
use own::Own;
use peer::Peer;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use support::captures::Captured;
use support::database::Database;
use support::{kafka, unique};

/// Rows of a small table are shown, of larger ones those that differ.
const SHOWN: usize = 4;
/// Of a table with more columns than this, columns are named, not rows.
const WIDE: usize = 7;
/// Characters of a row that are shown.
const CELL: usize = 100;
/// How the report of a sink begins that goes no further.
const FAILED: &str = "the task failed";

fn main() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    head();
    for case in list::cases().into_iter().filter(|case| case.name.contains(&filter)) {
        eprintln!("{}", case.name);
        let [peer, own] = run(&case);
        println!("| {} | {} | {peer} | {own} |", case.name, brief(&case.truth));
    }
}

fn head() {
    let today = chrono::Utc::now().format("%Y-%m-%d");
    let java = std::env::var("PEER_JAVA").unwrap_or_default();
    let version = |database: Database, sql: &str| -> String {
        let rows = database.texts(sql);
        let text = rows.into_iter().flatten().flatten().next().unwrap_or_default();
        text.split_whitespace().next().unwrap_or_default().to_owned()
    };
    let postgres = version(Database::postgres(), "select current_setting('server_version')");
    let mariadb = version(Database::mariadb(), "select version()");
    println!("# Case by case: the Debezium JDBC sink and lastword\n");
    println!(
        "Written by `benches/peer/cases` on {today}: both sinks read the same topics, and every cell is what their tables held in the end."
    );
    println!(
        "Debezium JDBC sink 3.5.0.Final (`insert.mode=upsert`, deletes and TRUNCATE on, `primary.key.mode=record_key`) on Kafka Connect 4.1.1,"
    );
    println!(
        "Java {java}; lastword {} with its defaults; Kafka 4.1.1, PostgreSQL {postgres}, MariaDB {mariadb}.",
        env!("CARGO_PKG_VERSION")
    );
    println!(
        "**wrong**: the table holds what the source does not have, or lacks rows and nobody is told. stopped, refused: every row that is there is right,\n\
         others are missing and it is said: the task has failed and later records wait, or the record is in quarantine and the others go on."
    );
    println!(
        "For PostgreSQL the JDBC URL has `stringtype=unspecified`. Both may add columns in the cases about schemas (`evolve = \"widen\"` for lastword)."
    );
    println!(
        "NaN as 0 and a default in the place of NULL come from Connect's JSON converter, before the sink sees them."
    );
    println!("\"Read again\" is the offset set back through Connect's REST interface, and `lastword replay`.\n");
    println!("| case | the source holds | JDBC sink 3.5.0 | lastword |\n|---|---|---|---|");
}

/// Both sinks on one topic; what each made of it.
fn run(case: &Case) -> [String; 2] {
    let database = Database::new(case.dialect);
    let topic = format!("{}.public.people", unique("case"));
    let tables = ["peer_people", "own_people"];
    if let Some(statement) = case.before {
        database.execute(statement);
    }
    if let Some(columns) = case.table {
        for table in tables {
            database.execute(&format!("create table {table} ({columns})"));
        }
    }
    kafka::create(&topic, case.partitions);
    let mut sinks: Option<(Peer, Own)> = None;
    for step in &case.steps {
        match step {
            Step::Deliver(records) => {
                let own_topic = |record: &Captured| Captured { topic: topic.clone(), ..record.clone() };
                kafka::produce(&records.iter().map(own_topic).collect::<Vec<_>>());
                // The first records are there before anyone reads.
                let (peer, own) = sinks.get_or_insert_with(|| {
                    let peer = Peer::start(&database, &topic, tables[0]);
                    (peer, Own::new(&database, &topic, &format!("{}.{}", database.home(), tables[1]), case.evolve))
                });
                peer.settle();
                own.settle();
            }
            Step::Partitions(count) => raise(&topic, *count),
            Step::Again(partition) => {
                let (peer, own) = sinks.as_mut().expect("records came first");
                peer.again(*partition, 0);
                peer.settle();
                own.again(*partition, 0);
            }
        }
    }
    let (peer, own) = sinks.expect("records came first");
    let failed = peer.failure().map(|why| format!("{FAILED}: {why}"));
    let ends = [
        end(case, &database, tables[0], failed.into_iter().collect()),
        end(case, &database, tables[1], own.reports(&database)),
    ];
    drop(peer);
    ends
}

fn raise(topic: &str, count: usize) {
    let admin: AdminClient<DefaultClientContext> = kafka::client().create().expect("an admin client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let done = runtime.block_on(admin.create_partitions([&NewPartitions::new(topic, count)], &AdminOptions::new()));
    done.expect("an answer of the broker").into_iter().for_each(|done| drop(done.expect("more partitions")));
}

/// The rows of a table against those of the source.
fn end(case: &Case, database: &Database, table: &str, mut reports: Vec<String>) -> String {
    let there = database.columns(&if database.dialect == lastword::core::dialect::Dialect::Mysql {
        table.to_owned()
    } else {
        format!("{}.{table}", database.home())
    });
    let mut rows: Vec<Vec<String>> = Vec::new();
    if there.is_empty() {
        reports.push("no table".to_owned());
    } else {
        // A column that the sink did not add is empty.
        let selected: Vec<String> = case
            .columns
            .iter()
            .map(|column| match there.iter().find(|(name, _)| name == column) {
                Some((name, native)) => database.as_text(name, native),
                None => "'(no column)'".to_owned(),
            })
            .collect();
        let found = database.texts(&format!("select {} from {table} order by 1", selected.join(", ")));
        let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
        rows.extend(found.into_iter().map(|row| row.into_iter().map(cell).collect()));
    }
    let verdict = verdict(&case.columns, &rows, &case.truth, &reports);
    [vec![verdict], reports].concat().join("; ").replace('|', "\\|")
}

fn verdict(columns: &[String], rows: &[Vec<String>], truth: &[Vec<String>], reports: &[String]) -> String {
    let sorted = |rows: &[Vec<String>]| {
        let mut rows = rows.to_vec();
        rows.sort();
        rows
    };
    if sorted(rows) == sorted(truth) {
        return "right".to_owned();
    }
    let word = match reports {
        [first, ..] if rows.iter().all(|row| truth.contains(row)) => {
            if first.starts_with(FAILED) {
                "stopped"
            } else {
                "refused"
            }
        }
        _ => "**wrong**",
    };
    format!("{word}: {}", unlike(columns, rows, truth))
}

fn shown(row: &[String]) -> String {
    let text = row.join(" ");
    let cut: String = text.chars().take(CELL).collect();
    format!("`{cut}{}`", if cut.len() < text.len() { "…" } else { "" })
}

fn brief(rows: &[Vec<String>]) -> String {
    match rows {
        [] => "nothing".to_owned(),
        _ if rows.len() <= SHOWN => rows.iter().map(|row| shown(row)).collect::<Vec<_>>().join(", "),
        _ => format!("{} rows", rows.len()),
    }
}

fn unlike(columns: &[String], rows: &[Vec<String>], truth: &[Vec<String>]) -> String {
    if rows.len() <= SHOWN && truth.len() <= SHOWN {
        return brief(rows);
    }
    if columns.len() > WIDE {
        return cells_unlike(columns, rows, truth);
    }
    let only = |these: &[Vec<String>], those: &[Vec<String>], what: &str| {
        let only: Vec<&Vec<String>> = these.iter().filter(|row| !those.contains(row)).collect();
        let listed: Vec<String> = only.iter().take(SHOWN).map(|row| shown(row)).collect();
        let more = if only.len() > SHOWN { ", …" } else { "" };
        (!only.is_empty()).then(|| format!("{} {what} ({}{more})", only.len(), listed.join(", ")))
    };
    let parts = [only(rows, truth, "that the source does not have"), only(truth, rows, "missing")];
    format!("{} rows, {}", rows.len(), parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// Of rows with many columns: how many are missing, and which columns differ in how many of the others, by the first column.
fn cells_unlike(columns: &[String], rows: &[Vec<String>], truth: &[Vec<String>]) -> String {
    let pairs: Vec<(&Vec<String>, &Vec<String>)> =
        truth.iter().filter_map(|want| Some((want, rows.iter().find(|row| row[0] == want[0])?))).collect();
    let differ = |at: usize| pairs.iter().filter(|(want, row)| want[at] != row[at]).count();
    let parts: Vec<String> = (0..columns.len())
        .map(|at| (at, differ(at)))
        .filter(|(_, count)| *count > 0)
        .map(|(at, count)| format!("`{}` {count}", columns[at]))
        .collect();
    let missing = match truth.len() - pairs.len() {
        0 => String::new(),
        count => format!(", {count} missing"),
    };
    let cells = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    format!("{} rows{missing}, columns with other cells: {cells}", rows.len())
}
