//! What the benches share: the topic that they generate, and the contents that it must lead to.
//!
//! Everything is a function of a seed and a number of events, so that the oracle needs no file: whoever knows both can compute
//! what a destination has to hold.

pub mod contents;
pub mod row;

use std::fmt::Write;

use row::{COLUMNS, Row};

/// Partitions of the topic.
pub const PARTITIONS: i32 = 4;
/// Name of the connector, the first part of the topic.
pub const CONNECTOR: &str = "bench";
/// Schema of the source table.
pub const SCHEMA: &str = "shop";
/// The source table.
pub const TABLE: &str = "orders";

const FIRST_LSN: u64 = 100_000_000;
const FIRST_MS: u64 = 1_750_000_000_000;

/// A small generator of numbers that look random (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// An index below `limit`, small ones far more often: half of all fall into the first eighth.
    pub fn skewed(&mut self, limit: usize) -> usize {
        let part = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((part * part * part * limit as f64) as usize).min(limit.saturating_sub(1))
    }
}

/// A record to be produced.
#[derive(Clone, Debug)]
pub struct Produced {
    /// Its partition; a key stays in one.
    pub partition: i32,
    /// Bytes of the key.
    pub key: String,
    /// Bytes of the value, nothing for the null record behind a delete.
    pub value: Option<String>,
}

/// The change events of one table as Debezium's PostgreSQL connector writes them, one transaction an event: 30 % snapshot rows,
/// then 60 % updates with a skew towards hot keys, 30 % inserts (a tenth of them of a key that was deleted) and 10 % of
/// all events deletes, each with its null record.
pub struct Events {
    seed: u64,
    random: Random,
    left: u64,
    snapshot_left: u64,
    number: u64,
    next_id: u64,
    live: Vec<(u64, u32)>,
    dead: Vec<(u64, u32)>,
    after_delete: Option<Produced>,
    schemas: Option<(String, String)>,
}

impl Events {
    /// `events` change events, with or without the `schema` parts.
    pub fn new(seed: u64, events: u64, with_schemas: bool) -> Self {
        let schemas = with_schemas.then(|| (row::key_schema(), row::value_schema()));
        Self {
            seed,
            random: Random(seed),
            left: events,
            snapshot_left: events * 3 / 10,
            number: 0,
            next_id: 1,
            live: Vec::new(),
            dead: Vec::new(),
            after_delete: None,
            schemas,
        }
    }

    /// The rows that are there in the end.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.live.iter().map(|(id, version)| Row::new(self.seed, *id, *version))
    }

    fn insert(&mut self) -> (u64, u32) {
        let again = self.snapshot_left == 0 && !self.dead.is_empty() && self.random.below(10) == 0;
        let born = if again {
            let at = self.random.below(self.dead.len() as u64) as usize;
            let (id, version) = self.dead.swap_remove(at);
            (id, version + 1)
        } else {
            self.next_id += 1;
            (self.next_id - 1, 0)
        };
        self.live.push(born);
        born
    }

    /// The next change: operation, key and version of the row.
    fn change(&mut self) -> (char, u64, u32) {
        if self.snapshot_left > 0 {
            self.snapshot_left -= 1;
            let (id, version) = self.insert();
            return ('r', id, version);
        }
        // One in seven of the stream is one in ten of all.
        match self.random.below(70) {
            0..10 if self.live.len() > 1 => {
                let at = self.random.below(self.live.len() as u64) as usize;
                let (id, version) = self.live.swap_remove(at);
                self.dead.push((id, version));
                ('d', id, version)
            }
            10..28 => {
                let (id, version) = self.insert();
                ('c', id, version)
            }
            _ if self.live.is_empty() => {
                let (id, version) = self.insert();
                ('c', id, version)
            }
            _ => {
                let at = self.random.skewed(self.live.len());
                let row = &mut self.live[at];
                row.1 += 1;
                ('u', row.0, row.1)
            }
        }
    }

    fn record(&mut self, op: char, id: u64, version: u32) -> Produced {
        let mut payload = String::with_capacity(1400);
        let row = Row::new(self.seed, id, version);
        payload.push_str("{\"before\":");
        if op == 'd' {
            row::deleted_json(id, &mut payload)
        } else {
            payload.push_str("null")
        }
        payload.push_str(",\"after\":");
        if op == 'd' {
            payload.push_str("null")
        } else {
            row.json(&mut payload)
        }
        let ms = FIRST_MS + self.number;
        // Snapshot rows share one position; each change of the stream is a transaction of its own.
        let lsn = if op == 'r' { FIRST_LSN } else { FIRST_LSN + 400 * self.number };
        let before = if op == 'r' { "null".to_owned() } else { format!("\\\"{}\\\"", lsn - 200) };
        let snapshot = if op == 'r' { "true" } else { "false" };
        let _ = write!(
            payload,
            ",\"source\":{{\"version\":\"3.5.0.Final\",\"connector\":\"postgresql\",\"name\":\"{CONNECTOR}\",\"ts_ms\":{ms},\
             \"snapshot\":\"{snapshot}\",\"db\":\"shopdb\",\"sequence\":\"[{before},\\\"{lsn}\\\"]\",\"ts_us\":{ms}000,\
             \"ts_ns\":{ms}000000,\"schema\":\"{SCHEMA}\",\"table\":\"{TABLE}\",\"txId\":{tx},\"lsn\":{lsn},\"xmin\":null,\
             \"origin\":null,\"origin_lsn\":null}},\"transaction\":null,\"op\":\"{op}\",\"ts_ms\":{ms},\"ts_us\":{ms}000,\
             \"ts_ns\":{ms}000000}}",
            tx = 1000 + self.number,
        );
        let key = format!("{{\"id\":{id}}}");
        let (key, value) = match &self.schemas {
            None => (key, payload),
            Some((of_key, of_value)) => (wrap(of_key, &key), wrap(of_value, &payload)),
        };
        let partition = (Random(id).next() % PARTITIONS as u64) as i32;
        Produced { partition, key, value: Some(value) }
    }
}

fn wrap(schema: &str, payload: &str) -> String {
    format!("{{\"schema\":{schema},\"payload\":{payload}}}")
}

impl Iterator for Events {
    type Item = Produced;

    fn next(&mut self) -> Option<Produced> {
        if let Some(null) = self.after_delete.take() {
            return Some(null);
        }
        self.left = self.left.checked_sub(1)?;
        self.number += 1;
        let (op, id, version) = self.change();
        let record = self.record(op, id, version);
        if op == 'd' {
            self.after_delete = Some(Produced { value: None, ..record.clone() });
        }
        Some(record)
    }
}

/// What a destination holds, or has to hold: the number of its rows and a digest of all their columns, in no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Rows.
    pub rows: u64,
    /// Sum of the rows' digests.
    pub digest: u64,
    /// Sum of one column that changes with every version: cheap to ask for while one waits.
    pub quick: i64,
}

impl Contents {
    /// Takes in the canonical text of a row ([`Row::canonical`]).
    pub fn add(&mut self, canonical: &str) {
        let digest = canonical
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        self.rows += 1;
        // Sums of plain FNV digests of like texts would be too alike.
        self.digest = self.digest.wrapping_add(Random(digest).next());
    }

    /// What a topic leads to. Returns the number of records as well, which is greater than that of the events.
    pub fn of_topic(seed: u64, events: u64) -> (Self, u64) {
        let mut all = Events::new(seed, events, false);
        let records = all.by_ref().count() as u64;
        let mut contents = Self::default();
        let mut text = String::new();
        for row in all.rows() {
            text.clear();
            row.canonical(&mut text);
            contents.add(&text);
            contents.quick += row.quantity;
        }
        (contents, records)
    }
}

/// `--name value` of the command line, else the variable of the environment, else a default.
pub fn option(name: &str, default: &str) -> String {
    let flag = format!("--{name}");
    let mut arguments = std::env::args();
    if arguments.by_ref().any(|argument| argument == flag) {
        return arguments.next().unwrap_or_else(|| panic!("{flag} needs a value"));
    }
    let variable = format!("BENCH_{}", name.to_uppercase().replace('-', "_"));
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

/// A number among the options.
pub fn number(name: &str, default: &str) -> u64 {
    let text = option(name, default).replace('_', "");
    text.parse().unwrap_or_else(|_| panic!("--{name} is not a number: {text}"))
}

/// Whether a flag was given.
pub fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == format!("--{name}"))
}

/// Name of the topic.
pub fn topic() -> String {
    format!("{CONNECTOR}.{SCHEMA}.{TABLE}")
}

const _: () = assert!(COLUMNS == 15, "the README names the number of columns");
