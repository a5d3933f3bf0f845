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
