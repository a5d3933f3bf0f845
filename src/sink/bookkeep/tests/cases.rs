//! What bookkeeping promises, the same in every database.

mod epochs;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::*;
use super::Database;
pub(super) use super::news::{a_table_belongs_to_one_scope, news_of_sources_add_up};
use crate::core::batch::UNSEEN_DELETE;
use crate::core::dialect::Dialect;
use crate::core::dialect::ddl::{self, Server};
use crate::core::ledger::Top;
use crate::core::plan::{LedgerEntry, Mark, QuarantinedRecord};
use crate::core::record::{Headers, TopicPartition};
use crate::core::table::{Contract, DeleteMode, Table, TableName, TokenStorage};
use crate::core::token::TokenWriter;
use crate::core::wire::{Field, TableSpec, WireType};
use crate::sink::Session;
use crate::sink::contract;

pub(super) use epochs::*;

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn requests(incarnation: &str, partitions: &[TopicPartition]) -> Vec<ClaimRequest> {
    partitions.iter().map(|at| ClaimRequest { at: at.clone(), incarnation: incarnation.into() }).collect()
}

fn starts(offset: i64, partitions: &[TopicPartition]) -> HashMap<TopicPartition, i64> {
    partitions.iter().map(|at| (at.clone(), offset)).collect()
}

fn move_by(claim: &Claim, records: i64) -> Plan {
    Plan {
        checkpoint_owner: "shop".into(),
        pipeline: "shop".into(),
        advances: vec![Advance { top: Top::default(), ..contract::advance(claim, records) }],
        ..Plan::default()
    }
}

async fn commit_plan(session: &mut Session, plan: &Plan) -> Result<(), Failure> {
    session.begin().await?;
    let mut work = advance(session, plan).await;
    if work.is_ok() {
        work = finish(session, plan, &[]).await;
    }
    end(session, work).await
}

pub(super) async fn a_claim_fences_the_owner_before(database: &Database) {
    let (sink, mut first) = database.store().await;
    let partitions = [at("b", 1), at("a", 10), at("a", 2)];
    let claims =
        claim(&mut first, "shop", "one", &requests("id", &partitions), &starts(7, &partitions)).await.expect("claim");
    let order: Vec<_> = claims.iter().map(|claim| claim.at.to_string()).collect();
    assert_eq!(order, ["a[2]", "a[10]", "b[1]"]);
    assert!(claims.iter().all(|claim| claim.fresh && claim.fence == 1 && claim.next_offset == 7));

    commit_plan(&mut first, &move_by(&claims[0], 3)).await.expect("advance");
    let mut second = sink.session("second").await.expect("session");
    let taken =
        claim(&mut second, "shop", "two", &requests("id", &partitions[2..]), &HashMap::new()).await.expect("claim");
    assert_eq!((taken[0].fence, taken[0].next_offset, taken[0].fresh), (2, 10, false));
    assert_eq!(taken[0].open_delete.as_deref(), Some(b"\0key".as_slice()));

    // The first one goes on as if nothing had happened, with one partition lost and one kept.
    let mut plan = move_by(&Claim { next_offset: 10, ..claims[0].clone() }, 1);
    plan.advances.extend(move_by(&claims[1], 1).advances);
    let failure = commit_plan(&mut first, &plan).await.expect_err("fenced");
    assert_eq!((failure.class, failure.fenced.clone()), (Class::Fenced, vec![at("a", 2)]), "{failure}");
    let states = fences(&mut first, "shop", &partitions).await.expect("fences");
    let seen: Vec<_> = states.iter().map(|s| (s.at.to_string(), s.fence, s.owner.as_str(), s.next_offset)).collect();
    assert_eq!(seen, [("a[2]".into(), 2, "two", 10), ("a[10]".into(), 1, "one", 7), ("b[1]".into(), 1, "one", 7)]);

    let again = reclaim(&mut first, "shop", "one", &partitions).await.expect("reclaim");
    assert_eq!(again.not_mine, [at("a", 2)]);
    assert_eq!(again.claims.iter().map(|claim| claim.fence).collect::<Vec<_>>(), [2, 2]);
}

pub(super) async fn the_expected_offset_is_part_of_the_swap(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let partitions = [at("t", 0), at("t", 1)];
    let claims =
        claim(&mut session, "shop", "one", &requests("id", &partitions), &starts(0, &partitions)).await.expect("claim");
    let plan = move_by(&claims[0], 5);
    commit_plan(&mut session, &plan).await.expect("first");
    let mut twice = plan.clone();
    twice.advances.extend(move_by(&claims[1], 5).advances);
    let failure = commit_plan(&mut session, &twice).await.expect_err("the same batch again");
    assert_eq!(failure.fenced, [at("t", 0)]);
    let stored = checkpoints(&mut session, "shop").await.expect("checkpoints");
    assert_eq!(stored.iter().map(|c| (c.next_offset, c.counts.changes)).collect::<Vec<_>>(), [(5, 5), (0, 0)]);
    assert_eq!(stored[0].source_time_ms, Some(5));
    assert!(stored[0].updated_ms > 1_700_000_000_000, "{}", stored[0].updated_ms);

    // A move that applies nothing counts its match although little changes.
    let nothing = move_by(&Claim { next_offset: 5, ..claims[0].clone() }, 0);
    commit_plan(&mut session, &nothing).await.expect("nothing to apply");
}

pub(super) async fn all_missed_partitions_are_named_and_unknown_ones_need_a_start(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let partitions = [at("t", 0), at("t", 1), at("t", 2)];
    let failure = claim(&mut session, "shop", "one", &requests("id", &partitions), &starts(0, &partitions[..2])).await;
    assert_eq!(failure.expect_err("no start").code, "no_checkpoint");
    assert!(checkpoints(&mut session, "shop").await.expect("checkpoints").is_empty(), "all or nothing");
    let claims =
        claim(&mut session, "shop", "one", &requests("id", &partitions), &starts(0, &partitions)).await.expect("claim");
    let mut plan = Plan { checkpoint_owner: "shop".into(), ..Plan::default() };
    for claim in &claims {
        plan.advances.extend(
            move_by(&Claim { fence: claim.fence + i64::from(claim.at.partition != 1), ..claim.clone() }, 1).advances,
        );
    }
    let failure = commit_plan(&mut session, &plan).await.expect_err("fenced");
    assert_eq!(failure.fenced, [at("t", 0), at("t", 2)]);
}

pub(super) async fn a_topic_made_anew_is_refused_until_an_operator_moves_it(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let partitions = [at("t", 0)];
    let old = claim(&mut session, "shop", "one", &requests("old", &partitions), &starts(9, &partitions))
        .await
        .expect("claim");
    let failure = claim(&mut session, "shop", "one", &requests("new", &partitions), &starts(0, &partitions))
        .await
        .expect_err("new");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "topic_recreated"));
    for part in ["t[0]", "old", "new", "offsets set"] {
        assert!(failure.message.contains(part), "{failure}");
    }
    commit_plan(&mut session, &move_by(&old[0], 1)).await.expect("the fence was not touched");

    set_offset(&mut session, "shop", &at("t", 0), "new", 3, "ann").await.expect("set");
    let failure = commit_plan(&mut session, &move_by(&Claim { next_offset: 10, ..old[0].clone() }, 1)).await;
    assert_eq!(failure.expect_err("the fence was raised").class, Class::Fenced);
    let mine = reclaim(&mut session, "shop", "one", &partitions).await.expect("reclaim").claims;
    assert_eq!((mine[0].next_offset, &*mine[0].incarnation, mine[0].open_delete.clone()), (3, "new", None));
    set_offset(&mut session, "shop", &at("u", 4), "id", 8, "ann").await.expect("a checkpoint of its own");
    let acts = audit_list(&mut session, 10).await.expect("audit");
    assert_eq!(acts[1].before.as_deref(), Some("offset 10 of old"));
    assert_eq!(acts[1].after.as_deref(), Some("offset 3 of new"));
    assert_eq!((acts[0].before.clone(), acts[0].who.as_str(), acts[0].act.as_str()), (None, "ann", "offsets set"));
    // Set back, it may lie between a delete and its null.
    set_offset(&mut session, "shop", &at("t", 0), "new", 2, "ann").await.expect("set back");
    let mine = reclaim(&mut session, "shop", "one", &partitions).await.expect("reclaim").claims;
    assert_eq!((mine[0].next_offset, mine[0].open_delete.as_deref()), (2, Some(UNSEEN_DELETE)));
    // Set to where it is, it still lies behind the same delete.
    let mut plan = move_by(&mine[0], 1);
    plan.advances[0].open_delete = Some(Bytes::from_static(b"7"));
    commit_plan(&mut session, &plan).await.expect("advance");
    set_offset(&mut session, "shop", &at("t", 0), "new", 3, "ann").await.expect("set");
    let mine = reclaim(&mut session, "shop", "one", &partitions).await.expect("reclaim").claims;
    assert_eq!((mine[0].next_offset, mine[0].open_delete.as_deref()), (3, Some(&b"7"[..])));
    assert!(set_offset(&mut session, "shop", &at("t", 0), "new", -1, "ann").await.is_err());
}

pub(super) async fn a_newer_store_is_refused_and_a_missing_one_is_none(database: &Database) {
    let mut empty = database.sink().session("test").await.expect("session");
    assert_eq!(check_version(&mut empty).await.expect("none"), None);
    let (_sink, mut session) = database.store().await;
    assert_eq!(check_version(&mut session).await.expect("version"), Some(STORE_FORMAT));
    let raise = sql::META_SET.of(session.dialect());
    let newer = STORE_FORMAT + 1;
    session.execute(raise, &[Value::from(newer.to_string()), Value::from("format")]).await.expect("update");
    for failure in
        [check_version(&mut session).await.expect_err("newer"), migrate(&mut session).await.expect_err("newer")]
    {
        assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "newer_store"));
        assert!(failure.message.contains(&format!("format {newer}")), "{failure}");
    }
}

pub(super) async fn many_processes_may_migrate_at_once(database: &Database) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let sink = database.sink();
            tokio::spawn(async move {
                let mut session = sink.session("test").await.expect("session");
                let info = migrate(&mut session).await.expect("migrate");
                for number in 0..5 {
                    scope_id(&mut session, &format!("scope {number}")).await.expect("scope");
                }
                info
            })
        })
        .collect();
    let mut infos = Vec::new();
    for task in tasks {
        infos.push(task.await.expect("task"));
    }
    assert!(infos.iter().all(|info| info.format == STORE_FORMAT));
    let (_sink, mut session) = database.store().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(scope_id(&mut session, &format!("scope {number}")).await.expect("scope"));
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
}

fn bad_record(offset: i64) -> QuarantinedRecord {
    QuarantinedRecord {
        at: at("t", 3),
        incarnation: "id".into(),
        offset,
        timestamp_ms: Some(-5),
        key: None,
        value: Some(Bytes::from_static(b"\xff\0not text")),
        headers: Headers::pack([("h", Some(b"1".as_slice())), ("n", None)]),
        mark: Some(Mark { table: "public.t".into(), key: vec![1], token: TokenWriter::new(1, 1).number(9).finish() }),
        reason: "undecodable",
        detail: "byte 0 is not JSON".into(),
    }
}

pub(super) async fn quarantined_records_come_back_as_they_were(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let plan = Plan { pipeline: "shop".into(), quarantine: vec![bad_record(5), bad_record(6)], ..Plan::default() };
    for _ in 0..2 {
        commit_plan(&mut session, &plan).await.expect("keep");
    }
    let all = quarantine_list(&mut session, "shop", &QuarantineFilter::default(), 10).await.expect("list");
    assert_eq!(all.iter().map(|entry| (entry.offset, entry.tries)).collect::<Vec<_>>(), [(5, 2), (6, 2)]);
    let kept = quarantine_get(&mut session, all[0].id).await.expect("get").expect("there");
    let put = bad_record(5);
    assert_eq!((kept.key, kept.value, kept.headers), (put.key, put.value, put.headers));
    assert_eq!((kept.entry.at.clone(), kept.entry.timestamp_ms), (put.at, Some(-5)));
    assert_eq!(kept.entry.token.as_deref(), put.mark.as_ref().map(|mark| mark.token.as_bytes()));
    assert_eq!(kept.entry.state, QuarantineState::New);

    let settled = Plan { settled: vec![all[1].id], ..Plan::default() };
    commit_plan(&mut session, &settled).await.expect("settle");
    let unknown = quarantine_drop(&mut session, &[all[0].id, 99], "ann").await.expect_err("no such record");
    assert_eq!(unknown.code, "unknown_record");
    let filter =
        |state| QuarantineFilter { topic: Some("t".into()), table: Some("public.t".into()), state: Some(state) };
    for (state, count) in [(QuarantineState::New, 1), (QuarantineState::Retried, 1), (QuarantineState::Dropped, 0)] {
        let listed = quarantine_list(&mut session, "shop", &filter(state), 10).await.expect("list");
        assert_eq!(listed.len(), count, "{state:?}");
    }
    quarantine_drop(&mut session, &[all[0].id], "ann").await.expect("drop");
    let dropped = quarantine_list(&mut session, "shop", &filter(QuarantineState::Dropped), 10).await.expect("list");
    assert_eq!(dropped.len(), 1);
    assert_eq!(audit_list(&mut session, 5).await.expect("audit")[0].what, format!("{}: t[3] offset 5", all[0].id));
    let other = QuarantineFilter { topic: Some("u".into()), ..QuarantineFilter::default() };
    assert!(quarantine_list(&mut session, "shop", &other, 10).await.expect("list").is_empty());
}

pub(super) async fn ledger_rows_never_change(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let fact = |value| LedgerEntry {
        at: at("t", 0),
        incarnation: "id".into(),
        offset: 7,
        kind: crate::core::ledger::BINLOG_FLOOR,
        value,
    };
    for value in [u64::MAX, 1] {
        let plan = Plan { ledger: vec![fact(value)], ..Plan::default() };
        commit_plan(&mut session, &plan).await.expect("ledger");
    }
    // Every kind that is written is read again: a pipeline that cannot read its ledger cannot start.
    let facts = ledger(&mut session, &[at("t", 0), at("u", 1)]).await.expect("ledger");
    assert_eq!(facts, [fact(u64::MAX)]);
    assert!(ledger(&mut session, &[at("t", 1)]).await.expect("ledger").is_empty());
}

pub(super) async fn tables_keep_their_contract_and_their_truncate_token(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let name = TableName::new(Some("Or\"der"), "t.x; drop table lastword_meta");
    let failure = limits(&mut session, &name).await.expect_err("not met yet");
    assert_eq!(failure.code, "unknown_table");
    let ensure = async |session: &mut Session, storage, delete| {
        ensure_table_state(session, &name, Contract::FinalState, delete, storage).await
    };
    let state = ensure(&mut session, TokenStorage::Column, DeleteMode::Hard).await.expect("state");
    assert_eq!(state.truncate_token, None);
    ensure(&mut session, TokenStorage::Column, DeleteMode::Soft).await.expect("another delete mode");
    let failure =
        ensure(&mut session, TokenStorage::Side, DeleteMode::Soft).await.expect_err("another place of tokens");
    assert_eq!(failure.code, "table_changed");

    let token = |scope, number| TokenWriter::new(scope, 1).number(number).finish();
    for (raise, holds) in [(None, None), (Some(5), Some(5)), (Some(3), Some(5)), (Some(6), Some(6)), (None, Some(6))] {
        session.begin().await.expect("begin");
        let now = lock_table(&mut session, &name, raise.map(|n| token(1, n))).await.expect("lock");
        session.commit().await.expect("commit");
        assert_eq!(now.truncate, holds.map(|n| token(1, n)));
        assert_eq!(limits(&mut session, &name).await.expect("limits"), now);
    }
    let failure = lock_table(&mut session, &name, Some(token(2, 9))).await.expect_err("another scope");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Record, "incomparable_token"));

    let outcome = TableOutcome { applied: 3, superseded_by_row: 2, tombstones_delta: -1, ..TableOutcome::default() };
    for _ in 0..2 {
        tables::count(&mut session, "shop", &name, &outcome).await.expect("count");
    }
    let counters = table_counters(&mut session, "shop").await.expect("counters");
    assert_eq!((counters[0].table.as_str(), counters[0].sums.applied), (name.to_string().as_str(), 6));
    assert_eq!(counters[0].sums.tombstones_delta, -2);
}

pub(super) async fn replays_are_numbered_and_resumable(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let range = ReplayRange { topic: "t".into(), partition: 1, incarnation: "id".into(), from: 3, to: 9 };
    for number in 1..=2 {
        let id =
            replay_start(&mut session, "shop", std::slice::from_ref(&range), number == 2, "ann").await.expect("start");
        assert_eq!(id, number);
    }
    let counts = ReplayCounts { records: 6, applied: 1, superseded: 5, quarantined: 0 };
    replay_update(&mut session, 2, ReplayState::Interrupted, counts).await.expect("update");
    assert_eq!(
        replay_update(&mut session, 3, ReplayState::Done, counts).await.expect_err("no such").code,
        "unknown_replay"
    );
    let listed = replay_list(&mut session, "shop").await.expect("list");
    assert_eq!(
        listed.iter().map(|entry| (entry.repair, entry.state)).collect::<Vec<_>>(),
        [(false, ReplayState::Running), (true, ReplayState::Interrupted)]
    );
    assert_eq!((listed[1].ranges.as_slice(), listed[1].counts), ([range].as_slice(), counts));
    assert_eq!(replay_checkpoint_owner("shop", 2), "shop#replay-2");
    let owners: Arc<str> = replay_checkpoint_owner("shop", 2).into();
    let partitions = [at("t", 1)];
    claim(&mut session, &owners, "me", &requests("id", &partitions), &starts(3, &partitions)).await.expect("claim");
    assert!(checkpoints(&mut session, "shop").await.expect("checkpoints").is_empty());
}

pub(super) async fn a_claim_waits_for_the_writer_before_it(database: &Database) {
    let (sink, mut first) = database.store().await;
    let partitions = [at("t", 0)];
    let claims =
        claim(&mut first, "shop", "one", &requests("id", &partitions), &starts(0, &partitions)).await.expect("claim");
    first.begin().await.expect("begin");
    advance(&mut first, &move_by(&claims[0], 4)).await.expect("advance");
    let waiting = tokio::spawn(async move {
        let mut second = sink.session("second").await.expect("session");
        claim(&mut second, "shop", "two", &requests("id", &[at("t", 0)]), &HashMap::new()).await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    first.commit().await.expect("commit");
    let taken = waiting.await.expect("task").expect("claim");
    assert_eq!((taken[0].next_offset, taken[0].fence), (4, 2), "the commit in flight is settled");
}

pub(super) async fn a_claim_ends_the_session_that_keeps_its_row(database: &Database) {
    let (sink, mut first) = database.store().await;
    let partitions = [at("t", 0), at("t", 1)];
    let wanted = requests("id", &partitions);
    let claims = claim(&mut first, "shop", "one", &wanted, &starts(0, &partitions)).await.expect("claim");
    first.begin().await.expect("begin");
    advance(&mut first, &move_by(&claims[1], 4)).await.expect("advance");
    let mut second = sink.session("second").await.expect("session");
    let taken = claim(&mut second, "shop", "two", &wanted, &HashMap::new()).await;
    if second.dialect() == Dialect::Sqlite {
        // There is no session that could be ended: a live process gets its time, a dead one holds no locks.
        assert_eq!(taken.expect_err("locked").class, Class::Transient);
        first.commit().await.expect("commit");
        return;
    }
    let taken = taken.expect("claim");
    assert_eq!(taken.iter().map(|claim| (claim.next_offset, claim.fence)).collect::<Vec<_>>(), [(0, 2), (0, 2)]);
    let lost = first.commit().await.expect_err("the session was ended");
    assert_ne!(lost.class, Class::Record, "{lost}");
    let stored = checkpoints(&mut second, "shop").await.expect("checkpoints");
    assert_eq!((stored[1].next_offset, stored[1].fence, stored[1].owner.as_str()), (0, 2, "two"));
}

pub(super) async fn the_same_partitions_are_claimed_by_many_at_once(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let partitions: Vec<_> = (0..6).map(|number| at("t", number)).collect();
    let tasks: Vec<_> = (0..6)
        .map(|task: usize| {
            let (sink, mut partitions) = (database.sink(), partitions.clone());
            // Asked for in any order, taken in one.
            partitions.rotate_left(task);
            tokio::spawn(async move {
                let mut session = sink.session("test").await.expect("session");
                let owner = format!("owner {task}");
                let wanted = requests("id", &partitions);
                loop {
                    match claim(&mut session, "shop", &owner, &wanted, &starts(3, &partitions)).await {
                        Ok(claims) => return claims,
                        // A session that was ended while it waited, or a deadlock over new rows: a lane tries again, too.
                        Err(failure) => {
                            assert_eq!(failure.class, Class::Transient, "{failure}");
                            if failure.connection_lost {
                                session = sink.session("test").await.expect("session");
                            }
                        }
                    }
                }
            })
        })
        .collect();
    let mut fences = std::collections::BTreeSet::new();
    for task in tasks {
        let claims = task.await.expect("task");
        assert_eq!(claims.len(), 6);
        assert!(claims.iter().all(|claim| claim.next_offset == 3 && claim.fence == claims[0].fence), "{claims:?}");
        assert!(fences.insert(claims[0].fence), "two owners got one fence");
        assert_eq!(claims[0].fresh, claims[0].fence == 1);
    }
    let stored = checkpoints(&mut session, "shop").await.expect("checkpoints");
    let owner = &stored[0].owner;
    assert!(stored.iter().all(|checkpoint| checkpoint.owner == *owner), "all or nothing");
}

pub(super) async fn stored_tokens_are_those_of_rows_and_tombstones(database: &Database) {
    let (_sink, mut session) = database.store().await;
    let dialect = session.dialect();
    let field = |name: &str, kind| Field::new(name, kind, false);
    let spec = TableSpec {
        name: TableName::new(None, "t'$lastword$\"`"),
        // `found` is a variable of PL/pgSQL.
        fields: vec![field("found", WireType::Text), field("id", WireType::Int { bits: 32 })],
        key: vec!["id".into(), "found".into()],
        contract: Contract::FinalState,
        delete: DeleteMode::Hard,
        token_storage: TokenStorage::Column,
    };
    let made = ddl::create_table(dialect, &spec, &Server::default()).expect("ddl");
    session.execute(&made, &[]).await.expect("table");
    let shape = session.describe(&spec.name).await.expect("describe").expect("there");
    let table = Table {
        id: 1,
        shape,
        contract: spec.contract,
        delete: spec.delete,
        token_storage: spec.token_storage,
        key: vec![1, 0],
        single_writer: false,
    };
    for _ in 0..2 {
        session.execute(&ddl::side_table(dialect, &table), &[]).await.expect("side table");
    }
    if dialect == Dialect::Postgres {
        let text = "select count(*) from pg_attribute a join pg_collation c on c.oid = a.attcollation \
                    where attrelid = $1::text::regclass and c.collname = 'C' and attnotnull";
        let side = Value::from(dialect.bookkeeping(&table.side_name()));
        assert_eq!(session.query(text, &[side]).await.expect("collation"), [[Value::Int(1)]]);
    }
    let token = |number| TokenWriter::new(1, 1).number(number).finish();
    let places = [dialect.table(table.name()), dialect.bookkeeping(&table.side_name())];
    for (place, id, number) in [(0, 1, 5), (1, 2, 6), (0, 3, 7), (1, 3, 8), (0, 4, 9), (1, 4, 3)] {
        let marks: Vec<String> = (1..=3).map(|number| dialect.placeholder(number)).collect();
        let columns = ["id", "found", "_lastword_token"].map(|name| dialect.ident(name)).join(", ");
        let text = format!("insert into {} ({columns}) values ({})", places[place], marks.join(", "));
        let params = [Value::from(id), Value::from("k"), Value::bytes(token(number).as_bytes())];
        session.execute(&text, &params).await.expect("insert");
    }
    let keys: Vec<Vec<Value>> = (0..200).map(|id| vec![Value::from(id % 100), Value::from("k")]).collect();
    let found = stored_tokens(&mut session, &table, &keys).await.expect("tokens");
    for (id, number) in [(0, None), (1, Some(5)), (2, Some(6)), (3, Some(8)), (4, Some(9)), (5, None), (104, Some(9))] {
        assert_eq!(found[id], number.map(token), "{id}");
    }
    let other = [vec![Value::from(1), Value::from("K")]];
    assert_eq!(stored_tokens(&mut session, &table, &other).await.expect("tokens"), [None]);
}
