//! Processes of the built binary.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A running `lastword`; killed when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

/// How a process ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The result that `--json` printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON:\n{}\n{}", self.stdout, self.stderr))
    }

    /// Asserts that it ended with a code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

impl Process {
    /// Starts the binary; its output goes to files of this name.
    pub fn start(files: PathBuf, args: &[&str]) -> Self {
        let (log, out) = (files.with_extension("log"), files.with_extension("out"));
        let child = Command::new(env!("CARGO_BIN_EXE_lastword"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("it starts");
        Self { child, log, out }
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success(), "SIG{name} was not sent");
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ended");
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it logged a text.
    pub async fn logged(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.log().contains(text) {
            assert!(self.running() && Instant::now() < deadline, "it never logged {text:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn running(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }

    /// Waits for its end.
    pub async fn ended(mut self, within: Duration) -> Ended {
        let deadline = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                break status;
            }
            assert!(Instant::now() < deadline, "it did not end within {within:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let stdout = std::fs::read_to_string(&self.out).unwrap_or_default();
        Ended { status, stdout, stderr: self.log() }
    }

    /// SIGTERM; it has to end with code 0.
    pub async fn stop(self) -> Ended {
        self.signal("TERM");
        self.ended(Duration::from_secs(20)).await.expect(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only a failing test leaves one running: what it said is part of the failure.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            if std::thread::panicking() {
                let log = self.log();
                let tail: Vec<&str> = log.lines().rev().take(30).collect();
                eprintln!("--- {}", self.log.display());
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}
