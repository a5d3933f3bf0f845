//! Collecting tombstones: generations are closed and collected by the rules of [`crate::core::collect`].

use std::time::Duration;

use serde::Serialize;

use crate::core::collect::{Blocked, blocked};
use crate::core::failure::Failure;
use crate::sink::Session;
use crate::sink::bookkeep::{self, Generation, Graves};

use super::feeding::{Fed, Feeding, Survey};

/// Generations that wait at most; more are thinned out, which makes the rest wait for a later one.
const PENDING_MAX: usize = 32;
/// Collected generations that are kept to look at.
const COLLECTED_KEPT: usize = 10;
/// A generation is closed so often while tombstones wait for their time.
const PER_RETAIN: u32 = 8;

/// What is known of a table's tombstones.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TableTombstones {
    /// Full name of the table.
    pub table: String,
    /// Tombstones that are there.
    pub tombstones: u64,
    /// Whether the configuration wants them collected.
    pub collect: bool,
    /// How old they become at least, in milliseconds.
    pub retain_ms: u64,
    /// Generations that are closed and not collected.
    pub generations: usize,
    /// When the oldest of them was closed, in milliseconds since 1970.
    pub oldest_closed_ms: Option<i64>,
    /// Tombstones that were collected with the generations that are still known.
    pub collected: u64,
    /// The floors, in hex: the greatest token collected in each scope.
    pub floors: Vec<String>,
    /// What keeps the oldest generation from being collected.
    pub blocked: Vec<String>,
    /// Tombstones that can be collected now (status, dry run) or were (collect).
    pub due: u64,
}

/// Looks at a table's tombstones; changes nothing.
pub async fn look(session: &mut Session, survey: &mut Survey, fed: &Fed) -> Result<TableTombstones, Failure> {
    let graves = graves(fed);
    let generations = bookkeep::generations(session, &fed.table).await?;
    let feeding = survey.of_table(session, &fed.table).await?;
    let now = bookkeep::now_ms(session).await?;
    let pending = pending(&generations);
    let due = match newest_due(&pending, fed, now, &feeding) {
        Some(generation) => bookkeep::count_graves(session, &graves, Some(generation.closed_ms)).await?,
        None => 0,
    };
    let why = pending.first().map(|oldest| reasons(oldest, fed, now, &feeding)).unwrap_or_default();
    Ok(TableTombstones {
        table: fed.table.to_string(),
        tombstones: bookkeep::count_graves(session, &graves, None).await?,
        collect: fed.rule.tombstones.collect,
        retain_ms: fed.rule.tombstones.retain.as_millis() as u64,
        generations: pending.len(),
        oldest_closed_ms: pending.first().map(|oldest| oldest.closed_ms),
        collected: generations.iter().map(|generation| generation.collected).sum(),
        floors: bookkeep::floors(session, &fed.table).await?.iter().map(|floor| floor.hex()).collect(),
        blocked: why.iter().map(ToString::to_string).collect(),
        due,
    })
}

/// Closes a generation if it is time, and collects what is due. Returns how many tombstones went. Two processes that do it at once
/// do it twice, which changes nothing.
pub async fn round(
    session: &mut Session,
    survey: &mut Survey,
    pipeline: &str,
    fed: &Fed,
    at_once: bool,
) -> Result<u64, Failure> {
    if !fed.rule.tombstones.collect {
        return Ok(0);
    }
    let graves = graves(fed);
    let mut generations = bookkeep::generations(session, &fed.table).await?;
    // The clock first: what was written before it was read from the log before the ends are asked for.
    let now = bookkeep::now_ms(session).await?;
    let waits = pending(&generations);
    let interval = fed.rule.tombstones.retain / PER_RETAIN;
    let fresh = |generation: &&&Generation| !at_once && now < generation.closed_ms.saturating_add(millis(interval));
    let is_closing = waits.last().filter(fresh).is_none();
    let may_collect = waits.iter().any(|generation| generation.closed_ms.saturating_add(retain(fed)) <= now);
    if !is_closing && !may_collect {
        return Ok(0);
    }
    if is_closing && bookkeep::count_graves(session, &graves, None).await? == 0 {
        return Ok(0);
    }
    let feeding = survey.of_table(session, &fed.table).await?;
    if is_closing {
        let drop = dropped(&generations, fed, now, &feeding);
        bookkeep::close_generation(session, &fed.table, now, &feeding.ends(), &drop).await?;
        generations = bookkeep::generations(session, &fed.table).await?;
    }
    let now = bookkeep::now_ms(session).await?;
    match newest_due(&pending(&generations), fed, now, &feeding) {
        Some(generation) => bookkeep::collect(session, pipeline, &graves, generation).await,
        None => Ok(0),
    }
}

fn graves(fed: &Fed) -> Graves {
    Graves { table: fed.table.clone(), storage: fed.rule.token_storage }
}

fn retain(fed: &Fed) -> i64 {
    millis(fed.rule.tombstones.retain)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Those that wait, oldest first. One that is older than a collected one went with it.
fn pending(generations: &[Generation]) -> Vec<&Generation> {
    let collected = generations.iter().filter(|it| it.is_collected).map(|it| it.number).max().unwrap_or(0);
    generations.iter().filter(|it| !it.is_collected && it.number > collected).collect()
}

fn reasons(generation: &Generation, fed: &Fed, now: i64, feeding: &Feeding) -> Vec<Blocked> {
    blocked(generation.closed_ms, &generation.ends, now, retain(fed), &feeding.logs, &feeding.readers)
}

/// The newest one covers all that are older.
fn newest_due<'g>(pending: &[&'g Generation], fed: &Fed, now: i64, feeding: &Feeding) -> Option<&'g Generation> {
    pending.iter().rev().find(|generation| reasons(generation, fed, now, feeding).is_empty()).copied()
}

/// Generations that need not be kept: void ones, those that went with a collected one, old collected ones, and every other one of
/// too many that wait.
fn dropped(generations: &[Generation], fed: &Fed, now: i64, feeding: &Feeding) -> Vec<i64> {
    let pending = pending(generations);
    let is_void = |generation: &Generation| {
        reasons(generation, fed, now, feeding).iter().any(|why| matches!(why, Blocked::Void(_)))
    };
    let waits: Vec<i64> = pending.iter().filter(|it| !is_void(it)).map(|it| it.number).collect();
    let kept: Vec<i64> = match waits.len() > PENDING_MAX {
        // The oldest stays: it is the next that can go.
        true => waits.iter().enumerate().filter(|(at, _)| at % 2 == 0).map(|(_, number)| *number).collect(),
        false => waits,
    };
    let collected = generations.iter().rev().filter(|it| it.is_collected).take(COLLECTED_KEPT).map(|it| it.number);
    let kept: Vec<i64> = kept.into_iter().chain(collected).collect();
    generations.iter().map(|it| it.number).filter(|number| !kept.contains(number)).collect()
}
