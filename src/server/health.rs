//! What the runtime says about itself, for those who ask over HTTP.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::report::StatusReport;

/// Silence of the destination after which the process is not ready. Idle lanes ask it every second.
pub const SINK_SILENCE: Duration = Duration::from_secs(30);

/// Health and status of the process. Cheap to clone; written by the runtime, read by the server.
#[derive(Clone, Debug)]
pub struct HealthHandle(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    reasons: Vec<String>,
    sink_answered: Option<Instant>,
    status: StatusReport,
}

impl HealthHandle {
    /// A process that is starting, and so not ready.
    pub fn new(status: StatusReport) -> Self {
        let state = State { reasons: vec!["starting".to_owned()], sink_answered: None, status };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Says why the process is not ready: partitions without a claim, a source that is down. None of it: an empty list.
    pub fn set_ready(&self, reasons: Vec<String>) {
        self.lock().reasons = reasons;
    }

    /// Notes that the destination answered just now.
    pub fn sink_answered(&self) {
        self.lock().sink_answered = Some(Instant::now());
    }

    /// Puts a new status in place. `ready` and `reasons` of it are filled in when it is read.
    pub fn set_status(&self, status: StatusReport) {
        self.lock().status = status;
    }

    /// Why the process is not ready; empty if it is.
    pub fn not_ready(&self) -> Vec<String> {
        reasons(&self.lock(), Instant::now())
    }

    /// The last status, with what holds now of readiness.
    pub fn status(&self) -> StatusReport {
        let state = self.lock();
        let reasons = reasons(&state, Instant::now());
        StatusReport { ready: Some(reasons.is_empty()), reasons, ..state.status.clone() }
    }

    /// A thread that panicked while it wrote leaves whole values behind: each write is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reasons(state: &State, now: Instant) -> Vec<String> {
    let mut reasons = state.reasons.clone();
    match state.sink_answered {
        None => reasons.push("the destination has not answered yet".to_owned()),
        Some(at) => {
            let silence = now.saturating_duration_since(at);
            if silence > SINK_SILENCE {
                reasons.push(format!("the destination has not answered for {} s", silence.as_secs()));
            }
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_no_reason_and_a_destination_that_answers() {
        let health = HealthHandle::new(StatusReport::default());
        assert_eq!(health.not_ready(), ["starting", "the destination has not answered yet"]);
        health.sink_answered();
        health.set_ready(vec!["t[1] is not claimed".to_owned()]);
        assert_eq!(health.not_ready(), ["t[1] is not claimed"]);
        assert_eq!(health.status().ready, Some(false));
        health.set_ready(Vec::new());
        assert!(health.not_ready().is_empty());
        assert_eq!(health.status().ready, Some(true));
        let later = Instant::now() + SINK_SILENCE + Duration::from_secs(5);
        assert_eq!(reasons(&health.lock(), later), ["the destination has not answered for 35 s"]);
    }
}
