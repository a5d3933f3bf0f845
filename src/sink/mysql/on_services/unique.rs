//! Second unique keys: no upsert over them changes another row, values change hands in one batch.

use super::*;
use crate::core::failure::Class;

fn ddl(not_null: bool, kind: Kind) -> String {
    let token = if kind.storage == TokenStorage::Column { ", _lastword_token VARBINARY(48)" } else { "" };
    format!(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(20){} UNIQUE{token})",
        if not_null { " NOT NULL" } else { "" }
    )
}

fn changes(table: &Arc<Table>, rows: &[(i64, u64, &str)], deletes: &[(i64, u64)]) -> Plan {
    let rows = rows.iter().map(|(id, at, v)| upsert(*at, vec![Value::Int(*id), Value::from(*v)])).collect();
    plan_of(table, &[0, 1], rows, deletes.iter().map(|(id, at)| delete(*at, vec![Value::Int(*id)])).collect())
}

const CASES: [(&str, bool, Kind); 4] =
    [("u_null", false, HARD), ("u_away", true, HARD), ("u_snull", false, SIDE), ("u_saway", true, SIDE)];

/// Invariant 2 in any collapse: values that were moved in steps at the source end where they belong, though the batch holds
/// the ends of the moves only; and a replay changes nothing.
#[tokio::test]
async fn values_change_hands_in_one_batch() {
    for (name, not_null, kind) in CASES {
        let mut world = world(name).await;
        let table = world.table("t", &ddl(not_null, kind), &["id"], kind).await;
        let start = changes(&table, &[(1, 1, "a"), (2, 1, "b"), (3, 1, "c"), (4, 1, "d")], &[(6, 9)]);
        world.apply(&start).await;
        let trade = changes(&table, &[(1, 2, "b"), (2, 2, "a"), (4, 2, "c"), (5, 2, "d"), (6, 2, "x")], &[(3, 2)]);
        let outcome = world.apply(&trade).await;
        assert_eq!((outcome.applied, outcome.superseded_by_tombstone), (5, 1), "{name}");
        assert_eq!(world.rows("SELECT id, v FROM t ORDER BY id").await, ["1 b", "2 a", "4 c", "5 d"], "{name}");
        let before = world.digest(&table).await;
        assert_eq!(world.apply(&trade).await.applied, 0, "{name}");
        world.apply(&start).await;
        assert_eq!(world.digest(&table).await, before, "{name}");
        assert_eq!(world.rows("SELECT @@SESSION.foreign_key_checks").await, ["1"]);
        world.end().await;
    }
}

/// A new row and a changed one that clash with a row outside of the batch are refused, and that row stays as it is; the refusal
/// names the key and no value.
#[tokio::test]
async fn a_clash_never_changes_another_row() {
    for (name, not_null, kind) in CASES {
        let mut world = world(&format!("{name}_clash")).await;
        let table = world.table("t", &ddl(not_null, kind), &["id"], kind).await;
        world.apply(&changes(&table, &[(1, 1, "a"), (9, 1, "secret")], &[])).await;
        let before = world.digest(&table).await;
        for rows in [&[(1, 2, "secret")][..], &[(2, 2, "secret")], &[(1, 2, "x"), (2, 2, "secret"), (3, 2, "y")]] {
            let failure = world.session.apply(&changes(&table, rows, &[])).await.expect_err("clash");
            assert!(failure.class == Class::Record && failure.is_unique_violation(), "{failure}");
            assert!(failure.message.contains("key \"v\"") && !failure.message.contains("secret"), "{failure}");
            assert_eq!(world.digest(&table).await, before, "{name}");
        }
        world.end().await;
    }
}

/// A row is not deleted to free its value where that would take children along.
#[tokio::test]
async fn children_are_not_lost() {
    let mut world = world("u_children").await;
    let table = world.table("t", &ddl(true, HARD), &["id"], HARD).await;
    assert!(!table.shape.delete_has_effects);
    world.apply(&changes(&table, &[(1, 1, "a"), (2, 1, "b")], &[])).await;
    world.run("CREATE TABLE c (id BIGINT, FOREIGN KEY (id) REFERENCES t (id) ON DELETE CASCADE)").await;
    world.run("INSERT INTO c VALUES (1), (2)").await;
    let shape = world.session.describe(table.name()).await.expect("described").expect("there");
    assert!(shape.delete_has_effects);
    let knows = Arc::new(Table { shape, key: vec![0], ..clone(&table) });
    let failure = world.session.apply(&changes(&knows, &[(1, 2, "b"), (2, 2, "a")], &[])).await.expect_err("refused");
    assert!(failure.is_unique_violation(), "{failure}");
    // Where the foreign key could not be seen, its checks are off while the rows are away.
    world.apply(&changes(&table, &[(1, 2, "b"), (2, 2, "a")], &[])).await;
    assert_eq!(world.rows("SELECT id FROM c ORDER BY id").await, ["1", "2"]);
    assert_eq!(world.rows("SELECT id, v FROM t ORDER BY id").await, ["1 b", "2 a"]);
    world.end().await;
}

fn clone(table: &Table) -> Table {
    Table { shape: table.shape.clone(), key: table.key.clone(), ..*table }
}

/// Tables that refer to each other are written in whatever order their foreign keys take; a row whose parent is nowhere is refused
/// by a code that the lane waits for.
#[tokio::test]
async fn parents_and_children_of_one_batch() {
    let mut world = world("related").await;
    // The child's name sorts before its parent's: that is the order of a plan.
    let parent = world.table("p", &SMALL.replace("TABLE t ", "TABLE p "), &["id"], HARD).await;
    let ddl = "CREATE TABLE c (id BIGINT PRIMARY KEY, v BIGINT, _lastword_token VARBINARY(48), \
               FOREIGN KEY (v) REFERENCES p (id))";
    let child = world.table("c", ddl, &["id"], HARD).await;
    let both = |children: &[(i64, i64)], at: u64, gone: &[i64], parents: &[(i64, u64)], dead: &[(i64, u64)]| {
        let rows = children.iter().map(|(id, v)| upsert(at, vec![Value::Int(*id), Value::Int(*v)])).collect();
        let gone = gone.iter().map(|id| delete(at, vec![Value::Int(*id)])).collect();
        let mut plan = plan_of(&child, &[0, 1], rows, gone);
        plan.tables.extend(small(&parent, parents, dead).tables);
        plan
    };
    let counts = |tables: Vec<TableOutcome>| tables.iter().map(|table| table.applied).collect::<Vec<_>>();
    let new = both(&[(1, 7), (2, 8)], 1, &[], &[(7, 1), (8, 1)], &[]);
    assert_eq!(counts(world.session.apply(&new).await.expect("new").tables), [2, 2]);
    // One child moves to a new parent, one goes, and both old parents go.
    let moved = both(&[(1, 9)], 2, &[2], &[(9, 2)], &[(7, 2), (8, 2)]);
    assert_eq!(counts(world.session.apply(&moved).await.expect("moved").tables), [2, 3]);
    assert_eq!(world.rows("SELECT id, v FROM c").await, ["1 9"]);
    assert_eq!(world.rows("SELECT id FROM p").await, ["9"]);
    for plan in [both(&[(3, 50)], 3, &[], &[(51, 3)], &[]), both(&[], 3, &[], &[(51, 3)], &[(9, 3)])] {
        let failure = world.session.apply(&plan).await.expect_err("no parent, or a child");
        assert!(failure.class == Class::Record && failure.is_foreign_key_violation(), "{failure}");
        assert_eq!(world.rows("SELECT id FROM p").await, ["9"]);
    }
    world.end().await;
}
