//! Upserts, deletes and truncates in every mode.

use super::*;
use crate::core::failure::Class;
use crate::core::plan::Advance;
use crate::core::record::TopicPartition;
use crate::sink::Session;

const COLUMN: TokenStorage = TokenStorage::Column;
const SIDE: TokenStorage = TokenStorage::Side;

#[tokio::test]
async fn the_newest_wins_and_nothing_rises_again() {
    for storage in [COLUMN, SIDE] {
        let mut bench = Bench::new(DeleteMode::Hard, storage).await;
        let first = [up("a", 1, 5, "five"), up("a", 2, 5, "two"), del("a", 3, 6)];
        assert_eq!(bench.apply(&first).await, outcome(3, 0, 0, 0, 1), "an unknown key gets its tombstone");
        assert_eq!(bench.rows().await, ["a1 five", "a2 two"]);
        let late = [up("a", 1, 4, "old"), up("a", 2, 6, "new"), up("a", 3, 5, "gone"), del("a", 4, 1)];
        assert_eq!(bench.apply(&late).await, outcome(2, 1, 1, 0, 1), "{storage:?}");
        assert_eq!(bench.apply(&[del("a", 1, 4), del("a", 2, 7)]).await, outcome(1, 1, 0, 0, 1));
        assert_eq!(bench.rows().await, ["a1 five"]);
        assert_eq!(bench.apply(&[up("a", 2, 8, "again"), up("a", 3, 6, "equal")]).await, outcome(1, 0, 1, 0, -1));
        assert_eq!(bench.rows().await, ["a1 five", "a2 again"]);
        assert_eq!(bench.apply(&[del("a", 3, 9)]).await, outcome(1, 0, 0, 0, 0), "a tombstone is raised");
        assert_eq!(bench.apply(&[up("a", 3, 8, "between")]).await, outcome(0, 0, 1, 0, 0));
        assert_eq!(bench.tombstones().await, 2);

        let before = bench.digest().await;
        for batch in [&first[..], &late[..], &[del("a", 2, 7), del("a", 3, 9)]] {
            assert_eq!(bench.apply(batch).await.applied, 0, "{batch:?}");
        }
        assert_eq!(bench.digest().await, before, "a replay changes nothing");
        let counters = bookkeep::table_counters(&mut bench.session, "p").await.expect("counters");
        assert_eq!(
            (counters[0].table.as_str(), counters[0].sums.applied, counters[0].sums.tombstones_delta),
            ("public.t", 8, 2)
        );
    }
}

#[tokio::test]
async fn soft_deletes_mark_and_upserts_unmark() {
    for storage in [COLUMN, SIDE] {
        let mut bench = Bench::new(DeleteMode::Soft, storage).await;
        bench.apply(&[up("a", 1, 5, "five"), up("a", 2, 5, "two")]).await;
        let dead = if storage == SIDE { 2 } else { 1 };
        assert_eq!(bench.apply(&[del("a", 1, 6), del("b", 1, 6)]).await, outcome(2, 0, 0, 0, dead));
        assert_eq!(bench.rows().await, ["[a1 five]", "a2 two"], "columns stay");
        let lost = bench.apply(&[up("a", 1, 5, "old"), up("b", 1, 6, "old"), del("a", 2, 4)]).await;
        assert_eq!((lost.applied, lost.superseded()), (0, 3));
        let before = bench.digest().await;
        bench.apply(&[del("a", 1, 6), del("b", 1, 6)]).await;
        assert_eq!(bench.digest().await, before);
        assert_eq!(bench.apply(&[up("a", 1, 7, "seven"), up("b", 1, 7, "b")]).await, outcome(2, 0, 0, 0, -dead));
        assert_eq!(bench.rows().await, ["a1 seven", "a2 two", "b1 b"]);
        assert_eq!(bench.tombstones().await, 0);
    }
}

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

/// Invariant 3: below the floor no row is made, whether the key is unknown or has a lower tombstone; rows that are there, and all
/// that is above the floor, go on as before.
#[tokio::test]
async fn what_is_below_the_floor_makes_no_row() {
    for storage in [COLUMN, SIDE] {
        let mut bench = Bench::new(DeleteMode::Hard, storage).await;
        bench.apply(&[up("a", 1, 10, "ten"), del("a", 2, 5), del("a", 3, 50)]).await;
        let graves = bookkeep::Graves { table: bench.table.name().clone(), storage };
        let closed_ms = bookkeep::now_ms(&mut bench.session).await.expect("a clock") + 60_000;
        let generation = bookkeep::Generation {
            number: 1,
            opened_ms: 0,
            closed_ms,
            ends: Vec::new(),
            is_collected: false,
            collected: 0,
        };
        let collected = bookkeep::collect(&mut bench.session, "p", &graves, &generation).await.expect("collected");
        assert_eq!((collected, bench.tombstones().await), (2, 0), "{storage:?}");
        let refused = async |bench: &mut Bench, event: Event| {
            let plan = bench.plan(&[event]);
            let failure = bench.session.apply(&plan).await.expect_err("below the floor");
            assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "below_floor"), "{failure}");
        };
        for (key, at) in [(2, 6), (3, 49), (4, 50), (4, 1)] {
            refused(&mut bench, up("a", key, at, "risen")).await;
        }
        bench.apply(&[del("a", 2, 7)]).await;
        refused(&mut bench, up("a", 2, 8, "risen")).await;
        assert_eq!(bench.apply(&[up("a", 2, 6, "older")]).await, outcome(0, 0, 1, 0, 0), "it only loses");
        assert_eq!(bench.apply(&[up("a", 1, 9, "old")]).await, outcome(0, 1, 0, 0, 0));
        assert_eq!(bench.apply(&[up("a", 1, 20, "twenty"), up("a", 5, 51, "new")]).await.applied, 2);
        assert_eq!(bench.rows().await, ["a1 twenty", "a5 new"]);
        let counters = bookkeep::table_counters(&mut bench.session, "p").await.expect("counters");
        assert_eq!(counters[0].sums.tombstones_delta, bench.tombstones().await, "{storage:?}");
    }
}

#[tokio::test]
async fn tokens_of_other_sources_undo_the_whole_plan() {
    for (storage, event) in [
        (COLUMN, up("a", 1, 9, "x")),
        (COLUMN, del("a", 2, 9)),
        (SIDE, up("a", 1, 9, "x")),
        (COLUMN, Event::Truncate(9)),
    ] {
        let mut bench = Bench::new(DeleteMode::Hard, storage).await;
        bench.apply(&[up("a", 1, 1, "one"), del("a", 2, 1)]).await;
        let before = bench.digest().await;
        let mut plan = bench.plan(&[event.clone(), up("b", 1, 9, "b")]);
        let other = |token: &mut Token| *token = TokenWriter::new(2, 1).number(9).finish();
        plan.tables[0].upserts[0]
            .rows
            .iter_mut()
            .filter(|row| row.values[2] == Value::from("a"))
            .for_each(|row| other(&mut row.token));
        plan.tables[0].deletes.iter_mut().for_each(|delete| other(&mut delete.token));
        plan.tables[0].truncate.iter_mut().for_each(other);
        let failure = bench.session.apply(&plan).await.expect_err("incomparable");
        assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "incomparable_token"), "{event:?}");
        assert!(failure.message.contains("public.t"), "{failure}");
        assert_eq!(bench.digest().await, before);
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
async fn a_fenced_plan_leaves_nothing_behind() {
    let mut bench = Bench::new(DeleteMode::Hard, COLUMN).await;
    let at = TopicPartition::new("t", 0);
    bookkeep::set_offset(&mut bench.session, "p", &at, "-", 0, "test").await.expect("checkpoint");
    let mut plan = bench.plan(&[up("a", 1, 1, "one")]);
    let advance = |fence| Advance {
        at: at.clone(),
        fence,
        from: 0,
        next: 1,
        counts: Default::default(),
        source_time_ms: None,
        open_delete: None,
        top: Default::default(),
    };
    plan.advances = vec![advance(7)];
    let failure = bench.session.apply(&plan).await.expect_err("fenced");
    assert_eq!((failure.class, failure.fenced), (Class::Fenced, vec![at.clone()]));
    assert!(bench.rows().await.is_empty());
    plan.advances = vec![advance(1)];
    bench.session.apply(&plan).await.expect("the right fence");
    let failure = bench.session.apply(&plan).await.expect_err("the same plan again");
    assert_eq!(failure.class, Class::Fenced);
    assert_eq!(bench.rows().await, ["a1 one"]);
}

/// A generator of numbers that are the same in every run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[tokio::test]
async fn any_order_and_any_cut_end_in_the_same_state() {
    for storage in [COLUMN, SIDE] {
        let mut seen: Option<String> = None;
        let mut guards = TableOutcome::default();
        for seed in 1..=12_u64 {
            let mut state = 7;
            let mut events: Vec<Event> = (1..=300_u64)
                .map(|number| {
                    let id = (random(&mut state) % 12) as i64;
                    match random(&mut state) % 40 {
                        0 if number < 200 => Event::Truncate(number),
                        1..=12 => del("k", id, number),
                        _ => up("k", id, number, ["a", "b", "c"][(random(&mut state) % 3) as usize]),
                    }
                })
                .collect();
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            // Not shuffled at first, then more and more; a third is delivered twice.
            for at in 0..events.len() {
                let other = at + (random(&mut state) % (seed * seed)) as usize;
                if other < events.len() {
                    events.swap(at, other);
                }
            }
            let again: Vec<Event> = events.iter().filter(|_| random(&mut state).is_multiple_of(3)).cloned().collect();
            events.extend(again);
            let mut bench = Bench::new(DeleteMode::Hard, storage).await;
            let mut rest = &events[..];
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(((random(&mut state) % 30) as usize + 1).min(rest.len()));
                rest = after;
                guards += &bench.apply(&collapse(batch)).await;
            }
            let sums = bookkeep::table_counters(&mut bench.session, "p").await.expect("counters")[0].sums;
            assert_eq!(sums.tombstones_delta, bench.tombstones().await, "{storage:?} {seed}");
            let digest = bench.digest().await;
            assert_eq!(seen.get_or_insert_with(|| digest.clone()), &digest, "{storage:?} {seed}");
        }
        assert!(
            guards.superseded_by_row > 0 && guards.superseded_by_tombstone > 0 && guards.superseded_by_truncate > 0,
            "{guards:?}"
        );
    }
}

/// The newest event of every key, as a batch has it.
fn collapse(events: &[Event]) -> Vec<Event> {
    let mut kept: Vec<Event> = Vec::new();
    let facts = |event: &Event| match event {
        Event::Upsert(key, number, _) | Event::Delete(key, number) => (Some(key.clone()), *number),
        Event::Truncate(number) => (None, *number),
    };
    for event in events {
        match kept.iter_mut().find(|known| facts(known).0 == facts(event).0) {
            Some(known) if facts(known).1 < facts(event).1 => *known = event.clone(),
            Some(_) => {}
            None => kept.push(event.clone()),
        }
    }
    kept
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

/// A row whose delete event is gone goes if nothing newer was written meanwhile; its own newest event brings it back, older
/// ones do not (invariants 2 and 3).
#[tokio::test]
async fn orphans_delete_exactly_the_row_that_was_seen() {
    for (delete, storage) in
        [(DeleteMode::Hard, COLUMN), (DeleteMode::Soft, COLUMN), (DeleteMode::Hard, SIDE), (DeleteMode::Soft, SIDE)]
    {
        let mut bench = Bench::new(delete, storage).await;
        if storage == SIDE && delete == DeleteMode::Soft && !bench.table.shape.has_deleted {
            continue;
        }
        bench.apply(&[up("a", 1, 5, "one"), up("a", 2, 5, "two")]).await;
        let key = |id: i64| vec![Value::from("a"), Value::Int(id)];
        let live = bookkeep::live_row(&mut bench.session, &bench.table, &key(1)).await.expect("a look");
        assert_eq!(live, Some(bookkeep::LiveRow { token: Some(token(5)) }));
        let orphan = |id, at| Orphan { token: token(at), below: token(at - 1), key: key(id) };
        let mut plan = bench.plan(&[]);
        plan.tables[0].orphans = vec![orphan(1, 5), orphan(2, 4), orphan(3, 5)];
        let outcome = bench.session.apply(&plan).await.expect("applied").tables[0];
        assert_eq!((outcome.applied, outcome.superseded_by_row), (1, 2), "{delete:?} {storage:?}");
        assert_eq!(bench.tombstones().await, outcome.tombstones_delta, "{delete:?} {storage:?}");
        let live = bookkeep::live_row(&mut bench.session, &bench.table, &key(1)).await.expect("a look");
        assert_eq!(live, None, "{delete:?} {storage:?}");
        assert_eq!(bench.apply(&[up("a", 1, 4, "old")]).await.applied, 0);
        assert_eq!(bench.apply(&[up("a", 1, 5, "again")]).await.applied, 1);
        assert_eq!(bench.rows().await, ["a1 again", "a2 two"], "{delete:?} {storage:?}");
    }
}
