//! The status of a pipeline: one shape for `/status`, for `lastword status --json` and, as tables, for people.
//!
//! Names of topics, tables and owners come from outside. Control characters in them are made visible before they reach a
//! terminal.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;

use crate::config::checked::Config;
use crate::config::redact_url;

/// Status of a pipeline. What cannot be known (the log of a broker that is down) is `null`, never a guess.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StatusReport {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Version of lastword.
    pub version: String,
    /// When this was seen, in RFC 3339, UTC.
    pub at: String,
    /// The destination's URL without its password.
    pub sink: String,
    /// Whether the process is ready; `null` when no process was asked.
    pub ready: Option<bool>,
    /// Why it is not ready.
    pub reasons: Vec<String>,
    /// Partitions, ordered by topic and number.
    pub partitions: Vec<PartitionStatus>,
    /// Tables, ordered by name.
    pub tables: Vec<TableStatus>,
    /// Lanes of this process; empty when no process was asked.
    pub lanes: Vec<LaneStatus>,
    /// How far the destination is consistent with each source; empty unless batches are aligned to its transactions.
    pub sources: Vec<SourceStatus>,
    /// Quarantined records that are not settled.
    pub quarantine_open: Option<u64>,
}

impl StatusReport {
    /// A report of now about a configured pipeline, with nothing in it yet.
    pub fn of(config: &Config) -> Self {
        Self {
            pipeline: config.pipeline.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            sink: redact_url(config.sink.url.expose()),
            ..Self::default()
        }
    }
}

/// A row as people see it, the same in the terminal and on the page: `None` is not known, texts are as they came.
pub(super) type Cells = Vec<Option<String>>;

/// Status of a partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PartitionStatus {
    /// Topic.
    pub topic: String,
    /// Number.
    pub partition: i32,
    /// Next offset as the destination stores it; `null` before the first claim.
    pub next_offset: Option<i64>,
    /// Last stable offset.
    pub end_offset: Option<i64>,
    /// Offsets between the two.
    pub lag_records: Option<i64>,
    /// Age of the oldest change that is not applied; 0 at the end.
    pub lag_seconds: Option<f64>,
    /// Fence of the checkpoint.
    pub fence: Option<i64>,
    /// Who holds the claim.
    pub owner: Option<String>,
    /// What is happening: `running`, `claiming`, `parked`, `stopped: …`.
    pub state: String,
}

impl PartitionStatus {
    pub(super) const HEADER: [&str; 9] =
        ["topic", "partition", "next offset", "end offset", "lag", "lag (s)", "fence", "owner", "state"];

    pub(super) fn cells(&self) -> Cells {
        let number = |number: Option<i64>| number.map(|number| number.to_string());
        vec![
            Some(self.topic.clone()),
            Some(self.partition.to_string()),
            number(self.next_offset),
            number(self.end_offset),
            number(self.lag_records),
            self.lag_seconds.map(|seconds| format!("{seconds:.1}")),
            number(self.fence),
            self.owner.clone(),
            Some(self.state.clone()),
        ]
    }
}

/// Status of a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableStatus {
    /// Full name.
    pub name: String,
    /// Its contract, with its order or weakness where it has one: `final-state`, `final-state (in partition order)`.
    pub contract: String,
    /// Changes that took effect.
    pub applied: u64,
    /// Changes that lost to a newer one.
    pub superseded: u64,
    /// Records that are kept aside.
    pub quarantined: u64,
    /// Tombstones that are there.
    pub tombstones: i64,
}

impl TableStatus {
    pub(super) const HEADER: [&str; 6] = ["table", "contract", "applied", "superseded", "quarantined", "tombstones"];

    pub(super) fn cells(&self) -> Cells {
        vec![
            Some(self.name.clone()),
            Some(self.contract.clone()),
            Some(self.applied.to_string()),
            Some(self.superseded.to_string()),
            Some(self.quarantined.to_string()),
            Some(self.tombstones.to_string()),
        ]
    }
}

/// How far the destination is consistent with a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceStatus {
    /// The source, with the marker of its GTIDs.
    pub source: String,
    /// Position up to which the destination certainly holds all its transactions; `null` where none is proven yet.
    pub consistent_to: Option<String>,
    /// Transactions at the head of the log whose end was told by silence alone.
    pub align_cuts: u64,
    /// Transactions that were cut inside: too large to be held, or searched for a bad record.
    pub split: u64,
    /// When that was stored, in RFC 3339, UTC.
    pub at: String,
}

impl SourceStatus {
    pub(super) const HEADER: [&str; 5] = ["source", "consistent to", "cut by time", "cut inside", "at"];

    pub(super) fn cells(&self) -> Cells {
        vec![
            Some(self.source.clone()),
            self.consistent_to.clone(),
            Some(self.align_cuts.to_string()),
            Some(self.split.to_string()),
            Some(self.at.clone()),
        ]
    }
}

/// Status of a lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LaneStatus {
    /// Number.
    pub lane: usize,
    /// State of its machine.
    pub state: String,
    /// Partitions on it.
    pub partitions: usize,
    /// The failure that it waits on, if it does.
    pub detail: Option<String>,
}

impl LaneStatus {
    pub(super) const HEADER: [&str; 4] = ["lane", "state", "partitions", "waits on"];

    pub(super) fn cells(&self) -> Cells {
        vec![
            Some(self.lane.to_string()),
            Some(self.state.clone()),
            Some(self.partitions.to_string()),
            self.detail.clone(),
        ]
    }
}

/// The report as tables for people, with a line end at the end.
pub fn render_table(report: &StatusReport) -> String {
    let mut page = format!("pipeline {}  {}  {}\n", printable(&report.pipeline), printable(&report.sink), report.at);
    if report.ready == Some(false) {
        page.push_str(&format!("not ready: {}\n", printable(&report.reasons.join("; "))));
    }
    if !report.partitions.is_empty() {
        let cells = report.partitions.iter().map(PartitionStatus::cells);
        page.push_str(&rows(&PartitionStatus::HEADER, &[1, 2, 3, 4, 5, 6], cells));
    }
    if !report.tables.is_empty() {
        let cells = report.tables.iter().map(TableStatus::cells);
        page.push_str(&rows(&TableStatus::HEADER, &[2, 3, 4, 5], cells));
    }
    if !report.sources.is_empty() {
        let cells = report.sources.iter().map(SourceStatus::cells);
        page.push_str(&rows(&SourceStatus::HEADER, &[2, 3], cells));
    }
    if !report.lanes.is_empty() {
        let cells = report.lanes.iter().map(LaneStatus::cells);
        page.push_str(&rows(&LaneStatus::HEADER, &[0, 2], cells));
    }
    if report.partitions.is_empty() && report.tables.is_empty() {
        page.push_str("nothing was applied yet\n");
    }
    match report.quarantine_open {
        None | Some(0) => {}
        Some(number) => {
            page.push_str(&format!("\n{number} record(s) in quarantine: see `lastword quarantine list`\n"));
        }
    }
    page
}

/// Rows under a header, with some columns (from 0) aligned to the right.
fn rows(header: &[&str], right: &[usize], rows: impl Iterator<Item = Cells>) -> String {
    let mut table = table(header, right);
    for row in rows {
        table.add_row(row.into_iter().map(|cell| cell.map_or_else(|| "-".to_owned(), |cell| printable(&cell))));
    }
    format!("\n{}\n", table.trim_fmt())
}

/// One line under the header, nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table in the look of all commands, with some columns (from 0) aligned to the right. On a terminal it keeps to its
/// width.
pub fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    if cfg!(test) {
        // Snapshots must not depend on the terminal of whoever runs them.
        table.force_no_tty();
    }
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Text from outside, fit for a terminal: control characters are shown as escapes.
pub fn printable(text: &str) -> String {
    let is_unsafe = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.chars().any(is_unsafe) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A report with everything in it, hostile names too.
    pub fn sample() -> StatusReport {
        StatusReport {
            pipeline: "harbor".to_owned(),
            version: "0.1.0".to_owned(),
            at: "2026-11-01T12:00:00Z".to_owned(),
            sink: "postgres://app:***@db/app".to_owned(),
            ready: Some(false),
            reasons: vec!["t[1] is not claimed".to_owned()],
            partitions: vec![
                PartitionStatus {
                    topic: "t".to_owned(),
                    partition: 0,
                    next_offset: Some(41),
                    end_offset: Some(100),
                    lag_records: Some(59),
                    lag_seconds: Some(1.25),
                    fence: Some(7),
                    owner: Some("host-1".to_owned()),
                    state: "running".to_owned(),
                },
                PartitionStatus {
                    topic: "t".to_owned(),
                    partition: 1,
                    state: "claiming".to_owned(),
                    ..Default::default()
                },
            ],
            tables: vec![TableStatus {
                name: "public.<b>\u{1b}[31m".to_owned(),
                contract: "final-state".to_owned(),
                applied: 12,
                superseded: 3,
                quarantined: 1,
                tombstones: 2,
            }],
            lanes: vec![LaneStatus { lane: 0, state: "applying".to_owned(), partitions: 2, detail: None }],
            sources: vec![SourceStatus {
                source: "postgresql harbor".to_owned(),
                consistent_to: Some("LSN 0/16B6A90".to_owned()),
                align_cuts: 4,
                split: 0,
                at: "2026-11-01T11:59:59Z".to_owned(),
            }],
            quarantine_open: Some(1),
        }
    }

    #[test]
    fn the_tables_say_what_is_known_and_only_that() {
        insta::assert_snapshot!(render_table(&sample()), @r"
        pipeline harbor  postgres://app:***@db/app  2026-11-01T12:00:00Z
        not ready: t[1] is not claimed

         topic   partition   next offset   end offset   lag   lag (s)   fence   owner    state
        ──────────────────────────────────────────────────────────────────────────────────────────
         t               0            41          100    59       1.2       7   host-1   running
         t               1             -            -     -         -       -   -        claiming

         table                  contract      applied   superseded   quarantined   tombstones
        ──────────────────────────────────────────────────────────────────────────────────────
         public.<b>\u{1b}[31m   final-state        12            3             1            2

         source              consistent to   cut by time   cut inside   at
        ─────────────────────────────────────────────────────────────────────────────────────
         postgresql harbor   LSN 0/16B6A90             4            0   2026-11-01T11:59:59Z

         lane   state      partitions   waits on
        ─────────────────────────────────────────
            0   applying            2   -

        1 record(s) in quarantine: see `lastword quarantine list`
");
        let empty = render_table(&StatusReport { pipeline: "p".to_owned(), ..Default::default() });
        assert!(empty.ends_with("nothing was applied yet\n"), "{empty}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}ü"), "a\\u{1b}[2Jb\\n\\u{202e}ü");
        assert!(!render_table(&sample()).contains('\u{1b}'));
    }

    #[test]
    fn json_names_every_field_and_leaves_unknown_ones_null() {
        let json = serde_json::to_value(sample()).expect("json");
        assert_eq!(json["partitions"][0]["lag_records"], 59);
        assert_eq!(json["partitions"][1]["next_offset"], serde_json::Value::Null);
        assert_eq!(json["tables"][0]["superseded"], 3);
        assert_eq!(json["ready"], false);
    }
}
