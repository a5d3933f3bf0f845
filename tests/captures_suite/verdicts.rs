//! What becomes of every capture, also of those that the connector itself changed: compared with two lists that are checked in.
//!
//! `verdicts.tsv` says of every scenario, form and destination whether it comes out right, and why not; `quarantined.tsv` names
//! every record that is kept aside. A record that is not on the list fails the run, and so does a cell that differs from the
//! source's, unless `facts.tsv` says why: it is what the connector made of the value. `LASTWORD_TEST_ACCEPT=1` writes the
//! lists anew for one destination, and keeps the notes.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lastword::core::dialect::Dialect;

use super::inside::Job;
use super::stage::{Form, Stage, What};
use crate::support::captures::{self, Captured};
use crate::support::lists::List;

/// Connector, form, scenario, destination.
type Case = [String; 4];

/// What happened in one case.
struct Outcome {
    verdict: String,
    /// Lines of the list of quarantined records.
    kept: Vec<String>,
    /// Cells that no fact explains.
    problems: Vec<String>,
}

impl Outcome {
    fn refused(reasons: &str) -> Self {
        Self { verdict: format!("refused {reasons}"), kept: Vec::new(), problems: Vec::new() }
    }
}

/// Both lists.
const VERDICTS: [&str; 2] = ["captures/verdicts.tsv", "connector\tform\tscenario\tdestination\tverdict\tnote"];
const QUARANTINED: [&str; 2] =
    ["captures/quarantined.tsv", "connector\tform\tfile\tdestination\ttopic\tpartition\toffset\treason"];

/// Runs every capture of both connectors in both forms and compares with the lists.
pub(super) fn are_as_listed(dialect: Dialect) {
    let destination = format!("{dialect:?}").to_lowercase();
    let facts = List::take("captures/facts.tsv", "").lines();
    let (mut verdicts, mut problems) = (BTreeMap::new(), Vec::new());
    let mut kept = BTreeSet::new();
    for connector in ["postgresql", "mariadb"] {
        for form in [Form::Schemas, Form::Texts, Form::Plain, Form::Flat] {
            let scenarios = captures::scenarios(connector, form.folder());
            let scenarios: Vec<&str> = scenarios.iter().map(String::as_str).collect();
            // One destination for all: making a database and its bookkeeping is most of what a scenario costs.
            let stage = Stage::new(connector, form, dialect, &scenarios);
            for scenario in scenarios {
                let case = [connector, form.folder(), scenario, &destination].map(str::to_owned);
                let outcome = outcome(&stage, scenario, &facts);
                problems.extend(outcome.problems.iter().map(|problem| format!("{}\t{problem}", case.join("\t"))));
                kept.extend(outcome.kept.iter().map(|record| format!("{}\t{record}", case.join("\t"))));
                verdicts.insert(case, outcome.verdict);
            }
        }
    }
    let mine = |line: &str| line.split('\t').nth(3) == Some(&destination);
    let kept: Vec<String> = kept.into_iter().collect();
    assert!(problems.is_empty(), "no fact of the connector says why:\n{}", problems.join("\n"));
    compare(QUARANTINED, mine, &kept);
    compare_verdicts(mine, &verdicts);
}

fn compare([name, header]: [&'static str; 2], mine: impl Fn(&str) -> bool, found: &[String]) {
    let unequal = List::take(name, header).compare(mine, found);
    assert!(unequal.is_none(), "{}", unequal.unwrap_or_default());
}

/// Every verdict has the note that the list gives it.
fn compare_verdicts(mine: impl Fn(&str) -> bool, verdicts: &BTreeMap<Case, String>) {
    let list = List::take(VERDICTS[0], VERDICTS[1]);
    let notes: BTreeMap<String, String> = list
        .lines()
        .into_iter()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            Some((cells.get(..4)?.join("\t"), (*cells.last()?).to_owned()))
        })
        .collect();
    drop(list);
    let noted = |(case, verdict): (&Case, &String)| {
        let case = case.join("\t");
        let note = notes.get(&case).map_or("", String::as_str);
        format!("{case}\t{verdict}\t{note}")
    };
    let found: Vec<String> = verdicts.iter().map(noted).collect();
    compare(VERDICTS, mine, &found);
}

/// A difference is told by how many rows differ; which they are is in `exceptions.tsv`. Rows of which a record is kept aside are
/// not looked at.
fn outcome(stage: &Stage, scenario: &str, facts: &[String]) -> Outcome {
    let connector = stage.material.connector;
    let path = captures::file(connector, stage.material.form.folder(), scenario).expect("a file");
    let records = captures::read(&path);
    let runs = stage.apply(&[Job { pipeline: &scenario.replace('.', "_"), records: &records, rows: 5000 }]);
    let summary = match runs {
        Ok(runs) => runs.into_iter().next().expect("one run"),
        Err(failure) => return Outcome::refused(&failure.code),
    };
    if !summary.halted.is_empty() {
        // `topic[partition]: offset n: reason: …`
        let reasons: BTreeSet<&str> = summary.halted.iter().filter_map(|halt| halt.split(": ").nth(2)).collect();
        return Outcome::refused(&reasons.into_iter().collect::<Vec<_>>().join(", "));
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let (mut kept, mut aside) = (Vec::new(), BTreeSet::new());
    let topics = captures::topics(&records);
    for cells in stage.quarantined().into_iter().filter(|cells| topics.contains(&cells[0])) {
        *reasons.entry(cells[3].clone()).or_default() += 1;
        kept.push(cells.join("\t"));
        aside.insert(key_of(&records, &cells));
    }
    assert_eq!(summary.quarantined, kept.len() as u64, "{connector} {scenario}: {summary}");
    assert_eq!(summary.records, records.len() as u64, "{connector} {scenario}: {summary}");
    let (mut rows, mut cells, mut problems) = (0, 0, Vec::new());
    for difference in stage.differences_in(scenario).iter().filter(|difference| !aside.contains(&difference.key)) {
        match &difference.what {
            What::Changed { column, .. } if is_fact(facts, [connector, scenario, column, &difference.key]) => {
                cells += 1
            }
            What::Changed { .. } => problems.push(difference.to_string()),
            What::Missing(_) | What::Surplus(_) => rows += 1,
        }
    }
    let mut parts: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("quarantined {reason} {count}")).collect();
    for (count, part) in [(rows, format!("differs: {rows} rows")), (cells, format!("connector: {cells} cells"))] {
        parts.extend((count > 0).then_some(part));
    }
    let verdict = if parts.is_empty() { "right".to_owned() } else { parts.join(", ") };
    Outcome { verdict, kept, problems }
}

/// The first part of the key of a record that is kept aside.
fn key_of(records: &[Captured], cells: &[String]) -> String {
    let place = |record: &&Captured| {
        record.topic == cells[0] && record.partition.to_string() == cells[1] && record.offset.to_string() == cells[2]
    };
    let key = records.iter().find(place).and_then(|record| record.key.clone()).expect("a key");
    let key: serde_json::Value = serde_json::from_str(&key).expect("JSON");
    let payload = if key["payload"].is_object() { &key["payload"] } else { &key };
    let part = payload.as_object().and_then(|key| key.values().next()).expect("a part");
    // Whole numbers as decimals (`bigint.unsigned.handling.mode=precise`): big-endian bytes.
    let bytes = part.as_str().and_then(|text| STANDARD.decode(text).ok());
    let number =
        bytes.map(|bytes| bytes.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte)).to_string());
    number.unwrap_or_else(|| part.to_string())
}

/// Whether a line of `facts.tsv` is about a cell: connector, scenario, columns, keys of the rows (`*` for all), what it does.
fn is_fact(facts: &[String], [connector, scenario, column, key]: [&str; 4]) -> bool {
    facts.iter().any(|fact| {
        let cells: Vec<&str> = fact.split('\t').collect();
        let among = |list: &str, one: &str| list == "*" || list.split(' ').any(|listed| listed == one);
        cells[..2] == [connector, scenario] && among(cells[2], column) && among(cells[3], key)
    })
}

#[test]
fn all_captures_end_as_listed_in_sqlite() {
    are_as_listed(Dialect::Sqlite);
}
