//! A topic made by `generate`, from Kafka into a database: wall time, records a second, memory, and whether the contents are
//! right. Everything is a whole process, from its start to its end.
//!
//! `cargo bench --bench end_to_end -- --brokers 127.0.0.1:9092 --url postgres://postgres@127.0.0.1/lastword_bench`
//! with the `--events`, `--seed` and `--topic` of the topic; `--runs 3`; `--set KEY=VALUE` for one key of the configuration;
//! `--await 600` starts nothing and measures how long another program (see `peer/`) needs until the contents are right.
//! `--recheck 5` measures what the protection against a second writer costs: pairs of a run with and a run without it.
//! The database of the URL is dropped and made anew. Fails if a protection is off or a row differs.

// Each bench uses its part of it.
#[allow(dead_code)]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use support::{Contents, TABLE, contents, flag, number, option, topic};

/// How often the memory of the process is looked at. Its high-water mark is kept by the system.
const LOOK: Duration = Duration::from_millis(20);
/// How often a destination is asked while one waits for another program.
const ASK: Duration = Duration::from_millis(500);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let url = option("url", "postgres://postgres@127.0.0.1:5432/lastword_bench");
    let (seed, events) = (number("seed", "1"), number("events", "1_000_000"));
    if flag("fresh") {
        return runtime.block_on(contents::fresh(&url)).expect("a fresh database");
    }
    let (expected, records) = Contents::of_topic(seed, events);
    println!("expected: {} rows, digest {:016x}, from {records} records", expected.rows, expected.digest);
    let limit = number("await", "0");
    if limit > 0 {
        return runtime.block_on(wait_for(&url, &expected, records, Duration::from_secs(limit)));
    }
    let bench = Bench::new(&url);
    bench.show_settings();
    let measure = |name: String, settings: &[&str]| {
        runtime.block_on(contents::fresh(&url)).expect("a fresh database");
        let measured = bench.run(settings);
        let found = runtime.block_on(contents::full(&url)).expect("contents");
        assert_eq!(found, expected, "the destination differs from the oracle");
        println!(
            "{name}: {:.2} s, {:.0} records/s, {:.2} s of processor time, peak memory {:.0} MiB; contents are right",
            measured.wall.as_secs_f64(),
            records as f64 / measured.wall.as_secs_f64(),
            measured.processor,
            measured.peak_kib as f64 / 1024.0,
        );
        measured.wall.as_secs_f64()
    };
    runtime.block_on(contents::fresh(&url)).expect("a fresh database");
    bench.check_protections();
    let pairs = number("recheck", "0");
    if pairs > 0 {
        return compare(pairs, measure);
    }
    for run in 1..=number("runs", "1") {
        measure(format!("run {run}"), &[]);
    }
}

/// Runs with and without the re-check by turns. The second figure of a pair is none by itself: a protection is off.
fn compare(pairs: u64, measure: impl Fn(String, &[&str]) -> f64) {
    let mut ratios = Vec::new();
    for pair in 1..=pairs {
        let with = measure(format!("pair {pair}, with the re-check"), &[]);
        let without = measure(format!("pair {pair}, single_writer = true"), &["defaults.single_writer=true"]);
        ratios.push(with / without);
        println!("pair {pair}: ratio {:.3}", with / without);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median of the ratios: {:.3}", ratios[ratios.len() / 2]);
}

struct Measured {
    wall: Duration,
    processor: f64,
    peak_kib: u64,
}

struct Bench {
    binary: PathBuf,
    config: PathBuf,
}

impl Bench {
    fn new(url: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lastword-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let config = dir.join("lastword.toml");
        let text = format!(
            "[pipeline]\nname = \"bench\"\n\n[source]\nkind = \"kafka\"\nbrokers = \"{}\"\ntopics = [\"{topic}\"]\n\
             group = \"lastword-bench-{}\"\n\n[sink]\nurl = \"{url}\"\n\n[[table]]\ntopic = \"{topic}\"\ninto = \"{TABLE}\"\n\n\
             [server]\nlisten = \"off\"\n",
            option("brokers", "127.0.0.1:9092"),
            std::process::id(),
            topic = option("topic", &topic()),
        );
        fs::write(&config, text).expect("the configuration");
        Self { binary: option("binary", env!("CARGO_BIN_EXE_lastword")).into(), config }
    }

    /// The program with the configuration and every `--set` of the command line.
    fn command(&self, command: &str) -> Command {
        let mut program = Command::new(&self.binary);
        program.arg(command).arg("--config").arg(&self.config);
        let arguments: Vec<String> = std::env::args().collect();
        for pair in arguments.windows(2).filter(|pair| pair[0] == "--set") {
            program.args(["--set", &pair[1]]);
        }
        program
    }

    fn show_settings(&self) {
        println!("{}", self.binary.display());
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        println!("arguments: {}", arguments.join(" "));
    }

    /// Prints the settings that hold, as the program itself tells them, and refuses figures without the protections.
    fn check_protections(&self) {
        let output = self.command("check").output().expect("the program starts");
        let page = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "check failed: {page}{}", String::from_utf8_lossy(&output.stderr));
        for line in page.lines().filter(|line| !line.is_empty()) {
            println!("  {line}");
        }
        let settings: Vec<&str> = page.lines().filter(|line| line.trim().starts_with("single_writer")).collect();
        assert!(!settings.is_empty(), "`check` does not tell whether the re-check is on");
        assert!(settings.iter().all(|line| line.ends_with("false")), "a figure with `single_writer = true` is none");
        assert!(page.contains("contract = \"final-state\""), "a figure of another contract is none");
    }

    fn run(&self, settings: &[&str]) -> Measured {
        let mut command = self.command("run");
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.arg("--until-caught-up").stdout(Stdio::piped());
        let begin = Instant::now();
        let child = command.spawn().expect("the program starts");
        let process = child.id();
        let watch = std::thread::spawn(move || peak(process));
        let (status, summary) = finish(child);
        let wall = begin.elapsed();
        let (peak_kib, processor) = watch.join().expect("the watching thread");
        assert!(status.success(), "the program failed: {status}\n{summary}");
        if flag("verbose") {
            println!("{summary}");
        }
        Measured { wall, processor, peak_kib }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(dir) = self.config.parent() {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

fn finish(child: Child) -> (ExitStatus, String) {
    let output = child.wait_with_output().expect("the program ends");
    (output.status, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The greatest memory (KiB) and the processor time (s) that the process was last seen with.
fn peak(process: u32) -> (u64, f64) {
    let dir = PathBuf::from(format!("/proc/{process}"));
    let mut last = (0, 0.0);
    while let Some(seen) = look(&dir) {
        last = seen;
        std::thread::sleep(LOOK);
    }
    last
}

fn look(dir: &Path) -> Option<(u64, f64)> {
    let status = fs::read_to_string(dir.join("status")).ok()?;
    // A process that has ended and waits for its parent has no memory any more.
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib = line.trim().trim_end_matches(" kB").parse().ok()?;
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some((kib, ticks as f64 / 100.0))
}

/// Waits until another program has written everything, then compares all of it.
async fn wait_for(url: &str, expected: &Contents, records: u64, limit: Duration) {
    let begin = Instant::now();
    loop {
        let (rows, quick) = contents::quick(url).await.unwrap_or_default();
        if (rows, quick) == (expected.rows, expected.quick) {
            break;
        }
        assert!(begin.elapsed() < limit, "after {limit:?} there are {rows} rows (sum {quick}), not {expected:?}");
        tokio::time::sleep(ASK).await;
    }
    let wall = begin.elapsed().as_secs_f64();
    let found = contents::full(url).await.expect("contents");
    assert_eq!(found, *expected, "the destination differs from the oracle");
    println!("awaited: {wall:.2} s, {:.0} records/s; contents are right", records as f64 / wall);
}
