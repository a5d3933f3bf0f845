//! Which source tables' rows came through a topic.

use crate::core::event::SourceTable;
use crate::core::failure::Failure;
use crate::core::value::Value;
use crate::sink::Statements;

use super::cells::Cells;
use super::sql;

/// A source table whose rows came through a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSource {
    /// The table as the source names it.
    pub table: SourceTable,
    /// Its events carry positions of the source.
    pub by_source: bool,
}

/// Takes note of a source table when it is first met in a topic.
pub async fn add_topic<S: Statements>(session: &mut S, topic: &str, source: &TopicSource) -> Result<(), Failure> {
    let given = |part: &Option<String>| Value::from(part.as_deref().unwrap_or_default());
    let params = [
        Value::from(topic),
        given(&source.table.schema),
        source.table.table.as_str().into(),
        i64::from(source.by_source).into(),
        given(&source.table.database),
        given(&source.table.server),
    ];
    session.execute(sql::TOPIC_ADD.of(session.dialect()), &params).await.map(drop)
}

/// The source tables that were met in a topic.
pub async fn topic_sources<S: Statements>(session: &mut S, topic: &str) -> Result<Vec<TopicSource>, Failure> {
    let rows = session.query(sql::TOPIC_GET.of(session.dialect()), &[Value::from(topic)]).await?;
    Cells::each(rows, |cells| {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let schema = given(cells.text()?);
        let (name, by_source) = (cells.text()?, cells.int()? != 0);
        let (database, server) = (given(cells.text()?), given(cells.text()?));
        Ok(TopicSource {
            table: SourceTable { database, server, ..SourceTable::new(schema.as_deref(), &name) },
            by_source,
        })
    })
}
