//! Connections: values, logins, ends.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::core::failure::Class;
use crate::core::table::ColumnType;

#[tokio::test]
async fn values_come_back_as_they_went() {
    let mut world = world("values").await;
    world
        .run(
            "CREATE TABLE t (i BIGINT, u BIGINT UNSIGNED, b TINYINT(1), s TINYINT(1) UNSIGNED, f FLOAT, d DOUBLE, \
             n DECIMAL(40,10), t LONGTEXT, y LONGBLOB, a DATE, c TIME(6), w DATETIME(6), z TIMESTAMP(6) NULL, j JSON, \
             g UUID) DEFAULT CHARACTER SET utf8mb4",
        )
        .await;
    let values = vec![
        Value::Int(i64::MIN),
        Value::UInt(u64::MAX),
        Value::Bool(true),
        Value::Int(200),
        Value::Float32(0.1),
        Value::Float64(1e300),
        Value::Decimal("-123456789012345678901234567890.0123456789".into()),
        Value::from("grün 😀 \u{0} '"),
        Value::bytes(&[0, 255, b'\'']),
        Value::Date(-719_162),
        Value::Time(86_399_999_999),
        Value::Timestamp(-1),
        Value::TimestampTz(1_700_000_000_123_456),
        Value::Json("{\"a\": 1}".into()),
        Value::Uuid([0x12; 16]),
    ];
    let marks = vec!["?"; values.len()].join(",");
    for row in [values.clone(), vec![Value::Null; values.len()]] {
        assert_eq!(world.session.execute(&format!("INSERT INTO t VALUES ({marks})"), &row).await.expect("insert"), 1);
    }
    let rows = world.session.query("SELECT * FROM t", &[]).await.expect("rows");
    let mut expected = values;
    expected[2] = Value::Int(1);
    expected[13] = Value::from("{\"a\": 1}");
    expected[14] = Value::from("12121212-1212-1212-1212-121212121212");
    assert_eq!(rows, [expected, vec![Value::Null; 15]]);
    assert!(world.session.execute("INSERT INTO t (d) VALUES (?)", &[Value::Float64(f64::INFINITY)]).await.is_err());
    let shape = world.session.describe(&TableName::new(None, "t")).await.expect("describe").expect("there");
    let kinds: Vec<ColumnType> = shape.columns.into_iter().map(|column| column.kind).collect();
    assert_eq!(kinds[2], ColumnType::Int { bits: 8, unsigned: false });
    assert_eq!(kinds[6], ColumnType::Decimal { limit: Some((40, 10)) });
    assert_eq!(
        kinds[10..13],
        [
            ColumnType::TimeSpan { digits: 6 },
            ColumnType::Timestamp { digits: 6 },
            ColumnType::TimestampTz { digits: 6 }
        ]
    );
    assert_eq!((&kinds[13], &kinds[14]), (&ColumnType::Json, &ColumnType::Uuid));
    assert_eq!(world.session.describe(&TableName::new(None, "T")).await.expect("describe"), None);
    assert_eq!(world.session.describe(&TableName::new(Some("no"), "t")).await.expect("describe"), None);
    world.end().await;
}

async fn refused(url: &str) -> crate::core::failure::Failure {
    sink_of(url).session("test").await.expect_err("refused")
}

#[tokio::test]
async fn bad_logins_say_what_to_do() {
    let world = world("login").await;
    let with = |change: &dyn Fn(&mut url::Url)| {
        let mut url = url::Url::parse(&world.url).expect("url");
        change(&mut url);
        url.to_string()
    };
    let failure = refused(&with(&|url| {
        url.set_username("nobody").expect("user");
        url.set_password(Some("geheim")).expect("password");
    }))
    .await;
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "mysql 1045"), "{failure}");
    assert!(!failure.to_string().contains("geheim"), "{failure}");
    let failure = refused(&with(&|url| url.set_path("no_such_database"))).await;
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "mysql 1049"), "{failure}");
    let failure = refused(&with(&|url| url.set_port(Some(1)).expect("port"))).await;
    assert_eq!((failure.class, failure.connection_lost), (Class::Transient, true), "{failure}");
    let mut settings = world.another().await;
    let query =
        "SELECT @@sql_mode, @@time_zone, @@innodb_lock_wait_timeout, @@tx_isolation, @@idle_transaction_timeout";
    let rows = settings.query(query, &[]).await.expect("settings");
    assert!(rows[0][0].as_text().is_some_and(|mode| mode.contains("STRICT_ALL_TABLES") && !mode.contains("PIPES")));
    assert_eq!(rows[0][1..], ["+00:00".into(), Value::Int(5), "READ-COMMITTED".into(), Value::Int(60)]);
    world.end().await;
}

#[tokio::test]
async fn a_session_is_ended_only_if_it_still_is_that_one() {
    let mut world = world("kill").await;
    let mut other = world.another().await;
    let identity = other.identity().expect("identity");
    let (id, opened) = identity.split_once('/').expect("two parts");
    assert!(!world.session.end_other(&format!("{id}/{}1", opened)).await.expect("another time"), "not that one");
    assert!(!world.session.end_other("nonsense").await.expect("nonsense"));
    let own = world.session.identity().expect("own");
    assert!(!world.session.end_other(&own).await.expect("own"), "not ourselves");
    other.begin().await.expect("alive");
    other.execute("CREATE TABLE t (id INT PRIMARY KEY)", &[]).await.expect("create");
    other.begin().await.expect("begin");
    other.execute("INSERT INTO t VALUES (?)", &[Value::Int(1)]).await.expect("insert");
    assert!(world.session.end_other(&identity).await.expect("killed"));
    assert_eq!(world.rows("SELECT * FROM t FOR UPDATE").await, Vec::<String>::new());
    let failure = other.query("SELECT 1", &[]).await.expect_err("killed");
    assert_eq!((failure.class, failure.connection_lost), (Class::Transient, true), "{failure}");
    assert!(!world.session.end_other(&identity).await.expect("gone"));
    world.end().await;
}

#[tokio::test]
async fn locks_and_deadlocks_are_transient_and_leave_the_session_usable() {
    let mut world = world("locks").await;
    let table = world.table("t", SMALL, &["id"], HARD).await;
    world.apply(&small(&table, &[(1, 1), (2, 1)], &[])).await;
    let mut other = world.another().await;
    other.execute("SET SESSION innodb_lock_wait_timeout = 1", &[]).await.expect("set");
    world.session.begin().await.expect("begin");
    world.session.query("SELECT * FROM t WHERE id = 1 FOR UPDATE", &[]).await.expect("lock");
    let plan = small(&table, &[(1, 2)], &[]);
    let failure = other.apply(&plan).await.expect_err("locked");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "mysql 1205"), "{failure}");
    assert!(!failure.connection_lost);
    world.session.rollback().await.expect("rollback");
    assert_eq!(other.apply(&plan).await.expect("applied").tables[0].applied, 1);
    world.end().await;
}

#[tokio::test]
async fn tls_is_verified_where_the_url_says_so() {
    let mut world = world("tls").await;
    let file = |name: &str| std::env::var(name).expect("tests/services env sets the certificates");
    let with = |mode: &str, ca: &str| format!("{}?ssl-mode={mode}&ssl-ca={}", world.url, file(ca));
    let cipher = "SHOW SESSION STATUS LIKE 'Ssl_cipher'";
    for mode in ["VERIFY_IDENTITY", "verify-ca", "REQUIRED"] {
        let mut session = sink_of(&with(mode, "LASTWORD_TEST_CA")).session("test").await.expect(mode);
        let rows = session.query(cipher, &[]).await.expect("status");
        assert!(rows[0][1].as_text().is_some_and(|cipher| !cipher.is_empty()), "{mode}");
    }
    let failure = refused(&with("VERIFY_CA", "LASTWORD_TEST_OTHER_CA")).await;
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "mysql tls"), "{failure}");
    let plain = format!("{}?ssl-mode=DISABLED", world.url);
    let rows = sink_of(&plain).session("test").await.expect("plain").query(cipher, &[]).await.expect("status");
    assert_eq!(rows[0][1].as_text(), Some(""));
    world.run("SELECT 1").await;
    world.end().await;
}

/// What the link does with a COMMIT of the client: 0 passes it, 1 passes it and breaks before the answer, 2 breaks.
async fn link(listener: TcpListener, server: String, mode: Arc<AtomicU8>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut upstream = TcpStream::connect(&server).await.expect("upstream");
        let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            tokio::select! {
                read = client.read(&mut from_client) => {
                    let Ok(length @ 1..) = read else { break };
                    let commit = from_client[..length].windows(6).any(|part| part == b"COMMIT");
                    let mode = if commit { mode.load(Ordering::SeqCst) } else { 0 };
                    if mode == 2 {
                        break;
                    }
                    upstream.write_all(&from_client[..length]).await.expect("pass");
                    if mode == 1 {
                        // The server answers; nobody hears it.
                        let _ = upstream.read(&mut from_server).await;
                        break;
                    }
                }
                read = upstream.read(&mut from_server) => {
                    let Ok(length @ 1..) = read else { break };
                    client.write_all(&from_server[..length]).await.expect("pass");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_commit_without_an_answer_is_unknown() {
    let mut world = world("unknown").await;
    let table = world.table("t", SMALL, &["id"], HARD).await;
    let mut url = url::Url::parse(&world.url).expect("url");
    let server = format!("{}:{}", url.host_str().expect("host"), url.port().expect("port"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    url.set_port(Some(listener.local_addr().expect("address").port())).expect("port");
    url.set_query(Some("ssl-mode=DISABLED"));
    let mode = Arc::new(AtomicU8::new(0));
    let proxy = tokio::spawn(link(listener, server, Arc::clone(&mode)));
    for (setting, landed) in [(1, 1), (2, 0)] {
        let mut session = sink_of(url.as_str()).session("test").await.expect("through the link");
        mode.store(setting, Ordering::SeqCst);
        let failure = session.apply(&small(&table, &[(i64::from(setting), 5)], &[])).await.expect_err("no answer");
        assert_eq!((failure.class, failure.connection_lost), (Class::Unknown, true), "{failure}");
        // The next statement on it fails at once and does not hang.
        assert!(session.query("SELECT 1", &[]).await.is_err());
        mode.store(0, Ordering::SeqCst);
        let count = format!("SELECT COUNT(*) FROM t WHERE id = {setting} FOR UPDATE");
        assert_eq!(world.rows(&count).await, [landed.to_string()]);
    }
    proxy.abort();
    world.end().await;
}

#[tokio::test]
async fn an_abandoned_statement_spoils_the_session_instead_of_the_next_one() {
    let world = world("abandon").await;
    let mut session = world.another().await;
    let slow = session.query("SELECT SLEEP(5)", &[]);
    assert!(tokio::time::timeout(Duration::from_millis(50), slow).await.is_err());
    let failure = session.query("SELECT 1", &[]).await.expect_err("abandoned");
    assert_eq!((failure.class, failure.connection_lost), (Class::Transient, true), "{failure}");
    world.end().await;
}
