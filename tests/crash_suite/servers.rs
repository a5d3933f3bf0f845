//! Servers of a test's own, which it may stop, kill and start: the shared ones serve other tests at the same time.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::support::{PATIENCE, Services};

/// A start that took longer is told with the server's log.
const SLOW: Duration = Duration::from_secs(30);

/// An instance of `tests/services` on ports of its own; removed when it is dropped.
pub struct Servers {
    dir: tempfile::TempDir,
}

/// How a server is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Down {
    /// In an orderly way.
    Stop,
    /// PostgreSQL's immediate stop: without a checkpoint, so that it has to recover.
    Immediate,
    /// SIGKILL of all its processes.
    Kill,
}

impl Servers {
    pub fn start() -> (Self, Services) {
        let servers = Self { dir: tempfile::TempDir::new().expect("a folder") };
        servers.run(&["start"]);
        let text = servers.run(&["env"]);
        let variable = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
        };
        let services = Services {
            kafka: variable("LASTWORD_TEST_KAFKA"),
            postgres: variable("LASTWORD_TEST_POSTGRES"),
            mariadb: variable("LASTWORD_TEST_MARIADB"),
        };
        (servers, services)
    }

    fn output(&self, args: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services");
        let mut command = Command::new(script);
        command.args(args).env("LASTWORD_SERVICES_DIR", self.dir.path());
        for port in ["KAFKA", "KAFKA_CONTROLLER", "KAFKA_SASL", "POSTGRES", "MARIADB"] {
            command.env_remove(format!("LASTWORD_{port}_PORT"));
        }
        command.output().expect("tests/services")
    }

    pub fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Takes a server away. It is gone when this returns.
    pub fn down(&self, name: &str, how: Down) {
        match how {
            Down::Stop => drop(self.run(&["stop-one", name])),
            Down::Kill => drop(self.run(&["kill", name])),
            Down::Immediate => {
                let process = self.process(name).unwrap_or_else(|| panic!("{name} does not run"));
                let sent = Command::new("kill").args(["-QUIT", &process]).status().expect("kill");
                assert!(sent.success(), "SIGQUIT was not sent to {name}");
                let deadline = Instant::now() + PATIENCE;
                while self.process(name).is_some() {
                    assert!(Instant::now() < deadline, "{name} does not end");
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    /// Brings it back, on the same port.
    pub fn up(&self, name: &str) {
        let began = Instant::now();
        self.run(&["start-one", name]);
        if began.elapsed() > SLOW && name == "kafka" {
            let log = std::fs::read_to_string(self.dir.path().join("log/kafka.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(120)..];
            println!("{name} was slow to start ({:?}):\n{}", began.elapsed(), last.join("\n"));
        }
    }

    fn process(&self, name: &str) -> Option<String> {
        // It fails as long as not all of them answer.
        let text = String::from_utf8_lossy(&self.output(&["status"]).stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}: ")))?;
        let (_, rest) = line.split_once("process ")?;
        Some(rest.chars().take_while(char::is_ascii_digit).collect())
    }

    /// Versions of the servers, for a report.
    pub fn versions(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.output(&["start"]).stderr).into_owned();
        let version = |line: &str| {
            let (version, _) = line.strip_prefix("services: ")?.split_once(" runs already")?;
            Some(version.to_owned())
        };
        text.lines().filter_map(version).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.output(&["clean"]);
    }
}
