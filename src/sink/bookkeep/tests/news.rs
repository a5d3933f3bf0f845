//! What is stored about sources, and about the source that a table belongs to.

use super::super::*;
use super::Database;
use crate::core::plan::Consistency;
use crate::core::table::TableName;

async fn tell(session: &mut crate::sink::Session, position: Option<&str>, by_time: u64, inside: u64) {
    let news = Consistency { source: "mariadb shop 0".into(), position: position.map(str::to_owned), by_time, inside };
    let plan = Plan { pipeline: "shop".into(), consistency: vec![news], ..Plan::default() };
    session.begin().await.expect("begin");
    finish(session, &plan, &[]).await.expect("finish");
    session.commit().await.expect("commit");
}

/// Counts add up, and a batch without news of the position leaves it as it is.
pub(super) async fn news_of_sources_add_up(database: &Database) {
    let (_sink, mut session) = database.store().await;
    assert!(consistency(&mut session, "shop").await.expect("list").is_empty());
    for (position, by_time, inside) in [(None, 1, 0), (Some("GTID domain 0, 7"), 0, 0), (None, 2, 1)] {
        tell(&mut session, position, by_time, inside).await;
    }
    let stored = consistency(&mut session, "shop").await.expect("list");
    let found: Vec<_> = stored
        .iter()
        .map(|state| (state.source.as_str(), state.position.as_deref(), state.by_time, state.inside))
        .collect();
    assert_eq!(found, [("mariadb shop 0", Some("GTID domain 0, 7"), 3, 1)]);
    assert!(consistency(&mut session, "other").await.expect("list").is_empty());
}

/// Invariant 6: the first source of a table stays its only one, whoever asks first.
pub(super) async fn a_table_belongs_to_one_scope(database: &Database) {
    let (sink, mut session) = database.store().await;
    let table = TableName::new(Some("public"), "orders");
    let one = scope_id(&mut session, "postgresql one").await.expect("id");
    let two = scope_id(&mut session, "postgresql two").await.expect("id");
    let tasks = [one, two, one, two].map(|scope| {
        let (sink, table) = (sink.clone(), table.clone());
        tokio::spawn(async move {
            let mut session = sink.session("test").await.expect("session");
            (scope, admit_scope(&mut session, &table, scope).await.expect("an answer"))
        })
    });
    let mut admitted = std::collections::BTreeSet::new();
    for task in tasks {
        match task.await.expect("task") {
            (scope, None) => drop(admitted.insert(scope)),
            (_, Some(own)) => assert!(own.starts_with("postgresql "), "{own}"),
        }
    }
    let (own, _) = table_scope(&mut session, &table.to_string()).await.expect("stored").expect("there");
    assert_eq!(admitted.into_iter().map(i64::from).collect::<Vec<_>>(), [own]);
    assert_eq!(admit_scope(&mut session, &TableName::new(None, "other"), two).await.expect("another table"), None);
}
