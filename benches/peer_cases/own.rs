//! lastword on the same topic: a process for every step.

use serde_json::Value;

use crate::support::database::Database;
use crate::support::program::{Program, over_kafka};

/// The program with its configuration.
pub struct Own {
    program: Program,
    topic: String,
    trouble: Vec<String>,
}

impl Own {
    /// Everything is at its default but the name of the table, and `evolve` where the case says so.
    pub fn new(database: &Database, topic: &str, table: &str, evolve: &str) -> Self {
        let rules = format!("[[table]]\ntopic = {topic:?}\ninto = {table:?}\nevolve = {evolve:?}\n");
        Self {
            program: over_kafka(database, &[topic.to_owned()], &rules),
            topic: topic.to_owned(),
            trouble: Vec::new(),
        }
    }

    /// Applies everything that is there.
    pub fn settle(&mut self) {
        self.run(&["run", "--until-caught-up", "--json"]);
    }

    /// Reads a partition again from an offset.
    pub fn again(&mut self, partition: i32, offset: i64) {
        let (partition, offset) = (partition.to_string(), offset.to_string());
        let topic = self.topic.clone();
        self.run(&["replay", "--topic", &topic, "--partition", &partition, "--from-offset", &offset, "--json"]);
    }

    fn run(&mut self, args: &[&str]) {
        let finished = self.program.run(args);
        if finished.code == Some(0) {
            return;
        }
        let said = finished.stderr.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let code = said.and_then(|said| said["code"].as_str().map(str::to_owned));
        let halted = serde_json::from_str::<Value>(&finished.stdout).ok().map(|summary| summary["halted"].to_string());
        self.trouble.push(format!("stopped: {}", code.or(halted).unwrap_or_default()));
    }

    /// What it reports beside the rows: what was kept aside, and why it stopped.
    pub fn reports(&self, database: &Database) -> Vec<String> {
        let quarantine = database.bookkeeping("quarantine");
        let rows =
            database.texts(&format!("select reason, count(*) from {quarantine} group by reason order by reason"));
        let kept = rows.into_iter().map(|row| {
            let mut cells = row.into_iter().flatten();
            let (reason, count) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            format!("{count} record{} in quarantine ({reason})", if count == "1" { "" } else { "s" })
        });
        kept.chain(self.trouble.iter().cloned()).collect()
    }
}
