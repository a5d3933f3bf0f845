//! What a running service does now and then beside applying events: tombstones are collected, tables are swept.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::checked::{Config, Resnapshot, TableRule};
use crate::core::failure::Failure;

use super::collect;
use super::feeding::Survey;
use super::supervisor::Pipeline;
use super::sweep::Sweeper;

/// Between two looks for finished snapshots.
const SWEEP_CHECK: Duration = Duration::from_secs(5);
/// Between two looks at tombstones, whatever `retain` says.
const COLLECT_CHECK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How often there is something to look at; `None` if the configuration asks for nothing.
fn interval(config: &Config) -> Option<Duration> {
    let rules = || config.tables.iter().filter(|rule| !rule.skip).map(|rule| &rule.rule).chain([&config.defaults]);
    let of = |rule: &TableRule| {
        let (least, most) = COLLECT_CHECK;
        let collect = rule.tombstones.collect.then(|| (rule.tombstones.retain / 8).clamp(least, most));
        let sweep = (rule.resnapshot == Resnapshot::Sweep).then_some(SWEEP_CHECK);
        collect.into_iter().chain(sweep).min()
    };
    rules().filter_map(of).min()
}

/// Works until it is told to stop. Failures are told and tried again.
pub(super) async fn serve(pipeline: Pipeline, stop: CancellationToken) {
    let Some(interval) = interval(&pipeline.config) else { return };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(failure) = round(&pipeline).await {
            tracing::warn!(error = %failure, "tombstones were not collected, tables not swept; trying again");
        }
    }
}

/// One look at all tables, with whatever is due.
pub(crate) async fn round(pipeline: &Pipeline) -> Result<(), Failure> {
    if interval(&pipeline.config).is_none() {
        return Ok(());
    }
    let name = &pipeline.config.pipeline;
    let mut session = pipeline.sink.session("upkeep").await?;
    let mut survey = Survey::new(&mut session, &pipeline.source).await?;
    for fed in survey.fed_by(name, &pipeline.tables) {
        if fed.rule.resnapshot == Resnapshot::Sweep {
            let mut sweeper = Sweeper {
                session: &mut session,
                survey: &mut survey,
                tables: &pipeline.tables,
                pipeline: name,
                who: "lastword run",
            };
            sweeper.round(&fed).await?;
        }
        let collected = collect::round(&mut session, &mut survey, name, &fed, false).await?;
        if collected > 0 {
            tracing::info!(table = %fed.table, tombstones = collected, "collected");
        }
    }
    Ok(())
}
