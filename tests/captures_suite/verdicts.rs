//! What becomes of every capture, also of those that are not understood yet: compared with two lists that are checked in.
//!
//! `verdicts.tsv` says of every scenario, form and destination whether it comes out right, and why not; `quarantined.tsv` names
//! every record that is kept aside. A record that is not on the list fails the run. `LASTWORD_TEST_ACCEPT=1` writes the
//! lists anew for one destination, and keeps the notes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;

use lastword::core::dialect::Dialect;
use serde_json::Value;

use super::stage::{Form, From, Stage};
use crate::support::captures;
use crate::support::program::Finished;

/// Connector, form, scenario, destination.
type Case = [String; 4];

/// What happened in one case.
struct Outcome {
    verdict: String,
    /// Lines of the list of quarantined records.
    kept: Vec<String>,
}

/// Two tests of one process may write the lists.
static LISTS: Mutex<()> = Mutex::new(());

fn path(name: &str) -> PathBuf {
    captures::folder().join(name)
}

fn lines(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path(name)).unwrap_or_default();
    text.lines().skip(1).map(str::to_owned).collect()
}

/// Runs every capture of both connectors in both forms and compares with the lists.
pub(super) fn are_as_listed(dialect: Dialect) {
    let destination = format!("{dialect:?}").to_lowercase();
    let mut verdicts = BTreeMap::new();
    let mut kept = BTreeSet::new();
    for connector in ["postgresql", "mariadb"] {
        for form in [Form::Schemas, Form::Plain] {
            for scenario in captures::scenarios(connector, form.folder()) {
                let case = [connector, form.folder(), &scenario, &destination].map(str::to_owned);
                let outcome = outcome(connector, form, &scenario, dialect);
                kept.extend(outcome.kept.iter().map(|record| format!("{}\t{record}", case.join("\t"))));
                verdicts.insert(case, outcome.verdict);
            }
        }
    }
    let _one = LISTS.lock().expect("nobody panicked while writing");
    if std::env::var("LASTWORD_TEST_ACCEPT").is_ok_and(|accept| accept == "1") {
        accept(&destination, &verdicts, &kept);
    }
    let of_destination = |line: &String| line.split('\t').nth(3) == Some(&destination);
    let listed: Vec<String> = lines("quarantined.tsv").into_iter().filter(of_destination).collect();
    let kept: Vec<String> = kept.into_iter().collect();
    assert_lists("quarantined.tsv", &listed, &kept);
    let without_note = |line: String| line.rsplit_once('\t').expect("a note, if only an empty one").0.to_owned();
    let listed: Vec<String> = lines("verdicts.tsv").into_iter().filter(of_destination).map(without_note).collect();
    let found: Vec<String> = verdicts.iter().map(|(case, verdict)| format!("{}\t{verdict}", case.join("\t"))).collect();
    assert_lists("verdicts.tsv", &listed, &found);
}

#[track_caller]
fn assert_lists(name: &str, listed: &[String], found: &[String]) {
    let gone: Vec<&String> = listed.iter().filter(|line| !found.contains(line)).collect();
    let new: Vec<&String> = found.iter().filter(|line| !listed.contains(line)).collect();
    assert!(
        gone.is_empty() && new.is_empty() && listed.len() == found.len(),
        "tests/captures/{name} is another now; LASTWORD_TEST_ACCEPT=1 writes it\nlisted only: {gone:#?}\nfound only: {new:#?}"
    );
}

/// A differing table is named with how many rows differ, so that another difference is seen as one.
fn outcome(connector: &'static str, form: Form, scenario: &str, dialect: Dialect) -> Outcome {
    let stage = Stage::new(connector, form, dialect, &[scenario]);
    let program = stage.program(From::Files, &stage.records);
    let finished = program.run(&["run", "--until-caught-up", "--json"]);
    if finished.code != Some(0) {
        return Outcome { verdict: refusal(&finished), kept: Vec::new() };
    }
    let summary = finished.json();
    let quarantine = stage.database.bookkeeping("quarantine");
    let rows = stage.database.texts(&format!(
        "select topic, partition_id, record_offset, reason from {quarantine} order by topic, partition_id, record_offset"
    ));
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept = Vec::new();
    for row in rows {
        let cells: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
        *reasons.entry(cells[3].clone()).or_default() += 1;
        kept.push(cells.join("\t"));
    }
    assert_eq!(summary["quarantined"], kept.len(), "{connector} {scenario}: {summary}");
    assert_eq!(summary["records"], stage.records.len(), "{connector} {scenario}: {summary}");
    let differences = stage.differences().len();
    let mut parts: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("quarantined {reason} {count}")).collect();
    if differences > 0 && parts.is_empty() {
        parts.push(format!("differs: {differences} tables"));
    }
    let verdict = if parts.is_empty() { "right".to_owned() } else { parts.join(", ") };
    Outcome { verdict, kept }
}

/// The reasons of the partitions that are halted, or the code of the error.
fn refusal(finished: &Finished) -> String {
    if let Ok(summary) = serde_json::from_str::<Value>(&finished.stdout) {
        let halts = summary["halted"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // `topic[partition]: offset n: reason: …`
        let reasons: BTreeSet<&str> = halts.filter_map(|halt| halt.split(": ").nth(2)).collect();
        return format!("refused {}", reasons.into_iter().collect::<Vec<_>>().join(", "));
    }
    let error = finished.stderr.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let code = error.and_then(|error| error["code"].as_str().map(str::to_owned));
    format!("refused {}", code.unwrap_or_else(|| panic!("no code: {finished:?}")))
}

fn accept(destination: &str, verdicts: &BTreeMap<Case, String>, kept: &BTreeSet<String>) {
    let others = |name: &str| -> BTreeSet<String> {
        lines(name).into_iter().filter(|line| line.split('\t').nth(3) != Some(destination)).collect()
    };
    let notes: BTreeMap<String, String> = lines("verdicts.tsv")
        .into_iter()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            Some((cells.get(..4)?.join("\t"), (*cells.last()?).to_owned()))
        })
        .collect();
    let mut list = others("verdicts.tsv");
    for (case, verdict) in verdicts {
        let case = case.join("\t");
        let note = notes.get(&case).map_or("", String::as_str);
        list.insert(format!("{case}\t{verdict}\t{note}"));
    }
    write("verdicts.tsv", "connector\tform\tscenario\tdestination\tverdict\tnote", &list);
    let mut list = others("quarantined.tsv");
    list.extend(kept.iter().cloned());
    write("quarantined.tsv", "connector\tform\tfile\tdestination\ttopic\tpartition\toffset\treason", &list);
}

fn write(name: &str, header: &str, list: &BTreeSet<String>) {
    let text: String =
        std::iter::once(header).chain(list.iter().map(String::as_str)).map(|line| format!("{line}\n")).collect();
    std::fs::write(path(name), text).expect("the list is written");
}

#[test]
fn all_captures_end_as_listed_in_sqlite() {
    are_as_listed(Dialect::Sqlite);
}
