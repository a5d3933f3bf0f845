//! Change events as Debezium's PostgreSQL connector writes them, each at a place and a position that a case chooses.

use serde_json::{Map, Value, json};

use crate::support::captures::Captured;

/// The text that stands for a large value that an update left alone.
pub const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// A source table: `id` and other columns, each with its Connect schema.
pub struct Table {
    columns: Vec<(&'static str, Value)>,
}

impl Table {
    /// With these columns of text beside `id`.
    pub fn new(columns: &[&'static str]) -> Self {
        Self::typed(columns.iter().map(|column| (*column, json!({"type": "string"}))).collect())
    }

    /// With these columns, all nullable.
    pub fn typed(columns: Vec<(&'static str, Value)>) -> Self {
        Self { columns }
    }

    /// A row that was inserted.
    pub fn insert<V: Into<Value> + Clone>(&self, partition: i32, lsn: u64, id: i32, values: &[V]) -> Vec<Captured> {
        vec![self.event("c", partition, lsn, Some(id), Value::Null, self.row(id, values))]
    }

    /// A row that was updated.
    pub fn update<V: Into<Value> + Clone>(&self, partition: i32, lsn: u64, id: i32, values: &[V]) -> Vec<Captured> {
        vec![self.event("u", partition, lsn, Some(id), Value::Null, self.row(id, values))]
    }

    /// A row that was deleted, with the null behind it.
    pub fn delete(&self, partition: i32, lsn: u64, id: i32) -> Vec<Captured> {
        let event = self.event("d", partition, lsn, Some(id), self.row::<Value>(id, &[]), Value::Null);
        let null = Captured { payload: None, ..event.clone() };
        vec![event, null]
    }

    /// The null behind a delete that compaction has taken away.
    pub fn null(&self, partition: i32, lsn: u64, id: i32) -> Vec<Captured> {
        self.delete(partition, lsn, id).split_off(1)
    }

    /// A TRUNCATE.
    pub fn truncate(&self, partition: i32, lsn: u64) -> Vec<Captured> {
        vec![self.event("t", partition, lsn, None, Value::Null, Value::Null)]
    }

    fn row<V: Into<Value> + Clone>(&self, id: i32, values: &[V]) -> Value {
        let mut row = Map::new();
        row.insert("id".to_owned(), json!(id));
        for (at, (column, _)) in self.columns.iter().enumerate() {
            row.insert((*column).to_owned(), values.get(at).cloned().map_or(Value::Null, Into::into));
        }
        Value::Object(row)
    }

    fn event(&self, op: &str, partition: i32, lsn: u64, id: Option<i32>, before: Value, after: Value) -> Captured {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis();
        let source = json!({"version": "3.5.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": now as u64,
            "snapshot": "false", "db": "shopdb", "sequence": format!("[\"{}\",\"{lsn}\"]", lsn - 50), "schema": "public",
            "table": "people", "txId": lsn, "lsn": lsn});
        let payload = json!({"before": before, "after": after, "source": source, "op": op, "ts_ms": now as u64});
        let key = id.map(|id| {
            let field = json!({"type": "int32", "optional": false, "field": "id"});
            let name = "shop.public.people.Key";
            wrapped(&json!({"type": "struct", "fields": [field], "optional": false, "name": name}), &json!({"id": id}))
        });
        Captured {
            topic: String::new(),
            partition,
            offset: 0,
            ts: now as i64,
            headers: Vec::new(),
            key,
            payload: Some(wrapped(&self.schema(), &payload)),
        }
    }

    fn schema(&self) -> Value {
        let field = |kind: &str, name: &str, optional: bool| json!({"type": kind, "optional": optional, "field": name});
        let mut columns = vec![field("int32", "id", false)];
        columns.extend(self.columns.iter().map(|(column, schema)| {
            let mut schema = schema.clone();
            schema["optional"] = json!(true);
            schema["field"] = json!(column);
            schema
        }));
        let row = |name: &str| json!({"type": "struct", "fields": columns, "optional": true, "name": "shop.public.people.Value", "field": name});
        let text = ["version", "connector", "name", "snapshot", "db", "sequence", "schema", "table"];
        let mut source: Vec<Value> = text.iter().map(|name| field("string", name, true)).collect();
        source.extend(["ts_ms", "txId", "lsn"].iter().map(|name| field("int64", name, true)));
        let source = json!({"type": "struct", "fields": source, "optional": false,
            "name": "io.debezium.connector.postgresql.Source", "field": "source"});
        json!({"type": "struct", "optional": false, "name": "shop.public.people.Envelope", "version": 2,
            "fields": [row("before"), row("after"), source, field("string", "op", false), field("int64", "ts_ms", true)]})
    }
}

/// The schema comes first, as Connect's converter writes it.
fn wrapped(schema: &Value, payload: &Value) -> String {
    format!("{{\"schema\":{schema},\"payload\":{payload}}}")
}
