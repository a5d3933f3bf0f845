//! What fails on the way, and what is left of it.

use super::*;
use crate::core::failure::Class;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

const BODY: &str = "id bigint primary key, v text check (v <> 'secret'), _lastword_token bytea";

#[tokio::test]
async fn a_violated_constraint_is_named_without_values() {
    let mut s = session().await;
    let t = make(&mut s, "f_check", &format!("{BODY}, constraint f_check_v unique (v)"), HARD).await;
    apply(&mut s, &changes(&t, &[(1, 1, Some("taken"))])).await;
    let before = digest(&mut s, &t).await;
    for (text, code, constraint) in [("secret", "23514", "f_check_v_check"), ("taken", "23505", "f_check_v")] {
        let failure = s.apply(&changes(&t, &[(2, 2, Some("fine")), (3, 3, Some(text)), (9, 4, None)])).await;
        let failure = failure.expect_err(code);
        assert_eq!((failure.class, failure.code.as_str(), failure.connection_lost), (Class::Record, code, false));
        let message = failure.to_string();
        assert!(message.contains(constraint) && message.contains("f_check") && !message.contains(text), "{message}");
        assert_eq!(digest(&mut s, &t).await, before, "nothing of it is there");
    }
    assert_eq!(apply(&mut s, &changes(&t, &[(2, 2, Some("fine"))])).await.applied, 1, "the session goes on");
}

#[tokio::test]
async fn a_table_that_changed_is_found_out() {
    let mut s = session().await;
    let t = make(&mut s, "f_changed", "id bigint primary key, v text, _lastword_token bytea", HARD).await;
    run(&mut s, "alter table f_changed alter v type varchar(9)").await;
    let failure = s.apply(&changes(&t, &[(1, 1, Some("x"))])).await.expect_err("another type");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Table, "schema_changed"), "{failure}");
    let t = known(&mut s, &t.shape.name, HARD).await;
    assert_eq!(apply(&mut s, &changes(&t, &[(1, 1, Some("x"))])).await.applied, 1);
    run(&mut s, "alter table f_changed drop column v").await;
    let failure = s.apply(&changes(&t, &[(1, 2, Some("y"))])).await.expect_err("no column");
    assert_eq!(failure.class, Class::Table, "{failure}");
    run(&mut s, "drop table f_changed").await;
    assert_eq!(s.apply(&changes(&t, &[(1, 2, Some("y"))])).await.expect_err("no table").code, "42P01");
}

#[tokio::test]
async fn a_lock_that_is_not_free_is_waited_for_and_given_up() {
    let (mut s, url) = (session().await, service("LASTWORD_TEST_POSTGRES"));
    let t = make(&mut s, "f_lock", "id bigint primary key, v text, _lastword_token bytea", HARD).await;
    let mut other = sink_of(&url).session("test").await.expect("a session");
    run(&mut other, "set lock_timeout = '200ms'").await;
    s.begin().await.expect("begun");
    run(&mut s, "lock table f_lock in access exclusive mode").await;
    let failure = other.apply(&changes(&t, &[(1, 1, Some("x"))])).await.expect_err("locked");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "55P03"));
    s.rollback().await.expect("rolled back");
    assert_eq!(apply(&mut other, &changes(&t, &[(1, 1, Some("x"))])).await.applied, 1);
}

#[tokio::test]
async fn a_key_without_a_unique_index_is_refused() {
    let mut s = session().await;
    let t = make(&mut s, "f_key", "id bigint primary key, v text, _lastword_token bytea", HARD).await;
    run(&mut s, "alter table f_key drop constraint f_key_pkey").await;
    let failure = s.apply(&changes(&t, &[(1, 1, Some("x"))])).await.expect_err("no unique index");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Table, "42P10"), "{failure}");
}

/// A way to the server that can be cut.
async fn cuttable(url: &str) -> (String, tokio::task::JoinHandle<()>) {
    let parsed: tokio_postgres::Config = url.parse().expect("a url");
    let port = parsed.get_ports()[0];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let own = listener.local_addr().expect("an address").port();
    let proxy = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("the server");
        let _ = copy_bidirectional(&mut client, &mut server).await;
    });
    (url.replace(&format!(":{port}"), &format!(":{own}")), proxy)
}

/// COMMIT takes a second: a deferred trigger sleeps in it.
async fn slow_commit(s: &mut PostgresSession, name: &str) -> Arc<Table> {
    let t = make(s, name, "id bigint primary key, v text, _lastword_token bytea", HARD).await;
    run(s, &format!("create or replace function f_sleep() returns trigger language plpgsql as 'begin perform pg_sleep(1); return null; end';
        create constraint trigger slow after insert on {name} deferrable initially deferred for each row execute function f_sleep()")).await;
    t
}

#[tokio::test]
async fn a_link_cut_in_commit_leaves_the_outcome_unknown() {
    let (mut s, url) = (session().await, service("LASTWORD_TEST_POSTGRES"));
    let t = slow_commit(&mut s, "f_commit").await;
    let (way, proxy) = cuttable(&url).await;
    let mut lane = sink_of(&way).session("lane").await.expect("a session");
    let plan = changes(&t, &[(1, 1, Some("x"))]);
    let applying = tokio::spawn(async move { (lane.apply(&plan).await, lane) });
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.abort();
    let (applied, mut lane) = applying.await.expect("the lane");
    let failure = applied.expect_err("no answer");
    assert!(failure.class == Class::Unknown && failure.connection_lost, "{failure:?}");
    assert!(lane.execute("select 1", &[]).await.expect_err("gone").connection_lost);
    // It landed in the end, though the lane was told nothing: that is why the class is what it is.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(state(&mut s, &t).await, "1,x,1 / ");
}

#[tokio::test]
async fn a_session_ended_in_commit_leaves_the_outcome_unknown() {
    let (mut s, mut lane) = (session().await, session().await);
    let t = slow_commit(&mut s, "f_ended").await;
    let (identity, plan) = (lane.identity().expect("an identity"), changes(&t, &[(1, 1, Some("x"))]));
    let applying = tokio::spawn(async move { lane.apply(&plan).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(s.end_other(&identity).await.expect("ended"));
    let failure = applying.await.expect("the lane").expect_err("ended");
    assert!(failure.class == Class::Unknown && failure.connection_lost, "{failure:?}");
}

#[tokio::test]
async fn a_link_cut_before_commit_is_tried_again() {
    let (mut s, url) = (session().await, service("LASTWORD_TEST_POSTGRES"));
    let t = make(&mut s, "f_cut", "id bigint primary key, v text, _lastword_token bytea", HARD).await;
    let (way, proxy) = cuttable(&url).await;
    let mut lane = sink_of(&way).session("lane").await.expect("a session");
    let plan = changes(&t, &[(1, 1, Some("x"))]);
    let parts = lane.open(&plan, false).await.expect("changes");
    proxy.abort();
    let failure = lane.close(&plan, parts).await.expect_err("cut");
    assert!(failure.class == Class::Transient && failure.connection_lost, "{failure:?}");
    assert_eq!(apply(&mut s, &plan).await.applied, 1, "its row lock went with it");
}
