//! The table: its columns, its rows, and both as Kafka Connect's JSON.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{CONNECTOR, Random, SCHEMA, TABLE};

/// Number of columns.
pub const COLUMNS: usize = FIELDS.len();

/// Name, Connect type, semantic type.
const FIELDS: [(&str, &str, &str); 15] = [
    ("id", "int64", ""),
    ("customer_id", "int64", ""),
    ("region", "string", ""),
    ("email", "string", ""),
    ("status", "string", ""),
    ("note", "string", ""),
    ("quantity", "int32", ""),
    ("priority", "int16", ""),
    ("paid", "boolean", ""),
    ("price", "bytes", "org.apache.kafka.connect.data.Decimal"),
    ("weight", "double", ""),
    ("external_id", "string", ""),
    ("created_at", "int64", "io.debezium.time.MicroTimestamp"),
    ("updated_at", "string", "io.debezium.time.ZonedTimestamp"),
    ("due", "int32", "io.debezium.time.Date"),
];

const REGIONS: [&str; 6] = ["eu-central", "eu-west", "us-east", "us-west", "ap-south", "île-de-france"];
const STATUSES: [&str; 5] = ["new", "paid", "packed", "shipped", "returned"];
const WORDS: [&str; 12] =
    ["leave", "at", "the", "door", "\"ring\"", "twice", "größe", "XL", "gift", "back\\slash", "please", "fragile"];

/// A version of a row; all of it follows from the seed, the key and the version.
#[derive(Clone, Debug)]
pub struct Row {
    id: u64,
    customer_id: u64,
    region: &'static str,
    status: &'static str,
    note: Option<String>,
    /// Grows with every version, so that a row that lost an update is seen in a sum.
    pub quantity: i64,
    priority: u64,
    paid: bool,
    cents: i64,
    eighths: u64,
    external_id: String,
    created_us: u64,
    updated_us: u64,
    due: u64,
}

impl Row {
    /// A version of the row of a key.
    pub fn new(seed: u64, id: u64, version: u32) -> Self {
        let mut fixed = Random(seed ^ id.wrapping_mul(0x9e37_79b9));
        let (high, low) = (fixed.next(), fixed.next());
        let created_us = 1_700_000_000_000_000 + fixed.below(40_000_000_000_000);
        let customer_id = 1 + fixed.below(5_000_000_000);
        let mut random = Random(seed ^ (id << 20) ^ u64::from(version));
        let note = (random.below(4) != 0).then(|| {
            let words: Vec<&str> = (0..6 + random.below(10)).map(|_| WORDS[random.below(12) as usize]).collect();
            words.join(" ")
        });
        Self {
            id,
            customer_id,
            region: REGIONS[fixed.below(6) as usize],
            status: STATUSES[random.below(5) as usize],
            note,
            quantity: (1 + id % 1000 + 1000 * u64::from(version)) as i64,
            priority: random.below(10),
            paid: random.below(2) == 1,
            cents: random.below(20_000_000) as i64 - 1_000_000,
            eighths: random.below(80_000),
            external_id: format!(
                "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                high >> 32,
                (high >> 16) & 0xffff,
                high & 0xfff,
                low >> 52,
                low & 0xffff_ffff_ffff
            ),
            created_us,
            updated_us: created_us + 1 + u64::from(version) * 1_000_003,
            due: 19_700 + random.below(1000),
        }
    }

    fn email(&self) -> String {
        format!("customer.{}@example.org", self.customer_id)
    }

    /// The row as a JSON object.
    pub fn json(&self, out: &mut String) {
        let note = self.note.as_ref().map_or_else(|| "null".to_owned(), |note| text(note));
        let _ = write!(
            out,
            "{{\"id\":{},\"customer_id\":{},\"region\":{},\"email\":\"{}\",\"status\":\"{}\",\"note\":{note},\"quantity\":{},\
             \"priority\":{},\"paid\":{},\"price\":\"{}\",\"weight\":{:.3},\"external_id\":\"{}\",\"created_at\":{},\
             \"updated_at\":\"{}\",\"due\":{}}}",
            self.id,
            self.customer_id,
            text(self.region),
            self.email(),
            self.status,
            self.quantity,
            self.priority,
            self.paid,
            decimal(self.cents),
            self.eighths as f64 / 8.0,
            self.external_id,
            self.created_us,
            zoned(self.updated_us),
            self.due,
        );
    }

    /// The row as one text, which each database writes in the same way (see `contents`).
    pub fn canonical(&self, out: &mut String) {
        let _ = write!(
            out,
            "{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}",
            self.id,
            self.customer_id,
            self.region,
            self.email(),
            self.status,
            self.note.as_deref().unwrap_or("~"),
            self.quantity,
            self.priority,
            u8::from(self.paid),
            self.cents,
            self.eighths,
            self.external_id,
            self.created_us,
            self.updated_us,
            self.due,
        );
    }
}

/// `before` of a delete under the default replica identity: the key, and nulls.
pub fn deleted_json(id: u64, out: &mut String) {
    let _ = write!(out, "{{\"id\":{id}");
    for (name, _, _) in &FIELDS[1..] {
        let _ = write!(out, ",\"{name}\":null");
    }
    out.push('}');
}

fn text(plain: &str) -> String {
    serde_json::Value::from(plain).to_string()
}

/// A number of cents as Connect's Decimal: two's complement, big-endian, as short as can be, in base64.
fn decimal(cents: i64) -> String {
    let bytes = cents.to_be_bytes();
    let filler = if cents < 0 { 0xff } else { 0 };
    let spare = |at: usize| bytes[at] == filler && (bytes[at + 1] ^ filler) & 0x80 == 0;
    let first = (0..7).find(|at| !spare(*at)).unwrap_or(7);
    STANDARD.encode(&bytes[first..])
}

fn zoned(us: u64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(us as i64).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn field(name: &str, kind: &str, semantic: &str, optional: bool) -> String {
    let semantic = match semantic {
        "" => String::new(),
        "org.apache.kafka.connect.data.Decimal" => format!(
            ",\"name\":\"{semantic}\",\"version\":1,\"parameters\":{{\"scale\":\"2\",\"connect.decimal.precision\":\"12\"}}"
        ),
        _ => format!(",\"name\":\"{semantic}\",\"version\":1"),
    };
    format!("{{\"type\":\"{kind}\",\"optional\":{optional}{semantic},\"field\":\"{name}\"}}")
}

fn list(fields: &[(&str, &str, bool)]) -> String {
    fields.iter().map(|(name, kind, optional)| field(name, kind, "", *optional)).collect::<Vec<_>>().join(",")
}

/// The `schema` part of a key.
pub fn key_schema() -> String {
    let id = field("id", "int64", "", false);
    format!(
        "{{\"type\":\"struct\",\"fields\":[{id}],\"optional\":false,\"name\":\"{CONNECTOR}.{SCHEMA}.{TABLE}.Key\"}}"
    )
}

/// The `schema` part of a value: 5 KB, as long as the connector's own.
pub fn value_schema() -> String {
    let columns: Vec<String> =
        FIELDS.iter().map(|(name, kind, semantic)| field(name, kind, semantic, *name != "id")).collect();
    let columns = columns.join(",");
    let row = |name: &str| {
        format!(
            "{{\"type\":\"struct\",\"fields\":[{columns}],\"optional\":true,\"name\":\"{CONNECTOR}.{SCHEMA}.{TABLE}.Value\",\"field\":\"{name}\"}}"
        )
    };
    let source = list(&[
        ("version", "string", false),
        ("connector", "string", false),
        ("name", "string", false),
        ("ts_ms", "int64", false),
    ]);
    let snapshot = "{\"type\":\"string\",\"optional\":true,\"name\":\"io.debezium.data.Enum\",\"version\":1,\"parameters\":{\"allowed\":\"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental\"},\"default\":\"false\",\"field\":\"snapshot\"}";
    let rest = list(&[
        ("db", "string", false),
        ("sequence", "string", true),
        ("ts_us", "int64", true),
        ("ts_ns", "int64", true),
        ("schema", "string", false),
        ("table", "string", false),
        ("txId", "int64", true),
        ("lsn", "int64", true),
        ("xmin", "int64", true),
        ("origin", "string", true),
        ("origin_lsn", "int64", true),
    ]);
    let transaction =
        list(&[("id", "string", false), ("total_order", "int64", false), ("data_collection_order", "int64", false)]);
    let times =
        list(&[("op", "string", false), ("ts_ms", "int64", true), ("ts_us", "int64", true), ("ts_ns", "int64", true)]);
    format!(
        "{{\"type\":\"struct\",\"fields\":[{},{},\
         {{\"type\":\"struct\",\"fields\":[{source},{snapshot},{rest}],\"optional\":false,\"name\":\"io.debezium.connector.postgresql.Source\",\"version\":1,\"field\":\"source\"}},\
         {{\"type\":\"struct\",\"fields\":[{transaction}],\"optional\":true,\"name\":\"event.block\",\"version\":1,\"field\":\"transaction\"}},\
         {times}],\"optional\":false,\"name\":\"{CONNECTOR}.{SCHEMA}.{TABLE}.Envelope\",\"version\":2}}",
        row("before"),
        row("after"),
    )
}
