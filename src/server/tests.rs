use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::report::tests::sample;
use super::*;

async fn start() -> (Server, HealthHandle) {
    let health = HealthHandle::new(sample());
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(address, health.clone(), Metrics::detached(), CancellationToken::new()).await;
    (server.expect("a free port"), health)
}

/// Status line with headers, and body.
async fn get_path(server: &Server, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.address()).await.expect("connect");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("read");
    let (head, body) = response.split_once("\r\n\r\n").expect("head and body");
    (head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn every_path_answers() {
    let (server, health) = start().await;
    let (head, body) = get_path(&server, "/livez").await;
    assert!(head.starts_with("http/1.1 200") && body == "ok\n", "{head} {body}");
    let (head, body) = get_path(&server, "/readyz").await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert_eq!(body, "starting\nthe destination has not answered yet\n");
    health.sink_answered();
    health.set_ready(Vec::new());
    let (head, body) = get_path(&server, "/readyz").await;
    assert!(head.starts_with("http/1.1 200") && body == "ready\n", "{head} {body}");
    let (head, body) = get_path(&server, "/status").await;
    assert!(head.contains("content-type: application/json"), "{head}");
    let json: serde_json::Value = serde_json::from_str(&body).expect("json");
    assert_eq!((&json["ready"], &json["partitions"][0]["end_offset"]), (&true.into(), &100.into()));
    let (head, body) = get_path(&server, "/").await;
    assert!(head.contains("content-security-policy: default-src 'none'") && body.contains("<h1>harbor</h1>"), "{head}");
    let (head, _) = get_path(&server, "/metrics").await;
    assert!(head.starts_with("http/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    let (head, _) = get_path(&server, "/nothing").await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    server.stop().await;
}

#[tokio::test]
async fn a_taken_port_names_the_setting() {
    let (server, health) = start().await;
    let again = Server::start(server.address(), health, Metrics::detached(), CancellationToken::new()).await;
    let failure = again.expect_err("the port is taken");
    assert_eq!(failure.code, "server.listen");
    assert!(failure.message.contains("another process listens on 127.0.0.1:"), "{failure}");
    assert!(failure.message.contains("server.listen"), "{failure}");
    server.stop().await;
}

#[tokio::test]
async fn it_stops_in_time_though_a_client_says_nothing() {
    let (server, _) = start().await;
    let address = server.address();
    let mut silent = TcpStream::connect(address).await.expect("connect");
    silent.write_all(b"GET / HTTP/1.1\r\n").await.expect("half a request");
    tokio::time::timeout(GRACE + Duration::from_secs(2), server.stop()).await.expect("stopped in time");
    assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
}
