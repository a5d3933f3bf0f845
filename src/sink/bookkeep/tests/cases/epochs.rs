//! Source epochs in the store.

use super::*;
use crate::core::epoch::{EpochQuestion, EpochRow, OPERATOR, Shown};
use crate::core::token::Token;

fn question(partition: i32, offset: i64, marker: &str, number: u64) -> EpochQuestion {
    EpochQuestion {
        at: at("t", partition),
        incarnation: "id".into(),
        offset,
        time_ms: Some(offset),
        shown: Shown::Marker { marker: marker.into(), number },
        bound: None,
        previous_top: Some(u64::MAX),
        passed: false,
    }
}

async fn asked(session: &mut Session, question: EpochQuestion) -> EpochRow {
    epoch(session, &question).await.expect("an answer").expect("a row")
}

/// Invariant 7: what an older version wrote down is found by this one, also if its migration was cut off.
pub(in crate::sink::bookkeep::tests) async fn a_store_of_format_1_keeps_its_facts(database: &Database) {
    let sink = database.sink();
    let mut session = sink.session("test").await.expect("session");
    let dialect = session.dialect();
    if dialect == Dialect::Postgres {
        session.execute("create schema lastword", &[]).await.expect("schema");
    }
    for statement in sql::split(sql::STORE_001.of(dialect)) {
        session.execute(statement, &[]).await.expect("format 1");
    }
    let statement = |text: &str| sql::rewrite(text, dialect);
    let facts = statement(
        "insert into lastword.ledger (topic, incarnation, partition_id, kind, first_offset, value)
         values ('t', 'id', 0, 'snapshot_lsn', 7, 2173432856), ('t', 'id', 0, 'gtid_marker', 9, 4)",
    );
    session.execute(&facts, &[]).await.expect("facts");
    session
        .execute(&statement("insert into lastword.meta (name, value) values ('format', '1')"), &[])
        .await
        .expect("format");
    if dialect == Dialect::Mysql {
        // Cut off behind its first columns.
        session
            .execute(&statement("alter table lastword.checkpoint add column top_token varbinary(48)"), &[])
            .await
            .expect("a part");
    }
    assert_eq!(migrate(&mut session).await.expect("migrate").found, Some(1));
    let rows = epochs(&mut session, &[at("t", 0)]).await.expect("epochs");
    let seen: Vec<_> = rows.iter().map(|row| (row.marker.as_str(), row.ordinal, row.first_offset)).collect();
    assert_eq!(seen, [("snapshot 2173432856", 1, 7)]);
    assert!(ledger(&mut session, &[at("t", 0)]).await.expect("ledger").is_empty());
    assert_eq!(migrate(&mut session).await.expect("again").found, Some(STORE_FORMAT));
}

/// Review A2, 6: partitions in different processes ask at once: each gets its row, all the same ordinals, and what was answered once is
/// answered again.
pub(in crate::sink::bookkeep::tests) async fn partitions_that_ask_at_once_get_one_epoch(database: &Database) {
    let (sink, mut session) = database.store().await;
    let run = async |partition: i32| {
        let mut session = sink.session("asks").await.expect("session");
        let mut ordinals = Vec::new();
        for (offset, marker, number) in [(3, "a", 5), (8, "b", 1)] {
            ordinals.push(asked(&mut session, question(partition, offset, marker, number)).await.ordinal);
        }
        ordinals
    };
    let (one, two, three, four) = tokio::join!(run(0), run(1), run(2), run(3));
    for ordinals in [one, two, three, four] {
        assert_eq!(ordinals, [1000, 2000]);
    }
    let again = asked(&mut session, question(2, 8, "b", 1)).await;
    assert_eq!((again.ordinal, again.first_time_ms, again.previous_top), (2000, Some(8), Some(u64::MAX)));
    assert_eq!(epoch_list(&mut session).await.expect("list").len(), 8);
    assert_eq!(epochs(&mut session, &[at("t", 1), at("u", 0)]).await.expect("epochs").len(), 2);

    // A marker of its own, and then one that lies before it elsewhere, without a clock that could tell.
    let untimed = |question| EpochQuestion { time_ms: None, ..question };
    asked(&mut session, untimed(question(4, 1, "c", 1))).await;
    let why =
        epoch(&mut session, &untimed(question(4, 2, "b", 1))).await.expect("an answer").expect_err("a contradiction");
    assert_eq!((why.reason, why.stops_table), ("source_epoch", true));
}

/// Invariant 5: whoever planned with the epochs before is fenced, and the position from which the new one holds is the stored one.
pub(in crate::sink::bookkeep::tests) async fn an_operators_epoch_raises_the_fences(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let partitions = [at("t", 0), at("t", 1), at("u", 0)];
    let claims =
        claim(&mut session, "shop", "one", &requests("id", &partitions), &starts(5, &partitions)).await.expect("claim");
    asked(&mut session, question(0, 5, "a", 9)).await;
    // A row that a lost batch asked for.
    asked(&mut session, question(0, 20, "b", 1)).await;
    commit_plan(&mut session, &move_by(&claims[0], 3)).await.expect("advance");

    let refused = epoch_open(&mut session, "shop", "other", None, "ann").await.expect_err("unknown");
    assert_eq!(refused.code, "unknown_partition");
    let opened = epoch_open(&mut session, "shop", "t", None, "ann").await.expect("open");
    let seen: Vec<_> =
        opened.iter().map(|opened| (opened.partition, opened.before, opened.ordinal, opened.from)).collect();
    assert_eq!(seen, [(0, 1000, 3000, 8), (1, 1, 3000, 5)]);
    let late = commit_plan(&mut session, &move_by(&Claim { next_offset: 8, ..claims[0].clone() }, 1)).await;
    assert_eq!(late.expect_err("fenced").class, Class::Fenced);
    let states = fences(&mut session, "shop", &partitions).await.expect("fences");
    assert_eq!(states.iter().map(|state| state.fence).collect::<Vec<_>>(), [2, 2, 1]);
    let rows: Vec<_> = epoch_list(&mut session)
        .await
        .expect("list")
        .into_iter()
        .map(|entry| (entry.row.at.partition, entry.row.marker, entry.row.first_offset, entry.opened_by))
        .collect();
    let row = |partition, marker: &str, offset, by: &str| (partition, marker.to_owned(), offset, by.to_owned());
    assert_eq!(rows, [row(0, "a", 5, "run"), row(0, OPERATOR, 8, "ann"), row(1, OPERATOR, 5, "ann")]);
    let acts = audit_list(&mut session, 9).await.expect("audit");
    assert!(acts.iter().all(|act| act.act == "epoch open" && act.who == "ann"), "{acts:?}");
    assert_eq!(acts.len(), 2);
    // What follows is bound to it; again, and only in one partition.
    assert_eq!(asked(&mut session, question(0, 8, "b", 1)).await.ordinal, 3000);
    let again = epoch_open(&mut session, "shop", "t", Some(0), "ann").await.expect("open");
    assert_eq!((again.len(), again[0].ordinal, again[0].from), (1, 4000, 8));
}

pub(in crate::sink::bookkeep::tests) async fn the_top_of_a_stream_is_kept_with_its_checkpoint(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let partitions = [at("t", 0)];
    let first =
        claim(&mut session, "shop", "one", &requests("id", &partitions), &starts(0, &partitions)).await.expect("claim");
    assert_eq!(first[0].top, Top::default());
    let token: Token = TokenWriter::new(1, 1).number(9).finish();
    let top = Top { number: Some((u64::MAX, 2)), token: Some(token), time_ms: Some(-3) };
    let mut plan = move_by(&first[0], 3);
    plan.advances[0].top = top;
    commit_plan(&mut session, &plan).await.expect("advance");
    let again = claim(&mut session, "shop", "two", &requests("id", &partitions), &HashMap::new()).await.expect("claim");
    assert_eq!(again[0].top, top);
    set_offset(&mut session, "shop", &at("t", 0), "id", 1, "ann").await.expect("moved");
    let moved = claim(&mut session, "shop", "two", &requests("id", &partitions), &HashMap::new()).await.expect("claim");
    assert_eq!(moved[0].top, top, "moving back forgets nothing");
    set_offset(&mut session, "shop", &at("t", 0), "new", 1, "ann").await.expect("another topic");
    let other =
        claim(&mut session, "shop", "two", &requests("new", &partitions), &HashMap::new()).await.expect("claim");
    assert_eq!(other[0].top, Top::default());
}
