//! Change events made for a test: Debezium envelopes with schemas, and the record form.

use serde_json::{Value, json};

use super::captures::Captured;

/// A column: name, type in the schema, semantic name.
pub type Column = (&'static str, &'static str, Option<&'static str>);

/// A source table whose changes are made up; every change lies at the next place of its one-partition topic.
pub struct Source {
    /// Its topic.
    pub topic: String,
    schema: String,
    table: String,
    columns: Vec<Column>,
    key: Option<&'static str>,
    /// Source time of the changes that follow, in milliseconds since 1970.
    pub time_ms: u64,
    /// The records so far.
    pub records: Vec<Captured>,
}

impl Source {
    /// A table with the first column as its key.
    pub fn new(topic: &str, schema: &str, table: &str, columns: &[Column]) -> Self {
        Self {
            topic: topic.to_owned(),
            schema: schema.to_owned(),
            table: table.to_owned(),
            columns: columns.to_vec(),
            key: Some(columns[0].0),
            time_ms: 1_700_000_000_000,
            records: Vec::new(),
        }
    }

    /// The usual one: `id`, `name`.
    pub fn people(topic: &str, schema: &str) -> Self {
        Self::new(topic, schema, "people", &[("id", "int32", None), ("name", "string", None)])
    }

    /// Without a key.
    pub fn keyless(mut self) -> Self {
        self.key = None;
        self
    }

    /// From here on the table has other columns; the first one stays its key.
    pub fn alter(&mut self, columns: &[Column]) {
        self.columns = columns.to_vec();
    }

    /// A row that is written, at a position of the source.
    pub fn upsert(&mut self, lsn: u64, row: Value) {
        let key = self.key.map(|key| row[key].clone());
        self.event("c", lsn, key, Value::Null, row);
    }

    /// A row that is deleted, with the null behind it.
    pub fn delete(&mut self, lsn: u64, key: Value) {
        let name = self.key.expect("a key");
        let mut before = serde_json::Map::new();
        for (column, ..) in &self.columns {
            before.insert((*column).to_owned(), if *column == name { key.clone() } else { Value::Null });
        }
        self.event("d", lsn, Some(key), Value::Object(before), Value::Null);
        let null = Captured { payload: None, ..self.records.last().expect("the delete").clone() };
        self.push(null.key, None);
    }

    /// A TRUNCATE.
    pub fn truncate(&mut self, lsn: u64) {
        self.event("t", lsn, None, Value::Null, Value::Null);
    }

    /// Bytes that are no event.
    pub fn raw(&mut self, key: Option<&str>, payload: &str) {
        self.push(key.map(str::to_owned), Some(payload.to_owned()));
    }

    fn event(&mut self, op: &str, lsn: u64, key: Option<Value>, before: Value, after: Value) {
        let fields: Vec<Value> = self.columns.iter().map(|column| field(column, self.key != Some(column.0))).collect();
        let row = |name: &str| json!({"type": "struct", "fields": fields, "optional": true, "field": name});
        let schema = json!({"type": "struct", "optional": false, "fields": [row("before"), row("after"), {"type": "string", "optional": false, "field": "op"}]});
        let payload = json!({
                "before": before, "after": after, "op": op, "ts_ms": 1_700_000_000_000_u64,
                "source": {"version": "3.5.0.Final", "connector": "postgresql", "name": "made", "db": "db",
                    "schema": self.schema, "table": self.table, "snapshot": "false", "ts_ms": self.time_ms,
                    "sequence": format!("[\"{lsn}\",\"{lsn}\"]"), "lsn": lsn},
        });
        let key = key.map(|value| {
            let name = self.key.expect("a key");
            let column = self.columns.iter().find(|column| column.0 == name).expect("the key's column");
            let schema = json!({"type": "struct", "optional": false, "fields": [field(column, false)]});
            wrapped(&schema, &json!({name: value}))
        });
        self.push(key, Some(wrapped(&schema, &payload)));
    }

    fn push(&mut self, key: Option<String>, payload: Option<String>) {
        let offset = self.records.len() as i64;
        let record = Captured {
            topic: self.topic.clone(),
            partition: 0,
            offset,
            ts: 1_700_000_000_000 + offset,
            headers: Vec::new(),
            key,
            payload,
        };
        self.records.push(record);
    }
}

/// The schema comes first, as Connect's converter writes it.
fn wrapped(schema: &Value, payload: &Value) -> String {
    format!("{{\"schema\":{schema},\"payload\":{payload}}}")
}

fn field((name, kind, semantic): &Column, optional: bool) -> Value {
    let mut field = json!({"type": kind, "optional": optional, "field": name});
    if let Some(semantic) = semantic {
        field["name"] = json!(semantic);
    }
    field
}
