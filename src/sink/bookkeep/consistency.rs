//! How far the destination is consistent with its sources: kept in the transactions of the batches that make it so.

use crate::core::failure::Failure;
use crate::core::plan::Consistency;
use crate::core::value::Value;
use crate::sink::Statements;

use super::cells::{Cells, stored};
use super::sql;

/// What is stored about a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyState {
    /// The source, with the marker of its GTIDs.
    pub source: String,
    /// Position up to which the destination certainly holds all its transactions.
    pub position: Option<String>,
    /// Transactions whose end was told by silence alone.
    pub by_time: u64,
    /// Transactions that were cut inside.
    pub inside: u64,
    /// When that was written, in milliseconds since 1970.
    pub updated_ms: i64,
}

/// Writes news of a batch, inside its transaction.
pub(super) async fn note<S: Statements>(session: &mut S, pipeline: &str, news: &Consistency) -> Result<(), Failure> {
    let dialect = session.dialect();
    let position = news.position.as_deref().map_or(Value::Null, Value::from);
    let (by_time, inside) = (Value::from(stored(news.by_time)), Value::from(stored(news.inside)));
    let (pipeline, source) = (Value::from(pipeline), Value::from(news.source.as_str()));
    let params = [position.clone(), by_time.clone(), inside.clone(), pipeline.clone(), source.clone()];
    if session.execute(sql::CONSISTENCY_SET.of(dialect), &params).await? == 0 {
        let params = [pipeline, source, position, by_time, inside];
        session.execute(sql::CONSISTENCY_ADD.of(dialect), &params).await?;
    }
    Ok(())
}

/// What is stored about the sources of a pipeline, by name.
pub async fn consistency<S: Statements>(session: &mut S, pipeline: &str) -> Result<Vec<ConsistencyState>, Failure> {
    let rows = session.query(sql::CONSISTENCY_LIST.of(session.dialect()), &[Value::from(pipeline)]).await?;
    Cells::each(rows, |cells| {
        Ok(ConsistencyState {
            source: cells.text()?,
            position: cells.text_or_null()?,
            by_time: cells.int()?.unsigned_abs(),
            inside: cells.int()?.unsigned_abs(),
            updated_ms: cells.int()?,
        })
    })
}
