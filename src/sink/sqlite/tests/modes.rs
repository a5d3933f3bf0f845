//! Upserts, deletes and truncates in every mode.

use super::*;
use crate::core::failure::Class;
use crate::sink::Session;

const COLUMN: TokenStorage = TokenStorage::Column;
const SIDE: TokenStorage = TokenStorage::Side;

#[tokio::test]
async fn a_truncate_is_a_tombstone_of_the_whole_table() {
    for (storage, delete) in
        [(COLUMN, DeleteMode::Hard), (SIDE, DeleteMode::Hard), (COLUMN, DeleteMode::Soft), (SIDE, DeleteMode::Soft)]
    {
        let mut bench = Bench::new(delete, storage).await;
        bench.apply(&[up("a", 1, 1, "old"), up("a", 2, 9, "newer"), del("a", 3, 2), del("a", 4, 8)]).await;
        let batch = [Event::Truncate(5), up("a", 5, 4, "before it"), up("a", 6, 6, "after it"), del("a", 7, 3)];
        let counted = bench.apply(&batch).await;
        assert_eq!((counted.applied, counted.superseded_by_truncate), (1, 2), "{storage:?} {delete:?}");
        let kept: &[&str] = if delete == DeleteMode::Soft {
            &["[a1 old]", "a2 newer", "a6 after it"]
        } else {
            &["a2 newer", "a6 after it"]
        };
        assert_eq!(bench.rows().await, kept, "{storage:?}");
        let sums = bookkeep::table_counters(&mut bench.session, "p").await.expect("counters")[0].sums;
        assert_eq!(sums.tombstones_delta, bench.tombstones().await, "{storage:?} {delete:?}");
        let before = bench.digest().await;
        bench.apply(&[up("a", 1, 1, "old"), del("a", 3, 2), up("a", 2, 9, "newer"), del("a", 4, 8)]).await;
        bench.apply(&batch).await;
        bench.apply(&[Event::Truncate(4)]).await;
        assert_eq!(bench.digest().await, before, "{storage:?} {delete:?}");
        bench.apply(&[up("a", 1, 7, "anew")]).await;
        assert!(bench.rows().await.contains(&"a1 anew".to_owned()));
    }
}

#[tokio::test]
async fn repair_rewrites_rows_of_equal_token_and_nothing_else() {
    for storage in [COLUMN, SIDE] {
        let mut bench = Bench::new(DeleteMode::Hard, storage).await;
        let events = [up("a", 1, 5, "five"), up("a", 2, 5, "two"), up("a", 3, 5, "three"), del("a", 4, 5)];
        bench.apply(&events).await;
        let right = bench.digest().await;
        bench.session.execute("update \"public.t\" set v = 'damaged' where id = 1", &[]).await.expect("damage");
        bench.session.execute("delete from \"public.t\" where id = 2", &[]).await.expect("damage");
        assert_eq!(bench.apply(&events).await.applied, 1, "a missing row comes back, {storage:?}");
        assert_eq!(bench.rows().await, ["a1 damaged", "a2 two", "a3 three"]);
        let mut plan = bench.plan(&events);
        plan.repair = true;
        let applied = bench.session.apply(&plan).await.expect("repair");
        assert_eq!((applied.tables[0].applied, applied.tables[0].superseded_by_tombstone), (3, 1));
        assert_eq!(bench.digest().await, right);
        let mut older = bench.plan(&[up("a", 1, 4, "older")]);
        older.repair = true;
        assert_eq!(bench.session.apply(&older).await.expect("repair").tables[0], outcome(0, 1, 0, 0, 0));
    }
}

#[tokio::test]
async fn rows_from_before_lastword_are_older_than_everything() {
    let spec = spec(TableName::new(None, "t"), DeleteMode::Hard, COLUMN);
    let made = [
        "create table t (id integer not null, v text, code text not null, primary key (code, id))",
        "insert into t values (1, 'x', 'a'), (2, 'x', 'a'), (3, 'x', 'a')",
    ];
    let mut bench = Bench::with(&made, spec).await;
    assert!(bench.table.shape.has_token);
    assert_eq!(bench.apply(&[up("a", 1, 1, "ours"), del("a", 2, 1)]).await, outcome(2, 0, 0, 0, 1));
    assert_eq!(bench.rows().await, ["a1 ours", "a3 x"]);
    bench.apply(&[Event::Truncate(1)]).await;
    assert_eq!(bench.rows().await, [""; 0]);
}

#[tokio::test]
async fn thousands_of_rows_go_in_few_calls() {
    for storage in [COLUMN, SIDE] {
        let mut bench = Bench::new(DeleteMode::Hard, storage).await;
        let rows: Vec<Event> = (0..5000).map(|id| up("big", id, 1, "x")).collect();
        assert_eq!(bench.apply(&rows).await, outcome(5000, 0, 0, 0, 0));
        let mixed: Vec<Event> =
            (0..5000).map(|id| if id % 2 == 0 { del("big", id, 2) } else { up("big", id, 2, "y") }).collect();
        let started = std::time::Instant::now();
        assert_eq!(bench.apply(&mixed).await, outcome(5000, 0, 0, 0, 2500));
        println!("{storage:?}: 5,000 mixed rows in {:?}", started.elapsed());
        assert_eq!(bench.apply(&mixed).await, outcome(0, 2500, 2500, 0, 0));
        assert_eq!(bench.rows().await.len(), 2500);
        let keys: Vec<Vec<Value>> =
            (0..130).map(|id| vec![Value::from("big"), Value::from(id)]).chain([vec!["no".into(), 1.into()]]).collect();
        let tokens = bookkeep::stored_tokens(&mut bench.session, &bench.table, &keys).await.expect("tokens");
        assert!(tokens[..130].iter().all(|found| *found == Some(token(2))));
        assert_eq!(tokens[130], None);
    }
}

#[tokio::test]
async fn two_sessions_take_turns() {
    let mut bench = Bench::new(DeleteMode::Hard, COLUMN).await;
    let path = bench._folder.path().join("a b.db");
    let mut hasty = config(format!("sqlite:{}", path.display()));
    hasty.lock_timeout = Duration::from_millis(50);
    let mut other = SqliteSink::new(&hasty).expect("sink").session("other").await.expect("session");
    bench.session.begin().await.expect("begin");
    let failure = other.apply(&bench.plan(&[up("a", 1, 1, "one")])).await.expect_err("locked");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "sqlite busy"));
    bench.session.rollback().await.expect("rollback");
    other.apply(&bench.plan(&[up("a", 1, 1, "one")])).await.expect("free");
    let mut session = Session::Sqlite(other);
    assert_eq!(session.identity(), None);
    assert!(!session.end_other("x").await.expect("nothing"));
}

#[tokio::test]
async fn rows_are_found_by_the_index() {
    use crate::core::dialect::sqlite::TableText;
    for (storage, key) in
        [(COLUMN, &["code", "id"][..]), (SIDE, &["code", "id"]), (COLUMN, &["id"]), (COLUMN, &["code"])]
    {
        let mut wanted = spec(TableName::new(None, "t"), DeleteMode::Soft, storage);
        wanted.key = key.iter().map(|name| (*name).to_owned()).collect();
        let mut bench = Bench::of(wanted).await;
        let (text, table) = (TableText::new(&bench.table), Arc::clone(&bench.table));
        let mut statements = Vec::new();
        for rows in [1, 8, 64] {
            statements.extend([
                text.stored(rows, false),
                text.stored(rows, true),
                text.delete(rows),
                text.exhume(rows),
            ]);
            statements.extend([text.mark(rows), text.update(&[0, 1, 2], rows)]);
        }
        for statement in statements {
            let plan = bench.session.query(&format!("explain query plan {statement}"), &[]).await.expect("plan");
            let steps: Vec<&str> = plan.iter().filter_map(|row| row[3].as_text()).collect();
            let side = format!("SCAN {}", table.side_name());
            let scans = |step: &&&str| {
                ["SCAN t", "SCAN m"].contains(*step) || step.starts_with("SCAN t ") || step.contains(&side)
            };
            assert_eq!(steps.iter().find(scans), None, "{storage:?} {key:?} {statement}\n{steps:#?}");
        }
    }
}
