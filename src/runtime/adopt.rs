//! Taking over a table that another tool has filled: the topics are read to find the token of its rows, everything that could make
//! it wrong is looked for, then the rows get it. What the token has to be: [`crate::core::adopt`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::config::checked::{SourceConfig, Start};
use crate::core::adopt::{Adopted, Dump, Survey};
use crate::core::epoch::FIRST_EPOCH;
use crate::core::event::{Decoded, Op, RawEvent};
use crate::core::failure::{Class, Failure};
use crate::core::order::OrderPolicy;
use crate::core::record::TopicPartition;
use crate::core::table::{Table, TableName};
use crate::core::token::Token;
use crate::sink::Session;
use crate::sink::bookkeep::{self, Standing};
use crate::source::{LogEvent, ReadRange, Said, SourceCommand, SourceEvent, next_generation};

use super::replay::find_topic;
use super::supervisor::Pipeline;
use super::tables::{Met, Refused, Resolved, Tables};

/// Records between two words about how far it is.
const SAY_EVERY: u64 = 500_000;

/// What is to be taken over.
#[derive(Clone, Debug)]
pub struct Request {
    /// The destination's table, as `schema.table` or `table`.
    pub table: String,
    /// Topics that feed it.
    pub topics: Vec<String>,
    /// Only events of this source table.
    pub source_table: Option<String>,
    /// Where the dump was taken.
    pub dump: Dump,
    /// Nothing changed between the dump and the topics.
    pub accept_gaps: bool,
}

/// What would be done, or was.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Full name of the table.
    pub table: String,
    /// Connector and logical name of its source.
    pub source: String,
    /// The token of the rows and the table's bound, in hex.
    pub token: String,
    /// Records that were read.
    pub records: u64,
    /// Rows that have no token, and get it.
    pub rows: u64,
    /// Rows that have this token or a greater one, and keep it.
    pub kept: u64,
    /// What is not proven and was accepted.
    pub gaps: Vec<String>,
    /// Rows that got the token.
    pub adopted: u64,
    /// It was done.
    pub done: bool,
}

/// Finds the token, refuses what would be wrong, and does it if `who` says so.
pub async fn adopt(
    pipeline: &Pipeline,
    session: &mut Session,
    request: &Request,
    who: Option<&str>,
    stop: &CancellationToken,
) -> Result<Outcome, Failure> {
    let looking = Tables::new(Arc::clone(&pipeline.config), pipeline.sink.clone(), false);
    let tables = if who.is_some() { &*pipeline.tables } else { &looking };
    let Found { table, source, adopted, records } = read(pipeline, tables, request, stop).await?;
    refuse_epochs(session, request).await?;
    refuse_other_topics(session, request, &table).await?;
    refuse_checkpoints(pipeline, session, &adopted).await?;
    let scope = scope(pipeline, session, &table, &source, who.is_some()).await?;
    if let Dump::Token(given) = &request.dump
        && scope.is_none_or(|scope| scope != given.scope())
    {
        let what = format!(
            "the given token is of another scope than the tokens of \"{source}\"; `lastword token decode` shows it"
        );
        return Err(Failure::operator("adopt", what));
    }
    let mut token = adopted.token(scope.unwrap_or_default());
    let standing = bookkeep::standing(session, &table, &token).await?;
    refuse_standing(&table, &token, &standing)?;
    if standing.at_bound > 0 {
        // An interrupted one goes on with its own token: a lower one is never wrong.
        token = standing.bound.unwrap_or(token);
    }
    let mut outcome = Outcome {
        table: table.name().to_string(),
        source,
        token: token.hex(),
        records,
        rows: standing.without,
        kept: standing.others + standing.at_bound,
        gaps: adopted.gaps,
        adopted: 0,
        done: false,
    };
    let Some(who) = who else { return Ok(outcome) };
    let why = format!("at {:?} by {}", request.dump, request.topics.join(", "));
    bookkeep::adopt_bound(session, &table, token, who, &why).await?;
    loop {
        if stop.is_cancelled() {
            return Ok(outcome);
        }
        let rows = bookkeep::adopt_rows(session, &table, &token).await?;
        if rows == 0 {
            break;
        }
        outcome.adopted += rows;
        tracing::info!(table = outcome.table, rows = outcome.adopted, "rows adopted");
    }
    outcome.done = true;
    bookkeep::audit(session, who, "adopt", &outcome.table, None, Some(&format!("{} rows", outcome.adopted))).await?;
    Ok(outcome)
}

struct Found {
    table: Arc<Table>,
    source: String,
    adopted: Adopted,
    records: u64,
}

fn refused(what: impl Into<String>) -> Failure {
    Failure::operator("adopt", what)
}

/// What is learned of the table while its topics are read.
struct Reading<'r> {
    request: &'r Request,
    name: TableName,
    survey: Survey,
    table: Option<Arc<Table>>,
    source: Option<String>,
}

/// Reads the topics from their beginning to their present end.
async fn read(
    pipeline: &Pipeline,
    tables: &Tables,
    request: &Request,
    stop: &CancellationToken,
) -> Result<Found, Failure> {
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let topic = find_topic(pipeline, topic).await?;
        let of = |partition| TopicPartition { topic: Arc::clone(&topic.topic), partition };
        partitions.extend((0..topic.partitions).map(of));
    }
    let logs = pipeline.source.ranges(&partitions).await?;
    let mut survey = Survey::new(request.dump.clone(), logs.iter().map(|(at, log)| (at.clone(), log.start)));
    survey.accept_gaps = request.accept_gaps;
    let name = request.table.parse().map_err(refused)?;
    let mut reading = Reading { request, name, survey, table: None, source: None };
    let range = |(at, log): (TopicPartition, crate::source::LogRange)| ReadRange {
        at,
        generation: next_generation(),
        from: log.start,
        to: log.end,
    };
    let mut handle = pipeline.source.read(logs.into_iter().map(range).collect())?;
    let mut decoders = BTreeMap::new();
    let mut count = 0;
    let outcome = loop {
        let said = tokio::select! {
            said = handle.next() => said,
            () = stop.cancelled() => break Err(Failure::new(Class::Operator, "stopped", "stopped; nothing was changed")),
        };
        match said {
            Some(Said::Log(LogEvent::Records { records, .. })) => {
                let before = count / SAY_EVERY;
                count += records.len() as u64;
                if count / SAY_EVERY > before {
                    tracing::info!(records = count, "reading the topics");
                }
                if let Err(failure) = reading.records(pipeline, tables, &mut decoders, &records).await {
                    break Err(failure);
                }
            }
            Some(Said::Control(SourceEvent::Failed(failure) | SourceEvent::PartitionFailed { failure, .. })) => {
                break Err(failure);
            }
            Some(Said::Log(LogEvent::Finished)) | None => break Ok(()),
            Some(_) => {}
        }
    };
    let _ = handle.commands.send(SourceCommand::Stop);
    outcome?;
    reading.finish(count)
}

type Decoders = BTreeMap<Arc<str>, crate::core::decode::TopicDecoder>;

impl Reading<'_> {
    async fn records(
        &mut self,
        pipeline: &Pipeline,
        tables: &Tables,
        decoders: &mut Decoders,
        records: &[crate::core::record::Record],
    ) -> Result<(), Failure> {
        for record in records {
            let topic = &record.at.topic;
            let decoder = decoders.entry(Arc::clone(topic)).or_insert_with(|| pipeline.config.decoder(topic));
            // What cannot be read is put aside by the live run, and says nothing here.
            let Ok(opened) = decoder.open(record) else { continue };
            let events = match decoder.read(topic, &opened) {
                Ok(Decoded::Change(event)) => vec![event],
                Ok(Decoded::Changes(events)) => events,
                _ => continue,
            };
            for event in events {
                self.event(tables, record, &event).await?;
            }
        }
        Ok(())
    }

    async fn event(
        &mut self,
        tables: &Tables,
        record: &crate::core::record::Record,
        event: &RawEvent<'_>,
    ) -> Result<(), Failure> {
        if !self.is_meant(tables, &record.at.topic, event) {
            return Ok(());
        }
        if *self.source.get_or_insert_with(|| event.source.clone()) != event.source {
            return Err(refused(format!("{}: the topics carry the table's events of several sources", record.at)));
        }
        let met = self.survey.meet(&record.at, record.offset, &event.position, event.source_time_ms);
        met.map_err(refused)?;
        if self.table.is_some() || event.op != Op::Upsert {
            return Ok(());
        }
        match tables.resolve(Met::of(&record.at.topic, event)).await {
            Ok(Resolved::Rows(mapping)) if mapping.order == OrderPolicy::Source => {
                self.table = Some(Arc::clone(&mapping.table));
                Ok(())
            }
            Ok(_) => Err(refused(format!(
                "{} is not a final-state table that is ordered by its source, so its rows have no place in the stream",
                self.request.table
            ))),
            Err(Refused::Table(why)) => Err(Failure::operator(why.reason, why.detail)),
            Err(Refused::Database(failure)) => Err(failure),
        }
    }

    /// Whether an event leads to the table.
    fn is_meant(&self, tables: &Tables, topic: &str, event: &RawEvent<'_>) -> bool {
        let (full, bare) = (event.table.to_string(), event.table.table.as_str());
        if self.request.source_table.as_ref().is_some_and(|wanted| *wanted != full && wanted != bare) {
            return false;
        }
        let Some(ruled) = tables.rule(topic, &event.table) else { return false };
        let led = ruled.name(topic, &event.table, tables.dialect());
        led.is_ok_and(|led| {
            let schemas = (&led.schema, &self.name.schema);
            led.table == self.name.table && (schemas.0.is_none() || schemas.1.is_none() || schemas.0 == schemas.1)
        })
    }

    fn finish(self, records: u64) -> Result<Found, Failure> {
        let (Some(table), Some(source)) = (self.table, self.source) else {
            return Err(refused(format!(
                "no event of topics {} brings a row for table {}; `lastword check` shows where each topic goes",
                self.request.topics.join(", "),
                self.request.table
            )));
        };
        let adopted = self.survey.finish().map_err(refused)?;
        Ok(Found { table, source, adopted, records })
    }
}

/// Epochs order lives of a source; a position alone does not say which one it is of.
async fn refuse_epochs(session: &mut Session, request: &Request) -> Result<(), Failure> {
    let known = bookkeep::epoch_list(session).await?;
    let later = known
        .iter()
        .find(|entry| entry.row.ordinal > FIRST_EPOCH && request.topics.contains(&entry.row.at.topic.to_string()));
    match (later, &request.dump) {
        (Some(entry), dump) if !matches!(dump, Dump::Token(_)) => Err(refused(format!(
            "{} is in source epoch {}: a position alone does not say in which of them the dump was taken; give the token itself \
             (`--token`)",
            entry.row.at, entry.row.ordinal
        ))),
        _ => Ok(()),
    }
}

async fn refuse_other_topics(session: &mut Session, request: &Request, table: &Table) -> Result<(), Failure> {
    let name = table.name().to_string();
    let feeds = bookkeep::feeds(session).await?;
    match feeds.iter().find(|feed| feed.table == name && !request.topics.contains(&feed.topic)) {
        Some(feed) => Err(refused(format!(
            "table {name} is also fed by topic {} (pipeline {}); name it with another --topic",
            feed.topic, feed.pipeline
        ))),
        None => Ok(()),
    }
}

/// Whatever the dump does not have must still be to come.
async fn refuse_checkpoints(pipeline: &Pipeline, session: &mut Session, adopted: &Adopted) -> Result<(), Failure> {
    let config = &pipeline.config;
    let stored = bookkeep::checkpoints(session, &config.pipeline).await?;
    let from_end = matches!(&config.source, SourceConfig::Kafka(kafka) if kafka.start == Start::Latest);
    for (at, first) in &adopted.first_offsets {
        let next = stored.iter().find(|stored| stored.at == *at).map(|stored| stored.next_offset);
        let (topic, partition) = (&at.topic, at.partition);
        let remedy = format!("lastword offsets set --topic {topic} --partition {partition} --offset {first}");
        match next {
            Some(next) if next > *first => {
                return Err(refused(format!(
                    "{at}: the pipeline has passed offset {first} (it is at {next}), which the dump does not have; `{remedy}`"
                )));
            }
            None if from_end => {
                return Err(refused(format!(
                    "{at}: the pipeline would begin at the end of the log (start = \"latest\"), behind what the dump does not have; \
                     `{remedy}`"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The number of the source's scope. Only who acts makes one.
async fn scope(
    pipeline: &Pipeline,
    session: &mut Session,
    table: &Table,
    source: &str,
    acts: bool,
) -> Result<Option<u16>, Failure> {
    let other = |own: &str| {
        let what = super::planner::two_sources(&table.name().to_string(), own, source);
        Failure::operator("two_sources", what)
    };
    if acts {
        let scope = pipeline.scopes.id(source.to_owned()).await?;
        return match bookkeep::admit_scope(session, table.name(), scope).await? {
            Some(own) => Err(other(&own)),
            None => Ok(Some(scope)),
        };
    }
    match bookkeep::table_scope(session, &table.name().to_string()).await? {
        Some((_, own)) if own != source => Err(other(&own)),
        Some((scope, _)) => Ok(u16::try_from(scope).ok()),
        None => Ok(None),
    }
}

/// Rows and tombstones that are older than the dump show that events were applied which it has: some of its rows may have gone back
/// or are gone, and the events that would mend that lose from now on.
fn refuse_standing(table: &Table, token: &Token, standing: &Standing) -> Result<(), Failure> {
    let Standing { lower, graves, .. } = standing;
    let name = table.name();
    if standing.without + standing.others + standing.at_bound + lower == 0 {
        return Err(refused(format!(
            "{name} is empty: with the token of a dump everything that the dump should hold would be missing. Load it first; an empty \
             table needs no adoption, the pipeline fills it"
        )));
    }
    if *lower > 0 || *graves > 0 || standing.has_floor {
        return Err(refused(format!(
            "the pipeline has applied events to {name} that the dump has ({lower} rows and {graves} tombstones are older than it): what \
             they changed would stay wrong. Stop the pipeline, restore the dump into a table of another name (`into`), and adopt that \
             one before the pipeline runs again"
        )));
    }
    match standing.bound {
        Some(bound) if bound > *token => Err(refused(format!(
            "{name} was truncated, or adopted, at a later position ({}); what lies between the dump and that loses already",
            bound.hex()
        ))),
        _ => Ok(()),
    }
}
