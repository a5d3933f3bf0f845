//! What must hold after every transaction, whoever made it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::plan::Plan;
use crate::core::record::TopicPartition;
use crate::core::table::fnv1a;
use crate::core::value::Value;
use crate::runtime::sim::history::{History, TABLES};
use crate::sink::{Session, Statements};

use super::server::{Database, now};

/// A checkpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub next: i64,
    pub fence: i64,
    /// Records that were counted, in whatever way.
    counted: i64,
}

/// A key of a table.
pub type Key = (String, i64);
type Checkpoints = BTreeMap<(String, TopicPartition), Stored>;

/// What the destination holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Token and values of live rows.
    pub rows: BTreeMap<Key, (Vec<u8>, [i64; 2])>,
    pub tombstones: BTreeMap<Key, Vec<u8>>,
    /// Truncate tokens.
    pub truncates: BTreeMap<String, Vec<u8>>,
}

impl Contents {
    fn read(reader: &mut Session, sides: &[(String, String)]) -> Self {
        let mut contents = Self::default();
        for table in TABLES {
            let sql = format!("select id, v, w, _lastword_token from {table}");
            // Before the first row of a table was met it has no token column.
            let Ok(rows) = now(reader.query(&sql, &[])) else { continue };
            for row in rows {
                let number = |at: usize| row[at].as_int().unwrap_or(-1);
                contents.rows.insert((table.to_owned(), number(0)), (bytes(&row[3]), [number(1), number(2)]));
            }
        }
        for (table, side) in sides {
            let rows = now(reader.query(&format!("select id, _lastword_token from \"{side}\""), &[]));
            for row in rows.expect("tombstones") {
                contents.tombstones.insert((table.clone(), row[0].as_int().unwrap_or(-1)), bytes(&row[1]));
            }
        }
        let truncates = "select table_name, truncate_token from lastword_table_state where truncate_token is not null";
        for row in now(reader.query(truncates, &[])).expect("truncate tokens") {
            contents.truncates.insert(text(&row[0]), bytes(&row[1]));
        }
        contents
    }

    /// The greatest token of a key.
    fn token(&self, key: &Key) -> Option<&Vec<u8>> {
        self.rows.get(key).map(|(token, _)| token).max(self.tombstones.get(key))
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> String {
    value.as_text().unwrap_or_default().to_owned()
}

/// See the module.
pub struct Watch {
    history: History,
    /// Tombstone tables.
    sides: Vec<(String, String)>,
    pub checkpoints: Checkpoints,
    contents: Contents,
    /// The greatest token of keys whose tombstone was collected.
    collected: BTreeMap<Key, Vec<u8>>,
    /// What did not hold.
    pub violations: Vec<String>,
    pub transactions: u64,
    pub rewinds: u64,
    /// A sum of everything that was seen, and when: two runs of a seed have the same.
    pub trace: u64,
}

impl Watch {
    pub fn new(history: History) -> Self {
        Self {
            history,
            sides: Vec::new(),
            checkpoints: Checkpoints::new(),
            contents: Contents::default(),
            collected: BTreeMap::new(),
            violations: Vec::new(),
            transactions: 0,
            rewinds: 0,
            trace: 0,
        }
    }

    /// Tombstones made in virtual time carry it, not the clock of the machine. Inside or right behind their transaction.
    pub fn stamp(&mut self, database: &mut Database, now_ms: i64) {
        if self.sides.len() < TABLES.len() {
            let sql = "select name from sqlite_master where type = 'table' and name like 'lastword\\_tombstone\\_%' escape '\\'";
            let names = now(database.writer.query(sql, &[])).expect("tombstone tables");
            let sides = names.iter().map(|row| text(&row[0]));
            self.sides = sides.filter_map(|name| Some((table_of(&name)?, name))).collect();
        }
        for (_, side) in &self.sides {
            let sql = format!(
                "update \"{side}\" set deleted_at = strftime('%Y-%m-%d %H:%M:%f', ? / 1000.0, 'unixepoch') where deleted_at > '2020'"
            );
            now(database.writer.execute(&sql, &[Value::Int(now_ms)])).expect("stamp");
        }
    }

    /// Looks at what a transaction left: `plan`, or something else.
    pub fn committed(&mut self, database: &mut Database, plan: Option<&Plan>, elapsed: Duration) {
        self.transactions += 1;
        self.look_at_checkpoints(&mut database.reader, plan);
        let contents = Contents::read(&mut database.reader, &self.sides);
        let known = self.violations.len();
        self.look_at_keys(&mut database.reader, &contents, plan.is_some());
        if let (Some(plan), true) = (plan, self.violations.len() > known) {
            self.violations.push(format!("by {plan:#?}"));
        }
        self.contents = contents;
        let seen = format!("{} {elapsed:?} {:?} {:?}", self.trace, self.checkpoints, self.contents);
        tracing::trace!(seen, "committed");
        self.trace = fnv1a(seen.as_bytes());
    }

    /// What the destination holds now.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    fn look_at_checkpoints(&mut self, reader: &mut Session, plan: Option<&Plan>) {
        let sql = "select pipeline, topic, partition_id, next_offset, fence, changes + filtered + quarantined + control \
                   from lastword_checkpoint";
        let mut found = Checkpoints::new();
        for row in now(reader.query(sql, &[])).unwrap_or_default() {
            let number = |at: usize| row[at].as_int().unwrap_or(-1);
            let at = TopicPartition::new(text(&row[1]), number(2) as i32);
            let stored = Stored { next: number(3), fence: number(4), counted: number(5) };
            found.insert((text(&row[0]), at), stored);
        }
        for (place, stored) in &found {
            let Some(before) = self.checkpoints.get(place) else { continue };
            if stored != before
                && let Err(what) = self.moved(place, before, stored, plan)
            {
                self.violations.push(format!("{} {}: {what}: {before:?} became {stored:?}", place.0, place.1));
            }
            self.rewinds += u64::from(stored.next < before.next);
        }
        self.checkpoints = found;
    }

    /// Invariants 1, 4 and 5, of one step of one checkpoint.
    fn moved(
        &self,
        (owner, at): &(String, TopicPartition),
        before: &Stored,
        after: &Stored,
        plan: Option<&Plan>,
    ) -> Result<(), &'static str> {
        if after.fence < before.fence {
            return Err("invariant 5: a fence went back");
        }
        let plan = plan.filter(|plan| *plan.checkpoint_owner == **owner);
        let advance = plan.and_then(|plan| plan.advances.iter().find(|advance| advance.at == *at));
        let Some(advance) = advance else {
            // A claim raises the fence and moves nothing; an operator moves it and raises the fence.
            if after.next != before.next && after.fence == before.fence {
                return Err("invariant 1: an offset moved without its batch and without a new fence");
            }
            return if after.counted == before.counted { Ok(()) } else { Err("invariant 4: counted without a batch") };
        };
        if (advance.fence, advance.fence) != (before.fence, after.fence) {
            return Err("invariant 5: an owner that was fenced off advanced the partition");
        }
        if (advance.from, advance.next) != (before.next, after.next) {
            return Err("invariant 1: a batch was applied that did not begin where the checkpoint was");
        }
        let records = self.history.log[at].iter().filter(|record| (before.next..after.next).contains(&record.offset));
        match after.counted - before.counted == records.count() as i64 {
            true => Ok(()),
            false => Err("invariant 4: the records of a batch are not counted once each"),
        }
    }

    /// Invariants 2 and 3, of every key.
    fn look_at_keys(&mut self, reader: &mut Session, contents: &Contents, by_plan: bool) {
        let keys: Vec<Key> = self.contents.rows.keys().chain(self.contents.tombstones.keys()).cloned().collect();
        for key in keys {
            let Some(before) = self.contents.token(&key).cloned() else { continue };
            match contents.token(&key) {
                Some(after) if *after >= before => {}
                Some(after) => self.violations.push(format!(
                    "invariant 2: {key:?} has an older token than before: {} became {}",
                    hex(&before),
                    hex(after)
                )),
                None if contents.truncates.get(&key.0).is_some_and(|truncate| *truncate >= before) => {}
                None if !by_plan && !self.contents.rows.contains_key(&key) => {
                    if !is_below_floor(reader, &key.0, &before) {
                        self.violations.push(format!("invariant 3: the tombstone of {key:?} went without a floor"));
                    }
                    self.collected.insert(key, before);
                }
                None => self.violations.push(format!("invariant 3: {key:?} is gone without a trace")),
            }
        }
        for (key, (token, _)) in &contents.rows {
            let truncated = contents.truncates.get(&key.0).is_some_and(|truncate| truncate >= token);
            let collected = self.collected.get(key).is_some_and(|grave| grave >= token);
            let buried = contents.tombstones.get(key).is_some_and(|grave| grave >= token);
            if truncated || collected || buried {
                self.violations.push(format!("invariant 3: {key:?} is back"));
            }
        }
    }
}

fn is_below_floor(reader: &mut Session, table: &str, token: &[u8]) -> bool {
    let sql = "select 1 from lastword_collection_floor where table_name = ? and token >= ?";
    !now(reader.query(sql, &[table.into(), Value::bytes(token)])).expect("floors").is_empty()
}

fn table_of(side: &str) -> Option<String> {
    let is_its = |table: &&&str| side.starts_with(&format!("lastword_tombstone_{table}_"));
    TABLES.iter().find(is_its).map(ToString::to_string)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
