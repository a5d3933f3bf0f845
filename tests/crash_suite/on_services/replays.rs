//! The log is read again while the service runs.

use lastword::core::dialect::Dialect;
use serde_json::Value;

use super::Scene;
use crate::support::program::number;
use crate::support::{LIMIT, eventually};

/// Invariant 7: a replay from the beginning beside live traffic changes no row, token or tombstone.
fn replay_during_traffic(dialect: Dialect, seed: u64) {
    let mut scene = Scene::new(dialect, seed);
    scene.produce(4000);
    let live = scene.program.start(&["run"]);
    scene.wait_caught_up();
    let topic = scene.topic.clone();
    let replay = scene.program.start(&["replay", "--topic", &topic, "--from-beginning", "--json"]);
    for _ in 0..8 {
        scene.produce(500);
    }
    let result: Value = replay.wait(LIMIT).ok().json();
    scene.wait_caught_up();
    assert_eq!(result["done"], true);
    let summary = &result["summary"];
    assert!(number(summary, "records") > 4000, "{summary}");
    assert_eq!(number(summary, "applied"), 0, "everything was there: {summary}");
    assert!(number(summary, "superseded_by_row") > 0 && number(summary, "superseded_by_tombstone") > 0, "{summary}");
    let before = scene.digest();
    let again = scene.program.run(&["replay", "--topic", &topic, "--from-beginning", "--json"]).ok().json();
    assert_eq!(number(&again["summary"], "applied"), 0);
    assert!(scene.digest() == before, "rows, tokens and tombstones are as they were");
    live.signal("TERM");
    live.wait(LIMIT).ok();
    scene.assert_rows();
    let audited = scene.program.run(&["audit", "--json"]).ok().json();
    assert!(audited.as_array().expect("acts").iter().filter(|act| act["act"] == "replay start").count() == 2);
}

#[test]
fn postgres_is_not_changed_by_a_replay() {
    replay_during_traffic(Dialect::Postgres, 21);
}

#[test]
fn mariadb_is_not_changed_by_a_replay() {
    replay_during_traffic(Dialect::Mysql, 22);
}

/// Rows that are missing come back; damaged values only with `--repair`.
#[test]
fn a_replay_mends_what_is_missing_and_repair_what_is_damaged() {
    let mut scene = Scene::new(Dialect::Postgres, 23);
    scene.produce(2000);
    scene.program.catch_up(&[]);
    let table = scene.database.table("items");
    assert!(scene.database.execute(&format!("delete from {table} where id % 3 = 0")) > 0);
    let damaged = scene.database.execute(&format!("update {table} set name = 'damaged' where id % 3 = 1"));
    assert!(damaged > 0);
    let topic = scene.topic.clone();
    let command = ["replay", "--topic", &topic, "--from-beginning", "--json"];
    let plain = scene.program.run(&command).ok().json();
    assert!(number(&plain["summary"], "applied") > 0);
    let wrong = scene.rows().iter().zip(&scene.traffic.expected()).filter(|(found, wanted)| found != wanted).count();
    assert_eq!(wrong as u64, damaged, "missing rows are back, damaged ones are left");
    scene.program.run(&[&command[..], &["--repair"]].concat()).ok();
    scene.assert_rows();
}

/// An interrupted replay goes on where it was; a dry run and a refused one change nothing.
#[test]
fn a_replay_is_planned_refused_interrupted_and_resumed() {
    let mut scene = Scene::new(Dialect::Postgres, 24);
    scene.produce(20_000);
    scene.program.catch_up(&[]);
    let (topic, end) = (scene.topic.clone(), scene.traffic.records);
    let planned =
        scene.program.run(&["replay", "--topic", &topic, "--from-beginning", "--dry-run", "--json"]).ok().json();
    let records: i64 =
        planned.as_array().expect("ranges").iter().map(|range| number(range, "to") - number(range, "from")).sum();
    assert_eq!(records, end);
    let beyond =
        scene.program.run(&["replay", "--topic", &topic, "--partition", "0", "--from-offset", "999999"]).code(4);
    assert!(beyond.stderr.contains("0 to "), "{}", beyond.stderr);
    assert_eq!(scene.program.run(&["replay", "--list", "--json"]).ok().json(), serde_json::json!([]));
    let small = ["--set", "batch.rows=20", "--set", "sink.writers=1"];
    let replay =
        scene.program.start(&[&["replay", "--topic", &topic, "--from-beginning", "--json"], &small[..]].concat());
    let checkpoint = scene.database.bookkeeping("checkpoint");
    let read =
        format!("select coalesce(sum(next_offset), 0)::bigint from {checkpoint} where pipeline like '%#replay-1'");
    eventually("the replay has begun", || (scene.database.count(&read) > 200).then_some(()));
    replay.signal("TERM");
    replay.wait(LIMIT).code(5);
    let so_far = scene.database.count(&read);
    assert!(so_far < end, "{so_far} of {end}: it was not interrupted in the middle");
    let resumed = scene.program.run(&["replay", "--resume", "1", "--json"]).ok().json();
    assert_eq!(resumed["done"], true);
    assert_eq!(number(&resumed["summary"], "records"), end - so_far, "nothing is read twice, nothing is left out");
    assert_eq!(scene.database.count(&read), end);
    scene.program.run(&["replay", "--resume", "1"]).code(4);
}

/// `offsets set` is noticed by a process that is busy; going back changes nothing in the end.
#[test]
fn offsets_set_is_noticed_by_a_busy_process() {
    let mut scene = Scene::new(Dialect::Postgres, 25);
    scene.produce(3000);
    let live = scene.program.start(&["run"]);
    scene.wait_caught_up();
    let topic = scene.topic.clone();
    let checkpoint = scene.database.bookkeeping("checkpoint");
    let counted = format!("select (changes + control)::bigint from {checkpoint} where partition_id = 0");
    let before = scene.database.count(&counted);
    scene.produce(2000);
    scene
        .program
        .run(&["offsets", "set", "--topic", &topic, "--partition", "0", "--offset", "0", "--note", "a test"])
        .ok();
    for _ in 0..4 {
        scene.produce(500);
    }
    let next = format!("select next_offset from {checkpoint} where partition_id = 0");
    let again = eventually("the partition was read again", || {
        let (counted, next) = (scene.database.count(&counted), scene.database.count(&next));
        (counted > next && counted >= before).then_some(counted)
    });
    println!("records of partition 0 counted after it went back: {again}");
    scene.wait_caught_up();
    live.signal("TERM");
    live.wait(LIMIT).ok();
    scene.assert_rows();
    let acts = scene.program.run(&["audit", "--json"]).ok().json();
    let set = acts.as_array().expect("acts").iter().find(|act| act["act"] == "offsets set").expect("audited");
    assert!(set["who"].as_str().expect("who").ends_with("a test"), "{set}");
}
