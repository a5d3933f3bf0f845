//! Records that were written with a schema registry: a real registry, a real broker, the program between them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use apache_avro::types::Value as Avro;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lastword::core::dialect::Dialect;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::events::Source;
use crate::support::program::{number, over_kafka};
use crate::support::{LIMIT, eventually, kafka, service, unique};

/// Host with port, and path, of the registry.
fn registry() -> (String, String) {
    let url = service("LASTWORD_TEST_REGISTRY");
    let rest = url.strip_prefix("http://").expect("a URL without TLS");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    (host.to_owned(), format!("/{path}"))
}

/// Registers a schema under a subject; its id.
fn register(subject: &str, schema: &Value) -> u32 {
    let (host, path) = registry();
    let mut stream = TcpStream::connect(&host).expect("the registry answers");
    let body = json!({ "schema": schema.to_string() }).to_string();
    let head = format!(
        "POST {path}/subjects/{subject}/versions HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("the schema is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let answer: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no answer of a registry: {answer}"));
    answer["id"].as_u64().unwrap_or_else(|| panic!("no id: {answer}")) as u32
}

/// What lies between the program and the registry.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Connections are cut.
    Cut,
    /// Nothing is in the way.
    Open,
    /// A registry that knows no schema answers.
    Empty,
}

/// A way to the registry, with its URL.
struct Between {
    url: String,
    way: Arc<Mutex<Way>>,
}

impl Between {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (host, path) = registry();
        let url = format!("http://{}{path}", listener.local_addr().expect("an address"));
        let way = Arc::new(Mutex::new(Way::Cut));
        let now = Arc::clone(&way);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let way = *now.lock().expect("lock");
                match way {
                    Way::Cut => {}
                    Way::Open => pass_on(client, &host),
                    Way::Empty => knows_nothing(client),
                }
            }
        });
        Self { url, way }
    }

    fn set(&self, way: Way) {
        *self.way.lock().expect("lock") = way;
    }
}

fn pass_on(client: TcpStream, host: &str) {
    let Ok(server) = TcpStream::connect(host) else { return };
    let pair = |from: &TcpStream, to: &TcpStream| (from.try_clone().expect("clone"), to.try_clone().expect("clone"));
    for (mut from, mut to) in [pair(&client, &server), pair(&server, &client)] {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

fn knows_nothing(mut client: TcpStream) {
    let _ = client.read(&mut [0; 4096]);
    let body = r#"{"error_code":40403,"message":"Schema not found"}"#;
    let _ = write!(
        client,
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// Schemas of key and envelope of a table, as Connect's converters register them; `columns` are more fields of its rows.
fn schemas(topic: &str, columns: &[Value]) -> (Value, Value) {
    let id = json!({"name": "id", "type": "long"});
    let key = json!({"type": "record", "name": "Key", "namespace": topic, "fields": [id], "connect.name": format!("{topic}.Key")});
    let fields: Vec<&Value> = std::iter::once(&id).chain(columns).collect();
    let source = json!({"type": "record", "name": "Source", "namespace": "io.debezium.connector.postgresql", "fields": [
        {"name": "connector", "type": "string"}, {"name": "name", "type": "string"}, {"name": "db", "type": "string"},
        {"name": "schema", "type": "string"}, {"name": "table", "type": "string"}, {"name": "ts_ms", "type": "long"},
        {"name": "snapshot", "type": [{"type": "string", "connect.version": 1, "connect.parameters": {"allowed": "true,false"},
            "connect.default": "false", "connect.name": "io.debezium.data.Enum"}, "null"], "default": "false"},
        {"name": "sequence", "type": ["null", "string"], "default": null}, {"name": "lsn", "type": ["null", "long"], "default": null}]});
    let row = json!({"type": "record", "name": "Value", "fields": fields, "connect.name": format!("{topic}.Value")});
    let envelope = json!({"type": "record", "name": "Envelope", "namespace": topic, "connect.name": format!("{topic}.Envelope"), "fields": [
        {"name": "before", "type": ["null", row], "default": null}, {"name": "after", "type": ["null", "Value"], "default": null},
        {"name": "source", "type": source}, {"name": "op", "type": "string"}, {"name": "ts_ms", "type": ["null", "long"], "default": null}]});
    (key, envelope)
}

fn text(value: &str) -> Avro {
    Avro::String(value.to_owned())
}

fn optional(value: Option<Avro>) -> Avro {
    value.map_or(Avro::Union(0, Box::new(Avro::Null)), |value| Avro::Union(1, Box::new(value)))
}

fn record(fields: Vec<(&str, Avro)>) -> Avro {
    Avro::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn envelope(op: &str, schema: &str, lsn: i64, row: Avro) -> Avro {
    let (before, after) = if op == "d" { (Some(row), None) } else { (None, Some(row)) };
    let source = record(vec![
        ("connector", text("postgresql")),
        ("name", text("made")),
        ("db", text("db")),
        ("schema", text(schema)),
        ("table", text("orders")),
        ("ts_ms", Avro::Long(1_700_000_000_000)),
        ("snapshot", Avro::Union(0, Box::new(text("false")))),
        ("sequence", optional(Some(text(&format!("[\"{lsn}\",\"{lsn}\"]"))))),
        ("lsn", optional(Some(Avro::Long(lsn)))),
    ]);
    record(vec![
        ("before", optional(before)),
        ("after", optional(after)),
        ("source", source),
        ("op", text(op)),
        ("ts_ms", optional(Some(Avro::Long(1_700_000_000_000)))),
    ])
}

fn framed(id: u32, schema: &Value, value: Avro) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(&schema.to_string()).expect("schema");
    let body = apache_avro::to_avro_datum(&schema, value).expect("bytes");
    [&[0], id.to_be_bytes().as_slice(), &body].concat()
}

fn produce(topic: &str, records: &[(Vec<u8>, Option<Vec<u8>>)]) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        kafka::client().set("enable.idempotence", "true").create().expect("a producer");
    for (key, value) in records {
        let base: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(0).key(key.as_slice());
        let base = match value {
            Some(value) => base.payload(value.as_slice()),
            None => base,
        };
        producer.send(base).unwrap_or_else(|(error, _)| panic!("{error}"));
    }
    producer.flush(LIMIT).expect("all records are delivered");
}

fn rows(database: &Database) -> Vec<Vec<Option<String>>> {
    let text = |column, native| database.as_text(column, native);
    let (id, price) = (text("id", "bigint"), text("price", "text"));
    database.texts(&format!("select {id}, {price} from {} order by id", database.table("orders")))
}

fn pairs(rows: &[(&str, Option<&str>)]) -> Vec<Vec<Option<String>>> {
    rows.iter().map(|(id, price)| vec![Some((*id).to_owned()), price.map(str::to_owned)]).collect()
}

/// The schema as the oracle writes by it: its decimals choose their own bytes, and without the logical type they are those given.
fn written(schema: &Value) -> Value {
    serde_json::from_str(&schema.to_string().replace("\"logicalType\":\"decimal\"", "\"x\":1")).expect("JSON")
}

fn row(id: i64, cents: Option<i64>) -> Avro {
    let price = optional(cents.map(|cents| Avro::Bytes(cents.to_be_bytes().to_vec())));
    record(vec![("id", Avro::Long(id)), ("price", price)])
}

/// Avro with a registry: rows arrive exact; a registry that does not answer holds the partition up and loses nothing, while other
/// topics go on; a record whose schema is not known is kept aside as it lies on the topic, and applied by a retry when the schema
/// is there; one that is not of its schema is kept aside as well.
pub(super) fn avro_with_a_registry(dialect: Dialect) {
    let database = Database::new(dialect);
    let (topic, other) = (unique("framed"), unique("plain"));
    let price = json!({"name": "price", "type": ["null", {"type": "bytes", "scale": 2, "precision": 20, "logicalType": "decimal",
        "connect.version": 1, "connect.parameters": {"scale": "2", "connect.decimal.precision": "20"},
        "connect.name": "org.apache.kafka.connect.data.Decimal"}], "default": null});
    let (key_schema, schema) = schemas(&topic, &[price]);
    let key_id = register(&format!("{topic}-key"), &key_schema);
    let key = |id| framed(key_id, &key_schema, record(vec![("id", Avro::Long(id))]));
    let id = register(&format!("{topic}-value"), &schema);
    let event = |op, lsn, row_id, cents| {
        Some(framed(id, &written(&schema), envelope(op, database.home(), lsn, row(row_id, cents))))
    };
    let first = [
        (key(i64::MAX), event("c", 10, i64::MAX, Some(922_337_203_685_477_580))),
        (key(1), event("c", 20, 1, None)),
        (key(2), event("c", 30, 2, Some(-1))),
        (key(1), event("d", 40, 1, None)),
        (key(1), None),
    ];
    kafka::create(&topic, 1);
    produce(&topic, &first);
    let mut people = Source::people(&other, database.home());
    people.upsert(10, json!({"id": 1, "name": "a"}));
    kafka::create(&other, 1);
    kafka::produce(&people.records);

    let between = Between::new();
    let section = format!("[registry]\nurl = \"{}\"\n", between.url);
    let program = over_kafka(&database, &[topic.clone(), other], &section);
    let running = program.start(&["run", "--until-caught-up", "--json"]);
    eventually("the registry is missed", || running.stderr().contains("waits for the schema registry").then_some(()));
    let is_there = |table: &str| database.tables().keys().any(|known| known.ends_with(table));
    eventually("the other topic goes on", || is_there("people").then_some(()));
    assert!(!is_there("orders"), "nothing can be known of the framed records yet");
    between.set(Way::Open);
    let run = running.wait(LIMIT).ok().json();
    assert_eq!((number(&run, "records"), number(&run, "quarantined")), (6, 0), "{run}");
    let max = i64::MAX.to_string();
    let expected = [("2", Some("-0.01")), (max.as_str(), Some("9223372036854775.80"))];
    assert_eq!(rows(&database), pairs(&expected));

    // A new version of the schema, which a registry without schemas does not know.
    let mut second = schema.clone();
    second["doc"] = json!("second");
    let id = register(&format!("{topic}-value"), &second);
    let good = framed(id, &written(&second), envelope("c", database.home(), 50, row(3, Some(5))));
    let torn = framed(id, &written(&second), envelope("u", database.home(), 60, row(2, None)));
    produce(&topic, &[(key(3), Some(good.clone()))]);
    between.set(Way::Empty);
    assert_eq!(number(&program.catch_up(&[]), "quarantined"), 1);
    between.set(Way::Open);
    produce(&topic, &[(key(2), Some(torn[..torn.len() - 1].to_vec()))]);
    assert_eq!(number(&program.catch_up(&[]), "quarantined"), 1);
    assert_eq!(rows(&database), pairs(&expected));
    let list = program.run(&["quarantine", "list", "--json"]).ok().json();
    let reasons: Vec<&Value> = list.as_array().expect("a list").iter().map(|entry| &entry["reason"]).collect();
    assert_eq!(reasons, [&json!("unknown_schema"), &json!("undecodable")], "{list}");
    let kept = list[0]["id"].to_string();
    let shown = program.run(&["quarantine", "show", &kept, "--json"]).ok().json();
    assert_eq!(shown["value"]["base64"], json!(STANDARD.encode(&good)), "{shown}");
    let retried = program.run(&["quarantine", "retry", &kept, "--json"]).ok().json();
    assert_eq!(retried[0]["outcome"], "applied", "{retried}");
    assert_eq!(rows(&database), pairs(&[expected[0], ("3", Some("0.05")), expected[1]]));
}
