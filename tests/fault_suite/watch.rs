//! What is looked at all the time, from beside: stored offsets and fences do not go back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lastword::core::value::Value;
use lastword::sink::{Session, Statements};

use super::stage::Stage;
use super::truth::Violation;

const EVERY: Duration = Duration::from_millis(100);

/// One look: offset and fence of every partition, and how many acts of operators were audited then.
#[derive(Clone, Debug, Default)]
struct Look {
    positions: BTreeMap<(String, String, i64), (i64, i64)>,
    acts: usize,
}

/// Looks until it is told to end; returns what must not have been. An outage only means fewer looks.
pub async fn watch(stage: Arc<Stage>, end: Arc<AtomicBool>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut session = None;
    let (mut before, mut last) = (Look::default(), Look::default());
    while !end.load(Ordering::Relaxed) {
        tokio::time::sleep(EVERY).await;
        let mut open = match session.take() {
            Some(open) => open,
            None => match stage.world.try_session().await {
                Ok(open) => open,
                Err(_) => continue,
            },
        };
        let Some(look) = look(&stage, &mut open).await else { continue };
        session = Some(open);
        violations.extend(went_back(&last, &look, look.acts > before.acts));
        before = std::mem::replace(&mut last, look);
    }
    violations
}

async fn look(stage: &Stage, session: &mut Session) -> Option<Look> {
    let world = &stage.world;
    let sql = format!("select pipeline, topic, partition_id, next_offset, fence from {}", world.book("checkpoint"));
    let rows = session.query(&sql, &[]).await.ok()?;
    // After the positions: an act is in the audit when its effect is seen.
    let sql = format!("select id from {} where act = 'offsets set'", world.book("audit"));
    let acts = session.query(&sql, &[]).await.ok()?.len();
    let text = |value: &Value| value.as_text().map(str::to_owned);
    let position = |row: &Vec<Value>| {
        let key = (text(&row[0])?, text(&row[1])?, row[2].as_int()?);
        Some((key, (row[3].as_int()?, row[4].as_int()?)))
    };
    Some(Look { positions: rows.iter().filter_map(position).collect(), acts })
}

fn went_back(last: &Look, look: &Look, acted: bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (at, (offset, fence)) in &last.positions {
        let Some((now, fence_now)) = look.positions.get(at) else { continue };
        if now < offset && !acted {
            let what = format!("the stored offset of {at:?} went back from {offset} to {now}, and nobody said so");
            violations.push(Violation { invariant: 1, what });
        }
        if fence_now < fence {
            let what = format!("the fence of {at:?} went back from {fence} to {fence_now}");
            violations.push(Violation { invariant: 5, what });
        }
    }
    violations
}
