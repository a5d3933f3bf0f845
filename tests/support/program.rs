//! The program under test, with a configuration of its own and a hard limit of time.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::captures::{self, Captured};
use super::database::Database;
use super::{LIMIT, kafka, unique};

/// A folder with a configuration, and the commands that use it.
pub struct Program {
    dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// A process that was started and is not waited for yet. Killed when dropped.
pub struct Running {
    child: Child,
    what: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A process that ended.
#[derive(Debug)]
pub struct Finished {
    /// The command, for messages.
    pub what: String,
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl Program {
    /// A folder that holds this configuration.
    pub fn new(config: &str) -> Self {
        let program = Self { dir: tempfile::tempdir().expect("a temporary folder"), environment: Vec::new() };
        program.configure(config);
        program
    }

    /// Replaces the configuration.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.dir.path().join("lastword.toml"), config).expect("the configuration is written");
    }

    /// The folder.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Sets a variable of the environment of all commands.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts a command.
    pub fn start(&self, args: &[&str]) -> Running {
        let number = std::fs::read_dir(self.dir()).expect("the folder").count();
        let file = |name: &str| {
            let path = self.dir().join(format!("{number}.{name}"));
            (path.clone(), std::fs::File::create(path).expect("a file for the output"))
        };
        let ((stdout, out), (stderr, err)) = (file("stdout"), file("stderr"));
        let mut command = Command::new(binary());
        command.args(args).arg("--config").arg(self.dir().join("lastword.toml"));
        for variable in ["LASTWORD_CONFIG", "LASTWORD_LOG", "LASTWORD_LOG_FORMAT"] {
            command.env_remove(variable);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("lastword starts");
        Running { child, what: format!("lastword {}", args.join(" ")), stdout, stderr }
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Finished {
        self.start(args).wait(LIMIT)
    }

    /// Applies everything that is there and returns what the run said about itself.
    pub fn catch_up(&self, flags: &[&str]) -> serde_json::Value {
        self.run(&[&["run", "--until-caught-up", "--json"], flags].concat()).ok().json()
    }
}

impl Running {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name (`TERM`).
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs");
        assert!(sent.success(), "{}: the signal {name} was not delivered", self.what);
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Waits for its end; a process that takes longer is killed and the test fails.
    pub fn wait(mut self, limit: Duration) -> Finished {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                break status;
            }
            if began.elapsed() > limit {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("{} did not end within {limit:?}; stderr ends with\n{}", self.what, tail(&self.stderr()));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        Finished { what: std::mem::take(&mut self.what), code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// It must have ended with this code.
    #[track_caller]
    pub fn code(self, wanted: i32) -> Self {
        let Self { what, code, stdout, stderr } = &self;
        let (out, err) = (tail(stdout), tail(stderr));
        assert_eq!(*code, Some(wanted), "{what}: wrong exit code\nstdout ends with\n{out}\nstderr ends with\n{err}");
        self
    }

    /// It must have ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Its result.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: stdout is not JSON ({error}):\n{}", self.what, tail(&self.stdout)))
    }
}

/// A number of a result, by its key.
#[track_caller]
pub fn number(result: &serde_json::Value, key: &str) -> i64 {
    result[key].as_i64().unwrap_or_else(|| panic!("no number {key} in {result}"))
}

/// The program under test. Known where tests and benches are built, not in the library's own tests, which start none.
fn binary() -> &'static str {
    match option_env!("CARGO_BIN_EXE_lastword") {
        Some(path) => path,
        None => panic!("this test was built without the program"),
    }
}

fn read(path: &std::path::Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("the output")).into_owned()
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(4000);
    &text[text.ceil_char_boundary(start)..]
}

/// The program over a file with these records. `extra` is more of the configuration.
pub fn over_files(database: &Database, records: &[Captured], extra: &str) -> Program {
    let program = Program::new("");
    let path = program.dir().join("records.jsonl");
    captures::write(&path, records);
    let source = format!("[source]\nkind = \"file\"\npaths = [\"{}\"]\n", path.display());
    program.configure(&config(&source, &database.config(), extra));
    program
}

/// The program over topics of the broker.
pub fn over_kafka(database: &Database, topics: &[String], extra: &str) -> Program {
    Program::new(&config(&kafka::source(topics), &database.config(), extra))
}

/// A configuration with a pipeline of its own; `extra` may hold any section but those.
pub fn config(source: &str, sink: &str, extra: &str) -> String {
    let server = if extra.contains("[server]") { "" } else { "[server]\nlisten = \"off\"\n" };
    format!("[pipeline]\nname = \"{}\"\n{source}{sink}{server}{extra}", unique("p"))
}
