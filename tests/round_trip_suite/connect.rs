//! Connectors of a Kafka Connect worker, by its REST interface.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Map, Value, json};

use crate::support::{LIMIT, eventually, service};

/// A connector; removed when dropped, and its replication slot with it.
pub(super) struct Connector {
    name: String,
}

impl Connector {
    /// Creates it.
    pub(super) fn create(name: &str, options: &[(String, String)]) -> Self {
        let config: Map<String, Value> = options.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        let (status, answer) = request("POST", "/connectors", &json!({ "name": name, "config": config }).to_string());
        assert_eq!(status, 201, "connector {name}: {answer}");
        Self { name: name.to_owned() }
    }

    /// Fails when it or its task failed.
    #[track_caller]
    pub(super) fn assert_alive(&self) {
        let (_, answer) = request("GET", &format!("/connectors/{}/status", self.name), "");
        assert!(!answer.contains("\"FAILED\""), "connector {} failed: {answer}", self.name);
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        let _ = request("DELETE", &format!("/connectors/{}", self.name), "");
    }
}

/// Waits until all of the connectors' slots are gone, so that their database can be dropped.
pub(super) fn remove(connectors: &mut Vec<Connector>) {
    let names: Vec<String> = connectors.drain(..).map(|connector| connector.name.clone()).collect();
    eventually("the connectors are removed", || {
        let (_, list) = request("GET", "/connectors", "");
        (!names.iter().any(|name| list.contains(&format!("\"{name}\"")))).then_some(())
    });
}

/// Status and body of an answer. One request a connection, in the oldest form of HTTP: nothing needs a client for that.
fn request(method: &str, path: &str, body: &str) -> (u16, String) {
    let base = service("LASTWORD_TEST_CONNECT");
    let address = base.strip_prefix("http://").expect("an address").trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(&address).unwrap_or_else(|error| panic!("Connect at {base}: {error}"));
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer of Connect");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}
