//! `lastword offsets show|set`.

use crate::core::failure::Failure;
use crate::core::record::TopicPartition;
use crate::runtime::{status, supervisor};
use crate::server::report::{printable, table};
use crate::sink::bookkeep;
use crate::source::Source;

use super::args::{OffsetsCommand, OffsetsSetArgs};
use super::context::{Context, who};
use super::exit::{CommandError, Exit};

/// Shows or moves the live position.
pub(super) async fn offsets(context: &Context, command: &OffsetsCommand) -> Result<Exit, CommandError> {
    match command {
        OffsetsCommand::Show => show(context).await,
        OffsetsCommand::Set(args) => set(context, args).await,
    }
}

async fn show(context: &Context) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session = context.session(&config, "offsets").await?;
    let source = Source::new(&config.source, &config.pipeline)?;
    let ends = supervisor::ends(&source).await.unwrap_or_default();
    let report = status::stored(&mut session, &config, &ends).await?;
    context.output.result(&report.partitions, |partitions| {
        let mut page =
            table(&["topic", "partition", "next offset", "end offset", "lag", "fence", "owner"], &[1, 2, 3, 4, 5]);
        for row in partitions {
            let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
            page.add_row([
                printable(&row.topic),
                row.partition.to_string(),
                number(row.next_offset),
                number(row.end_offset),
                number(row.lag_records),
                number(row.fence),
                printable(row.owner.as_deref().unwrap_or("")),
            ]);
        }
        format!("{page}\n")
    })?;
    Ok(Exit::Ok)
}

async fn set(context: &Context, args: &OffsetsSetArgs) -> Result<Exit, CommandError> {
    let pipeline = context.pipeline().await?;
    let at = TopicPartition::new(args.topic.as_str(), args.partition);
    let topics = pipeline.source.topics().await?;
    let topic =
        topics.iter().find(|info| info.topic == at.topic && args.partition < info.partitions).ok_or_else(|| {
            Failure::operator(
                "unknown_partition",
                format!("the pipeline does not read {at}; `lastword offsets show` lists what it reads"),
            )
        })?;
    let ranges = pipeline.source.ranges(std::slice::from_ref(&at)).await?;
    if let Some((_, log)) = ranges.first()
        && !(log.start..=log.end).contains(&args.offset)
    {
        let what = format!(
            "{at}: offset {} does not lie in the log, which holds {} to {} (end not included)",
            args.offset, log.start, log.end
        );
        return Err(Failure::operator("out_of_log", what).into());
    }
    let mut session = pipeline.sink.session("offsets").await?;
    let who = args.note.as_ref().map_or_else(who, |note| format!("{}: {note}", who()));
    bookkeep::set_offset(&mut session, &pipeline.config.pipeline, &at, &topic.incarnation, args.offset, &who).await?;
    let done = serde_json::json!({ "topic": args.topic, "partition": args.partition, "next_offset": args.offset });
    context.output.result(&done, |_| format!("{at} goes on at offset {}\n", args.offset))?;
    Ok(Exit::Ok)
}
