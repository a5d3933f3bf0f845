//! The sweep: rows that are older than a finished snapshot of their source, and that it did not contain, are gone there.
//!
//! # How it works
//!
//! It is a table-level tombstone, as TRUNCATE is one, with a token of its own: the snapshot's position, phase snapshot, inside
//! 0. All rows of the snapshot and everything later win over it, a late row of the same snapshot too. It waits until
//! everything that the topic held when the snapshot's last row was applied has been applied, because that row lies in one
//! partition and others may still hold rows of it.
//!
//! # What it does not touch
//!
//! A transaction that was open while the snapshot was read is streamed behind it with positions below it. Its changes are lifted
//! above the snapshot by the snapshot's rows that lie before them in their partition. In a partition without such a row
//! they would look older than the snapshot: so every partition must hold one. And a row of the snapshot that is quarantined
//! is there at the source: nothing is swept while the topic has open quarantined records below those ends.

use std::sync::Arc;

use serde::Serialize;

use crate::config::checked::Resnapshot;
use crate::core::collect::{End, behind};
use crate::core::epoch::snapshot_number;
use crate::core::event::{Op, Rejection, SourcePosition, SourceTable};
use crate::core::failure::Failure;
use crate::core::plan::{Plan, TablePlan};
use crate::core::table::Table;
use crate::core::token::Phase;
use crate::sink::Session;
use crate::sink::bookkeep::{self, QuarantineFilter, QuarantineState, Sweep, SweepState};

use super::feeding::{Fed, Feeding, Survey};
use super::tables::{Met, Refused, Resolved, Tables};

/// Most open quarantined records that are looked through.
const QUARANTINE_SEEN: u32 = 100_000;
/// Most keys that are shown.
const KEYS_SHOWN: u32 = 100;

/// A snapshot that ended, and what it leads to.
#[derive(Clone, Debug, Serialize)]
pub struct SweepStatus {
    /// Full name of the table.
    pub table: String,
    /// Topic of the snapshot.
    pub topic: String,
    /// `marked`, `waiting`, `done`, `passed`.
    pub state: &'static str,
    /// Whether the service sweeps by itself.
    pub automatic: bool,
    /// When the snapshot's last row was applied, in milliseconds since 1970.
    pub marked_ms: i64,
    /// What it waits for.
    pub blocked: Vec<String>,
    /// Rows that would go now.
    pub would_remove: u64,
    /// Rows that went.
    pub removed: u64,
    /// Keys of rows that would go, where they were asked for; at most 100.
    pub keys: Vec<Vec<String>>,
}

/// What a sweep is done with.
#[derive(Debug)]
pub struct Sweeper<'s> {
    /// Session of the destination.
    pub session: &'s mut Session,
    /// What feeds the table.
    pub survey: &'s mut Survey,
    /// Tables.
    pub tables: &'s Tables,
    /// The pipeline, for counters and the quarantine.
    pub pipeline: &'s str,
    /// Who acts, for the audit.
    pub who: &'s str,
}

impl Sweeper<'_> {
    /// The last snapshot of each topic of a table, with what would go; changes nothing.
    pub async fn look(&mut self, fed: &Fed, show_keys: bool) -> Result<Vec<SweepStatus>, Failure> {
        let feeding = self.survey.of_table(self.session, &fed.table).await?;
        let mut found = Vec::new();
        for sweep in self.of(fed).await? {
            let open = matches!(sweep.state, SweepState::Marked | SweepState::Waiting);
            let ends = sweep.ends.clone().unwrap_or_else(|| ends_of(&feeding, &sweep));
            let (mut blocked, mut would_remove, mut keys) = (Vec::new(), 0, Vec::new());
            if open {
                blocked = self.blocked(&sweep, &ends, &feeding).await?;
                if let Some(table) = self.table(fed, &sweep).await? {
                    would_remove = bookkeep::count_beaten(self.session, &table, &sweep.token).await?;
                    if show_keys {
                        keys = bookkeep::beaten_keys(self.session, &table, &sweep.token, KEYS_SHOWN).await?;
                    }
                }
            }
            found.push(SweepStatus {
                table: sweep.table,
                topic: sweep.topic,
                state: sweep.state.as_str(),
                automatic: fed.rule.resnapshot == Resnapshot::Sweep,
                marked_ms: sweep.marked_ms,
                blocked,
                would_remove,
                removed: sweep.removed,
                keys,
            });
        }
        Ok(found)
    }

    /// Sweeps what is due. Returns how many rows went.
    pub async fn round(&mut self, fed: &Fed) -> Result<u64, Failure> {
        let mut removed = 0;
        let all = self.of(fed).await?;
        for sweep in &all {
            if !matches!(sweep.state, SweepState::Marked | SweepState::Waiting) {
                continue;
            }
            if all.iter().any(|later| later.topic == sweep.topic && later.token > sweep.token) {
                bookkeep::sweep_settle(self.session, sweep, SweepState::Passed, 0).await?;
                continue;
            }
            let feeding = self.survey.of_table(self.session, &fed.table).await?;
            let ends = match &sweep.ends {
                Some(ends) => ends.clone(),
                None => {
                    // Read after the last row was applied: what the other partitions hold of the snapshot lies below.
                    let ends = ends_of(&feeding, sweep);
                    bookkeep::sweep_wait(self.session, sweep, &ends).await?;
                    ends
                }
            };
            let blocked = self.blocked(sweep, &ends, &feeding).await?;
            if blocked.is_empty() {
                removed += self.sweep(fed, sweep).await?;
            } else {
                tracing::debug!(table = sweep.table, topic = sweep.topic, ?blocked, "the sweep waits");
            }
        }
        Ok(removed)
    }

    async fn of(&mut self, fed: &Fed) -> Result<Vec<Sweep>, Failure> {
        let name = fed.table.to_string();
        let ours = |sweep: &Sweep| sweep.table == name && fed.sources.iter().any(|(topic, _)| *topic == sweep.topic);
        Ok(bookkeep::sweeps(self.session).await?.into_iter().filter(ours).collect())
    }

    async fn blocked(&mut self, sweep: &Sweep, ends: &[End], feeding: &Feeding) -> Result<Vec<String>, Failure> {
        let mut why: Vec<String> = behind(ends, &feeding.readers).iter().map(ToString::to_string).collect();
        if ends.is_empty() || ends.iter().any(|end| end.incarnation != sweep.incarnation) {
            why.push(format!("topic {} was made anew or is gone; its snapshot says nothing now", sweep.topic));
        }
        let partitions: Vec<_> = ends.iter().map(End::at).collect();
        let epochs = bookkeep::epochs(self.session, &partitions).await?;
        for at in partitions {
            let position = u64::try_from(sweep.position).ok();
            let shown = epochs.iter().any(|row| {
                row.at == at && *row.incarnation == *sweep.incarnation && snapshot_number(&row.marker) == position
            });
            if !shown {
                why.push(format!("{at} holds no row of the snapshot: changes of transactions that were open meanwhile cannot be told from older ones there"));
            }
        }
        let filter =
            QuarantineFilter { topic: Some(sweep.topic.clone()), table: None, state: Some(QuarantineState::New) };
        let open = bookkeep::quarantine_list(self.session, self.pipeline, &filter, QUARANTINE_SEEN).await?;
        let below =
            |entry: &&bookkeep::QuarantineEntry| ends.iter().any(|end| end.at() == entry.at && entry.offset < end.end);
        let kept = open.iter().filter(below).count();
        if kept > 0 {
            why.push(format!(
                "{kept} records of topic {} are quarantined; their rows may be among those that would go",
                sweep.topic
            ));
        }
        Ok(why)
    }

    /// The table as it is now.
    async fn table(&mut self, fed: &Fed, sweep: &Sweep) -> Result<Option<Arc<Table>>, Failure> {
        let Some((topic, source)) = fed.sources.iter().find(|(topic, _)| *topic == sweep.topic) else {
            return Ok(None);
        };
        let position = SourcePosition::Postgres { commit: None, lsn: 0, phase: Phase::Snapshot };
        let met = Met {
            topic,
            source: source as &SourceTable,
            op: Op::Truncate,
            row: None,
            key: None,
            position: &position,
            misfit: None,
        };
        match self.tables.resolve(met).await {
            Ok(Resolved::Whole(table)) => Ok(Some(table)),
            Ok(_) => Ok(None),
            Err(Refused::Table(Rejection { reason, detail, .. })) => Err(Failure::operator(reason, detail)),
            Err(Refused::Database(failure)) => Err(failure),
        }
    }

    async fn sweep(&mut self, fed: &Fed, sweep: &Sweep) -> Result<u64, Failure> {
        let Some(table) = self.table(fed, sweep).await? else {
            bookkeep::sweep_settle(self.session, sweep, SweepState::Passed, 0).await?;
            return Ok(0);
        };
        let count = bookkeep::count_beaten(self.session, &table, &sweep.token).await?;
        let tombstone = TablePlan { truncate: Some(sweep.token), ..TablePlan::new(table) };
        let plan = Plan {
            checkpoint_owner: self.pipeline.into(),
            pipeline: self.pipeline.into(),
            tables: vec![tombstone],
            ..Plan::default()
        };
        self.session.apply(&plan).await?;
        bookkeep::sweep_settle(self.session, sweep, SweepState::Done, count).await?;
        let what = format!("{} by the snapshot in {}", sweep.table, sweep.topic);
        bookkeep::audit(self.session, self.who, "sweep", &what, None, Some(&format!("{count} rows"))).await?;
        tracing::info!(table = sweep.table, rows = count, "rows that the snapshot did not contain were removed");
        Ok(count)
    }
}

fn ends_of(feeding: &Feeding, sweep: &Sweep) -> Vec<End> {
    feeding.ends().into_iter().filter(|end| end.topic == sweep.topic).collect()
}
