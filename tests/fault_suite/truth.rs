//! The whole destination against what the source holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lastword::core::dialect::Dialect;
use lastword::core::value::Value;

use crate::crash_suite::kafka::Topic;
use crate::crash_suite::support::World;
use crate::crash_suite::traffic::Traffic;

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Number of the invariant in `src/lib.rs`.
    pub invariant: u8,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant, self.what)
    }
}

/// One topic, and its table at the source.
pub struct Stream {
    pub topic: Topic,
    pub table: &'static str,
    pub traffic: Traffic,
    /// Keys of the records that cannot be applied.
    pub poison: BTreeSet<String>,
    /// Its tombstones were collected.
    pub collected: bool,
}

/// What was compared.
#[derive(Debug, Default)]
pub struct Compared {
    pub rows: u64,
    pub tombstones: u64,
    pub records: u64,
    pub violations: Vec<Violation>,
}

/// At most so many of one kind are told.
const TOLD: usize = 5;

impl Compared {
    fn breaks(&mut self, invariant: u8, what: impl IntoIterator<Item = String>) {
        let mut all: Vec<String> = what.into_iter().collect();
        let more = all.len().saturating_sub(TOLD);
        all.truncate(TOLD);
        if more > 0 {
            all.push(format!("… and {more} more of this kind"));
        }
        self.violations.extend(all.into_iter().map(|what| Violation { invariant, what }));
    }
}

/// Compares everything. Nothing may be running.
pub async fn compare(world: &World, streams: &[Stream]) -> Compared {
    let mut compared = Compared::default();
    let rewound = rewound(world).await;
    for stream in streams {
        rows(world, stream, &mut compared).await;
        positions(world, stream, &rewound, &mut compared).await;
    }
    totals(world, &mut compared).await;
    quarantined(world, streams, &mut compared).await;
    compared
}

/// LSNs by key, from a table's tokens.
async fn lsns(world: &World, table: &str) -> BTreeMap<i64, u64> {
    let rows = world.query(&format!("select id, _lastword_token from {table}")).await;
    let lsn = |row: &Vec<Value>| {
        let token = row[1].as_bytes().expect("a token");
        // format 1, scope 2, epoch 4, commit 8, phase 1, LSN 8
        let lsn: [u8; 8] = token[16..24].try_into().expect("a token of PostgreSQL's layout");
        (row[0].as_int().expect("a key"), u64::from_be_bytes(lsn))
    };
    rows.iter().map(lsn).collect()
}

/// Rows, their tokens, and the tombstones of what is gone.
async fn rows(world: &World, stream: &Stream, compared: &mut Compared) {
    let (table, truth, newest) = (stream.table, stream.traffic.rows(), stream.traffic.newest());
    let found = world.rows(table).await;
    let tokens = lsns(world, table).await;
    let graves = lsns(world, &world.book(&world.side_name(table).await)).await;
    compared.rows += truth.len() as u64;
    compared.tombstones += graves.len() as u64;
    let other = truth.iter().filter(|(id, row)| found.get(id) != Some(*row));
    compared.breaks(2, other.map(|(id, row)| format!("{table} {id} is {:?}, at the source {row:?}", found.get(id))));
    let extra = found.keys().filter(|id| !truth.contains_key(id));
    compared.breaks(3, extra.map(|id| format!("{table} {id} is there, at the source it was deleted")));
    let token_of = |id: &i64| if truth.contains_key(id) { tokens.get(id) } else { graves.get(id) };
    let expected = |id: &i64, lsn| (!stream.collected || truth.contains_key(id)).then_some(lsn);
    let older = newest.iter().filter(|(id, lsn)| token_of(id) != expected(id, *lsn));
    compared.breaks(
        2,
        older.map(|(id, lsn)| format!("{table} {id}: its newest change is {lsn}, the token says {:?}", token_of(id))),
    );
    let both = graves.keys().filter(|id| truth.contains_key(id));
    compared.breaks(2, both.map(|id| format!("{table} {id} has a row and a tombstone")));
}

/// By how much operators moved each partition back, as the audit says.
async fn rewound(world: &World) -> BTreeMap<String, i64> {
    let sql = format!("select what, before_text, after_text from {} where act = 'offsets set'", world.book("audit"));
    let mut rewound = BTreeMap::new();
    for row in world.query(&sql).await {
        let offset = |cell: &Value| -> i64 {
            let text = cell.as_text().expect("text").strip_prefix("offset ").expect("an offset");
            text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
        };
        let what = row[0].as_text().expect("text").to_owned();
        *rewound.entry(what).or_insert(0) += offset(&row[1]) - offset(&row[2]);
    }
    rewound
}

/// Positions and counters of the live checkpoints.
async fn positions(world: &World, stream: &Stream, rewound: &BTreeMap<String, i64>, compared: &mut Compared) {
    let topic = &stream.topic.name;
    let sql = format!(
        "select partition_id, next_offset, changes + filtered + quarantined + control from {} where pipeline = '{}' and topic = \
         '{topic}'",
        world.book("checkpoint"),
        world.pipeline
    );
    let number = |value: &Value| value.as_int().expect("a number");
    let stored: BTreeMap<i32, (i64, i64)> = world
        .query(&sql)
        .await
        .iter()
        .map(|row| (number(&row[0]) as i32, (number(&row[1]), number(&row[2]))))
        .collect();
    for (partition, (_, end)) in stream.topic.watermarks() {
        let at = format!("{topic}[{partition}]");
        let (next, counted) = stored.get(&partition).copied().unwrap_or_default();
        compared.records += end as u64;
        if next != end {
            compared.breaks(1, [format!("{at} is at {next}, everything was applied up to {end}")]);
        }
        let expected = next + rewound.get(&format!("{} {at}", world.pipeline)).copied().unwrap_or(0);
        if counted != expected {
            compared.breaks(4, [format!("{at} has passed {expected} records and counted {counted}")]);
        }
    }
}

/// Sums over live work and replays, and the replays' own positions.
async fn totals(world: &World, compared: &mut Compared) {
    let whole = match world.dialect {
        Dialect::Postgres => "int8",
        Dialect::Mysql => "signed",
        Dialect::Sqlite => "integer",
    };
    let sum = |columns: &str, table: &str, filter: &str| {
        format!("select cast(coalesce(sum({columns}), 0) as {whole}) from {} where {filter}", world.book(table))
    };
    let pipeline = &world.pipeline;
    let changes =
        sum("changes", "checkpoint", &format!("pipeline = '{pipeline}' or pipeline like '{pipeline}#replay-%'"));
    let outcomes =
        "applied + superseded_in_batch + superseded_by_row + superseded_by_tombstone + superseded_by_truncate";
    let outcomes = sum(outcomes, "table_counter", &format!("pipeline = '{pipeline}'"));
    let (changes, outcomes) = (world.query(&changes).await, world.query(&outcomes).await);
    if changes != outcomes {
        compared.breaks(4, [format!("the checkpoints count {changes:?} changes, the tables {outcomes:?}")]);
    }
    let number = |value: &Value| value.as_int().expect("a number");
    let replays = world.query(&format!("select id, state, ranges from {}", world.book("replay"))).await;
    let begun = world.query(&format!("select what from {} where act = 'replay start'", world.book("audit"))).await;
    if begun.len() != replays.len() {
        compared.breaks(1, [format!("{} replays, {} in the audit", replays.len(), begun.len())]);
    }
    for replay in replays {
        let (id, state) = (number(&replay[0]), replay[1].as_text().expect("text").to_owned());
        let ranges: serde_json::Value = serde_json::from_str(replay[2].as_text().expect("text")).expect("ranges");
        let sql = format!(
            "select partition_id, next_offset, changes + filtered + quarantined + control from {} where pipeline = \
             '{pipeline}#replay-{id}'",
            world.book("checkpoint")
        );
        let stored = world.query(&sql).await;
        for range in ranges.as_array().expect("a list") {
            let bound = |name: &str| range[name].as_i64().expect("a number");
            let row = stored.iter().find(|row| number(&row[0]) == bound("partition"));
            let (next, counted) = row.map_or((bound("from"), 0), |row| (number(&row[1]), number(&row[2])));
            let done = state == "done";
            if counted != next - bound("from") || (done && next < bound("to")) {
                let what = format!("replay {id} ({state}) of {range} is at {next} and has counted {counted}");
                compared.breaks(4, [what]);
            }
        }
    }
}

/// In the quarantine is what cannot be applied, once, and nothing else.
async fn quarantined(world: &World, streams: &[Stream], compared: &mut Compared) {
    let sql = format!("select key_bytes from {}", world.book("quarantine"));
    let mut found: Vec<String> = world
        .query(&sql)
        .await
        .iter()
        .map(|row| String::from_utf8_lossy(row[0].as_bytes().expect("bytes")).into_owned())
        .collect();
    found.sort();
    let mut expected: Vec<String> = streams.iter().flat_map(|stream| stream.poison.iter().cloned()).collect();
    expected.sort();
    let missing: Vec<_> = expected.iter().filter(|key| !found.contains(key)).cloned().collect();
    compared.breaks(4, missing.into_iter().map(|key| format!("{key} is not in the quarantine")));
    if found.len() > expected.len() || found.iter().any(|key| !expected.contains(key)) {
        compared.breaks(4, [format!("{} records are in the quarantine, {} belong there", found.len(), expected.len())]);
    }
}
