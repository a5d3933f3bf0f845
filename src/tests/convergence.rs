//! The harness for users notices what is broken: a guard that is taken away.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::core::guard::{Guard, Removed};
use crate::support::captures;
use crate::support::database::Database;
use crate::support::events::Source;
use crate::testing::Scenario;
use serde_json::json;

/// Rows that come and go.
fn scenario() -> Scenario {
    let mut source = Source::people("shop.main.people", "main");
    for round in 0..6 {
        for id in 1..5 {
            let lsn = 100 * round + 10 * id;
            source.upsert(lsn, json!({"id": id, "name": format!("name {round}")}));
            if (round + id) % 2 == 1 {
                source.delete(lsn + 1, json!(id));
            }
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("records.jsonl");
    captures::write(&path, &source.records);
    let mut scenario = Scenario::new("").expect("a configuration");
    scenario.file(&path).expect("records");
    scenario
}

/// What [`Scenario::assert_converges`] says, if it fails.
fn said(without: Option<Guard>) -> Option<String> {
    let _removed = Removed::new(without);
    let mut databases = Vec::new();
    let converges = || {
        scenario().assert_converges(0..12, |_| {
            databases.push(Database::sqlite());
            databases.last().map(|database| database.url.clone()).unwrap_or_default()
        })
    };
    let panic = catch_unwind(AssertUnwindSafe(converges)).err()?;
    Some(panic.downcast_ref::<String>().expect("a text").clone())
}

/// Invariant 3: without tombstones rows come back, and the failure names seed, table and row.
#[test]
fn a_missing_guard_is_noticed() {
    assert_eq!(said(None), None);
    let said = said(Some(Guard::Tombstone)).expect("a difference");
    assert!(said.contains("seed") && said.contains("people") && said.contains("  + id="), "{said}");
}
