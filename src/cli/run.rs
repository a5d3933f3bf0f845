//! `lastword run`.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::core::record::TopicPartition;
use crate::runtime::progress::Progress;
use crate::runtime::status;
use crate::runtime::supervisor::{Ended, Pipeline, RunOptions, run as run_pipeline};
use crate::server::{HealthHandle, Server, StatusReport};
use crate::telemetry::logging;
use crate::telemetry::metrics::Metrics;

use super::args::RunArgs;
use super::context::{Context, stop_on_signals};
use super::exit::{CommandError, Exit};

/// How often the status page and the bars are renewed.
const REFRESH: Duration = Duration::from_secs(1);

/// Runs the service.
pub(super) async fn run(context: &Context, args: &RunArgs) -> Result<Exit, CommandError> {
    let stop = stop_on_signals()?;
    let metrics = Metrics::install()?;
    let config = context.config()?;
    let health = HealthHandle::new(StatusReport::of(&config));
    let side = CancellationToken::new();
    let server = match config.listen {
        Some(address) => Some(Server::start(address, health.clone(), metrics.clone(), side.clone()).await?),
        None => None,
    };
    if let Some(server) = &server {
        tracing::info!(address = %server.address(), "metrics, health and status are served");
    }
    let upkeep = metrics.spawn_upkeep(side.clone());
    let pipeline = Pipeline::open(config).await?;
    let progress = Progress::default();
    let reporter =
        tokio::spawn(report(pipeline.sink.clone(), pipeline.config.clone(), progress.clone(), health, side.clone()));
    let bars = args.until_caught_up.then(|| tokio::spawn(bars(progress.clone(), side.clone())));
    let options = RunOptions { until_caught_up: args.until_caught_up, stop, progress: progress.clone() };
    tracing::info!(pipeline = pipeline.config.pipeline, lanes = pipeline.lanes(), "started");
    let ended = run_pipeline(&pipeline, options).await;
    side.cancel();
    let _ = reporter.await;
    if let Some(bars) = bars {
        let _ = bars.await;
    }
    let _ = upkeep.await;
    if let Some(server) = server {
        server.stop().await;
    }
    let ended = ended?;
    summary(context, &progress, ended)?;
    let halts = progress.halts();
    match ended {
        Ended::CaughtUp if !halts.is_empty() => {
            let named: Vec<String> = halts.iter().map(|(at, why)| format!("{at}: {why}")).collect();
            Err(CommandError::new(
                Exit::Operator,
                format!("{} partitions are halted: {}", halts.len(), named.join("; ")),
            ))
        }
        Ended::Stopped if args.until_caught_up => Ok(Exit::Stopped),
        Ended::CaughtUp | Ended::Stopped => Ok(Exit::Ok),
    }
}

/// Says what was done and how often each guard decided.
fn summary(context: &Context, progress: &Progress, ended: Ended) -> Result<(), CommandError> {
    let summary = status::summary(progress, ended == Ended::CaughtUp);
    context.output.result(&summary, |summary| summary.to_string())
}

async fn report(
    sink: crate::sink::Sink,
    config: std::sync::Arc<crate::config::checked::Config>,
    progress: Progress,
    health: HealthHandle,
    stop: CancellationToken,
) {
    let mut session = None;
    loop {
        health.set_ready(progress.unready());
        if session.is_none() {
            session = sink.session("status").await.ok();
        }
        if let Some(open) = session.as_mut() {
            match status::live(open, &config, &progress).await {
                Ok(report) => {
                    health.sink_answered();
                    health.set_status(report);
                }
                Err(failure) => {
                    tracing::debug!(error = %failure, "the status cannot be read");
                    session = None;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}

/// A bar for every partition, on a terminal.
async fn bars(progress: Progress, stop: CancellationToken) {
    let style = ProgressStyle::with_template("{prefix:40!} {bar:30} {pos}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let mut bars: HashMap<TopicPartition, ProgressBar> = HashMap::new();
    loop {
        for (at, partition) in progress.partitions() {
            let bar = bars.entry(at.clone()).or_insert_with(|| {
                let bar = logging::bars().add(ProgressBar::new(0).with_style(style.clone()));
                bar.set_prefix(at.to_string());
                bar
            });
            bar.set_length(partition.end.unwrap_or(partition.next).max(0) as u64);
            bar.set_position(partition.next.max(0) as u64);
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
    for bar in bars.values() {
        bar.finish();
    }
}
