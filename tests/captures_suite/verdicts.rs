//! What becomes of every capture, also of those that are not understood yet: compared with two lists that are checked in.
//!
//! `verdicts.tsv` says of every scenario, form and destination whether it comes out right, and why not; `quarantined.tsv` names
//! every record that is kept aside. A record that is not on the list fails the run. `LASTWORD_TEST_ACCEPT=1` writes the
//! lists anew for one destination, and keeps the notes.

use std::collections::{BTreeMap, BTreeSet};

use lastword::core::dialect::Dialect;

use super::inside::Job;
use super::stage::{Form, Stage};
use crate::support::captures;
use crate::support::lists::List;

/// Connector, form, scenario, destination.
type Case = [String; 4];

/// What happened in one case.
struct Outcome {
    verdict: String,
    /// Lines of the list of quarantined records.
    kept: Vec<String>,
}

/// Both lists.
const VERDICTS: [&str; 2] = ["captures/verdicts.tsv", "connector\tform\tscenario\tdestination\tverdict\tnote"];
const QUARANTINED: [&str; 2] =
    ["captures/quarantined.tsv", "connector\tform\tfile\tdestination\ttopic\tpartition\toffset\treason"];

/// Runs every capture of both connectors in both forms and compares with the lists.
pub(super) fn are_as_listed(dialect: Dialect) {
    let destination = format!("{dialect:?}").to_lowercase();
    let mut verdicts = BTreeMap::new();
    let mut kept = BTreeSet::new();
    for connector in ["postgresql", "mariadb"] {
        for form in [Form::Schemas, Form::Plain, Form::Flat] {
            for scenario in captures::scenarios(connector, form.folder()) {
                let case = [connector, form.folder(), &scenario, &destination].map(str::to_owned);
                let outcome = outcome(connector, form, &scenario, dialect);
                kept.extend(outcome.kept.iter().map(|record| format!("{}\t{record}", case.join("\t"))));
                verdicts.insert(case, outcome.verdict);
            }
        }
    }
    let mine = |line: &str| line.split('\t').nth(3) == Some(&destination);
    let kept: Vec<String> = kept.into_iter().collect();
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

/// A difference is told by how many rows differ; which they are is in `exceptions.tsv`.
fn outcome(connector: &'static str, form: Form, scenario: &str, dialect: Dialect) -> Outcome {
    let stage = Stage::new(connector, form, dialect, &[scenario]);
    let runs = stage.apply(&[Job { pipeline: "listed", records: stage.records(), rows: 5000 }]);
    let summary = match runs {
        Ok(runs) => runs.into_iter().next().expect("one run"),
        Err(failure) => return Outcome { verdict: format!("refused {}", failure.code), kept: Vec::new() },
    };
    if !summary.halted.is_empty() {
        // `topic[partition]: offset n: reason: …`
        let reasons: BTreeSet<&str> = summary.halted.iter().filter_map(|halt| halt.split(": ").nth(2)).collect();
        let reasons: Vec<&str> = reasons.into_iter().collect();
        return Outcome { verdict: format!("refused {}", reasons.join(", ")), kept: Vec::new() };
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept = Vec::new();
    for cells in stage.quarantined() {
        *reasons.entry(cells[3].clone()).or_default() += 1;
        kept.push(cells.join("\t"));
    }
    assert_eq!(summary.quarantined, kept.len() as u64, "{connector} {scenario}: {summary}");
    assert_eq!(summary.records, stage.records().len() as u64, "{connector} {scenario}: {summary}");
    let differences = stage.differences().len();
    let mut parts: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("quarantined {reason} {count}")).collect();
    if differences > 0 && parts.is_empty() {
        parts.push(format!("differs: {differences} rows"));
    }
    let verdict = if parts.is_empty() { "right".to_owned() } else { parts.join(", ") };
    Outcome { verdict, kept }
}

#[test]
fn all_captures_end_as_listed_in_sqlite() {
    are_as_listed(Dialect::Sqlite);
}
