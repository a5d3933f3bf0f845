//! A quarantined record is applied again through the same guard: it settles its entry in the transaction that applies it, and
//! moves no checkpoint.

use std::sync::Arc;

use crate::core::failure::{Class, Failure};
use crate::core::ledger::Top;
use crate::core::record::Record;
use crate::sink::Session;
use crate::sink::bookkeep::{self, QuarantineRecord};

use super::supervisor::Pipeline;

/// What a retry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It took effect.
    Applied,
    /// Something newer was there already.
    Superseded,
    /// It still cannot be applied.
    Refused(String),
}

/// Retries one quarantined record. Audited.
pub async fn retry(
    pipeline: &Pipeline,
    session: &mut Session,
    kept: &QuarantineRecord,
    who: &str,
) -> Result<Retried, Failure> {
    let entry = &kept.entry;
    let mut record = Record {
        at: entry.at.clone(),
        offset: entry.offset,
        timestamp_ms: entry.timestamp_ms,
        key: kept.key.clone(),
        value: kept.value.clone().map(Into::into),
        headers: kept.headers.clone(),
        framed: None,
    };
    pipeline.registry.open(&mut record).await?;
    let incarnation: Arc<str> = entry.incarnation.as_str().into();
    let mut planner = pipeline.planner(&pipeline.config.pipeline.as_str().into(), false);
    let at = std::slice::from_ref(&entry.at);
    let (ledger, epochs) = (bookkeep::ledger(session, at).await?, bookkeep::epochs(session, at).await?);
    planner.load_ledger(&entry.at, &entry.incarnation, 0, &ledger, &epochs, Top::default());
    let outcome = match planner.retry(&record, &incarnation, entry.id, session).await? {
        Err(why) => Retried::Refused(why.to_string()),
        Ok(plan) => match session.apply(&plan).await {
            Ok(applied) if applied.tables.iter().any(|table| table.applied > 0) => Retried::Applied,
            Ok(_) => Retried::Superseded,
            Err(failure) if failure.class == Class::Record => Retried::Refused(failure.to_string()),
            Err(failure) => return Err(failure),
        },
    };
    let after = match &outcome {
        Retried::Applied => "applied".to_owned(),
        Retried::Superseded => "superseded".to_owned(),
        Retried::Refused(why) => format!("refused: {why}"),
    };
    let what = format!("{}: {} offset {}", entry.id, entry.at, entry.offset);
    bookkeep::audit(session, who, "quarantine retry", &what, Some(entry.state.as_str()), Some(&after)).await?;
    Ok(outcome)
}
