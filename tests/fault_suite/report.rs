//! What was injected and seen, as text for people.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use lastword::core::dialect::Dialect;

use super::campaign::Outcome;

fn name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "PostgreSQL",
        Dialect::Mysql => "MariaDB",
        Dialect::Sqlite => "SQLite",
    }
}

/// Faults that were seen to hit, over all destinations.
pub fn seen(outcomes: &[Outcome]) -> u64 {
    outcomes.iter().flat_map(|outcome| outcome.tally.values()).map(|(_, seen)| seen).sum()
}

/// The report.
pub fn report(outcomes: &[Outcome], commit: &str, seed: u64, took: Duration, versions: &[String]) -> String {
    let mut text = String::from(
        "# Faults injected, and what came of them\n\n\
         Made by `tests/run --long -- fault_suite::on_services::campaign`, or with services running by\n\
         `LASTWORD_TEST_LONG=1 cargo test --test integration fault_suite::on_services::campaign -- --nocapture`;\n\
         `LASTWORD_TEST_SEED` repeats the schedule. See `tests/fault_suite/mod.rs`.\n\n",
    );
    let violations: usize = outcomes.iter().map(|outcome| outcome.violations.len()).sum();
    let verdict = match violations {
        0 => "nothing lost, doubled or resurrected".to_owned(),
        number => format!("{number} VIOLATIONS"),
    };
    let lines = [
        ("faults seen to hit", seen(outcomes).to_string()),
        ("outcome", verdict),
        ("date", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", commit.to_owned()),
        ("seed", seed.to_string()),
        ("took", format!("{} min {} s", took.as_secs() / 60, took.as_secs() % 60)),
        ("machine", machine()),
        ("servers", versions.join(", ")),
        ("program", if cfg!(debug_assertions) { "debug build (failpoints)" } else { "release build" }.to_owned()),
    ];
    for (what, value) in lines {
        let _ = writeln!(text, "- {what}: {value}");
    }
    text.push_str("\n| destination | rounds | records | rows compared | tombstones compared | faults injected | seen | violations |\n");
    text.push_str("|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for outcome in outcomes {
        let (injected, seen) = outcome.tally.values().fold((0, 0), |(a, b), (injected, seen)| (a + injected, b + seen));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {injected} | {seen} | {} |",
            name(outcome.dialect),
            outcome.rounds,
            outcome.records,
            outcome.rows,
            outcome.tombstones,
            outcome.violations.len()
        );
    }
    text.push_str("\nInjected / seen to hit (a fault that did not hit is tried again):\n\n| fault |");
    outcomes.iter().for_each(|outcome| text.push_str(&format!(" {} |", name(outcome.dialect))));
    text.push_str("\n|---|");
    outcomes.iter().for_each(|_| text.push_str("--:|"));
    text.push('\n');
    let kinds: BTreeSet<&String> = outcomes.iter().flat_map(|outcome| outcome.tally.keys()).collect();
    for kind in kinds {
        let _ = write!(text, "| {kind} |");
        for outcome in outcomes {
            match outcome.tally.get(kind) {
                Some((injected, seen)) => drop(write!(text, " {injected} / {seen} |")),
                None => text.push_str(" – |"),
            }
        }
        text.push('\n');
    }
    for outcome in outcomes {
        for violation in &outcome.violations {
            let _ = writeln!(text, "\n{}: {violation}", name(outcome.dialect));
        }
    }
    text
}

/// The commit that is tested.
pub fn commit() -> String {
    output("git", &["rev-parse", "--short=12", "HEAD"])
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: u64 =
        memory.split_whitespace().nth(1).and_then(|number| number.parse().ok()).map_or(0, |kib: u64| kib >> 20);
    format!("{cores} cores, {memory} GiB, {}", output("uname", &["-sm"]))
}
