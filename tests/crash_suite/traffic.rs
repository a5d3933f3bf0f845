//! A source database with a Debezium PostgreSQL connector before it, generated from a seed, and what its table holds at
//! the end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::random::Random;

/// A row without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub customer: String,
    pub quantity: i64,
    /// Hundredths.
    pub price: i64,
    pub paid: bool,
    pub note: Option<String>,
}

/// Rows by key.
pub type Rows = BTreeMap<i64, Row>;

/// A record to be written.
#[derive(Clone, Debug)]
pub struct Event {
    pub partition: i32,
    pub key: String,
    /// `None` is the null record behind a delete.
    pub value: Option<String>,
}

/// How records look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON with schemas: the table is made from them.
    Schemas,
    /// JSON without: the table has to be there.
    Plain,
}

/// Size and form of the traffic.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub partitions: i32,
    pub keys: u64,
    pub form: Form,
}

/// See the module.
pub struct Traffic {
    shape: Shape,
    random: Random,
    rows: Rows,
    /// LSN of the newest change of every key, also of those that are gone.
    newest: BTreeMap<i64, u64>,
    lsn: u64,
    /// LSN of the newest commit; `sequence[0]` of the events of the next transaction.
    committed: u64,
    transaction: u64,
    /// The newest events, which a connector that was killed sends again.
    recent: Vec<Event>,
    value_schema: String,
    key_schema: String,
}

impl Traffic {
    pub fn new(seed: u64, shape: Shape) -> Self {
        Self {
            shape,
            random: Random::new(seed),
            rows: Rows::new(),
            newest: BTreeMap::new(),
            lsn: 1_000_000,
            committed: 1_000_000,
            transaction: 700,
            recent: Vec::new(),
            value_schema: value_schema().to_string(),
            key_schema: json!({"type": "struct", "optional": false, "name": "shop.public.orders.Key", "fields": [
                {"type": "int64", "optional": false, "field": "id"}]})
            .to_string(),
        }
    }

    /// What the table holds now.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// LSN of the newest change of every key that there ever was.
    pub fn newest(&self) -> &BTreeMap<i64, u64> {
        &self.newest
    }

    /// The initial snapshot: some rows that were there before.
    pub fn snapshot(&mut self, count: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for id in 0..count.min(self.shape.keys) {
            let row = self.row();
            let after = row_json(id as i64, &row);
            self.rows.insert(id as i64, row);
            self.newest.insert(id as i64, self.lsn);
            let sequence = format!("[null,\"{}\"]", self.lsn);
            events.push(self.event(id as i64, "r", Value::Null, after, &sequence));
        }
        events
    }

    /// At least `count` events, each once.
    pub fn changes(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            self.transaction(&mut events);
        }
        events
    }

    /// At least `count` events: transactions, and stretches that come again because the connector was restarted.
    pub fn stretch(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        let restarts = 1 + count / 10_000;
        for part in 1..=restarts {
            while events.len() < count * part / restarts {
                self.transaction(&mut events);
            }
            let again = self.recent.len().min(100 + self.random.below(300) as usize);
            // It may stop and start again in the middle of a transaction, but not between a delete and its null record: both
            // are made of one event.
            let from = self.recent.len() - again;
            events.extend(self.recent[from..].iter().skip_while(|event| event.value.is_none()).cloned());
        }
        events
    }

    fn transaction(&mut self, events: &mut Vec<Event>) {
        self.transaction += 1;
        for _ in 0..1 + self.random.below(6) {
            self.lsn += 8 + self.random.below(200);
            let sequence = format!("[\"{}\",\"{}\"]", self.committed, self.lsn);
            let begin = events.len();
            self.change(&sequence, events);
            self.recent.extend_from_slice(&events[begin..]);
        }
        self.lsn += 48;
        self.committed = self.lsn;
        if self.recent.len() > 2000 {
            self.recent.drain(..1000);
        }
    }

    fn change(&mut self, sequence: &str, events: &mut Vec<Event>) {
        // Few keys take most of the changes.
        let spread = self.random.below(1 << 20) as f64 / f64::from(1 << 20);
        let id = (spread.powi(3) * self.shape.keys as f64) as i64;
        self.newest.insert(id, self.lsn);
        let before = self.rows.get(&id).map(|row| row_json(id, row));
        let Some(before) = before else {
            let row = self.row();
            let after = row_json(id, &row);
            self.rows.insert(id, row);
            events.push(self.event(id, "c", Value::Null, after, sequence));
            return;
        };
        if self.random.percent(12) {
            self.rows.remove(&id);
            let delete = self.event(id, "d", before, Value::Null, sequence);
            let null = Event { value: None, ..delete.clone() };
            events.extend([delete, null]);
        } else {
            let row = self.row();
            let after = row_json(id, &row);
            self.rows.insert(id, row);
            // Identity `default` sends no row before an update.
            events.push(self.event(id, "u", Value::Null, after, sequence));
        }
    }

    fn row(&mut self) -> Row {
        const NAMES: [&str; 5] = ["Ada", "Zoë \"Z\" O'Hara", "back\\slash", "naïve 東京 \u{1F600}", ""];
        Row {
            customer: format!("{} {}", NAMES[self.random.below(5) as usize], self.random.below(1000)),
            quantity: self.random.below(2_000_000) as i64 - 1_000_000,
            price: self.random.below(20_000_000) as i64 - 10_000_000,
            paid: self.random.percent(50),
            note: (!self.random.percent(30)).then(|| format!("n{:x}", self.random.next())),
        }
    }

    fn event(&self, id: i64, op: &str, before: Value, after: Value, sequence: &str) -> Event {
        let snapshot = if op == "r" { "true" } else { "false" };
        let payload = json!({
            "before": before, "after": after, "op": op, "ts_ms": 1_795_254_835_000u64, "transaction": null,
            "source": {
                "version": "3.5.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": 1_795_254_834_000u64,
                "snapshot": snapshot, "db": "shopdb", "sequence": sequence, "schema": "public", "table": "orders",
                "txId": self.transaction, "lsn": self.lsn, "xmin": null,
            },
        });
        let key = json!({ "id": id });
        // The converter writes the schema first.
        let wrapped = |schema: &str, payload: Value| match self.shape.form {
            Form::Plain => payload.to_string(),
            Form::Schemas => format!("{{\"schema\":{schema},\"payload\":{payload}}}"),
        };
        let partition = (id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
        Event {
            partition: (partition % self.shape.partitions as u64) as i32,
            key: wrapped(&self.key_schema, key),
            value: Some(wrapped(&self.value_schema, payload)),
        }
    }
}

fn row_json(id: i64, row: &Row) -> Value {
    json!({
        "id": id, "customer": row.customer, "quantity": row.quantity, "price": unscaled(row.price), "paid": row.paid,
        "note": row.note,
    })
}

/// A decimal as Connect sends it: the unscaled number's bytes, big-endian, as base64.
fn unscaled(number: i64) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(number.to_be_bytes())
}

fn value_schema() -> Value {
    let row = |field: &str| {
        json!({"type": "struct", "optional": true, "name": "shop.public.orders.Value", "field": field, "fields": [
            {"type": "int64", "optional": false, "field": "id"},
            {"type": "string", "optional": false, "field": "customer"},
            {"type": "int32", "optional": false, "field": "quantity"},
            {"type": "bytes", "optional": false, "name": "org.apache.kafka.connect.data.Decimal", "version": 1,
             "parameters": {"scale": "2", "connect.decimal.precision": "12"}, "field": "price"},
            {"type": "boolean", "optional": false, "field": "paid"},
            {"type": "string", "optional": true, "field": "note"},
        ]})
    };
    json!({"type": "struct", "optional": false, "name": "shop.public.orders.Envelope", "version": 2, "fields": [
        row("before"), row("after"),
        {"type": "struct", "optional": false, "name": "io.debezium.connector.postgresql.Source", "field": "source",
         "fields": [
            {"type": "string", "optional": false, "field": "version"},
            {"type": "string", "optional": false, "field": "connector"},
            {"type": "string", "optional": false, "field": "name"},
            {"type": "int64", "optional": false, "field": "ts_ms"},
            {"type": "string", "optional": true, "field": "snapshot"},
            {"type": "string", "optional": false, "field": "db"},
            {"type": "string", "optional": true, "field": "sequence"},
            {"type": "string", "optional": false, "field": "schema"},
            {"type": "string", "optional": false, "field": "table"},
            {"type": "int64", "optional": true, "field": "txId"},
            {"type": "int64", "optional": true, "field": "lsn"},
            {"type": "int64", "optional": true, "field": "xmin"}]},
        {"type": "string", "optional": false, "field": "op"},
        {"type": "int64", "optional": true, "field": "ts_ms"},
    ]})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator's table is what the greatest (commit, LSN) of every key says, in whatever order events come: the
    /// oracle of the crash tests does not rest on an order that the program under test makes.
    #[test]
    fn the_newest_token_of_every_key_is_the_table() {
        let mut traffic = Traffic::new(7, Shape { partitions: 4, keys: 300, form: Form::Plain });
        let mut events = traffic.snapshot(100);
        events.extend(traffic.stretch(20_000));
        let mut newest: BTreeMap<i64, ((u64, u64), Value)> = BTreeMap::new();
        for value in events.iter().rev().filter_map(|event| event.value.as_deref()) {
            let value: Value = serde_json::from_str(value).expect("JSON");
            let row = if value["after"].is_null() { &value["before"] } else { &value["after"] };
            let sequence = value["source"]["sequence"].as_str().expect("text");
            let [commit, lsn]: [Option<String>; 2] = serde_json::from_str(sequence).expect("a pair");
            let number = |text: Option<String>| text.map_or(0, |text| text.parse().expect("a number"));
            let token = (number(commit), number(lsn));
            let id = row["id"].as_i64().expect("an id");
            if newest.get(&id).is_none_or(|(known, _)| token > *known) {
                newest.insert(id, (token, value["after"].clone()));
            }
        }
        let lsns: BTreeMap<i64, u64> = newest.iter().map(|(id, ((_, lsn), _))| (*id, *lsn)).collect();
        assert_eq!(*traffic.newest(), lsns);
        let live: BTreeMap<i64, Value> =
            newest.into_iter().filter(|(_, (_, after))| !after.is_null()).map(|(id, (_, after))| (id, after)).collect();
        let rows: BTreeMap<i64, Value> = traffic.rows().iter().map(|(id, row)| (*id, row_json(*id, row))).collect();
        assert_eq!(live, rows);
        let nulls = events.iter().filter(|event| event.value.is_none()).count();
        assert!(nulls > 500 && rows.len() > 100, "{nulls} nulls, {} rows", rows.len());
    }

    #[test]
    fn a_seed_gives_the_same_events() {
        let shape = Shape { partitions: 4, keys: 300, form: Form::Schemas };
        let make = || Traffic::new(3, shape).stretch(50).iter().map(|event| event.value.clone()).collect::<Vec<_>>();
        assert_eq!(make(), make());
    }
}
