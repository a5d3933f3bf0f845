//! Metrics: every name with its labels and its meaning in one table, and a function for each thing that is counted.
//!
//! Gauges that nobody sets for [`GAUGE_IDLE`] vanish from the page, so that a partition that moved to another process is
//! not shown by both. Whoever owns a partition or a lane therefore sets its gauges every few seconds.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_util::MetricKindMask;
use tokio_util::sync::CancellationToken;

use crate::core::failure::{Class, Failure};
use crate::core::plan::{Counts, TableOutcome};
use crate::core::record::TopicPartition;
use crate::core::table::TableName;

/// Time after which a gauge vanishes that is not set any more.
pub const GAUGE_IDLE: Duration = Duration::from_secs(60);
/// Time between two drains of the histograms' buffers, which grow until they are drained.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// A metric as the documentation lists it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, each with the values that it can have where those are few.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// Declares the metrics: a constant for each name, and the table of all.
macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)+) => {
        $(#[doc = $help] pub const $constant: &str = $name;)+

        /// Every metric.
        pub const METRICS: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help }),+
        ];
    };
}

metrics! {
    RECORDS = "lastword_records_total", Counter, ["topic", "outcome=change|filtered|quarantined|control"],
        "Records whose offset was passed, each counted once, by what became of them.";
    ROWS_APPLIED = "lastword_rows_applied_total", Counter, ["table"],
        "Changes that took effect in a table.";
    ROWS_SUPERSEDED = "lastword_rows_superseded_total", Counter, ["table", "by=batch|row|tombstone|truncate"],
        "Changes that lost to a newer one, by where that one was.";
    RECHECK_DELETED = "lastword_recheck_deleted_total", Counter, ["table"],
        "Rows and tombstones that the re-check under the table's lock deleted because another writer was newer.";
    UNREPRESENTABLE = "lastword_unrepresentable_total", Counter, ["table", "column", "choice=null|clamp"],
        "Values that their column cannot hold and that another one was written for, as on_unrepresentable says; tries count.";
    BATCHES = "lastword_batches_total", Counter, ["lane"],
        "Batches that were committed.";
    BATCH_ROWS = "lastword_batch_rows", Histogram, [],
        "Records in a committed batch.";
    BATCH_APPLY_SECONDS = "lastword_batch_apply_seconds", Histogram, [],
        "Time from the begin of a batch's transaction to its commit.";
    RETRIES = "lastword_retries_total", Counter, ["class=transient|unknown|fenced|record|operator"],
        "Failed tries to apply a batch, by the class of the failure.";
    CHECKPOINT_MISSED = "lastword_checkpoint_missed_total", Counter, [],
        "Compare-and-swaps of a checkpoint that hit no row: someone else moved or owns the partition.";
    UNKNOWN_OUTCOMES = "lastword_unknown_outcomes_total", Counter, ["settled=landed|not_landed"],
        "Commits without an answer, by what the next claim showed.";
    LAG_RECORDS = "lastword_lag_records", Gauge, ["topic", "partition"],
        "Offsets between the stored next offset and the end of the partition.";
    LAG_SECONDS = "lastword_lag_seconds", Gauge, ["topic", "partition"],
        "Age of the oldest change that is not applied yet; 0 at the end of the partition.";
    NEXT_OFFSET = "lastword_next_offset", Gauge, ["topic", "partition"],
        "Next offset as the destination stores it.";
    END_OFFSET = "lastword_end_offset", Gauge, ["topic", "partition"],
        "Last stable offset of the partition.";
    LANE_STATE = "lastword_lane_state", Gauge, ["lane", "state"],
        "1 for the state that a lane is in, 0 for the others.";
    PARTITIONS_OWNED = "lastword_partitions_owned", Gauge, [],
        "Partitions that this process holds a claim on.";
    QUARANTINE_OPEN = "lastword_quarantine_open", Gauge, [],
        "Records of the pipeline that are kept aside and not settled.";
    REGISTRY_ASKED = "lastword_registry_requests_total", Counter, ["outcome=found|unknown|failed"],
        "Schemas that the schema registry was asked for; none where they are remembered.";
    BUILD_INFO = "lastword_build_info", Gauge, ["version"],
        "Always 1; the version is the label.";
}

/// Upper bounds of the buckets of [`BATCH_ROWS`].
const ROWS_BUCKETS: [f64; 12] =
    [1.0, 8.0, 64.0, 250.0, 500.0, 1_000.0, 2_000.0, 3_500.0, 5_000.0, 10_000.0, 20_000.0, 100_000.0];
/// Upper bounds of the buckets of [`BATCH_APPLY_SECONDS`].
const SECONDS_BUCKETS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// The page of metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts counting; once in a process.
    pub fn install() -> Result<Self, Failure> {
        let recorder = recorder()?;
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder)
            .map_err(|error| Failure::operator("metrics", format!("metrics cannot be started: {error}")))?;
        describe();
        Ok(Self(handle))
    }

    /// A page of its own that nothing is counted on, for tests.
    #[cfg(test)]
    pub fn detached() -> Self {
        Self(PrometheusBuilder::new().build_recorder().handle())
    }

    /// The page in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps memory bounded until the token is cancelled. Without it histograms keep every sample.
    pub fn spawn_upkeep(&self, stop: CancellationToken) -> tokio::task::JoinHandle<()> {
        let handle = self.0.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(UPKEEP);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => {
                        handle.run_upkeep();
                        build_info();
                    }
                }
            }
        })
    }
}

fn recorder() -> Result<PrometheusRecorder, Failure> {
    let failure = |error| Failure::operator("metrics", format!("metrics cannot be started: {error}"));
    let builder = PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE, Some(GAUGE_IDLE))
        .set_buckets_for_metric(Matcher::Full(BATCH_ROWS.to_owned()), &ROWS_BUCKETS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full(BATCH_APPLY_SECONDS.to_owned()), &SECONDS_BUCKETS)
        })
        .map_err(failure)?;
    Ok(builder.build_recorder())
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => ::metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => ::metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => ::metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    build_info();
}

fn build_info() {
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Records of a topic whose offsets were passed by a commit.
pub fn records(topic: &str, counts: &Counts) {
    let Counts { changes, filtered, quarantined, control } = *counts;
    for (outcome, number) in
        [("change", changes), ("filtered", filtered), ("quarantined", quarantined), ("control", control)]
    {
        counter!(RECORDS, "topic" => topic.to_owned(), "outcome" => outcome).increment(number);
    }
}

/// How the changes of a committed batch ended in a table.
pub fn table_outcome(table: &TableName, outcome: &TableOutcome) {
    let table = table.to_string();
    counter!(ROWS_APPLIED, "table" => table.clone()).increment(outcome.applied);
    for (by, number) in [
        ("batch", outcome.superseded_in_batch),
        ("row", outcome.superseded_by_row),
        ("tombstone", outcome.superseded_by_tombstone),
        ("truncate", outcome.superseded_by_truncate),
    ] {
        counter!(ROWS_SUPERSEDED, "table" => table.clone(), "by" => by).increment(number);
    }
    counter!(RECHECK_DELETED, "table" => table).increment(outcome.recheck_deleted);
}

/// A value that is written in place of one that its column cannot hold.
pub fn unrepresentable(table: &TableName, column: &str, choice: &'static str) {
    counter!(UNREPRESENTABLE, "table" => table.to_string(), "column" => column.to_owned(), "choice" => choice)
        .increment(1);
}

/// A batch of so many records that a lane committed, with the time that its transaction took.
pub fn batch_committed(lane: usize, records: usize, took: Duration) {
    counter!(BATCHES, "lane" => lane.to_string()).increment(1);
    histogram!(BATCH_ROWS).record(records as f64);
    histogram!(BATCH_APPLY_SECONDS).record(took.as_secs_f64());
}

/// A try to apply a batch that failed.
pub fn retry(class: Class) {
    let class = match class {
        Class::Transient => "transient",
        Class::Unknown => "unknown",
        Class::Fenced => "fenced",
        Class::Record => "record",
        Class::Table => "table",
        Class::Operator => "operator",
    };
    counter!(RETRIES, "class" => class).increment(1);
}

/// A question to the schema registry, by what came of it.
pub fn registry_asked(outcome: &'static str) {
    counter!(REGISTRY_ASKED, "outcome" => outcome).increment(1);
}

/// Checkpoints that were not where the batch expected them.
pub fn checkpoint_missed(partitions: usize) {
    counter!(CHECKPOINT_MISSED).increment(partitions as u64);
}

/// A commit without an answer that was settled: whether it had been made.
pub fn unknown_outcome(landed: bool) {
    counter!(UNKNOWN_OUTCOMES, "settled" => if landed { "landed" } else { "not_landed" }).increment(1);
}

/// Where a partition is; what is not known is left as it was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    /// Next offset as the destination stores it.
    pub next_offset: Option<i64>,
    /// Last stable offset.
    pub end_offset: Option<i64>,
    /// Offsets between the two.
    pub lag_records: Option<i64>,
    /// Age of the oldest change that is not applied.
    pub lag_seconds: Option<f64>,
}

/// Where a partition of this process is.
pub fn position(at: &TopicPartition, position: &Position) {
    let set = |name: &'static str, value: Option<f64>| {
        if let Some(value) = value {
            gauge!(name, "topic" => at.topic.to_string(), "partition" => at.partition.to_string()).set(value);
        }
    };
    set(NEXT_OFFSET, position.next_offset.map(|offset| offset as f64));
    set(END_OFFSET, position.end_offset.map(|offset| offset as f64));
    set(LAG_RECORDS, position.lag_records.map(|records| records as f64));
    set(LAG_SECONDS, position.lag_seconds);
}

/// The state that a lane is in, out of all that there are.
pub fn lane_state(lane: usize, state: &'static str, all: &[&'static str]) {
    for one in all {
        gauge!(LANE_STATE, "lane" => lane.to_string(), "state" => *one).set(f64::from(*one == state));
    }
}

/// Partitions that this process holds a claim on.
pub fn partitions_owned(number: usize) {
    gauge!(PARTITIONS_OWNED).set(number as f64);
}

/// Records of the pipeline that are kept aside and not settled.
pub fn quarantine_open(number: u64) {
    gauge!(QUARANTINE_OPEN).set(number as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let recorder = recorder().expect("recorder");
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            describe();
            let hostile = "a\"b\\c\nd";
            records(hostile, &Counts { changes: 5, filtered: 1, quarantined: 2, control: 3 });
            table_outcome(
                &TableName::new(Some("s"), hostile),
                &TableOutcome { applied: 4, superseded_by_row: 1, recheck_deleted: 1, ..TableOutcome::default() },
            );
            batch_committed(1, 4_000, Duration::from_millis(30));
            retry(Class::Transient);
            checkpoint_missed(1);
            unknown_outcome(true);
            registry_asked("found");
            unrepresentable(&TableName::new(Some("s"), hostile), hostile, "clamp");
            let at = TopicPartition::new("t", 3);
            let known =
                Position { next_offset: Some(7), end_offset: Some(9), lag_records: Some(2), lag_seconds: Some(0.5) };
            position(&at, &known);
            position(&at, &Position { next_offset: Some(8), ..Position::default() });
            lane_state(1, "applying", &["filling", "applying"]);
            partitions_owned(6);
            quarantine_open(2);
        });
        handle.run_upkeep();
        handle.render()
    }

    /// A sample line of Prometheus' text format: name, labels with escaped values, number.
    fn sample() -> regex::Regex {
        let label = r#"[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*""#;
        regex::Regex::new(&format!(
            r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{((?:{label})(?:,{label})*)\}})? (-?[0-9.]+(?:e-?[0-9]+)?|\+Inf|NaN)$"
        ))
        .expect("pattern")
    }

    #[test]
    fn every_metric_is_on_the_page_in_valid_text_with_its_labels() {
        let page = page();
        let sample = sample();
        for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            assert!(sample.is_match(line), "{line:?}");
        }
        for metric in METRICS {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            assert!(page.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}: type\n{page}", metric.name);
            assert!(
                page.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
                "{}: help\n{page}",
                metric.name
            );
            let lines: Vec<&str> = page.lines().filter(|line| line.starts_with(metric.name)).collect();
            assert!(!lines.is_empty(), "{}: no sample\n{page}", metric.name);
            for label in metric.labels {
                let (name, values) = label.split_once('=').unwrap_or((label, ""));
                assert!(
                    lines.iter().all(|line| line.contains(&format!("{name}=\""))),
                    "{} {name}\n{page}",
                    metric.name
                );
                // A listed value is used by the functions above, and nothing else is.
                for line in lines.iter().filter(|_| !values.is_empty()) {
                    assert!(values.split('|').any(|value| line.contains(&format!("{name}=\"{value}\""))), "{line}");
                }
            }
        }
        let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        for line in page.lines().filter(|line| line.starts_with("# TYPE")) {
            assert!(names.contains(&line.split(' ').nth(2).unwrap_or_default()), "not in the table: {line}");
        }
    }

    #[test]
    fn numbers_are_what_was_counted() {
        let page = page();
        for line in [
            r#"lastword_records_total{topic="a\"b\\c\nd",outcome="control"} 3"#,
            r#"lastword_next_offset{topic="t",partition="3"} 8"#,
            r#"lastword_end_offset{topic="t",partition="3"} 9"#,
            r#"lastword_lag_seconds{topic="t",partition="3"} 0.5"#,
            r#"lastword_lane_state{lane="1",state="applying"} 1"#,
            r#"lastword_lane_state{lane="1",state="filling"} 0"#,
            r#"lastword_batch_rows_bucket{le="5000"} 1"#,
            r#"lastword_batch_rows_bucket{le="3500"} 0"#,
            r#"lastword_batch_apply_seconds_bucket{le="0.05"} 1"#,
            r#"lastword_unknown_outcomes_total{settled="landed"} 1"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
