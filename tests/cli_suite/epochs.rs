//! A source whose positions start again: its partition stops, an operator opens a source epoch, and the running process goes on.

use lastword::core::dialect::Dialect;
use serde_json::{Value, json};

use crate::support::database::{Database, assert_same};
use crate::support::events::Source;
use crate::support::program::{Program, number, over_files, over_kafka};
use crate::support::{eventually, kafka, unique};

fn next_offset(program: &Program) -> i64 {
    number(&program.run(&["offsets", "show", "--json"]).ok().json()[0], "next_offset")
}

/// Invariant 6: changes at lower positions are not dropped silently where they are later; nothing behind them is applied until an
/// operator said what they are. Then they win, and a replay builds the same tokens.
pub(super) fn an_epoch_is_opened_for_a_restored_source(dialect: Dialect, through_kafka: bool) {
    let database = Database::new(dialect);
    let topic = unique("t");
    let mut source = Source::people(&topic, database.home());
    for id in 1..=9 {
        source.upsert(1_000 + id, json!({"id": id % 3, "name": format!("old {id}")}));
    }
    let restored = source.records.len() as i64;
    source.time_ms += 60_000;
    for id in 1..=9 {
        source.upsert(100 + id, json!({"id": id % 3, "name": format!("new {id}")}));
    }
    let end = source.records.len() as i64;
    let program = if through_kafka {
        kafka::create(&topic, 1);
        kafka::produce(&source.records);
        over_kafka(&database, std::slice::from_ref(&topic), "")
    } else {
        over_files(&database, &source.records, "")
    };
    let finished = program.run(&["run", "--until-caught-up", "--json"]).code(4);
    assert!(
        finished.stdout.contains("epoch_regression") && finished.stdout.contains("epoch open"),
        "{}",
        finished.stdout
    );
    assert_eq!(next_offset(&program), restored);

    let running = program.start(&["run", "--json"]);
    let open = ["epoch", "open", "--topic", &topic, "--note", "restored from the backup"];
    let planned = program.run(&open).ok();
    assert!(planned.stdout.contains("nothing was changed"), "{}", planned.stdout);
    assert_eq!(program.run(&["epoch", "list", "--json"]).ok().json(), json!([]));
    let opened = program.run(&[&open[..], &["--yes", "--json"]].concat()).ok().json();
    assert_eq!((number(&opened[0], "epoch"), number(&opened[0], "from_offset")), (2000, restored), "{opened}");
    eventually("the rest is applied", || (next_offset(&program) == end).then_some(()));
    running.signal("TERM");
    let summary = running.wait(crate::support::LIMIT).ok().json();
    assert_eq!(summary["halted"], json!([]), "{summary}");

    let listed = program.run(&["epoch", "list", "--json"]).ok().json();
    let row = &listed[0];
    assert_eq!((row["marker"].as_str(), number(row, "first_offset")), (Some("*"), restored), "{listed}");
    let acts = program.run(&["audit", "--json"]).ok().json();
    let audited =
        |act: &Value| act["act"] == "epoch open" && act["who"].as_str().is_some_and(|who| who.contains("backup"));
    assert!(acts.as_array().expect("acts").iter().any(audited), "{acts}");
    let contents = database.contents();
    let text = format!("{contents:?}");
    assert!(text.contains("new 9") && !text.contains("old"), "{text}");
    program.run(&["replay", "--topic", &topic, "--from-beginning"]).ok();
    assert_same("a replay changes nothing", &contents, &database.contents());

    program.run(&["epoch", "open", "--topic", "other", "--yes"]).code(4);
}

#[test]
fn an_epoch_is_opened_over_files_in_sqlite() {
    an_epoch_is_opened_for_a_restored_source(Dialect::Sqlite, false);
}

/// Put aside instead: the rest goes on, and losing is visible. If it was a new life after all, it begins where the first such record
/// lies.
#[test]
fn a_regression_may_be_put_aside() {
    let database = Database::new(Dialect::Sqlite);
    let mut source = Source::people("t", database.home());
    source.upsert(900, json!({"id": 1, "name": "first"}));
    source.time_ms += 10_001;
    source.upsert(100, json!({"id": 1, "name": "lower"}));
    source.upsert(901, json!({"id": 2, "name": "other"}));
    let program = over_files(&database, &source.records, "");
    let aside = ["--set", "source.on_regression=quarantine"];
    program.run(&[&["run", "--until-caught-up"][..], &aside].concat()).ok();
    let kept = program.run(&["quarantine", "list", "--json"]).ok().json();
    assert_eq!((kept[0]["reason"].as_str(), number(&kept[0], "offset")), (Some("epoch_regression"), 1), "{kept}");
    let text = format!("{:?}", database.contents());
    assert!(text.contains("first") && text.contains("other") && !text.contains("lower"), "{text}");
    // Within a larger margin it is what it always was: an older change.
    let wide = ["replay", "--topic", "t", "--from-beginning", "--set", "source.regression_margin=1h"];
    program.run(&wide).ok();

    program.run(&["offsets", "set", "--topic", "t", "--partition", "0", "--offset", "1"]).ok();
    program.run(&["epoch", "open", "--topic", "t", "--yes"]).ok();
    program.run(&[&["run", "--until-caught-up"][..], &aside].concat()).ok();
    let text = format!("{:?}", database.contents());
    assert!(text.contains("lower") && text.contains("other") && !text.contains("first"), "{text}");
}
