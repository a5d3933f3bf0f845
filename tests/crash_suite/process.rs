//! Processes of the built binary.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A running `lastword`; killed when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    out: PathBuf,
    /// Copies what it says into the file, so that a limit on its files is none on its log.
    copying: Option<JoinHandle<()>>,
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

    /// Whether SIGKILL ended it.
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
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
    /// Starts the binary with more variables of the environment; its output goes to files of this name.
    pub fn start(files: PathBuf, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let (log, out) = (files.with_extension("log"), files.with_extension("out"));
        // Another build of it can be tested; a long run must not see the binary change.
        let program = std::env::var("LASTWORD_TEST_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_lastword").to_owned());
        // A limit on its files, which tests set, is an error to it and not its end.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", &program])
            .args(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("a file"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut said = child.stderr.take().expect("a pipe");
        let mut file = File::create(&log).expect("a file");
        let copying = std::thread::spawn(move || drop(std::io::copy(&mut said, &mut file)));
        Self { child, log, out, copying: Some(copying) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is stopped (SIGSTOP).
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
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

    /// Where its log is.
    pub fn log_path(&self) -> PathBuf {
        self.log.clone()
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
        // Everything that it said is in the file then.
        let _ = self.copying.take().map(JoinHandle::join);
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
