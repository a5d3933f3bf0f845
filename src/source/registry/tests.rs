//! The client, against a registry of a few lines that answers as it is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::config::checked::{RegistryAuth, SchemaIds};
use crate::config::secret::Secret;
use crate::core::record::{Headers, TopicPartition};

const USER: &str = r#"{"type":"record","name":"User","fields":[{"name":"home","type":"a.Address"}]}"#;
const ADDRESS: &str =
    r#"{"type":"record","name":"Address","namespace":"a","fields":[{"name":"city","type":"a.City"}]}"#;
const CITY: &str = r#"{"type":"record","name":"City","namespace":"a","fields":[{"name":"name","type":"string"}]}"#;

/// Answers by path.
#[derive(Default)]
struct Fake {
    answers: Mutex<HashMap<String, (u16, String)>>,
    asked: AtomicUsize,
    authorization: Mutex<Option<String>>,
}

impl Fake {
    fn set(&self, path: &str, status: u16, body: impl ToString) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(path.to_owned(), (status, body.to_string()));
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }

    async fn start(self: &Arc<Self>) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answer = |State(fake): State<Arc<Fake>>, request: Request| async move {
            fake.asked.fetch_add(1, Ordering::SeqCst);
            let header =
                request.headers().get("authorization").and_then(|value| value.to_str().ok().map(str::to_owned));
            *fake.authorization.lock().unwrap_or_else(PoisonError::into_inner) = header;
            let answers = fake.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let missing = (404, json!({"error_code": 40403, "message": "Schema not found"}).to_string());
            let whole = request.uri().path_and_query().map_or("", |it| it.as_str()).to_owned();
            let (status, body) = answers.get(&whole).cloned().unwrap_or(missing);
            (StatusCode::from_u16(status).expect("status"), body)
        };
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://127.0.0.1:{port}").parse().expect("URL")
    }
}

/// Registries without a lock or a certificate.
pub(crate) fn config(urls: Vec<Url>) -> RegistryConfig {
    RegistryConfig {
        urls,
        ids: None,
        id_bytes: IdBytes::Either,
        auth: RegistryAuth::None,
        ca_file: None,
        certificate: None,
        timeout: Duration::from_secs(5),
    }
}

fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> Record {
    Record {
        at: TopicPartition::new("t", 0),
        offset: 7,
        timestamp_ms: None,
        key: key.map(Bytes::from_static),
        value: value.map(Payload::from),
        headers: Headers::default(),
        framed: None,
    }
}

fn schema(text: &str) -> Value {
    json!({ "schema": text })
}

/// What a record's value says after it was opened.
fn payload(record: &Record) -> Value {
    let whole: Value = serde_json::from_slice(&record.value.as_ref().expect("a value").whole()).expect("JSON");
    whole["payload"].clone()
}

/// Schemas with references come together, are asked for once, and records of one schema share one head; key and value are
/// framed or not, each for itself.
#[tokio::test]
async fn schemas_are_fetched_once_and_their_head_is_shared() {
    let fake = Arc::new(Fake::default());
    let url = fake.start().await;
    let city = json!({"name": "a.City", "subject": "city/x", "version": 3});
    let address = json!({"name": "a.Address", "subject": "address", "version": 1});
    fake.set("/schemas/ids/5", 200, json!({"schema": USER, "schemaType": "AVRO", "references": [address, city]}));
    fake.set("/subjects/address/versions/1", 200, json!({"schema": ADDRESS, "references": [city]}));
    fake.set("/subjects/city%2Fx/versions/3", 200, schema(CITY));
    let registry = Registry::with(Some(&config(vec![url])), Vec::new()).expect("registry");
    let mut first = record(Some(b"plain"), Some(b"\0\0\0\0\x05\x04ab"));
    let mut second = record(Some(b"\0\0\0\0\x05\x02k"), None);
    let mut third = record(None, Some(b"\0\0\0\0\x05\x00"));
    let (one, two, three) =
        tokio::join!(registry.open(&mut first), registry.open(&mut second), registry.open(&mut third));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(fake.asked(), 3);
    assert_eq!(payload(&first), json!({"home": {"city": {"name": "ab"}}}));
    assert_eq!(
        (first.key.as_deref(), payload(&third)),
        (Some(b"plain".as_slice()), json!({"home": {"city": {"name": ""}}}))
    );
    let head = |record: &Record| record.value.as_ref().map(|value| value.head().as_ptr());
    assert_eq!(head(&first), head(&third));
    let key: Value = serde_json::from_slice(second.key.as_deref().expect("key")).expect("JSON");
    assert_eq!((key["payload"].clone(), second.value.is_none()), (json!({"home": {"city": {"name": "k"}}}), true));
    // What lies on the topic is not lost.
    assert_eq!(first.original().1.as_deref(), Some(b"\0\0\0\0\x05\x04ab".as_slice()));
    assert_eq!(second.original().0.as_deref(), Some(b"\0\0\0\0\x05\x02k".as_slice()));
    let number = record(Some(b"\0\0\0\0\x05\0\0\x01"), None);
    let says = vec![TopicMatch::Name("t".to_owned())];
    let other_keys =
        Registry::with(Some(&config(vec!["http://127.0.0.1:1".parse().expect("URL")])), says).expect("registry");
    let mut opened = number.clone();
    other_keys.open(&mut opened).await.expect("a key that is said to be something else is left alone");
    assert_eq!(opened.key, number.key);
    let untouched = record(Some(b"{\"id\":1}"), Some(b"{\"op\":\"c\"}"));
    let mut opened = untouched.clone();
    registry.open(&mut opened).await.expect("nothing to do");
    assert!(opened.framed.is_none() && opened.key == untouched.key);
}

/// Only the registry's own "not found" refuses a record; whatever else goes wrong leaves it as it was, to be tried again.
#[tokio::test]
async fn an_unknown_schema_is_a_refusal_and_trouble_is_not() {
    let fake = Arc::new(Fake::default());
    let url = fake.start().await;
    let registry = Registry::with(Some(&config(vec![url])), Vec::new()).expect("registry");
    let bytes = b"\0\0\0\0\x09\x02".as_slice();
    for (status, body) in [
        (404, "<html>no such page</html>"),
        (500, "{}"),
        (503, ""),
        (429, ""),
        (401, ""),
        (200, "{\"error\":1}"),
        (200, "<html>"),
    ] {
        fake.set("/schemas/ids/9", status, body);
        let mut record = record(None, Some(bytes));
        let failure = registry.open(&mut record).await.expect_err("no answer that counts");
        assert!(record.framed.is_none() && record.refused().is_none(), "{status}");
        let expected = if status >= 429 { Class::Transient } else { Class::Operator };
        assert_eq!(failure.class, expected, "{status} {failure}");
    }
    fake.set("/schemas/ids/9", 404, json!({"error_code": 40403}));
    fake.asked();
    let mut unknown = record(None, Some(bytes));
    registry.open(&mut unknown).await.expect("an answer");
    assert_eq!(unknown.refused().map(|why| why.reason), Some("unknown_schema"));
    assert_eq!(unknown.value.as_ref().map(Payload::whole).as_deref(), Some(bytes));
    assert_eq!(fake.asked(), 3, "asked again before it is believed");
    registry.open(&mut record(None, Some(bytes))).await.expect("remembered");
    assert_eq!(fake.asked(), 0);
    fake.set("/schemas/ids/8", 200, schema("\"int\""));
    let mut torn = record(None, Some(b"\0\0\0\0\x08\x80"));
    registry.open(&mut torn).await.expect("an answer");
    assert_eq!(torn.refused().map(|why| why.reason), Some("undecodable"));
    let mut none = record(None, Some(bytes));
    Registry::with(None, Vec::new()).expect("nothing").open(&mut none).await.expect("no question");
    assert_eq!(none.refused().map(|why| why.reason), Some("no_registry"));
}

/// URLs are asked in turn, with whatever proves who asks.
#[tokio::test]
async fn the_next_url_is_asked_and_it_is_said_who_asks() {
    let (broken, works) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
    broken.set("/schemas/ids/1", 500, "");
    works.set("/base/schemas/ids/1", 200, schema("\"int\""));
    let urls = vec![
        "http://127.0.0.1:1".parse().expect("URL"),
        broken.start().await,
        works.start().await.join("base/").expect("URL"),
    ];
    for (auth, header) in [
        (RegistryAuth::Basic { user: "u".into(), password: Secret::new("p:w") }, "Basic dTpwOnc="),
        (RegistryAuth::Bearer(Secret::new("abc")), "Bearer abc"),
    ] {
        let config = RegistryConfig { auth, ..config(urls.clone()) };
        let registry = Registry::with(Some(&config), Vec::new()).expect("registry");
        let mut record = record(None, Some(b"\0\0\0\0\x01\x02"));
        registry.open(&mut record).await.expect("the last URL answers");
        assert_eq!(payload(&record), json!(1));
        assert_eq!(works.authorization.lock().expect("lock").as_deref(), Some(header));
        assert!(!format!("{registry:?}").contains("abc") && !format!("{registry:?}").contains("dTpwOnc="));
    }
}

/// With the id in a header the bytes are the body alone, and may begin with a zero byte like a prefix.
#[tokio::test]
async fn an_id_in_a_header_leaves_no_prefix() {
    let fake = Arc::new(Fake::default());
    let url = fake.start().await;
    let guid = "00010203-0405-0607-0809-0a0b0c0d0e0f";
    let schema_text =
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":["null","int"]},{"name":"b","type":"bytes"}]}"#;
    fake.set(&format!("/schemas/guids/{guid}"), 200, schema(schema_text));
    let registry = Registry::with(Some(&config(vec![url])), Vec::new()).expect("registry");
    let mut record = record(None, Some(b"\0\x08\x01\x02\x03\x04"));
    let id: Vec<u8> = std::iter::once(1).chain(0..16).collect();
    record.headers = Headers::pack([("other", Some(b"x".as_slice())), ("__value_schema_id", Some(id.as_slice()))]);
    registry.open(&mut record).await.expect("an answer");
    assert_eq!(record.refused(), None);
    assert_eq!(payload(&record), json!({"a": null, "b": "AQIDBA=="}));
}

/// Ids of eight bytes are Apicurio's global ids, which its own API tells beside the Confluent one.
#[tokio::test]
async fn ids_of_eight_bytes_are_global_ids_of_apicurio() {
    let fake = Arc::new(Fake::default());
    let url = fake.start().await.join("apis/ccompat/v7").expect("URL");
    let own = "/apis/registry/v2";
    for kind in ["globalId", "contentId"] {
        fake.set(&format!("{own}/ids/{kind}s/4"), 200, USER);
        fake.set(
            &format!("{own}/search/artifacts?{kind}=4"),
            200,
            json!({"artifacts": [{"type": "AVRO"}], "count": 1}),
        );
        let reference = json!([{"groupId": "g", "artifactId": "addr", "version": "2", "name": "a.Address"}]);
        fake.set(&format!("{own}/ids/{kind}s/4/references"), 200, reference);
    }
    fake.set(&format!("{own}/groups/g/artifacts/addr/versions/2"), 200, ADDRESS.replace("\"a.City\"", "\"string\""));
    fake.set(&format!("{own}/groups/g/artifacts/addr/versions/2/references"), 200, "[]");
    for (ids, bytes) in [
        (None, b"\0\0\0\0\0\0\0\0\x04\x02x".as_slice()),
        (Some(SchemaIds::Content), b"\0\0\0\0\0\0\0\0\x04\x02x"),
        (Some(SchemaIds::Global), b"\0\0\0\0\x04\x02x"),
    ] {
        let registry =
            Registry::with(Some(&RegistryConfig { ids, ..config(vec![url.clone()]) }), Vec::new()).expect("registry");
        let mut record = record(None, Some(bytes));
        registry.open(&mut record).await.expect("an answer");
        assert_eq!(record.refused(), None, "{ids:?}");
        assert_eq!(payload(&record), json!({"home": {"city": "x"}}));
    }
}
