//! Made-up changes of one table as Debezium's PostgreSQL connector would send them: skewed keys, deletes with their null
//! records, stretches that come again as after a restart of the connector. The same seed makes the same changes, and the
//! generator knows the state that they must lead to.

use std::collections::{BTreeMap, VecDeque};

use serde_json::json;

use crate::support::Dice;
use crate::support::captures::Captured;

/// Partitions of a topic.
pub const PARTITIONS: i32 = 6;
/// Keys that are in use.
const KEYS: usize = 3000;
/// Changes that a restarted connector may send again.
const MEMORY: usize = 200;

/// See the module.
pub struct Traffic {
    topic: String,
    schema: String,
    dice: Dice,
    lsn: u64,
    commit: u64,
    offsets: BTreeMap<i32, i64>,
    recent: VecDeque<(i64, String, bool)>,
    rows: BTreeMap<i64, (String, i64)>,
    /// Change events among the records, without nulls.
    pub changes: i64,
    /// All records.
    pub records: i64,
}

impl Traffic {
    /// Traffic of the table `items` of a schema.
    pub fn new(topic: &str, schema: &str, seed: u64) -> Self {
        println!("traffic of topic {topic}: seed {seed}");
        Self {
            topic: topic.to_owned(),
            schema: schema.to_owned(),
            dice: Dice(seed),
            lsn: 1000,
            commit: 900,
            offsets: BTreeMap::new(),
            recent: VecDeque::new(),
            rows: BTreeMap::new(),
            changes: 0,
            records: 0,
        }
    }

    /// The rows that the changes so far lead to, as text.
    pub fn expected(&self) -> Vec<String> {
        self.rows.iter().map(|(id, (name, qty))| format!("{id} {name} {qty}")).collect()
    }

    /// The next records: so many changes, and what belongs to them.
    pub fn next(&mut self, changes: usize) -> Vec<Captured> {
        let mut records = Vec::new();
        for _ in 0..changes {
            self.change(&mut records);
            if self.dice.roll(1500) == 0 {
                self.again(&mut records);
            }
        }
        records
    }

    fn change(&mut self, records: &mut Vec<Captured>) {
        // The product of two throws: small keys are hot.
        let id = (self.dice.roll(KEYS) * self.dice.roll(KEYS) / KEYS) as i64;
        self.lsn += 8;
        let source = json!({
            "connector": "postgresql", "name": "made-up", "ts_ms": now_ms(), "snapshot": "false", "db": "d",
            "sequence": format!("[\"{}\",\"{}\"]", self.commit, self.lsn), "schema": self.schema, "table": "items",
        });
        self.commit = self.lsn + 4;
        let exists = self.rows.contains_key(&id);
        let deleted = exists && self.dice.roll(7) == 0;
        let event = if deleted {
            self.rows.remove(&id);
            json!({ "before": { "id": id, "name": null, "qty": null }, "after": null, "source": source, "op": "d" })
        } else {
            let row = (format!("n{}", self.lsn), self.dice.roll(1000) as i64);
            let after = json!({ "id": id, "name": row.0, "qty": row.1 });
            self.rows.insert(id, row);
            json!({ "before": null, "after": after, "source": source, "op": if exists { "u" } else { "c" } })
        };
        self.emit(records, id, &event.to_string(), deleted);
        self.recent.push_back((id, event.to_string(), deleted));
        if self.recent.len() > MEMORY {
            self.recent.pop_front();
        }
    }

    /// The connector was killed before it stored its position: a stretch comes again, in its order.
    fn again(&mut self, records: &mut Vec<Captured>) {
        let from = self.dice.roll(self.recent.len());
        for (id, event, deleted) in self.recent.clone().into_iter().skip(from) {
            self.emit(records, id, &event, deleted);
        }
    }

    fn emit(&mut self, records: &mut Vec<Captured>, id: i64, event: &str, deleted: bool) {
        self.changes += 1;
        self.push(records, id, Some(event.to_owned()));
        if deleted {
            self.push(records, id, None);
        }
    }

    fn push(&mut self, records: &mut Vec<Captured>, id: i64, payload: Option<String>) {
        let partition = (id % i64::from(PARTITIONS)) as i32;
        let offset = self.offsets.entry(partition).or_insert(0);
        records.push(Captured {
            topic: self.topic.clone(),
            partition,
            offset: *offset,
            // Older records would fall to the broker's retention at once.
            ts: now_ms(),
            headers: Vec::new(),
            key: Some(json!({ "id": id }).to_string()),
            payload,
        });
        *offset += 1;
        self.records += 1;
    }
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis() as i64
}
