//! Connections: settings, identity, ends, TLS, wrong credentials.

use super::*;
use crate::core::dialect::Dialect;
use crate::core::failure::Class;

#[tokio::test]
async fn a_session_has_its_settings() {
    let mut s = session().await;
    let names = [
        "application_name",
        "jit",
        "plan_cache_mode",
        "lock_timeout",
        "TimeZone",
        "client_min_messages",
        "idle_in_transaction_session_timeout",
        "transaction_isolation",
    ];
    let list = names.map(|name| format!("current_setting('{name}')")).join(", ");
    run(&mut s, "set default_transaction_isolation = 'repeatable read'").await;
    s.begin().await.expect("begun");
    let settings = show(&mut s, &format!("select {list}")).await;
    s.rollback().await.expect("rolled back");
    assert_eq!(settings, "lastword/test,off,force_custom_plan,20s,UTC,warning,1min,read committed");
}

#[tokio::test]
async fn statements_without_parameters_may_be_several() {
    let mut s = session().await;
    let sql = "create temp table x (id int); insert into x values (1), (2); -- a comment; with a semicolon\nselect 1";
    assert_eq!(s.execute(sql, &[]).await.expect("ran"), 3);
    assert_eq!(s.execute("update x set id = id where id > $1", &[Value::Int(1)]).await.expect("ran"), 1);
}

#[tokio::test]
async fn a_failed_transaction_is_never_reported_as_committed() {
    let mut s = session().await;
    run(&mut s, "create temp table x (id int primary key)").await;
    s.begin().await.expect("begun");
    run(&mut s, "insert into x values (1)").await;
    s.execute("insert into x values ($1)", &[Value::Int(1)]).await.expect_err("a double key");
    assert_eq!(s.commit().await.expect_err("rolled back").code, "25P02");
    s.begin().await.expect("begun");
    run(&mut s, "insert into x values (1)").await;
    s.commit().await.expect("committed");
    run(&mut s, "create temp table y (id int references x deferrable initially deferred)").await;
    s.begin().await.expect("begun");
    run(&mut s, "insert into y values (7)").await;
    let failure = s.commit().await.expect_err("refused at COMMIT");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "23503"), "refused, not unknown");
    assert!(failure.message.contains("\"y_id_fkey\"") && !failure.message.contains('7'), "{failure}");
}

#[tokio::test]
async fn a_changed_table_is_prepared_again() {
    let (mut s, mut other) = (session().await, session().await);
    run(&mut other, "drop table if exists c_changed; create table c_changed (id int)").await;
    let sql = "select * from c_changed where id > $1";
    assert!(s.query(sql, &[Value::Int(0)]).await.expect("ran").is_empty());
    run(&mut other, "alter table c_changed add v text").await;
    let failure = s.query(sql, &[Value::Int(0)]).await.expect_err("another result type");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "0A000"));
    assert!(s.query(sql, &[Value::Int(0)]).await.expect("prepared again").is_empty());
    run(&mut other, "alter table c_changed drop column id").await;
    assert_eq!(s.query(sql, &[Value::Int(0)]).await.expect_err("no column").class, Class::Table);
}

#[tokio::test]
async fn sessions_are_known_and_ended_by_identity() {
    let (mut s, mut other) = (session().await, session().await);
    let identity = other.identity().expect("an identity");
    let (pid, start) = identity.split_once('/').expect("two numbers");
    let wrong = format!("{pid}/{}", start.parse::<i64>().expect("a number") + 1);
    assert!(!s.end_other(&wrong).await.expect("looked up"), "another start: another session");
    run(&mut other, "set application_name = 'psql'").await;
    assert!(!s.end_other(&identity).await.expect("looked up"), "not one of ours");
    run(&mut other, "set application_name = 'lastword/lane'").await;
    assert!(s.end_other(&identity).await.expect("ended"));
    assert!(!s.end_other(&identity).await.expect("looked up"), "it is gone");
    let failure = other.execute("select 1", &[]).await.expect_err("ended");
    assert!(failure.connection_lost && failure.class == Class::Transient, "{failure:?}");
    assert!(s.end_other("nonsense").await.is_err());
    let own = s.identity().expect("an identity");
    assert!(!s.end_other(&own).await.expect("looked up"), "never itself");
}

fn locked_url(user: &str, password: &str) -> String {
    let url = service("LASTWORD_TEST_POSTGRES");
    let at = url.find('@').map_or("postgres://".len(), |at| at + 1);
    format!("postgres://{user}:{password}@{}", &url[at..])
}

#[tokio::test]
async fn wrong_credentials_are_for_the_operator() {
    let (user, password) = (service("LASTWORD_TEST_LOCKED_USER"), service("LASTWORD_TEST_LOCKED_PASSWORD"));
    let right = locked_url(&user, &password);
    sink_of(&right).session("test").await.expect("the right password");
    let wrong = locked_url(&user, "hush-hush");
    let none = right.replacen(&format!(":{password}"), "", 1);
    let database = format!("{}_missing", service("LASTWORD_TEST_POSTGRES"));
    for (url, code) in [(wrong, "28P01"), (none, "connect"), (database, "3D000")] {
        let failure = sink_of(&url).session("test").await.expect_err(code);
        assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, code), "{failure}");
        assert!(!failure.to_string().contains("hush") && !failure.to_string().contains(&password), "{failure}");
    }
    let nobody = sink_of("postgres://u@127.0.0.1:1/d").session("test").await.expect_err("no server");
    assert!(nobody.class == Class::Transient && nobody.connection_lost, "{nobody}");
}

#[tokio::test]
async fn a_missing_right_is_for_the_operator() {
    let (user, password) = (service("LASTWORD_TEST_LOCKED_USER"), service("LASTWORD_TEST_LOCKED_PASSWORD"));
    let mut owner = session().await;
    let t = make(&mut owner, "c_rights", "id bigint primary key, v text, _lastword_token bytea", HARD).await;
    let mut s = sink_of(&locked_url(&user, &password)).session("test").await.expect("a session");
    let failure = s.apply(&changes(&t, &[(1, 1, Some("secret"))])).await.expect_err("no right");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "42501"), "{failure}");
    assert_eq!(s.dialect(), Dialect::Postgres);
}

#[tokio::test]
async fn tls_modes_are_libpqs() {
    let (url, ca, other) =
        (service("LASTWORD_TEST_POSTGRES"), service("LASTWORD_TEST_CA"), service("LASTWORD_TEST_OTHER_CA"));
    // The same server under a name that its certificate does not have.
    let at = url.find("127.0.0.1").expect("the test server is local");
    let renamed = format!("{}db.example{}", &url[..at], &url[at + "127.0.0.1".len()..]);
    let with = |url: &str, tail: String| format!("{url}?{tail}");
    let hidden = |tail: String| with(&renamed, format!("hostaddr=127.0.0.1&{tail}"));
    let encrypted = [
        with(&url, "sslmode=prefer".into()),
        with(&url, "sslmode=require".into()),
        hidden("sslmode=require".into()),
        with(&url, format!("sslmode=require&sslrootcert={ca}")),
        hidden(format!("sslmode=verify-ca&sslrootcert={ca}")),
        with(&url, format!("sslmode=verify-full&sslrootcert={ca}")),
    ];
    let seen = "select ssl::text from pg_stat_ssl where pid = pg_backend_pid()";
    for url in encrypted {
        let mut s = sink_of(&url).session("test").await.unwrap_or_else(|failure| panic!("{url}: {failure}"));
        assert_eq!(show(&mut s, seen).await, "true", "{url}");
    }
    let mut plain = sink_of(&with(&url, "sslmode=disable".into())).session("test").await.expect("plain");
    assert_eq!(show(&mut plain, seen).await, "false");
    let refused = [
        hidden(format!("sslmode=verify-full&sslrootcert={ca}")),
        with(&url, format!("sslmode=verify-full&sslrootcert={other}")),
        with(&url, format!("sslmode=verify-ca&sslrootcert={other}")),
        with(&url, format!("sslmode=require&sslrootcert={other}")),
    ];
    for url in refused {
        let failure = sink_of(&url).session("test").await.expect_err("refused");
        assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "tls"), "{url}: {failure}");
    }
}
