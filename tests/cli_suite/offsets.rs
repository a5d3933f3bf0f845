//! The live position is shown and moved, also under a process that has nothing to do.

use lastword::core::dialect::Dialect;
use serde_json::{Value, json};

use crate::support::database::{Database, assert_same};
use crate::support::events::Source;
use crate::support::program::{Program, number, over_files, over_kafka};
use crate::support::{captures, eventually, kafka, unique};

fn partition(program: &Program) -> Value {
    let shown = program.run(&["offsets", "show", "--json"]).ok().json();
    shown[0].clone()
}

/// Offsets that are set under an idle process are noticed by it: it reads from there again, changes nothing, and ends where it was.
pub(super) fn set_under_an_idle_process(dialect: Dialect, through_kafka: bool) {
    let database = Database::new(dialect);
    let topic = unique("t");
    let mut source = Source::people(&topic, database.home());
    for id in 1..=20 {
        source.upsert(10 * id, json!({"id": id % 5, "name": format!("n{id}")}));
    }
    source.delete(500, json!(3));
    let end = source.records.len() as i64;
    let program = if through_kafka {
        kafka::create(&topic, 1);
        kafka::produce(&source.records);
        over_kafka(&database, std::slice::from_ref(&topic), "")
    } else {
        over_files(&database, &source.records, "")
    };
    assert_eq!(captures::topics(&source.records), std::slice::from_ref(&topic));
    let running = program.start(&["run", "--json"]);
    eventually("everything is applied", || {
        let finished = program.run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&finished.stdout).ok()?;
        (status["partitions"][0]["next_offset"] == end).then_some(())
    });
    let before = partition(&program);
    assert_eq!(number(&before, "lag_records"), 0, "{before}");
    let contents = database.contents();

    program.run(&["offsets", "set", "--topic", &topic, "--partition", "0", "--offset", "4", "--note", "a test"]).ok();
    let after = eventually("the idle process reads again", || {
        let now = partition(&program);
        (now["next_offset"] == end && number(&now, "fence") > number(&before, "fence")).then_some(now)
    });
    assert_eq!(number(&after, "lag_records"), 0, "{after}");
    assert_same("nothing new was to be applied", &contents, &database.contents());
    running.signal("TERM");
    let summary = running.wait(crate::support::LIMIT).ok().json();
    assert_eq!(number(&summary, "records"), end + (end - 4), "{summary}");
    let audit = program.run(&["audit", "--json"]).ok().json();
    let act = audit
        .as_array()
        .expect("acts")
        .iter()
        .find(|act| act["who"].as_str().is_some_and(|who| who.contains("a test")));
    assert!(act.is_some(), "{audit}");

    let beyond = (end + 1).to_string();
    let refused = program.run(&["offsets", "set", "--topic", &topic, "--partition", "0", "--offset", &beyond]).code(4);
    assert!(refused.stderr.contains(&format!("0 to {end}")), "{}", refused.stderr);
    program.run(&["offsets", "set", "--topic", "other", "--partition", "0", "--offset", "0"]).code(4);
}

#[test]
fn offsets_set_under_an_idle_process_over_files_in_sqlite() {
    set_under_an_idle_process(Dialect::Sqlite, false);
}
