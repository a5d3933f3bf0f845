//! Cases about types and changing schemas. One row, one column `v`, unless a case says otherwise. The JDBC sink gets NaN as 0
//! from Connect's JSON converter, and its defaults for NULL.

use lastword::core::dialect::Dialect::{self, Mysql, Postgres};
use serde_json::{Value, json};

use super::events::Table;
use super::list::{Case, Step, capture};

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = numbers();
    cases.extend(defaults());
    cases.extend(times());
    cases.extend(lists());
    cases.extend(schemas());
    cases.extend(captured());
    cases
}

/// A value of a Connect schema, and what the source holds, as the destination writes it.
fn one(name: &'static str, dialect: Dialect, schema: Value, wire: Value, truth: &str) -> Case {
    let records = Table::typed(vec![("v", schema)]).insert(0, 100, 1, &[wire]);
    Case {
        dialect,
        truth: vec![vec!["1".to_owned(), truth.to_owned()]],
        ..Case::new(name, &["id", "v"], vec![Step::Deliver(records)], &[])
    }
}

/// The same into a table that is there before.
fn into(table: &'static str, case: Case) -> Case {
    Case { table: Some(table), ..case }
}

fn named(kind: &str, name: &str) -> Value {
    json!({"type": kind, "name": name, "version": 1})
}

fn decimal(precision: &str, scale: &str) -> Value {
    json!({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "version": 1,
        "parameters": {"scale": scale, "connect.decimal.precision": precision}})
}

fn variable() -> Value {
    let fields = [
        json!({"type": "int32", "optional": false, "field": "scale"}),
        json!({"type": "bytes", "optional": false, "field": "value"}),
    ];
    json!({"type": "struct", "name": "io.debezium.data.VariableScaleDecimal", "version": 1, "fields": fields})
}

fn numbers() -> Vec<Case> {
    let unsigned = || json!({"type": "int64", "parameters": {"__debezium.source.column.type": "BIGINT UNSIGNED"}});
    let long = || json!({"scale": 9, "value": "XODppWAV/sWq36MorjmBFQ=="});
    let digits = "123456789012345678901234567890.123456789";
    let nines = "9999999999999999999999999999.9999999999";
    let wide = format!("{}.{}", "1".repeat(40), "2".repeat(45));
    let wire = "AJJrXtbITKoQTbjlFdZOiDJHL009/MTNWRDSvHMD2OOOOOOO";
    let largest = "18446744073709551615";
    vec![
        one("PostgreSQL: `numeric` without scale, 39 digits", Postgres, variable(), long(), digits),
        one("MariaDB: the same", Mysql, variable(), long(), digits),
        into(
            "id integer primary key, v numeric",
            one("PostgreSQL: the same into a `numeric` column", Postgres, variable(), long(), digits),
        ),
        one("PostgreSQL: `numeric(38,10)`", Postgres, decimal("38", "10"), json!("SztMqFqGxHoJiiI//////w=="), nines),
        one("MariaDB: the same", Mysql, decimal("38", "10"), json!("SztMqFqGxHoJiiI//////w=="), nines),
        one("MariaDB: `numeric(100,45)`, more digits than it has", Mysql, decimal("100", "45"), json!(wire), &wide),
        into(
            "id integer primary key, v numeric(10,2)",
            one("PostgreSQL: 1.2345 into `numeric(10,2)`", Postgres, decimal("10", "4"), json!("MDk="), "1.2345"),
        ),
        into(
            "id integer primary key, v numeric",
            one(
                "PostgreSQL: NaN in a `numeric` (`decimal.handling.mode=string` sends `NAN`)",
                Postgres,
                json!({"type": "string"}),
                json!("NAN"),
                "NaN",
            ),
        ),
        one("PostgreSQL: NaN in a `double precision`", Postgres, json!({"type": "double"}), json!("NaN"), "NaN"),
        one("MariaDB: NaN, which it does not have", Mysql, json!({"type": "double"}), json!("NaN"), "NaN"),
        one(
            "PostgreSQL: `BIGINT UNSIGNED` 2^64−1 (comes as −1, source types propagated)",
            Postgres,
            unsigned(),
            json!(-1),
            largest,
        ),
        one("MariaDB: the same", Mysql, unsigned(), json!(-1), largest),
        one("MariaDB: the same, source types not propagated", Mysql, json!({"type": "int64"}), json!(-1), largest),
        into(
            "id integer primary key, v bigint unsigned",
            one("MariaDB: the same into `bigint unsigned`", Mysql, json!({"type": "int64"}), json!(-1), largest),
        ),
    ]
}

fn defaults() -> Vec<Case> {
    let with_default = || json!({"type": "int32", "default": 42});
    let long = Table::new(&["v"]);
    let bad = ["ok", "longer", "ok"];
    let records: Vec<_> = (1..).zip(bad).flat_map(|(id, text)| long.insert(0, 100 * id as u64, id, &[text])).collect();
    let longer = |name, dialect| Case {
        dialect,
        table: Some("id integer primary key, v varchar(3)"),
        truth: (1..).zip(bad).map(|(id, text)| vec![id.to_string(), text.to_owned()]).collect(),
        ..Case::new(name, &["id", "v"], vec![Step::Deliver(records.clone())], &[])
    };
    vec![
        one("an explicit NULL in a column with a default", Postgres, with_default(), Value::Null, "NULL"),
        longer("PostgreSQL: one text of three is longer than `varchar(3)`", Postgres),
        longer("MariaDB: the same", Mysql),
    ]
}

fn times() -> Vec<Case> {
    let micro = || named("int64", "io.debezium.time.MicroTimestamp");
    let zoned = || named("string", "io.debezium.time.ZonedTimestamp");
    let nano = || named("int64", "io.debezium.time.NanoTimestamp");
    let time = || named("int64", "io.debezium.time.MicroTime");
    let nanos = json!(1_700_000_000_123_456_789_i64);
    vec![
        one("PostgreSQL: `timestamp` infinity", Postgres, micro(), json!(9_223_372_036_825_200_000_i64), "infinity"),
        one("PostgreSQL: `timestamptz` −infinity", Postgres, zoned(), json!("-infinity"), "-infinity"),
        one("MariaDB: the same, which it does not have", Mysql, zoned(), json!("-infinity"), "-infinity"),
        one("PostgreSQL: `time` 24:00:00", Postgres, time(), json!(86_400_000_000_i64), "24:00:00"),
        one("MariaDB: `time` 24:00:00", Mysql, time(), json!(86_400_000_000_i64), "24:00:00.000000"),
        one("MariaDB: `time` −12:34:56.5", Mysql, time(), json!(-45_296_500_000_i64), "-12:34:56.500000"),
        one("MariaDB: `time` 100:00:00.000001", Mysql, time(), json!(360_000_000_001_i64), "100:00:00.000001"),
        one(
            "PostgreSQL: the same, which it does not have",
            Postgres,
            time(),
            json!(360_000_000_001_i64),
            "100:00:00.000001",
        ),
        one("PostgreSQL: nanoseconds", Postgres, nano(), nanos.clone(), "2023-11-14 22:13:20.123456789"),
        into(
            "id integer primary key, v timestamp",
            one(
                "PostgreSQL: the same into `timestamp`, which has microseconds",
                Postgres,
                nano(),
                nanos,
                "2023-11-14 22:13:20.123456789",
            ),
        ),
        into(
            "id integer primary key, v datetime",
            one(
                "MariaDB: microseconds into `datetime`, which has seconds",
                Mysql,
                micro(),
                json!(1_700_000_000_123_456_i64),
                "2023-11-14 22:13:20.123456",
            ),
        ),
        into(
            "id integer primary key, v interval",
            one(
                "PostgreSQL: `interval` as text (`interval.handling.mode=string`)",
                Postgres,
                named("string", "io.debezium.time.Interval"),
                json!("P1Y2M3DT4H5M6.78S"),
                "1 year 2 mons 3 days 04:05:06.78",
            ),
        ),
        into(
            "id integer primary key, v interval",
            one(
                "PostgreSQL: `interval` of 4:05:06.78 as microseconds",
                Postgres,
                named("int64", "io.debezium.time.MicroDuration"),
                json!(14_706_780_000_i64),
                "04:05:06.78",
            ),
        ),
    ]
}

fn lists() -> Vec<Case> {
    let array = |items: &str| json!({"type": "array", "items": {"type": items, "optional": true}});
    let numbers = || json!([1, null, -3]);
    let bits =
        || json!({"type": "bytes", "name": "io.debezium.data.Bits", "version": 1, "parameters": {"length": "12"}});
    let label = |allowed: &str| json!({"type": "string", "name": "io.debezium.data.Enum", "version": 1, "parameters": {"allowed": allowed}});
    vec![
        one("PostgreSQL: `int4[]` with a NULL", Postgres, array("int32"), numbers(), "{1,NULL,-3}"),
        one(
            "PostgreSQL: `text[]` with a NULL and a text NULL",
            Postgres,
            array("string"),
            json!(["a,b", null, "NULL"]),
            "{\"a,b\",NULL,\"NULL\"}",
        ),
        one("MariaDB: an array with a NULL (as JSON)", Mysql, array("int32"), numbers(), "[1,null,-3]"),
        one("PostgreSQL: `bit(12)`", Postgres, bits(), json!("OAs="), "101100111000"),
        Case {
            before: Some("create type mood as enum ('calm', 'sad')"),
            ..into(
                "id integer primary key, v mood",
                one(
                    "PostgreSQL: an enum into a column of an enum type",
                    Postgres,
                    label("calm,sad"),
                    json!("sad"),
                    "sad",
                ),
            )
        },
        into(
            "id integer primary key, v enum('calm','sad')",
            one("MariaDB: the same", Mysql, label("calm,sad"), json!("sad"), "sad"),
        ),
        into(
            "id integer primary key, v enum('calm','sad')",
            one(
                "MariaDB: an enum label of the source in another case, `SAD`",
                Mysql,
                label("calm,SAD"),
                json!("SAD"),
                "SAD",
            ),
        ),
    ]
}

/// Both may change tables: `schema.evolution=basic`, `evolve = "widen"`.
fn schemas() -> Vec<Case> {
    use Step::{Again, Deliver};
    let narrow = Table::new(&["name"]);
    let wide = Table::new(&["name", "extra"]);
    let int = Table::typed(vec![("v", json!({"type": "int32"}))]);
    let bigint = Table::typed(vec![("v", json!({"type": "int64"}))]);
    let widened = |name, dialect| Case {
        dialect,
        evolve: "widen",
        ..Case::new(
            name,
            &["id", "v"],
            vec![Deliver(int.insert(0, 100, 1, &[1])), Deliver(bigint.insert(0, 200, 2, &[9_007_199_254_740_993_i64]))],
            &["1 1", "2 9007199254740993"],
        )
    };
    vec![
        Case {
            evolve: "widen",
            ..Case::new(
                "a column is added in mid-stream, then an old event is read again",
                &["id", "name", "extra"],
                vec![
                    Deliver(narrow.insert(0, 100, 1, &["old"])),
                    Deliver(wide.update(1, 200, 1, &["new", "more"])),
                    Again(0),
                ],
                &["1 new more"],
            )
        },
        widened("PostgreSQL: `int` becomes `bigint` at the source", Postgres),
        widened("MariaDB: the same", Mysql),
    ]
}

const EDGES: &str = "id integer primary key, what text, c_num numeric, c_num_ps numeric(20,6), c_real real, c_double double precision, \
    c_date date, c_ts timestamp, c_tstz timestamptz, c_time time, c_timetz timetz, c_interval interval, c_text text";
const MARIADB_EDGES: &str = "id integer primary key, what text, c_date date, c_dt datetime, c_dt6 datetime(6), c_ts timestamp null, \
    c_time time, c_time6 time(6), c_year year, c_nn_date date not null, c_nn_ts timestamp(3) not null, c_double double, c_float float";

/// Records of real connectors.
fn captured() -> Vec<Case> {
    let evolving = |case| Case { evolve: "widen", ..case };
    let mariadb = |case| Case { dialect: Mysql, ..case };
    vec![
        into(
            EDGES,
            capture(
                "captured: limits and specials (NaN, infinities, BC, …) into the source's own table",
                "postgresql",
                "edge_values",
                "edge_values",
            ),
        ),
        mariadb(into(
            MARIADB_EDGES,
            capture(
                "MariaDB, captured: zero dates, negative and long times, limits into the source's own table",
                "mariadb",
                "edge_values",
                "edge_values",
            ),
        )),
        evolving(capture(
            "captured: columns added, widened, renamed, dropped",
            "postgresql",
            "schema_change",
            "profiles",
        )),
        mariadb(evolving(capture("MariaDB, captured: the same", "mariadb", "schema_change", "profiles"))),
        only_keys(capture(
            "captured: every type of PostgreSQL into a table that the sinks make, no extensions installed; which rows arrive",
            "postgresql",
            "all_types",
            "all_types",
        )),
        only_keys(mariadb(capture("MariaDB, captured: the same of MariaDB", "mariadb", "all_types", "all_types"))),
    ]
}

/// Made tables have other types than the source, whose text is another: only keys are compared.
fn only_keys(mut case: Case) -> Case {
    case.columns.truncate(1);
    case.truth.iter_mut().for_each(|row| row.truncate(1));
    case
}
