//! `lastword quarantine list|show|retry|drop`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Serialize;

use crate::core::failure::Failure;
use crate::core::reason::reason;
use crate::runtime::retry::{Retried, retry as retry_one};
use crate::server::report::{printable, table};
use crate::sink::Session;
use crate::sink::bookkeep::{self, QuarantineEntry, QuarantineFilter as Stored, QuarantineState};

use super::args::{QuarantineCommand, QuarantineFilter, QuarantineSelection};
use super::context::{Context, time_text, who};
use super::exit::{CommandError, Exit};

/// Most records that `--all` takes at once.
const ALL: u32 = 100_000;

#[derive(Serialize)]
struct Entry {
    id: i64,
    topic: String,
    partition: i32,
    offset: i64,
    table: Option<String>,
    reason: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    state: &'static str,
    tries: i64,
    first_at: String,
    last_at: String,
}

impl From<QuarantineEntry> for Entry {
    fn from(entry: QuarantineEntry) -> Self {
        Self {
            id: entry.id,
            topic: entry.at.topic.to_string(),
            partition: entry.at.partition,
            offset: entry.offset,
            table: entry.table,
            remedy: reason(&entry.reason).map(|reason| reason.remedy),
            reason: entry.reason,
            detail: entry.detail,
            state: entry.state.as_str(),
            tries: entry.tries,
            first_at: time_text(entry.first_ms),
            last_at: time_text(entry.last_ms),
        }
    }
}

/// Looks at records that could not be applied, tries them again, gives them up.
pub(super) async fn quarantine(context: &Context, command: &QuarantineCommand) -> Result<Exit, CommandError> {
    match command {
        QuarantineCommand::List(filter) => list(context, filter).await,
        QuarantineCommand::Show { id } => show(context, *id).await,
        QuarantineCommand::Retry(selection) => retry(context, selection).await,
        QuarantineCommand::Drop(selection) => drop_records(context, selection).await,
    }
}

async fn list(context: &Context, filter: &QuarantineFilter) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session = context.session(&config, "quarantine").await?;
    let wanted = Stored {
        topic: filter.topic.clone(),
        table: None,
        state: if filter.settled { None } else { Some(QuarantineState::New) },
    };
    let reads = if filter.reason.is_some() { ALL } else { filter.limit };
    let entries: Vec<Entry> = bookkeep::quarantine_list(&mut session, &config.pipeline, &wanted, reads)
        .await?
        .into_iter()
        .filter(|entry| filter.reason.as_ref().is_none_or(|wanted| *wanted == entry.reason))
        .take(filter.limit as usize)
        .map(Entry::from)
        .collect();
    context.output.result(&entries, |entries| {
        let mut page =
            table(&["id", "topic", "partition", "offset", "reason", "detail", "state", "tries"], &[0, 2, 3, 7]);
        for entry in entries {
            page.add_row([
                entry.id.to_string(),
                printable(&entry.topic),
                entry.partition.to_string(),
                entry.offset.to_string(),
                entry.reason.clone(),
                printable(&entry.detail),
                entry.state.to_owned(),
                entry.tries.to_string(),
            ]);
        }
        format!("{page}\n")
    })?;
    Ok(Exit::Ok)
}

/// Bytes as text where they are text, else as base64.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Text(String),
    Base64(String),
}

impl Content {
    fn of(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64.encode(bytes)),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => printable(text),
            Self::Base64(text) => format!("base64 {text}"),
        }
    }
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    entry: Entry,
    headers: Vec<(String, Option<Content>)>,
    key: Option<Content>,
    value: Option<Content>,
}

async fn show(context: &Context, id: i64) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session = context.session(&config, "quarantine").await?;
    let kept = bookkeep::quarantine_get(&mut session, id).await?.ok_or_else(|| unknown(id))?;
    let shown = Shown {
        headers: kept.headers.iter().map(|(name, value)| (name, value.as_ref().map(Content::of))).collect(),
        key: kept.key.as_ref().map(Content::of),
        value: kept.value.as_ref().map(Content::of),
        entry: kept.entry.into(),
    };
    context.output.result(&shown, |shown| {
        let entry = &shown.entry;
        let content = |content: &Option<Content>| content.as_ref().map_or_else(|| "null".to_owned(), Content::shown);
        let mut page = format!(
            "{} {}[{}] offset {}\nstate   {} ({} tries, first {}, last {})\nreason  {}: {}\n",
            entry.id,
            printable(&entry.topic),
            entry.partition,
            entry.offset,
            entry.state,
            entry.tries,
            entry.first_at,
            entry.last_at,
            entry.reason,
            printable(&entry.detail)
        );
        if let Some(remedy) = entry.remedy {
            page.push_str(&format!("remedy  {remedy}\n"));
        }
        for (name, value) in &shown.headers {
            page.push_str(&format!("header  {} = {}\n", printable(name), content(value)));
        }
        page.push_str(&format!("key     {}\nvalue   {}\n", content(&shown.key), content(&shown.value)));
        page
    })?;
    Ok(Exit::Ok)
}

fn unknown(id: i64) -> Failure {
    Failure::operator("unknown_record", format!("there is no quarantined record {id}"))
}

async fn selected(session: &mut Session, pipeline: &str, selection: &QuarantineSelection) -> Result<Vec<i64>, Failure> {
    if !selection.all {
        return Ok(selection.ids.clone());
    }
    let filter = Stored { topic: selection.topic.clone(), table: None, state: Some(QuarantineState::New) };
    let open = bookkeep::quarantine_list(session, pipeline, &filter, ALL).await?;
    let wanted =
        open.into_iter().filter(|entry| selection.reason.as_ref().is_none_or(|wanted| *wanted == entry.reason));
    Ok(wanted.map(|entry| entry.id).collect())
}

async fn retry(context: &Context, selection: &QuarantineSelection) -> Result<Exit, CommandError> {
    let pipeline = context.pipeline().await?;
    let mut session = pipeline.sink.session("quarantine").await?;
    let actor = selection.note.as_ref().map_or_else(who, |note| format!("{}: {note}", who()));
    let mut outcomes = Vec::new();
    for id in selected(&mut session, &pipeline.config.pipeline, selection).await? {
        let kept = bookkeep::quarantine_get(&mut session, id).await?.ok_or_else(|| unknown(id))?;
        if kept.entry.pipeline != pipeline.config.pipeline {
            return Err(Failure::operator(
                "unknown_record",
                format!("record {id} belongs to pipeline {}", kept.entry.pipeline),
            )
            .into());
        }
        let outcome = match retry_one(&pipeline, &mut session, &kept, &actor).await? {
            Retried::Applied => "applied".to_owned(),
            Retried::Superseded => "superseded".to_owned(),
            Retried::Refused(why) => format!("refused: {why}"),
        };
        outcomes.push(serde_json::json!({ "id": id, "outcome": outcome }));
    }
    let refused =
        outcomes.iter().any(|outcome| outcome["outcome"].as_str().is_some_and(|text| text.starts_with("refused")));
    context.output.result(&outcomes, |outcomes| {
        outcomes
            .iter()
            .map(|outcome| format!("{} {}\n", outcome["id"], outcome["outcome"].as_str().unwrap_or("")))
            .collect()
    })?;
    Ok(if refused { Exit::Operator } else { Exit::Ok })
}

async fn drop_records(context: &Context, selection: &QuarantineSelection) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session = context.session(&config, "quarantine").await?;
    let actor = selection.note.as_ref().map_or_else(who, |note| format!("{}: {note}", who()));
    let ids = selected(&mut session, &config.pipeline, selection).await?;
    bookkeep::quarantine_drop(&mut session, &ids, &actor).await?;
    context.output.result(&serde_json::json!({ "dropped": ids }), |_| format!("{} records given up\n", ids.len()))?;
    Ok(Exit::Ok)
}
