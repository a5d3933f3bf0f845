//! `lastword status`.

use std::collections::HashMap;
use std::time::Duration;

use crate::core::record::TopicPartition;
use crate::runtime::{status as report, supervisor};
use crate::server::report::render_table;
use crate::source::Source;

use super::args::StatusArgs;
use super::context::{Context, stop_on_signals};
use super::exit::{CommandError, Exit};

/// Between two looks of `--watch`.
const WATCH: Duration = Duration::from_secs(2);

/// Shows offsets, lag, tables and quarantine.
pub(super) async fn status(context: &Context, args: &StatusArgs) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session = context.session(&config, "status").await?;
    let source = Source::new(&config.source, &config.pipeline)?;
    let stop = stop_on_signals()?;
    loop {
        // A source that is down does not keep the rest from being shown.
        let ends: HashMap<TopicPartition, i64> = supervisor::ends(&source).await.unwrap_or_default();
        let found = report::stored(&mut session, &config, &ends).await?;
        context.output.result(&found, render_table)?;
        if !args.watch {
            return Ok(Exit::Ok);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(Exit::Ok),
            () = tokio::time::sleep(WATCH) => {}
        }
    }
}
