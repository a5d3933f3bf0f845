//! The configuration: text that becomes a checked configuration, or errors that say where and what, and never a secret.

use super::{bounded, fuzz};
use crate::config::load::{Environment, load_text};
use crate::support::mutate::{self, Tape};

const SECRET: &str = "s3cr3t-of-the-test";

/// Every section and most keys. No pattern of paths: those are looked up in the file system.
const WHOLE: &str = r#"
[pipeline]
name = "harbor"

[source]
kind = "kafka"
brokers = "127.0.0.1:9092"
topics = ["harbor.public.customers"]
topics_regex = "^harbor\\.public\\..*"
exclude = ["harbor.public.x"]
group = "lastword-harbor"
start = "earliest"
on_regression = "halt"
regression_margin = "10s"

[source.client]
"security.protocol" = "sasl_ssl"
"sasl.password" = "s3cr3t-of-the-test"

[registry]
url = "https://registry:8081"
user = "lastword"
password = "s3cr3t-of-the-test"
timeout = "5s"

[sink]
url = "postgres://u:s3cr3t-of-the-test@127.0.0.1:5432/app?sslmode=verify-full"
writers = 4
lock_timeout = "10s"

[batch]
rows = 5000
bytes = "8MiB"
age = "10ms"
align = "none"

[defaults]
contract = "final-state"
delete = "hard"
create = true
evolve = "none"
token_storage = "column"
single_writer = false
unavailable_value = "hex:5f5f"
tombstones = { retain = "7d", collect = false }
resnapshot = "keep"

[[table]]
topic = '^x\.(?:(?<version>v\d+)\.)?(?<tenant>[^.]+)\.(?<table>[^.]+)$'
into = "${tenant}.${table}_${version:-v1}"
key = ["id"]
exclude_columns = ["photo", "^secret_"]
table_case = "snake"
column_prefix = "c_"
format = "flat"
flat_prefix = "__"
key_format = "string"
[table.columns.taken_at]
to = "taken"
on_unrepresentable = "clamp"

[plain]
decimal = "base64"
time = "adaptive"

[errors]
bad_record = "quarantine"

[server]
listen = "127.0.0.1:9464"
"#;

const PARTS: [&str; 24] = [
    "\"\"",
    "-1",
    "0",
    "1e400",
    "nan",
    "18446744073709551616",
    "[]",
    "{}",
    "\"${\"",
    "\"${1}\"",
    "\"${tenant:-${x}}\"",
    "\"^(\"",
    "\"^(a{1000}){1000}$\"",
    "\"\\u0000\"",
    "\"a\\\"b.c\"",
    "\"99999999999d\"",
    "\"18446744073709551615GiB\"",
    "{ env = \"NOT_THERE\" }",
    "{ file = \"/nonexistent\" }",
    "[[table]]",
    "[sink]",
    "true",
    "1979-05-27T07:32:00Z",
    "\"sqlite:\"",
];

fn text(tape: &mut Tape<'_>) -> String {
    let mut lines: Vec<String> = WHOLE.lines().map(str::to_owned).collect();
    for _ in 0..tape.below(6) {
        let (at, other) = (tape.below(lines.len()), tape.below(lines.len()));
        match tape.below(6) {
            0 => drop(lines.remove(at)),
            1 => lines.swap(at, other),
            2 => lines.insert(at, lines[other].clone()),
            3 => {
                let key = lines[at].split('=').next().unwrap_or_default().to_owned();
                lines[at] = format!("{key}= {}", tape.pick(&PARTS));
            }
            4 => lines[at] = format!("x{} = {}", tape.byte(), tape.pick(&PARTS)),
            _ => {
                let value = mutate::nested(*tape.pick(&[3, 100, 10_000]), "1", true);
                lines.insert(at, format!("deep = {value}"));
            }
        }
    }
    let mut bytes = lines.join("\n").into_bytes();
    if tape.one_in(3) {
        mutate::damage(&mut bytes, tape);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A configuration or errors, the same every time; what was said to be secret is in neither.
fn any_configuration(bytes: &[u8]) {
    let tape = &mut Tape::new(bytes);
    let mut text = text(tape);
    // Patterns of paths are looked up; that is not what is tested here.
    text = text.replace("paths", "path");
    let variables = [("LASTWORD_SINK__WRITERS", *tape.pick(&PARTS)), ("LASTWORD_BATCH__ROWS", "7")];
    let environment: Environment = variables.into_iter().take(tape.below(3)).collect();
    let flags = ["source.topics=[\"a\"]", "defaults.delete=soft", "=", "a.b.c=1", "sink=1", "pipeline.name="];
    let flags: Vec<String> = (0..tape.below(3)).map(|_| (*tape.pick(&flags)).to_owned()).collect();
    let load = || match load_text("fuzzed", &text, &environment, &flags) {
        Ok(config) => format!("{config:?}"),
        Err(errors) => {
            let errors = errors.to_string();
            assert!(!errors.is_empty(), "errors that say nothing");
            errors
        }
    };
    let said = bounded(text.len(), 2_000, 64 << 20, load);
    assert_eq!(said, load(), "the same text is another configuration");
    // Only where the line that has it is still what it was.
    let whole = WHOLE.lines().filter(|line| line.contains(SECRET));
    if whole.clone().all(|line| text.contains(line)) && text.matches(SECRET).count() == whole.count() {
        assert!(!said.contains(SECRET), "a secret is shown: {said}");
    }
}

fuzz!(configurations_of_any_text, any_configuration);

/// What is changed is a configuration that is right.
#[test]
fn the_whole_one_is_understood() {
    let said = load_text("whole", WHOLE, &Environment::default(), &[]);
    let errors = said.err().map(|errors| errors.to_string()).unwrap_or_default();
    assert!(errors.is_empty(), "{errors}");
}
