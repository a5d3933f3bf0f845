//! The same run with a guard and without it: the contents must be others, or the guard was not tested.
//!
//! Every run is one of the deliveries of the captures (`tests/captures_suite/matrix.rs`), told by a seed, into a destination of
//! its own; a line for each guard and destination says which seed showed it, and how often the guard had decided.

use std::fmt::Write;

use super::inside::Job;
use super::stage::{Form, Material, Stage};
use crate::core::dialect::Dialect;
use crate::core::guard::{Guard, Removed};
use crate::runtime::status::RunSummary;
use crate::support::captures::Captured;
use crate::support::database::{Contents, differing};
use crate::support::deliver;
use crate::support::random::Random;

/// Tried until one shows the difference. A race may need more than one.
const SEEDS: std::ops::Range<u64> = 1..41;

/// A run that cannot do without a guard.
struct Run {
    guard: Guard,
    /// What is delivered.
    scenarios: &'static [&'static str],
    /// How.
    name: &'static str,
    deliver: fn(&[Captured], &mut Random) -> Vec<Vec<Captured>>,
    /// Most rows of a batch.
    rows: usize,
    /// How often the guard decided.
    decided: fn(&RunSummary) -> u64,
}

/// Everything, then what was read before once more, under checkpoints of its own.
fn again(records: &[Captured], random: &mut Random) -> Vec<Vec<Captured>> {
    vec![deliver::interleaved(records, random), deliver::prefix(records, random)]
}

fn cut_off(records: &[Captured], random: &mut Random) -> Vec<Vec<Captured>> {
    vec![deliver::cut_off(records, random)]
}

fn interleaved(records: &[Captured], random: &mut Random) -> Vec<Vec<Captured>> {
    vec![deliver::interleaved(records, random)]
}

const RUNS: [Run; 6] = [
    Run {
        guard: Guard::Row,
        scenarios: &["key_update", "same_row_in_one_tx", "restart_duplicates"],
        name: "a prefix is read again",
        deliver: again,
        rows: 2,
        decided: |run| run.superseded_by_row,
    },
    Run {
        guard: Guard::Tombstone,
        scenarios: &["key_update", "delete_reinsert"],
        name: "a prefix is read again",
        deliver: again,
        rows: 2,
        decided: |run| run.superseded_by_tombstone,
    },
    Run {
        guard: Guard::Truncate,
        scenarios: &["truncate"],
        name: "a prefix is read again",
        deliver: again,
        rows: 2,
        decided: |run| run.superseded_by_truncate,
    },
    Run {
        guard: Guard::Collapse,
        scenarios: &["same_row_in_one_tx", "restart_duplicates", "delete_reinsert"],
        name: "the log ends within a redelivery, one batch",
        deliver: cut_off,
        rows: 5000,
        decided: |run| run.superseded_in_batch,
    },
    Run {
        guard: Guard::SnapshotFloor,
        scenarios: &["snapshot_with_open_tx"],
        name: "partitions at random",
        deliver: interleaved,
        rows: 7,
        // It makes tokens and loses nothing: its decisions are the changes that won by it.
        decided: |run| run.applied,
    },
    Run {
        guard: Guard::Recheck,
        scenarios: &["truncate", "delete_reinsert", "key_update"],
        name: "partitions at random in several lanes",
        deliver: interleaved,
        rows: 2,
        decided: |run| run.recheck_deleted,
    },
];

/// One delivery into a destination of its own, with or without a guard.
fn contents(
    run: &Run,
    material: &std::sync::Arc<Material>,
    dialect: Dialect,
    seed: u64,
    without: bool,
) -> (Contents, u64) {
    let stage = Stage::of(material, dialect);
    let _removed = Removed::new(without.then_some(run.guard));
    let mut decided = 0;
    let logs = (run.deliver)(&material.records, &mut Random::new(seed));
    for (records, pipeline) in logs.iter().zip(["first", "again"]) {
        let runs = stage.apply(&[Job { pipeline, records, rows: run.rows }]);
        let runs = runs.unwrap_or_else(|failure| panic!("{:?}, seed {seed}: {failure}", run.guard));
        decided += runs.iter().map(run.decided).sum::<u64>();
    }
    if !without {
        stage.assert_expected();
    }
    (stage.database.contents(), decided)
}

/// Whether a seed shows that the guard is needed, and the line that says so.
fn shown(run: &Run, dialect: Dialect) -> Result<String, String> {
    let material = Material::load("postgresql", Form::Schemas, run.scenarios);
    let mut idle = 0;
    for seed in SEEDS {
        let (with, decided) = contents(run, &material, dialect, seed, false);
        let (without, _) = contents(run, &material, dialect, seed, true);
        if decided == 0 {
            idle += 1;
            continue;
        }
        if let Some(lines) = differing(&with, &without) {
            let lines = lines.lines().filter(|line| line.starts_with("    ")).count();
            return Ok(format!(
                "{:?} | {dialect:?} | {} | {decided} | seed {seed}: {lines} lines differ",
                run.guard, run.name
            ));
        }
    }
    Err(format!(
        "{:?} in {dialect:?}: no seed of {SEEDS:?} ends otherwise without it ({idle} in which it never decided)",
        run.guard
    ))
}

/// Every guard of a destination is needed by a run.
fn every_guard_is_needed(dialect: Dialect) {
    let (mut table, mut missed) = ("guard | destination | run | decided | without it\n".to_owned(), Vec::new());
    // SQLite has one writer: nothing to re-check.
    for run in RUNS.iter().filter(|run| dialect != Dialect::Sqlite || run.guard != Guard::Recheck) {
        match shown(run, dialect) {
            Ok(line) => writeln!(table, "{line}").expect("a line"),
            Err(line) => missed.push(line),
        }
    }
    println!("{table}");
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn every_guard_is_needed_in_sqlite() {
    every_guard_is_needed(Dialect::Sqlite);
}

mod on_services {
    use super::*;

    #[test]
    fn every_guard_is_needed_in_postgres() {
        every_guard_is_needed(Dialect::Postgres);
    }

    #[test]
    fn every_guard_is_needed_in_mariadb() {
        every_guard_is_needed(Dialect::Mysql);
    }
}
