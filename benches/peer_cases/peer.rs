//! The Debezium JDBC sink on a running Connect worker, through its REST interface.

use std::process::Command;
use std::time::{Duration, Instant};

use lastword::core::dialect::Dialect;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::{kafka, unique};

/// After which a sink that neither fails nor goes on is left alone.
const LIMIT: Duration = Duration::from_secs(60);
const ASK: Duration = Duration::from_secs(10);

/// One connector.
pub struct Peer {
    connect: String,
    name: String,
    topic: String,
    consumer: BaseConsumer,
}

impl Peer {
    /// Creates the connector: upsert, deletes and TRUNCATE on, the record's key as the key, tables made from events.
    pub fn start(database: &Database, topic: &str, table: &str) -> Self {
        let connect = crate::support::service("PEER_CONNECT");
        let name = unique("peer");
        let (_, rest) = database.url.split_once("://").expect("a URL");
        let (user, place) = rest.rsplit_once('@').expect("a user");
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        // Without the setting no text goes into a PostgreSQL column of another type.
        let (protocol, setting) = match database.dialect {
            Dialect::Mysql => ("mariadb", ""),
            _ => ("postgresql", "?stringtype=unspecified"),
        };
        let config = json!({
            "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "tasks.max": "1", "topics": topic,
            "connection.url": format!("jdbc:{protocol}://{place}{setting}"),
            "connection.username": user, "connection.password": password,
            "connection.pool.min_size": "1", "connection.pool.max_size": "2", "connection.pool.acquire_increment": "1",
            "insert.mode": "upsert", "delete.enabled": "true", "truncate.enabled": "true",
            "primary.key.mode": "record_key", "schema.evolution": "basic", "collection.name.format": table,
            "consumer.override.auto.offset.reset": "earliest", "consumer.override.metadata.max.age.ms": "500",
        });
        let consumer = kafka::client().set("group.id", format!("connect-{name}")).create().expect("a consumer");
        let peer = Self { connect, name, topic: topic.to_owned(), consumer };
        peer.must("POST", "/connectors", Some(&json!({"name": peer.name, "config": config})));
        peer
    }

    /// Waits until it has read everything, or has failed.
    pub fn settle(&self) {
        let began = Instant::now();
        while !self.has_everything() && self.failure().is_none() && began.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn has_everything(&self) -> bool {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), ASK).expect("metadata");
        let partitions = metadata.topics()[0].partitions().len() as i32;
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range(&self.topic, 0, partitions - 1);
        let Ok(committed) = self.consumer.committed_offsets(wanted, ASK) else { return false };
        committed.elements().iter().all(|element| {
            let ends = self.consumer.fetch_watermarks(&self.topic, element.partition(), ASK);
            ends.is_ok_and(|(_, end)| end == 0 || element.offset().to_raw() == Some(end))
        })
    }

    /// Reads a partition again from an offset.
    pub fn again(&self, partition: i32, offset: i64) {
        let at = json!({"kafka_topic": self.topic, "kafka_partition": partition});
        let offsets = json!({"offsets": [{"partition": at, "offset": {"kafka_offset": offset}}]});
        let path = |rest: &str| format!("/connectors/{}{rest}", self.name);
        self.must("PUT", &path("/stop"), None);
        let began = Instant::now();
        // Refused until the consumers have left their group.
        while self.ask("PATCH", &path("/offsets"), Some(&offsets)).0 >= 300 {
            assert!(began.elapsed() < LIMIT, "the offsets of {} are not taken", self.name);
            std::thread::sleep(Duration::from_millis(300));
        }
        self.must("PUT", &path("/resume"), None);
    }

    /// Why a task failed, if one did: the innermost cause, without values.
    pub fn failure(&self) -> Option<String> {
        let (_, status) = self.ask("GET", &format!("/connectors/{}/status", self.name), None);
        let tasks = status["tasks"].as_array()?;
        let trace = tasks.iter().find(|task| task["state"] == "FAILED")?["trace"].as_str().unwrap_or("").to_owned();
        let cause = trace.lines().rev().find_map(|line| line.strip_prefix("Caused by: ")).or(trace.lines().next());
        let cause = cause.unwrap_or_default().split(". ").next().unwrap_or_default();
        let class = cause.split(':').next().unwrap_or_default().rsplit('.').next().unwrap_or_default();
        let text = cause.split_once(": ").map_or("", |(_, text)| text);
        let text: String = text.chars().take(90).collect();
        Some(format!("{class}: {}", text.trim()))
    }

    fn must(&self, method: &str, path: &str, body: Option<&Value>) {
        let (code, answer) = self.ask(method, path, body);
        assert!(code < 300, "{method} {path}: {code} {answer}");
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-X", method, "-H", "Content-Type: application/json", "-w", "\n%{http_code}"]);
        if let Some(body) = body {
            curl.args(["--data-binary", &body.to_string()]);
        }
        let output = curl.arg(format!("{}{path}", self.connect)).output().expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, code) = text.rsplit_once('\n').unwrap_or(("", &text));
        (code.parse().unwrap_or(599), serde_json::from_str(body).unwrap_or_default())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.ask("DELETE", &format!("/connectors/{}", self.name), None);
    }
}
