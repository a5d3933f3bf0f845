//! Second unique keys: values that change hands in one batch.

use super::*;
use crate::core::failure::Class;

const COLUMN: TokenStorage = TokenStorage::Column;
const SIDE: TokenStorage = TokenStorage::Side;

async fn bench(not_null: bool, storage: TokenStorage) -> Bench {
    let made = format!(
        "create table \"public.t\" (id integer not null, v text {} unique, code text not null, primary key (code, id)) strict",
        if not_null { "not null" } else { "" }
    );
    let spec = spec(TableName::new(Some("public"), "t"), DeleteMode::Hard, storage);
    Bench::with(&[&made], spec).await
}

/// Invariant 2 in any collapse: values that were moved in steps at the source end where they belong.
#[tokio::test]
async fn values_change_hands_in_one_batch() {
    for (not_null, storage) in [(false, COLUMN), (true, COLUMN), (false, SIDE), (true, SIDE)] {
        let mut bench = bench(not_null, storage).await;
        let start = [up("k", 1, 1, "a"), up("k", 2, 1, "b"), up("k", 3, 1, "c"), up("k", 4, 1, "d"), del("k", 6, 9)];
        bench.apply(&start).await;
        let trade = [
            up("k", 1, 2, "b"),
            up("k", 2, 2, "a"),
            del("k", 3, 2),
            up("k", 4, 2, "c"),
            up("k", 5, 2, "d"),
            up("k", 6, 2, "x"),
        ];
        let outcome = bench.apply(&trade).await;
        assert_eq!((outcome.applied, outcome.superseded_by_tombstone), (5, 1), "{not_null} {storage:?}");
        assert_eq!(bench.rows().await, ["k1 b", "k2 a", "k4 c", "k5 d"], "{not_null} {storage:?}");
        let before = bench.digest().await;
        assert_eq!(bench.apply(&trade).await.applied, 0);
        bench.apply(&start).await;
        assert_eq!(bench.digest().await, before);

        let failure = bench.session.apply(&bench.plan(&[up("k", 7, 3, "a")])).await.expect_err("clash");
        assert!(failure.class == Class::Record && failure.is_unique_violation(), "{failure}");
        assert_eq!(bench.digest().await, before);
    }
}

/// A row is not deleted to free its value where that would take children along.
#[tokio::test]
async fn children_are_not_lost() {
    let mut bench = bench(true, COLUMN).await;
    bench.apply(&[up("k", 1, 1, "a"), up("k", 2, 1, "b")]).await;
    let child =
        "create table child (code text, id integer, foreign key (code, id) references \"public.t\" on delete cascade)";
    bench.session.execute(child, &[]).await.expect("child");
    bench.session.execute("insert into child values ('k', 1), ('k', 2)", &[]).await.expect("children");
    let name = bench.table.name().clone();
    let shape = bench.session.describe(&name).await.expect("describe").expect("there");
    assert!(shape.delete_has_effects);
    let table = Arc::get_mut(&mut bench.table).expect("alone");
    table.shape = shape;
    let trade = bench.plan(&[up("k", 1, 2, "b"), up("k", 2, 2, "a")]);
    assert!(bench.session.apply(&trade).await.expect_err("refused").is_unique_violation());
    let children = bench.session.query("select count(*) from child", &[]).await.expect("count");
    assert_eq!(children[0][0].as_int(), Some(2));
}

/// Tables that refer to each other are written in any order; a row whose parent is nowhere is refused by a code that the lane
/// waits for, and nothing of its batch stays.
#[tokio::test]
async fn parents_and_children_of_one_batch() {
    let mut bench = bench(true, COLUMN).await;
    let child = "create table child (code text, id integer, primary key (code, id), \
                 foreign key (code, id) references \"public.t\" deferrable initially immediate)";
    bench.session.execute(child, &[]).await.expect("child");
    bench.apply(&[up("k", 1, 1, "a"), up("k", 2, 1, "b")]).await;
    bench.session.execute("insert into child values ('k', 1)", &[]).await.expect("children");
    let before = bench.digest().await;
    let failure = bench.session.apply(&bench.plan(&[del("k", 1, 2), del("k", 2, 2)])).await.expect_err("a child");
    assert!(failure.class == Class::Record && failure.is_foreign_key_violation(), "{failure}");
    assert_eq!(bench.digest().await, before);
    // The child's row is gone by the end of the transaction.
    let gone = "create trigger gone after delete on \"public.t\" begin delete from child where id = old.id; end";
    bench.session.execute(gone, &[]).await.expect("trigger");
    bench.apply(&[del("k", 1, 2)]).await;
    assert_eq!(bench.rows().await, ["k2 b"]);
}
