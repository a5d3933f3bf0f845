//! Random histories of a source: the log that a connector would write, and what the tables hold in the end, told by the order
//! in which the source made its changes and by nothing that lastword computes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::core::record::{Headers, Payload, Record, TopicPartition};

use super::store::Values;

/// A value that the destination refuses (a CHECK constraint).
pub const BAD: i64 = 666;
pub const TABLES: [&str; 2] = ["a", "b"];
const PARTITIONS: i64 = 2;
/// Servers that can be the primary.
const PRIMARIES: [&str; 3] = ["ab", "cd", "ef"];
const KEYS: i64 = 6;

/// SplitMix64: a run is told by its seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: i64) -> i64 {
        (self.next() % end.max(1) as u64) as i64
    }

    pub fn chance(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }
}

/// A log, and what comes of it.
#[derive(Clone, Default)]
pub struct History {
    /// Neither were keys spread over the partitions anew, nor did the source's positions start again.
    pub calm: bool,
    pub log: BTreeMap<TopicPartition, Vec<Record>>,
    /// Ends of the partitions, behind trailing gaps.
    pub ends: BTreeMap<TopicPartition, i64>,
    /// What the tables hold in the end.
    pub truth: BTreeMap<(String, i64), Values>,
    /// Records that nobody can read.
    pub garbage: BTreeSet<(TopicPartition, i64)>,
    /// Records that the destination refuses.
    pub bad: BTreeSet<(TopicPartition, i64)>,
    /// Whose change a record is.
    pub keys: BTreeMap<(TopicPartition, i64), (String, i64)>,
    /// Keys of which some event did not carry all columns.
    pub partial: BTreeSet<(String, i64)>,
}

#[derive(Clone)]
struct Entry {
    at: TopicPartition,
    of: (&'static str, i64),
    key: Option<Bytes>,
    value: Option<Bytes>,
    bad: bool,
    garbage: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Postgres,
    MariaDb,
    MySql,
}

struct Writer<'r> {
    random: &'r mut Random,
    /// For what is in `w`: the rest of a history does not depend on it.
    side: Random,
    kind: Kind,
    feed: Vec<Entry>,
    /// Where transactions begin in the feed: a connector starts again at one of them.
    starts: Vec<usize>,
    model: BTreeMap<(&'static str, i64), Values>,
    /// The last good change of each key, in the source's order.
    last: BTreeMap<(&'static str, i64), Option<Values>>,
    partial: BTreeSet<(&'static str, i64)>,
    lsn: u64,
    /// The source's clock: it stands still inside a statement, and makes a great step between two.
    clock_ms: u64,
    /// Where the last snapshot was taken.
    snapshot: u64,
    commit: Option<u64>,
    /// The primary that writes, and the last number of each.
    primary: usize,
    gtids: [u64; PRIMARIES.len()],
    /// How often keys were spread over the partitions anew.
    moved: i64,
    /// It failed over, or its connector was made anew.
    restarted: bool,
}

pub fn history(seed: u64) -> History {
    let mut random = Random(seed);
    let kind = match seed % 4 {
        2 => Kind::MariaDb,
        3 => Kind::MySql,
        _ => Kind::Postgres,
    };
    let mut writer = Writer {
        random: &mut random,
        side: Random(!seed),
        kind,
        feed: Vec::new(),
        starts: Vec::new(),
        model: BTreeMap::new(),
        last: BTreeMap::new(),
        partial: BTreeSet::new(),
        lsn: 100,
        clock_ms: 0,
        snapshot: 0,
        commit: None,
        primary: 0,
        gtids: [0; PRIMARIES.len()],
        moved: 0,
        restarted: false,
    };
    writer.snapshot();
    // In a short history hardly anything is changed again, so that a wrong change is not mended by a later one.
    let short = writer.random.chance(50);
    for _ in 0..if short { writer.random.below(4) } else { 10 + writer.random.below(25) } {
        // Keys go to another partition, while the events before lie in one that may lag behind.
        if writer.commit.is_some() && writer.random.chance(10) {
            writer.moved += 1;
        }
        writer.transaction();
        if writer.random.chance(12) {
            writer.redeliver();
        }
        if writer.random.chance(6) {
            writer.restarted = true;
            writer.fail_over();
        }
        if writer.random.chance(4) {
            writer.restarted = true;
            writer.recreate();
        }
    }
    let (feed, last, partial) = (writer.feed, writer.last, writer.partial);
    let calm = writer.moved == 0;
    let partial = partial.into_iter().map(|(table, id)| (table.to_owned(), id)).collect();
    History { calm, partial, ..lay_out(&mut random, feed, last) }
}

impl Writer<'_> {
    /// Rows as they are, read while a transaction is open that began before: its changes lie below the snapshot in the log.
    fn snapshot(&mut self) {
        for table in TABLES {
            for id in 0..self.random.below(KEYS) {
                let values = [self.random.below(100), self.side.below(100)];
                self.model.insert((table, id), values);
                self.last.insert((table, id), Some(values));
            }
        }
        self.read_all();
    }

    fn read_all(&mut self) {
        let open: Vec<u64> = (0..self.random.below(4)).map(|_| self.advance()).collect();
        self.snapshot = self.advance();
        self.commit = None;
        for ((table, id), values) in self.model.clone() {
            let source = self.source(table, self.lsn, "true");
            self.row(table, id, "r", values, false, &source);
        }
        self.starts.push(self.feed.len());
        self.gtids[self.primary] += 1;
        for lsn in open {
            self.change(lsn);
        }
        if self.random.chance(50) {
            self.commit = Some(self.advance());
        }
    }

    fn advance(&mut self) -> u64 {
        self.clock_ms += 30_000;
        self.lsn += 1 + self.random.below(9) as u64;
        self.lsn
    }

    fn transaction(&mut self) {
        self.starts.push(self.feed.len());
        self.gtids[self.primary] += 1;
        for _ in 0..1 + self.random.below(5) {
            let lsn = self.advance();
            self.change(lsn);
        }
        self.commit = Some(self.advance());
        if self.random.chance(15) {
            self.read_again();
        }
        if self.random.chance(5) {
            let (table, id) = self.key();
            self.push(table, id, Some("not a change event".into()), false, true);
        }
    }

    /// Another primary writes; its first transaction is seen in every partition. (One that sees nothing of a primary's whole time keeps
    /// its own order, but TRUNCATEs and moved keys of others may outrank it: a limit, see the README.)
    fn fail_over(&mut self) {
        if self.kind == Kind::Postgres {
            return;
        }
        self.primary = (self.primary + 1 + self.random.below(2) as usize) % PRIMARIES.len();
        self.starts.push(self.feed.len());
        self.gtids[self.primary] += 1;
        for table in TABLES {
            for id in 0..PARTITIONS {
                let lsn = self.advance();
                let source = self.source(table, lsn, "false");
                self.write(table, id, "u", &source);
            }
        }
    }

    /// A new connector: nothing of what changed in between is streamed, and everything is read again. (Binlog rows that were read again
    /// have no GTID and are ordered by what their own partition streamed, so no key may have moved.)
    fn recreate(&mut self) {
        if self.kind != Kind::Postgres && self.moved > 0 {
            return;
        }
        self.starts.clear();
        for (key, [v, _]) in self.model.clone() {
            if v == BAD || self.random.chance(30) {
                let values = [self.random.below(100), self.side.below(100)];
                self.model.insert(key, values);
                self.last.insert(key, Some(values));
            }
        }
        self.read_all();
    }

    fn key(&mut self) -> (&'static str, i64) {
        (TABLES[self.random.below(2) as usize], self.random.below(KEYS))
    }

    /// One change, or one statement over many rows.
    fn change(&mut self, lsn: u64) {
        let (table, id) = self.key();
        let source = self.source(table, lsn, "false");
        if self.random.chance(6) {
            return self.shift(table, &source);
        }
        // A TRUNCATE does not lie below a snapshot that read rows of its table: it waits until the snapshot's transaction has ended,
        // or that waits for it and finds the table empty, because TRUNCATE is not MVCC-safe.
        if self.kind == Kind::Postgres && lsn > self.snapshot && self.random.chance(3) {
            return self.truncate(table, &source);
        }
        match (self.model.contains_key(&(table, id)), self.random.below(4)) {
            (false, _) => self.write(table, id, "c", &source),
            (true, 0) => self.delete(table, id, &source),
            (true, 1) => {
                let other = self.random.below(KEYS);
                if self.model.contains_key(&(table, other)) {
                    return;
                }
                self.delete(table, id, &source);
                self.write(table, other, "c", &source);
            }
            (true, _) => self.write(table, id, "u", &source),
        }
    }

    /// `update t set id = id + 1 order by id desc`: every key but the last one is deleted and made again at one position.
    fn shift(&mut self, table: &'static str, source: &str) {
        let rows: Vec<i64> = self.model.keys().filter(|(of, _)| *of == table).map(|(_, id)| *id).collect();
        if rows.iter().any(|id| *id >= KEYS - 1) || self.kind == Kind::Postgres {
            return;
        }
        for (row, id) in rows.into_iter().rev().enumerate() {
            // MySQL may say 0 for all of them (compressed transactions).
            let row = if self.kind == Kind::MariaDb { row } else { 0 };
            let source = source.replace("\"row\":0", &format!("\"row\":{row}"));
            self.delete(table, id, &source);
            self.write(table, id + 1, "c", &source);
        }
    }

    fn truncate(&mut self, table: &'static str, source: &str) {
        self.model.retain(|(of, _), _| *of != table);
        for ((of, _), last) in &mut self.last {
            if *of == table {
                *last = None;
            }
        }
        let value = format!(r#"{{"op":"t","before":null,"after":null,"source":{source}}}"#);
        let id = self.random.below(PARTITIONS);
        self.push(table, id, Some(value), false, false);
        if let Some(entry) = self.feed.last_mut() {
            entry.key = None;
        }
    }

    /// An incremental snapshot reads a row that nobody changed.
    fn read_again(&mut self) {
        let (table, id) = self.key();
        let Some(values) = self.model.get(&(table, id)).copied() else { return };
        if values[0] != BAD && self.kind == Kind::Postgres {
            let source = self.source(table, self.lsn, "incremental");
            self.row(table, id, "r", values, false, &source);
        }
    }

    /// An update may leave `w` as it is, which PostgreSQL's connector then may not see; nor may it in a create of a moved key.
    fn write(&mut self, table: &'static str, id: i64, op: &str, source: &str) {
        let v = if self.random.chance(4) { BAD } else { self.random.below(100) };
        let unseen = self.kind == Kind::Postgres && self.side.chance(if op == "u" { 40 } else { 2 });
        let old = self.model.get(&(table, id)).filter(|_| unseen).map(|values| values[1]);
        let values = [v, old.unwrap_or_else(|| self.side.below(100))];
        self.model.insert((table, id), values);
        if v != BAD {
            self.last.insert((table, id), Some(values));
        }
        self.row(table, id, op, values, unseen, source);
    }

    fn row(&mut self, table: &'static str, id: i64, op: &str, [v, w]: Values, unseen: bool, source: &str) {
        let w = if unseen { "\"__debezium_unavailable_value\"".to_owned() } else { w.to_string() };
        if unseen {
            self.partial.insert((table, id));
        }
        let value = format!(r#"{{"op":"{op}","before":null,"after":{{"id":{id},"v":{v},"w":{w}}},"source":{source}}}"#);
        self.push(table, id, Some(value), v == BAD, false);
    }

    fn delete(&mut self, table: &'static str, id: i64, source: &str) {
        self.model.remove(&(table, id));
        self.last.insert((table, id), None);
        let value = format!(r#"{{"op":"d","before":{{"id":{id},"v":null,"w":null}},"after":null,"source":{source}}}"#);
        self.push(table, id, Some(value), false, false);
        self.push(table, id, None, false, false);
    }

    fn push(&mut self, table: &'static str, id: i64, value: Option<String>, bad: bool, garbage: bool) {
        self.feed.push(Entry {
            of: (table, id),
            at: TopicPartition::new(format!("s.p.{table}"), ((id + self.moved) % PARTITIONS) as i32),
            key: Some(format!("{{\"id\":{id}}}").into()),
            value: value.map(Bytes::from),
            bad,
            garbage,
        });
    }

    fn source(&self, table: &str, lsn: u64, snapshot: &str) -> String {
        let clock = self.clock_ms;
        match self.kind {
            Kind::Postgres => {
                let commit = match self.commit {
                    Some(commit) => format!("\\\"{commit}\\\""),
                    None => "null".to_owned(),
                };
                format!(
                    r#"{{"connector":"postgresql","name":"s","ts_ms":{clock},"schema":"p","table":"{table}","snapshot":"{snapshot}","sequence":"[{commit},\"{lsn}\"]"}}"#
                )
            }
            Kind::MariaDb | Kind::MySql => {
                let number = self.gtids[self.primary];
                let (connector, gtid) = match self.kind {
                    Kind::MariaDb => ("mariadb", format!("\"{}-1-{number}\"", self.primary)),
                    _ => ("mysql", format!("\"{}:{number}\"", PRIMARIES[self.primary])),
                };
                let gtid = if snapshot == "false" { gtid } else { "null".to_owned() };
                format!(
                    r#"{{"connector":"{connector}","name":"s","ts_ms":{clock},"db":"p","table":"{table}","snapshot":"{snapshot}","gtid":{gtid},"file":"bin.000003","pos":{lsn},"row":0}}"#
                )
            }
        }
    }

    /// The connector was killed and starts again at a transaction that it sent already.
    fn redeliver(&mut self) {
        let back = self.random.below(4) as usize;
        let from = self.starts.iter().rev().nth(back).copied().unwrap_or(self.feed.len());
        let again: Vec<Entry> = self.feed[from..].iter().filter(|entry| !entry.garbage).cloned().collect();
        self.feed.extend(again);
    }
}

fn lay_out(random: &mut Random, feed: Vec<Entry>, last: BTreeMap<(&'static str, i64), Option<Values>>) -> History {
    let mut history = History::default();
    for table in TABLES {
        for partition in 0..PARTITIONS as i32 {
            let at = TopicPartition::new(format!("s.p.{table}"), partition);
            history.log.insert(at.clone(), Vec::new());
            history.ends.insert(at, 0);
        }
    }
    for entry in feed {
        let Some(end) = history.ends.get_mut(&entry.at) else { continue };
        // Gaps: compaction, transaction markers.
        *end += i64::from(random.chance(10)) * (1 + random.below(3));
        let (at, offset) = (entry.at, *end);
        *end += 1;
        history.keys.insert((at.clone(), offset), (entry.of.0.to_owned(), entry.of.1));
        if entry.garbage {
            history.garbage.insert((at.clone(), offset));
        }
        if entry.bad {
            history.bad.insert((at.clone(), offset));
        }
        let headers = Headers::default();
        let record = Record {
            at: at.clone(),
            offset,
            timestamp_ms: None,
            key: entry.key,
            value: entry.value.map(Payload::from),
            headers,
            framed: None,
        };
        history.log.entry(at).or_default().push(record);
    }
    for end in history.ends.values_mut() {
        *end += random.below(3);
    }
    let live = last.into_iter().filter_map(|((table, id), values)| Some(((table.to_owned(), id), values?)));
    history.truth = live.collect();
    history
}
