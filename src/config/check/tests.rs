use crate::config::checked::{Config, SourceConfig, Start};
use crate::config::load::{Environment, load, load_text};
use crate::config::{ConfigErrors, effective};
use crate::core::dialect::Dialect;
use crate::core::table::{Contract, DeleteMode};

use std::path::Path;
use std::time::Duration;

const SMALL: &str = r#"
[pipeline]
name = "harbor"
[source]
kind = "kafka"
brokers = "127.0.0.1:9092"
topics = ["harbor.public.customers"]
[sink]
url = "postgres://app:sEcReT@127.0.0.1:5432/app"
"#;

fn read_with(text: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigErrors> {
    let environment: Environment = variables.iter().copied().collect();
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    load_text("lastword.toml", text, &environment, &flags)
}

fn read(text: &str) -> Config {
    read_with(text, &[], &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn problems(text: &str, variables: &[(&str, &str)], flags: &[&str]) -> Vec<String> {
    let errors = read_with(text, variables, flags).expect_err("must be refused");
    errors.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_are_filled_in() {
    let config = read(SMALL);
    let SourceConfig::Kafka(kafka) = &config.source else { panic!("kafka") };
    assert_eq!((kafka.group.as_str(), kafka.start), ("lastword-harbor", Start::Earliest));
    assert_eq!((config.sink.dialect, config.sink.writers), (Dialect::Postgres, 4));
    assert_eq!(config.sink.lock_timeout, Duration::from_secs(10));
    assert_eq!((config.batch.rows, config.batch.bytes), (5000, 8 << 20));
    assert_eq!(config.batch.age, Duration::from_millis(10));
    assert_eq!(config.listen.map(|at| at.to_string()).as_deref(), Some("127.0.0.1:9464"));
    assert_eq!(config.drain, Duration::from_secs(5));
    assert!(config.defaults.create && !config.defaults.single_writer && !config.defaults.offset_order);
    assert_eq!((config.defaults.contract, config.defaults.delete), (Contract::FinalState, DeleteMode::Hard));
}

#[test]
fn later_layers_win() {
    let text = SMALL.replace("[sink]", "[sink]\nwriters = 2");
    assert_eq!(read(&text).sink.writers, 2);
    let variables = [
        ("LASTWORD_SINK__WRITERS", "3"),
        ("LASTWORD_SOURCE__TOPICS", "a, b"),
        ("LASTWORD_SOURCE__CLIENT__SASL_PASSWORD", "sEcReT"),
        ("LASTWORD_LOG", "debug"),
        ("PATH", "/bin"),
    ];
    let config = read_with(&text, &variables, &[]).expect("environment");
    assert_eq!(config.sink.writers, 3);
    let SourceConfig::Kafka(kafka) = &config.source else { panic!("kafka") };
    assert_eq!(kafka.topics, ["a", "b"]);
    assert_eq!(kafka.client["sasl.password"].expose(), "sEcReT");
    let flags = ["sink.writers=5", "source.client.fetch.min.bytes=7", "sink.url=sqlite:a=b.db"];
    let config = read_with(&text, &variables, &flags).expect("flags");
    // SQLite has one writer, whatever is written.
    assert_eq!((config.sink.writers, config.sink.url.expose()), (1, "sqlite:a=b.db"));
    let SourceConfig::Kafka(kafka) = &config.source else { panic!("kafka") };
    assert_eq!(kafka.client["fetch.min.bytes"].expose(), "7");
}

#[test]
fn all_problems_are_shown_with_their_places() {
    let text = r#"
[pipeline]
name = "Harbor"
[source]
kind = "kafka"
broker = "127.0.0.1:9092"
topics = ["a b", 7]
start = "earlyest"
[sink]
url = "postgres://app@h/d"
writers = "many"
lock_timeout = 10
[batch]
bytes = "8 parsecs"
rows = 0
[defaults]
evolve = "ad"
create = "yes"
[sevrer]
listen = "0.0.0.0:1"
"#;
    let variables = [("LASTWORD_SINK__WRITER", "3"), ("LASTWORD_TABLE__0__INTO", "x")];
    assert_eq!(
        problems(text, &variables, &["batch.age=1", "nonsense", "sink=1"]),
        [
            "lastword.toml: source.brokers: is missing; write for example brokers = \"kafka-1:9092,kafka-2:9092\" under [source]",
            "lastword.toml:3:8: pipeline.name: expected 1 to 100 characters of a-z, 0-9, _ . -, because it is a part of names in databases",
            "lastword.toml:6:1: source.broker: unknown key; did you mean `brokers`?",
            "lastword.toml:7:18: source.topics[1]: expected text in quotes, found a whole number",
            "lastword.toml:8:9: source.start: expected \"earliest\" or \"latest\", found \"earlyest\"; did you mean \"earliest\"?",
            "lastword.toml:11:11: sink.writers: expected a whole number, found text",
            "lastword.toml:12:16: sink.lock_timeout: expected a whole number with a unit (us, ms, s, m, h, d), as in \"10ms\" or \"5s\"",
            "lastword.toml:14:9: batch.bytes: expected a whole number with a unit (B, kB, KiB, MB, MiB, GB, GiB), as in \"8MiB\"",
            "lastword.toml:15:8: batch.rows: expected a whole number from 1 to 100000, found 0",
            "lastword.toml:17:10: defaults.evolve: expected \"none\" or \"validate\" or \"add\" or \"widen\", found \"ad\"; did you mean \"add\"?",
            "lastword.toml:18:10: defaults.create: expected true or false, found text",
            "lastword.toml:19:2: sevrer: unknown key; did you mean `server`?",
            "environment variable LASTWORD_SINK__WRITER: sink.writer: unknown key; did you mean `writers`?",
            "environment variable LASTWORD_TABLE__0__INTO: table.0.into: rules for topics are written in the file only",
            "--set batch.age: expected a whole number with a unit (us, ms, s, m, h, d), as in \"10ms\" or \"5s\"",
            "--set sink: expected a section and a key, as in sink.writers",
            "--set …: expected key=value, as in --set sink.writers=4",
        ]
    );
}

#[test]
fn an_empty_file_says_what_is_needed_and_a_missing_one_is_an_error() {
    let missing: Vec<String> = problems("", &[], &[]);
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(missing[0].starts_with("lastword.toml: pipeline.name: is missing; write for example name ="));
    let errors = load(Path::new("no/such/lastword.toml"), &Environment::default(), &[]).expect_err("missing");
    assert_eq!(
        errors.to_string(),
        "the configuration cannot be used: no/such/lastword.toml: there is no such file; name another with --config, \
         or write one (`lastword --help` shows an example)"
    );
}

#[test]
fn rules_are_judged() {
    let rules = |rules: &str| format!("{SMALL}{rules}");
    let topic = "[[table]]\ntopic = \"harbor.public.customers\"\n";
    for (text, wanted) in [
        ("[[table]]\ninto = \"a\"\n", "10:1: table[0].topic: is missing"),
        ("[[table]]\ntopic = \"harbor.public.customer\"\n", "did you mean \"harbor.public.customers\"?"),
        ("[[table]]\ntopic = \"^(\"\n", "\"^(\" is not a regular expression: unclosed group"),
        ("[[table]]\ntopic = \"^nothing\"\n", "no topic of [source] is meant by \"^nothing\""),
        (
            &format!("{topic}{topic}"),
            "13:9: table[1].topic: there is a rule for this topic and source table already at",
        ),
        (&format!("{topic}into = \"a.b.c\"\n"), "table[0].into: \"a.b.c\": expected `table` or `schema.table`"),
        (&format!("{topic}into = \"Lastword.checkpoint\"\n"), "where lastword keeps its own tables"),
        (&format!("{topic}into = \"{}\"\n", "x".repeat(64)), "longer than PostgreSQL's 63 bytes"),
        (&format!("{topic}key = [\"id\", \"id\"]\n"), "\"id\" is named twice"),
        (&format!("{topic}key = []\n"), "table[0].key: names no column"),
        (&format!("{topic}key = [\"_lastword_token\"]\n"), "is a column of lastword's own"),
        (&format!("{topic}key = [\"id\"]\nexclude_columns = [\"id\"]\n"), "\"id\" is needed"),
        (
            &format!("{topic}contract = \"change-log\"\norder_by = [\"v\"]\n"),
            "order_by: has no meaning in a change-log",
        ),
        (&format!("{topic}order_by = [\"v\"]\noffset_order = true\n"), "contradicts order_by"),
        (&format!("{topic}skip = true\ninto = \"a\"\n"), "has no meaning with skip = true"),
        (&format!("{topic}unavailable_value = \"\"\n"), "table[0].unavailable_value: is empty"),
        ("[defaults]\nunavailable_value = \"hex:0\"\n", "defaults.unavailable_value: expected an even number"),
        (&format!("{topic}contract = \"change-log\"\nevolve = \"widen\"\n"), "evolve: has no meaning in a change-log"),
        ("[table]\ntopic = \"a\"\n", "table: expected [[table]] with double brackets, found a table"),
    ] {
        let found = problems(&rules(text), &[], &[]);
        assert!(found.iter().any(|problem| problem.contains(wanted)), "{text}\n{found:#?}");
        assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    }
}

#[test]
fn transactions_need_one_writer() {
    let text = format!("{SMALL}[batch]\nalign = \"transaction\"\n");
    let refused = problems(&text, &[], &[]).join("\n");
    assert!(refused.contains("batch.align") && refused.contains("writers = 1 under [sink]"), "{refused}");
    let flags = ["sink.writers=1".to_owned()];
    let config = load_text("lastword.toml", &text, &Environment::default(), &flags).expect("one writer");
    assert_eq!(config.batch.align_wait, Some(Duration::from_secs(1)));
    assert_eq!(read(SMALL).batch.align_wait, None);
    let waits = format!("{SMALL}[batch]\nalign_wait = \"2s\"\n");
    assert!(problems(&waits, &[], &[])[0].contains("align = \"transaction\""));
}

#[test]
fn the_most_exact_rule_is_asked_first() {
    let config = read(&format!(
        "{SMALL}[defaults]\noffset_order = true\ndelete = \"soft\"\nunavailable_value = \"~\"\n[[table]]\ntopic = \"^harbor\"\ninto = \"a\"\n\
         [[table]]\ntopic = \"harbor.public.customers\"\ninto = \"s.b\"\norder_by = [\"v\"]\ncreate = false\n\
         [[table]]\ntopic = \"harbor.public.customers\"\nsource_table = \"t\"\ninto = \"c\"\n"
    ));
    let into = |topic: &str, table| {
        config.rule_for(topic, table).and_then(|rule| rule.rule.into.as_ref()).map(ToString::to_string)
    };
    assert_eq!(into("harbor.public.customers", Some("t")).as_deref(), Some("c"));
    assert_eq!(into("harbor.public.customers", Some("u")).as_deref(), Some("s.b"));
    assert_eq!(into("harbor.public.customers", None).as_deref(), Some("s.b"));
    assert_eq!(into("harbor.x", None).as_deref(), Some("a"));
    assert_eq!(into("other", None), None);
    let rule = config.rule_for("harbor.public.customers", None).expect("rule");
    assert_eq!(rule.rule.unavailable.written(), "~");
    assert_eq!((rule.rule.delete, rule.rule.create, rule.rule.offset_order), (DeleteMode::Soft, false, false));
}

#[test]
fn what_would_break_the_promise_or_expose_it_is_refused() {
    for (key, value, wanted) in [
        ("source.client.isolation.level", "read_uncommitted", "records of aborted transactions"),
        ("source.client.enable.auto.commit", "true", "offsets are kept in the destination"),
        ("source.client.bootstrap.servers", "x", "write source.brokers"),
        ("source.brokers", "user:sEcReT@host:1", "holds an @"),
        ("source.brokers", "host:port", "expected host:port"),
        ("source.topics_regex", "harbor", "begins with ^"),
        ("source.topics", "^harbor", "write it as source.topics_regex"),
        ("source.paths", "a", "is for kind = \"file\""),
        ("server.listen", "0.0.0.0:9464", "write public = true"),
        ("server.listen", "9464", "expected an IP address with a port"),
        ("sink.url", "postgres://a:1/sEcReT@h/d", "there is an @ behind the host"),
        ("sink.url", "postgres://a:se/cReT@h/d", "write @ : / ? #"),
        ("sink.url", "oracle://a:sEcReT@h/d", "the scheme is not known"),
        ("sink.url", "sEcReT", "expected a URL"),
        ("sink.url", "mysql://a:sEcReT@h", "mysql://a:***@h names no database"),
        ("sink.url", "sqlite:", "names no file"),
        ("sink.url", "sqlite::memory:", "a database in memory"),
        ("sink.url", "sqlite:x?cache=shared&mode=memory", "a database in memory"),
        ("sink.url", "mysql://u:sEcReT@a:1,b:2/d", "is not a URL (invalid port number)"),
        ("sink.url_env", "NOWHERE", "the environment variable NOWHERE is not set"),
        ("sink.url_file", "/no/such/file", "the file /no/such/file cannot be read"),
        ("sink.writers", "0", "expected a whole number from 1 to 64"),
        ("service.drain", "2h", "expected 0s to 10m, found 2h"),
    ] {
        let found = problems(SMALL, &[], &[&format!("{key}={value}")]);
        assert!(found.len() == 1 && found[0].contains(wanted), "{key}={value}\n{found:#?}");
        assert!(found[0].starts_with(&format!("--set {key}")), "{found:#?}");
        assert!(!found[0].contains("cReT"), "{found:#?}");
    }
    let public = read_with(SMALL, &[], &["server.listen=0.0.0.0:1", "server.public=true"]).expect("public");
    assert_eq!(public.listen.map(|at| at.port()), Some(1));
    assert!(read_with(SMALL, &[], &["server.listen=off"]).expect("off").listen.is_none());
}

#[test]
fn urls_in_the_forms_of_the_drivers_are_taken() {
    for (url, dialect) in [
        ("postgresql://app@h1:5432,h2:5433/app?target_session_attrs=read-write", Dialect::Postgres),
        ("postgres:///app?host=/run/postgresql", Dialect::Postgres),
        ("postgres://app:p%40w%2F@%2Frun%2Fpostgresql/app", Dialect::Postgres),
        ("mysql://u:p@[::1]:3306/d?ssl-mode=VERIFY_CA", Dialect::Mysql),
        ("MariaDB://u@h/d", Dialect::Mysql),
        ("sqlite://data/x.db?mode=rwc", Dialect::Sqlite),
        ("sqlite:///tmp/a@b#c.db", Dialect::Sqlite),
    ] {
        let config = read_with(SMALL, &[], &[&format!("sink.url={url}")]).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((config.sink.dialect, config.sink.url.expose()), (dialect, url));
    }
}

#[test]
fn secrets_come_from_files_and_the_environment_and_are_never_shown() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "from-file-sEcReT\n").expect("file");
    let text = format!(
        "{SMALL}[source.client]\n\"sasl.password\" = {{ file = {file:?} }}\nssl.key.password = {{ env = \"KEY\" }}\n\
         \"sasl.username\" = \"inline-sEcReT\"\nsocket.keepalive.enable = true\n\"fetch.min.bytes\" = 5\n"
    );
    let variables = [("KEY", "from-env-sEcReT"), ("URL", "mariadb://app:sEcReT@h:3306/d?token=sEcReT&charset=utf8mb4")];
    let config = read_with(&text, &variables, &["sink.url_env=URL"]).unwrap_or_else(|errors| panic!("{errors}"));
    let SourceConfig::Kafka(kafka) = &config.source else { panic!("kafka") };
    let value = |name: &str| kafka.client[name].expose();
    assert_eq!(value("sasl.password"), "from-file-sEcReT");
    assert_eq!(value("ssl.key.password"), "from-env-sEcReT");
    assert_eq!((value("socket.keepalive.enable"), value("fetch.min.bytes")), ("true", "5"));
    assert_eq!(config.sink.dialect, Dialect::Mysql);
    for shown in [format!("{config:?}"), format!("{config:#?}"), effective(&config)] {
        assert!(!shown.contains("sEcReT"), "{shown}");
    }
    assert!(effective(&config).contains("url = \"mariadb://app:***@h:3306/d?***&charset=utf8mb4\""));
    assert!(effective(&config).contains("\"sasl.password\" = \"***\""));
    // Wrong in many ways, and still nothing is shown.
    for flag in
        ["sink.url=postgres://app:sEcReT@[h/d", "sink.writers=sEcReT", "sink.pasword=sEcReT", "sink.url_env.x=sEcReT"]
    {
        let flags = ["sink.url_env=URL", flag];
        let errors = read_with(&text, &variables, &flags).expect_err(flag);
        let shown = format!("{errors} {errors:?} {}", crate::core::failure::Failure::from(errors.clone()));
        assert!(!shown.contains("sEcReT"), "{shown}");
    }
    let unquoted = SMALL.replace("\"postgres://app:sEcReT@127.0.0.1:5432/app\"", "postgres://app:sEcReT@h/d");
    assert!(!problems(&unquoted, &[], &[]).concat().contains("sEcReT"));
}

#[test]
fn the_effective_configuration_reads_back_as_the_same() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a \"b\".jsonl");
    std::fs::write(&path, "").expect("file");
    let text = format!(
        "[pipeline]\nname = \"p\"\n[source]\nkind = \"file\"\npaths = [{path:?}]\n[sink]\nurl = \"sqlite:x.db\"\n\
         [batch]\nage = \"0ms\"\n[defaults]\ntoken_storage = \"side\"\ninto = \"x.${{topic}}\"\ncolumn_case = \"snake\"\ncolumn_prefix = \"c_\"\n[plain]\ntime = \"micros\"\n\
         [[table]]\ntopic = \"^a\\\\.b\"\ninto = \"\\\"x.y\\\".ü\"\nkey = [\"a\\\"b\"]\n\
         table_case = \"lower\"\nexclude_columns = [\"^x\", \"y\"]\n[table.columns.\"a.b\"]\nto = \"c\"\n\
         [[table]]\ntopic = \"c\"\ncontract = \"change-log\"\n[[table]]\ntopic = \"d\"\nskip = true\n\
         [server]\nlisten = \"0.0.0.0:80\"\npublic = true\n[errors]\nbad_record = \"stop\"\n"
    );
    let config = read(&text);
    let shown = effective(&config);
    let again = read(&shown);
    assert_eq!(format!("{config:?}"), format!("{again:?}"), "{shown}");
    assert_eq!(effective(&again), shown);
    let kafka = read(&format!("{SMALL}[defaults]\ncontract = \"change-log\"\n"));
    assert_eq!(effective(&read(&effective(&kafka).replace("***", "x"))), effective(&kafka));
}

#[test]
fn names_that_cannot_be_meant_are_refused() {
    let long = "x".repeat(64);
    for (rule, wanted) in [
        ("topic = \"harbor.public.customers\"\ninto = \"${tenant}\"", "needs a topic that is an expression"),
        ("topic = \"^harbor\"\ninto = \"${tenant}\"", "has no group \"tenant\""),
        ("topic = \"^harbor\"\ninto = \"${source.tabel}\"", "is not known"),
        ("topic = \"^harbor\"\ninto = \"price$\"", "write $$"),
        ("topic = \"^harbor\"\ninto = \"lastword.x\"", "keeps its own tables"),
        ("topic = \"^harbor\"\ninto = \"pg_catalog.x\"", "keeps its own tables"),
        ("topic = \"^harbor\"\ninto = \"LONG\"", "63 bytes"),
        ("topic = \"^harbor\"\ncolumn_case = \"kebab\"", "expected"),
        ("topic = \"^harbor\"\nkey = [\"id\"]\nexclude_columns = [\"^i\"]", "is needed"),
        ("topic = \"^harbor\"\nexclude_columns = [\"^(\"]", "expression"),
        ("topic = \"^harbor\"\n[table.columns.a]\nto = \"_lastword_token\"", "lastword's own"),
        ("topic = \"^harbor\"\n[table.columns.a]\nto = \"x\"\n[table.columns.b]\nto = \"x\"", "has that name already"),
        ("topic = \"^harbor\"\ncontract = \"change-log\"\ninclude_columns = [\"a\"]", "no meaning in a change-log"),
    ] {
        let text = format!("{SMALL}[[table]]\n{}\n", rule.replace("LONG", &long));
        let found = problems(&text, &[], &[]);
        assert!(found.iter().any(|problem| problem.contains(wanted)), "{rule}: {found:?}");
    }
    let found = problems(&format!("{SMALL}[defaults]\ninto = \"${{1}}\"\n"), &[], &[]);
    assert!(found[0].contains("defaults.into"), "{found:?}");
}

/// The configurations that ship for the compose file are ones that this version takes.
#[test]
fn shipped_configurations_can_be_used() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("deploy/compose") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a configuration");
        let own = text.replace("url_file = \"/run/secrets/sink-url\"", "url = \"postgres://a@127.0.0.1/b\"");
        assert_ne!(own, text, "{} names its secret", path.display());
        let name = path.display().to_string();
        crate::config::load::load_text(&name, &own, &Default::default(), &[])
            .unwrap_or_else(|errors| panic!("{errors}"));
        seen += 1;
    }
    assert_eq!(seen, 2);
}

/// A registry is taken with its secrets hidden, and what contradicts itself is refused by key, without a secret in the message.
#[test]
fn a_registry_is_judged() {
    let with = |section: &str| format!("{SMALL}[registry]\n{section}");
    assert!(read(SMALL).registry.is_none());
    let text = with(
        "url = \"http://a:8081, https://b/apis/ccompat/v7\"\nuser = \"u\"\npassword = { env = \"PW\" }\nid_bytes = 8\nids = \"global\"",
    );
    let config = read_with(&text, &[("PW", "sEcReT")], &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let page = effective(&config);
    assert!(page.contains("url = \"http://a:8081,https://b/apis/ccompat/v7\"") && !page.contains("sEcReT"), "{page}");
    assert!(format!("{config:?}").contains("Secret(***)") && !format!("{config:?}").contains("sEcReT"));
    for (section, key) in [
        ("", "registry.url"),
        ("url = \"http://u:sEcReT@a\"", "registry.url"),
        ("url = \"ftp://a\"", "registry.url"),
        ("url = \"http://a?token=sEcReT\"", "registry.url"),
        ("url = \"http://a\"\nid_bytes = 5", "registry.id_bytes"),
        ("url = \"http://a\"\nids = \"local\"", "registry.ids"),
        ("url = \"http://a\"\nuser = \"u\"", "registry.user"),
        ("url = \"http://a\"\npassword = \"sEcReT\"", "registry.password"),
        ("url = \"http://a\"\nuser = \"u\"\npassword = \"sEcReT\"\ntoken = \"sEcReT\"", "registry.token"),
        ("url = \"http://a\"\ncert_file = \"c.pem\"", "registry.cert_file"),
        ("url = \"http://a\"\ntimeout = \"1ms\"", "registry.timeout"),
    ] {
        let found = problems(&with(section), &[], &[]);
        assert!(found.len() == 1 && found[0].contains(key) && !found[0].contains("sEcReT"), "{section}: {found:?}");
    }
}
