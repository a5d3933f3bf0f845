//! Every way in which the captures can be delivered leads to one state: rows, tokens, tombstones and truncate tokens are equal,
//! and the rows are what the source held, but for the rows of `tests/captures/exceptions.tsv`.
//!
//! A short run tries every delivery once into SQLite, with batch sizes taken in turn. Into the servers it tries each of them with one
//! form only, because the form of a record is forgotten when it is decoded: so every delivery meets every destination and every
//! form. `LASTWORD_TEST_LONG=1` tries every delivery of every form into every destination with every batch size, and more seeds. `LASTWORD_TEST_ACCEPT=1` writes the list of exceptions anew for one connector and form.

use std::sync::Arc;

use lastword::core::dialect::Dialect;
use lastword::runtime::status::RunSummary;

use super::inside::Job;
use super::lists;
use super::stage::{Form, Material, Stage};
use crate::support::captures::Captured;
use crate::support::database::{Contents, differing};
use crate::support::deliver;
use crate::support::random::{Random, seed};

/// What the matrix is about. Not every connector has all of them.
const SCENARIOS: [&str; 17] = [
    "snapshot_with_open_tx",
    "recreated_new_slot",
    "recreated_same_slot",
    "recreated_connector",
    "blocking_snapshot",
    "incremental_snapshot",
    "restart_duplicates",
    "kill_in_large_tx",
    "truncate",
    "toast_full_identity",
    "large_columns",
    "key_update",
    "key_swap",
    "same_row_in_one_tx",
    "delete_reinsert",
    "identity_using_index",
    "multi_table_tx",
];

/// Those with most of the records: in a short run they are not cut into batches of one or two.
const LARGE: [&str; 2] = ["incremental_snapshot", "kill_in_large_tx"];

const ROWS: [usize; 4] = [1000, 7, 1, 2];

/// Jobs that run one after the other; those of one step at the same time.
type Steps = Vec<Vec<Planned>>;

/// A pipeline and its log.
struct Planned {
    pipeline: &'static str,
    records: Vec<Captured>,
}

fn job(pipeline: &'static str, records: Vec<Captured>) -> Planned {
    Planned { pipeline, records }
}

/// A way of delivery.
#[derive(Clone, Copy, Debug)]
enum Way {
    InOrder,
    Backwards,
    Interleaved,
    Doubled,
    Redelivered,
    CutOff,
    /// A prefix first, then everything, then another prefix under checkpoints of its own.
    Replayed,
    /// Two pipelines at the same time, each in its own order.
    TwoAtOnce,
}

const WAYS: [Way; 8] = [
    Way::InOrder,
    Way::Backwards,
    Way::Interleaved,
    Way::Doubled,
    Way::Redelivered,
    Way::CutOff,
    Way::Replayed,
    Way::TwoAtOnce,
];

impl Way {
    fn steps(self, records: &[Captured], random: &mut Random) -> Steps {
        let mixed = |random: &mut Random| deliver::interleaved(records, random);
        match self {
            Self::InOrder => vec![vec![job("one", records.to_vec())]],
            Self::Backwards => vec![vec![job("one", deliver::backwards(records))]],
            Self::Interleaved => vec![vec![job("one", mixed(random))]],
            Self::Doubled => vec![vec![job("one", deliver::doubled(records))]],
            Self::Redelivered => vec![vec![job("one", deliver::redelivered(records, random))]],
            Self::CutOff => vec![vec![job("one", deliver::cut_off(records, random))]],
            Self::Replayed => {
                let before = deliver::prefix(records, random);
                let after = deliver::prefix(records, random);
                vec![vec![job("one", before)], vec![job("one", mixed(random))], vec![job("again", after)]]
            }
            Self::TwoAtOnce => vec![vec![job("one", mixed(random)), job("two", mixed(random))]],
        }
    }

    /// Whether every record has its own offset, as where it was captured.
    fn keeps_offsets(self) -> bool {
        !matches!(self, Self::Doubled | Self::Redelivered | Self::CutOff)
    }

    /// Whether a short run tries it with this form into this destination.
    fn is_due(self, form: Form, dialect: Dialect) -> bool {
        let turn = match form {
            Form::Schemas | Form::Texts => 0,
            Form::Plain => 1,
            Form::Flat => 2,
        };
        let server = match dialect {
            Dialect::Sqlite => return true,
            Dialect::Postgres => 0,
            Dialect::Mysql => 1,
        };
        // Not every connector has the flat form of those that give records other offsets.
        let is_full = turn == 0 && !self.keeps_offsets();
        matches!(self, Self::InOrder) || is_full || (self as usize + turn + server).is_multiple_of(3)
    }

    /// Whether another seed is another delivery.
    fn is_random(self) -> bool {
        !matches!(self, Self::InOrder | Self::Backwards | Self::Doubled)
    }
}

/// How often each guard decided.
fn add(sum: &mut RunSummary, run: &RunSummary) {
    sum.records += run.records;
    sum.applied += run.applied;
    sum.superseded_in_batch += run.superseded_in_batch;
    sum.superseded_by_row += run.superseded_by_row;
    sum.superseded_by_tombstone += run.superseded_by_tombstone;
    sum.superseded_by_truncate += run.superseded_by_truncate;
    sum.recheck_deleted += run.recheck_deleted;
    sum.checkpoint_missed += run.checkpoint_missed;
    sum.retries += run.retries;
    sum.quarantined += run.quarantined;
    sum.halted.extend(run.halted.iter().cloned());
}

fn guards(sum: &RunSummary) -> String {
    format!(
        "{} records, {} applied; lost in batch {}, to a row {}, to a tombstone {}, to a truncate {}; re-check {}; compare-and-swap missed {}; retries {}; quarantined {}",
        sum.records,
        sum.applied,
        sum.superseded_in_batch,
        sum.superseded_by_row,
        sum.superseded_by_tombstone,
        sum.superseded_by_truncate,
        sum.recheck_deleted,
        sum.checkpoint_missed,
        sum.retries,
        sum.quarantined,
    )
}

/// What a delivery came to.
struct End {
    contents: Contents,
    sum: RunSummary,
    /// What is not as the source had it, or as the list of exceptions says.
    problems: Vec<String>,
}

/// Runs one delivery into a destination of its own. The first one may write the list of exceptions: all others must lead to the
/// same.
fn deliver(material: &Arc<Material>, dialect: Dialect, steps: &Steps, rows: usize, is_first: bool) -> End {
    let stage = Stage::of(material, dialect);
    let (mut sum, mut problems) = (RunSummary::default(), Vec::new());
    for step in steps {
        let jobs: Vec<Job<'_>> =
            step.iter().map(|job| Job { pipeline: job.pipeline, records: &job.records, rows }).collect();
        match stage.apply(&jobs) {
            Ok(runs) => runs.iter().for_each(|run| add(&mut sum, run)),
            Err(failure) => problems.push(failure.to_string()),
        }
    }
    if sum.quarantined > 0 || !sum.halted.is_empty() {
        problems.push(format!("quarantined {:?}, halted {:?}", stage.quarantined(), sum.halted));
    }
    let differences: Vec<String> = stage.differences().iter().map(ToString::to_string).collect();
    problems.extend(lists::unlisted(material, &differences, is_first));
    End { contents: stage.database.contents(), sum, problems }
}

/// Invariants 2, 3 and 7 over all deliveries of one connector and form into one destination.
pub(super) fn one_state(connector: &'static str, form: Form, dialect: Dialect) {
    let long = std::env::var("LASTWORD_TEST_LONG").is_ok_and(|long| long == "1");
    let mut random = Random::new(seed());
    // Flattened rows of PostgreSQL were captured with a bare LSN, which orders nothing: they go by their offsets, and a record
    // that comes at another offset is another change.
    let by_offset = connector == "postgresql" && form == Form::Flat;
    let load = |scenarios: &[&str]| {
        let mut material = Material::load(connector, form, scenarios);
        Arc::get_mut(&mut material).expect("alone").by_offset = by_offset;
        material
    };
    let all_scenarios = load(&SCENARIOS);
    let small: Vec<&str> = SCENARIOS.into_iter().filter(|scenario| !LARGE.contains(scenario)).collect();
    let small = load(&small);
    // What the first delivery of the same scenarios led to.
    let (mut first, mut first_small) = (None, None);
    let (mut all, mut problems) = (RunSummary::default(), Vec::new());
    let possible = WAYS.into_iter().filter(|way| !by_offset || way.keeps_offsets()).enumerate();
    for (number, way) in possible.filter(|(_, way)| long || way.is_due(form, dialect)) {
        let sizes: Vec<usize> = if long { ROWS.to_vec() } else { vec![ROWS[number % ROWS.len()]] };
        let seeds = if long && way.is_random() { 3 } else { 1 };
        for rows in std::iter::repeat_n(sizes, seeds).flatten() {
            let what = format!("{connector} {} into {dialect:?}: {way:?}, batches of {rows}", form.folder());
            let is_small = !long && rows <= 2;
            let (material, first) = if is_small { (&small, &mut first_small) } else { (&all_scenarios, &mut first) };
            if is_small && first.is_none() {
                let steps = Way::InOrder.steps(&material.records, &mut random);
                *first = Some(deliver(material, dialect, &steps, ROWS[0], false).contents);
            }
            let steps = way.steps(&material.records, &mut random);
            let end = deliver(material, dialect, &steps, rows, number == 0);
            println!("{what}: {}", guards(&end.sum));
            add(&mut all, &end.sum);
            let first: &Contents = first.get_or_insert_with(|| end.contents.clone());
            let unlike = differing(first, &end.contents).map(|lines| format!("other contents than the first: {lines}"));
            problems.extend(end.problems.into_iter().chain(unlike).map(|problem| format!("{what}: {problem}")));
        }
    }
    println!("{connector} {} into {dialect:?}, all deliveries: {}", form.folder(), guards(&all));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    if !long && dialect != Dialect::Sqlite {
        return;
    }
    let decided = [
        ("collapse", all.superseded_in_batch),
        ("row", all.superseded_by_row),
        ("tombstone", all.superseded_by_tombstone),
        // The flat form has no TRUNCATE.
        ("truncate", all.superseded_by_truncate + u64::from(form == Form::Flat)),
    ];
    let idle: Vec<&str> = decided.iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect();
    assert!(idle.is_empty(), "guards that never decided were not tested: {idle:?}");
}

#[test]
fn postgresql_with_schemas_into_sqlite() {
    one_state("postgresql", Form::Schemas, Dialect::Sqlite);
}

#[test]
fn postgresql_plain_into_sqlite() {
    one_state("postgresql", Form::Plain, Dialect::Sqlite);
}

#[test]
fn mariadb_with_schemas_into_sqlite() {
    one_state("mariadb", Form::Schemas, Dialect::Sqlite);
}

#[test]
fn mariadb_plain_into_sqlite() {
    one_state("mariadb", Form::Plain, Dialect::Sqlite);
}

#[test]
fn postgresql_flat_into_sqlite() {
    one_state("postgresql", Form::Flat, Dialect::Sqlite);
}

#[test]
fn mariadb_flat_into_sqlite() {
    one_state("mariadb", Form::Flat, Dialect::Sqlite);
}
