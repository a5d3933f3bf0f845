//! The running service: health, metrics, status, the signal that ends it, what it logs; and the demo.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::events::Source;
use crate::support::eventually;
use crate::support::program::{Program, number, over_files};

/// Status code and body of a page.
pub(super) fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: lastword\r\nConnection: close\r\n\r\n").ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The address that the process says in its log.
pub(super) fn address(stderr: &str) -> Option<String> {
    let lines = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["address"].as_str().map(str::to_owned)).next()
}

#[test]
fn a_service_shows_itself_and_ends_on_a_signal() {
    let database = Database::sqlite();
    let mut source = Source::people("made.people", "main");
    source.upsert(10, json!({"id": 1, "name": "a"}));
    source.upsert(20, json!({"id": 1, "name": "b"}));
    source.raw(None, "bad");
    let program = over_files(&database, &source.records, "[server]\nlisten = \"127.0.0.1:0\"\n");
    let running = program.start(&["run"]);
    let address = eventually("the address is logged", || address(&running.stderr()));
    eventually("the process is ready", || get(&address, "/readyz").filter(|(code, _)| *code == 200));
    assert_eq!(get(&address, "/livez").expect("an answer").0, 200);
    let status = eventually("the status shows all records", || {
        let (_, body) = get(&address, "/status")?;
        let status: Value = serde_json::from_str(&body).ok()?;
        (status["partitions"][0]["next_offset"] == 3 && status["quarantine_open"] == 1).then_some(status)
    });
    assert_eq!(status["tables"][0]["applied"], 1, "{status}");
    let (code, metrics) = get(&address, "/metrics").expect("metrics");
    assert_eq!(code, 200);
    assert!(metrics.contains("lastword_"), "{metrics}");
    let (code, page) = get(&address, "/").expect("a page");
    assert!(code == 200 && page.contains("made.people"), "{page}");
    running.signal("TERM");
    // The limit is what is promised, not what is measured.
    running.wait(Duration::from_secs(5)).ok();
    assert!(get(&address, "/livez").is_none());
}

#[test]
fn status_as_json_says_the_same_without_a_process() {
    let database = Database::sqlite();
    let mut source = Source::people("made.people", "main");
    source.upsert(10, json!({"id": 1, "name": "a"}));
    source.delete(20, json!(1));
    let program = over_files(&database, &source.records, "");
    program.run(&["status", "--json"]).code(4);
    program.catch_up(&["--set", "batch.rows=1"]);
    let status = program.run(&["status", "--json"]).ok().json();
    let partition = &status["partitions"][0];
    assert_eq!((number(partition, "next_offset"), number(partition, "end_offset")), (3, 3), "{status}");
    assert_eq!(number(partition, "lag_records"), 0, "{status}");
    assert!(number(partition, "fence") > 0, "{status}");
    let table = &status["tables"][0];
    assert_eq!((table["contract"].as_str(), number(table, "tombstones")), (Some("final-state"), 1), "{status}");
    assert!(program.run(&["status"]).ok().stdout.contains("made.people"));
}

#[test]
fn a_configuration_from_the_environment_and_flags_wins_in_its_order() {
    let database = Database::sqlite();
    let mut source = Source::people("made.people", "main");
    for id in 0..6 {
        source.upsert(10 + id, json!({"id": 1, "name": "a"}));
    }
    let mut program = over_files(&database, &source.records, "[batch]\nrows = 1000\n");
    program.env("LASTWORD_BATCH__ROWS", "1000");
    let run = program.catch_up(&["--set", "batch.rows=1"]);
    assert_eq!(number(&run, "superseded_in_batch"), 0, "the flag was not heard: {run}");
}

#[test]
fn the_demo_runs_with_nothing_installed() {
    let program = Program::new("");
    let dir = program.dir().join("demo");
    let finished = program.run(&["demo", "--dir", dir.to_str().expect("a path")]).ok();
    assert!(finished.stdout.contains("All tables are equal"), "{}", finished.stdout);
}
