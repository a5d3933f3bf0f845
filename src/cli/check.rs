//! `lastword check`: configuration, connections, tables, and the contract of each with its reason. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::config::checked::{Config, TopicRule};
use crate::config::effective;
use crate::core::decode::{self, Form};
use crate::core::event::{Decoded, SourcePosition, SourceTable};
use crate::core::failure::Failure;
use crate::core::order::{OrderPolicy, scope_description};
use crate::core::record::{Record, TopicPartition};
use crate::core::table::Contract;
use crate::runtime::planner::two_sources;
use crate::runtime::tables::{Met, Planned, Refused, Resolved, Tables};
use crate::server::report::{printable, table};
use crate::sink::bookkeep;
use crate::sink::{Session, Sink};
use crate::source::registry::Registry;
use crate::source::{LogEvent, ReadRange, Said, Source, SourceCommand, SourceEvent, TopicInfo, next_generation};

use super::context::Context;
use super::exit::{CommandError, Exit};

/// Records at the end of each partition that are looked at to learn what a topic carries.
const SAMPLE: i64 = 50;
/// Longest wait for them.
const SAMPLE_WAIT: Duration = Duration::from_secs(15);

/// What was found about the events of one source table in one topic.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    topic: String,
    source_table: String,
    /// Form of the records, and whether their JSON has schemas.
    format: String,
    /// Where the columns of the key come from.
    key_source: String,
    /// The rule that decided; empty where the defaults did.
    rule: String,
    into: String,
    contract: String,
    order: String,
    /// `ok`, `would be created`, `would be altered`, `left out`, `unknown`, `refused`.
    verdict: &'static str,
    why: String,
    /// Full name of the destination's table, if it is there.
    #[serde(skip)]
    table: Option<String>,
    /// The destination's table and what its tokens are compared within, where the source orders a table of final state.
    #[serde(skip)]
    scope: Option<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Report {
    configuration: String,
    store: String,
    topics_without_incarnation: bool,
    tables: Vec<Finding>,
    plan: Vec<Planned>,
    /// Rules that decided nothing, and why that is.
    unused_rules: Vec<Unused>,
}

#[derive(Debug, Serialize)]
struct Unused {
    rule: String,
    why: &'static str,
}

/// Rules that no topic meets, or that others take everything from. What a topic without change events will meet is not known.
fn unused_rules(config: &Config, topics: &[TopicInfo], findings: &[Finding]) -> Vec<Unused> {
    let judge = |rule: &TopicRule| {
        let meant: Vec<&str> =
            topics.iter().map(|topic| &*topic.topic).filter(|topic| rule.topic.matches(topic)).collect();
        let label = rule.label();
        let unknown =
            |topic: &&str| findings.iter().any(|finding| finding.topic == **topic && finding.source_table.is_empty());
        let why = if meant.is_empty() {
            "the source has no such topic (yet)"
        } else if findings.iter().any(|finding| finding.rule == label) || meant.iter().any(unknown) {
            return None;
        } else {
            "another rule is asked before it, or the source table is not among the last records"
        };
        Some(Unused { rule: label, why })
    };
    config.tables.iter().filter_map(judge).collect()
}

/// Judges everything that can be judged without changing anything.
pub(super) async fn check(context: &Context, plan: bool) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let sink = Sink::new(&config.sink)?;
    let mut session = sink.session("check").await?;
    let store = match bookkeep::check_version(&mut session).await? {
        Some(format) => format!("bookkeeping of format {format}"),
        None => "no bookkeeping yet; `lastword run` makes it".to_owned(),
    };
    let source = Source::new(&config.source, &config.pipeline)?;
    let registry = Registry::new(&config)?;
    registry.check().await?;
    let topics = source.topics().await?;
    let tables = Tables::new(Arc::clone(&config), sink, false);
    let mut findings = Vec::new();
    for topic in &topics {
        let mut records = sample(&source, topic).await?;
        for record in &mut records {
            registry.open(record).await?;
        }
        findings.extend(judge(&config, &tables, topic, &records).await?);
    }
    refuse_two_sources(&mut session, &mut findings).await?;
    let report = Report {
        configuration: effective(&config),
        store,
        topics_without_incarnation: topics.iter().any(|topic| &*topic.incarnation == crate::source::NO_INCARNATION),
        unused_rules: unused_rules(&config, &topics, &findings),
        tables: findings,
        plan: tables.take_planned(),
    };
    match plan {
        true => context.output.result(&report.plan, render_plan)?,
        false => context.output.result(&report, render)?,
    }
    let refused = report.tables.iter().any(|finding| finding.verdict == "refused");
    Ok(if refused { Exit::Contract } else { Exit::Ok })
}

/// Refuses tables that two sources lead to, by what the topics hold now and by what the table's rows came from.
async fn refuse_two_sources(session: &mut Session, findings: &mut [Finding]) -> Result<(), Failure> {
    let mut scopes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for finding in findings.iter() {
        if let Some((table, scope)) = &finding.scope {
            scopes.entry(table.clone()).or_default().insert(scope.clone());
        }
    }
    let has_store = bookkeep::check_version(session).await? == Some(bookkeep::STORE_FORMAT);
    for (table, scopes) in scopes {
        let stored = if has_store { bookkeep::table_scope(session, &table).await? } else { None };
        let own = stored.map(|(_, description)| description).or_else(|| scopes.first().cloned()).unwrap_or_default();
        let Some(other) = scopes.iter().find(|scope| **scope != own) else { continue };
        let leads_there = |finding: &&mut Finding| finding.scope.as_ref().is_some_and(|(into, _)| *into == table);
        for finding in findings.iter_mut().filter(leads_there) {
            finding.verdict = "refused";
            finding.why = two_sources(&table, &own, other);
        }
    }
    Ok(())
}

/// The last records of every partition.
async fn sample(source: &Source, topic: &TopicInfo) -> Result<Vec<Record>, Failure> {
    let partitions: Vec<TopicPartition> =
        (0..topic.partitions).map(|partition| TopicPartition { topic: Arc::clone(&topic.topic), partition }).collect();
    let ranges = source.ranges(&partitions).await?.into_iter().map(|(at, log)| ReadRange {
        at,
        generation: next_generation(),
        from: log.start.max(log.end - SAMPLE),
        to: log.end,
    });
    let mut handle = source.read(ranges.collect())?;
    let mut records = Vec::new();
    let read = tokio::time::timeout(SAMPLE_WAIT, async {
        while let Some(event) = handle.next().await {
            match event {
                Said::Log(LogEvent::Records { records: more, .. }) => records.extend(more),
                Said::Log(LogEvent::Finished) => break,
                Said::Control(SourceEvent::Failed(failure)) => return Err(failure),
                _ => {}
            }
        }
        Ok(())
    });
    let outcome = read.await;
    let _ = handle.commands.send(SourceCommand::Stop);
    match outcome {
        Ok(done) => done.map(|()| records),
        Err(_) => Err(Failure::operator(
            "sample",
            format!("topic {}: no records came within {} s", topic.topic, SAMPLE_WAIT.as_secs()),
        )),
    }
}

async fn judge(
    config: &Config,
    tables: &Tables,
    topic: &TopicInfo,
    records: &[Record],
) -> Result<Vec<Finding>, Failure> {
    let mut decoder = config.decoder(&topic.topic);
    let mut findings: BTreeMap<(SourceTable, bool), Finding> = BTreeMap::new();
    let mut unreadable = None;
    for record in records {
        let opened = decoder.open(record);
        let event = match opened.as_ref().map_err(Clone::clone).and_then(|opened| decoder.read(&topic.topic, opened)) {
            Ok(Decoded::Change(event)) => event,
            // They are of one table.
            Ok(Decoded::Changes(mut events)) => events.remove(0),
            Ok(Decoded::Null | Decoded::Control(_)) => continue,
            Err(why) => {
                unreadable = Some(why);
                continue;
            }
        };
        let has_position = !event.position.is_none();
        let met = Met::of(&topic.topic, &event);
        let known = findings.get(&(event.table.clone(), has_position));
        if known.is_some_and(|finding| finding.verdict == "refused") {
            continue;
        }
        let policy = OrderPolicy::Source;
        let scope = scope_description(&policy, &event.source, &event.position, "", &record.at, "");
        let mut finding = finding(config, tables, met).await?;
        if record.framed.is_some() {
            finding.why.push_str("; schemas from the registry");
        }
        // A table that is not there yet is ordered by the source unless a rule says otherwise.
        let rule = tables.rule(&topic.topic, &event.table);
        if let Some(met) = decoder.met() {
            finding.format = format_text(met);
            let named = rule.and_then(|ruled| ruled.topic).is_some_and(|topic| topic.key.is_some());
            finding.key_source = key_source(met, named, event.key.is_some());
        }
        let by_source = has_position
            && rule.is_some_and(|ruled| {
                ruled.table.contract == Contract::FinalState
                    && ruled.topic.is_none_or(|topic| topic.order_by.is_empty())
            });
        finding.scope = by_source.then(|| (finding.table.take().unwrap_or_else(|| finding.into.clone()), scope));
        findings.insert((event.table.clone(), has_position), finding);
    }
    if findings.is_empty() {
        let nothing = || "no change events among the last records; judged when the first one is met".to_owned();
        // Every record would meet it.
        let is_refused = unreadable.as_ref().is_some_and(|why| why.stops_table);
        let why = unreadable.map_or_else(nothing, |why| why.to_string());
        return Ok(vec![Finding {
            topic: topic.topic.to_string(),
            source_table: String::new(),
            format: decoder.met().map(format_text).unwrap_or_default(),
            key_source: String::new(),
            rule: String::new(),
            into: String::new(),
            contract: config.defaults.contract.to_string(),
            order: String::new(),
            verdict: if is_refused { "refused" } else { "unknown" },
            why,
            table: None,
            scope: None,
        }]);
    }
    Ok(findings.into_values().collect())
}

async fn finding(config: &Config, tables: &Tables, met: Met<'_>) -> Result<Finding, Failure> {
    let rule = tables.rule(met.topic, met.source);
    let contract = rule.map_or(config.defaults.contract, |ruled| ruled.table.contract);
    let name = rule.and_then(|ruled| ruled.name(met.topic, met.source, tables.dialect()).ok());
    let into = name.map(|name| name.to_string()).unwrap_or_default();
    let skipped = || config.rule_for(met.topic, Some(&met.source.table)).map(TopicRule::label);
    let mut finding = Finding {
        topic: met.topic.to_owned(),
        source_table: met.source.to_string(),
        format: String::new(),
        key_source: String::new(),
        rule: rule.map_or_else(skipped, |ruled| ruled.topic.map(TopicRule::label)).unwrap_or_default(),
        into,
        contract: contract.to_string(),
        order: String::new(),
        verdict: "ok",
        why: String::new(),
        table: None,
        scope: None,
    };
    match tables.resolve(met).await {
        Ok(Resolved::Skip) => {
            finding.verdict = "left out";
            finding.why = "by its rule".to_owned();
        }
        Ok(Resolved::Rows(mapping)) => {
            finding.table = Some(mapping.table.name().to_string());
            finding.order = order_text(&mapping.order, met.position);
            finding.why = format!("key {}", key_text(&mapping.table));
            for remark in &mapping.table.shape.remarks {
                finding.why.push_str(&format!("; {remark}"));
            }
            if let (OrderPolicy::Offset, SourcePosition::None(why)) = (&mapping.order, met.position) {
                finding.why.push_str(&format!("; no order by the source: {why}"));
            }
        }
        Ok(Resolved::Whole(_) | Resolved::Missing(_)) => finding.why = "a TRUNCATE".to_owned(),
        Ok(Resolved::Log(..)) => finding.why = "asked for by name".to_owned(),
        Err(Refused::Table(why)) if why.reason == "would_create" => {
            finding.verdict = "would be created";
            finding.why = why.detail;
        }
        Err(Refused::Table(why)) if why.reason == "would_alter" => {
            finding.verdict = "would be altered";
            finding.why = why.detail;
        }
        Err(Refused::Table(why)) => {
            finding.verdict = "refused";
            finding.why = why.to_string();
        }
        Err(Refused::Database(failure)) => return Err(failure),
    }
    Ok(finding)
}

fn key_text(table: &crate::core::table::Table) -> String {
    let names: Vec<&str> = table.key.iter().map(|at| table.shape.columns[*at].name.as_str()).collect();
    format!("({})", names.join(", "))
}

/// The form of a record and how it is written, as `check` names them.
fn format_text(met: decode::Met) -> String {
    let framing = match (met.form, met.has_schema) {
        (_, true) => ", JSON with schemas",
        (Form::Debezium | Form::Flat | Form::CloudEvents, false) => ", JSON",
        (_, false) => "",
    };
    format!("{}{framing}", met.form.name())
}

/// Where the columns of a key come from.
fn key_source(met: decode::Met, is_named: bool, is_there: bool) -> String {
    let record_key = if met.key.is_empty() { String::new() } else { format!("record key ({})", met.key) };
    match (is_named, is_there, met.key.is_empty()) {
        (true, _, true) => "`key`".to_owned(),
        (true, _, false) => format!("`key`; {record_key}"),
        (false, true, true) => "fields of the value".to_owned(),
        (false, _, _) => record_key,
    }
}

fn order_text(order: &OrderPolicy, position: &SourcePosition) -> String {
    match (order, position) {
        (OrderPolicy::Columns(_), _) => "by columns".to_owned(),
        (OrderPolicy::Offset, _) => "in partition order (Kafka offset)".to_owned(),
        (OrderPolicy::Source, position) => position.kind().to_owned(),
    }
}

/// Statements that can be run as they stand; what is left to a person is a comment.
#[allow(clippy::ptr_arg)]
fn render_plan(plan: &Vec<Planned>) -> String {
    let mut page = String::new();
    let mut last = None;
    for Planned { table, statement, runs } in plan {
        if last != Some(table) {
            page.push_str(&format!("-- {}\n", printable(table)));
            last = Some(table);
        }
        let statement = statement.replace('\n', " ");
        page.push_str(&if *runs { format!("{statement};\n") } else { format!("-- by hand: {statement}\n") });
    }
    if plan.is_empty() { "-- nothing to do\n".to_owned() } else { page }
}

fn render(report: &Report) -> String {
    let mut page = format!("{}\n# {}\n\n", report.configuration, report.store);
    if report.topics_without_incarnation {
        page.push_str("# the source tells no topic ids: a topic that is made anew is noticed only by its offsets\n\n");
    }
    let header = ["topic", "source table", "format", "key from", "rule", "into", "contract", "order", "verdict", "why"];
    let mut rows = table(&header, &[]);
    for finding in &report.tables {
        rows.add_row([
            printable(&finding.topic),
            printable(&finding.source_table),
            finding.format.clone(),
            finding.key_source.clone(),
            if finding.rule.is_empty() { "[defaults]".to_owned() } else { printable(&finding.rule) },
            printable(&finding.into),
            finding.contract.clone(),
            finding.order.clone(),
            finding.verdict.to_owned(),
            printable(&finding.why),
        ]);
    }
    page.push_str(&format!("{rows}\n"));
    for unused in &report.unused_rules {
        page.push_str(&format!("warning: the rule for {} decides nothing: {}\n", printable(&unused.rule), unused.why));
    }
    page
}
