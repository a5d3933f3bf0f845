//! Values that a connector changes before anybody else can see them, each seen in the records themselves. They are told apart from
//! mistakes of lastword by this list alone, so a value that arrives exact after all fails the run as well.

use lastword::core::dialect::Dialect;

use When::{Always, Snapshot, Stream};

/// When a fact holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// In rows of the snapshot.
    Snapshot,
    /// In rows of the stream.
    Stream,
    /// In both.
    Always,
}

/// See the module.
pub(super) struct Fact {
    /// Kind of the source.
    pub(super) source: Dialect,
    /// Type of the column.
    pub(super) sql: &'static str,
    /// Literals.
    pub(super) edges: &'static [&'static str],
    /// Names of settings; none means all.
    pub(super) settings: &'static [&'static str],
    /// When.
    pub(super) when: When,
    /// What the connector does.
    pub(super) what: &'static str,
}

impl Fact {
    /// Whether it is about a value.
    pub(super) fn covers(&self, source: Dialect, sql: &str, edge: Option<&str>, setting: &str, way: &str) -> bool {
        let when = match self.when {
            When::Snapshot => way == "snapshot",
            When::Stream => way != "snapshot",
            When::Always => true,
        };
        let is_setting = self.settings.is_empty() || self.settings.contains(&setting);
        let is_edge = self.edges.is_empty() || edge.is_some_and(|edge| self.edges.contains(&edge));
        self.source == source && self.sql == sql && is_edge && is_setting && when
    }
}

const PRECISE: &[&str] = &["default", MICROS, "no schemas", FLAT, AVRO];
const TEXTS: &[&str] = &["texts"];
const MICROS: &str = "microseconds";
const FLAT: &str = "flat, nanoseconds";
const AVRO: &str = "Avro";
/// `bigint.unsigned.handling.mode=long`.
const LONG: &[&str] = &["default", MICROS, "no schemas", FLAT];
/// All but nanoseconds.
const LATE: &[&str] = &["default", MICROS, "texts", "no schemas", AVRO];

const fn postgres(
    sql: &'static str,
    edges: &'static [&'static str],
    settings: &'static [&'static str],
    when: When,
    what: &'static str,
) -> Fact {
    Fact { source: Dialect::Postgres, sql, edges, settings, when, what }
}

const fn mariadb(
    sql: &'static str,
    edges: &'static [&'static str],
    settings: &'static [&'static str],
    when: When,
    what: &'static str,
) -> Fact {
    Fact { source: Dialect::Mysql, sql, edges, settings, when, what }
}

const AS_NULL: &str = "sent as NULL";
const SWITCH: &str = "snapshot: ten days later, in the days of the Gregorian switch";
const EARLY: &str = "snapshot: the Julian calendar's day";
const WRAPS: &str = "nanoseconds beyond 1677 to 2262 wrap around";
const SHORT: &str = "snapshot: six digits";
const MIDNIGHT: &str = "24:00 is sent as midnight";
const CENTURY: &str = "years below 100 are sent as 20xx";
const ZERO_DATE: &str = "zero dates are sent as NULL";

const MILLIS: &str = "cut to milliseconds";

/// All facts.
pub(super) const FACTS: &[Fact] = &[
    postgres("numeric(12,4)", &["'NaN'"], PRECISE, Always, AS_NULL),
    postgres("numeric", &["'NaN'", "'Infinity'", "'-Infinity'"], PRECISE, Always, AS_NULL),
    postgres("numeric(12,4)", &["'NaN'"], TEXTS, Always, "sent as the text NAN"),
    postgres(
        "numeric",
        &["'NaN'", "'Infinity'", "'-Infinity'"],
        TEXTS,
        Always,
        "sent as the texts NAN, POSITIVE_INFINITY and NEGATIVE_INFINITY",
    ),
    postgres("money", &["'92233720368547758.07'"], &[], Snapshot, "snapshot: rounded to double precision"),
    postgres("name", &[], &[], Stream, "stream: sent as NULL"),
    postgres("bit varying(20)", &[], &[], Always, "zeros in front are not sent, nor the length"),
    postgres("bit varying", &[], &[], Always, "zeros in front are not sent, nor the length"),
    postgres("date", &["'1582-10-10'"], &[], Snapshot, SWITCH),
    postgres("date", &["'0044-03-15 BC'"], &[], Snapshot, "snapshot: the year without its era"),
    postgres("date", &["'infinity'", "'-infinity'"], &[], Always, "sent as a day that exists, or as none that does"),
    postgres("time", &["'24:00:00'"], TEXTS, Always, MIDNIGHT),
    postgres("time(3)", &["'24:00:00'"], TEXTS, Always, MIDNIGHT),
    postgres("timestamp", &["'1582-10-10 12:00:00'"], LATE, Snapshot, SWITCH),
    postgres("timestamp", &["'0001-01-01 00:00:00'", "'0044-03-15 12:00:00 BC'"], LATE, Snapshot, EARLY),
    postgres("timestamp", &["'infinity'", "'-infinity'"], TEXTS, Always, "sent as a time that exists"),
    postgres("timestamp(3)", &["'infinity'"], TEXTS, Always, "sent as a time that exists"),
    postgres(
        "timestamp",
        &[
            "'0001-01-01 00:00:00'",
            "'1582-10-10 12:00:00'",
            "'9999-12-31 23:59:59.999999'",
            "'0044-03-15 12:00:00 BC'",
            "'12345-01-01 00:00:00.5'",
            "'294276-12-31 23:59:59.999999'",
            "'infinity'",
            "'-infinity'",
        ],
        &[FLAT],
        Always,
        WRAPS,
    ),
    postgres("timestamp(3)", &["'infinity'"], &[FLAT], Always, WRAPS),
    postgres("time", &[], &[AVRO], Always, MILLIS),
    postgres("timestamp", &[], &[AVRO], Always, MILLIS),
    postgres("timestamp[]", &[], &[AVRO], Always, MILLIS),
    postgres("timestamptz", &["'1582-10-10 12:00:00+00'"], &[], Snapshot, SWITCH),
    postgres("timestamptz", &["'0001-01-01 00:00:00+00'", "'0044-03-15 12:00:00+00 BC'"], &[], Snapshot, EARLY),
    postgres("int[]", &["'{{1,2},{3,4}}'"], &[], Always, "inner lists are sent as NULL"),
    mariadb("float", &["-3.402823466e38", "16777216", "1.17549435e-38"], &[], Snapshot, SHORT),
    mariadb(
        "bigint unsigned",
        &["9223372036854775808", "18446744073709551615"],
        LONG,
        Always,
        "sent as a negative number",
    ),
    mariadb("date", &["'0001-01-01'"], &[], Always, CENTURY),
    mariadb("datetime(6)", &["'0001-01-01 00:00:00'"], &[], Always, CENTURY),
    mariadb("date", &["'0000-00-00'", "'2024-00-10'"], &[], Always, ZERO_DATE),
    mariadb("datetime", &["'0000-00-00 00:00:00'"], &[], Always, ZERO_DATE),
    mariadb("timestamp", &["'0000-00-00 00:00:00'"], &[], Snapshot, ZERO_DATE),
    mariadb("timestamp", &["'0000-00-00 00:00:00'"], &[], Stream, "stream: a zero date is sent as 1970-01-01"),
    mariadb("datetime", &["'1582-10-10 12:00:00'"], LATE, Snapshot, SWITCH),
    mariadb("datetime", &["'1000-01-01 00:00:00'", "'1582-10-10 12:00:00'"], &[FLAT], Always, WRAPS),
    mariadb("datetime(3)", &["'9999-12-31 23:59:59.999'"], &[FLAT], Always, WRAPS),
    mariadb("datetime(6)", &["'9999-12-31 23:59:59.999999'"], &[FLAT], Always, WRAPS),
    mariadb("time", &["'24:00:00'"], TEXTS, Always, MIDNIGHT),
    mariadb("time", &["'-12:34:56'", "'838:59:59'", "'-838:59:59'"], TEXTS, Always, AS_NULL),
    mariadb("time(3)", &["'-00:00:00.001'", "'100:00:00.5'"], TEXTS, Always, AS_NULL),
    mariadb("time(6)", &["'-838:59:58.999999'"], TEXTS, Always, AS_NULL),
    mariadb("time", &["'-12:34:56'", "'838:59:59'", "'-838:59:59'"], &[AVRO], Always, AS_NULL),
    mariadb("time(3)", &["'-00:00:00.001'", "'100:00:00.5'"], &[AVRO], Always, AS_NULL),
    mariadb("time(6)", &["'-838:59:58.999999'"], &[AVRO], Always, AS_NULL),
    mariadb("time(6)", &[], &[AVRO], Always, MILLIS),
    mariadb("datetime(6)", &[], &[AVRO], Always, MILLIS),
];
