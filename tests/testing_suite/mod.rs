//! `lastword::testing`, as its users have it.

mod on_services;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lastword::core::dialect::Dialect;
use lastword::testing::{Delivery, Report, Scenario};
use serde_json::json;

use crate::support::captures;
use crate::support::database::Database;
use crate::support::events::Source;

/// Captured topics of a real connector; every table goes into the connection's own schema.
const CAPTURES: [&str; 4] = ["key_update", "delete_reinsert", "same_row_in_one_tx", "restart_duplicates"];

fn captured() -> Scenario {
    let mut scenario = Scenario::new("[defaults]\ninto = \"${source.table}\"\n").expect("a configuration");
    for name in CAPTURES {
        let path = captures::file("postgresql", "json-schemas", name).expect("a capture");
        scenario.file(path).expect("records");
    }
    scenario
}

/// Invariants 2, 3 and 7: whatever is done to the delivery, the rows are the oracle's, and a replay changes nothing.
/// `LASTWORD_TEST_LONG` takes more seeds.
fn converges(dialect: Dialect, seeds: u64) {
    let seeds = if std::env::var_os("LASTWORD_TEST_LONG").is_some() { 30 } else { seeds };
    let mut databases = Vec::new();
    let reports = captured().assert_converges(0..seeds, |_| {
        databases.push(Database::new(dialect));
        databases[databases.len() - 1].url.clone()
    });
    let sum = |count: fn(&Report) -> usize| reports.iter().map(count).sum::<usize>();
    assert!(sum(|report| report.crashes) > 0 && sum(|report| report.repeated) > 0, "{reports:?}");
    assert!(sum(|report| report.lost_but_made as usize + report.lost_and_not_made as usize) > 0, "{reports:?}");
}

/// What a scenario that is wrong says.
fn said(scenario: &Scenario, setup: &str) -> String {
    let mut databases = Vec::new();
    let run = || {
        scenario.assert_converges(0..8, |statements| {
            statements.extend((!setup.is_empty()).then(|| setup.to_owned()));
            statements.splice(0..0, ["create table people (id integer primary key, name text)".to_owned()]);
            databases.push(Database::sqlite());
            databases[databases.len() - 1].url.clone()
        })
    };
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it does not converge");
    panic.downcast_ref::<String>().expect("a text").clone()
}

fn people(config: &str, sources: &[&str]) -> Scenario {
    let mut scenario = Scenario::new(config).expect("a configuration");
    let folder = tempfile::tempdir().expect("a folder");
    for source in sources {
        let mut events = Source::people(&format!("{source}.main.people"), "main");
        for lsn in 1..20_u64 {
            events.upsert(lsn, json!({"id": lsn % 4, "name": format!("{source} {lsn}")}));
        }
        events.records.iter_mut().for_each(|record| {
            let payload = record.payload.as_mut().expect("a value");
            *payload = payload.replace("\"name\":\"made\"", &format!("\"name\":\"{source}\""));
        });
        let path = folder.path().join("records.jsonl");
        captures::write(&path, &events.records);
        scenario.file(&path).expect("records");
    }
    scenario
}

#[test]
fn captured_topics_converge_in_sqlite() {
    converges(Dialect::Sqlite, 3);
}

/// Positions of two sources cannot be compared: whoever leads both into one table is told so, and which records it concerns.
#[test]
fn two_sources_of_one_table_do_not_pass() {
    let scenario = people("[defaults]\ninto = \"people\"\n", &["a", "b"]);
    let said = said(&scenario, "");
    assert!(said.contains("two_sources: table people") && said.contains("b.main.people[0]"), "{said}");
}

/// A trigger that changes rows makes them depend on where batches were cut.
#[test]
fn a_trigger_that_changes_rows_does_not_pass() {
    let trigger = "create trigger spoils after update of name on people begin update people set name = 'spoilt' where id = new.id; end";
    let said = said(&people("[defaults]\ninto = \"people\"\n", &["a"]), trigger);
    assert!(said.contains("seed") && said.contains("name=\"spoilt\""), "{said}");
}

/// A configuration that cannot be used is said, without its values.
#[tokio::test]
async fn a_wrong_configuration_is_said() {
    let scenario = Scenario::new("[defaults]\nfoo = \"secret\"\n").expect("TOML").on("sqlite:nowhere.db");
    let failure = scenario.deliver(&Delivery::in_order()).await.expect_err("a wrong key");
    assert!(failure.message.contains("foo") && !failure.message.contains("secret"), "{failure}");
}
