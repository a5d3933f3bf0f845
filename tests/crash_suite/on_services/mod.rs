//! See the suite. Every test has a topic, a database and a pipeline of its own; those that stop servers have servers of
//! their own.

mod kills;
mod replays;

use std::time::Duration;

use lastword::core::dialect::Dialect;

use super::traffic::{PARTITIONS, Traffic};
use crate::support::database::Database;
use crate::support::kafka;
use crate::support::program::{Program, config};
use crate::support::{eventually, unique};

/// A topic with its traffic, a database with its table, and a pipeline between them.
struct Scene {
    database: Database,
    traffic: Traffic,
    program: Program,
    topic: String,
}

/// Small batches, so that there are many transactions to interrupt; short sessions, so that partitions move soon.
const SETTINGS: &str =
    "[batch]\nrows = 300\n[source.client]\n\"session.timeout.ms\" = 6000\n\"heartbeat.interval.ms\" = 500\n";

impl Scene {
    fn new(dialect: Dialect, seed: u64) -> Self {
        let database = Database::new(dialect);
        let topic = unique("crash");
        kafka::create(&topic, PARTITIONS);
        database.execute(&format!(
            "create table {} (id bigint primary key, name {}, qty integer)",
            database.table("items"),
            if dialect == Dialect::Sqlite { "text" } else { "varchar(40)" }
        ));
        let traffic = Traffic::new(&topic, database.home(), seed);
        let program = Program::new(&config(&kafka::source(std::slice::from_ref(&topic)), &database.config(), SETTINGS));
        // The first run makes the bookkeeping that the tests look at.
        program.catch_up(&[]);
        Self { database, traffic, program, topic }
    }

    /// The rows must be those of the source; of those that are not, a few are shown.
    #[track_caller]
    fn assert_rows(&self) {
        let (found, wanted) = (self.rows(), self.traffic.expected());
        let known: std::collections::HashSet<&String> = wanted.iter().collect();
        let wrong: Vec<&String> = found.iter().filter(|row| !known.contains(row)).take(5).collect();
        assert!(found == wanted, "{} rows found, {} wanted; wrong ones: {wrong:?}", found.len(), wanted.len());
    }

    /// Produces the next changes.
    fn produce(&mut self, changes: usize) {
        kafka::produce(&self.traffic.next(changes));
    }

    /// Rows as the traffic writes them down.
    fn rows(&self) -> Vec<String> {
        let texts =
            self.database.texts(&format!("select id, name, qty from {} order by id", self.database.table("items")));
        texts
            .into_iter()
            .map(|row| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// Everything that a replay must not change: rows with tokens, tombstones.
    fn digest(&self) -> Vec<(String, Vec<String>)> {
        let side = |name: &str| name.contains("tombstone") || name.contains("items");
        self.database.contents().into_iter().filter(|(name, _)| side(name)).collect()
    }

    fn sum(&self, columns: &str, table: &str) -> i64 {
        let table = self.database.bookkeeping(table);
        let number = if self.database.dialect == Dialect::Mysql { "signed" } else { "bigint" };
        self.database.count(&format!(
            "select cast(coalesce(sum({columns}), 0) as {number}) from {table} where pipeline not like '%#%'"
        ))
    }

    /// Waits until the stored offsets are at the end of what was produced.
    fn wait_caught_up(&self) {
        let wanted = self.traffic.records;
        eventually("all records are applied", || (self.sum("next_offset", "checkpoint") == wanted).then_some(()));
    }

    /// Invariants 1 to 4 at rest: contents as the source has them, no gap, nothing counted twice.
    fn check(&self) {
        self.assert_rows();
        assert_eq!(self.sum("changes + filtered + quarantined + control", "checkpoint"), self.traffic.records);
        assert_eq!(self.sum("changes", "checkpoint"), self.traffic.changes);
        assert_eq!(self.sum("quarantined", "checkpoint"), 0);
        let ended =
            "applied + superseded_in_batch + superseded_by_row + superseded_by_tombstone + superseded_by_truncate";
        assert_eq!(self.sum(ended, "table_counter"), self.traffic.changes);
        println!(
            "guards: superseded in batch {}, by row {}, by tombstone {}, re-check deleted {}, greatest fence {}",
            self.sum("superseded_in_batch", "table_counter"),
            self.sum("superseded_by_row", "table_counter"),
            self.sum("superseded_by_tombstone", "table_counter"),
            self.sum("recheck_deleted", "table_counter"),
            self.database.count(&format!("select max(fence) from {}", self.database.bookkeeping("checkpoint"))),
        );
    }
}

fn pause(dice: &mut crate::support::Dice, from_ms: usize, to_ms: usize) {
    std::thread::sleep(Duration::from_millis((from_ms + dice.roll(to_ms - from_ms)) as u64));
}

/// Whether the long runs were asked for.
fn is_long() -> bool {
    std::env::var_os("LASTWORD_TEST_LONG").is_some()
}
