//! The command line as it is typed. Everything that can be judged without a configuration is judged here.

use std::path::PathBuf;

use chrono::DateTime;
use clap::{Args, Parser, Subcommand};

use super::exit::Exit;
use crate::core::adopt::{self, Dump};
use crate::telemetry::logging::{self, LogFormat};

/// Applies change events to databases, exactly once: the newest change of every key has the last word.
///
/// Reads change events (Debezium) from Kafka or from files and keeps tables in PostgreSQL, MySQL, MariaDB or SQLite in the
/// state that the source has, whatever is repeated, replayed, delivered late or crashed through.
#[derive(Debug, Parser)]
#[command(
    name = "lastword",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = format!("Examples:
  lastword demo                             everything embedded, nothing to install
  lastword check --config lastword.toml     what would happen, and why; changes nothing
  lastword run --config lastword.toml       the service
  lastword status --json | jq .partitions

{}", Exit::HELP),
    after_long_help = format!("{LONG_HELP}\n\n{}", Exit::HELP)
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const LONG_HELP: &str = "A configuration to start from (lastword.toml):
  [pipeline]
  name = \"orders\"

  [source]
  kind = \"kafka\"
  brokers = \"127.0.0.1:9092\"
  topics = [\"shop.public.orders\"]

  [sink]
  url = \"postgres://app@127.0.0.1:5432/app\"      # or url_file, url_env; mysql:// mariadb:// sqlite:path

Every key can also be set by the environment (LASTWORD_SINK__WRITERS=2) and by flag (--set sink.writers=2);
a flag wins over the environment, which wins over the file. Passwords belong into url_file or url_env, or
for Kafka into \"sasl.password\" = { file = \"…\" } under [source.client]: a flag is seen by every user of
the machine. Results go to stdout, logs and errors to stderr.";

/// What holds for every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Configuration file
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "LASTWORD_CONFIG",
        default_value = "lastword.toml",
        help_heading = "Global options"
    )]
    pub config: PathBuf,

    /// Sets one key of the configuration (may be repeated)
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", help_heading = "Global options")]
    pub overrides: Vec<String>,

    /// Results as JSON
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,

    /// error, warn, info, debug or trace, or a filter: info,lastword::sink=debug
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "LASTWORD_LOG",
        value_parser = logging::check_level,
        help_heading = "Global options"
    )]
    pub log_level: Option<String>,

    /// Form of the logs [default: text on a terminal, else json]
    #[arg(
        long,
        global = true,
        value_name = "FORM",
        value_enum,
        env = "LASTWORD_LOG_FORMAT",
        help_heading = "Global options"
    )]
    pub log_format: Option<LogFormat>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Apply events until stopped: the service
    Run(RunArgs),
    /// Judge configuration, connections and tables, and print each table's contract and why; changes nothing
    #[command(
        after_help = "Exit code 3 says that a wanted contract cannot be kept; the table says which, and what helps.\n\n\
                      Examples:\n  lastword check\n  lastword check --plan > changes.sql"
    )]
    Check(CheckArgs),
    /// Show offsets, lag, tables and quarantine
    #[command(after_help = "Examples:\n  lastword status\n  lastword status --json | jq '.partitions[].lag_records'")]
    Status(StatusArgs),
    /// Read a part of the log again, beside the running service; the live position does not move
    #[command(after_help = "\
Examples:
  lastword replay --topic shop.public.orders --from-beginning --dry-run
  lastword replay --topic shop.public.orders --partition 0 --from-offset 1200 --to-offset 1300
  lastword replay --topic shop.public.orders --from-time 2026-11-01T00:00:00Z --repair
  lastword replay --list
  lastword replay --resume 7

A replay changes nothing but rows that are missing; --repair also rewrites rows that were damaged by hand.")]
    Replay(ReplayArgs),
    /// Show or move the live position
    Offsets {
        /// What to do.
        #[command(subcommand)]
        command: OffsetsCommand,
    },
    /// Records that could not be applied: look at them, try them again, give them up
    Quarantine {
        /// What to do.
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Tombstones of deleted keys: how many, what keeps them, collect what is due
    Tombstones {
        /// What to do.
        #[command(subcommand)]
        command: TombstonesCommand,
    },
    /// Rows that a finished snapshot of their source did not contain: show how many, remove them
    Sweep {
        /// What to do.
        #[command(subcommand)]
        command: SweepCommand,
    },
    /// Take over a table that another tool has filled (a restored dump), from the dump's position on; audited
    #[command(after_help = "\
Examples:
  lastword adopt --table public.orders --topic shop.public.orders --lsn 0/81A3F5D0
  lastword adopt --table app.orders --topic shop.app.orders --gtid 0-1-61204 --yes
  lastword adopt --table app.orders --topic shop.app.orders --binlog mysql-bin.000003:4711 --yes

Reads the topic, works out which of its events the dump has, and gives every row without a token the token that lets exactly
the others win. Without --yes it only says what would be done. Do it before the pipeline's first run.")]
    Adopt(AdoptArgs),
    /// Source epochs: which life of the source's positions each partition is in
    Epoch {
        /// What to do.
        #[command(subcommand)]
        command: EpochCommand,
    },
    /// Look into an order token
    Token {
        /// What to do.
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// List what operators did: offsets set, epochs, replays, quarantine
    Audit(AuditArgs),
    /// Show it at work: an embedded broker with captured events, SQLite as destination, a replay, a comparison
    #[command(after_help = "Needs no configuration, no service and no network.")]
    Demo(DemoArgs),
}

/// `check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Print only the statements that `run` would begin with, in their order, and those that someone has to run by hand
    #[arg(long)]
    pub plan: bool,
}

/// Flags of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// End when everything that is in the log now was applied
    #[arg(long)]
    pub until_caught_up: bool,
}

/// Flags of `status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Show it again and again until stopped
    #[arg(long)]
    pub watch: bool,
}

/// Flags that say what a new replay reads and does.
const RANGE: [&str; 8] =
    ["topic", "partition", "from_offset", "from_time", "from_beginning", "to_offset", "dry_run", "repair"];

/// Flags of `replay`. Exactly one of a range, a list, or a replay to go on with.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct ReplayArgs {
    /// Topic to read
    #[arg(long, required_unless_present_any = ["list", "resume"])]
    pub topic: Option<String>,

    /// Partition to read [default: all of the topic]
    #[arg(long, requires = "topic", value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,

    /// First offset to read
    #[arg(
        long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..), requires = "topic",
        conflicts_with_all = ["from_time", "from_beginning"],
        required_unless_present_any = ["from_time", "from_beginning", "list", "resume"],
    )]
    pub from_offset: Option<i64>,

    /// Begin at the first record of this time or later (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "topic", conflicts_with = "from_beginning")]
    pub from_time: Option<TimeMs>,

    /// Begin where the log begins
    #[arg(long, requires = "topic")]
    pub from_beginning: bool,

    /// Stop before this offset [default: where the live position is]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..), requires = "topic")]
    pub to_offset: Option<i64>,

    /// Only say what would be read
    #[arg(long, requires = "topic")]
    pub dry_run: bool,

    /// Also rewrite rows that have the event's token but other values
    #[arg(long, requires = "topic")]
    pub repair: bool,

    /// Go on with a replay that was interrupted
    #[arg(long, value_name = "ID", conflicts_with_all = RANGE, conflicts_with = "list")]
    pub resume: Option<i64>,

    /// List replays
    #[arg(long, conflicts_with_all = RANGE)]
    pub list: bool,
}

/// A time in milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeMs(pub i64);

/// Commands of `offsets`.
#[derive(Debug, Subcommand)]
pub enum OffsetsCommand {
    /// Show the stored next offset, fence and owner of every partition
    Show,
    /// Move the live position; audited, and noticed by the running service within a second
    #[command(after_help = "\
Example:
  lastword offsets set --topic shop.public.orders --partition 0 --offset 1200

Going back is harmless: what is older than the destination changes nothing. Going forward skips records for good.")]
    Set(OffsetsSetArgs),
}

/// Flags of `offsets set`.
#[derive(Args, Clone, Debug)]
pub struct OffsetsSetArgs {
    /// Topic
    #[arg(long)]
    pub topic: String,
    /// Partition
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: i32,
    /// The next offset to apply
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub offset: i64,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

/// Commands of `epoch`.
#[derive(Debug, Subcommand)]
pub enum EpochCommand {
    /// List the epochs of every partition: what showed them, from which offset, and who opened them
    List,
    /// Begin a new source epoch: whatever follows the stored positions is newer than everything before them
    #[command(after_help = "\
Example:
  lastword epoch open --topic shop.public.orders --yes

For a source that was restored or replaced so that its positions start again, and for partitions that stopped with
`source_epoch` or `epoch_regression`. Without --yes it only says what would be done. Audited; running processes
notice within a second, stopped partitions start again.")]
    Open(EpochOpenArgs),
}

/// Flags of `epoch open`.
#[derive(Args, Clone, Debug)]
pub struct EpochOpenArgs {
    /// Topic
    #[arg(long)]
    pub topic: String,
    /// Partition [default: all of the topic; one alone only if no TRUNCATE and no moved key can reach the others]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Do it
    #[arg(long)]
    pub yes: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

/// Commands of `quarantine`.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List records, without their content
    List(QuarantineFilter),
    /// Show a record: where it lay, why it is here, its bytes
    Show {
        /// Id, as `list` shows it
        id: i64,
    },
    /// Apply records again, through the same guard as live ones
    #[command(
        after_help = "Examples:\n  lastword quarantine retry 17 18\n  lastword quarantine retry --all --topic shop.public.orders"
    )]
    Retry(QuarantineSelection),
    /// Give records up; they stay in the table, marked as dropped
    Drop(QuarantineSelection),
}

/// Which records.
#[derive(Args, Clone, Debug, Default)]
pub struct QuarantineFilter {
    /// Only of this topic
    #[arg(long)]
    pub topic: Option<String>,
    /// Only with this reason code
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// Also settled ones (retried, dropped)
    #[arg(long)]
    pub settled: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
}

/// Which records to settle.
#[derive(Args, Clone, Debug)]
pub struct QuarantineSelection {
    /// Ids, as `list` shows them
    #[arg(required_unless_present = "all", value_name = "ID")]
    pub ids: Vec<i64>,
    /// All open ones (with --topic, --reason: all of those)
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// With --all: only of this topic
    #[arg(long, requires = "all", conflicts_with = "ids")]
    pub topic: Option<String>,
    /// With --all: only with this reason code
    #[arg(long, requires = "all", conflicts_with = "ids", value_name = "CODE")]
    pub reason: Option<String>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

/// Commands of `tombstones`.
#[derive(Debug, Subcommand)]
pub enum TombstonesCommand {
    /// Show tombstones, generations and floors of every table, and what keeps them from being collected
    Status {
        /// Only of this table
        #[arg(long)]
        table: Option<String>,
    },
    /// Close a generation and collect what is due, of tables whose `tombstones` say collect = true
    #[command(after_help = "\
Tombstones go when they are older than `retain`, no record that was there when their generation was closed can be read
any more, and every pipeline and running replay has passed those records. `status` says what is missing.")]
    Collect {
        /// Only of this table
        #[arg(long)]
        table: Option<String>,
        /// Only say how many are due
        #[arg(long)]
        dry_run: bool,
    },
    /// Lower the floor of an empty table, so that it can be filled again from the beginning; audited
    Reset {
        /// The table
        #[arg(long)]
        table: String,
        /// Why, for the audit
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
}

/// Commands of `sweep`.
#[derive(Debug, Subcommand)]
pub enum SweepCommand {
    /// Show finished snapshots, how many rows they did not contain, and what a sweep waits for
    Status {
        /// Only of this table
        #[arg(long)]
        table: Option<String>,
        /// Also the keys of such rows (at most 100)
        #[arg(long)]
        show_keys: bool,
    },
    /// Remove the rows of a table that its last snapshot did not contain; audited
    #[command(after_help = "Exit code 4 says that it waits for something; `sweep status` says for what.")]
    Run {
        /// The table
        #[arg(long)]
        table: String,
        /// Only say how many rows would go
        #[arg(long)]
        dry_run: bool,
        /// With --dry-run: also their keys (at most 100)
        #[arg(long, requires = "dry_run")]
        show_keys: bool,
    },
}

/// Flags of `adopt`.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct AdoptArgs {
    /// The destination's table
    #[arg(long)]
    pub table: String,
    /// A topic that feeds it (may be repeated)
    #[arg(long = "topic", required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Only events of this source table, where the topic carries several
    #[arg(long, value_name = "TABLE")]
    pub source_table: Option<String>,
    /// PostgreSQL: every commit that ends at or before it is in the dump, and no other
    #[arg(long, value_name = "L", value_parser = position(adopt::parse_lsn, "0/16B6A90"), group = "position")]
    pub lsn: Option<Dump>,
    /// MySQL, MariaDB: the last transaction that is in the dump
    #[arg(long, value_name = "G", value_parser = position(adopt::parse_gtids, "0-1-61204 or uuid:1-77"), group = "position")]
    pub gtid: Option<Dump>,
    /// MySQL, MariaDB without GTIDs: the first position that is not in the dump
    #[arg(long, value_name = "FILE:POS", value_parser = position(adopt::parse_binlog, "mysql-bin.000003:4711"), group = "position")]
    pub binlog: Option<Dump>,
    /// Any other source: the token itself; events up to it are in the dump
    #[arg(
        long, value_name = "HEX", value_parser = parse_hex, group = "position",
        required_unless_present_any = ["lsn", "gtid", "binlog"]
    )]
    pub token: Option<HexBytes>,
    /// Nothing changed between the dump and what the topics still hold
    #[arg(long)]
    pub accept_gaps: bool,
    /// Only say what would be done
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do it
    #[arg(long)]
    pub yes: bool,
}

fn position(
    parse: fn(&str) -> Option<Dump>,
    example: &'static str,
) -> impl Fn(&str) -> Result<Dump, String> + Clone + Send + Sync + 'static {
    move |text| parse(text).ok_or_else(|| format!("expected a position as in {example}"))
}

/// Commands of `token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Show the parts of a token
    #[command(after_help = "Example:\n  lastword token decode 120001000000010000000081a3f5d0010000000081a3f618")]
    Decode {
        /// The token in hex, as errors and `_lastword_token` show it
        #[arg(value_parser = parse_hex)]
        hex: HexBytes,
    },
}

/// Bytes that were typed in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

/// Flags of `audit`.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// At most so many, the newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
}

/// Flags of `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Folder to work in [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the folder, to look at the database afterwards
    #[arg(long)]
    pub keep: bool,
}

fn parse_time(text: &str) -> Result<TimeMs, String> {
    DateTime::parse_from_rfc3339(text).map(|time| TimeMs(time.timestamp_millis())).map_err(|_| {
        "expected a time with its zone, as in 2026-11-01T12:00:00Z or 2026-11-01T13:00:00+01:00".to_owned()
    })
}

/// Reads hex in the forms in which databases print bytes: plain, `\x…` (PostgreSQL), `0x…` (MySQL), `X'…'` (SQLite).
fn parse_hex(text: &str) -> Result<HexBytes, String> {
    let quoted = |prefix| text.strip_prefix(prefix).and_then(|rest: &str| rest.strip_suffix('\''));
    let digits = text
        .strip_prefix("\\x")
        .or_else(|| text.strip_prefix("0x"))
        .or_else(|| quoted("X'"))
        .or_else(|| quoted("x'"))
        .unwrap_or(text);
    let is_hex =
        !digits.is_empty() && digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes.filter(|_| is_hex).map(HexBytes).ok_or_else(|| "expected an even number of hex digits".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("lastword").chain(line.split_whitespace()))
    }

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_documented_is_taken() {
        for line in [
            "run",
            "run --until-caught-up --config a.toml --set sink.writers=2 --set batch.rows=9",
            "--json check",
            "check --json --log-level debug --log-format json",
            "status --watch",
            "replay --list",
            "replay --resume 7",
            "replay --topic t --from-beginning --dry-run",
            "replay --topic t --partition 3 --from-offset 0 --to-offset 9 --repair",
            "replay --topic t --from-time 2026-11-01T00:00:00Z",
            "offsets show",
            "offsets set --topic t --partition 0 --offset 5 --note why",
            "epoch list",
            "epoch open --topic t --partition 1 --yes --note why",
            "quarantine list --topic t --reason undecodable",
            "quarantine show 4",
            "quarantine retry 4 5",
            "quarantine drop --all --topic t",
            "tombstones status",
            "tombstones collect --dry-run --table t",
            "tombstones reset --table t --note why",
            "sweep status --show-keys",
            "sweep run --table t --dry-run --show-keys",
            "adopt --table s.t --topic x --topic y --lsn 0/10 --yes",
            "adopt --table t --topic x --gtid 0-1-7 --dry-run --accept-gaps",
            "adopt --table t --topic x --binlog bin.000001:4 --source-table s.t",
            "adopt --table t --topic x --token 0x0100",
            "token decode 0x0100",
            "audit --limit 5",
            "demo --dir x --keep",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).expect_err("refused"));
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_exit_code_2() {
        for line in [
            "replay",
            "replay --topic t",
            "replay --from-beginning",
            "replay --topic t --from-offset 1 --from-beginning",
            "replay --topic t --from-offset -1",
            "replay --topic t --from-time yesterday",
            "replay --topic t --from-beginning --resume 7",
            "replay --list --resume 7",
            "replay --list --repair",
            "offsets set --topic t --partition -1 --offset 5",
            "offsets set --topic t --partition 0",
            "epoch open",
            "quarantine retry",
            "quarantine retry 1 --all",
            "quarantine drop 1 --topic t",
            "tombstones reset",
            "sweep run",
            "sweep run --table t --show-keys",
            "adopt --table t --topic x",
            "adopt --table t --lsn 0/10",
            "adopt --table t --topic x --lsn 0/10 --gtid 0-1-7",
            "adopt --table t --topic x --lsn 0/x",
            "adopt --table t --topic x --gtid ab:1-7:9",
            "adopt --table t --topic x --lsn 0/10 --yes --dry-run",
            "token decode 0x1",
            "token decode zz",
            "token decode aüb",
            "run --until-caught",
            "run --log-level lastword=louder",
            "serve",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), Exit::Usage as i32, "{line}: {error}");
        }
        assert_eq!(parse("--help").expect_err("help").kind(), ErrorKind::DisplayHelp);
    }

    #[test]
    fn values_are_read() {
        let Command::Replay(replay) =
            parse("replay --topic t --from-time 1970-01-01T01:00:01+01:00").expect("replay").command
        else {
            panic!("replay")
        };
        assert_eq!(replay.from_time, Some(TimeMs(1000)));
        for hex in ["01ff", "\\x01FF", "0x01ff", "X'01ff'"] {
            assert_eq!(parse_hex(hex), Ok(HexBytes(vec![1, 255])), "{hex}");
        }
        let cli = parse("run --set a.b=c=d").expect("run");
        assert_eq!(cli.global.overrides, ["a.b=c=d"]);
        assert_eq!(cli.global.config, PathBuf::from("lastword.toml"));
    }

    #[test]
    fn help_says_the_exit_codes_and_an_example_configuration_that_can_be_used() {
        let short = Cli::command().render_help().to_string();
        let long = Cli::command().render_long_help().to_string();
        assert!(short.contains(Exit::HELP) && long.contains(Exit::HELP), "{short}");
        let example: String = LONG_HELP
            .lines()
            .skip(1)
            .take_while(|line| line.is_empty() || line.starts_with(' '))
            .map(|line| format!("{line}\n"))
            .collect();
        let loaded = crate::config::load::load_text("help", &example, &Default::default(), &[]);
        assert!(loaded.is_ok(), "{}", loaded.expect_err("the example cannot be used"));
    }
}
